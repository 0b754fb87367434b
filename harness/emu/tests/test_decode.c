/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder against the encoding itself: words are made from fields, LLVM prints them, the decoder reads the text, and
 * what it says must be what went in. Immediates of 16 bits are tried one and all.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "../decode.h"
#include "../parse.h"
#include "../wave.h"

static struct emu_disassembler *llvm;
static uint64_t state;

static void begin(void) {
    llvm = emu_disassembler_create();
    cr_assert(llvm != NULL);
    state = 42;
}

static void end(void) { emu_disassembler_free(llvm); }

static uint32_t below(uint32_t n) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % n);
}

/* Disassembles and parses two words; NULL if LLVM finds no instruction there. */
static const char *read_words(struct emu_insn *i, uint32_t first, uint32_t second,
                              bool *understood) {
    static char text[512];
    const uint32_t words[3] = {first, second, 0x12345678};
    uint8_t bytes[sizeof words];
    memcpy(bytes, words, sizeof words);
    const size_t n = emu_disassemble(llvm, bytes, sizeof bytes, 0, text, sizeof text);
    if (n == 0) return NULL;
    *understood = emu_parse(i, text, 0, n);
    return text;
}

static struct emu_insn read_all(uint32_t first, uint32_t second) {
    struct emu_insn i = {0};
    bool understood = false;
    const char *const text = read_words(&i, first, second, &understood);
    cr_assert(text != NULL && understood, "%08x %08x: %s", first, second,
              text != NULL ? text : "no instruction");
    return i;
}

/* ---- sources, by the ISA's table of source codes ---- */

enum format { HALF, SINGLE, DOUBLE };

static const uint64_t floats[][3] = {
    {0x3800, 0x3f000000, UINT64_C(0x3fe0000000000000)},
    {0xb800, 0xbf000000, UINT64_C(0xbfe0000000000000)},
    {0x3c00, 0x3f800000, UINT64_C(0x3ff0000000000000)},
    {0xbc00, 0xbf800000, UINT64_C(0xbff0000000000000)},
    {0x4000, 0x40000000, UINT64_C(0x4000000000000000)},
    {0xc000, 0xc0000000, UINT64_C(0xc000000000000000)},
    {0x4400, 0x40800000, UINT64_C(0x4010000000000000)},
    {0xc400, 0xc0800000, UINT64_C(0xc010000000000000)},
    {0x3118, 0x3e22f983, UINT64_C(0x3fc45f306dc9c882)},
};

/* Source codes but those that are refused: 125 and 209 to 234, 239, 249, 250, 254 and literals. */
static uint32_t any_source(void) {
    for (;;) {
        const uint32_t code = below(512);
        if (code != 125 &&
            (code < 209 || (code >= 235 && code <= 238) || (code >= 240 && code <= 248) ||
             (code >= 251 && code <= 253) || code >= 256))
            return code;
    }
}

static void check_source(const struct emu_operand *o, uint32_t code, enum format format) {
    if (code >= 256) {
        cr_assert(o->kind == EMU_VGPR && o->reg == code - 256, "source %u", code);
    } else if (code < 128 || (code >= 235 && code <= 252 && code != 240 && o->kind == EMU_SGPR)) {
        cr_assert(o->kind == EMU_SGPR && o->reg == code, "source %u", code);
    } else if (code == 253) {
        cr_assert(o->kind == EMU_SCC);
    } else {
        const int64_t integer = code <= 192 ? (int64_t)code - 128 : 192 - (int64_t)code;
        const uint64_t narrow = code >= 240 ? floats[code - 240][format] : (uint64_t)integer;
        const uint64_t value = format == DOUBLE ? narrow : (uint32_t)narrow;
        cr_assert(o->kind == EMU_CONSTANT && o->value == value, "source %u is %llx, not %llx", code,
                  (unsigned long long)o->value, (unsigned long long)value);
        cr_assert(o->lanes[0][17] == (uint32_t)value && o->lanes[1][63] == value >> 32);
    }
}

static uint32_t aligned(uint32_t code) { return code < 128 || code >= 256 ? code & ~1u : code; }

