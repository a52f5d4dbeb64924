/* Small matrix products on one core: vectors of the machine, tiles held in registers.

   A product here is c[m][n] = start[m][n] + sum over k of a[m][k] b[k][n], where `a` is
   read one value at a time (any two strides, so that it may be seen transposed) and `b`
   and `c` a vector at a time along n. The three products of a training step all have
   this form: forward (start is the bias), back to the layer below (on transposed
   gradients) and the update (start and c are the weights themselves). Of what is copied
   to be read more quickly no value changes, and each sum has its terms in the order of k:
   where the values lie does not show in its bits. */

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#ifdef __AVX512F__
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))

typedef REAL vector
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

#define LOAD(pointer) (*(const vector *)(pointer))
#define STORE(pointer, value) (*(vector *)(pointer) = (value))
#define UNROLLED _Pragma("GCC unroll 32")

/* One value in all places; sum += left * right, as an instruction where there is one: of
   the intrinsic for pairs GCC 12 makes sums in memory, and of a product and a sum copies
   of registers. */
#ifdef BF16
#ifndef __AVX512BF16__
#error "this processor has no products of bfloat16"
#endif
#include <immintrin.h>
#define SPREAD(pointer) (vector)_mm512_set1_epi32(*(const int32_t *)(pointer))
#define ADD_PRODUCT(sum, left, right) \
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(left), "v"(right))
#else
#define SPREAD(pointer) (*(pointer) - (vector){0})
#if defined(__x86_64__) && defined(__FMA__)
#ifdef REAL_IS_DOUBLE
#define FUSED "vfmadd231pd"
#else
#define FUSED "vfmadd231ps"
#endif
#define ADD_PRODUCT(sum, left, right) \
    __asm__(FUSED " %2, %1, %0" : "+v"(sum) : "v"(left), "v"(right))
#else
#define ADD_PRODUCT(sum, left, right) ((sum) += (left) * (right))
#endif
#endif

/* The value stays in a register: with 16 of them GCC would rather load it anew for each
   row of a tile, and loads then take more time than products. */
#if defined(__x86_64__)
#define HOLD(value) __asm__("" : "+v"(value))
#else
#define HOLD(value) (void)(value)
#endif

typedef struct {
    const REAL *at;
    int64_t row, column; /* values from one to the next */
} left_matrix;

typedef struct {
    REAL *at;
    int64_t row; /* values from one row to the next; 0 repeats the first */
} right_matrix;

/* Where the sums of a tile begin, what is added at their end, and where they go. */
typedef struct {
    right_matrix before, start, c;
} ends;

/* ROWS x VECTORS accumulators stay in registers for the whole sum. It begins at zero or
   where it was put aside, and `start` is added at the end: each of many small terms would
   be lost beside a weight. With a panel, the rows of the right matrix are laid into it,
   one behind the other, as they are read; those a few rows ahead come nearer. */
enum { ROWS_AHEAD = 6 };
#define DEFINE_TILE(ROWS, VECTORS)                                                   \
    static inline __attribute__((always_inline)) void fill_##ROWS##x##VECTORS(       \
        int64_t depth, const left_matrix *left, right_matrix b, const ends *at,      \
        REAL *panel)                                                                 \
    {                                                                                \
        left_matrix a = *left;                                                       \
        const ends e = *at;                                                          \
        vector sum[ROWS][VECTORS];                                                   \
        UNROLLED for (int64_t m = 0; m < ROWS; m++)                                  \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++)                           \
                sum[m][n] = LOAD(e.before.at + m * e.before.row + n * LANES);        \
        UNROLLED for (int64_t m = 0; m < ROWS; m++) {                                \
            const REAL *wanted = e.c.at + m * e.c.row; /* at the end */              \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++)                           \
                __builtin_prefetch(wanted + n * LANES);                              \
        }                                                                            \
        _Pragma("GCC unroll 4") for (int64_t k = 0; k < depth; k++) {                \
            vector right[VECTORS];                                                   \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++)                           \
                right[n] = LOAD(b.at + n * LANES);                                   \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++) HOLD(right[n]);           \
            if (panel) {                                                             \
                UNROLLED for (int64_t n = 0; n < VECTORS; n++) {                     \
                    STORE(panel + n * LANES, right[n]);                              \
                    __builtin_prefetch(b.at + ROWS_AHEAD * b.row + n * LANES);       \
                }                                                                    \
                panel += VECTORS * LANES;                                            \
            }                                                                        \
            UNROLLED for (int64_t m = 0; m < ROWS; m++) {                            \
                const vector value = SPREAD(a.at + m * a.row);                       \
                UNROLLED for (int64_t n = 0; n < VECTORS; n++)                       \
                    ADD_PRODUCT(sum[m][n], value, right[n]);                         \
            }                                                                        \
            a.at += a.column;                                                        \
            b.at += b.row;                                                           \
        }                                                                            \
        UNROLLED for (int64_t m = 0; m < ROWS; m++)                                  \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++)                           \
                STORE(e.c.at + m * e.c.row + n * LANES,                              \
                      LOAD(e.start.at + m * e.start.row + n * LANES) + sum[m][n]);   \
    }                                                                                \
    static void tile_##ROWS##x##VECTORS(int64_t depth, const left_matrix *left,      \
                                        right_matrix b, const ends *at)              \
    {                                                                                \
        fill_##ROWS##x##VECTORS(depth, left, b, at, 0);                              \
    }

