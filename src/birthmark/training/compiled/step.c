/* Plain SGD on dense networks, one replica on one core for many steps at a time.

   The weights of a layer are [fan_in][row], row >= fan_out, and what lies behind fan_out
   is zero and stays zero. Gradients carry the factor -lr / batch size from the start, so
   that the update is one product that accumulates into the weights. Compiled at first
   use with REAL as float or double. */

#include "products.h"
#include "transposition.h"
#include "operands.h"
#include "exponential.h"

#include <string.h>

enum { CROSS_ENTROPY, CLIPPED_CROSS_ENTROPY };

/* What all replicas share. */
typedef struct {
    int64_t num_layers;
    const int64_t *sizes; /* num_layers + 1: inputs, hidden widths, classes */
    int64_t batch_size;
    const uint8_t *pixels_NI;
    const int64_t *classes_N;
    double full_scale, mean, std;
    int64_t loss;
    double eps;
    int64_t rectifies; /* between the layers: relu, or nothing */
    int64_t often, cuts; /* of a `copies_room` */
} program;

/* The replicas: each pointer is to the first of them, each step leads to the next. */
typedef struct {
    REAL *const *w, *const *b; /* by layer */
    const int64_t *w_step, *b_step;
    double *loss; /* sums over the examples seen, one for each replica */
    int64_t *correct, *below_eps, *saturated;
} stack;

typedef struct {
    double loss;
    int64_t correct, below_eps, saturated;
} sums;

static REAL *weights(const stack *s, int64_t replica, int64_t layer)
{
    return s->w[layer] + replica * s->w_step[layer];
}

static REAL *biases(const stack *s, int64_t replica, int64_t layer)
{
    return s->b[layer] + replica * s->b_step[layer];
}

static void add_sums(const stack *s, int64_t replica, sums batch)
{
    s->loss[replica] += batch.loss;
    s->correct[replica] += batch.correct;
    s->below_eps[replica] += batch.below_eps;
    s->saturated[replica] += batch.saturated;
}

/* The working memory of one replica, with room for whole vectors in both directions. */
typedef struct {
    REAL *delta_OB, *below_IB; /* gradients by outputs and by inputs, transposed */
    REAL *zeros_B;
    copies_room copies;
    REAL *left, *right; /* for pairs of bfloat16 */
    REAL *activations; /* what enters each layer, and the outputs: one after the other */
} workspace;

static int64_t larger(int64_t one, int64_t other) { return one > other ? one : other; }

static int64_t activation_size(const program *p, int64_t layer)
{
    return round_up(p->batch_size, LANES) * row_stride(p->sizes[layer]);
}

static REAL *activation(const program *p, const workspace *space, int64_t layer)
{
    REAL *at = space->activations;
    for (int64_t l = 0; l < layer; l++) at += activation_size(p, l);
    return at;
}

/* Lays the workspace out from `scratch` on; returns how many values it has. */
static int64_t lay_out(const program *p, REAL *scratch, workspace *space)
{
    const int64_t batch = round_up(p->batch_size, LANES), across = row_stride(batch);
    int64_t transposed = 0, left = 0, right = 0, activations = 0, deepest = batch;
    for (int64_t l = 0; l <= p->num_layers; l++) {
        activations += activation_size(p, l);
        deepest = larger(deepest, p->sizes[l]);
        if (l > 0) transposed = larger(transposed, round_up(p->sizes[l], LANES) * across);
    }
#ifdef BF16
    for (int64_t l = 0; l < p->num_layers; l++) {
        const int64_t in = p->sizes[l] + 1, out = p->sizes[l + 1] + 1;
        left = larger(left, larger(batch * row_stride(in), in * row_stride(terms(out))));
        right = larger(right, larger(batch, terms(in)) * row_stride(out));
    }
#endif
    space->delta_OB = scratch;
    space->below_IB = space->delta_OB + transposed;
    space->zeros_B = space->below_IB + transposed;
    REAL *panel = space->zeros_B + across;
    space->copies = (copies_room){panel, panel + panel_size(deepest), p->often, p->cuts};
    space->left = space->copies.left + num_kept();
    space->right = space->left + left;
    space->activations = space->right + right;
    return space->activations + activations - scratch;
}

int64_t scratch_size(const program *p)
{
    workspace unused;
    return lay_out(p, 0, &unused);
}

/* pixel / full_scale, then (. - mean) / std, rounded as a division is */
static inline REAL divide(REAL value, REAL by, REAL inverse)
{
    const REAL quotient = value * inverse;
    return quotient + (value - quotient * by) * inverse;
}

