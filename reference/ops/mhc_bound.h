/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of the hyper-connections: what other arithmetic may make of a token. */
#ifndef DSV4_MHC_BOUND_H
#define DSV4_MHC_BOUND_H

#include "../bound/admit.h"
#include "mhc_family.h"

/* Other orders of sums (splits that are not stored: of the parts too), and products that are rounded or not. */
#define MHC_DOTS_LATITUDE "blocks-of-256 blocks-reversed blocks-carried squares-in-order"
#define MHC_MIX_LATITUDE "base-fused reciprocal sums-in-pairs"

/* pre, post and comb of a token, as mhc_mix() leaves them. */
struct mhc_balls {
    struct dsv4_ball pre[MHC_STREAMS], post[MHC_STREAMS], comb[MHC_STREAMS * MHC_STREAMS];
};

/* The streams of a row behind each other: exact. A part: of `n` channels from `first` on. */
void mhc_row_balls(struct dsv4_ball *x, const dsv4_tensor *residual, int64_t t);
void mhc_row_part(struct dsv4_ball *x, const dsv4_tensor *residual, int64_t t, int64_t first,
                  int64_t n);

/* Dots of x[begin..end) with fn, and the sum of squares. */
void mhc_dot_balls(const dsv4_arithmetic *a, const struct mhc_dots *dots, const struct dsv4_ball *x,
                   int64_t begin, int64_t end, struct dsv4_ball *mixes, struct dsv4_ball *square);

/* Mixes and squares of splits that are inputs, summed. */
void mhc_raw_balls(const dsv4_arithmetic *a, const dsv4_tensor *mixes, const dsv4_tensor *squares,
                   int64_t t, struct dsv4_ball *sums, struct dsv4_ball *square);

/* rsqrt(square / width + eps). */
struct dsv4_ball mhc_rms_ball(const dsv4_arithmetic *a, const struct mhc_mix *mix,
                              struct dsv4_ball square);
/* sigmoid(fl(fl(m * scale) + base)) */
struct dsv4_ball mhc_gate_ball(const dsv4_arithmetic *a, struct dsv4_ball m, float scale,
                               float base);
void mhc_mix_balls(const dsv4_arithmetic *a, const struct mhc_mix *mix,
                   const struct dsv4_ball *mixes, struct dsv4_ball square, struct mhc_balls *out);

/* `o` of hidden channels: streams, which lie `n` apart in x, weighed; mhc_post() of the streams of a row. */
void mhc_collapse_balls(const dsv4_arithmetic *a, struct dsv4_ball *o, const struct dsv4_ball *x,
                        int64_t n, const struct dsv4_ball *pre);
void mhc_post_balls(const dsv4_arithmetic *a, struct dsv4_ball *out, const uint16_t *x,
                    const dsv4_tensor *residual, int64_t t, const float *post, const float *comb);
/* Of stream k, channels from `first` on. */
void mhc_post_part(const dsv4_arithmetic *a, struct dsv4_ball *out, const uint16_t *x,
                   const dsv4_tensor *residual, int64_t t, const float *post, const float *comb,
                   int64_t k, int64_t first, int64_t n);

/* What mhc_finish() stores of `o`, which is overwritten, in row t of output `slot`. */
void mhc_finish_bound(struct dsv4_admission *a, size_t slot, const dsv4_call *call, int64_t t,
                      struct dsv4_ball *o, enum mhc_norm norm, const uint16_t *weight);

/* Stream j of row t of a bf16 output; post and comb of a token. The rows, and what is in them. */
struct dsv4_row mhc_stream(size_t slot, const dsv4_call *call, int64_t t, int64_t j, int64_t n);
struct dsv4_row mhc_mixed(size_t slot, const dsv4_call *call, int64_t t, int64_t n);
void mhc_admit_row(struct dsv4_admission *a, size_t slot, const dsv4_call *call, int64_t t,
                   int64_t j, const struct dsv4_ball *x, int64_t n);
void mhc_admit_mixes(struct dsv4_admission *a, size_t post, size_t comb, const dsv4_call *call,
                     int64_t t, const struct mhc_balls *balls);

#endif
