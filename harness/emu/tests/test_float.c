/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Float instructions against MPFR in all rounding and denormal modes; minimum, maximum, median and classes by their
 * written rules.
 */
#include <mpfr.h>

#include "vop.h"

/* ---- a format, and numbers as MPFR values ---- */

struct format {
    unsigned bits, fraction;
    int least,
        greatest; /* MPFR's exponents: of the least denormal, of the greatest finite number */
};
static const struct format f16 = {16, 10, -23, 16}, f32 = {32, 23, -148, 128},
                           f64 = {64, 52, -1073, 1024};

static uint64_t sign_bit(const struct format *f) { return UINT64_C(1) << (f->bits - 1); }
static uint64_t infinity(const struct format *f) {
    return (UINT64_C(1) << (f->bits - 1)) - (UINT64_C(1) << f->fraction);
}
static uint64_t magnitude(const struct format *f, uint64_t x) { return x & (sign_bit(f) - 1); }
static bool is_nan(const struct format *f, uint64_t x) { return magnitude(f, x) > infinity(f); }
static uint64_t quiet(const struct format *f, uint64_t x) {
    return x | UINT64_C(1) << (f->fraction - 1);
}
static bool is_signalling(const struct format *f, uint64_t x) {
    return is_nan(f, x) && quiet(f, x) != x;
}
static bool is_denormal(const struct format *f, uint64_t x) {
    return magnitude(f, x) >> f->fraction == 0 && magnitude(f, x) != 0;
}

static void to_mpfr(mpfr_t to, const struct format *f, uint64_t x) {
    const uint64_t m = magnitude(f, x), field = m >> f->fraction;
    const uint64_t digits = m & ((UINT64_C(1) << f->fraction) - 1);
    const int sign = x & sign_bit(f) ? -1 : 1;
    if (m == 0) {
        mpfr_set_zero(to, sign);
    } else if (m == infinity(f)) {
        mpfr_set_inf(to, sign);
    } else if (is_nan(f, x)) {
        mpfr_set_nan(to);
    } else {
        const uint64_t all = field ? digits | UINT64_C(1) << f->fraction : digits;
        mpfr_set_ui_2exp(to, all, f->least - 1 + (field ? (int)field - 1 : 0), MPFR_RNDN);
        mpfr_setsign(to, to, sign < 0, MPFR_RNDN);
    }
}

/* The exact value of the format in `x`. */
static uint64_t from_mpfr(const struct format *f, mpfr_t x) {
    const uint64_t sign = mpfr_signbit(x) ? sign_bit(f) : 0;
    if (mpfr_nan_p(x)) return quiet(f, infinity(f));
    if (mpfr_inf_p(x)) return sign | infinity(f);
    if (mpfr_zero_p(x)) return sign;
    const long exponent = mpfr_get_exp(x);
    const long place = exponent - 1 - (long)f->fraction;
    const long last = place < f->least - 1 ? f->least - 1 : place;
    mpfr_t scaled;
    mpfr_init2(scaled, 60);
    mpfr_mul_2si(scaled, x, -last, MPFR_RNDN);
    mpfr_abs(scaled, scaled, MPFR_RNDN);
    const uint64_t digits = (uint64_t)mpfr_get_ui(scaled, MPFR_RNDN);
    mpfr_clear(scaled);
    return sign | (digits + ((uint64_t)(last - (f->least - 1)) << f->fraction));
}

/* ---- one instruction: what it computes ---- */

enum operation { ADD, SUB, SUBREV, MUL, FMA, TRUNC, FLOOR, CEIL, RNDNE, LDEXP };

static const mpfr_rnd_t roundings[] = {MPFR_RNDN, MPFR_RNDU, MPFR_RNDD, MPFR_RNDZ};

