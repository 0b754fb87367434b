/* SPDX-License-Identifier: Apache-2.0 */
/* DPP and SDWA around instructions, lane by lane and byte by byte. */
#include "vop.h"

static struct bare b;

/* The lane that a DPP control reads, by coordinates: row, column, quad. -1: none. */
static int from(const char *control, unsigned n, int lane) {
    const int row = lane / 16, column = lane % 16, k = (int)n;
    if (!strcmp(control, "quad_perm")) return lane / 4 * 4 + (k >> lane % 4 * 2) % 4;
    if (!strcmp(control, "row_shl")) return column + k < 16 ? lane + k : -1;
    if (!strcmp(control, "row_shr")) return column - k >= 0 ? lane - k : -1;
    if (!strcmp(control, "row_ror")) return row * 16 + (column + 16 - k) % 16;
    if (!strcmp(control, "wave_shl")) return lane + 1 < 64 ? lane + 1 : -1;
    if (!strcmp(control, "wave_rol")) return lane + 1 < 64 ? lane + 1 : 0;
    if (!strcmp(control, "wave_shr")) return lane - 1;
    if (!strcmp(control, "wave_ror")) return lane > 0 ? lane - 1 : 63;
    if (!strcmp(control, "row_mirror")) return row * 16 + 15 - column;
    if (!strcmp(control, "row_half_mirror")) return lane / 8 * 8 + 7 - lane % 8;
    if (!strcmp(control, "row_newbcast")) return row * 16 + k;
    if (!strcmp(control, "row_bcast") && n == 15) return row * 16 - 1;
    return 31;
}

static const struct {
    const char *name;
    unsigned least, most;
    unsigned rows; /* row_mask allowed */
} controls[] = {
    {"quad_perm",       0,  255, 15},
    {"row_shl",         1,  15,  15},
    {"row_shr",         1,  15,  15},
    {"row_ror",         1,  15,  15},
    {"wave_shl",        1,  1,   15},
    {"wave_rol",        1,  1,   15},
    {"wave_shr",        1,  1,   15},
    {"wave_ror",        1,  1,   15},
    {"row_mirror",      0,  0,   15},
    {"row_half_mirror", 0,  0,   15},
    {"row_bcast",       15, 15,  14},
    {"row_bcast",       31, 31,  12},
    {"row_newbcast",    0,  15,  15},
};

static void control_text(char *to, size_t size, size_t c, unsigned n) {
    if (!strcmp(controls[c].name, "quad_perm"))
        snprintf(to, size, "quad_perm:[%u,%u,%u,%u]", n % 4, n / 4 % 4, n / 16 % 4, n / 64);
    else if (controls[c].most == 0)
        snprintf(to, size, "%s", controls[c].name);
    else
        snprintf(to, size, "%s:%u", controls[c].name, n);
}

/* One instruction v_sub_u32 v0, v2 (from other lanes), v4; wrong lanes of value and of definedness. */
static unsigned check(size_t c, uint64_t *state, bool mirrored) {
    const unsigned n =
        controls[c].least + bare_random(state) % (controls[c].most - controls[c].least + 1);
    const bool bound = bare_random(state) & 1;
    const unsigned rows = controls[c].rows & (bare_random(state) | 8),
                   banks = bare_random(state) & 15;
    char control[40], text[160];
    control_text(control, sizeof control, c, n);
    snprintf(text, sizeof text, "v_sub_u32_dpp v0, v2, v4 %s row_mask:0x%x bank_mask:0x%x%s",
             control, rows, banks, bound ? " bound_ctrl:1" : "");
    const struct emu_insn i = vop_decode(text);
    const uint64_t exec =
        n & 1 ? ~UINT64_C(0) : (uint64_t)bare_random(state) << 32 | bare_random(state);
    bare_begin(&b);
    emu_write_s64(&b.wave, EMU_EXEC, exec);
    for (unsigned r = 0; r < 6; r += 2) {
        b.defined[r] = (uint64_t)bare_random(state) << 32 | bare_random(state);
        for (unsigned lane = 0; lane < 64; lane++) b.v[r][lane] = bare_random(state);
    }
    const struct bare before = b;
    cr_assert(i.run(&b.wave, &i) == &i + 1, "%s faulted", text);
    unsigned wrong = 0;
    for (unsigned lane = 0; lane < 64; lane++) {
        const int source = from(controls[c].name, n, (int)(mirrored ? lane ^ 1 : lane));
        const bool valid = source >= 0 && (exec >> source & 1);
        const bool works = (exec >> lane & 1) && (rows >> lane / 16 & 1) &&
                           (banks >> lane % 16 / 4 & 1) && (valid || bound);
        const uint32_t first = valid ? before.v[2][source] : 0;
        const bool defined =
            (!valid || (before.defined[2] >> source & 1)) && (before.defined[4] >> lane & 1);
        wrong += b.v[0][lane] != (works ? first - before.v[4][lane] : before.v[0][lane]);
        wrong += (b.defined[0] >> lane & 1) != (works ? defined : before.defined[0] >> lane & 1);
    }
    if (wrong > 0 && !mirrored) fprintf(stderr, "%s: %u wrong lanes\n", text, wrong);
    cr_assert(memcmp(emu_lane_mask(&b.wave), emu_lane_mask((struct emu_wave *)&before.wave), 256) ==
                  0,
              "%s: exec's lanes are back", text);
    return wrong;
}

