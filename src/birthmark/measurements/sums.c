/* What is summed over a tensor at the start and now, in one pass over memory.

   Blocks are widened to float64 in the first cache, centred there by their own means,
   and merged by the formulas of Pebay (Sandia report SAND2008-6212), so that no moment
   is a difference of large numbers. The order of sums is fixed: the same numbers give
   the same bits, however many threads the caller has. */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 1024, NUM_SUMS = 18 };
enum { F32, F64, BF16, F16 };
enum {
    COUNT, MEAN, M2, M3, M4, ABSOLUTE, LARGEST, MEAN_A, MEAN_B, AA, BB, AB,
    SIGNED, KEPT, NONFINITE, CHANGED, ULPS, KEPT_BY_NOISE
};

static void widen(double *restrict out, const void *in, int dtype, int64_t start,
                  int n) {
    if (dtype == F32) {
        const float *x = (const float *)in + start;
        for (int i = 0; i < n; i++) out[i] = x[i];
    } else if (dtype == F64) {
        memcpy(out, (const double *)in + start, n * sizeof *out);
    } else if (dtype == BF16) {
        const uint16_t *x = (const uint16_t *)in + start;
        for (int i = 0; i < n; i++) {
            uint32_t bits = (uint32_t)x[i] << 16;
            float value;
            memcpy(&value, &bits, sizeof value);
            out[i] = value;
        }
    } else {
#ifdef __FLT16_MANT_DIG__
        const _Float16 *x = (const _Float16 *)in + start;
        for (int i = 0; i < n; i++) out[i] = (float)x[i];
#endif
    }
}

/* 1 / 2^floor(log2 size), by the bits of its exponent */
static inline double inverse_power(double size) {
    uint64_t bits;
    memcpy(&bits, &size, sizeof bits);
    bits = (2046ull << 52) - (bits & 0x7ff0000000000000ull);
    memcpy(&size, &bits, sizeof size);
    return size;
}

static void sum_block(const double *restrict a, const double *restrict b, int n,
                      double tiny, double *restrict s) {
    double sum_a = 0, sum_b = 0, sum_d = 0;
#pragma omp simd reduction(+ : sum_a, sum_b, sum_d)
    for (int i = 0; i < n; i++) {
        sum_a += a[i];
        sum_b += b[i];
        sum_d += b[i] - a[i];
    }
    double mean_a = sum_a / n, mean_b = sum_b / n, mean = sum_d / n;
    double aa = 0, bb = 0, ab = 0, m2 = 0, m3 = 0, m4 = 0;
#pragma omp simd reduction(+ : aa, bb, ab, m2, m3, m4)
    for (int i = 0; i < n; i++) {
        double x = a[i] - mean_a, y = b[i] - mean_b, d = b[i] - a[i] - mean;
        double square = d * d;
        aa += x * x;
        bb += y * y;
        ab += x * y;
        m2 += square;
        m3 += square * d;
        m4 += square * square;
    }
    /* the deviation of another weight, half a block further on, is noise of its size */
    double by_noise = 0;
    for (int part = 0, half = n / 2; part < 2; part++) {
        int first = part ? n - half : 0, last = part ? n : n - half;
        const double *c = a + (part ? half - n : half), *e = b + (part ? half - n : half);
#pragma omp simd reduction(+ : by_noise)
        for (int i = first; i < last; i++) {
            double other = a[i] + (e[i] - c[i]);
            by_noise +=
                ((a[i] > 0) & (other > 0)) | ((a[i] < 0) & (other < 0)) ? 1.0 : 0.0;
        }
    }
    double absolute = 0, largest = 0, is_signed = 0, kept = 0, changed = 0, ulps = 0;
#pragma omp simd reduction(+ : absolute, is_signed, kept, changed, ulps) \
    reduction(max : largest)
    for (int i = 0; i < n; i++) {
        double d = fabs(b[i] - a[i]), x = fabs(a[i]), y = fabs(b[i]);
        double size = x > y ? x : y;
        size = size > tiny ? size : tiny;
        absolute += d;
        largest = d > largest ? d : largest;
        changed += d != 0 ? 1.0 : 0.0;
        is_signed += x != 0 ? 1.0 : 0.0;
        /* by signs alone: a product of two small numbers may be zero */
        kept += ((a[i] > 0) & (b[i] > 0)) | ((a[i] < 0) & (b[i] < 0)) ? 1.0 : 0.0;
        ulps += d * inverse_power(size);
    }
    double found[NUM_SUMS] = {n,  mean, m2, m3,        m4,   absolute, largest, mean_a,
                              mean_b, aa, bb, ab, is_signed, kept, 0,  changed, ulps, by_noise};
    memcpy(s, found, sizeof found);
    if (!isfinite(sum_a + sum_b))
        for (int i = 0; i < n; i++) s[NONFINITE] += !isfinite(b[i] - a[i]);
}

static void merge(double *restrict s, const double *restrict t) {
    double p = s[COUNT], q = t[COUNT], n = p + q;
    if (q == 0) return;
    if (p == 0) {
        memcpy(s, t, NUM_SUMS * sizeof *s);
        return;
    }
    double d = t[MEAN] - s[MEAN], share = q / n, pq = p * share;
    double da = t[MEAN_A] - s[MEAN_A], db = t[MEAN_B] - s[MEAN_B];
    s[M4] += t[M4] + d * d * d * d * pq * (p * p - p * q + q * q) / (n * n) +
             6 * d * d * (p * p * t[M2] + q * q * s[M2]) / (n * n) +
             4 * d * (p * t[M3] - q * s[M3]) / n;
    s[M3] += t[M3] + d * d * d * pq * (p - q) / n + 3 * d * (p * t[M2] - q * s[M2]) / n;
    s[M2] += t[M2] + d * d * pq;
    s[AA] += t[AA] + da * da * pq;
    s[BB] += t[BB] + db * db * pq;
    s[AB] += t[AB] + da * db * pq;
    s[MEAN] += d * share;
    s[MEAN_A] += da * share;
    s[MEAN_B] += db * share;
    s[COUNT] = n;
    s[LARGEST] = t[LARGEST] > s[LARGEST] ? t[LARGEST] : s[LARGEST];
    s[ABSOLUTE] += t[ABSOLUTE];
    for (int k = SIGNED; k < NUM_SUMS; k++) s[k] += t[k];
}

/* Sums of n pairs into out; tiny is the smallest normal number of the dtype of b. */
void add_up(const void *a, int dtype_a, const void *b, int dtype_b, int64_t n,
            double tiny, double *restrict out) {
    double x[BLOCK], y[BLOCK], found[NUM_SUMS];
    memset(out, 0, NUM_SUMS * sizeof *out);
    for (int64_t start = 0; start < n; start += BLOCK) {
        int size = n - start < BLOCK ? (int)(n - start) : BLOCK;
        widen(x, a, dtype_a, start, size);
        widen(y, b, dtype_b, start, size);
        sum_block(x, y, size, tiny, found);
        merge(out, found);
    }
}
