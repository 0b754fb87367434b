/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of the ops that norm, rotate and store rows: what other arithmetic than the canon's may make of a row of balls. */
#ifndef DSV4_KV_BOUND_H
#define DSV4_KV_BOUND_H

#include "../bound/admit.h"
#include "kv_compressor.h"

/* Other orders of the sum of squares and of the two products, and fused products. */
#define KV_NORM_LATITUDE "norm-in-order weight-first"
#define KV_ROPE_LATITUDE "rope-fused"
#define KV_POOL_LATITUDE "one-block divide-first"

/* n exact values. */
void kv_balls_of(struct dsv4_ball *balls, const float *values, int64_t n);

/* x * rsqrt(mean of squares + eps), [* weight]. */
void kv_norm_balls(const dsv4_arithmetic *a, struct dsv4_ball *x, int64_t n, float eps,
                   const float *weight);

/* Rotates KV_ROPE values by a row of the table, or turns them back. */
void kv_rope_balls(struct dsv4_ball *x, const float *angle, bool back);

/* e * c + o * s, of exact c and s, with both products rounded or one of them fused. */
struct dsv4_ball kv_rotated_ball(struct dsv4_ball e, double c, struct dsv4_ball o, double s);

/* Pooled values of a window. */
void kv_pool_balls(const struct kv_state *state, const dsv4_arithmetic *a, struct dsv4_ball *values,
                   int64_t request, int64_t position);

/* What kv_store_row() may leave at `slot` of the cache, which is output `output`. Settled: no value is needed. */
bool kv_store_settled(struct dsv4_admission *a, const struct kv_store *store, size_t output,
                      int64_t slot);
void kv_store_bound(struct dsv4_admission *a, const struct kv_store *store, size_t output,
                    const struct dsv4_ball *values, int64_t slot);

/* What kv_finish_row() may leave of pooled values, which are overwritten. */
void kv_finish_bound(struct dsv4_admission *a, const struct kv_finish *finish, size_t output,
                     struct dsv4_ball *values, int64_t t, int64_t position);

#endif