/* 24 accumulators and 8 further registers where there are 32; 12 and 4 of 16 */
#if defined(__AVX__) && !defined(__AVX512F__)
#define TALL 6
#define LOW 4
#else
#define TALL 12
#define LOW 8
#endif

#define DEFINE_TILES(ROWS)                                                           \
    DEFINE_TILE(ROWS, 1)                                                             \
    DEFINE_TILE(ROWS, 2)                                                             \
    DEFINE_TILE(ROWS, 3)
#define DEFINE(ROWS, VECTORS) DEFINE_TILE(ROWS, VECTORS)
DEFINE(TALL, 1)
DEFINE(TALL, 2)
#if LOW > 4
DEFINE(LOW, 3)
#endif
DEFINE_TILES(4)
DEFINE_TILES(2)
DEFINE_TILES(1)

typedef struct {
    int64_t rows;
    void (*run)(int64_t, const left_matrix *, right_matrix, const ends *);
} tile;

#define NAME_TILE(ROWS, VECTORS) {ROWS, tile_##ROWS##x##VECTORS}
#define TILE(ROWS, VECTORS) NAME_TILE(ROWS, VECTORS)
/* the tallest of each width first */
static const tile TILES[3][4] = {
    {TILE(TALL, 1), TILE(4, 1), TILE(2, 1), TILE(1, 1)},
    {TILE(TALL, 2), TILE(4, 2), TILE(2, 2), TILE(1, 2)},
    {TILE(LOW, 3), TILE(4, 3), TILE(2, 3), TILE(1, 3)},
};

/* The tallest tile of a width, laying the panel that those below it walk down: beside
   its products this costs next to nothing, in a loop of its own a tenth of them. */
#define DEFINE_LAYING(ROWS, VECTORS)                                                 \
    static void lay_##VECTORS(int64_t depth, const left_matrix *left, right_matrix b,  \
                              const ends *at, REAL *panel)                           \
    {                                                                                \
        fill_##ROWS##x##VECTORS(depth, left, b, at, panel);                          \
    }
#define LAYING(ROWS, VECTORS) DEFINE_LAYING(ROWS, VECTORS)
LAYING(TALL, 1)
LAYING(TALL, 2)
LAYING(LOW, 3)
static void (*const LAY_PANEL[3])(int64_t, const left_matrix *, right_matrix,
                                  const ends *, REAL *) = {lay_1, lay_2, lay_3};

static inline int64_t round_up(int64_t count, int64_t step)
{
    return (count + step - 1) / step * step;
}

/* The size of equal parts of at most so many. */
static inline int64_t split_evenly(int64_t count, int64_t most)
{
    const int64_t parts = round_up(count, most) / most;
    return parts > 1 ? (count + parts - 1) / parts : count;
}

/* Values from one row of a matrix to the next: whole vectors, and from four lines of the
   cache on an odd number of lines. Rows that lie a power of two apart would share a few
   of the cache's sets, and a tile that walks down them would find little of it. */
int64_t row_stride(int64_t count)
{
    enum { LINE = 64 / sizeof(REAL), FEW = 4 };
    if (count <= (FEW - 1) * LINE) return round_up(count, LANES);
    return (round_up(count, LINE) / LINE | 1) * LINE;
}

enum {
    WIDEST = 3, /* vectors of a tile */
    /* rows of a panel of the right matrix that stays in the first cache */
    DEEP = 24 * 1024 / (WIDEST * VECTOR_BYTES),
    ROWS_KEPT = 24, /* or a multiple of them: whole tiles of any kind */
    COLUMNS_WORTH = 128 /* a copy of the left matrix */
};

/* Values of the left matrix that stay in the second cache, of which they have half. */
static int64_t num_kept(void)
{
    static int64_t kept; /* a virtual machine is slow to tell */
    if (kept == 0) {
        int64_t bytes = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
        bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
        kept = (bytes > 0 ? bytes : 512 * 1024) / 2 / (int64_t)sizeof(REAL);
    }
    return kept;
}

/* Room for copies, and what depends on the processor. */
typedef struct {
    REAL *panel; /* `panel_size` values */
    REAL *left; /* `num_kept` values */
    /* so many tiles below each other make it worth to lay a panel; none do where it is 0 */
    int64_t often;
    int64_t cuts; /* whether sums are put aside after DEEP terms, for the first cache */
} copies_room;

static inline int64_t panel_size(int64_t depth) { return depth * WIDEST * LANES; }

static inline right_matrix from_row(right_matrix of, int64_t row)
{
    return (right_matrix){of.at + row * of.row, of.row};
}

