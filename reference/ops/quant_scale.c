/* SPDX-License-Identifier: Apache-2.0 */
/* From a group's greatest magnitude to its scale, and from the scale to codes. */
#include <math.h>

#include "quant_family.h"

enum quant_wrong quant_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum quant_wrong)op->mutants[mutant - 1].id : QUANT_RIGHT;
}

enum dsv4_fp8 quant_fp8_of(const dsv4_call *call) {
    return dsv4_is(call, "fp8", "fnuz224")   ? DSV4_FNUZ224
           : dsv4_is(call, "fp8", "fnuz240") ? DSV4_FNUZ240
                                             : DSV4_OCP;
}

/* floor, scale_floor, divides, zero_kept; the rows are those of QUANT_RECIPE_WORDS. */
static const struct {
    const char *name;
    float floor, scale_floor;
    bool divides, zero_kept;
} recipes[] = {
    {"ref",         1e-4f,  0.0f,   false, false},
    {"deepgemm",    1e-4f,  0.0f,   true,  false},
    {"tilekernels", 1e-4f,  0.0f,   true,  false},
    {"vllm",        1e-10f, 1e-10f, true,  false},
    {"vllm_packed", 1e-10f, 1e-10f, true,  false},
    {"inv_rope",    1e-10f, 0.0f,   false, false},
    {"mega",        0.0f,   0.0f,   false, false},
    {"aiter",       0.0f,   0.0f,   true,  true },
};

struct quant_rule quant_rule_of(const dsv4_call *call, enum quant_wrong wrong) {
    struct quant_rule rule = {.fp8 = quant_fp8_of(call), .wrong = wrong};
    size_t i = 0;
    while (!dsv4_is(call, "recipe", recipes[i].name)) i++;
    rule.floor = recipes[i].floor;
    rule.scale_floor = recipes[i].scale_floor;
    rule.divides = recipes[i].divides;
    rule.zero_kept = recipes[i].zero_kept;
    rule.most = dsv4_fp8_max(rule.fp8);
    if (wrong == QUANT_SCALE_OF_OCP) rule.most = 448.0f;
    if (wrong == QUANT_FLOOR_LOST) rule.floor = rule.scale_floor = 0.0f;
    if (wrong == QUANT_FLOOR_RAISED) rule.floor = 1e-4f;
    if (wrong == QUANT_FLOOR_ON_SCALE) {
        rule.scale_floor = rule.floor;
        rule.floor = 0.0f;
    }
    return rule;
}

/* ceil(log2f(s)) + 127 of a correctly rounded log2f, to first order above a power of two. */
static uint8_t log2_byte(float s) {
    const uint32_t bits = dsv4_bits(s);
    const int exponent = (int)(bits >> 23) - 127;
    const double rest = (double)(bits & 0x7FFFFFu) * 0x1p-23 * 1.4426950408889634;
    const float log2 = (float)((double)exponent + (rest < 0.9 ? rest : 0.9));
    return (uint8_t)(exponent + 127 + (log2 > (float)exponent));
}

static inline float unrounded(const struct quant_rule *rule, float amax) {
    const float held = amax > rule->floor ? amax : rule->floor;
    const float raw = rule->divides ? held / rule->most : held * (1.0f / rule->most);
    return raw > rule->scale_floor ? raw : rule->scale_floor;
}

static inline float factor_of(const struct quant_rule *rule, uint32_t byte) {
    const uint32_t bits = (254u - byte) << 23;
    return dsv4_from_bits(byte == 0 && rule->zero_kept ? 0 : bits);
}

static struct quant_scale wrong_scale(const struct quant_rule *rule, float amax) {
    const float s = unrounded(rule, amax);
    struct quant_scale scale = {.byte = dsv4_e8m0_ceil(s), .unrounded = s};
    if (rule->wrong == QUANT_SCALE_FLOOR) scale.byte = dsv4_bits(s) >> 23;
    if (rule->wrong == QUANT_SCALE_LOG2) scale.byte = log2_byte(s);
    scale.factor = factor_of(rule, scale.byte);
    if (rule->wrong == QUANT_SCALE_INVERTED) scale.byte = 254 - scale.byte;
    return scale;
}