Test(dpp, every_control) {
    uint64_t state = 1;
    for (size_t c = 0; c < sizeof controls / sizeof *controls; c++)
        for (unsigned round = 0; round < 100; round++) cr_assert_eq(check(c, &state, false), 0u);
}

Test(dpp, a_wrong_lane_is_found) {
    uint64_t state = 1;
    for (size_t c = 0; c < sizeof controls / sizeof *controls; c++) {
        unsigned wrong = 0;
        for (unsigned round = 0; round < 50; round++) wrong += check(c, &state, true);
        /* Those that read one lane for a whole row or more cannot differ. */
        const bool one =
            !strncmp(controls[c].name, "row_bcast", 9) || !strcmp(controls[c].name, "row_newbcast");
        if (!one) cr_expect_gt(wrong, 0u, "%s", controls[c].name);
    }
}

Test(dpp, float_signs_and_sums_in_place) {
    const struct emu_insn i =
        vop_decode("v_add_f32_dpp v0, -v0, |v0| row_shr:1 row_mask:0xf bank_mask:0xf");
    bare_begin(&b);
    for (unsigned lane = 0; lane < 64; lane++) b.v[0][lane] = 0xbf800000 + (lane << 16);
    const struct bare before = b;
    cr_assert(i.run(&b.wave, &i) == &i + 1);
    for (unsigned lane = 0; lane < 64; lane++) {
        float x, y, z;
        memcpy(&x, &before.v[0][lane - (lane > 0)], 4);
        memcpy(&y, &before.v[0][lane], 4);
        memcpy(&z, &b.v[0][lane], 4);
        cr_assert_eq(z, lane % 16 ? -x + (y < 0 ? -y : y) : y);
    }
}

Test(dpp, wide_moves) {
    const struct emu_insn i =
        vop_decode("v_mov_b64_dpp v[0:1], v[2:3] row_newbcast:5 row_mask:0xf bank_mask:0x3");
    bare_begin(&b);
    for (unsigned lane = 0; lane < 64; lane++) {
        b.v[2][lane] = lane;
        b.v[3][lane] = 1000 + lane;
    }
    cr_assert(i.run(&b.wave, &i) == &i + 1);
    for (unsigned lane = 0; lane < 64; lane++) {
        const bool works = lane % 16 < 8;
        cr_assert_eq(b.v[0][lane], works ? lane / 16 * 16 + 5 : 0);
        cr_assert_eq(b.v[1][lane], works ? lane / 16 * 16 + 1005 : 0);
    }
}

/* ---- SDWA ---- */

static uint32_t selected(uint32_t x, unsigned select, bool sign) {
    const unsigned width = select < 4 ? 8 : select < 6 ? 16 : 32;
    const unsigned at = select < 4 ? 8 * select : select < 6 ? 16 * (select - 4) : 0;
    uint32_t r = 0;
    for (unsigned bit = 0; bit < 32; bit++) {
        const unsigned source = bit < width ? at + bit : at + width - 1;
        if (bit < width || sign) r |= (x >> source & 1) << bit;
    }
    return r;
}

