/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elementary functions against MPFR: the correctly rounded value, and the ends of the bound with approx=low and high. f16
 * is checked for every source; f32 and f64 for a sample and boundaries: 2^16 sources, or 2^24 with DSV4_EMU_EXHAUSTIVE=1.
 */
#include <math.h>
#include <mpfr.h>
#include <stdlib.h>

#include "../elementary.h"
#include "bare.h"

enum { WIDE = 200 };

static struct bare b;

typedef int mpfr_function(mpfr_t y, const mpfr_t x);

static int exp2_of(mpfr_t y, const mpfr_t x) { return mpfr_exp2(y, x, MPFR_RNDN); }
static int log2_of(mpfr_t y, const mpfr_t x) { return mpfr_log2(y, x, MPFR_RNDN); }
static int rcp_of(mpfr_t y, const mpfr_t x) { return mpfr_ui_div(y, 1, x, MPFR_RNDN); }
static int rsq_of(mpfr_t y, const mpfr_t x) { return mpfr_rec_sqrt(y, x, MPFR_RNDN); }
static int sqrt_of(mpfr_t y, const mpfr_t x) { return mpfr_sqrt(y, x, MPFR_RNDN); }
static int sin_of(mpfr_t y, const mpfr_t x) { return mpfr_sinu(y, x, 1, MPFR_RNDN); }
static int cos_of(mpfr_t y, const mpfr_t x) { return mpfr_cosu(y, x, 1, MPFR_RNDN); }

struct row {
    const char *name;
    mpfr_function *f;
};

static const struct row rows32[] = {
    {"v_exp_f32",  exp2_of},
    {"v_log_f32",  log2_of},
    {"v_rcp_f32",  rcp_of },
    {"v_rsq_f32",  rsq_of },
    {"v_sqrt_f32", sqrt_of},
    {"v_sin_f32",  sin_of },
    {"v_cos_f32",  cos_of },
};
static const struct row rows16[] = {
    {"v_exp_f16",  exp2_of},
    {"v_log_f16",  log2_of},
    {"v_rcp_f16",  rcp_of },
    {"v_rsq_f16",  rsq_of },
    {"v_sqrt_f16", sqrt_of},
    {"v_sin_f16",  sin_of },
    {"v_cos_f16",  cos_of },
};
static const struct row rows64[] = {
    {"v_rcp_f64",  rcp_of },
    {"v_rsq_f64",  rsq_of },
    {"v_sqrt_f64", sqrt_of}
};

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static double double_of(uint64_t bits) {
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static double half_value(uint32_t h) {
    const int exponent = (int)(h >> 10 & 31), m = (int)(h & 1023);
    const double value = exponent == 0 ? ldexp(m, -24) : ldexp(m + 1024, exponent - 25);
    return h & 0x8000 ? -value : value;
}

static double ulp_of(const char *name, bool *documented) {
    const struct emu_bound *bound = emu_bounds;
    while (bound->name != NULL && strcmp(bound->name, name) != 0) bound++;
    cr_assert(bound->name != NULL, "%s has no bound", name);
    *documented = bound->documented;
    return bound->ulp;
}

/* -1, 0, 1: where the option puts results. */
static void choose(int way) {
    setenv("DSV4_EMU", way < 0 ? "approx=low" : way > 0 ? "approx=high" : "approx=exact", 1);
    bare_begin(&b);
}

/* The last place of y in a format. */
static void last_place(mpfr_t place, const mpfr_t y, int fraction, long lowest) {
    mpfr_t inside; /* the lower binade, if y is at the border of two */
    mpfr_init2(inside, WIDE);
    mpfr_set(inside, y, MPFR_RNDN);
    if (mpfr_sgn(y) > 0)
        mpfr_nextbelow(inside);
    else
        mpfr_nextabove(inside);
    const long exponent = mpfr_get_exp(inside) - 1;
    mpfr_clear(inside);
    mpfr_set_ui_2exp(place, 1, (exponent < lowest ? lowest : exponent) - fraction, MPFR_RNDN);
}

/*
 * Is `got` the number of the format that the real value y asks for? Exact: within half a last place, ties impossible but
 * for exact values. Ends: inside the bound, and one place further out is not.
 */
static bool is_wanted(double got, const mpfr_t y, int way, double ulp, int fraction, long lowest) {
    mpfr_t place, distance, bound;
    mpfr_inits2(WIDE, place, distance, bound, (mpfr_ptr)0);
    last_place(place, y, fraction, lowest);
    mpfr_d_sub(distance, got, y, MPFR_RNDN);
    mpfr_div(distance, distance, place, MPFR_RNDN);
    bool good;
    if (way == 0) {
        good = mpfr_cmp_d(distance, 0.5) <= 0 && mpfr_cmp_d(distance, -0.5) >= 0;
    } else {
        mpfr_mul_si(distance, distance, way, MPFR_RNDN); /* outwards is positive */
        /* At the border of binades a step outwards may be two places, and y is known to 2^-49 only. */
        good = mpfr_cmp_d(distance, ulp + 1e-6) <= 0 && mpfr_cmp_d(distance, ulp - 2.001) > 0;
    }
    mpfr_clears(place, distance, bound, (mpfr_ptr)0);
    return good;
}

static void check_f32(const struct row *row, const uint32_t *x, int way, double ulp) {
    const struct emu_insn i = bare_insn(row->name);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) b.v[32][lane] = x[lane];
    bare_run(&b, &i);
    mpfr_t in, y;
    mpfr_inits2(WIDE, in, y, (mpfr_ptr)0);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const double value = (double)float_of(x[lane]);
        if (!isfinite(value) || fabs(value) < 0x1p-126) continue; /* see the special values */
        if (strstr(row->name, "_sin_") || strstr(row->name, "_cos_"))
            if (fabs(value) > 256) continue;
        mpfr_set_d(in, value, MPFR_RNDN);
        row->f(y, in);
        const double got = (double)float_of(b.v[0][lane]);
        if (mpfr_nan_p(y)) {
            cr_assert_eq(b.v[0][lane], 0x7fc00000, "%s %08x", row->name, x[lane]);
            continue;
        }
        if (mpfr_zero_p(y) || mpfr_inf_p(y)) {
            cr_assert_eq(fabs(got), fabs(mpfr_get_d(y, MPFR_RNDN)), "%s %08x", row->name, x[lane]);
            continue;
        }
        if (mpfr_cmpabs_ui(y, 0) == 0 || mpfr_get_exp(y) < -124) { /* near denormals */
            if (mpfr_get_exp(y) < -126) cr_assert_eq(got, 0, "%s %08x", row->name, x[lane]);
            continue;
        }
        if (mpfr_get_exp(y) > 127) continue; /* near infinity */
        cr_assert(is_wanted(got, y, way, ulp, 23, -126), "%s of %08x (%a) is %a, approx %d",
                  row->name, x[lane], value, got, way);
    }
    mpfr_clears(in, y, (mpfr_ptr)0);
}

