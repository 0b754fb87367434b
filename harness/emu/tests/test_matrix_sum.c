/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How matrix instructions round: against the rule in real numbers (MPFR, exact but where the rule says), on random codes
 * of all exponents and on cases where a sum by fma differs. And the other way round: fma in order of k must not pass.
 */
#include <mpfr.h>

#include "matrix_case.h"

enum { EXACT = 1400 }; /* any sum of products of f32 */

static struct bare b;

/* One term or accumulator: a value, and the exponent it counts with. */
struct number {
    double value;
    int exponent;
};

static int format_lowest(const char *format) {
    return strcmp(format, "f16") == 0   ? -14
           : strcmp(format, "fp8") == 0 ? -7
           : strcmp(format, "bf8") == 0 ? -15
                                        : -126;
}

static struct number number_of(double value, int lowest) {
    int exponent;
    frexp(value, &exponent);
    exponent -= 1;
    return (struct number){value, exponent < lowest ? lowest : exponent};
}

/* y = x cut towards zero, or down, to a multiple of 2^unit. */
static void cut(mpfr_t y, const mpfr_t x, int unit, bool down) {
    mpfr_div_2si(y, x, unit, MPFR_RNDN);
    if (down)
        mpfr_floor(y, y);
    else
        mpfr_trunc(y, y);
    mpfr_mul_2si(y, y, unit, MPFR_RNDN);
}

enum { NOTHING = -100000 };

/* Products first, first + step, ... cut 24 bits below the largest exponent of those that are not zero. */
static int sum_products(mpfr_t sum, const struct number *p, const double (*factor)[2],
                        unsigned first, unsigned step, unsigned count) {
    int top = NOTHING;
    mpfr_t term;
    mpfr_init2(term, EXACT);
    for (unsigned c = 0; c < count; c++)
        if (factor[first + c * step][0] * factor[first + c * step][1] != 0 &&
            p[first + c * step].exponent > top)
            top = p[first + c * step].exponent;
    mpfr_set_zero(sum, 1);
    for (unsigned c = 0; c < count && top != NOTHING; c++) {
        mpfr_set_d(term, factor[first + c * step][0], MPFR_RNDN);
        mpfr_mul_d(term, term, factor[first + c * step][1], MPFR_RNDN);
        cut(term, term, top - 24, false);
        mpfr_add(sum, sum, term, MPFR_RNDN);
    }
    mpfr_clear(term);
    return top;
}

/* The accumulator after one group; factors of finite value. */
static float after_group(float c, const struct number *p, const double (*factor)[2], unsigned first,
                         unsigned count, bool fp8) {
    mpfr_t sum, odd, kept;
    mpfr_inits2(EXACT, sum, odd, kept, (mpfr_ptr)0);
    int top;
    if (fp8) {
        const int e0 = sum_products(sum, p, factor, first, 2, count / 2);
        const int e1 = sum_products(odd, p, factor, first + 1, 2, count / 2);
        top = e0 > e1 ? e0 : e1;
        if (top != NOTHING) {
            cut(sum, sum, top - 24, true);
            cut(odd, odd, top - 24, true);
            mpfr_add(sum, sum, odd, MPFR_RNDN);
        }
    } else {
        top = sum_products(sum, p, factor, first, 1, count);
    }
    const struct number accumulator = number_of((double)c, -126);
    const int exponent = c == 0 ? -126 : accumulator.exponent;
    const int larger = exponent > top ? exponent : top;
    cut(sum, sum, larger - 31, true);
    mpfr_set_flt(kept, c, MPFR_RNDN);
    cut(kept, kept, larger - 24, true);
    if (!fp8 || exponent >= larger - 25) mpfr_add(sum, sum, kept, MPFR_RNDN);
    const float result = mpfr_get_flt(sum, MPFR_RNDN); /* once, denormals too */
    mpfr_clears(sum, odd, kept, (mpfr_ptr)0);
    return result;
}

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t x) {
    float f;
    memcpy(&f, &x, sizeof f);
    return f;
}

