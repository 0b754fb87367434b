/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RMSNorm and RoPE of one row.
 *
 * Norm: 64 strided partials, partial l = fma(x, x, partial) over x[l], x[l + 64], ...; halving tree 32, 16, ..., 1;
 * mean = sum / n (exact, n is a power of two); r = rsqrt(mean + eps), correctly rounded; y = fl(fl(x * r) * weight).
 * RoPE, pairs (2i, 2i + 1) of the last 64 channels: even = fl(fl(e * c) - fl(o * s)), odd = fl(fl(o * c) + fl(e * s)).
 *
 * Latitude: the order of the sum of squares, an approximate rsqrt and contraction of RoPE are what shipping kernels
 * do; each moves the last bits.
 */
#include <math.h>

#include "../num/row.h"
#include "../num/rsqrt.h"
#include "kv_family.h"

/* Wrong on purpose. */
static float sum_in_order(const float *x, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum = fmaf(x[i], x[i], sum);
    return sum;
}

void kv_norm(float *values, int64_t head, float eps, const float *weight, enum kv_wrong wrong) {
    const float sum =
        wrong == KV_NORM_IN_ORDER ? sum_in_order(values, head) : dsv4_row_squares(values, head);
    const float mean = sum / (float)head;
    const float r = dsv4_rsqrt(mean + (wrong == KV_EPS_LOST ? 0.0f : eps));
    if (weight == NULL || wrong == KV_WEIGHT_LOST) {
#pragma omp simd
        for (int64_t i = 0; i < head; i++) values[i] = values[i] * r;
    } else if (wrong == KV_WEIGHT_FIRST) {
        for (int64_t i = 0; i < head; i++) values[i] = values[i] * (r * weight[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < head; i++) values[i] = values[i] * r * weight[i];
    }
}

/* Wrong on purpose: contracted products, pairs half a row apart. */
static void rope_wrong(float *x, const float *cosine, const float *sine, enum kv_wrong wrong) {
    float y[KV_ROPE];
    for (int i = 0; i < KV_ROPE / 2; i++) {
        const int even = wrong == KV_ROPE_NEOX ? i : 2 * i;
        const int odd = wrong == KV_ROPE_NEOX ? i + KV_ROPE / 2 : 2 * i + 1;
        const float e = x[even], o = x[odd], c = cosine[i], s = sine[i];
        y[even] = wrong == KV_ROPE_FUSED ? fmaf(e, c, -(o * s)) : e * c - o * s;
        y[odd] = wrong == KV_ROPE_FUSED ? fmaf(o, c, e * s) : o * c + e * s;
    }
    memcpy(x, y, sizeof y);
}

const float *kv_rope_angle(const dsv4_tensor *table, int64_t position, float *wide) {
    if (table->dtype == DSV4_F32) return kv_rope_row(table, position);
    kv_load_bf16(wide, (const char *)table->data + position * table->stride[0], KV_ROPE_TABLE_ROW);
    return wide;
}

const float *kv_rope_angle_as_f32(const dsv4_tensor *table, int64_t position, float *wide) {
    enum { BYTES = KV_ROPE_TABLE_ROW * (int)sizeof(uint16_t), WORDS = BYTES / (int)sizeof(float) };
    if (table->dtype == DSV4_F32) return kv_rope_row(table, position);
    for (int at = 0; at < KV_ROPE_TABLE_ROW; at += WORDS) /* not beyond the row */
        memcpy(wide + at, (const char *)table->data + position * table->stride[0], BYTES);
    return wide;
}

void kv_rope(float *values, int64_t head, const float *table_row, enum kv_wrong wrong) {
    float *const x = values + head - KV_ROPE;
    const float *const cosine = table_row, *const sine = table_row + KV_ROPE / 2;
    if (wrong == KV_ROPE_NEOX || wrong == KV_ROPE_FUSED) {
        rope_wrong(x, cosine, sine, wrong);
        return;
    }
    const float turn = wrong == KV_ROPE_INVERSE ? -1.0f : 1.0f;
#pragma omp simd
    for (int i = 0; i < KV_ROPE / 2; i++) {
        const float e = x[2 * i], o = x[2 * i + 1], c = cosine[i], s = turn * sine[i];
        const float ec = e * c, os = o * s, oc = o * c, es = e * s;
        x[2 * i] = ec - os;
        x[2 * i + 1] = oc + es;
    }
}