static unsigned samples(void) { return getenv("DSV4_EMU_EXHAUSTIVE") ? 1u << 24 : 1u << 16; }

static void check_rows32(int way) {
    choose(way);
    for (unsigned r = 0; r < sizeof rows32 / sizeof *rows32; r++) {
        bool documented;
        const double ulp = ulp_of(rows32[r].name, &documented);
        uint64_t state = 11 + r;
        for (unsigned n = 0; n < samples(); n += EMU_LANES) {
            uint32_t x[EMU_LANES];
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                const uint32_t random = bare_random(&state);
                switch (lane % 4) {
                case 0: x[lane] = random; break;
                case 1: x[lane] = bits_of((float)(int32_t)random * 0x1p-25f); break; /* |x| <= 64 */
                case 2: x[lane] = 0x3f800000 + (random >> 7) - (1u << 24); break;    /* around 1 */
                default: x[lane] = (random & 0x80ffffff) | 0x3e000000; break;
                }
            }
            check_f32(&rows32[r], x, way, ulp);
        }
    }
}

Test(elementary, f32_is_correctly_rounded, .timeout = 3600) { check_rows32(0); }
Test(elementary, f32_low_end_of_the_bound, .timeout = 3600) { check_rows32(-1); }
Test(elementary, f32_high_end_of_the_bound, .timeout = 3600) { check_rows32(1); }

static void check_rows16(int way) {
    choose(way);
    mpfr_t in, y;
    mpfr_inits2(WIDE, in, y, (mpfr_ptr)0);
    for (unsigned r = 0; r < sizeof rows16 / sizeof *rows16; r++) {
        bool documented;
        const double ulp = ulp_of(rows16[r].name, &documented);
        const struct emu_insn i = bare_insn(rows16[r].name);
        for (uint32_t x = 0; x < 65536; x++) {
            const double value = half_value(x);
            if ((x & 0x7fff) >= 0x7c00 || value == 0) continue;
            if ((strstr(rows16[r].name, "_sin_") || strstr(rows16[r].name, "_cos_")) &&
                fabs(value) > 256)
                continue;
            mpfr_set_d(in, value, MPFR_RNDN);
            rows16[r].f(y, in);
            const uint32_t got = (uint32_t)bare_convert(&b, &i, x);
            if (mpfr_nan_p(y))
                cr_assert_eq(got, 0x7e00);
            else if (mpfr_zero_p(y))
                cr_assert_eq(got & 0x7fff, 0);
            else if (mpfr_cmpabs_ui(y, 65519) > 0)
                cr_assert_eq(got & 0x7fff,
                             way == 0 || mpfr_cmpabs_ui(y, 65600) > 0 ? 0x7c00 : got & 0x7fff,
                             "%s of %04x is %04x", rows16[r].name, x, got);
            else
                cr_assert(is_wanted(half_value(got), y, way, ulp, 10, -14), "%s of %04x is %04x",
                          rows16[r].name, x, got);
        }
    }
    mpfr_clears(in, y, (mpfr_ptr)0);
}

