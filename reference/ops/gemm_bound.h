/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of the GEMMs whose factors are codes under scales. */
#ifndef DSV4_GEMM_BOUND_H
#define DSV4_GEMM_BOUND_H

#include "../bound/admit.h"
#include "gemm_family.h"

/* One output: blocks of codes, each block under the product of two scales. */
struct gemm_dot {
    struct dsv4_terms terms;
    double least;        /* what subnormal intermediate results may lose */
    double fp8_variance; /* of the sum in TC13-PROMOTE128 */
};

/* Adds the exact products of n codes under scales x and y. */
void gemm_dot_add(struct gemm_dot *dot, const double *a, const double *b, int64_t n, double x,
                  double y);

/* The ball and the variance of the sum. `kind`: DSV4_SUM_FP8, or DSV4_SUM_DOT where A is bf16. */
struct dsv4_ball gemm_dot_ball(const struct gemm_dot *dot, const dsv4_arithmetic *a,
                               enum dsv4_sum_kind kind, double *variance);

#endif
