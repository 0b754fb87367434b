/* SPDX-License-Identifier: Apache-2.0 */
#include "quant_four.h"

#include <math.h>

static const float middles[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};

/* Written without a branch, so that the loops over it vectorise. */
static inline uint8_t strict_code(float x) {
    const float a = dsv4_from_bits(dsv4_bits(x) & 0x7FFFFFFFu);
    uint32_t code = 0;
    for (int i = 0; i < 7; i++) code += a > middles[i] ? 1u : 0u;
    return (uint8_t)(code | (code != 0 ? dsv4_bits(x) >> 28 & 8u : 0u));
}

uint8_t quant_e2m1_strict(float x) { return strict_code(x); }

static uint8_t wrong_code(float x, bool strict, enum quant_wrong wrong) {
    const uint8_t sign = signbit(x) ? 8 : 0;
    if (wrong == QUANT_TIES_OTHER) strict = !strict;
    uint8_t code = strict ? strict_code(x) : dsv4_e2m1_from_f32(x);
    if (wrong == QUANT_TIES_AWAY) {
        int up = 0;
        while (up < 7 && fabsf(x) >= middles[up]) up++;
        code = (uint8_t)(up | (strict && up == 0 ? 0 : sign));
    }
    if (wrong == QUANT_SATURATES_EARLY && fabsf(x) >= 4.0f) code = 7 | sign;
    if (wrong == QUANT_SUBNORMALS_FLUSHED && (code & 7) == 1) code = strict ? 0 : sign;
    if (wrong == QUANT_ZERO_UNSIGNED && (code & 7) == 0) code = 0;
    if (wrong == QUANT_ZERO_SIGNED && (code & 7) == 0) code = sign;
    if (wrong == QUANT_TRUNCATED) {
        int down = 0;
        while (down < 7 && fabsf(x) >= dsv4_e2m1_to_f32((uint8_t)(down + 1))) down++;
        code = (uint8_t)(down | (strict && down == 0 ? 0 : sign));
    }
    return code;
}

static void wrong_fours(uint8_t *codes, const float *x, int64_t n, bool strict,
                        enum quant_wrong wrong) {
    const int low = wrong == QUANT_NIBBLES_SWAPPED ? 4 : 0, high = 4 - low;
    for (int64_t i = 0; i < n / 2; i++)
        codes[i] = (uint8_t)(wrong_code(x[2 * i], strict, wrong) << low |
                             wrong_code(x[2 * i + 1], strict, wrong) << high);
}

void quant_fours(uint8_t *codes, const float *x, int64_t n, bool strict, enum quant_wrong wrong) {
    if (wrong != QUANT_RIGHT) {
        wrong_fours(codes, x, n, strict, wrong);
    } else if (strict) {
#pragma omp simd
        for (int64_t i = 0; i < n / 2; i++)
            codes[i] = (uint8_t)(strict_code(x[2 * i]) | strict_code(x[2 * i + 1]) << 4);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n / 2; i++)
            codes[i] =
                (uint8_t)(dsv4_e2m1_from_f32(x[2 * i]) | dsv4_e2m1_from_f32(x[2 * i + 1]) << 4);
    }
}