Test(elementary, every_f16_is_correctly_rounded, .timeout = 600) { check_rows16(0); }
Test(elementary, every_f16_low_end, .timeout = 600) { check_rows16(-1); }
Test(elementary, every_f16_high_end, .timeout = 600) { check_rows16(1); }

/* An end of 2^29 places may pass a binade: within the bound, and further out than half of it. */
static void check_rows64(int way) {
    choose(way);
    mpfr_t in, y, place;
    mpfr_inits2(WIDE, in, y, place, (mpfr_ptr)0);
    uint64_t state = 21;
    for (unsigned r = 0; r < 3; r++) {
        bool documented;
        const double bound = ulp_of(rows64[r].name, &documented);
        const struct emu_insn i = bare_insn(rows64[r].name);
        for (unsigned n = 0; n < 20000; n++) {
            const uint64_t fraction = (uint64_t)bare_random(&state) << 32 | bare_random(&state);
            const uint64_t bits = fraction >> 12 | (UINT64_C(600) + n % 900) << 52;
            mpfr_set_d(in, double_of(bits), MPFR_RNDN);
            rows64[r].f(y, in);
            mpfr_sub_d(in, y, double_of(bare_convert(&b, &i, bits)), MPFR_RNDN);
            last_place(place, y, 52, -1022);
            mpfr_div(in, in, place, MPFR_RNDN);
            const double distance = -mpfr_get_d(in, MPFR_RNDN) * (way == 0 ? 1 : way);
            if (way == 0)
                cr_assert_leq(fabs(distance), r == 1 ? 0.501 : 0.5, "%s", rows64[r].name);
            else
                cr_assert(distance <= bound + 1 && distance > bound / 2 - 1, "%s: %g places",
                          rows64[r].name, distance);
        }
    }
    mpfr_clears(in, y, place, (mpfr_ptr)0);
}

Test(elementary, f64_is_correctly_rounded, .timeout = 60) { check_rows64(0); }
Test(elementary, f64_low_end_of_the_bound, .timeout = 60) { check_rows64(-1); }
Test(elementary, f64_high_end_of_the_bound, .timeout = 60) { check_rows64(1); }

/* Source, result. */
struct special {
    const char *name;
    uint32_t x, y;
};

static const struct special specials[] = {
    {"v_exp_f32",       0,          0x3f800000},
    {"v_exp_f32",       0x80000000, 0x3f800000},
    {"v_exp_f32",       0x007fffff, 0x3f800000},
    {"v_exp_f32",       0xff800000, 0         },
    {"v_exp_f32",       0x7f800000, 0x7f800000},
    {"v_exp_f32",       0xc3160000, 0         }, /* 2^-150 */
    {"v_exp_f32",       0xc2fe0000, 0         }, /* 2^-127 is flushed */
    {"v_exp_f32",       0xffc00001, 0xffc00001},
    {"v_exp_f32",       0x7f800001, 0x7fc00001},
    {"v_log_f32",       0,          0xff800000},
    {"v_log_f32",       0x80000000, 0xff800000},
    {"v_log_f32",       0x00400000, 0xff800000},
    {"v_log_f32",       0x3f800000, 0         },
    {"v_log_f32",       0x7f800000, 0x7f800000},
    {"v_log_f32",       0xbf800000, 0x7fc00000},
    {"v_log_f32",       0xff800000, 0x7fc00000},
    {"v_rcp_f32",       0,          0x7f800000},
    {"v_rcp_f32",       0x80000000, 0xff800000},
    {"v_rcp_f32",       0x80000001, 0xff800000},
    {"v_rcp_f32",       0x7f800000, 0         },
    {"v_rcp_f32",       0xff800000, 0x80000000},
    {"v_rcp_f32",       0x7f7fffff, 0         }, /* a denormal result */
    {"v_rcp_f32",       0xff000000, 0x80000000},
    {"v_rcp_iflag_f32", 0x80000000, 0xff800000},
    {"v_rsq_f32",       0,          0x7f800000},
    {"v_rsq_f32",       0x80000000, 0xff800000},
    {"v_rsq_f32",       0x7f800000, 0         },
    {"v_rsq_f32",       0xbf800000, 0x7fc00000},
    {"v_sqrt_f32",      0x80000000, 0x80000000},
    {"v_sqrt_f32",      0x80000001, 0x80000000},
    {"v_sqrt_f32",      0xbf800000, 0x7fc00000},
    {"v_sqrt_f32",      0x7f800000, 0x7f800000},
    {"v_sin_f32",       0,          0         },
    {"v_sin_f32",       0x80000000, 0x80000000},
    {"v_sin_f32",       0x43800001, 0         },
    {"v_sin_f32",       0x7f800000, 0x7fc00000},
    {"v_cos_f32",       0,          0x3f800000},
    {"v_cos_f32",       0xc3800001, 0x3f800000},
    {"v_cos_f32",       0xff800000, 0x7fc00000},
    {"v_exp_f16",       0xfc00,     0         },
    {"v_exp_f16",       0x4c00,     0x7c00    }, /* 2^16 */
    {"v_exp_f16",       0xce40,     0         }, /* 2^-25, a tie to even */
    {"v_log_f16",       0x8000,     0xfc00    },
    {"v_log_f16",       0xbc00,     0x7e00    },
    {"v_rcp_f16",       0,          0x7c00    },
    {"v_rcp_f16",       0xfc00,     0x8000    },
    {"v_rsq_f16",       0x8000,     0xfc00    },
    {"v_sqrt_f16",      0x8000,     0x8000    },
    {"v_sqrt_f16",      0xbc00,     0x7e00    },
    {"v_rcp_f16",       0x7c01,     0x7e01    },
    {"v_sin_f16",       0x5c01,     0         },
    {"v_cos_f16",       0x5c01,     0x3c00    },
};

