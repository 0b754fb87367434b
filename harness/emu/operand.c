/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands of LLVM's disassembly: registers, inline constants, literals, with their modifiers.
 *
 * A literal has 32 bits in the encoding. For wider operands it is the high word of a double, sign-extended for signed
 * integers and zero-extended otherwise; LLVM prints it as it stands. Inline floats take the operand's format; in packed
 * 16-bit integer operands they are the 32-bit pattern of the float, as LLVM encodes them.
 */
#include "parse.h"
#include "wave.h"

static const uint8_t type_registers[] = {
    [EMU_NONE] = 0,  [EMU_B16] = 1,  [EMU_B32] = 1,   [EMU_B64] = 2,    [EMU_B96] = 3,
    [EMU_B128] = 4,  [EMU_B256] = 8, [EMU_B512] = 16, [EMU_B1024] = 32, [EMU_I16] = 1,
    [EMU_I32] = 1,   [EMU_I64] = 2,  [EMU_U16] = 1,   [EMU_U32] = 1,    [EMU_U64] = 2,
    [EMU_F16] = 1,   [EMU_BF16] = 1, [EMU_F32] = 1,   [EMU_F64] = 2,    [EMU_2F16] = 1,
    [EMU_2BF16] = 1, [EMU_2B16] = 1, [EMU_2F32] = 2,  [EMU_2B32] = 2,   [EMU_MASK] = 2,
};

unsigned emu_type_registers(enum emu_type type) {
    return (size_t)type < sizeof type_registers ? type_registers[type] : 0;
}

