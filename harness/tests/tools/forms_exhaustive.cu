/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves forms of arithmetic that kernels have in the place of the canon's, on the CPU, with the kernels' own code:
 *
 *   fp4       codes of fp32 values, for all 2^32 of up to 6.5 and by every factor for one in 4099
 *   fp4 bf16  codes of bf16 values, for all 2^16 by every factor
 *   fp4 byte  the scale of a group, for all 2^31 amax, by either recipe
 *
 * `--plant` spoils one result of each, and succeeds if all are found.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../../impl/common/quant_group.inl"
#include "../../../reference/num/e2m1.h"

static uint32_t planted;

/* One more than the halfway points that |y| is above; zero is +0. */
static uint32_t strictly(float y) {
    const float a = fabsf(y);
    const uint32_t code = (uint32_t)((a > 0.25f) + (a > 0.75f) + (a > 1.25f) + (a > 1.75f) +
                                     (a > 2.5f) + (a > 3.5f) + (a > 5.0f));
    return code == 0 ? 0 : code | (gpu_bits(y) >> 28 & 8u);
}

static uint32_t fp4_of(float y, int strict) { return strict ? strictly(y) : dsv4_e2m1_from_f32(y); }

/* Eight values by the canon: the product, then its code. */
static bool same_codes(uint32_t got, const float *x, float factor, int strict) {
    uint32_t want = planted;
    for (int i = 0; i < 8; i++) want |= fp4_of(x[i] * factor, strict) << 4 * i;
    return got == want;
}

static int64_t check_fp4(int strict) {
    const int64_t end = planted ? 1 << 20 : (int64_t)gpu_bits(6.5f) / 8 + 1;
    int64_t wrong = 0;
#pragma omp parallel for schedule(static) reduction(+ : wrong)
    for (int64_t n = 0; n < end; n++) {
        float x[8];
        for (uint32_t i = 0; i < 8; i++)
            x[i] = gpu_float(((uint32_t)n * 8 + i) | ((uint32_t)n + i) << 31);
        wrong += !same_codes(quant_fp4_floats(x, 1.0f, strict), x, 1.0f, strict);
        for (int i = 0; i < 8; i++) x[i] = -x[i];
        wrong += !same_codes(quant_fp4_floats(x, 1.0f, strict), x, 1.0f, strict);
    }
    return wrong;
}

/* Values of up to 6.5 times a factor, others as 0. */
static float within(float x, float factor) { return fabsf(x * factor) <= 6.5f ? x : 0.0f; }

static int64_t check_fp4_factors(int strict) {
    int64_t wrong = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : wrong)
    for (int k = -126; k <= 126; k++) {
        const float factor = ldexpf(1.0f, k);
        for (uint64_t n = 0; n + 7 * 4099 < UINT64_C(1) << 32; n += 8 * 4099) {
            float x[8];
            for (uint64_t i = 0; i < 8; i++) {
                const uint32_t bits = (uint32_t)(n + i * 4099);
                x[i] = (bits & 0x7F800000u) == 0x7F800000u ? 1.0f : gpu_float(bits);
                x[i] = within(x[i], factor);
            }
            wrong += !same_codes(quant_fp4_floats(x, factor, strict), x, factor, strict);
        }
    }
    return wrong;
}

static int64_t check_fp4_bf16(int strict) {
    int64_t wrong = 0;
    for (int k = -126; k <= 126; k++) {
        const float factor = ldexpf(1.0f, k);
        for (uint32_t n = 0; n < 0x10000; n += 8) {
            float x[8];
            uint32_t words[4] = {};
            for (uint32_t i = 0; i < 8; i++) {
                const bool finite = (n & 0x7F80u) != 0x7F80u;
                x[i] = within(finite ? gpu_float((n + i) << 16) : 1.0f, factor);
                words[i / 2] |= gpu_bits(x[i]) >> 16 << 16 * (i % 2);
            }
            const gpu_u4 v = quant_four(words[0], words[1], words[2], words[3]);
            wrong += !same_codes(quant_fp4_bf16(v, factor, strict), x, factor, strict);
        }
    }
    return wrong;
}

static int64_t check_fp4_byte(int divides) {
    struct quant_rule rule = {};
    rule.floor = 6.0f * 0x1p-126f;
    rule.most = 6.0f;
    rule.inverse_most = 1.0f / 6.0f;
    rule.divides = divides;
    int64_t wrong = 0;
#pragma omp parallel for schedule(static) reduction(+ : wrong)
    for (int64_t n = 0; n < INT64_C(0x7F800000); n++) {
        const float amax = gpu_float((uint32_t)n);
        wrong += quant_fp4_byte(rule, amax) != (quant_byte(rule, amax) ^ planted);
    }
    return wrong;
}

static bool found = true;
static int64_t total;

static void report(const char *name, int64_t wrong) {
    printf("%-16s %lld differ\n", name, (long long)wrong);
    fflush(stdout);
    found = found && wrong > 0;
    total += wrong;
}

int main(int argc, char **argv) {
    planted = argc > 1 && strcmp(argv[1], "--plant") == 0 ? 1 : 0;
    report("fp4", check_fp4(0));
    report("fp4 strict", check_fp4(1));
    report("fp4 factors", check_fp4_factors(0) + check_fp4_factors(1));
    report("fp4 bf16", check_fp4_bf16(0) + check_fp4_bf16(1));
    report("fp4 byte", check_fp4_byte(0) + check_fp4_byte(1));
    if (planted) printf("planted errors: %s\n", found ? "all found" : "NOT all found");
    return (planted ? found : total == 0) ? 0 : 1;
}