Test(decode, vop3_fields, .init = begin, .fini = end) {
    static const struct {
        uint32_t op;
        enum format format;
    } kinds[] = {
        {0x1cb, SINGLE}, /* v_fma_f32 */
        {0x1cc, DOUBLE}, /* v_fma_f64 */
        {0x206, HALF  }, /* v_fma_f16 */
    };
    for (unsigned n = 0; n < 30000; n++) {
        const unsigned kind = n % 3;
        const enum format format = kinds[kind].format;
        uint32_t source[3], vdst = below(256);
        for (unsigned s = 0; s < 3; s++) {
            do source[s] = any_source();
            while (format == DOUBLE && (source[s] == 124 || source[s] >= 510 ||
                                        (source[s] >= 251 && source[s] <= 253)));
            if (format == DOUBLE) source[s] = aligned(source[s]);
        }
        if (format == DOUBLE) vdst &= 0xfe;
        const uint32_t abs = below(8), neg = below(8), clamp = below(2), omod = below(4);
        const struct emu_insn i =
            read_all(0x34u << 26 | kinds[kind].op << 16 | clamp << 15 | abs << 8 | vdst,
                     neg << 29 | omod << 27 | source[2] << 18 | source[1] << 9 | source[0]);
        cr_assert(i.n_operands == 4 && i.operand[0].kind == EMU_VGPR && i.operand[0].reg == vdst);
        cr_assert(i.clamp == clamp && i.omod == omod && i.op_sel == 0 && !i.sdwa && !i.dpp);
        for (unsigned s = 0; s < 3; s++) {
            check_source(&i.operand[s + 1], source[s], format);
            cr_assert(i.operand[s + 1].neg == (neg >> s & 1) &&
                      i.operand[s + 1].abs == (abs >> s & 1));
        }
    }
}

Test(decode, op_sel_of_vop3, .init = begin, .fini = end) {
    for (uint32_t op_sel = 0; op_sel < 16; op_sel++) { /* v_fma_f16 */
        const struct emu_insn i = read_all(0xd2060000 | op_sel << 11 | 1, 0x040a0701);
        cr_assert(i.op_sel == op_sel, "%u is %u", op_sel, i.op_sel);
    }
}

Test(decode, packed_fields, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 1 << 13; n++) {
        const uint32_t op_sel = n & 7, high = n >> 3 & 7, neg_hi = n >> 6 & 7, neg_lo = n >> 9 & 7;
        const uint32_t clamp = n >> 12;
        for (uint32_t mix = 0; mix < 2; mix++) { /* v_pk_fma_f16, v_fma_mix_f32 */
            const uint32_t op = mix ? 0x20 : 0x0e;
            const struct emu_insn i =
                read_all(0xd3800000 | op << 16 | clamp << 15 | (high >> 2) << 14 | op_sel << 11 |
                             neg_hi << 8 | 5,
                         neg_lo << 29 | (high & 3) << 27 | 0x040e0501);
            cr_assert(i.op_sel == op_sel && i.op_sel_hi == high && i.clamp == clamp);
            if (mix) { /* neg_hi is abs there */
                for (unsigned s = 0; s < 3; s++)
                    cr_assert(i.operand[s + 1].neg == (neg_lo >> s & 1) &&
                              i.operand[s + 1].abs == (neg_hi >> s & 1));
            } else {
                cr_assert(i.neg_lo == neg_lo && i.neg_hi == neg_hi);
            }
        }
    }
}

Test(decode, matrix_fields, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 1024; n++) { /* v_mfma_f32_32x32x8_f16 */
        const uint32_t cbsz = n & 7, abid = n >> 3 & 15, blgp = n >> 7;
        const uint32_t acc = below(4), cd = below(2), a = below(127) * 2, b = below(127) * 2;
        const uint32_t d = below(120) * 2, c = below(120) * 2;
        const struct emu_insn i =
            read_all(0xd3cc0000 | cd << 15 | abid << 11 | cbsz << 8 | d,
                     blgp << 29 | acc << 27 | (c + 256) << 18 | (b + 256) << 9 | (a + 256));
        cr_assert(i.cbsz == cbsz && i.abid == abid && i.blgp == blgp);
        cr_assert(i.operand[0].reg == d + 256 * cd && i.operand[0].registers == 16);
        cr_assert(i.operand[1].reg == a + 256 * (acc & 1) && i.operand[1].registers == 2);
        cr_assert(i.operand[2].reg == b + 256 * (acc >> 1));
        cr_assert(i.operand[3].reg == c + 256 * cd && i.operand[3].registers == 16);
    }
    for (uint32_t neg = 0; neg < 8; neg++) /* v_mfma_f64_16x16x4_f64: the same bits */
        cr_assert(read_all(0xd3ee8000, neg << 29 | 0x04020500).blgp == neg);
}

