/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One head of 512 channels: norm without a weight, then RoPE of the last 64.
 *
 * NORM_ROUND_END      y = x * r in fp32, RoPE on y, bf16 at the end                       (vllm)
 * NORM_ROUND_BETWEEN  y = bf16(x * r), RoPE on y, bf16                                    (DSpark)
 * NORM_ROUND_ALWAYS   every step of the norm in bf16: s = bf16(x * x), m = bf16(sum s / 512), v = bf16(m + bf16(eps)),
 *                     r = bf16(rsqrt(v)), y = bf16(x * r); RoPE on y in fp32, bf16         (DeepSeek's model.py)
 * r as norm_row.c; the sum of s has the same 64 partials and tree. RoPE: each product rounded, then one sum.
 */
#include "../num/row.h"
#include "../num/rsqrt.h"
#include "norm_family.h"

static float rounded(float x) { return dsv4_bf16_to_f32(dsv4_bf16_from_f32(x)); }

/* r with every step rounded. */
static float factor_of_bf16(const float *x, float eps) {
    float squares[KV_HEAD];
#pragma omp simd
    for (int i = 0; i < KV_HEAD; i++)
        squares[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(x[i] * x[i]));
    const float mean = rounded(dsv4_row_sum(squares, KV_HEAD) / (float)KV_HEAD);
    return rounded(dsv4_rsqrt(rounded(mean + rounded(eps))));
}

static void rope(float *y, const float *angle, enum norm_wrong wrong) {
    const enum kv_wrong turned = wrong == NORM_ROPE_NEOX      ? KV_ROPE_NEOX
                                 : wrong == NORM_ROPE_INVERSE ? KV_ROPE_INVERSE
                                 : wrong == NORM_ROPE_FUSED   ? KV_ROPE_FUSED
                                                              : KV_RIGHT;
    if (angle != NULL && wrong != NORM_ROPE_LOST)
        kv_rope(y, wrong == NORM_ROPE_FIRST ? KV_ROPE : KV_HEAD, angle, turned);
}

static enum norm_rounding other(enum norm_rounding rounding) {
    return rounding == NORM_ROUND_END ? NORM_ROUND_BETWEEN : NORM_ROUND_END;
}

void norm_head(uint16_t *out, const uint16_t *x, float eps, enum norm_rounding rounding,
               const float *angle, enum norm_wrong wrong) {
    float y[KV_HEAD];
    if (wrong == NORM_ROUNDING_OTHER) rounding = other(rounding);
    if (wrong == NORM_ROUNDING_REF)
        rounding = rounding == NORM_ROUND_ALWAYS ? NORM_ROUND_BETWEEN : NORM_ROUND_ALWAYS;
    kv_load_bf16(y, x, KV_HEAD);
    if (norm_skips(y, KV_HEAD, wrong)) return;
    const float r = rounding == NORM_ROUND_ALWAYS ? factor_of_bf16(y, eps)
                                                  : norm_factor(y, KV_HEAD, eps, wrong);
#pragma omp simd
    for (int i = 0; i < KV_HEAD; i++) y[i] *= r;
    if (rounding != NORM_ROUND_END) {
#pragma omp simd
        for (int i = 0; i < KV_HEAD; i++) y[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(y[i]));
    }
    rope(y, angle, wrong);
    if (wrong == NORM_TRUNCATED)
        for (int i = 0; i < KV_HEAD; i++) out[i] = (uint16_t)(dsv4_bits(y[i]) >> 16);
    else
        kv_store_bf16(out, y, KV_HEAD);
}

void norm_head_rope(uint16_t *out, const uint16_t *x, const float *angle, enum norm_wrong wrong) {
    float y[KV_HEAD];
    kv_load_bf16(y, x, KV_HEAD);
    rope(y, angle, wrong);
    kv_store_bf16(out, y, KV_HEAD);
}

const float *norm_angle(const dsv4_tensor *table, const dsv4_tensor *positions, int64_t t,
                        enum norm_wrong wrong) {
    int64_t position = kv_i64(positions, t);
    /* Only rows that the case fills may be read: another token's row is wrong as well. */
    if (wrong == NORM_POSITION_BY_ROW) position = kv_i64(positions, t / 2);
    return kv_rope_row(table, position);
}
