/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sequences that compilers make of a division, with an approximate reciprocal: the quotient must come out correctly
 * rounded for all kinds of numbers. This holds v_div_scale, v_div_fmas and v_div_fixup to their purpose.
 */
#include <math.h>

#include "vop.h"

static struct bare b;

static void run(const char *text) {
    const struct emu_insn i = vop_decode(text);
    cr_assert(i.run(&b.wave, &i) == &i + 1, "%s faulted", text);
}

static double to_double(uint64_t x) {
    double d;
    memcpy(&d, &x, sizeof d);
    return d;
}
static float to_float(uint32_t x) {
    float f;
    memcpy(&f, &x, sizeof f);
    return f;
}

/* Numerator v2, denominator v4 -> v0. v_rcp is an approximation: here it errs by up to one place. */
static void divide32(uint64_t *state) {
    run("v_div_scale_f32 v6, s[30:31], v4, v4, v2");
    run("v_div_scale_f32 v8, vcc, v2, v4, v2");
    for (unsigned lane = 0; lane < 64; lane++) {
        const float r = 1 / to_float(b.v[6][lane]);
        memcpy(&b.v[10][lane], &r, 4);
        /* A divisor of all ones needs the best reciprocal. */
        const bool ones = (b.v[6][lane] & 0x7fffff) == 0x7fffff;
        if (isnormal(r) && !ones) b.v[10][lane] += bare_random(state) % 3 - 1;
    }
    run("v_fma_f32 v12, -v6, v10, 1.0");
    run("v_fmac_f32_e32 v10, v12, v10");
    run("v_mul_f32_e32 v12, v8, v10");
    run("v_fma_f32 v14, -v6, v12, v8");
    run("v_fmac_f32_e32 v12, v14, v10");
    run("v_fma_f32 v8, -v6, v12, v8");
    run("v_div_fmas_f32 v8, v8, v10, v12");
    run("v_div_fixup_f32 v0, v8, v4, v2");
}

static void divide64(uint64_t *state) {
    run("v_div_scale_f64 v[6:7], s[30:31], v[4:5], v[4:5], v[2:3]");
    run("v_div_scale_f64 v[8:9], vcc, v[2:3], v[4:5], v[2:3]");
    for (unsigned lane = 0; lane < 64; lane++) {
        const double r = 1 / to_double(vop_get(&b, 6, lane, true));
        uint64_t bits;
        memcpy(&bits, &r, 8);
        if (isnormal(r)) bits ^= bare_random(state) & 0xffffff;
        vop_put(&b, 10, lane, bits, true);
    }
    run("v_fma_f64 v[12:13], -v[6:7], v[10:11], 1.0");
    run("v_fma_f64 v[10:11], v[10:11], v[12:13], v[10:11]");
    run("v_fma_f64 v[12:13], -v[6:7], v[10:11], 1.0");
    run("v_fma_f64 v[10:11], v[10:11], v[12:13], v[10:11]");
    run("v_mul_f64 v[12:13], v[8:9], v[10:11]");
    run("v_fma_f64 v[14:15], -v[6:7], v[12:13], v[8:9]");
    run("v_div_fmas_f64 v[14:15], v[14:15], v[10:11], v[12:13]");
    run("v_div_fixup_f64 v[0:1], v[14:15], v[4:5], v[2:3]");
}

/* Any exponent, any digits: few or many. */
static uint64_t number(uint64_t *state, bool wide) {
    const uint32_t kind = bare_random(state) % 8;
    if (kind == 0) return vop_value(state, wide);
    const uint64_t x = (uint64_t)bare_random(state) << 32 | bare_random(state);
    const unsigned fraction = wide ? 52 : 23;
    const uint64_t digits = kind < 3 ? x & (x << 13) & (x >> 7) : x;
    const uint64_t extremes =
        kind & 1 ? bare_random(state) % 60 : (wide ? 2047 : 255) - bare_random(state) % 130;
    const uint64_t exponent = kind < 6 ? extremes : bare_random(state);
    const uint64_t all = (exponent & (wide ? 2047 : 255)) << fraction |
                         (digits & ((UINT64_C(1) << fraction) - 1)) |
                         (uint64_t)(x & 1) << (wide ? 63 : 31);
    return all;
}

