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

/* One value in all places; sum += left * right. The intrinsic for pairs would make GCC 12
   keep the sums in memory. */
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
#define ADD_PRODUCT(sum, left, right) ((sum) += (left) * (right))
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

/* ROWS x VECTORS accumulators stay in registers for the whole sum. It begins at zero, and
   `start` is added at the end: each of many small terms would be lost beside a weight. */
#define DEFINE_TILE(ROWS, VECTORS)                                                   \
    static void tile_##ROWS##x##VECTORS(int64_t depth, left_matrix a,                \
                                        right_matrix b, right_matrix start,          \
                                        right_matrix c)                              \
    {                                                                                \
        vector sum[ROWS][VECTORS];                                                   \
        UNROLLED for (int64_t m = 0; m < ROWS; m++)                                  \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++)                           \
                sum[m][n] = (vector){0};                                             \
        UNROLLED for (int64_t m = 0; m < ROWS; m++) {                                \
            const REAL *wanted = start.at + m * start.row; /* at the end */          \
            __builtin_prefetch(wanted);                                              \
            __builtin_prefetch(wanted + VECTORS * LANES - 1);                        \
        }                                                                            \
        for (int64_t k = 0; k < depth; k++) {                                        \
            vector right[VECTORS];                                                   \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++)                           \
                right[n] = LOAD(b.at + n * LANES);                                   \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++) HOLD(right[n]);           \
            UNROLLED for (int64_t m = 0; m < ROWS; m++) {                            \
                const vector left = SPREAD(a.at + m * a.row);                        \
                UNROLLED for (int64_t n = 0; n < VECTORS; n++)                       \
                    ADD_PRODUCT(sum[m][n], left, right[n]);                          \
            }                                                                        \
            a.at += a.column;                                                        \
            b.at += b.row;                                                           \
        }                                                                            \
        UNROLLED for (int64_t m = 0; m < ROWS; m++)                                  \
            UNROLLED for (int64_t n = 0; n < VECTORS; n++)                           \
                STORE(c.at + m * c.row + n * LANES,                                  \
                      LOAD(start.at + m * start.row + n * LANES) + sum[m][n]);       \
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
    void (*run)(int64_t, left_matrix, right_matrix, right_matrix, right_matrix);
} tile;

#define NAME_TILE(ROWS, VECTORS) {ROWS, tile_##ROWS##x##VECTORS}
#define TILE(ROWS, VECTORS) NAME_TILE(ROWS, VECTORS)
static const tile TILES[3][4] = {
    {TILE(TALL, 1), TILE(4, 1), TILE(2, 1), TILE(1, 1)},
    {TILE(TALL, 2), TILE(4, 2), TILE(2, 2), TILE(1, 2)},
    {TILE(LOW, 3), TILE(4, 3), TILE(2, 3), TILE(1, 3)},
};

static inline int64_t round_up(int64_t count, int64_t step)
{
    return (count + step - 1) / step * step;
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

enum { WIDEST = 3 }; /* vectors of a tile */

/* Room for `panel_size` values, and how many tiles below each other make it worth a copy:
   that depends on the processor. None do where it is 0. */
typedef struct {
    REAL *at;
    int64_t often;
} panel_room;

static inline int64_t panel_size(int64_t depth) { return depth * WIDEST * LANES; }

/* A few columns, their rows laid one behind the other: the caches and the tables of pages
   then hold all that the tiles below each other walk down. */
static right_matrix lay_panel(int64_t depth, int64_t width, right_matrix from, REAL *panel)
{
    const right_matrix to = {panel, width * LANES};
    for (int64_t k = 0; k < depth; k++)
        for (int64_t n = 0; n < width; n++)
            STORE(to.at + k * to.row + n * LANES, LOAD(from.at + k * from.row + n * LANES));
    return to;
}

/* Columns are rounded up to whole vectors: what lies behind the last must be writable,
   and the caller sees to it that it stays zero where that matters. */
static void multiply(int64_t rows, int64_t columns, int64_t depth, left_matrix a,
                     right_matrix b, right_matrix start, right_matrix c,
                     panel_room panel)
{
    int64_t vectors = round_up(columns, LANES) / LANES;
    while (vectors > 0) {
        /* four are better as two and two than as three and a slow one */
        const int64_t width = vectors == 4 ? 2 : vectors > 3 ? 3 : vectors;
        const tile *kind = TILES[width - 1];
        right_matrix right = b;
        const int worth = panel.often > 0 && rows >= panel.often * kind->rows;
        if (worth && b.row > 2 * width * LANES)
            right = lay_panel(depth, width, b, panel.at);
        for (int64_t m = 0; m < rows; m += kind->rows) {
            while (kind->rows > rows - m) kind++;
            kind->run(depth, (left_matrix){a.at + m * a.row, a.row, a.column}, right,
                      (right_matrix){start.at + m * start.row, start.row},
                      (right_matrix){c.at + m * c.row, c.row});
        }
        b.at += width * LANES;
        start.at += width * LANES;
        c.at += width * LANES;
        vectors -= width;
    }
}