static int operate(enum operation op, mpfr_t r, mpfr_t x[3], int64_t n, mpfr_rnd_t rounding) {
    switch (op) {
    case ADD: return mpfr_add(r, x[0], x[1], rounding);
    case SUB: return mpfr_sub(r, x[0], x[1], rounding);
    case SUBREV: return mpfr_sub(r, x[1], x[0], rounding);
    case MUL: return mpfr_mul(r, x[0], x[1], rounding);
    case FMA: return mpfr_fma(r, x[0], x[1], x[2], rounding);
    case TRUNC: return mpfr_rint_trunc(r, x[0], rounding);
    case FLOOR: return mpfr_rint_floor(r, x[0], rounding);
    case CEIL: return mpfr_rint_ceil(r, x[0], rounding);
    case RNDNE: return mpfr_rint(r, x[0], MPFR_RNDN);
    default: return mpfr_mul_2si(r, x[0], (long)n, rounding);
    }
}

static unsigned numbers_of(enum operation op) { return op == FMA ? 3 : op <= MUL ? 2 : 1; }

/* mode: rounding in bits 0, 1, denormals in bits 2, 3 (kept in sources, kept in results). */
static uint64_t correct(const struct format *f, enum operation op, const uint64_t s[3],
                        unsigned mode) {
    uint64_t in[3];
    const unsigned n = numbers_of(op);
    for (unsigned i = 0; i < n; i++)
        in[i] = is_denormal(f, s[i]) && !(mode & 4) ? s[i] & sign_bit(f) : s[i];
    for (unsigned i = 0; i < n; i++)
        if (is_nan(f, in[i])) return quiet(f, in[i]);
    mpfr_t x[3], r;
    for (unsigned i = 0; i < 3; i++) mpfr_init2(x[i], 64);
    for (unsigned i = 0; i < n; i++) to_mpfr(x[i], f, in[i]);
    const mpfr_exp_t emin = mpfr_get_emin(), emax = mpfr_get_emax();
    mpfr_init2(r, f->fraction + 1);
    mpfr_set_emin(f->least);
    mpfr_set_emax(f->greatest);
    const int64_t power =
        (int64_t)(f->bits == 16 ? (int16_t)(uint16_t)s[1] : (int32_t)(uint32_t)s[1]);
    const int64_t limited = power > 5000 ? 5000 : power < -5000 ? -5000 : power;
    int inexact = operate(op, r, x, limited, roundings[mode & 3]);
    inexact = mpfr_subnormalize(r, inexact, roundings[mode & 3]);
    (void)inexact;
    mpfr_set_emin(emin);
    mpfr_set_emax(emax);
    uint64_t result = from_mpfr(f, r);
    mpfr_clears(x[0], x[1], x[2], r, (mpfr_ptr)0);
    if (is_denormal(f, result) && !(mode & 8)) result &= sign_bit(f);
    return result;
}

/* The case in hand: formulas have no other arguments. */
static struct {
    const struct format *f;
    enum operation op;
    unsigned mode;
    bool accumulates;
} now;

static uint64_t by_mpfr(const uint64_t s[4]) {
    const uint64_t in[3] = {s[0], s[1], now.accumulates ? s[3] : s[2]};
    return correct(now.f, now.op, in, now.mode);
}

static uint64_t low_half(const uint64_t s[4]) {
    return by_mpfr((uint64_t[4]){s[0] & 0xffff, s[1] & 0xffff, s[2] & 0xffff, s[3] & 0xffff});
}
static uint64_t low_half_kept(const uint64_t s[4]) { return low_half(s) | (s[3] & 0xffff0000); }
static uint64_t two_halves(const uint64_t s[4]) {
    return low_half((uint64_t[4]){s[0] >> 16, s[1] >> 16, s[2] >> 16, s[3] >> 16}) << 16 |
           low_half(s);
}
static uint64_t two_words(const uint64_t s[4]) {
    uint64_t high[4], low[4];
    for (unsigned n = 0; n < 4; n++) {
        high[n] = s[n] >> 32;
        low[n] = s[n] & 0xffffffff;
    }
    return by_mpfr(high) << 32 | by_mpfr(low);
}
static uint64_t negated(const uint64_t s[4]) {
    return by_mpfr((uint64_t[4]){s[0] ^ sign_bit(now.f), s[1] & (sign_bit(now.f) - 1),
                                 (s[2] & (sign_bit(now.f) - 1)) ^ sign_bit(now.f), s[3]});
}
/* op_sel:[1,0,0] op_sel_hi:[0,1,1] neg_lo:[0,1,0] neg_hi:[1,0,0] */
static uint64_t two_words_crossed(const uint64_t s[4]) {
    const uint64_t word = 0xffffffff, sign = 0x80000000;
    const uint64_t low[4] = {s[0] >> 32, (s[1] & word) ^ sign, s[2] & word, 0};
    const uint64_t high[4] = {(s[0] & word) ^ sign, s[1] >> 32, s[2] >> 32, 0};
    return by_mpfr(high) << 32 | by_mpfr(low);
}
static uint64_t two_halves_crossed(const uint64_t s[4]) {
    const uint64_t low[4] = {s[0] >> 16, s[1] ^ 0x8000, s[2], 0};
    const uint64_t high[4] = {s[0] ^ 0x8000, s[1] >> 16, s[2] >> 16, 0};
    return low_half(high) << 16 | low_half(low);
}
/* op_sel:[1,0,1,1] */
static uint64_t to_high_half(const uint64_t s[4]) {
    return low_half((uint64_t[4]){s[0] >> 16, s[1], s[2] >> 16, 0}) << 16 | (s[3] & 0xffff);
}

