/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of attention outputs, turned back, to FP8. */
#include <math.h>

#include "../num/e8m0.h"
#include "../num/fp8.h"
#include "rope_family.h"

static uint8_t exponent_of(const struct rope_rule *rule, float s) {
    const uint32_t bits = dsv4_bits(s);
    if (rule->wrong == ROPE_SCALE_FLOOR) return (uint8_t)(bits >> 23);
    if (rule->wrong == ROPE_SCALE_LOG2 && (bits & 0x7FFFFFu) <= 8) return (uint8_t)(bits >> 23);
    /* Up to 2^-127 a byte of 0 will do, which the bit rule does not know. */
    if (rule->mx && bits <= 0x00400000u) return 0;
    return dsv4_e8m0_ceil(s);
}

static uint8_t byte_of(const struct rope_rule *rule, const float *x, int n, bool last) {
    const float least = rule->wrong == ROPE_FLOOR_RAISED ? 1e-4f : rule->mx ? 0x1p-126f : 1e-10f;
    const int seen = rule->wrong == ROPE_GROUP_APART && last ? n / 2 : n;
    float amax = 0.0f;
#pragma omp simd reduction(max : amax)
    for (int i = 0; i < seen; i++) amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    amax = amax > least ? amax : least;
    return exponent_of(rule, rule->mx ? amax / 448.0f : amax * (1.0f / 448.0f));
}

/* Wrong on purpose: a code with its ties away from zero, or without subnormals. */
static uint8_t code_wrong(const struct rope_rule *rule, float x) {
    const uint8_t code = dsv4_e4m3fn_from_f32(x);
    if (rule->wrong == ROPE_SUBNORMALS_FLUSHED) return (code & 0x7F) < 8 ? code & 0x80 : code;
    return rule->wrong == ROPE_TIES_AWAY ? dsv4_e4m3fn_from_f32(x * 1.0000002f) : code;
}

/* A head in groups of n channels; each step for all of them, so that no group waits for another's scale. */
void rope_quantise(const struct rope_rule *rule, uint8_t *codes, uint8_t *bytes, const float *x) {
    const int n = rule->n, seen = rule->wrong == ROPE_GROUP_OF_128 ? 128 : n;
    float scaled[KV_HEAD];
    for (int g = 0; g < KV_HEAD / n; g++)
        bytes[g] = byte_of(rule, x + g * n / seen * seen, seen, g == KV_HEAD / n - 1);
    for (int g = 0; g < KV_HEAD / n; g++) {
        const bool flushed = rule->wrong == ROPE_DIVISOR_FLUSHED && bytes[g] == 0;
        const float factor = flushed ? INFINITY : dsv4_from_bits((254u - bytes[g]) << 23);
#pragma omp simd
        for (int i = g * n; i < (g + 1) * n; i++) scaled[i] = x[i] * factor;
    }
    if (rule->wrong == ROPE_RIGHT) {
#pragma omp simd
        for (int i = 0; i < KV_HEAD; i++) codes[i] = dsv4_e4m3fn_from_f32(scaled[i]);
    } else {
        for (int i = 0; i < KV_HEAD; i++) codes[i] = code_wrong(rule, scaled[i]);
    }
}