/* v_add_f32_dpp: the control's code of 9 bits. */
Test(decode, dpp_fields, .init = begin, .fini = end) {
    static const struct {
        uint32_t first, last;
        enum emu_dpp kind;
        unsigned argument;
    } controls[] = {
        {0x000, 0x0ff, EMU_QUAD_PERM,       0 },
        {0x101, 0x10f, EMU_ROW_SHL,         1 },
        {0x111, 0x11f, EMU_ROW_SHR,         1 },
        {0x121, 0x12f, EMU_ROW_ROR,         1 },
        {0x130, 0x130, EMU_WAVE_SHL,        1 },
        {0x134, 0x134, EMU_WAVE_ROL,        1 },
        {0x138, 0x138, EMU_WAVE_SHR,        1 },
        {0x13c, 0x13c, EMU_WAVE_ROR,        1 },
        {0x140, 0x140, EMU_ROW_MIRROR,      0 },
        {0x141, 0x141, EMU_ROW_HALF_MIRROR, 0 },
        {0x142, 0x142, EMU_ROW_BCAST15,     15},
        {0x143, 0x143, EMU_ROW_BCAST31,     31},
        {0x150, 0x15f, EMU_ROW_NEWBCAST,    0 },
    };
    unsigned seen = 0;
    for (uint32_t control = 0; control < 512; control++) {
        const uint32_t masks = below(256), bound = below(2), modifiers = below(16);
        const uint32_t fields = masks << 24 | modifiers << 20 | bound << 19 | control << 8 | 9;
        struct emu_insn i;
        bool understood = false, listed = false;
        cr_assert(read_words(&i, 0x020a0efa, fields, &understood) != NULL);
        for (size_t n = 0; n < sizeof controls / sizeof *controls; n++) {
            if (control < controls[n].first || control > controls[n].last) continue;
            listed = true;
            cr_assert(i.dpp == controls[n].kind &&
                          i.dpp_argument == control - controls[n].first + controls[n].argument,
                      "control %x", control);
        }
        cr_assert(understood == listed, "control %x", control);
        seen += listed;
        if (!listed) continue;
        cr_assert(i.row_mask == masks >> 4 && i.bank_mask == (masks & 15) && i.bound_ctrl == bound);
        cr_assert(i.operand[1].reg == 9 && i.operand[1].neg == (modifiers & 1) &&
                  i.operand[1].abs == (modifiers >> 1 & 1) &&
                  i.operand[2].neg == (modifiers >> 2 & 1) && i.operand[2].abs == modifiers >> 3);
    }
    cr_assert(seen == 256 + 45 + 4 + 4 + 16);
}

Test(decode, sdwa_fields, .init = begin, .fini = end) {
    for (unsigned n = 0; n < 4096; n++) {
        const uint32_t dst = below(7), unused = below(3), clamp = below(2), omod = below(4);
        const uint32_t s0 = below(7), m0 = below(4), s1 = below(7), m1 = below(4);
        const uint32_t scalar = below(2), fields = s1 << 24 | m1 << 28 | s0 << 16 | m0 << 20;
        const struct emu_insn i = /* v_add_f32_sdwa */
            read_all(0x020a0ef9, scalar << 23 | fields | omod << 14 | clamp << 13 | unused << 11 |
                                     dst << 8 | 9);
        cr_assert(i.sdwa && i.dst_sel == dst && i.dst_unused == unused && i.clamp == clamp &&
                  i.omod == omod);
        cr_assert(i.operand[1].select == s0 && i.operand[2].select == s1);
        cr_assert(i.operand[1].kind == (scalar ? EMU_SGPR : EMU_VGPR) && i.operand[1].reg == 9);
        cr_assert(i.operand[1].neg == (m0 & 1) && i.operand[1].abs == m0 >> 1 &&
                  i.operand[2].neg == (m1 & 1) && i.operand[2].abs == m1 >> 1);
        const struct emu_insn k = /* v_add_u32_sdwa: sext */
            read_all(0x680a0ef9,
                     s1 << 24 | (m1 & 1) << 27 | s0 << 16 | (m0 & 1) << 19 | dst << 8 | 9);
        cr_assert(k.operand[1].sext == (m0 & 1) && k.operand[2].sext == (m1 & 1));
    }
}

