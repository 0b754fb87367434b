/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of sums of products of codes. The products are exact, and so they are times the real product of the two scales:
 * these are the terms, in any order, in the declared class. A block adds three roundings to the path: the product of the
 * scales, its product with the partial, and the sum of blocks; they are counted as three terms more. Scales may meet the
 * partial in any order: what is subnormal on the way loses half of 2^-149, times what it is multiplied with.
 *
 * The variance in TC13-PROMOTE128: a step cuts 33 addends by up to a unit of 2^-13 of the largest, whose square is at most
 * that of the partial sum, S + v^2 on average over orders, S of dsv4_fp8_size(), and cuts its result. A cut has a mean of half a unit against
 * the addend's sign: 33 / 3 for what is independent, (33 / 2)^2 for the share of signs that agree, |v| / M.
 */
#include "gemm_bound.h"

void gemm_dot_add(struct gemm_dot *dot, const double *a, const double *b, int64_t n, double x,
                  double y) {
    double v = 0, magnitude = 0, squares = 0, sizes = 0, coarse = 0;
    const double scale = x * y;
    for (int64_t k = 0; k < n; k++) {
        const double p = a[k] * b[k], size = dsv4_fp8_size(a[k], b[k]);
        v += p;
        magnitude += fabs(p);
        squares += p * p;
        sizes += size;
        coarse += size * size;
    }
    dot->terms.v += v * scale;
    dot->terms.magnitude += magnitude * fabs(scale);
    dot->terms.sizes += sizes * fabs(scale);
    dot->terms.squares += squares * scale * scale;
    dot->terms.n += n + 3;
    const double agree = magnitude > 0 ? v * v / (magnitude * magnitude) : 0;
    dot->fp8_variance +=
        4 * (33.0 / 3 + 33.0 * 33 / 4 * agree + 1) * 0x1p-26 * (coarse + v * v) * scale * scale;
    dot->least += DSV4_BALL_LEAST * (fabs(x) + fabs(y) + magnitude);
}

struct dsv4_ball gemm_dot_ball(const struct gemm_dot *dot, const dsv4_arithmetic *a,
                               enum dsv4_sum_kind kind, double *variance) {
    struct dsv4_ball ball = dsv4_ball_sum(a, kind, &dot->terms);
    *variance = dsv4_sum_variance(a, kind, &dot->terms);
    if (dsv4_sum_class(a, kind) == DSV4_TC13_PROMOTE128) *variance = dot->fp8_variance;
    if (dot->least > ball.r) *variance = 0;
    ball.r += dot->least;
    return ball;
}