#define CROSSED "op_sel:[1,0,0] op_sel_hi:[0,1,1] neg_lo:[0,1,0] neg_hi:[1,0,0]"

static const struct {
    struct vop_case c;
    const struct format *f;
    enum operation op;
    bool accumulates;
} arithmetic[] = {
    {{"v_add_f32", by_mpfr, NULL},                    &f32, ADD,    false},
    {{"v_sub_f32", by_mpfr, NULL},                    &f32, SUB,    false},
    {{"v_subrev_f32", by_mpfr, NULL},                 &f32, SUBREV, false},
    {{"v_mul_f32", by_mpfr, NULL},                    &f32, MUL,    false},
    {{"v_fma_f32", by_mpfr, NULL},                    &f32, FMA,    false},
    {{"v_fmac_f32", by_mpfr, NULL},                   &f32, FMA,    true },
    {{"v_trunc_f32", by_mpfr, NULL},                  &f32, TRUNC,  false},
    {{"v_floor_f32", by_mpfr, NULL},                  &f32, FLOOR,  false},
    {{"v_ceil_f32", by_mpfr, NULL},                   &f32, CEIL,   false},
    {{"v_rndne_f32", by_mpfr, NULL},                  &f32, RNDNE,  false},
    {{"v_ldexp_f32", by_mpfr, NULL},                  &f32, LDEXP,  false},
    {{"v_pk_add_f32", two_words, NULL},               &f32, ADD,    false},
    {{"v_pk_mul_f32", two_words, NULL},               &f32, MUL,    false},
    {{"v_pk_fma_f32", two_words, NULL},               &f32, FMA,    false},
    {{"v_pk_fma_f32", two_words_crossed, CROSSED},    &f32, FMA,    false},
    {{"v_add_f64", by_mpfr, NULL},                    &f64, ADD,    false},
    {{"v_mul_f64", by_mpfr, NULL},                    &f64, MUL,    false},
    {{"v_fma_f64", by_mpfr, NULL},                    &f64, FMA,    false},
    {{"v_fmac_f64", by_mpfr, NULL},                   &f64, FMA,    true },
    {{"v_trunc_f64", by_mpfr, NULL},                  &f64, TRUNC,  false},
    {{"v_floor_f64", by_mpfr, NULL},                  &f64, FLOOR,  false},
    {{"v_ceil_f64", by_mpfr, NULL},                   &f64, CEIL,   false},
    {{"v_rndne_f64", by_mpfr, NULL},                  &f64, RNDNE,  false},
    {{"v_ldexp_f64", by_mpfr, NULL},                  &f64, LDEXP,  false},
    {{"v_add_f16", low_half, NULL},                   &f16, ADD,    false},
    {{"v_sub_f16", low_half, NULL},                   &f16, SUB,    false},
    {{"v_subrev_f16", low_half, NULL},                &f16, SUBREV, false},
    {{"v_mul_f16", low_half, NULL},                   &f16, MUL,    false},
    {{"v_trunc_f16", low_half, NULL},                 &f16, TRUNC,  false},
    {{"v_floor_f16", low_half, NULL},                 &f16, FLOOR,  false},
    {{"v_ceil_f16", low_half, NULL},                  &f16, CEIL,   false},
    {{"v_rndne_f16", low_half, NULL},                 &f16, RNDNE,  false},
    {{"v_ldexp_f16", low_half, NULL},                 &f16, LDEXP,  false},
    {{"v_fma_f16", low_half_kept, NULL},              &f16, FMA,    false},
    {{"v_fma_f16", to_high_half, "op_sel:[1,0,1,1]"}, &f16, FMA,    false},
    {{"v_pk_add_f16", two_halves, NULL},              &f16, ADD,    false},
    {{"v_pk_mul_f16", two_halves, NULL},              &f16, MUL,    false},
    {{"v_pk_fma_f16", two_halves, NULL},              &f16, FMA,    false},
    {{"v_pk_fma_f16", two_halves_crossed, CROSSED},   &f16, FMA,    false},
    {{"v_pk_fmac_f16", two_halves, NULL},             &f16, FMA,    true },
};

