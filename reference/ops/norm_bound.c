/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of RMSNorm. From the bf16 row, exactly: the squares, which are terms of a sum in the declared class; their mean
 * by one division or product with 1/n (no more than divide_ulp); eps added; rsqrt within rsqrt_ulp; x * r and the product
 * with the weight rounded in either order, three roundings at most (x * r, r * weight or y * weight, and the stored one).
 */
#include "norm_bound.h"

struct dsv4_ball norm_factor_of(const dsv4_arithmetic *a, const struct dsv4_terms *squares,
                                int64_t n, float eps) {
    struct dsv4_terms terms = *squares;
    /* Squares that overflow or vanish have no ball: a row of extremes is compared as bits. */
    if (terms.v > 0x1p127 || (terms.v != 0 && terms.v < 0x1p-100)) terms.v = NAN;
    const struct dsv4_ball sum = dsv4_ball_sum(a, DSV4_SUM_ROW, &terms),
                           count = dsv4_ball_of((double)n);
    const struct dsv4_ball mean = dsv4_ball_div(a, sum, count);
    return dsv4_ball_rsqrt(a, dsv4_ball_add(mean, dsv4_ball_of((double)eps)));
}

struct dsv4_ball norm_factor_ball(const dsv4_arithmetic *a, const float *x, int64_t n, float eps) {
    struct dsv4_terms terms = {0};
    for (int64_t i = 0; i < n; i++) dsv4_terms_add(&terms, (double)x[i] * (double)x[i], 0);
    return norm_factor_of(a, &terms, n, eps);
}

void norm_row_bound(struct dsv4_admission *a, size_t slot, int64_t offset, const uint16_t *x,
                    int64_t n, float eps, const float *weight) {
    enum { PART = 128 };
    float values[NORM_MAX_WIDTH];
    struct dsv4_ball balls[PART];
    const struct dsv4_row row = {slot, offset, 2, DSV4_AS_BF16, n, 1};
    if (dsv4_admit_same(a, &row, 0, n)) {
        dsv4_admit(a, &row, NULL, NULL);
        return;
    }
    values[0] = 0.0f;
    kv_load_bf16(values, x, (int)n);
    const struct dsv4_ball r = norm_factor_ball(&a->arithmetic, values, n, eps);
    for (int64_t first = 0; first < n; first += PART) {
        const int64_t left = n - first, size = left < PART ? left : PART;
        const struct dsv4_row part = {slot, offset + 2 * first, 2, DSV4_AS_BF16, size, 1};
        const bool same = dsv4_admit_same(a, &part, 0, size);
        for (int64_t i = 0; i < size && !same; i++) {
            balls[i] = dsv4_ball_mul(dsv4_ball_of((double)values[first + i]), r);
            if (weight != NULL)
                balls[i] = dsv4_ball_rounded(
                    dsv4_ball_mul(balls[i], dsv4_ball_of((double)weight[first + i])));
        }
        dsv4_admit(a, &part, balls, NULL);
    }
}
