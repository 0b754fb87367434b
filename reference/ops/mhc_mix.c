/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pre, post and comb of a token, MHC_LANES tokens side by side, in this order of rounding points:
 *   mean = sum of squares over splits / width    r = rsqrt(mean + rms_eps)    m[o] = (sum of mixes over splits) * r
 *   l = fl(fl(m[o] * scale) + base[o]), scale[0] for pre, scale[1] for post, scale[2] for comb
 *   pre = sigmoid(l) + hc_eps    post = post_factor * sigmoid(l)    sigmoid(l) = 1 / (1 + exp(-l))
 *   comb[j, k]: row maximum over k, exp(l - max), / row sum, + hc_eps; then / (column sum + hc_eps);
 *   then iterations - 1 times / (row sum + hc_eps), / (column sum + hc_eps). Sums of four ascend.
 */
#include <math.h>

#include "../num/exp.h"
#include "../num/rsqrt.h"
#include "mhc_family.h"

struct mhc_mix mhc_mix_of(const dsv4_call *call, const dsv4_tensor *scale, const dsv4_tensor *base,
                          int64_t splits, int64_t width, enum mhc_wrong wrong) {
    struct mhc_mix mix = {
        .splits = splits,
        .iterations = dsv4_int(call, "iterations", 20),
        .width = (float)width,
        .rms_eps = dsv4_float(call, "rms_eps", 1e-6f),
        .hc_eps = dsv4_float(call, "hc_eps", 1e-6f),
        .post_factor = dsv4_float(call, "post_factor", 2.0f),
        .scale = scale->data,
        .base = base->data,
        .wrong = wrong,
    };
    if (wrong == MHC_EPS_SWAPPED) {
        mix.rms_eps = dsv4_float(call, "hc_eps", 1e-6f);
        mix.hc_eps = dsv4_float(call, "rms_eps", 1e-6f);
    }
    if (wrong == MHC_RMS_EPS_LOST) mix.rms_eps = 0.0f;
    if (wrong == MHC_MEAN_OF_HIDDEN) mix.width /= 4.0f;
    if (wrong == MHC_ITERATION_SHORT) mix.iterations--;
    return mix;
}

/* What others may call has a body of its own that loops here can take in. */
static inline float sigmoid(float x) { return 1.0f / (1.0f + dsv4_exp(-x)); }

float mhc_sigmoid(float x) { return sigmoid(x); }

static inline float total(const struct mhc_mix *mix, const float *parts, int64_t split) {
    const int64_t n = mix->wrong == MHC_SPLIT_ALONE ? 1 : mix->splits;
    const bool reversed = mix->wrong == MHC_SPLITS_REVERSED;
    float sum = parts[(reversed ? n - 1 : 0) * split];
    for (int64_t s = 1; s < n; s++) sum += parts[(reversed ? n - 1 - s : s) * split];
    return sum;
}

float mhc_rms(const struct mhc_mix *mix, const float *squares, int64_t squares_split) {
    return dsv4_rsqrt(total(mix, squares, squares_split) / mix->width + mix->rms_eps);
}

/* Where row o of what is meant lies. */
static int row_of(int o, enum mhc_wrong wrong) {
    if (wrong == MHC_POST_FIRST && o < 8) return o ^ 4;
    if (wrong == MHC_COMB_FIRST) return (o + 16) % 24;
    return o;
}

static float sum4(float a, float b, float c, float d, enum mhc_wrong wrong) {
    return wrong == MHC_SUMS_IN_PAIRS ? (a + b) + (c + d) : ((a + b) + c) + d;
}

/* Divides the rows (over k) or columns (over j) of c[4j + k] by their sums plus eps. */
static void divide(float (*c)[MHC_LANES], bool rows, float eps, enum mhc_wrong wrong) {
    const int step = rows ? 1 : 4, next = rows ? 4 : 1;
    for (int i = 0; i < 4; i++) {
        float(*const x)[MHC_LANES] = c + i * next;
        float sum[MHC_LANES];
#pragma omp simd
        for (int t = 0; t < MHC_LANES; t++)
            sum[t] = sum4(x[0][t], x[step][t], x[2 * step][t], x[3 * step][t], wrong) + eps;
        if (wrong == MHC_RECIPROCAL) {
            for (int t = 0; t < MHC_LANES; t++)
                for (int n = 0; n < 4; n++) x[n * step][t] *= 1.0f / sum[t];
        } else {
            for (int n = 0; n < 4; n++)
#pragma omp simd
                for (int t = 0; t < MHC_LANES; t++) x[n * step][t] = x[n * step][t] / sum[t];
        }
    }
}

static void softmax(float (*c)[MHC_LANES], float eps, enum mhc_wrong wrong) {
    const bool over_columns = wrong == MHC_SOFTMAX_OVER_COLUMNS;
    const int step = over_columns ? 4 : 1, next = over_columns ? 1 : 4;
    for (int i = 0; i < 4; i++) {
        float(*const x)[MHC_LANES] = c + i * next;
        float most[MHC_LANES];
        for (int t = 0; t < MHC_LANES; t++) {
            most[t] = x[0][t];
            for (int n = 1; n < 4; n++)
                most[t] = x[n * step][t] > most[t] ? x[n * step][t] : most[t];
            if (wrong == MHC_SOFTMAX_MAX_LOST) most[t] = 0.0f;
        }
        for (int n = 0; n < 4; n++)
#pragma omp simd
            for (int t = 0; t < MHC_LANES; t++) x[n * step][t] = dsv4_exp(x[n * step][t] - most[t]);
    }
    divide(c, !over_columns, wrong == MHC_SOFTMAX_EPS_BELOW ? eps : 0.0f, wrong);
    if (wrong == MHC_SOFTMAX_EPS_LOST || wrong == MHC_SOFTMAX_EPS_BELOW) return;
    for (int i = 0; i < 16; i++)
        for (int t = 0; t < MHC_LANES; t++) c[i][t] += eps;
}

