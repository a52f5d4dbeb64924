/* Sums over pairs of stored numbers, in float64, without a branch in the loop.

   The caller gives blocks; what is not finite makes the sum of squares so, and the
   caller then goes the slow way. Sixteen sums side by side fill the registers, and do
   not wait for each other; what is compared is counted in float64 like the rest. Signs
   are compared as such: a product of two small numbers may be zero. */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16, NUM_SUMS = 11 };

static inline double wide_f32(float x) { return x; }
static inline double wide_f64(double x) { return x; }
static inline double wide_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
#ifdef __FLT16_MANT_DIG__
static inline double wide_f16(uint16_t x) {
    _Float16 value;
    memcpy(&value, &x, sizeof value);
    return (double)(float)value;
}
#endif

#define ADD_UP(NAME, TYPE, WIDE)                                                     \
    void NAME(const TYPE *restrict a, const TYPE *restrict b, int64_t n,             \
              double *restrict out) {                                               \
        double sums[NUM_SUMS][LANES] = {{0}};                                        \
        int64_t i = 0;                                                              \
        for (; i + LANES <= n; i += LANES)                                          \
            for (int j = 0; j < LANES; j++) {                                       \
                double x = WIDE(a[i + j]), y = WIDE(b[i + j]), d = y - x, p = x * y; \
                double size = fabs(d);                                              \
                sums[0][j] += x;                                                    \
                sums[1][j] += y;                                                    \
                sums[2][j] += x * x;                                                \
                sums[3][j] += y * y;                                                \
                sums[4][j] += p;                                                    \
                sums[5][j] += d * d;                                                \
                sums[6][j] += d != 0 ? 1.0 : 0.0;                                   \
                sums[7][j] += x != 0 ? 1.0 : 0.0;                                   \
                sums[8][j] += ((x > 0) & (y > 0)) | ((x < 0) & (y < 0)) ? 1.0 : 0.0; \
                sums[9][j] += x * d;                                                \
                sums[10][j] = size > sums[10][j] ? size : sums[10][j];              \
            }                                                                       \
        for (; i < n; i++) {                                                        \
            double x = WIDE(a[i]), y = WIDE(b[i]), d = y - x, p = x * y;             \
            double size = fabs(d);                                                  \
            sums[0][0] += x;                                                        \
            sums[1][0] += y;                                                        \
            sums[2][0] += x * x;                                                    \
            sums[3][0] += y * y;                                                    \
            sums[4][0] += p;                                                        \
            sums[5][0] += d * d;                                                    \
            sums[6][0] += d != 0 ? 1.0 : 0.0;                                       \
            sums[7][0] += x != 0 ? 1.0 : 0.0;                                       \
            sums[8][0] += ((x > 0) & (y > 0)) | ((x < 0) & (y < 0)) ? 1.0 : 0.0;     \
            sums[9][0] += x * d;                                                    \
            sums[10][0] = size > sums[10][0] ? size : sums[10][0];                  \
        }                                                                           \
        for (int k = 0; k < NUM_SUMS; k++)                                          \
            for (int j = 0; j < LANES; j++)                                         \
                out[k] = k < 10 ? out[k] + sums[k][j]                                \
                               : (sums[k][j] > out[k] ? sums[k][j] : out[k]);        \
    }

ADD_UP(add_up_f32, float, wide_f32)
ADD_UP(add_up_f64, double, wide_f64)
ADD_UP(add_up_bf16, uint16_t, wide_bf16)
#ifdef __FLT16_MANT_DIG__
ADD_UP(add_up_f16, uint16_t, wide_f16)
#endif