enum rule { RULE, IN_ORDER_BY_FMA };

/* Element (i, j) by a rule; false if something is not finite: see the special values. */
static bool expected(uint32_t *bits, const struct matrix_case *c, unsigned block, unsigned i,
                     unsigned j, enum rule rule) {
    struct number p[64];
    double factor[64][2];
    unsigned lane, v;
    output_place(c, block, i, j, &lane, &v);
    float sum = float_of(b.v[C_AT + v][lane]);
    bool finite = isfinite(sum);
    for (unsigned k = 0; k < c->k; k++) {
        input_place(c->m, c->blocks, c->k, block, i, k, &lane, &v);
        factor[k][0] = format_value(c->a, get_bits(&b, A_AT, lane, format_bits(c->a), v));
        input_place(c->n, c->blocks, c->k, block, j, k, &lane, &v);
        factor[k][1] = format_value(c->b, get_bits(&b, B_AT, lane, format_bits(c->b), v));
        p[k].exponent = number_of(factor[k][0], format_lowest(c->a)).exponent +
                        number_of(factor[k][1], format_lowest(c->b)).exponent;
        finite = finite && isfinite(factor[k][0]) && isfinite(factor[k][1]) &&
                 fabs(factor[k][0] * factor[k][1]) < 0x1p128;
    }
    if (!finite) return false;
    const bool fp8 = format_bits(c->a) == 8;
    const unsigned group = fp8 ? 16 : format_bits(c->a) == 32 ? 4 : c->k < 8 ? c->k : 8;
    for (unsigned k = 0; k < c->k; k += rule == RULE ? group : 1) {
        if (rule == RULE)
            sum = after_group(sum, p, (const double(*)[2])factor, k, group, fp8);
        else
            sum = fmaf((float)factor[k][0], (float)factor[k][1], sum);
        if (!isfinite(sum)) return false;
    }
    *bits = bits_of(sum);
    return true;
}

/* Codes: wild, or of exponents near enough to meet; zeros and denormals among them. */
static uint64_t random_code(const char *format, uint64_t *state, unsigned style) {
    const uint32_t r = bare_random(state);
    if (r % 16 == 0) return 0;
    const uint64_t code = bare_random(state);
    if (strcmp(format, "bf16") == 0)
        return style == 0 ? code & 0xffff : (code & 0x807f) | (120 + r % 14) << 7;
    if (strcmp(format, "f16") == 0)
        return style == 0 ? code & 0xffff : (code & 0x83ff) | (9 + r % 12) << 10;
    if (strcmp(format, "xf32") == 0)
        return style == 0 ? code & 0xffffffff : (code & 0x807fffff) | (120 + r % 14) << 23;
    return style == 0 ? code & 0xff : (code & 0x83) | (code & 0x3c);
}

static void randomise(const struct matrix_case *c, uint64_t *state, unsigned style) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        for (unsigned v = 0; v < c->k * c->m * c->blocks / 64; v++)
            set_bits(&b, A_AT, lane, format_bits(c->a), v, random_code(c->a, state, style));
        for (unsigned v = 0; v < c->k * c->n * c->blocks / 64; v++)
            set_bits(&b, B_AT, lane, format_bits(c->b), v, random_code(c->b, state, style));
        for (unsigned v = 0; v < c->m * c->n * c->blocks / 64; v++) {
            const uint32_t r = bare_random(state), exponent = style == 0   ? r >> 23 & 255
                                                              : style == 1 ? 90 + r % 50
                                                                           : 120 + r % 20;
            b.v[C_AT + v][lane] =
                r % 13 == 0 ? 0 : (bare_random(state) & 0x807fffff) | exponent << 23;
        }
    }
}