static void gather_batch(const program *p, const int64_t *order_B, int64_t size, REAL *x)
{
    enum { AHEAD = 4, LINE = 64 };
    const int64_t num_inputs = p->sizes[0], row = row_stride(num_inputs);
    const REAL full_scale = p->full_scale, per_scale = 1 / full_scale;
    const REAL mean = p->mean, std = p->std, per_std = 1 / std;
    for (int64_t b = 0; b < size; b++, x += row) {
        const uint8_t *pixels_I = p->pixels_NI + order_B[b] * num_inputs;
        if (b + AHEAD < size) {
            const uint8_t *next = p->pixels_NI + order_B[b + AHEAD] * num_inputs;
            for (int64_t i = 0; i < num_inputs; i += LINE) __builtin_prefetch(next + i);
        }
        for (int64_t i = 0; i < num_inputs; i++)
            x[i] = divide((REAL)pixels_I[i], full_scale, per_scale);
        if (p->mean != 0 || p->std != 1)
            for (int64_t i = 0; i < num_inputs; i++)
                x[i] = divide(x[i] - mean, std, per_std);
    }
}

static void rectify(int64_t count, REAL *values)
{
    for (int64_t i = 0; i < count; i++) /* NaN stays NaN */
        if (values[i] < 0) values[i] = 0;
}

/* Outputs of a batch that stands in the activation of the given layer. */
static REAL *forward(const program *p, const stack *s, int64_t replica, int64_t size,
                     int64_t layer, const workspace *space)
{
    right_matrix a = {activation(p, space, layer), row_stride(p->sizes[layer])};
    for (int64_t l = layer; l < p->num_layers; l++) {
        const int64_t fan_in = p->sizes[l], fan_out = p->sizes[l + 1];
        const int64_t row = row_stride(fan_out);
        const right_matrix w = {weights(s, replica, l), row};
        const right_matrix b = {biases(s, replica, l), 0};
        const right_matrix z = {activation(p, space, l + 1), row};
        multiply(size, fan_out, terms(fan_in), left_of(size, fan_in, a, space->left),
                 pair_rows(fan_in, fan_out, w, space->right), b, z, space->copies);
        if (p->rectifies && l + 1 < p->num_layers) rectify(size * row, z.at);
        a = z;
    }
    return a.at;
}

/* The largest of a row; pads it to whole vectors with values that softmax makes 0. */
static REAL find_largest(int64_t num_classes, REAL *z)
{
    const int64_t end = round_up(num_classes, LANES);
    for (int64_t k = num_classes; k < end; k++) z[k] = -INFINITY;
    vector most = LOAD(z);
    for (int64_t k = LANES; k < end; k += LANES) {
        const vector next = LOAD(z + k);
        most = select_vector((whole)(next > most), next, most);
    }
    REAL largest = most[0];
    for (int64_t k = 1; k < LANES; k++)
        if (most[k] > largest) largest = most[k];
    return largest;
}

/* z becomes exp(z - largest); returns the sum. */
static REAL raise_all(int64_t num_classes, REAL *z, REAL largest)
{
    vector total = {0};
    for (int64_t k = 0; k < num_classes; k += LANES) {
        const vector part = exp_of_negative(LOAD(z + k) - largest);
        STORE(z + k, part);
        total += part;
    }
    REAL sum = 0;
    for (int64_t k = 0; k < LANES; k++) sum += total[k];
    return sum;
}

/* The first of the largest outputs is the prediction. */
static int is_first_largest(const REAL *z, int64_t y, REAL largest)
{
    if (z[y] != largest) return 0;
    for (int64_t k = 0; k < y; k++)
        if (z[k] == largest) return 0;
    return 1;
}

/* The losses of a batch, added up; its outputs become their gradients times -rate. */
static sums score(const program *p, const int64_t *order_B, int64_t size, REAL *z,
                  double rate)
{
    const int64_t num_classes = p->sizes[p->num_layers], row = row_stride(num_classes);
    const REAL low = p->eps, high = 1 - p->eps;
    sums sum = {0};
    for (int64_t b = 0; b < size; b++, z += row) {
        const int64_t y = p->classes_N[order_B[b]];
        const REAL z_true = z[y], largest = find_largest(num_classes, z);
        sum.correct += is_first_largest(z, y, largest);
        const REAL inverse = 1 / raise_all(num_classes, z, largest);
        const REAL p_true = z[y] * inverse;
        const REAL clipped = p_true < low ? low : p_true > high ? high : p_true;
        REAL factor = -rate;
        if (p->loss == CROSS_ENTROPY) {
            sum.loss += (REAL)(largest - z_true - log((double)inverse));
        } else {
            sum.loss += (REAL)-log((double)clipped);
            if (clipped != p_true) factor = 0; /* the edges of the clip are inside */
        }
        sum.below_eps += p_true < low;
        sum.saturated += p_true > high;
        for (int64_t k = 0; k < num_classes; k += LANES)
            STORE(z + k, LOAD(z + k) * (inverse * factor));
        z[y] = (p_true - 1) * factor;
    }
    return sum;
}

