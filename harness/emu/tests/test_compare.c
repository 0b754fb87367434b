/* SPDX-License-Identifier: Apache-2.0 */
/* All comparisons, by the order of the numbers that the sources stand for. */
#include "vop.h"

enum order { LESS, EQUAL, GREATER, UNORDERED };

/* Which orders satisfy a relation, one bit each. */
static const struct {
    const char *name;
    unsigned orders;
    bool integers, floats;
} relations[] = {
    {"f",   0,  true,  true },
    {"lt",  1,  true,  true },
    {"eq",  2,  true,  true },
    {"le",  3,  true,  true },
    {"gt",  4,  true,  true },
    {"ne",  5,  true,  false},
    {"ge",  6,  true,  true },
    {"t",   7,  true,  false},
    {"lg",  5,  false, true },
    {"o",   7,  false, true },
    {"u",   8,  false, true },
    {"nge", 9,  false, true },
    {"nlg", 10, false, true },
    {"ngt", 11, false, true },
    {"nle", 12, false, true },
    {"neq", 13, false, true },
    {"nlt", 14, false, true },
    {"tru", 15, false, true },
};

static const struct {
    const char *name;
    unsigned bits, fraction; /* fraction: 0 for integers */
    bool is_signed;
} types[] = {
    {"i16", 16, 0,  true },
    {"u16", 16, 0,  false},
    {"i32", 32, 0,  true },
    {"u32", 32, 0,  false},
    {"i64", 64, 0,  true },
    {"u64", 64, 0,  false},
    {"f16", 16, 10, true },
    {"f32", 32, 23, true },
    {"f64", 64, 52, true },
};

static enum order order_of(size_t t, uint64_t a, uint64_t b) {
    const unsigned bits = types[t].bits, fraction = types[t].fraction;
    const uint64_t sign = UINT64_C(1) << (bits - 1), all = sign | (sign - 1);
    a &= all;
    b &= all;
    if (fraction > 0) {
        const uint64_t infinity = sign - (UINT64_C(1) << fraction);
        if ((a & (sign - 1)) > infinity || (b & (sign - 1)) > infinity) return UNORDERED;
        /* Negative numbers count down from where the positive ones begin; both zeros are the same. */
        a = a & sign ? sign - (a & (sign - 1)) : sign + a;
        b = b & sign ? sign - (b & (sign - 1)) : sign + b;
    } else if (types[t].is_signed) {
        a ^= sign;
        b ^= sign;
    }
    return a < b ? LESS : a == b ? EQUAL : GREATER;
}

static struct bare bench;
static uint64_t a[EMU_LANES], b[EMU_LANES];

static void fill(uint64_t *state, bool wide) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        a[lane] = vop_value(state, wide);
        b[lane] = lane % 4 == 0 ? a[lane] : vop_value(state, wide);
        if (lane % 8 == 1) b[lane] = a[lane] ^ 1;
        vop_put(&bench, 2, lane, a[lane], wide);
        vop_put(&bench, 4, lane, b[lane], wide);
    }
}

/* Lanes for which one comparison is wrong; orders: what satisfies it. */
static uint64_t check(size_t t, const char *relation, unsigned orders, bool x, uint64_t *state) {
    const bool wide = types[t].bits == 64, partial = bare_random(state) & 1;
    const uint64_t exec =
        partial ? (uint64_t)bare_random(state) << 32 | bare_random(state) : ~UINT64_C(0);
    char text[100];
    snprintf(text, sizeof text, "v_cmp%s_%s_%s_e64 s[30:31], %s, %s", x ? "x" : "", relation,
             types[t].name, wide ? "v[2:3]" : "v2", wide ? "v[4:5]" : "v4");
    const struct emu_insn i = vop_decode(text);
    bare_begin(&bench);
    emu_write_s64(&bench.wave, EMU_EXEC, exec);
    fill(state, wide);
    cr_assert(i.run(&bench.wave, &i) == &i + 1, "%s faulted", text);
    uint64_t want = 0;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        want |= (uint64_t)(orders >> order_of(t, a[lane], b[lane]) & exec >> lane & 1) << lane;
    cr_assert_eq(emu_exec(&bench.wave), x ? emu_s64(&bench.wave, 30) : exec, "%s: exec", text);
    return emu_s64(&bench.wave, 30) ^ want;
}

Test(compare, every_relation_of_every_type) {
    uint64_t state = 1;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t r = 0; r < sizeof relations / sizeof *relations; r++) {
            if (types[t].fraction ? !relations[r].floats : !relations[r].integers) continue;
            for (unsigned round = 0; round < 20; round++)
                cr_assert_eq(check(t, relations[r].name, relations[r].orders, round & 1, &state),
                             0u, "%s of %s", relations[r].name, types[t].name);
        }
}

Test(compare, a_wrong_relation_is_found) {
    uint64_t state = 1;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        uint64_t wrong = 0;
        for (unsigned round = 0; round < 20; round++) wrong |= check(t, "lt", 3, false, &state);
        cr_expect_neq(wrong, 0u, "%s: < taken for <=", types[t].name);
        wrong = 0;
        for (unsigned round = 0; round < 20; round++)
            wrong |= types[t].fraction ? check(t, "nlt", 6, false, &state) : 1;
        cr_expect_neq(wrong, 0u, "%s: unordered forgotten", types[t].name);
    }
}

/* Class of a number in words. */
static unsigned class_of(size_t t, uint64_t x) {
    const uint64_t sign = UINT64_C(1) << (types[t].bits - 1), m = x & (sign - 1);
    const uint64_t one = UINT64_C(1) << types[t].fraction, infinity = sign - one;
    if (m > infinity) return m & one / 2 ? 1 : 0;
    const unsigned size = m == infinity ? 3 : m >= one ? 2 : m > 0 ? 1 : 0;
    return x & sign ? 5 - size : 6 + size;
}

Test(compare, classes) {
    uint64_t state = 9;
    for (unsigned round = 0; round < 120; round++) {
        const size_t t = 6 + round % 3;
        const bool wide = types[t].bits == 64, x = round & 8;
        char text[100];
        snprintf(text, sizeof text, "v_cmp%s_class_%s_e64 vcc, %s, v4", x ? "x" : "", types[t].name,
                 wide ? "v[2:3]" : "v2");
        const struct emu_insn i = vop_decode(text);
        bare_begin(&bench);
        fill(&state, wide);
        uint64_t want = 0;
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            bench.v[4][lane] = bare_random(&state);
            const uint64_t value = types[t].bits == 16 ? a[lane] & 0xffff : a[lane];
            want |= (uint64_t)(bench.v[4][lane] >> class_of(t, value) & 1) << lane;
        }
        cr_assert(i.run(&bench.wave, &i) == &i + 1);
        cr_assert_eq(emu_s64(&bench.wave, EMU_VCC), want, "%s", text);
        cr_assert_eq(emu_exec(&bench.wave), x ? want : ~UINT64_C(0));
    }
}

Test(compare, signs_and_denormals) {
    bare_begin(&bench);
    const struct emu_insn i = vop_decode("v_cmp_eq_f32_e64 s[30:31], -|v2|, 0");
    bench.v[2][0] = 0x80000000;
    bench.v[2][1] = 1;
    cr_assert(i.run(&bench.wave, &i) == &i + 1);
    cr_assert_eq(emu_s64(&bench.wave, 30), ~UINT64_C(2));
    bench.wave.mode = 0x3e0; /* f32 denormals of sources are zeros */
    cr_assert(i.run(&bench.wave, &i) == &i + 1);
    cr_assert_eq(emu_s64(&bench.wave, 30), ~UINT64_C(0));
}
