/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pre, post and comb of one token, in this order of rounding points:
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

float mhc_sigmoid(float x) { return 1.0f / (1.0f + dsv4_exp(-x)); }

float mhc_total(const struct mhc_mix *mix, const float *parts, int64_t split) {
    const int64_t n = mix->wrong == MHC_SPLIT_ALONE ? 1 : mix->splits;
    const bool reversed = mix->wrong == MHC_SPLITS_REVERSED;
    float sum = parts[(reversed ? n - 1 : 0) * split];
    for (int64_t s = 1; s < n; s++) sum += parts[(reversed ? n - 1 - s : s) * split];
    return sum;
}

float mhc_rms(const struct mhc_mix *mix, const float *squares, int64_t squares_split) {
    return dsv4_rsqrt(mhc_total(mix, squares, squares_split) / mix->width + mix->rms_eps);
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
static void divide(float *c, bool rows, float eps, enum mhc_wrong wrong) {
    const int step = rows ? 1 : 4, next = rows ? 4 : 1;
    for (int i = 0; i < 4; i++) {
        float *const x = c + i * next;
        const float sum = sum4(x[0], x[step], x[2 * step], x[3 * step], wrong) + eps;
        const float inverse = 1.0f / sum;
        for (int n = 0; n < 4; n++)
            x[n * step] = wrong == MHC_RECIPROCAL ? x[n * step] * inverse : x[n * step] / sum;
    }
}

static void softmax(float *c, float eps, enum mhc_wrong wrong) {
    const bool over_columns = wrong == MHC_SOFTMAX_OVER_COLUMNS;
    const int step = over_columns ? 4 : 1, next = over_columns ? 1 : 4;
    for (int i = 0; i < 4; i++) {
        float *const x = c + i * next;
        float most = x[0];
        for (int n = 1; n < 4; n++) most = x[n * step] > most ? x[n * step] : most;
        if (wrong == MHC_SOFTMAX_MAX_LOST) most = 0.0f;
        for (int n = 0; n < 4; n++) x[n * step] = dsv4_exp(x[n * step] - most);
    }
    divide(c, !over_columns, wrong == MHC_SOFTMAX_EPS_BELOW ? eps : 0.0f, wrong);
    for (int i = 0; i < 16; i++)
        if (wrong != MHC_SOFTMAX_EPS_LOST && wrong != MHC_SOFTMAX_EPS_BELOW) c[i] += eps;
}

static void sinkhorn(float *c, const struct mhc_mix *mix) {
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

void mhc_mix(const struct mhc_mix *mix, const float *mixes, int64_t mixes_split,
             const float *squares, int64_t squares_split, float *pre, float *post, float *comb) {
    const float r = mhc_rms(mix, squares, squares_split);
    float l[MHC_MIXES];
    for (int o = 0; o < MHC_MIXES; o++) {
        const float *const parts = mixes + row_of(o, mix->wrong);
        l[o] = logit(mix, mhc_total(mix, parts, mixes_split) * r, o);
    }
    for (int j = 0; j < MHC_STREAMS; j++) {
        const float more = mix->wrong == MHC_POST_EPS ? mix->hc_eps : 0.0f;
        const float factor = mix->wrong == MHC_POST_FACTOR_LOST ? 1.0f : mix->post_factor;
        pre[j] = mhc_sigmoid(l[j]) + (mix->wrong == MHC_PRE_EPS_LOST ? 0.0f : mix->hc_eps);
        post[j] = factor * mhc_sigmoid(l[4 + j]) + more;
    }
    sinkhorn(l + 8, mix);
    for (int i = 0; i < 16; i++)
        comb[mix->wrong == MHC_COMB_TRANSPOSED ? i % 4 * 4 + i / 4 : i] = l[8 + i];
}