/* MODE for a rounding and denormals; the other class of types gets the opposite, which must not matter. */
static uint32_t mode_of(const struct format *f, unsigned mode) {
    const uint32_t rounding = mode & 3, denormals = mode >> 2, other = rounding ^ 3,
                   kept = denormals ^ 3;
    return 0x300 | (f == &f32 ? rounding | other << 2 | denormals << 4 | kept << 6
                              : other | rounding << 2 | kept << 4 | denormals << 6);
}

Test(float, arithmetic_in_all_modes) {
    static struct bare b;
    unsigned wrong = 0;
    for (unsigned mode = 0; mode < 16; mode++)
        for (size_t i = 0; i < sizeof arithmetic / sizeof *arithmetic; i++) {
            now.f = arithmetic[i].f;
            now.op = arithmetic[i].op;
            now.mode = mode;
            now.accumulates = arithmetic[i].accumulates;
            const unsigned n =
                vop_check(&b, &arithmetic[i].c, mode_of(now.f, mode), 15, wrong > 10);
            if (n > 0 && wrong++ < 10) fprintf(stderr, "... in mode %x\n", mode);
        }
    cr_assert_eq(wrong, 0u);
}

Test(float, arithmetic_in_the_default_mode) {
    static struct bare b;
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof arithmetic / sizeof *arithmetic; i++) {
        now.f = arithmetic[i].f;
        now.op = arithmetic[i].op;
        now.mode = 12;
        now.accumulates = arithmetic[i].accumulates;
        wrong += vop_check(&b, &arithmetic[i].c, BARE_MODE, 80, false) != 0;
    }
    cr_assert_eq(wrong, 0u);
}

Test(float, a_wrong_rounding_is_found) {
    static struct bare b;
    for (size_t i = 0; i < sizeof arithmetic / sizeof *arithmetic; i++) {
        now.f = arithmetic[i].f;
        now.op = arithmetic[i].op;
        now.accumulates = arithmetic[i].accumulates;
        if (now.op >= TRUNC && now.op <= RNDNE) continue;
        now.mode = 13;
        cr_expect_gt(vop_check(&b, &arithmetic[i].c, BARE_MODE, 40, true), 0u, "%s: rounding",
                     arithmetic[i].c.name);
        now.mode = 8;
        cr_expect_gt(vop_check(&b, &arithmetic[i].c, BARE_MODE, 40, true), 0u,
                     "%s: denormal sources", arithmetic[i].c.name);
        now.mode = 4;
        cr_expect_gt(vop_check(&b, &arithmetic[i].c, BARE_MODE, 40, true), 0u,
                     "%s: denormal results", arithmetic[i].c.name);
    }
}

/* ---- minimum, maximum, median ---- */

static bool ieee;

