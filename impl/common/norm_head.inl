/* SPDX-License-Identifier: Apache-2.0 */
/* One head of 512 channels by a team, in the layout of kv_row.inl: norm with its roundings, and RoPE. */
#ifndef DSV4_NORM_HEAD_INL
#define DSV4_NORM_HEAD_INL

#include "kv_row.inl"

enum { HEAD_ROUND_END, HEAD_ROUND_BETWEEN, HEAD_ROUND_ALWAYS, HEAD_STEPS = KV_HEAD / ROW_STEP };

GPU_DEVICE void head_load(float *x, const char *row) {
    uint32_t codes[HEAD_STEPS];
    GPU_UNROLL for (int j = 0; j < HEAD_STEPS; j++) codes[j] = row_load_bf16(row, j);
    GPU_UNROLL for (int j = 0; j < HEAD_STEPS; j++) {
        x[2 * j] = num_bf16_low(codes[j]);
        x[2 * j + 1] = num_bf16_high(codes[j]);
    }
}

GPU_DEVICE void head_round(float *x) {
    GPU_UNROLL for (int j = 0; j < HEAD_STEPS; j++) {
        const uint32_t codes = num_bf16x2(x[2 * j], x[2 * j + 1]);
        x[2 * j] = num_bf16_low(codes);
        x[2 * j + 1] = num_bf16_high(codes);
    }
}

GPU_DEVICE float head_rounded(float x) { return num_bf16_low(num_bf16x2(x, x)); }

/* The factor with every step in bf16: squares, mean, mean + eps, root. */
GPU_DEVICE float head_factor_of_bf16(const float *x, float eps) {
    float a = 0.0f, b = 0.0f;
    GPU_UNROLL for (int j = 0; j < HEAD_STEPS; j++) {
        const uint32_t codes = num_bf16x2(x[2 * j] * x[2 * j], x[2 * j + 1] * x[2 * j + 1]);
        a += num_bf16_low(codes);
        b += num_bf16_high(codes);
    }
    a += team_xor_float(a, 16);
    b += team_xor_float(b, 16);
    a += team_xor_float(a, 8);
    b += team_xor_float(b, 8);
    a += team_xor_float(a, 4);
    b += team_xor_float(b, 4);
    a += team_xor_float(a, 2);
    b += team_xor_float(b, 2);
    a += team_xor_float(a, 1);
    b += team_xor_float(b, 1);
    const float mean = head_rounded((a + b) * (1.0f / KV_HEAD));
    return head_rounded(elementary_rsqrt(head_rounded(mean + head_rounded(eps))));
}

/* Norm in place; ROUNDING as above. */
template <int ROUNDING> GPU_DEVICE void head_norm(float *x, float eps) {
    const float r =
        ROUNDING == HEAD_ROUND_ALWAYS ? head_factor_of_bf16(x, eps) : row_rsqrt<HEAD_STEPS>(x, eps);
    GPU_UNROLL for (int i = 0; i < 2 * HEAD_STEPS; i++) x[i] *= r;
    if (ROUNDING != HEAD_ROUND_END) head_round(x);
}

#endif