static uint32_t placed(uint32_t x, uint32_t old, unsigned select, unsigned unused) {
    const unsigned width = select < 4 ? 8 : select < 6 ? 16 : 32;
    const unsigned at = select < 4 ? 8 * select : select < 6 ? 16 * (select - 4) : 0;
    uint32_t r = 0;
    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t value = 0;
        if (bit >= at && bit < at + width)
            value = x >> (bit - at) & 1;
        else if (unused == 2)
            value = old >> bit & 1;
        else if (unused == 1 && bit >= at + width)
            value = x >> (width - 1) & 1;
        r |= value << bit;
    }
    return r;
}

static const char *const selects[] = {"BYTE_0", "BYTE_1", "BYTE_2", "BYTE_3",
                                      "WORD_0", "WORD_1", "DWORD"};
static const char *const unuseds[] = {"PAD", "SEXT", "PRESERVE"};

static unsigned check_sdwa(uint64_t *state, bool planted) {
    const unsigned to = bare_random(state) % 7, unused = bare_random(state) % 3;
    const unsigned s0 = bare_random(state) % 7, s1 = bare_random(state) % 7;
    const bool sign = bare_random(state) & 1, scalar = bare_random(state) & 1;
    const uint64_t exec = (uint64_t)bare_random(state) << 32 | bare_random(state);
    char text[200];
    snprintf(text, sizeof text,
             "v_add_u32_sdwa v2, %s, %s dst_sel:%s dst_unused:UNUSED_%s src0_sel:%s src1_sel:%s",
             sign ? "sext(v2)" : "v2", scalar ? "s20" : "v4", selects[to], unuseds[unused],
             selects[s0], selects[s1]);
    const struct emu_insn i = vop_decode(text);
    bare_begin(&b);
    emu_write_s64(&b.wave, EMU_EXEC, exec);
    emu_write_sreg(&b.wave, 20, bare_random(state));
    for (unsigned lane = 0; lane < 64; lane++) {
        b.v[2][lane] = bare_random(state);
        b.v[4][lane] = bare_random(state);
    }
    const struct bare before = b;
    cr_assert(i.run(&b.wave, &i) == &i + 1, "%s faulted", text);
    unsigned wrong = 0;
    for (unsigned lane = 0; lane < 64; lane++) {
        const uint32_t old = before.v[2][lane];
        const uint32_t sum = selected(old, s0, sign) +
                             selected(scalar ? before.wave.s[20] : before.v[4][lane], s1, planted);
        const uint32_t want = exec >> lane & 1 ? placed(sum, old, to, unused) : old;
        wrong += b.v[2][lane] != want;
    }
    if (wrong > 0 && !planted) fprintf(stderr, "%s: %u wrong lanes\n", text, wrong);
    return wrong;
}

Test(sdwa, parts_of_registers) {
    uint64_t state = 2;
    for (unsigned round = 0; round < 2000; round++) cr_assert_eq(check_sdwa(&state, false), 0u);
}

Test(sdwa, a_wrong_extension_is_found) {
    uint64_t state = 2;
    unsigned wrong = 0;
    for (unsigned round = 0; round < 20; round++) wrong += check_sdwa(&state, true);
    cr_assert_gt(wrong, 0u);
}

Test(sdwa, comparisons_and_halves) {
    const struct emu_insn compare =
        vop_decode("v_cmp_eq_u32_sdwa s[30:31], v2, v4 src0_sel:BYTE_1 src1_sel:BYTE_0");
    const struct emu_insn half =
        vop_decode("v_mul_f16_sdwa v0, v2, -v4 dst_sel:WORD_1 "
                   "dst_unused:UNUSED_PRESERVE src0_sel:WORD_1 src1_sel:WORD_0");
    bare_begin(&b);
    for (unsigned lane = 0; lane < 64; lane++) {
        b.v[0][lane] = 0x1234;
        b.v[2][lane] = 0x40000000 | lane << 8; /* f16 2.0 above */
        b.v[4][lane] = 0x3c11;                 /* f16 1.0166 */
    }
    cr_assert(compare.run(&b.wave, &compare) == &compare + 1);
    cr_assert_eq(emu_s64(&b.wave, 30), UINT64_C(1) << 0x11);
    cr_assert(half.run(&b.wave, &half) == &half + 1);
    for (unsigned lane = 0; lane < 64; lane++) cr_assert_eq(b.v[0][lane], 0xc0111234);
}
