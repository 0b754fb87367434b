/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of the ops that normalise rows. */
#ifndef DSV4_NORM_BOUND_H
#define DSV4_NORM_BOUND_H

#include "../bound/admit.h"
#include "norm_family.h"

/* Other orders of the sum and of the two products. */
#define NORM_LATITUDE "norm-in-order partials-of-32 weight-first"

/* rsqrt(mean of squares + eps) of n values. */
struct dsv4_ball norm_factor_ball(const dsv4_arithmetic *a, const float *x, int64_t n, float eps);
struct dsv4_ball norm_factor_of(const dsv4_arithmetic *a, const struct dsv4_terms *squares,
                                int64_t n, float eps);

/* What norm_row() may give: n bf16 values at `offset` of output `slot`. */
void norm_row_bound(struct dsv4_admission *a, size_t slot, int64_t offset, const uint16_t *x,
                    int64_t n, float eps, const float *weight);

#endif