/* to[c] += sum over r of from[r][c] */
static void add_rows(int64_t rows, int64_t columns, right_matrix from, REAL *to)
{
    for (int64_t c = 0; c < columns; c += LANES) {
        vector sum = {0};
        for (int64_t r = 0; r < rows; r++) sum += LOAD(from.at + r * from.row + c);
        STORE(to + c, LOAD(to + c) + sum);
    }
}

/* From the scaled gradients of the outputs down to the given layer, updating each. The
   gradients by what entered a layer take its place. */
static void descend(const program *p, const stack *s, int64_t replica, int64_t size,
                    int64_t layer, const workspace *space)
{
    const int64_t across = row_stride(p->batch_size), last = p->num_layers - 1;
    const right_matrix delta_OB = {space->delta_OB, across};
    const right_matrix below_IB = {space->below_IB, across}, zeros = {space->zeros_B, 0};
    right_matrix delta = {activation(p, space, last + 1), row_stride(p->sizes[last + 1])};
    for (int64_t l = last; l >= layer; l--) {
        const int64_t fan_in = p->sizes[l], fan_out = p->sizes[l + 1];
        const right_matrix w = {weights(s, replica, l), row_stride(fan_out)};
        const right_matrix a = {activation(p, space, l), row_stride(fan_in)};
        if (l > 0) {
            right_transposed(fan_out, size, delta, space->right, delta_OB);
            multiply(fan_in, size, terms(fan_out),
                     left_of(fan_in, fan_out, w, space->left), delta_OB, zeros, below_IB,
                     space->copies);
        }
        multiply(fan_in, fan_out, terms(size),
                 left_transposed(fan_in, size, a, space->left),
                 pair_rows(size, fan_out, delta, space->right), w, w, space->copies);
        add_rows(size, fan_out, delta, biases(s, replica, l));
        if (l > 0) {
            const int64_t behind = round_up(fan_in, LANES) - fan_in;
            memset(below_IB.at + fan_in * across, 0, behind * across * sizeof(REAL));
            transpose(fan_in, size, below_IB, a, p->rectifies);
        }
        delta = a;
    }
}

/* Batches of one epoch, in the order in which a replica visits the examples. */
typedef struct {
    const int64_t *order_N;
    int64_t num_examples;
} course;

static int64_t batch_at(const program *p, const course *c, int64_t batch,
                        const int64_t **order_B)
{
    const int64_t first = batch * p->batch_size, left = c->num_examples - first;
    *order_B = c->order_N + first;
    return left < p->batch_size ? left : p->batch_size;
}

/* Makes so many steps of one replica from the given batch on, with a rate for each, and
   returns how many were made: it stops before a batch whose loss is not finite. */
int64_t train(const program *p, const stack *s, int64_t replica, const course *c,
              int64_t first_batch, int64_t num_steps, const double *lr, REAL *scratch)
{
    workspace space;
    lay_out(p, scratch, &space);
    for (int64_t step = 0; step < num_steps; step++) {
        const int64_t *order_B;
        const int64_t size = batch_at(p, c, first_batch + step, &order_B);
        gather_batch(p, order_B, size, space.activations);
        REAL *z = forward(p, s, replica, size, 0, &space);
        const sums batch = score(p, order_B, size, z, lr[step] / size);
        if (!isfinite(batch.loss)) return step;
        add_sums(s, replica, batch);
        descend(p, s, replica, size, 0, &space);
    }
    return num_steps;
}

/* Adds up the losses of all examples, without a step. */
void evaluate(const program *p, const stack *s, int64_t replica, const course *c,
              REAL *scratch)
{
    workspace space;
    lay_out(p, scratch, &space);
    const int64_t num_batches = (c->num_examples + p->batch_size - 1) / p->batch_size;
    for (int64_t batch = 0; batch < num_batches; batch++) {
        const int64_t *order_B;
        const int64_t size = batch_at(p, c, batch, &order_B);
        gather_batch(p, order_B, size, space.activations);
        REAL *z = forward(p, s, replica, size, 0, &space);
        add_sums(s, replica, score(p, order_B, size, z, 0));
    }
}

#ifndef BF16 /* whose workspace has no room for many first layers */
#include "shared.h"
#endif