bool emu_integer(struct emu_piece p, int64_t *value) {
    const bool negative = emu_take(&p, "-"), hexadecimal = emu_take(&p, "0x");
    uint64_t n = 0;
    if (p.at == p.end || p.end - p.at > 16) return false;
    for (; p.at < p.end; p.at++) {
        const char c = *p.at;
        if (c >= '0' && c <= '9')
            n = n * (hexadecimal ? 16 : 10) + (uint64_t)(c - '0');
        else if (hexadecimal && c >= 'a' && c <= 'f')
            n = n * 16 + (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *value = (int64_t)(negative ? 0 - n : n);
    return true;
}

/* ---- constants ---- */

static const struct {
    const char *text;
    uint16_t f16, bf16;
    uint32_t f32;
    uint64_t f64;
} floats[] = {
    {"0.5",                 0x3800, 0x3F00, 0x3F000000, UINT64_C(0x3FE0000000000000)},
    {"-0.5",                0xB800, 0xBF00, 0xBF000000, UINT64_C(0xBFE0000000000000)},
    {"1.0",                 0x3C00, 0x3F80, 0x3F800000, UINT64_C(0x3FF0000000000000)},
    {"-1.0",                0xBC00, 0xBF80, 0xBF800000, UINT64_C(0xBFF0000000000000)},
    {"2.0",                 0x4000, 0x4000, 0x40000000, UINT64_C(0x4000000000000000)},
    {"-2.0",                0xC000, 0xC000, 0xC0000000, UINT64_C(0xC000000000000000)},
    {"4.0",                 0x4400, 0x4080, 0x40800000, UINT64_C(0x4010000000000000)},
    {"-4.0",                0xC400, 0xC080, 0xC0800000, UINT64_C(0xC010000000000000)},
    {"0.15915494",          0x3118, 0x3E22, 0x3E22F983, UINT64_C(0x3FC45F306DC9C882)},
    {"0.15915494309189532", 0x3118, 0x3E22, 0x3E22F983, UINT64_C(0x3FC45F306DC9C882)},
};

static bool parse_float(struct emu_piece p, enum emu_type type, uint64_t *value) {
    size_t i = 0;
    while (i < sizeof floats / sizeof *floats && !emu_is(p, floats[i].text)) i++;
    if (i == sizeof floats / sizeof *floats) return false;
    switch (type) {
    case EMU_F16:
    case EMU_2F16:
    case EMU_B16:
    case EMU_I16:
    case EMU_U16: *value = floats[i].f16; break;
    case EMU_BF16:
    case EMU_2BF16: *value = floats[i].bf16; break;
    case EMU_F64:
    case EMU_B64:
    case EMU_I64:
    case EMU_U64:
    case EMU_MASK: *value = floats[i].f64; break;
    default: *value = floats[i].f32;
    }
    return true;
}

static uint64_t literal(int64_t n, enum emu_type type) {
    switch (type) {
    case EMU_F64: return (uint64_t)n << 32;
    case EMU_I64: return (uint64_t)(int64_t)(int32_t)n;
    case EMU_I16: return (uint64_t)(int16_t)n & UINT32_MAX;
    case EMU_F16:
    case EMU_BF16:
    case EMU_B16:
    case EMU_U16: return (uint16_t)n;
    default: return (uint32_t)n;
    }
}

static bool parse_constant(struct emu_operand *o, struct emu_piece p, enum emu_type type) {
    int64_t n;
    o->kind = EMU_CONSTANT;
    o->registers = 0;
    if (emu_integer(p, &n)) {
        const bool hexadecimal = memchr(p.at, 'x', (size_t)(p.end - p.at)) != NULL;
        const bool wide = type == EMU_F64 || type == EMU_B64 || type == EMU_I64 ||
                          type == EMU_U64 || type == EMU_MASK;
        o->value = hexadecimal ? literal(n, type) : wide ? (uint64_t)n : (uint32_t)n;
    } else if (!parse_float(p, type, &o->value)) {
        return false;
    }
    o->lanes = emu_constant_lanes(o->value);
    return true;
}

/* ---- registers ---- */

static const struct {
    const char *name;
    uint8_t reg, registers;
} named[] = {
    {"vcc",               EMU_VCC,              2},
    {"vcc_lo",            EMU_VCC,              1},
    {"vcc_hi",            EMU_VCC + 1,          1},
    {"exec",              EMU_EXEC,             2},
    {"exec_lo",           EMU_EXEC,             1},
    {"exec_hi",           EMU_EXEC + 1,         1},
    {"m0",                EMU_M0,               1},
    {"flat_scratch",      EMU_FLAT_SCRATCH,     2},
    {"flat_scratch_lo",   EMU_FLAT_SCRATCH,     1},
    {"flat_scratch_hi",   EMU_FLAT_SCRATCH + 1, 1},
    {"xnack_mask",        EMU_XNACK_MASK,       2},
    {"xnack_mask_lo",     EMU_XNACK_MASK,       1},
    {"xnack_mask_hi",     EMU_XNACK_MASK + 1,   1},
    {"src_shared_base",   EMU_SHARED_BASE,      2},
    {"src_shared_limit",  EMU_SHARED_LIMIT,     2},
    {"src_private_base",  EMU_PRIVATE_BASE,     2},
    {"src_private_limit", EMU_PRIVATE_LIMIT,    2},
    {"src_vccz",          EMU_VCCZ,             1},
    {"src_execz",         EMU_EXECZ,            1},
};

static bool parse_named(struct emu_operand *o, struct emu_piece p) {
    if (emu_is(p, "off")) {
        o->kind = EMU_OFF;
        return true;
    }
    if (emu_is(p, "scc") || emu_is(p, "src_scc")) {
        o->kind = EMU_SCC;
        o->registers = 1;
        return true;
    }
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        if (!emu_is(p, named[i].name)) continue;
        o->kind = EMU_SGPR;
        o->reg = named[i].reg;
        o->registers = named[i].registers;
        return true;
    }
    return false;
}

static bool number(const char **at, const char *end, unsigned *n) {
    const char *const begin = *at;
    for (*n = 0; *at < end && **at >= '0' && **at <= '9' && *at - begin < 4; ++*at)
        *n = *n * 10 + (unsigned)(**at - '0');
    return *at > begin;
}

/* 7, [7] or [4:7], below the limit. */
static bool parse_range(struct emu_operand *o, struct emu_piece p, unsigned base, unsigned limit) {
    unsigned first, last;
    const bool bracket = emu_take(&p, "[");
    if (!number(&p.at, p.end, &first)) return false;
    last = first;
    if (bracket && (emu_take(&p, ":") && !number(&p.at, p.end, &last))) return false;
    if (bracket && !emu_take(&p, "]")) return false;
    if (p.at != p.end || last < first || last >= limit || last - first >= 32) return false;
    o->reg = (uint16_t)(base + first);
    o->registers = (uint8_t)(last - first + 1);
    return true;
}

static bool parse_register(struct emu_operand *o, struct emu_piece p) {
    struct emu_piece rest = p;
    o->kind = EMU_VGPR;
    if (emu_take(&rest, "v") && parse_range(o, rest, 0, EMU_AGPR)) return true;
    rest = p;
    if (emu_take(&rest, "a") && parse_range(o, rest, EMU_AGPR, EMU_VGPRS - EMU_AGPR)) return true;
    rest = p;
    o->kind = EMU_SGPR;
    if (emu_take(&rest, "s") && parse_range(o, rest, 0, EMU_FLAT_SCRATCH)) return true;
    rest = p;
    return emu_take(&rest, "ttmp") && parse_range(o, rest, EMU_TTMP, EMU_M0 - EMU_TTMP);
}

/* -x, neg(x), |x|, sext(x), in any order. */
static bool peel(struct emu_operand *o, struct emu_piece *p) {
    const char *const begin = p->at;
    const char close = p->end > p->at ? p->end[-1] : '\0';
    if (p->end - p->at > 1 && p->at[0] == '-' && (p->at[1] < '0' || p->at[1] > '9')) {
        if (o->neg || o->abs) return false;
        p->at++;
        o->neg = true;
    } else if (close == ')' && emu_take(p, "neg(")) {
        if (o->neg || o->abs) return false;
        p->end--;
        o->neg = true;
    } else if (close == ')' && emu_take(p, "sext(")) {
        p->end--;
        o->sext = true;
    } else if (close == '|' && p->end - p->at > 2 && emu_take(p, "|")) {
        if (o->abs) return false;
        p->end--;
        o->abs = true;
    }
    return p->at != begin;
}

bool emu_operand_parse(struct emu_operand *o, struct emu_piece p, enum emu_type type) {
    *o = (struct emu_operand){.kind = EMU_OFF, .type = (uint8_t)type, .select = 6};
    while (peel(o, &p)) continue;
    if (p.at >= p.end) return false;
    return parse_register(o, p) || parse_named(o, p) || parse_constant(o, p, type);
}