/* ---- immediates, all of them ---- */

Test(decode, branch_targets, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 65536; n++) {
        const struct emu_insn i = read_all(0xbf850000 | n, 0); /* s_cbranch_scc1 */
        cr_assert(i.operand[0].kind == EMU_LABEL &&
                  (int64_t)i.operand[0].value == 4 * (int64_t)(int16_t)n);
    }
}

Test(decode, wait_counters, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 65536; n++)
        cr_assert(read_all(0xbf8c0000 | n, 0).immediate == (n & 0xcf7f), "%x", n);
}

Test(decode, hardware_registers, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 65536; n++) {
        cr_assert(read_all(0xb8830000 | n, 0).immediate == n, "s_getreg %x", n);
        const struct emu_insn i = read_all(0xba000000 | n, 0x1234567); /* s_setreg_imm32_b32 */
        cr_assert(i.immediate == n && i.operand[1].value == 0x1234567, "s_setreg %x", n);
    }
}

/* Where a lane of 32 reads under a bit mask: LLVM writes masks that mean the same alike. */
static uint32_t masked(uint32_t swizzle, uint32_t lane) {
    return ((lane & swizzle) | swizzle >> 5 | ~31u) ^ (swizzle >> 10 & 31);
}

Test(decode, swizzles, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 65536; n++) {
        const struct emu_insn i = read_all(0xd87a0000 | n, 0x05000001);
        cr_assert(i.offset == (int32_t)i.immediate);
        cr_assert(i.immediate >> 15 == n >> 15);
        for (uint32_t lane = 0; lane < 32 && n < 0x8000; lane++)
            cr_assert(masked(i.immediate, lane) == masked(n, lane), "%x is %x", n, i.immediate);
        cr_assert(n < 0x8000 || i.immediate == n, "%x is %x", n, i.immediate);
    }
}

Test(decode, messages, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 65536; n++) {
        struct emu_insn i;
        bool understood = false;
        const char *const text = read_words(&i, 0xbf900000 | n, 0, &understood);
        cr_assert(text != NULL && understood, "%x: %s", n, text);
        /* LLVM names a message by its fields and passes over the other bits. */
        cr_assert(i.immediate == n || (strchr(text, '(') && i.immediate == (n & 0x37f)), "%x: %s",
                  n, text);
    }
}

Test(decode, index_modes, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 256; n++)
        cr_assert(read_all(0xbf110000 | n << 8 | 7, 0).immediate == n, "%x", n);
}

Test(decode, short_constants, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 65536; n++) {
        const struct emu_insn i = read_all(0xb0030000 | n, 0); /* s_movk_i32 */
        cr_assert(i.operand[1].kind == EMU_CONSTANT && (uint16_t)i.operand[1].value == n);
        cr_assert((uint16_t)i.immediate == n);
        cr_assert(i.opcode == NULL || i.operand[1].type != EMU_I16 ||
                  i.operand[1].value == (uint32_t)(int32_t)(int16_t)n);
    }
}

/* ---- memory ---- */

Test(decode, memory_fields, .init = begin, .fini = end) {
    for (unsigned n = 0; n < 8192; n++) {
        const int32_t offset = (int32_t)(n & 0x1fff) - 4096;
        const uint32_t sc0 = below(2), sc1 = below(2), nt = below(2), scalar = below(2);
        const struct emu_insn i = /* global_load_dword */
            read_all(0xdc508000 | sc1 << 25 | nt << 17 | sc0 << 16 | ((uint32_t)offset & 0x1fff),
                     (scalar ? 4u : 0x7fu) << 16 | 6 << 24 | 2);
        cr_assert(i.offset == offset && i.sc0 == sc0 && i.sc1 == sc1 && i.nt == nt);
        cr_assert(i.operand[0].reg == 6 && i.operand[1].reg == 2);
        cr_assert(i.operand[1].registers == (scalar ? 1 : 2));
        cr_assert(i.operand[2].kind == (scalar ? EMU_SGPR : EMU_OFF));
    }
    for (uint32_t n = 0; n < 65536; n++) {
        const struct emu_insn one = read_all(0xd86c0000 | n, 0x05000001); /* ds_read_b32 */
        cr_assert(one.offset == (int32_t)n && one.operand[1].reg == 1);
        const struct emu_insn two = read_all(0xd86e0000 | n, 0x06000001); /* ds_read2_b32 */
        cr_assert(two.offset == (int32_t)(n & 255) && two.offset1 == (int32_t)(n >> 8));
    }
    for (uint32_t n = 0; n < 4096; n++) { /* buffer_load_dword */
        const uint32_t idxen = below(2), offen = below(2), sc0 = below(2), nt = below(2);
        const struct emu_insn i =
            read_all(0xe0500000 | nt << 17 | sc0 << 14 | idxen << 13 | offen << 12 | n, 0x80020406);
        cr_assert(i.offset == (int32_t)n && i.idxen == idxen && i.offen == offen && i.sc0 == sc0 &&
                  i.nt == nt);
        cr_assert(i.operand[2].reg == 8 && i.operand[2].registers == 4);
        cr_assert(i.operand[3].kind == EMU_CONSTANT && i.operand[3].value == 0);
    }
}

