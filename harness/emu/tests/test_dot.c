/* SPDX-License-Identifier: Apache-2.0 */
/* Dot products of packed numbers, element by element with wide integers; f16 ones within a last place of the real sum. */
#include <math.h>

#include "bare.h"

static struct bare b;

struct row {
    const char *name;
    unsigned bits;
    bool is_signed, accumulates;
};

static const struct row rows[] = {
    {"v_dot2_i32_i16",  16, true,  false},
    {"v_dot2_u32_u16",  16, false, false},
    {"v_dot4_i32_i8",   8,  true,  false},
    {"v_dot4_u32_u8",   8,  false, false},
    {"v_dot8_i32_i4",   4,  true,  false},
    {"v_dot8_u32_u4",   4,  false, false},
    {"v_dot2c_i32_i16", 16, true,  true },
    {"v_dot4c_i32_i8",  8,  true,  true },
    {"v_dot8c_i32_i4",  4,  true,  true },
};

static int64_t part(uint32_t x, unsigned n, const struct row *r) {
    const int64_t size = INT64_C(1) << r->bits, value = (int64_t)(x >> n * r->bits) & (size - 1);
    return r->is_signed && value >= size / 2 ? value - size : value;
}

static uint32_t expected(uint32_t x, uint32_t y, uint32_t c, const struct row *r, bool clamp) {
    int64_t sum = r->is_signed ? (int64_t)(int32_t)c : (int64_t)c;
    for (unsigned n = 0; n < 32 / r->bits; n++) sum += part(x, n, r) * part(y, n, r);
    const int64_t low = r->is_signed ? INT32_MIN : 0, high = r->is_signed ? INT32_MAX : UINT32_MAX;
    if (clamp) sum = sum < low ? low : sum > high ? high : sum;
    return (uint32_t)sum;
}

Test(dot, integers) {
    uint64_t state = 1;
    for (unsigned r = 0; r < sizeof rows / sizeof *rows; r++) {
        bare_begin(&b);
        struct emu_insn i = bare_insn(rows[r].name);
        i.op_sel_hi = 7;
        const unsigned c_at = rows[r].accumulates ? 0 : 96;
        for (unsigned n = 0; n < 3000; n++) {
            uint32_t c[EMU_LANES];
            i.clamp = !rows[r].accumulates && n % 2;
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                const uint32_t x = bare_random(&state);
                b.v[32][lane] = x % 8 == 0 ? 0x80008000 : x % 8 == 1 ? 0xffffffff : x;
                b.v[64][lane] = x % 16 < 2 ? b.v[32][lane] : bare_random(&state);
                b.v[c_at][lane] = n % 4 < 2 ? bare_random(&state) : 0x7ffffff0 + x % 32;
            }
            memcpy(c, b.v[c_at], sizeof c);
            bare_run(&b, &i);
            for (unsigned lane = 0; lane < EMU_LANES; lane++)
                cr_assert_eq(b.v[0][lane],
                             expected(b.v[32][lane], b.v[64][lane], c[lane], &rows[r], i.clamp),
                             "%s", rows[r].name);
        }
    }
}

Test(dot, halves_are_chosen) {
    bare_begin(&b);
    struct emu_insn i = bare_insn("v_dot2_i32_i16");
    b.v[32][0] = 3 << 16 | 2;
    b.v[64][0] = 7 << 16 | 5;
    for (unsigned op_sel = 0; op_sel < 4; op_sel++)
        for (unsigned op_sel_hi = 0; op_sel_hi < 4; op_sel_hi++) {
            i.op_sel = (uint8_t)op_sel;
            i.op_sel_hi = (uint8_t)op_sel_hi;
            bare_run(&b, &i);
            const uint32_t low = (op_sel & 1 ? 3u : 2u) * (op_sel & 2 ? 7u : 5u);
            const uint32_t high = (op_sel_hi & 1 ? 3u : 2u) * (op_sel_hi & 2 ? 7u : 5u);
            cr_assert_eq(b.v[0][0], low + high);
        }
    i.op_sel = 4;
    cr_assert(i.opcode->run(&b.wave, &i) == NULL, "a half of the accumulator");
    struct emu_insn bytes = bare_insn("v_dot4_i32_i8");
    bytes.op_sel_hi = 0;
    cr_assert(bytes.opcode->run(&b.wave, &bytes) == NULL, "halves of bytes");
}

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float half_dot(uint32_t x, uint32_t y, float c, uint8_t neg_lo, uint8_t neg_hi) {
    struct emu_insn i = bare_insn("v_dot2_f32_f16");
    i.op_sel_hi = 7;
    i.neg_lo = neg_lo;
    i.neg_hi = neg_hi;
    b.v[32][0] = x;
    b.v[64][0] = y;
    b.v[96][0] = bits_of(c);
    bare_run(&b, &i);
    float f;
    memcpy(&f, &b.v[0][0], sizeof f);
    return f;
}

Test(dot, f16_pairs) {
    bare_begin(&b);
    const uint32_t two_one = 0x40003c00, three_five = 0x42004500; /* high, low */
    cr_assert_eq(half_dot(two_one, three_five, 100, 0, 0), 111);
    cr_assert_eq(half_dot(two_one, three_five, 100, 1, 0), 101);
    cr_assert_eq(half_dot(two_one, three_five, 100, 0, 2), 99);
    cr_assert_eq(half_dot(two_one, three_five, 100, 3, 3), 111);
    cr_assert_eq(half_dot(0x00013c00, 0x7bff4500, 1, 0, 0), 6, "denormal halves are zero");
    cr_assert_eq(half_dot(0, 0, 0x1p-130f, 0, 0), 0, "denormal accumulators too");
    cr_assert_eq(half_dot(0x7c003c00, 0x3c003c00, 1, 0, 0), HUGE_VALF);
    cr_assert_eq(bits_of(half_dot(0x7c003c00, 0x00003c00, 1, 0, 0)), 0x7fc00000);
    /* One rounding: the small product decides a tie of the others. */
    cr_assert_eq(half_dot(0x0c003c00, 0x0c003c00, 0x1p24f, 0, 0), 0x1p24f + 2);
    b.v[0][0] = bits_of(7);
    b.v[32][0] = two_one;
    b.v[64][0] = three_five;
    const struct emu_insn accumulate = bare_insn("v_dot2c_f32_f16");
    bare_run(&b, &accumulate);
    cr_assert_eq(b.v[0][0], bits_of(18));
}
