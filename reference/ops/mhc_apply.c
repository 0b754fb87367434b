/* SPDX-License-Identifier: Apache-2.0 */
/* Applying pre, post and comb to rows, and the norm of a collapsed row. */
#include <math.h>

#include "../num/row.h"
#include "../num/rsqrt.h"
#include "mhc_family.h"

void mhc_round(uint16_t *to, const float *x, int64_t n) {
#pragma omp simd
    for (int64_t h = 0; h < n; h++) to[h] = dsv4_bf16_from_f32(x[h]);
}

void mhc_load(float *to, const uint16_t *x, int64_t n) {
#pragma omp simd
    for (int64_t h = 0; h < n; h++) to[h] = dsv4_bf16_to_f32(x[h]);
}

/* The four streams of a row, as wrong kernels find them. */
static void streams_of(const uint16_t *streams[MHC_STREAMS], const dsv4_tensor *residual, int64_t t,
                       enum mhc_wrong wrong) {
    for (int64_t j = 0; j < MHC_STREAMS; j++) {
        const int64_t from = wrong == MHC_STREAMS_ROTATED ? (j + 1) % MHC_STREAMS : j;
        streams[j] = (const void *)mhc_at(residual, t, from, wrong);
    }
}

void mhc_load_streams(float *x, const dsv4_tensor *residual, int64_t t, enum mhc_wrong wrong) {
    const int64_t n = residual->shape[2];
    const uint16_t *streams[MHC_STREAMS];
    streams_of(streams, residual, t, wrong);
    for (int64_t j = 0; j < MHC_STREAMS; j++) mhc_load(x + j * n, streams[j], n);
    for (int64_t h = 3 * n; h < 4 * n && wrong == MHC_STREAM_LOST; h++) x[h] = 0.0f;
}

static float bf16(float x) { return dsv4_bf16_to_f32(dsv4_bf16_from_f32(x)); }

static void add_stream(float *restrict o, const uint16_t *restrict r, float w, int64_t n,
                       bool product) {
    if (product) {
#pragma omp simd
        for (int64_t h = 0; h < n; h++) o[h] = o[h] + w * dsv4_bf16_to_f32(r[h]);
    } else {
#pragma omp simd
        for (int64_t h = 0; h < n; h++) o[h] = fmaf(w, dsv4_bf16_to_f32(r[h]), o[h]);
    }
}

/* The first stream: the chain starts from +0, the sum of products from the first product. */
static void first_stream(float *restrict o, const uint16_t *restrict r, float w, int64_t n,
                         bool product) {
    if (product) {
#pragma omp simd
        for (int64_t h = 0; h < n; h++) o[h] = w * dsv4_bf16_to_f32(r[h]);
    } else {
#pragma omp simd
        for (int64_t h = 0; h < n; h++) o[h] = fmaf(w, dsv4_bf16_to_f32(r[h]), 0.0f);
    }
}

/* o = start * x, then fma(w[j], stream j, o) for j ascending: one loop for all streams. */
static void chain(float *restrict o, const uint16_t *x, float start,
                  const uint16_t *streams[MHC_STREAMS], const float *w, int64_t n) {
    const uint16_t *const a = streams[0], *const b = streams[1];
    const uint16_t *const c = streams[2], *const d = streams[3];
    const float wa = w[0], wb = w[1], wc = w[2], wd = w[3];
#pragma omp simd
    for (int64_t h = 0; h < n; h++) {
        const float y = fmaf(wa, dsv4_bf16_to_f32(a[h]), start * dsv4_bf16_to_f32(x[h]));
        const float z = fmaf(wc, dsv4_bf16_to_f32(c[h]), fmaf(wb, dsv4_bf16_to_f32(b[h]), y));
        o[h] = fmaf(wd, dsv4_bf16_to_f32(d[h]), z);
    }
}

/* The same from +0. */
static void chain_of_zero(float *restrict o, const uint16_t *streams[MHC_STREAMS], const float *w,
                          int64_t n) {
    const uint16_t *const a = streams[0], *const b = streams[1];
    const uint16_t *const c = streams[2], *const d = streams[3];
    const float wa = w[0], wb = w[1], wc = w[2], wd = w[3];
#pragma omp simd
    for (int64_t h = 0; h < n; h++) {
        const float y = fmaf(wb, dsv4_bf16_to_f32(b[h]), fmaf(wa, dsv4_bf16_to_f32(a[h]), 0.0f));
        o[h] = fmaf(wd, dsv4_bf16_to_f32(d[h]), fmaf(wc, dsv4_bf16_to_f32(c[h]), y));
    }
}

