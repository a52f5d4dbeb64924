/* Replicas that see the same batches, trained together by one core: the first layer is
   one product of the batch with all their weights side by side, and a batch is gathered
   once for all. Narrow layers gain: their weights fill the vectors without gaps. */

typedef struct {
    const int64_t *replicas;
    int64_t count;
    int64_t *made; /* steps made by each: fewer than asked for where a loss failed */
} crew;

typedef struct {
    right_matrix w, b, z; /* of the first layer: [fan_in], [1] and [batch] rows */
} first_layer;

static int64_t lay_out_first(const program *p, int64_t count, REAL *scratch,
                             first_layer *first)
{
    const int64_t row = row_stride(count * p->sizes[1]);
    const int64_t batch = round_up(p->batch_size, LANES);
    first->w = (right_matrix){scratch, row};
    first->b = (right_matrix){scratch + p->sizes[0] * row, 0};
    first->z = (right_matrix){first->b.at + row, row};
    return (p->sizes[0] + 1 + batch) * row;
}

int64_t shared_scratch_size(const program *p, int64_t count)
{
    first_layer unused;
    return scratch_size(p) + lay_out_first(p, count, 0, &unused);
}

/* Columns of one replica, out of those side by side or into them. */
static void copy_columns(int64_t rows, int64_t columns, right_matrix from, right_matrix to)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(to.at + r * to.row, from.at + r * from.row, columns * sizeof(REAL));
}

static right_matrix part_of(right_matrix all, int64_t number, int64_t columns)
{
    return (right_matrix){all.at + number * columns, all.row};
}

static void copy_first_layer(const program *p, const stack *s, const crew *c,
                             const first_layer *first, int outwards)
{
    const int64_t fan_in = p->sizes[0], fan_out = p->sizes[1];
    for (int64_t n = 0; n < c->count; n++) {
        const right_matrix w = {weights(s, c->replicas[n], 0), row_stride(fan_out)};
        const right_matrix b = {biases(s, c->replicas[n], 0), 0};
        const right_matrix all_w = part_of(first->w, n, fan_out);
        const right_matrix all_b = part_of(first->b, n, fan_out);
        copy_columns(fan_in, fan_out, outwards ? all_w : w, outwards ? w : all_w);
        copy_columns(1, fan_out, outwards ? all_b : b, outwards ? b : all_b);
    }
}

/* The layers after the first, of one replica; its columns of `first->z` become scaled
   gradients, or zeros when it fails. */
static void pass_through(const program *p, const stack *s, const crew *c, int64_t number,
                         const int64_t *order_B, int64_t size, double rate, int64_t step,
                         const first_layer *first, const workspace *space)
{
    const int64_t replica = c->replicas[number], width = p->sizes[1];
    const right_matrix z = part_of(first->z, number, width);
    const right_matrix a = {activation(p, space, 1), row_stride(width)};
    if (c->made[number] == step) {
        copy_columns(size, width, z, a);
        if (p->rectifies) rectify(size * a.row, a.at);
        REAL *outputs = forward(p, s, replica, size, 1, space);
        const sums batch = score(p, order_B, size, outputs, rate);
        if (isfinite(batch.loss)) {
            add_sums(s, replica, batch);
            descend(p, s, replica, size, 1, space);
            copy_columns(size, width, a, z);
            c->made[number]++;
            return;
        }
    }
    for (int64_t n = 0; n < size; n++) memset(z.at + n * z.row, 0, width * sizeof(REAL));
}

/* As `train`, for a crew; networks have a hidden layer at least. */
void train_shared(const program *p, const stack *s, const crew *c, const course *course,
                  int64_t first_batch, int64_t num_steps, const double *lr, REAL *scratch)
{
    workspace space;
    first_layer first;
    lay_out_first(p, c->count, scratch + lay_out(p, scratch, &space), &first);
    const int64_t fan_in = p->sizes[0], columns = c->count * p->sizes[1];
    const right_matrix x = {space.activations, row_stride(fan_in)};
    copy_first_layer(p, s, c, &first, 0);
    for (int64_t step = 0; step < num_steps; step++) {
        const int64_t *order_B;
        const int64_t size = batch_at(p, course, first_batch + step, &order_B);
        gather_batch(p, order_B, size, x.at);
        multiply(size, columns, terms(fan_in), left_of(size, fan_in, x, space.left),
                 pair_rows(fan_in, columns, first.w, space.right), first.b, first.z,
                 space.copies);
        for (int64_t n = 0; n < c->count; n++)
            pass_through(p, s, c, n, order_B, size, lr[step] / size, step, &first, &space);
        multiply(fan_in, columns, terms(size),
                 left_transposed(fan_in, size, x, space.left),
                 pair_rows(size, columns, first.z, space.right), first.w, first.w,
                 space.copies);
        add_rows(size, columns, first.z, first.b.at);
    }
    copy_first_layer(p, s, c, &first, 1);
}