/* Results checked; *differing: those that fma would have made another. */
static unsigned check_random(const char *name, unsigned rounds, unsigned *differing) {
    const struct matrix_case c = matrix_case(name);
    uint64_t state = 77;
    unsigned checked = 0;
    for (unsigned n = 0; n < rounds; n++) {
        bare_begin(&b);
        const struct emu_insn i = bare_insn(name);
        randomise(&c, &state, n % 3);
        bare_run(&b, &i);
        for (unsigned block = 0; block < c.blocks; block++)
            for (unsigned row = 0; row < c.m; row++)
                for (unsigned j = row % 2; j < c.n; j += 2) {
                    uint32_t want, other;
                    unsigned lane, v;
                    output_place(&c, block, row, j, &lane, &v);
                    if (!expected(&want, &c, block, row, j, RULE)) continue;
                    cr_assert_eq(b.v[v][lane], want,
                                 "%s row %u column %u of round %u: %08x, not %08x", name, row, j, n,
                                 b.v[v][lane], want);
                    if (expected(&other, &c, block, row, j, IN_ORDER_BY_FMA))
                        *differing += other != want;
                    checked++;
                }
    }
    return checked;
}

static bool has_rule(const char *name) {
    return strncmp(name, "v_mfma_f32", 10) == 0 && strcmp(name + strlen(name) - 4, "_f32") != 0;
}

Test(matrix_sum, every_dense_instruction_follows_the_rule, .timeout = 120) {
    unsigned instructions = 0;
    for (const struct emu_opcode *o = emu_matrix_opcodes; o->name != NULL; o++) {
        if (!has_rule(o->name)) continue;
        unsigned differing = 0;
        const unsigned checked = check_random(o->name, 30, &differing);
        cr_assert_gt(checked, 300, "%s", o->name);
        /* The planted error: sums in order, by fma. It must not pass for the rule. */
        cr_assert_gt(differing, checked / 100, "%s: fma is not told from the rule", o->name);
        instructions++;
    }
    cr_assert_eq(instructions, 20);
}

/* ---- directed: row 0, column 0 of one block ---- */

static void put(const struct matrix_case *c, unsigned k, double x, double y) {
    unsigned lane, v;
    for (unsigned side = 0; side < 2; side++) {
        const char *const format = side ? c->b : c->a;
        const double value = side ? y : x;
        uint64_t code = 0;
        while (format_value(format, code) != value) code++;
        input_place(c->m, c->blocks, c->k, 0, 0, k, &lane, &v);
        set_bits(&b, side ? B_AT : A_AT, lane, format_bits(format), v, code);
    }
}

static float first_result(const struct matrix_case *c, float accumulator) {
    b.v[C_AT][0] = bits_of(accumulator);
    const struct emu_insn i = bare_insn(c->name);
    bare_run(&b, &i);
    return float_of(b.v[D_AT][0]);
}

Test(matrix_sum, a_small_negative_accumulator_is_rounded_down) {
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x8_f16");
    bare_begin(&b);
    put(&c, 0, 1, 1);
    cr_assert_eq(first_result(&c, -0x1p-60f), 1 - 0x1p-24f);
    cr_assert_eq(first_result(&c, 0x1p-60f), 1);
}

Test(matrix_sum, small_products_are_cut_towards_zero) {
    const struct matrix_case c = matrix_case("v_mfma_f32_16x16x16_f16");
    bare_begin(&b);
    put(&c, 0, 1, 1);
    for (unsigned k = 1; k < 8; k++) put(&c, k, -0x1p-13, 0x1.8p-12); /* -1.5 * 2^-25 */
    cr_assert_eq(first_result(&c, 0), 1);
    /* The next group starts from a rounded 1 and is added as a whole. */
    for (unsigned k = 8; k < 16; k++) put(&c, k, -0x1p-13, 0x1.8p-12);
    cr_assert_eq(first_result(&c, 0), 1 - 0x1.8p-22f);
}