static inline left_matrix from_place(left_matrix of, int64_t row, int64_t column)
{
    return (left_matrix){of.at + row * of.row + column * of.column, of.row, of.column};
}

static inline right_matrix from_column(right_matrix of, int64_t column)
{
    return (right_matrix){of.at + column, of.row};
}

/* A part of a product: some of its rows, and some of the terms of their sums. */
typedef struct {
    int64_t rows, columns, depth;
    left_matrix a;
    right_matrix b, start, c;
    int first, last; /* of the terms: where sums wait for more, they do so in c */
} part;

static REAL ZEROS[WIDEST * LANES];
/* added to sums that wait: not even the sign of a zero changes */
static REAL NOTHING[WIDEST * LANES] = {[0 ... WIDEST * LANES - 1] = (REAL)-0.0};

/* The tiles below each other in a few columns. With a panel, the first lays it, and what
   is read next of the right matrix, from `next` on, comes nearer meanwhile. */
static void multiply_panel(const part *p, int64_t width, right_matrix b, ends e,
                           REAL *panel, const REAL *next)
{
    enum { LINE = 64 / sizeof(REAL) };
    const tile *kind = TILES[width - 1];
    const int64_t share = (p->depth * kind->rows + p->rows - 1) / p->rows;
    left_matrix a = p->a;
    for (int64_t left = p->rows, k = 0; left > 0; left -= kind->rows) {
        /* two of four rows are better than one of six and one of two */
        while (kind->rows > left || (!panel && kind->rows == 6 && left == 8)) kind++;
        for (int64_t end = k + share; next && k < end && k < p->depth; k++)
            for (int64_t n = 0; n < width * LANES; n += LINE)
                __builtin_prefetch(next + k * p->b.row + n);
        if (panel) {
            LAY_PANEL[width - 1](p->depth, &a, b, &e, panel);
            b = (right_matrix){panel, width * LANES};
            panel = 0;
        } else
            kind->run(p->depth, &a, b, &e);
        a.at += kind->rows * a.row;
        e.before.at += kind->rows * e.before.row;
        e.start.at += kind->rows * e.start.row;
        e.c.at += kind->rows * e.c.row;
    }
}

static void multiply_part(const part *p, const copies_room *room)
{
    const int64_t vectors = round_up(p->columns, LANES) / LANES;
    for (int64_t done = 0, width; done < vectors; done += width) {
        const int64_t left = vectors - done, n = done * LANES;
        /* four are better as two and two than as three and a slow one */
        width = left == 4 ? 2 : left > WIDEST ? WIDEST : left;
        const right_matrix b = from_column(p->b, n), c = from_column(p->c, n);
        const ends e = {p->first ? (right_matrix){ZEROS, 0} : c,
                        p->last ? from_column(p->start, n) : (right_matrix){NOTHING, 0}, c};
        const int64_t worth = room->often * TILES[width - 1]->rows;
        const int lays = worth > 0 && p->rows >= worth && b.row > 2 * width * LANES;
        const REAL *next = left > width ? b.at + width * LANES
                           : p->last    ? 0
                                        : from_row(p->b, p->depth).at;
        multiply_panel(p, width, b, e, lays ? room->panel : 0, lays ? next : 0);
    }
}

/* Rows of a left matrix that is read down its columns, side by side. */
static left_matrix copy_left(int64_t rows, int64_t depth, left_matrix from, REAL *to)
{
    for (int64_t k = 0; k < depth; k++)
        memcpy(to + k * rows, from.at + k * from.column, rows * sizeof(REAL));
    return (left_matrix){to, 1, rows};
}

/* Columns are rounded up to whole vectors: what lies behind the last must be writable,
   and the caller sees to it that it stays zero where that matters. */
static void multiply(int64_t rows, int64_t columns, int64_t depth, left_matrix a,
                     right_matrix b, right_matrix start, right_matrix c, copies_room room)
{
    const int64_t kept = num_kept();
    int64_t terms = depth, few = rows;
    if (room.cuts && start.at != c.at && rows * DEEP <= kept)
        terms = split_evenly(depth, DEEP);
    const int copies = a.row == 1 && rows * depth > kept && columns >= COLUMNS_WORTH &&
                       ROWS_KEPT * depth <= kept;
    if (copies)
        few = round_up(split_evenly(rows, kept / depth / ROWS_KEPT * ROWS_KEPT), ROWS_KEPT);
    for (int64_t k = 0; k < depth; k += terms)
        for (int64_t m = 0; m < rows; m += few) {
            part p = {rows - m < few ? rows - m : few,
                      columns,
                      depth - k < terms ? depth - k : terms,
                      from_place(a, m, k),
                      from_row(b, k),
                      from_row(start, m),
                      from_row(c, m),
                      k == 0,
                      k + terms >= depth};
            if (copies) p.a = copy_left(p.rows, p.depth, p.a, room.left);
            multiply_part(&p, &room);
        }
}