/* Rank of a number: -0 before +0. */
static int64_t rank(const struct format *f, uint64_t x) {
    return x & sign_bit(f) ? -(int64_t)magnitude(f, x) - 1 : (int64_t)magnitude(f, x);
}
static uint64_t least(const struct format *f, uint64_t a, uint64_t b) {
    if (ieee && is_signalling(f, a)) return quiet(f, a);
    if (ieee && is_signalling(f, b)) return quiet(f, b);
    if (is_nan(f, a)) return b;
    if (is_nan(f, b)) return a;
    return rank(f, a) <= rank(f, b) ? a : b;
}
static uint64_t greatest(const struct format *f, uint64_t a, uint64_t b) {
    if (ieee && is_signalling(f, a)) return quiet(f, a);
    if (ieee && is_signalling(f, b)) return quiet(f, b);
    if (is_nan(f, a)) return b;
    if (is_nan(f, b)) return a;
    return rank(f, a) >= rank(f, b) ? a : b;
}
static bool same(const struct format *f, uint64_t a, uint64_t b) {
    return a == b || (magnitude(f, a) == 0 && magnitude(f, b) == 0);
}
static uint64_t middle(const struct format *f, uint64_t a, uint64_t b, uint64_t c) {
    if (is_nan(f, a) || is_nan(f, b) || is_nan(f, c)) return least(f, least(f, a, b), c);
    const uint64_t most = greatest(f, greatest(f, a, b), c);
    if (same(f, most, a)) return greatest(f, b, c);
    if (same(f, most, b)) return greatest(f, a, c);
    return greatest(f, a, b);
}
#define CHOICES(f, low)                                                                            \
    static uint64_t min_##f(const uint64_t s[4]) { return least(&f, s[0] & low, s[1] & low); }     \
    static uint64_t max_##f(const uint64_t s[4]) { return greatest(&f, s[0] & low, s[1] & low); }  \
    static uint64_t min3_##f(const uint64_t s[4]) { return least(&f, min_##f(s), s[2] & low); }    \
    static uint64_t max3_##f(const uint64_t s[4]) { return greatest(&f, max_##f(s), s[2] & low); } \
    static uint64_t med3_##f(const uint64_t s[4]) {                                                \
        return middle(&f, s[0] & low, s[1] & low, s[2] & low);                                     \
    }
CHOICES(f16, 0xffff)
CHOICES(f32, 0xffffffff)
CHOICES(f64, UINT64_MAX)
#define KEPT(name)                                                                                 \
    static uint64_t name##_kept(const uint64_t s[4]) { return name(s) | (s[3] & 0xffff0000); }
KEPT(min3_f16)
KEPT(max3_f16)
KEPT(med3_f16)
#define HALVES(name)                                                                               \
    static uint64_t pk_##name(const uint64_t s[4]) {                                               \
        return name((uint64_t[4]){s[0] >> 16, s[1] >> 16, s[2] >> 16, 0}) << 16 | name(s);         \
    }
HALVES(min_f16)
HALVES(max_f16)

Test(float, choices) {
    static const struct vop_case choices[] = {
        {"v_min_f32",    min_f32,       NULL},
        {"v_max_f32",    max_f32,       NULL},
        {"v_min3_f32",   min3_f32,      NULL},
        {"v_max3_f32",   max3_f32,      NULL},
        {"v_med3_f32",   med3_f32,      NULL},
        {"v_min_f64",    min_f64,       NULL},
        {"v_max_f64",    max_f64,       NULL},
        {"v_min_f16",    min_f16,       NULL},
        {"v_max_f16",    max_f16,       NULL},
        {"v_min3_f16",   min3_f16_kept, NULL},
        {"v_max3_f16",   max3_f16_kept, NULL},
        {"v_med3_f16",   med3_f16_kept, NULL},
        {"v_pk_min_f16", pk_min_f16,    NULL},
        {"v_pk_max_f16", pk_max_f16,    NULL},
    };
    (void)min3_f64, (void)max3_f64, (void)med3_f64;
    ieee = true;
    vop_check_all(choices, sizeof choices / sizeof *choices, BARE_MODE, 100);
    ieee = false;
    vop_check_all(choices, sizeof choices / sizeof *choices, BARE_MODE & ~(1u << EMU_IEEE), 100);
}

/* ---- modifiers ---- */