static bool is_quiet(bool wide, uint64_t x) {
    return wide ? isnan(to_double(x)) && x >> 51 & 1 : isnan(to_float((uint32_t)x)) && x >> 22 & 1;
}

static void check(bool wide) {
    uint64_t state = 1;
    unsigned denormals = 0;
    for (unsigned round = 0; round < 3000; round++) {
        bare_begin(&b);
        for (unsigned lane = 0; lane < 64; lane++) {
            vop_put(&b, 2, lane, number(&state, wide), wide);
            vop_put(&b, 4, lane, number(&state, wide), wide);
        }
        const struct bare in = b;
        (wide ? divide64 : divide32)(&state);
        for (unsigned lane = 0; lane < 64; lane++) {
            const uint64_t x = vop_get(&in, 2, lane, wide), y = vop_get(&in, 4, lane, wide);
            const uint64_t got = vop_get(&b, 0, lane, wide);
            uint64_t want = 0;
            const double q = to_double(x) / to_double(y);
            const float p = to_float((uint32_t)x) / to_float((uint32_t)y);
            memcpy(&want, wide ? (const void *)&q : (const void *)&p, wide ? 8 : 4);
            denormals += wide ? fpclassify(q) == FP_SUBNORMAL : fpclassify(p) == FP_SUBNORMAL;
            const bool nan = wide ? isnan(q) : isnan(p);
            cr_assert(nan ? is_quiet(wide, got) : got == want, "%llx / %llx: got %llx, want %llx",
                      (unsigned long long)x, (unsigned long long)y, (unsigned long long)got,
                      (unsigned long long)want);
        }
    }
    cr_assert_gt(denormals, 1000u, "the numbers reach denormal quotients");
}

Test(division, singles) { check(false); }
Test(division, doubles) { check(true); }

/* Without the scaling the same sequence fails: the numbers need it. */
Test(division, scaling_matters) {
    bare_begin(&b);
    for (unsigned lane = 0; lane < 64; lane++) {
        b.v[2][lane] = 0x00800000; /* the least normal number / 3 */
        b.v[4][lane] = 0x40400000;
    }
    uint64_t state = 1;
    divide32(&state);
    cr_assert_eq(b.v[0][5], 0x002aaaab);
    emu_write_s64(&b.wave, EMU_VCC, 0);
    run("v_div_fmas_f32 v8, v8, v10, v12");
    run("v_div_fixup_f32 v0, v8, v4, v2");
    cr_assert_neq(b.v[0][5], 0x002aaaab);
}

Test(division, fixup_of_halves) {
    static const uint32_t table[][4] = {
  /* quotient, denominator, numerator, result */
        {0x3c00, 0x7e01, 0x7d02, 0x7f02},
        {0x3c00, 0x7d01, 0x3c00, 0x7f01},
        {0x3c00, 0,      0x8000, 0xfe00},
        {0x3c00, 0x7c00, 0xfc00, 0xfe00},
        {0x3c00, 0x8000, 0x3c00, 0xfc00},
        {0x3c00, 0x3c00, 0xfc00, 0xfc00},
        {0x3c00, 0xfc00, 0x3c00, 0x8000},
        {0x3c00, 0x3c00, 0x8000, 0x8000},
        {0xbc00, 0x3c00, 0x4000, 0x3c00},
    };
    for (size_t n = 0; n < sizeof table / sizeof *table; n++) {
        bare_begin(&b);
        b.v[0][0] = 0x12340000;
        b.v[2][0] = table[n][0];
        b.v[4][0] = table[n][1];
        b.v[6][0] = table[n][2];
        run("v_div_fixup_f16 v0, v2, v4, v6");
        cr_assert_eq(b.v[0][0], 0x12340000 | table[n][3], "row %zu", n);
    }
}
