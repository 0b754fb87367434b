/* SPDX-License-Identifier: Apache-2.0 */
/* Products are rounded before they are added, and rows are summed in one run from their end. */
#include "numbers.h"

static inline float dsv4_variant_fma(float x, float y, float z) {
    return x * y + z; /* the canon's flags do not contract it */
}

static inline float dsv4_variant_squares(const float *x, int64_t n) {
    float sum = 0.0f;
    for (int64_t i = n - 1; i >= 0; i--) sum = dsv4_variant_fma(x[i], x[i], sum);
    return sum;
}

static inline float dsv4_variant_squares_bf16(const uint16_t *x, int64_t n) {
    float sum = 0.0f;
    for (int64_t i = n - 1; i >= 0; i--) {
        const float value = dsv4_bf16_to_f32(x[i]);
        sum = dsv4_variant_fma(value, value, sum);
    }
    return sum;
}

static inline float dsv4_variant_sum(const float *x, int64_t n) {
    float sum = 0.0f;
    for (int64_t i = n - 1; i >= 0; i--) sum += x[i];
    return sum;
}

#define fmaf dsv4_variant_fma
#define dsv4_row_squares dsv4_variant_squares
#define dsv4_row_squares_bf16 dsv4_variant_squares_bf16
#define dsv4_row_sum dsv4_variant_sum