void mhc_collapse(float *o, const dsv4_tensor *residual, int64_t t, const float *pre, bool products,
                  enum mhc_wrong wrong) {
    const int64_t n = residual->shape[2];
    const uint16_t *streams[MHC_STREAMS];
    streams_of(streams, residual, t, wrong);
    if (wrong == MHC_RIGHT && !products) {
        chain_of_zero(o, streams, pre, n);
        return;
    }
    if (wrong == MHC_SUM_MIXED) products = !products;
    for (int turn = 0; turn < MHC_STREAMS; turn++) {
        const int j = wrong == MHC_DESCENDING ? MHC_STREAMS - 1 - turn : turn;
        const float w = wrong == MHC_WEIGHTS_BF16 ? bf16(pre[j]) : pre[j];
        if (wrong == MHC_STREAM_LOST && j == MHC_STREAMS - 1) continue;
        if (turn == 0)
            first_stream(o, streams[j], w, n, products);
        else
            add_stream(o, streams[j], w, n, products);
    }
}

static void round_step(float *o, int64_t n) {
    for (int64_t h = 0; h < n; h++) o[h] = bf16(o[h]);
}

/* Stream k of the output, as wrong kernels make it. */
static void wrong_stream(float *restrict o, const uint16_t *restrict x,
                         const uint16_t *streams[MHC_STREAMS], int64_t n, float weight,
                         const float *row, enum mhc_wrong wrong) {
    const bool last = wrong == MHC_POST_LAST || wrong == MHC_POST_LOST;
#pragma omp simd
    for (int64_t h = 0; h < n; h++) o[h] = last ? 0.0f : weight * dsv4_bf16_to_f32(x[h]);
    for (int j = 0; j < MHC_STREAMS; j++) {
        if (wrong == MHC_STREAM_LOST && j == MHC_STREAMS - 1) continue;
        if (wrong == MHC_STEPS_BF16) round_step(o, n);
        add_stream(o, streams[j], row[j], n, false);
    }
    for (int64_t h = 0; h < n && last; h++)
        o[h] = (wrong == MHC_POST_LOST ? 1.0f : weight) * dsv4_bf16_to_f32(x[h]) + o[h];
}

void mhc_post(float *out, const uint16_t *x, const dsv4_tensor *residual, int64_t t,
              const float *post, const float *comb, enum mhc_wrong wrong) {
    const int64_t n = residual->shape[2];
    const bool swapped = wrong == MHC_COMB_TRANSPOSED;
    const uint16_t *streams[MHC_STREAMS];
    streams_of(streams, residual, t, wrong);
    for (int k = 0; k < MHC_STREAMS; k++) {
        float row[MHC_STREAMS];
        for (int j = 0; j < MHC_STREAMS; j++) row[j] = comb[swapped ? 4 * k + j : 4 * j + k];
        if (wrong == MHC_RIGHT)
            chain(out + k * n, x, post[k], streams, row, n);
        else
            wrong_stream(out + k * n, x, streams, n, post[k], row, wrong);
    }
}

/* ---- the norm ---- */

enum mhc_norm mhc_norm_of(const dsv4_call *call, enum mhc_wrong wrong) {
    if (dsv4_is(call, "norm", "none")) return MHC_NORM_NONE;
    const bool rounded = dsv4_is(call, "norm", "rounded") != (wrong == MHC_NORM_MIXED);
    return rounded ? MHC_NORM_ROUNDED : MHC_NORM_UNROUNDED;
}

static float squares(const float *x, int64_t n, enum mhc_wrong wrong) {
    float sum = 0.0f;
    if (wrong != MHC_NORM_IN_ORDER) return dsv4_row_squares(x, n);
    for (int64_t h = 0; h < n; h++) sum = fmaf(x[h], x[h], sum);
    return sum;
}

void mhc_finish(uint16_t *to, const float *o, int64_t n, enum mhc_norm norm, const uint16_t *weight,
                float eps, enum mhc_wrong wrong) {
    float q[MHC_HIDDEN];
    if (norm == MHC_NORM_NONE) {
        mhc_round(to, o, n);
        return;
    }
#pragma omp simd
    for (int64_t h = 0; h < n; h++) q[h] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(o[h]));
    const float sum = squares(norm == MHC_NORM_ROUNDED ? q : o, n, wrong);
    const float r = dsv4_rsqrt(sum / (float)n + (wrong == MHC_NORM_EPS_LOST ? 0.0f : eps));
    const float *const from = wrong == MHC_NORM_UNROUNDED_VALUE ? o : q;
    for (int64_t h = 0; h < n && wrong == MHC_WEIGHT_FIRST; h++)
        to[h] = dsv4_bf16_from_f32(from[h] * (r * dsv4_bf16_to_f32(weight[h])));
    if (wrong == MHC_WEIGHT_FIRST) return;
#pragma omp simd
    for (int64_t h = 0; h < n; h++) {
        const float w = wrong == MHC_WEIGHT_LOST ? 1.0f : dsv4_bf16_to_f32(weight[h]);
        to[h] = dsv4_bf16_from_f32(from[h] * r * w);
    }
}