Test(decode, scalar_memory_offsets, .init = begin, .fini = end) {
    for (int32_t offset = -(1 << 20); offset < 1 << 20; offset += 37) {
        const uint32_t field = (uint32_t)offset & 0x1fffff;
        struct emu_insn i = read_all(0xc0020001, field); /* s_load_dword s0, s[2:3], offset */
        cr_assert(i.offset == offset && i.n_operands == 3 && i.operand[2].kind == EMU_OFF);
        i = read_all(0xc0024001, 9u << 25 | field); /* s9 too */
        cr_assert(i.offset == offset && i.operand[2].kind == EMU_SGPR && i.operand[2].reg == 9);
    }
}

Test(decode, buffer_formats, .init = begin, .fini = end) {
    for (uint32_t n = 0; n < 128; n++)
        cr_assert(read_all(0xe8000000 | n << 19, 0x80020406).immediate == n, "%u", n);
}

/* ---- constants by type, texts, what is refused ---- */

static uint64_t constant(const char *text, enum emu_type type) {
    struct emu_operand o;
    const struct emu_piece p = {text, text + strlen(text)};
    cr_assert(emu_operand_parse(&o, p, type) && o.kind == EMU_CONSTANT && o.type == type, "%s",
              text);
    return o.value;
}

Test(decode, literals_follow_the_type) {
    cr_assert(constant("0x80000000", EMU_B32) == 0x80000000);
    cr_assert(constant("0x80000000", EMU_F32) == 0x80000000);
    cr_assert(constant("0x80000000", EMU_I64) == UINT64_C(0xffffffff80000000));
    cr_assert(constant("0x80000000", EMU_U64) == 0x80000000);
    cr_assert(constant("0x80000000", EMU_B64) == 0x80000000);
    cr_assert(constant("0x80000000", EMU_MASK) == 0x80000000);
    cr_assert(constant("0x40080000", EMU_F64) == UINT64_C(0x4008000000000000));
    cr_assert(constant("0xdc90c3ff", EMU_F16) == 0xc3ff);
    cr_assert(constant("0x8000", EMU_I16) == 0xffff8000);
    cr_assert(constant("0x8000", EMU_U16) == 0x8000);
    cr_assert(constant("-1", EMU_B64) == UINT64_MAX);
    cr_assert(constant("-1", EMU_F64) == UINT64_MAX);
    cr_assert(constant("-16", EMU_F32) == 0xfffffff0);
    cr_assert(constant("-1", EMU_2F16) == 0xffffffff);
    cr_assert(constant("1.0", EMU_2F16) == 0x3c00);
    cr_assert(constant("1.0", EMU_2B16) == 0x3f800000);
    cr_assert(constant("1.0", EMU_BF16) == 0x3f80);
    cr_assert(constant("1.0", EMU_B32) == 0x3f800000);
    cr_assert(constant("1.0", EMU_B64) == UINT64_C(0x3ff0000000000000));
    cr_assert(constant("0.15915494", EMU_B32) == 0x3e22f983);
    cr_assert(constant("0.15915494309189532", EMU_F64) == UINT64_C(0x3fc45f306dc9c882));
}

Test(decode, constants_are_shared) {
    const uint32_t(*const a)[EMU_LANES] = emu_constant_lanes(UINT64_C(0x1234567800000042));
    cr_assert(a == emu_constant_lanes(UINT64_C(0x1234567800000042)));
    cr_assert(a != emu_constant_lanes(UINT64_C(0x1234567800000043)));
#pragma omp parallel for
    for (uint64_t n = 0; n < 20000; n++) {
        const uint32_t(*const lanes)[EMU_LANES] = emu_constant_lanes(n % 5000 << 32 | n % 5000);
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            cr_assert(lanes[0][lane] == n % 5000 && lanes[1][lane] == n % 5000);
    }
    cr_assert(a == emu_constant_lanes(UINT64_C(0x1234567800000042)) && a[0][5] == 0x42);
}

