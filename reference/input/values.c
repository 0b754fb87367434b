/* SPDX-License-Identifier: Apache-2.0 */
#include "values.h"

#include "../num/bf16.h"
#include "../num/bits.h"

/* Makes a draw use all 24 bits, so that sums and products of fp32 inputs round. */
static const float FULL_SIGNIFICAND = 0x1.0c1524p+0f;

/* 2^e for |e| <= 126, without libm. */
static float pow2(int e) { return dsv4_from_bits((uint32_t)(e + 127) << 23); }

static float sign_of(uint64_t bits) { return bits >> 63 != 0 ? -1.0f : 1.0f; }

static float bf16(float x) { return dsv4_bf16_to_f32(dsv4_bf16_from_f32(x)); }

/* A group's exponent, so that neighbouring groups need different scales. */
static int group_exponent(uint64_t bits, int low, int high) {
    return low + (int)dsv4_below(bits, high - low + 1);
}

/* Halfway points of e4m3: odd multiples of half a step in every binade, and below the smallest
 * code. */
static float tie(uint64_t bits, bool subnormal) {
    const int step = (int)dsv4_below(bits << 20, 8);
    if (subnormal) return (float)(2 * step + 1) * pow2(-10); /* halves of 2^-9 */
    return (float)(2 * (8 + step) + 1) * pow2(group_exponent(bits, -5, 3) - 1);
}

/* One value of a group whose largest magnitude, at channel 11, fixes the scale at 2^e. */
static float under_scale(const char *recipe, uint64_t bits, int64_t i, int e) {
    const bool above = strcmp(recipe, "amax_above_pow2") == 0;
    if (i == 11) return sign_of(bits) * (above ? 450.0f : 448.0f) * pow2(e);
    if (strcmp(recipe, "ties") == 0) return sign_of(bits) * tie(bits, false) * pow2(e);
    if (strcmp(recipe, "subnormal_codes") == 0) {
        if (i % 3 == 0) return sign_of(bits) * tie(bits, true) * pow2(e);
        return sign_of(bits) * pow2(e - group_exponent(bits, 7, 13));
    }
    return bf16(dsv4_normal(bits) * 32.0f * pow2(e));
}

static float plain(const char *recipe, uint64_t bits, uint64_t group_bits, int64_t i) {
    switch (recipe[0]) {
    case 'n': return bf16(dsv4_normal(bits));
    case 'c': return (float)((int)(bits >> 40 & 127) - 64) / 16.0f;
    case 'z': return sign_of(bits) * 0.0f;
    case 'h': return bf16(sign_of(bits) * dsv4_from_bits(0x7F7F0000u - ((uint32_t)(i * 3) << 16)));
    default: /* tiny */
        return dsv4_from_bits((uint32_t)(bits >> 63) << 31 |
                              (uint32_t)dsv4_below(bits, 1 + dsv4_below(group_bits, 300)) << 16);
    }
}

static float below_floor(uint64_t bits, uint64_t group_bits, int64_t i) {
    static const float amax[] = {0x1.cp-6f,   0x1.c2p-6f,  0x1.be8p-6f, 0x1.a36e2ep-14f,
                                 0x1.a4p-14f, 0x1.a2p-14f, 1e-6f,       0x1p-40f};
    const float top = bf16(amax[dsv4_below(group_bits, 8)]);
    return i == 11 ? sign_of(bits) * top : bf16(top * dsv4_normal(bits) / 8.0f);
}