/* approx moves no zero, no infinity, no NaN. Some of these are none: those count for exact only. */
Test(elementary, special_values) {
    for (int way = 0; way < 2; way++) {
        choose(way ? -1 : 0);
        for (unsigned n = 0; n < sizeof specials / sizeof *specials; n++) {
            const struct special *const s = &specials[n];
            const uint32_t size = s->y & 0x7fffffff;
            if (way && size != 0 && size != 0x7c00 && size < 0x7f800000) continue;
            const struct emu_insn i = bare_insn(s->name);
            cr_assert_eq((uint32_t)bare_convert(&b, &i, s->x), s->y, "%s of %08x", s->name, s->x);
        }
    }
}

Test(elementary, mode_of_halves_and_doubles) {
    choose(0);
    const struct emu_insn rcp16 = bare_insn("v_rcp_f16"), rcp64 = bare_insn("v_rcp_f64");
    cr_assert_eq((uint32_t)bare_convert(&b, &rcp16, 0x7bff), 0x0100);
    cr_assert_eq((uint32_t)bare_convert(&b, &rcp16, 0x0200), 0x7800);
    cr_assert_eq(bare_convert(&b, &rcp64, UINT64_C(0x7fe) << 52), UINT64_C(1) << 51);
    b.wave.mode &= ~(3u << EMU_DENORM_16_64);
    cr_assert_eq((uint32_t)bare_convert(&b, &rcp16, 0x7bff), 0);
    cr_assert_eq((uint32_t)bare_convert(&b, &rcp16, 0x0200), 0x7c00);
    cr_assert_eq(bare_convert(&b, &rcp64, UINT64_C(0x7fe) << 52), 0);
    cr_assert_eq(bare_convert(&b, &rcp64, UINT64_C(0x8000000000000001)), UINT64_C(0xfff) << 52);
    b.wave.mode |= 1u << EMU_FP16_OVFL;
    cr_assert_eq((uint32_t)bare_convert(&b, &rcp16, 0), 0x7bff);
    const struct emu_insn exp16 = bare_insn("v_exp_f16");
    cr_assert_eq((uint32_t)bare_convert(&b, &exp16, 0x7c00), 0x7c00);
    cr_assert_eq((uint32_t)bare_convert(&b, &exp16, 0x5000), 0x7bff);
}

/* Every approximate row has a bound, and every bound belongs to one. */
Test(elementary, one_table_of_bounds) {
    for (size_t n = 0; emu_elementary_opcodes[n].name != NULL; n++) {
        cr_assert_str_eq(emu_elementary_opcodes[n].name, emu_bounds[n].name);
        cr_assert_gt(emu_bounds[n].ulp, 0);
        cr_assert(emu_elementary_opcodes[n].flags & EMU_APPROXIMATE);
    }
}

/* What the option is for: a result whose bits show the end that was chosen. */
Test(elementary, a_low_end_shows_itself) {
    choose(-1);
    const struct emu_insn i = bare_insn("v_exp_f32");
    cr_assert_lt((uint32_t)bare_convert(&b, &i, bits_of(0.3f)), bits_of((float)exp2((double)0.3f)));
}