static uint64_t clamped(const uint64_t s[4]) {
    const uint64_t x = by_mpfr(s), one = 0x3f800000;
    if (is_nan(&f32, x) || x & 0x80000000) return 0;
    return x > one ? one : x;
}
static uint64_t clamped_with_nans(const uint64_t s[4]) {
    return is_nan(&f32, by_mpfr(s)) ? by_mpfr(s) : clamped(s);
}
Test(float, modifiers) {
    static struct bare b;
    now.f = &f32;
    now.op = MUL;
    now.accumulates = false;
    now.mode = 12;
    const struct vop_case clamp = {"v_mul_f32", clamped, "clamp"};
    cr_expect_eq(vop_check(&b, &clamp, BARE_MODE, 60, false), 0u);
    const struct vop_case nans = {"v_mul_f32", clamped_with_nans, "clamp"};
    cr_expect_eq(vop_check(&b, &nans, BARE_MODE & ~(1u << EMU_DX10_CLAMP), 60, false), 0u);
    const struct vop_case ignored = {"v_mul_f32", by_mpfr, "mul:2"};
    cr_expect_eq(vop_check(&b, &ignored, BARE_MODE, 60, false), 0u, "omod is void with IEEE");
}

Test(float, signs_of_sources) {
    static struct bare b;
    uint64_t state = 1;
    const struct emu_insn i = vop_decode("v_fma_f32 v0, -v2, |v4|, -|v6|");
    const struct emu_insn wide = vop_decode("v_fma_f64 v[0:1], -v[2:3], |v[4:5]|, -|v[6:7]|");
    bare_begin(&b);
    for (unsigned round = 0; round < 40; round++) {
        const struct emu_insn *const one = round & 1 ? &wide : &i;
        uint64_t s[EMU_LANES][4] = {{0}};
        now.f = round & 1 ? &f64 : &f32;
        now.op = FMA;
        now.mode = 12;
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            for (unsigned n = 0; n < 3; n++)
                vop_put(&b, 2 + 2 * n, lane, s[lane][n] = vop_value(&state, round & 1), round & 1);
        cr_assert(one->run(&b.wave, one) == one + 1);
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            cr_assert_eq(vop_get(&b, 0, lane, round & 1), negated(s[lane]));
    }
}

/* ---- parts of numbers ---- */

static uint64_t frexp_part(const struct format *f, uint64_t x, bool exponent) {
    if (is_nan(f, x)) return exponent ? 0 : quiet(f, x);
    if (magnitude(f, x) == 0 || magnitude(f, x) == infinity(f)) return exponent ? 0 : x;
    mpfr_t m;
    mpfr_init2(m, 64);
    to_mpfr(m, f, x);
    const long e = mpfr_get_exp(m);
    mpfr_set_exp(m, 0);
    const uint64_t mantissa = from_mpfr(f, m);
    mpfr_clear(m);
    return exponent ? (uint64_t)(int64_t)e & (f->bits == 16 ? 0xffff : 0xffffffff) : mantissa;
}
static uint64_t mant_f32(const uint64_t s[4]) { return frexp_part(&f32, s[0], false); }
static uint64_t exp_f32(const uint64_t s[4]) { return frexp_part(&f32, s[0], true); }
static uint64_t mant_f64(const uint64_t s[4]) { return frexp_part(&f64, s[0], false); }
static uint64_t exp_f64(const uint64_t s[4]) { return frexp_part(&f64, s[0], true); }
static uint64_t mant_f16(const uint64_t s[4]) { return frexp_part(&f16, s[0] & 0xffff, false); }
static uint64_t exp_f16(const uint64_t s[4]) { return frexp_part(&f16, s[0] & 0xffff, true); }