/* 1 + 2^-24 + 2^-40 is nearer to 1 + 2^-23; without its last bit it is a tie. */
Test(matrix_sum, a_sum_is_rounded_down_beside_the_accumulator) {
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x8_bf16");
    bare_begin(&b);
    put(&c, 0, 0x1p-24, 1);
    put(&c, 1, 0x1p-40, 1);
    cr_assert_eq(first_result(&c, 1), 1);
    put(&c, 1, 0x1p-31, 1);
    cr_assert_eq(first_result(&c, 1), 1 + 0x1p-23f);
    /* A tiny negative sum counts as -2^-31. */
    put(&c, 0, -0x1p-80, 1);
    put(&c, 1, 0, 0);
    cr_assert_eq(first_result(&c, 1 + 0x1p-23f), 1 + 0x1p-23f);
}

Test(matrix_sum, fp8_drops_an_accumulator_far_below) {
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x16_fp8_fp8");
    bare_begin(&b);
    put(&c, 0, 1, 1);
    cr_assert_eq(first_result(&c, -0x1p-25f), 1 - 0x1p-24f);
    cr_assert_eq(first_result(&c, -0x1p-26f), 1);
    cr_assert_eq(first_result(&c, -0x1p-60f), 1);
}

/* 57600 - 2^-20: the odd k's sum is rounded down to 2^-10; together with k even it would be cut to nothing. */
Test(matrix_sum, fp8_adds_even_and_odd_apart) {
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x16_fp8_fp8");
    bare_begin(&b);
    put(&c, 0, 240, 240);
    put(&c, 1, -0x1p-10, 0x1p-10);
    cr_assert_eq(first_result(&c, -0x1p-9f), 57600 - 0x1p-8f);
    put(&c, 1, 0, 0);
    put(&c, 2, -0x1p-10, 0x1p-10);
    cr_assert_eq(first_result(&c, -0x1p-9f), 57600);
}

Test(matrix_sum, xf32_cuts_its_factors) {
    const struct matrix_case c = matrix_case("v_mfma_f32_16x16x8_xf32");
    bare_begin(&b);
    b.v[A_AT][0] = 0x3f801fff; /* 1 + 2^-10 - 2^-23: 1 is left */
    b.v[B_AT][0] = 0x3f800000;
    cr_assert_eq(first_result(&c, 0), 1);
}

/* ---- what is not finite ---- */

Test(matrix_sum, infinities_and_nans) {
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x8_f16");
    bare_begin(&b);
    put(&c, 0, 1, 1);
    b.v[A_AT][0] = (b.v[A_AT][0] & 0xffff) | 0x7c000000; /* k = 1: infinity times zero */
    cr_assert_eq(bits_of(first_result(&c, 1)), 0x7fc00000);
    b.v[B_AT][0] = (b.v[B_AT][0] & 0xffff) | 0xbc000000; /* times -1 */
    cr_assert_eq(first_result(&c, 1), -HUGE_VALF);
    cr_assert_eq(bits_of(first_result(&c, HUGE_VALF)), 0x7fc00000);
    b.v[A_AT][0] = 0;
    cr_assert_eq(first_result(&c, HUGE_VALF), HUGE_VALF);
    cr_assert_eq(bits_of(first_result(&c, float_of(0xffc12345))), 0x7fc00000);
    const struct matrix_case fp8 = matrix_case("v_mfma_f32_32x32x16_fp8_bf8");
    bare_begin(&b);
    b.v[A_AT][0] = 0x80;
    cr_assert_eq(bits_of(first_result(&fp8, 1)), 0x7fc00000);
    cr_assert_eq(b.v[D_AT][1], 0x7fc00000, "a NaN in A spoils its row");
    cr_assert_eq(b.v[D_AT + 1][0], 0, "and no other");
}

Test(matrix_sum, overflow) {
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x8_bf16");
    bare_begin(&b);
    put(&c, 0, 0x1p64, 0x1p63);
    cr_assert_eq(first_result(&c, 0x1p126f), 0x1.8p127f); /* large, finite */
    cr_assert_eq(first_result(&c, 0x1p127f), HUGE_VALF);
    put(&c, 1, 0x1p64, 0x1p64);
    cr_assert_eq(first_result(&c, 0), HUGE_VALF);
    put(&c, 2, -0x1p64, 0x1p64);
    cr_assert_eq(bits_of(first_result(&c, 0)), 0x7fc00000);
    put(&c, 0, 0x1p64, 0x1p63);
    put(&c, 1, 0, 0);
    put(&c, 2, 0, 0);
    b.wave.mode |= 1u << EMU_FP16_OVFL;
    struct emu_insn i = bare_insn(c.name);
    b.v[C_AT][0] = bits_of(0x1p126f);
    bare_run(&b, &i);
    b.v[C_AT][0] = bits_of(0x1p127f);
    cr_assert(i.opcode->run(&b.wave, &i) == NULL, "an overflow under FP16_OVFL is not known");
}