Test(decode, what_is_not_understood_is_not_executed) {
    static const char *const lines[] = {
        "v_mov_b32_e32 v0, src_lds_direct",
        "v_mov_b32_e32 v0, null",
        "v_mov_b32_e32 v256, v1",
        "v_mov_b32_e32 v0, s102",
        "v_mov_b32_e32 v0, v1 row_xmask:3",
        "v_mov_b32_e32 v0, v1 something",
        "v_mov_b32_e32 v0, 0.25",
        "v_mov_b32_e32 v0, 0x",
        "v_mov_b32_e32 v0, v[1",
        "v_mov_b32_e32 v0, |v1",
        "v_mov_b32_e32 v0, --v1",
        "v_mov_b32_e32 v0, v1/*Invalid register, operand has 'SReg_32' register class*/",
        "v_mov_b32_e32 v0",
        "v_mov_b32_e32 v0,",
        "v_mov_b32_e32 v0, v1, v2, v3, v4, v5, v6, v7",
        "v_mov_b32_dpp v0, v1 row_mask:0xf bank_mask:0xf",
        "v_fma_f64 v[0:1], v2, v[4:5], v[6:7]",
        "v_pk_fma_f32 v[0:1], v[2:3], 1.0, v[4:5]",
    };
    struct emu_insn i;
    for (size_t n = 0; n < sizeof lines / sizeof *lines; n++) {
        emu_decode(&i, lines[n], 0, 4);
        cr_assert(i.opcode != NULL, "%s", lines[n]);
        cr_assert(i.run == emu_run_not_understood && i.checked == i.run, "%s", lines[n]);
    }
    emu_decode(&i, "v_frobnicate_b32 v0, v1", 8, 4);
    cr_assert(i.opcode == NULL && i.run == emu_run_unknown && i.checked == i.run && i.pc == 8);
    emu_decode(&i, "v_mov_b32_e32 v0, v1", 0, 4);
    cr_assert(i.opcode != NULL && i.run == i.opcode->run);
    emu_decode(&i, "v_pk_fma_f32 v[0:1], v[2:3], 1.0, v[4:5] op_sel_hi:[1,0,1]", 0, 8);
    cr_assert(i.run != emu_run_not_understood);
}

/* Whatever LLVM prints without complaint is understood, but for operands that do not exist or are not emulated. */
Test(decode, every_form, .init = begin, .fini = end) {
    /* Operands that do not exist, or not as wide as the instruction; scalar tuples that reach beyond s101. */
    static const char *const excused[] = {"/*",    "; Warning", "null",  "src_",
                                          ":102]", ":103]",     ":104]", ":105]"};
    static const uint32_t encodings[][2] = {
        {0x00,  31},
        {0x0b,  28},
        {0x17d, 23},
        {0x17e, 23},
        {0x17f, 23},
        {0x02,  30},
        {0x30,  26},
        {0x3f,  25},
        {0x3e,  25},
        {0x34,  26},
        {0x36,  26},
        {0x37,  26},
        {0x38,  26},
        {0x3a,  26},
    };
    unsigned seen = 0, missed = 0;
    for (unsigned n = 0; n < 400000; n++) {
        const uint32_t *const e = encodings[below(sizeof encodings / sizeof *encodings)];
        struct emu_insn i;
        bool understood = false, excuse = false;
        const char *const text =
            read_words(&i, e[0] << e[1] | (below(1u << 16) << 16 | below(1u << 16)) % (1u << e[1]),
                       below(1u << 16) << 16 | below(1u << 16), &understood);
        if (text == NULL) continue;
        for (size_t k = 0; k < sizeof excused / sizeof *excused; k++)
            excuse |= strstr(text, excused[k]) != NULL;
        excuse |= strstr(text, "v_pk_") != NULL && strstr(text, "32 v[") != NULL;
        seen++;
        missed += !understood;
        cr_assert(understood || excuse, "%s", text);
    }
    cr_assert(seen > 100000 && missed < seen / 2, "%u seen, %u not understood", seen, missed);
}