/* x - floor(x), rounded to nearest, and at most the number before 1. */
static uint64_t fract(const struct format *f, uint64_t x) {
    const uint64_t low = correct(f, FLOOR, (uint64_t[3]){x, 0, 0}, 12);
    const uint64_t rest = correct(f, SUB, (uint64_t[3]){x, low, 0}, 12);
    const uint64_t one = ((UINT64_C(1) << (f->bits - f->fraction - 2)) - 1) << f->fraction;
    if (is_nan(f, x)) return quiet(f, x);
    return rest == one ? one - 1 : rest;
}
static uint64_t fract_f32(const uint64_t s[4]) { return fract(&f32, s[0]); }
static uint64_t fract_f64(const uint64_t s[4]) { return fract(&f64, s[0]); }
static uint64_t fract_f16(const uint64_t s[4]) { return fract(&f16, s[0] & 0xffff); }
static uint64_t mul_legacy(const uint64_t s[4]) {
    if (magnitude(&f32, s[0]) == 0 || magnitude(&f32, s[1]) == 0) return 0;
    return correct(&f32, MUL, s, 12);
}
static uint64_t pack(const uint64_t s[4]) {
    const uint64_t low = s[0] & 0xffff, high = s[1] & 0xffff;
    return (is_nan(&f16, high) ? quiet(&f16, high) : high) << 16 |
           (is_nan(&f16, low) ? quiet(&f16, low) : low);
}
/* op_sel_hi:[1,0,0] op_sel:[1,0,0]: a the high f16 of its word, b and c f32. */
static uint64_t mixed(const uint64_t s[4]) {
    uint64_t a = s[0] >> 16;
    mpfr_t x;
    mpfr_init2(x, 24);
    to_mpfr(x, &f16, a);
    a = is_nan(&f16, a) ? (a & 0x8000) << 16 | 0x7fc00000 | (a & 0x1ff) << 13 : from_mpfr(&f32, x);
    mpfr_clear(x);
    return correct(&f32, FMA, (uint64_t[3]){a, s[1], s[2]}, 12);
}
static uint64_t narrowed(const uint64_t s[4]) {
    const uint64_t sum = mixed(s);
    if (is_nan(&f32, sum)) return (sum >> 16 & 0x8000) | 0x7e00 | (sum >> 13 & 0x1ff);
    mpfr_t x, r;
    mpfr_init2(x, 24);
    mpfr_init2(r, 11);
    to_mpfr(x, &f32, sum);
    const mpfr_exp_t emin = mpfr_get_emin(), emax = mpfr_get_emax();
    mpfr_set_emin(f16.least);
    mpfr_set_emax(f16.greatest);
    const int inexact = mpfr_check_range(r, mpfr_set(r, x, MPFR_RNDN), MPFR_RNDN);
    mpfr_subnormalize(r, inexact, MPFR_RNDN);
    mpfr_set_emin(emin);
    mpfr_set_emax(emax);
    const uint64_t result = from_mpfr(&f16, r);
    mpfr_clears(x, r, (mpfr_ptr)0);
    return result;
}
static uint64_t mixed_low(const uint64_t s[4]) { return narrowed(s) | (s[3] & 0xffff0000); }
static uint64_t mixed_high(const uint64_t s[4]) { return narrowed(s) << 16 | (s[3] & 0xffff); }
#define MIX "op_sel:[1,0,0] op_sel_hi:[1,0,0]"

Test(float, parts_and_mixtures) {
    static const struct vop_case parts[] = {
        {"v_frexp_mant_f32",    mant_f32,   NULL},
        {"v_frexp_exp_i32_f32", exp_f32,    NULL},
        {"v_frexp_mant_f64",    mant_f64,   NULL},
        {"v_frexp_exp_i32_f64", exp_f64,    NULL},
        {"v_frexp_mant_f16",    mant_f16,   NULL},
        {"v_frexp_exp_i16_f16", exp_f16,    NULL},
        {"v_fract_f32",         fract_f32,  NULL},
        {"v_fract_f64",         fract_f64,  NULL},
        {"v_fract_f16",         fract_f16,  NULL},
        {"v_mul_legacy_f32",    mul_legacy, NULL},
        {"v_pack_b32_f16",      pack,       NULL},
        {"v_fma_mix_f32",       mixed,      MIX },
        {"v_fma_mixlo_f16",     mixed_low,  MIX },
        {"v_fma_mixhi_f16",     mixed_high, MIX },
    };
    vop_check_all(parts, sizeof parts / sizeof *parts, BARE_MODE, 60);
}
