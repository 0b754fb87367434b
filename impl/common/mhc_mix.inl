/* SPDX-License-Identifier: Apache-2.0 */
/* pre, post and comb of a token in 16 lanes: lane 4j + k has comb[j, k], lanes 0..3 have pre, 4..7 post as well. */
#ifndef DSV4_MHC_MIX_INL
#define DSV4_MHC_MIX_INL

#include "mhc_row.inl"

enum { MIX_TOGETHER = 8 };

/* Where a token's raw mixes lie; strides in bytes. */
struct mhc_raw {
    const char *mixes, *squares;
    int64_t mixes_split, mixes_row, squares_split, squares_row;
};

struct mhc_mix {
    struct mhc_raw raw;
    const float *scale, *base;
    int splits, iterations;
    float width, rms_eps, hc_eps, post_factor;
};

/* The first eight are loaded together. */
GPU_DEVICE float mhc_sum_splits(const char *at, int64_t split, int splits) {
    float sum = *(const float *)at, rest[MIX_TOGETHER - 1];
    if (splits == 1) return sum;
    GPU_UNROLL for (int s = 1; s < MIX_TOGETHER; s++) rest[s - 1] =
        s < splits ? *(const float *)(at + s * split) : -0.0f;
    GPU_UNROLL for (int s = 1; s < MIX_TOGETHER; s++) sum += rest[s - 1]; /* -0 is neutral */
    for (int s = MIX_TOGETHER; s < splits; s++) sum += *(const float *)(at + s * split);
    return sum;
}

GPU_DEVICE float mhc_lane(float x, int lane) { return gpu_float(team_read_u32(gpu_bits(x), lane)); }

/* Sum over the lanes first, first + step, ..., ascending. */
GPU_DEVICE float mhc_sum_lanes(float x, int first, int step) {
    const float a = mhc_lane(x, first), b = mhc_lane(x, first + step);
    const float c = mhc_lane(x, first + 2 * step), d = mhc_lane(x, first + 3 * step);
    return ((a + b) + c) + d;
}

GPU_DEVICE float mhc_sigmoid(float x) { return gpu_divide_float(1.0f, 1.0f + elementary_exp(-x)); }

GPU_DEVICE float mhc_sinkhorn(float c, float eps, int iterations) {
    const int lane = gpu_lane(), row = lane & ~3, column = lane & ~12;
    const float most = gpu_max(gpu_max(mhc_lane(c, row), mhc_lane(c, row + 1)),
                               gpu_max(mhc_lane(c, row + 2), mhc_lane(c, row + 3)));
    c = elementary_exp(c - most);
    c = gpu_divide_float(c, mhc_sum_lanes(c, row, 1)) + eps;
    c = gpu_divide_float(c, mhc_sum_lanes(c, column, 4) + eps);
    GPU_NO_UNROLL for (int i = 1; i < iterations; i++) {
        c = gpu_divide_float(c, mhc_sum_lanes(c, row, 1) + eps);
        c = gpu_divide_float(c, mhc_sum_lanes(c, column, 4) + eps);
    }
    return c;
}

/* weight: pre in lanes 0..3, post in 4..7; both halves of a team may have a token of their own. */
GPU_DEVICE float mhc_mix_token(float *weight, const struct mhc_mix &m, int64_t row) {
    const struct mhc_raw &raw = m.raw;
    const char *const mixes = raw.mixes + row * raw.mixes_row;
    const int i = gpu_lane() % 16, o = i % 8;
    const float squares =
        mhc_sum_splits(raw.squares + row * raw.squares_row, raw.squares_split, m.splits);
    const float r = elementary_rsqrt(gpu_divide_float(squares, m.width) + m.rms_eps);
    const float first = mhc_sum_splits(mixes + 4 * o, raw.mixes_split, m.splits) * r;
    const float second = mhc_sum_splits(mixes + 4 * (8 + i), raw.mixes_split, m.splits) * r;
    const float sigmoid = mhc_sigmoid(first * m.scale[o < 4 ? 0 : 1] + m.base[o]);
    *weight = o < 4 ? sigmoid + m.hc_eps : m.post_factor * sigmoid;
    return mhc_sinkhorn(second * m.scale[2] + m.base[8 + i], m.hc_eps, m.iterations);
}

/* ---- host ---- */

static inline void mhc_mix_of(struct mhc_mix *m, const dsv4_call *call, int64_t width) {
    m->scale = (const float *)dsv4_find(call, "scale")->data;
    m->base = (const float *)dsv4_find(call, "base")->data;
    m->iterations = (int)dsv4_int(call, "iterations", 20);
    m->width = (float)width;
    m->rms_eps = dsv4_float(call, "rms_eps", 1e-6f);
    m->hc_eps = dsv4_float(call, "hc_eps", 1e-6f);
    m->post_factor = dsv4_float(call, "post_factor", 2.0f);
}

static inline void mhc_raw_of(struct mhc_mix *m, const dsv4_call *call) {
    const dsv4_tensor *const mixes = dsv4_find(call, "mixes_raw"), *const squares =
                                                                       dsv4_find(call, "sqrsum");
    m->splits = (int)mixes->shape[0];
    m->raw.mixes = (const char *)mixes->data;
    m->raw.mixes_split = mixes->stride[0];
    m->raw.mixes_row = mixes->stride[1];
    m->raw.squares = (const char *)squares->data;
    m->raw.squares_split = squares->stride[0];
    m->raw.squares_row = squares->stride[1];
}

/* The raw mixes of mhc_dots_scratch. */
static inline void mhc_raw_in(struct mhc_mix *m, const char *at, int64_t split, int64_t row,
                              int splits) {
    m->splits = splits;
    m->raw.mixes = at;
    m->raw.squares = at + 4 * MHC_MIXES;
    m->raw.mixes_split = m->raw.squares_split = split;
    m->raw.mixes_row = m->raw.squares_row = row;
}

#endif
