/* Trains one replica from standard input to standard output: for processors on which
   Python does not run here. Numbers lie in the order in which main reads them. */

#include <stdio.h>
#include <stdlib.h>

#include "step.c"

static void *take(int64_t count, size_t size)
{
    void *values = malloc((size_t)count * size + 1);
    if (!values || fread(values, size, (size_t)count, stdin) != (size_t)count) exit(3);
    return values;
}

/* Rows of whole vectors, zeros behind what counts. */
static REAL *take_rows(int64_t rows, int64_t columns)
{
    REAL *padded = calloc((size_t)(rows * row_stride(columns)), sizeof(REAL));
    for (int64_t r = 0; r < rows; r++)
        if (fread(padded + r * row_stride(columns), sizeof(REAL), (size_t)columns, stdin) !=
            (size_t)columns)
            exit(3);
    return padded;
}

static void give_rows(int64_t rows, int64_t columns, const REAL *padded)
{
    for (int64_t r = 0; r < rows; r++)
        fwrite(padded + r * row_stride(columns), sizeof(REAL), (size_t)columns, stdout);
}

int main(void)
{
    const int64_t *head = take(5, sizeof(int64_t)); /* layers, batch, loss, N, epochs */
    const int64_t layers = head[0], examples = head[3], epochs = head[4];
    const double *numbers = take(5, sizeof(double)); /* full scale, mean, std, eps, lr */
    const int64_t *sizes = take(layers + 1, sizeof(int64_t));
    const uint8_t *pixels = take(examples * sizes[0], 1);
    const int64_t *classes = take(examples, sizeof(int64_t));
    const int64_t *orders = take(epochs * examples, sizeof(int64_t));
    REAL *w[layers], *b[layers];
    int64_t step[layers];
    for (int64_t l = 0; l < layers; l++) {
        w[l] = take_rows(sizes[l], sizes[l + 1]);
        b[l] = take_rows(1, sizes[l + 1]);
        step[l] = 0;
    }
    const program p = {layers, sizes, head[1], pixels, classes, numbers[0], numbers[1],
                       numbers[2], head[2], numbers[3], 1, 8};
    double loss = 0;
    int64_t correct = 0, below_eps = 0, saturated = 0;
    const stack s = {w, b, step, step, &loss, &correct, &below_eps, &saturated};
    workspace space;
    REAL *scratch = calloc((size_t)lay_out(&p, NULL, &space), sizeof(REAL));
    const int64_t steps = (examples + p.batch_size - 1) / p.batch_size;
    double *lr = malloc((size_t)steps * sizeof(double));
    for (int64_t i = 0; i < steps; i++) lr[i] = numbers[4];
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        const course c = {orders + epoch * examples, examples};
        if (train(&p, &s, 0, &c, 0, steps, lr, scratch) != steps) return 4;
    }
    for (int64_t l = 0; l < layers; l++) {
        give_rows(sizes[l], sizes[l + 1], w[l]);
        give_rows(1, sizes[l + 1], b[l]);
    }
    fwrite(&loss, sizeof(double), 1, stdout);
    return 0;
}