void quant_scales_of(const struct quant_rule *of, struct quant_scale *scales, const float *amaxes,
                     int64_t n) {
    const struct quant_rule rule = *of; /* whose fields no store can change */
    for (int64_t g = 0; rule.wrong != QUANT_RIGHT && g < n; g++)
        scales[g] = wrong_scale(&rule, amaxes[g]);
    if (rule.wrong != QUANT_RIGHT) return;
#pragma omp simd
    for (int64_t g = 0; g < n; g++) {
        const float s = unrounded(&rule, amaxes[g]);
        const uint32_t byte = dsv4_e8m0_ceil(s);
        scales[g].byte = byte;
        scales[g].factor = factor_of(&rule, byte);
        scales[g].unrounded = s;
    }
}

static inline float magnitude_of(const float *x, int64_t n) {
    uint32_t most = 0; /* magnitudes are in the order of their bits */
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) {
        const uint32_t magnitude = dsv4_bits(x[i]) & 0x7FFFFFFFu;
        most = magnitude > most ? magnitude : most;
    }
    return dsv4_from_bits(most);
}

float quant_amax(const float *x, int64_t n, enum quant_wrong wrong) {
    float amax = 0.0f;
    if (wrong != QUANT_AMAX_SIGNED) return magnitude_of(x, n);
    for (int64_t i = 0; i < n; i++) amax = x[i] > amax ? x[i] : amax;
    return amax;
}

/* Groups of a width that the compiler knows. */
static inline void whole_amaxes(float *amaxes, const float *x, int64_t groups, int64_t group) {
    for (int64_t g = 0; g < groups; g++) amaxes[g] = magnitude_of(x + g * group, group);
}

void quant_amaxes(float *amaxes, const float *x, int64_t n, int64_t group, enum quant_wrong wrong) {
    const bool known = (group == 32 || group == 128) && wrong != QUANT_AMAX_SIGNED;
    const int64_t whole = known ? n / group : 0;
    if (group == 32)
        whole_amaxes(amaxes, x, whole, 32);
    else
        whole_amaxes(amaxes, x, whole, 128);
    for (int64_t g = whole; g * group < n; g++)
        amaxes[g] = quant_amax(x + g * group, quant_min(group, n - g * group), wrong);
}

void quant_apply(float *y, const float *x, int64_t n, int64_t group,
                 const struct quant_scale *scales) {
    for (int64_t at = 0; at < n; at += group) {
        const float factor = scales[at / group].factor;
#pragma omp simd
        for (int64_t i = at; i < quant_min(at + group, n); i++) y[i] = x[i] * factor;
    }
}

static void wrong_codes(const struct quant_rule *rule, uint8_t *codes, const float *x, int64_t n) {
    const bool ocp = rule->fp8 == DSV4_OCP;
    for (int64_t i = 0; i < n; i++) {
        float y = x[i];
        if (rule->wrong == QUANT_TIES_AWAY) y *= 1.0f + 0x1p-20f;
        codes[i] = dsv4_fp8_from_f32(y, rule->fp8);
        if (rule->wrong == QUANT_SATURATES_EARLY && fabsf(y) >= (ocp ? 256.0f : 128.0f))
            codes[i] = dsv4_fp8_from_f32(copysignf(dsv4_fp8_max(rule->fp8), y), rule->fp8);
        if (rule->wrong == QUANT_SUBNORMALS_FLUSHED && (codes[i] & 0x78) == 0) codes[i] = 0;
        if (rule->wrong == QUANT_ZERO_UNSIGNED && codes[i] == 0x80) codes[i] = 0;
        if (rule->wrong == QUANT_CODES_OF_OCP) codes[i] = dsv4_e4m3fn_from_f32(y);
        if (rule->wrong == QUANT_CODES_OF_FNUZ) codes[i] = dsv4_e4m3fnuz_from_f32(y);
    }
}

void quant_codes(const struct quant_rule *rule, uint8_t *codes, const float *x, int64_t n) {
    const uint32_t limit = dsv4_bits(dsv4_fp8_max(rule->fp8));
    if (rule->wrong != QUANT_RIGHT) {
        wrong_codes(rule, codes, x, n);
    } else if (rule->fp8 == DSV4_OCP) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) codes[i] = dsv4_e4m3fn_from_f32(x[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) codes[i] = dsv4_e4m3fnuz_clamped(x[i], limit);
    }
}