/* ---- f32 and f64: fma in order ---- */

Test(matrix_sum, f32_and_f64_are_fma_in_order) {
    static const char *const names[] = {"v_mfma_f32_32x32x2_f32", "v_mfma_f32_16x16x4_f32",
                                        "v_mfma_f32_4x4x1_16b_f32"};
    uint64_t state = 5;
    for (unsigned n = 0; n < 30; n++) {
        const struct matrix_case c = matrix_case(names[n % 3]);
        bare_begin(&b);
        for (unsigned reg = 32; reg < 128; reg++)
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                const uint32_t r = bare_random(&state);
                b.v[reg][lane] = n < 15 ? r : (r & 0x807fffff) | (120 + r % 8) << 23;
            }
        const struct emu_insn i = bare_insn(c.name);
        bare_run(&b, &i);
        for (unsigned block = 0; block < c.blocks; block++)
            for (unsigned row = 0; row < c.m; row++)
                for (unsigned j = 0; j < c.n; j++) {
                    unsigned lane, v;
                    output_place(&c, block, row, j, &lane, &v);
                    const unsigned to_lane = lane, to_v = v;
                    float sum = float_of(b.v[C_AT + v][lane]);
                    for (unsigned k = 0; k < c.k; k++) {
                        input_place(c.m, c.blocks, c.k, block, row, k, &lane, &v);
                        const float x = float_of(b.v[A_AT + v][lane]);
                        input_place(c.n, c.blocks, c.k, block, j, k, &lane, &v);
                        sum = fmaf(x, float_of(b.v[B_AT + v][lane]), sum);
                    }
                    cr_assert_eq(b.v[to_v][to_lane], isnan(sum) ? 0x7fc00000 : bits_of(sum));
                }
    }
}

Test(matrix_sum, f64_keeps_one_rounding_per_term) {
    const struct matrix_case c = matrix_case("v_mfma_f64_16x16x4_f64");
    bare_begin(&b);
    const double e = 0x1p-30, factors[4][2] = {
                                  {1 + e,  1 + e  },
                                  {-1,     1      },
                                  {-2 * e, 1      },
                                  {1,      0x1p-80}
    };
    for (unsigned k = 0; k < 4; k++)
        for (unsigned side = 0; side < 2; side++) {
            uint64_t code;
            memcpy(&code, &factors[k][side], sizeof code);
            set_bits(&b, side ? B_AT : A_AT, 16 * k, 64, 0, code);
        }
    const struct emu_insn i = bare_insn(c.name);
    bare_run(&b, &i);
    double want = 0;
    for (unsigned k = 0; k < 4; k++) want = fma(factors[k][0], factors[k][1], want);
    uint64_t code;
    memcpy(&code, &want, sizeof code);
    cr_assert_eq(get_bits(&b, D_AT, 0, 64, 0), code);
}

Test(matrix_sum, f32_heeds_denormals_of_its_factors_only) {
    const struct matrix_case c = matrix_case("v_mfma_f32_32x32x2_f32");
    bare_begin(&b);
    b.v[A_AT][0] = 1;
    b.v[B_AT][0] = bits_of(0x1p30f);
    cr_assert_eq(first_result(&c, 0), 0x1p-119f);
    b.wave.mode &= ~(3u << EMU_DENORM_32);
    cr_assert_eq(first_result(&c, 0), 0);
    cr_assert_eq(bits_of(first_result(&c, float_of(3))), 3);
}