float dsv4_value(const char *recipe, uint64_t key, uint64_t stream, int64_t row, int64_t channel,
                 int64_t group) {
    static const char *const edges[] = {
        "amax_pow2", "amax_above_pow2", "ties", "subnormal_codes", "amax_below_floor", "zero",
        "tiny",      "normal",          "huge"};
    const uint64_t id = (uint64_t)row << 16 | (uint64_t)channel;
    const uint64_t group_id = (uint64_t)row << 16 | (uint64_t)(channel / group);
    const uint64_t bits = dsv4_random(key, stream, id);
    const uint64_t group_bits = dsv4_random(key, stream + 1, group_id);
    if (recipe[0] == 'e')
        recipe = edges[(size_t)(row * 5 + channel / group) % (sizeof edges / sizeof *edges)];
    const bool ties = recipe[0] == 't' && recipe[2] == 'e'; /* and not tiny; letters are quick */
    if (recipe[0] != 'a' && recipe[0] != 's' && !ties)
        return plain(recipe, bits, group_bits, channel % group);
    if (strcmp(recipe, "amax_below_floor") == 0)
        return below_floor(bits, group_bits, channel % group);
    if (strcmp(recipe, "ties_of_7") == 0) return sign_of(bits) * 7.0f * tie(bits, false);
    return under_scale(recipe, bits, channel % group, group_exponent(group_bits, -12, 6));
}

void dsv4_fill_bf16(const struct dsv4_case *c, size_t slot, const char *recipe, uint64_t stream,
                    int64_t group) {
    const dsv4_tensor *t = &c->tensors[slot].t;
    const int last = t->ndim - 1;
    int64_t rows = 1;
    for (int d = 0; d < last; d++) rows *= t->shape[d];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        char *at = t->data;
        int64_t rest = row;
        for (int d = last - 1; d >= 0; d--) {
            at += rest % t->shape[d] * t->stride[d];
            rest /= t->shape[d];
        }
        for (int64_t i = 0; i < t->shape[last]; i++) {
            const float value = dsv4_value(recipe, c->seed, stream, row, i, group);
            ((uint16_t *)(void *)at)[i] = dsv4_bf16_from_f32(value);
        }
    }
}

float dsv4_state_value(const char *recipe, uint64_t key, uint64_t stream, int64_t row,
                       int64_t channel) {
    const uint64_t bits = dsv4_random(key, stream, (uint64_t)row << 16 | (uint64_t)channel);
    if (recipe[0] == 'z') return 0.0f;
    return recipe[0] == 'c' ? (float)((int)(bits >> 40 & 127) - 64) / 16.0f
                            : FULL_SIGNIFICAND * dsv4_normal(bits);
}

float dsv4_score(const char *recipe, uint64_t key, uint64_t stream, int64_t row, int64_t channel) {
    const uint64_t bits = dsv4_random(key, stream, (uint64_t)row << 16 | (uint64_t)channel);
    switch (recipe[0]) {
    case 'c': return (float)((int)(bits >> 40 & 127) - 64) / 8.0f;
    case 'e': return (float)(channel % 17) - 8.0f;
    case 'd': return dsv4_normal(bits) + ((row + channel) % 37 == 0 ? 80.0f : 0.0f);
    case 's': return (float)((int)(bits >> 40 & 511) - 400) / 4.0f;
    default: return dsv4_normal(bits) * (2.0f * FULL_SIGNIFICAND);
    }
}

float dsv4_weight(const char *recipe, uint64_t key, uint64_t stream, int64_t channel,
                  int64_t group) {
    const uint64_t bits = dsv4_random(key, stream, (uint64_t)channel);
    switch (recipe[0]) {
    case 'o': return 1.0f;
    case 'p': return dsv4_weight("normal", key, stream, channel / 2, group);
    case 't': return dsv4_value(recipe, key, stream, 0, channel, group);
    case 'z': return channel % 3 == 0 ? 0.0f : channel % 3 == 1 ? -0.0f : 1.0f;
    case 'n':
        if (recipe[1] == 'e') return -bf16(0.5f + (float)(bits >> 40) * 0x1p-24f);
        return bf16(1.0f + dsv4_normal(bits) / 4.0f);
    default: { /* edges, without the extremes that RMSNorm cannot carry */
        static const char *const recipes[] = {"amax_pow2", "amax_above_pow2", "ties",
                                              "subnormal_codes", "amax_below_floor"};
        return dsv4_value(recipes[channel / group % 5], key, stream, channel / group, channel,
                          group);
    }
    }
}