static void sinkhorn(float (*c)[MHC_LANES], const struct mhc_mix *mix) {
    const float eps = mix->wrong == MHC_SINKHORN_EPS_LOST ? 0.0f : mix->hc_eps;
    const bool rows_last = mix->wrong == MHC_ENDS_ON_ROWS;
    softmax(c, mix->hc_eps, mix->wrong);
    divide(c, false, eps, mix->wrong);
    for (int64_t i = 1; i < mix->iterations; i++) {
        divide(c, !rows_last, eps, mix->wrong);
        divide(c, rows_last, eps, mix->wrong);
    }
}

static float logit(const struct mhc_mix *mix, float m, int o) {
    const enum mhc_wrong wrong = mix->wrong;
    const float scale = mix->scale[wrong == MHC_SCALE_SHARED || o < 4 ? 0 : o < 8 ? 1 : 2];
    const float base = wrong == MHC_COMB_BASE_LOST && o >= 8 ? 0.0f : mix->base[row_of(o, wrong)];
    return wrong == MHC_BASE_FUSED ? fmaf(m, scale, base) : m * scale + base;
}

/* pre and post of all lanes; l[o][t]. */
static void gates(const struct mhc_mix *mix, float (*l)[MHC_LANES]) {
    const float pre_eps = mix->wrong == MHC_PRE_EPS_LOST ? 0.0f : mix->hc_eps;
    const float post_eps = mix->wrong == MHC_POST_EPS ? mix->hc_eps : 0.0f;
    const float factor = mix->wrong == MHC_POST_FACTOR_LOST ? 1.0f : mix->post_factor;
    for (int j = 0; j < MHC_STREAMS; j++) {
#pragma omp simd
        for (int t = 0; t < MHC_LANES; t++) {
            l[j][t] = sigmoid(l[j][t]) + pre_eps;
            l[4 + j][t] = factor * sigmoid(l[4 + j][t]) + post_eps;
        }
    }
}

struct mhc_mix_rows mhc_rows_of_raw(const dsv4_tensor *mixes, const dsv4_tensor *squares,
                                    int64_t first, float *pre, const dsv4_tensor *post,
                                    const dsv4_tensor *comb) {
    const struct mhc_mix_rows rows = {
        .mixes = (const char *)mixes->data + first * mixes->stride[1],
        .squares = (const char *)squares->data + first * squares->stride[1],
        .mixes_token = mixes->stride[1],
        .squares_token = squares->stride[1],
        .mixes_split = mixes->stride[0] / 4,
        .squares_split = squares->stride[0] / 4,
        .pre = (char *)pre,
        .post = mhc_at(post, first, 0, MHC_RIGHT),
        .comb = mhc_at(comb, first, 0, MHC_RIGHT),
        .pre_token = MHC_STREAMS * (int64_t)sizeof *pre,
        .post_token = post->stride[0],
        .comb_token = comb->stride[0],
    };
    return rows;
}

struct mhc_mix_rows mhc_rows_of_dots(const struct mhc_dots *dots, int64_t first, float *pre,
                                     const dsv4_tensor *post, const dsv4_tensor *comb) {
    const dsv4_tensor mixes = {
        .data = dots->mixes, .stride = {dots->mixes_split, dots->mixes_token}
    };
    const dsv4_tensor squares = {
        .data = dots->squares, .stride = {dots->squares_split, dots->squares_token}
    };
    return mhc_rows_of_raw(&mixes, &squares, first, pre, post, comb);
}

void mhc_mix(const struct mhc_mix *mix, const struct mhc_mix_rows *rows, int64_t n) {
    const bool transposed = mix->wrong == MHC_COMB_TRANSPOSED;
    float l[MHC_MIXES][MHC_LANES] = {{0}}; /* lanes without a token do no harm */
    for (int64_t t = 0; t < n; t++) {
        const float *const mixes = (const void *)(rows->mixes + t * rows->mixes_token);
        const float *const squares = (const void *)(rows->squares + t * rows->squares_token);
        const float r = mhc_rms(mix, squares, rows->squares_split);
        for (int o = 0; o < MHC_MIXES; o++) {
            const float *const parts = mixes + row_of(o, mix->wrong);
            l[o][t] = logit(mix, total(mix, parts, rows->mixes_split) * r, o);
        }
    }
    gates(mix, l);
    sinkhorn(l + 8, mix);
    for (int64_t t = 0; t < n; t++) {
        float *const pre = (void *)(rows->pre + t * rows->pre_token);
        float *const post = (void *)(rows->post + t * rows->post_token);
        float *const comb = (void *)(rows->comb + t * rows->comb_token);
        for (int j = 0; j < MHC_STREAMS; j++) pre[j] = l[j][t];
        for (int j = 0; j < MHC_STREAMS; j++) post[j] = l[4 + j][t];
        for (int i = 0; i < 16; i++) comb[transposed ? i % 4 * 4 + i / 4 : i] = l[8 + i][t];
    }
}
