/* SPDX-License-Identifier: Apache-2.0 */
#include "build.h"
#include "number.h"

#include <string.h>

#include "../../insn.h"

static struct isa_operand v(unsigned reg) {
    return (struct isa_operand){.kind = ISA_V, .reg = reg, .select = 6};
}
static struct isa_operand s(unsigned reg) {
    return (struct isa_operand){.kind = ISA_S, .reg = reg, .select = 6};
}

static bool is_scalar(const struct isa_row *row) {
    return row->form == SOP2 || row->form == SOPC || row->form == SOPK;
}
static unsigned n_sources(const struct isa_row *row) {
    return row->s[2] != NONE ? 3 : row->s[1] != NONE ? 2 : 1;
}

/* Inline constants: their text, and their bits as integer, half, single and double. */
static const struct {
    const char *text;
    uint64_t integer, half, single, wide;
} constants[] = {
    {"0",    0,             0,      0,          0                 },
    {"1",    1,             1,      1,          1                 },
    {"64",   64,            64,     64,         64                },
    {"-1",   ~UINT64_C(0),  0xffff, 0xffffffff, ~UINT64_C(0)      },
    {"-16",  ~UINT64_C(15), 0xfff0, 0xfffffff0, ~UINT64_C(15)     },
    {"0.5",  0x3f000000,    0x3800, 0x3f000000, 0x3fe0000000000000},
    {"-1.0", 0xbf800000,    0xbc00, 0xbf800000, 0xbff0000000000000},
    {"4.0",  0x40800000,    0x4400, 0x40800000, 0x4010000000000000},
    {"-2.0", 0xc0000000,    0xc000, 0xc0000000, 0xc000000000000000},
};
enum { N_CONSTANTS = sizeof constants / sizeof *constants, N_INTEGERS = 5 };

/* Floating-point constants only where the operand is a float: what they mean elsewhere depends on the instruction. */
static struct isa_operand constant(enum isa_type type, uint64_t r) {
    const size_t i = r % (isa_is_float(type) ? N_CONSTANTS : N_INTEGERS);
    struct isa_operand o = {.kind = ISA_BITS, .select = 6};
    strcpy(o.text, constants[i].text);
    o.bits = type == F16   ? constants[i].half
             : type == F32 ? constants[i].single
             : type == F64 ? constants[i].wide
                           : constants[i].integer;
    if (isa_bits(type) == 32) o.bits &= UINT32_MAX;
    return o;
}

static struct isa_operand literal(enum isa_type type, uint32_t value) {
    struct isa_operand o = {.kind = ISA_BITS, .select = 6};
    if (type == I16 || type == F16) value &= 0xffff;
    snprintf(o.text, sizeof o.text, "0x%x", value | 0x1000u);
    o.bits = value | 0x1000u;
    return o;
}

/* simm16: sign-extended, except of unsigned comparisons, whose formulations take the low half. */
static struct isa_operand immediate(uint64_t r) {
    struct isa_operand o = {.kind = ISA_BITS};
    snprintf(o.text, sizeof o.text, "0x%x", (unsigned)(r & 0xffff));
    const int16_t value = (int16_t)(r & 0xffff);
    o.bits = (uint64_t)(int64_t)value & UINT32_MAX;
    return o;
}

static struct isa_instance *append(struct isa_program *p, const struct isa_row *row,
                                   const char *suffix, unsigned *d) {
    struct isa_instance *const i = &p->list[p->n++];
    *i = (struct isa_instance){.row = row,
                               .suffix = suffix,
                               .op_sel_hi = 7,
                               .dst_sel = 6,
                               .mask_out = ISA_VCC,
                               .mask_in = ISA_VCC,
                               .row_mask = 15,
                               .bank_mask = 15};
    for (unsigned n = 0; n < n_sources(row); n++)
        i->s[n] = is_scalar(row) ? s(ISA_FIRST_S + 2 * n) : v(ISA_FIRST_V + 2 * n);
    i->d = is_scalar(row) ? s(*d) : v(*d);
    if (row->d != NONE && row->form != VOPC) *d += 2;
    if (row->flags & LITERAL_K) i->s[2] = literal(F32, (uint32_t)isa_value(F32, 3, p->n));
    if (row->flags & LITERAL_M) i->s[1] = literal(F32, (uint32_t)isa_value(F32, 3, p->n));
    return i;
}

static bool has_float_source(const struct isa_row *row) {
    return isa_is_float(row->s[0]) && (row->flags & NO_MODIFIERS) == 0;
}

static bool takes_modifiers(const struct isa_row *row) {
    return (isa_is_float(row->d) && (row->flags & (NO_CLAMP | NO_MODIFIERS)) == 0);
}

static void modify(struct isa_instance *i, uint64_t r) {
    for (unsigned n = 0; n < n_sources(i->row); n++)
        if (isa_is_float(i->row->s[n]) && i->s[n].kind != ISA_BITS) {
            i->s[n].neg = r >> (2 * n) & 1;
            i->s[n].abs = r >> (2 * n + 1) & 1;
        }
}

static const char *long_suffix(const struct isa_row *row) {
    return row->form == VOP3 ? "" : "_e64";
}

/* A mask register of its own, where the encoding lets one be named. */
static void name_masks(struct isa_instance *i, unsigned out) {
    i->mask_out = out;
    if (i->row->flags & CARRY_IN) i->mask_in = 40;
}

static void build_long(struct isa_program *p, const struct isa_row *row, unsigned *d) {
    static unsigned turn;
    struct isa_instance *i = append(p, row, long_suffix(row), d);
    name_masks(i, 26);
    if ((row->flags & (CARRY_IN | VCC_IN)) == 0) { /* one scalar register, the mask included */
        i = append(p, row, long_suffix(row), d);
        i->s[0] = s(ISA_FIRST_S);
        name_masks(i, 28);
    }
    if ((row->flags & NO_CONSTANTS) == 0) {
        i = append(p, row, long_suffix(row), d);
        i->s[0] = constant(row->s[0], turn++);
        name_masks(i, 30);
    }
    if (row->s[1] != NONE && (row->flags & NO_CONSTANTS) == 0) {
        i = append(p, row, long_suffix(row), d);
        i->s[1] = constant(row->s[1], turn++);
        name_masks(i, 32);
    }
    for (unsigned n = 0; n < 2 && has_float_source(row); n++) {
        i = append(p, row, long_suffix(row), d);
        modify(i, n == 0 ? 0x1b : 0x26);
        name_masks(i, 34 + 2 * n);
    }
    if (takes_modifiers(row)) append(p, row, long_suffix(row), d)->clamp = true;
    if (row->flags & CLAMP) {
        i = append(p, row, long_suffix(row), d);
        i->clamp = true;
        name_masks(i, 38);
    }
    for (unsigned bits = 1; bits < 16 && (row->flags & OPSEL) != 0; bits += 4) {
        i = append(p, row, long_suffix(row), d);
        for (unsigned n = 0; n < 3; n++)
            if (row->s[n] == I16) i->op_sel |= (uint8_t)(bits & 1u << n);
        if (row->d == I16) i->op_sel |= (uint8_t)(bits & 8);
    }
    for (unsigned bits = 8; bits <= 8 && (row->flags & OPSEL_D) != 0; bits += 8)
        append(p, row, long_suffix(row), d)->op_sel = 8;
    for (unsigned bits = 4; bits < 16 && (row->flags & OPSEL_B) != 0; bits += 4)
        append(p, row, long_suffix(row), d)->op_sel = (uint8_t)bits;
}

/* Output modifiers, in IEEE mode, which makes them nothing; where they count, documents leave too much open. */
static void build_omod(struct isa_program *p, const struct isa_row *row, unsigned *d) {
    if (!takes_modifiers(row) || (row->flags & (LITERAL_K | LITERAL_M | NO_E64)) != 0) return;
    if (row->form != VOP2 && row->form != VOP3) return;
    for (unsigned n = 1; n <= 3; n++) append(p, row, long_suffix(row), d)->omod = (uint8_t)n;
    p->ieee = true;
}

static void build_sdwa(struct isa_program *p, const struct isa_row *row, unsigned *d) {
    static const uint8_t selects[4][4] = {
        {0, 5, 6, 0},
        {5, 3, 1, 2},
        {6, 4, 4, 1},
        {1, 2, 5, 2}
    };
    if (row->flags & (PLAIN | PARTIAL | OPSEL)) return;
    if (row->form != VOP2 && row->form != VOPC) return;
    for (unsigned n = 0; n < 3; n++)
        if (row->s[n] != NONE && isa_bits(row->s[n]) == 64) return;
    if (isa_bits(row->d) == 64 && row->form != VOPC && (row->flags & WORDS) == 0) return;
    for (unsigned k = 0; k < 4; k++) {
        struct isa_instance *const i = append(p, row, "_sdwa", d);
        i->s[0].select = selects[k][0];
        i->s[1].select = selects[k][1];
        i->dst_sel = row->form == VOPC || row->d == F32 ? 6 : selects[k][2];
        i->dst_unused = i->dst_sel == 6 ? 0 : selects[k][3];
        if (row->flags & (BYTES | WORDS)) {
            i->s[0].select = (uint8_t)(row->flags & BYTES ? k : 4 + k % 2);
            i->dst_sel = 6;
            i->dst_unused = 0;
        } else {
            for (unsigned n = 0; n < n_sources(row); n++)
                if ((row->s[n] == I32 || row->s[n] == I16) && (row->flags & CARRY_IN) == 0)
                    i->s[n].sext = i->s[n].select != 6 && (k & 1) != 0;
            if (has_float_source(row) && k == 3) modify(i, 0x5);
        }
    }
}

static void build_dpp(struct isa_program *p, const struct isa_row *row, unsigned *d) {
    static const uint8_t arguments[DPP_KINDS] = {[DPP_QUAD_PERM] = 0x4e,
                                                 [DPP_ROW_SHL] = 3,
                                                 [DPP_ROW_SHR] = 1,
                                                 [DPP_ROW_ROR] = 5,
                                                 [DPP_NEWBCAST] = 9};
    /* The carry of a lane that DPP switches off is not said. */
    if ((row->flags & (PLAIN | CARRY_OUT)) != 0 || row->form != VOP2) return;
    for (unsigned n = 0; n < 3; n++)
        if (row->s[n] != NONE && isa_bits(row->s[n]) == 64) return;
    if (isa_bits(row->d) == 64) return;
    static unsigned turn;
    for (unsigned k = 0; k < 3; k++) {
        struct isa_instance *const i = append(p, row, "_dpp", d);
        i->dpp = (uint8_t)(1 + turn++ % (DPP_KINDS - 1));
        i->dpp_argument = arguments[i->dpp];
        i->bound_ctrl = k == 1;
        if (k == 2) i->row_mask = 0xa, i->bank_mask = 0x7;
        /* What the rows before the first target get is not said; compilers mask them off. */
        if (i->dpp == DPP_BCAST15) i->row_mask = 0xa;
        if (i->dpp == DPP_BCAST31) i->row_mask = 0xc;
    }
}

static void build_packed(struct isa_program *p, const struct isa_row *row, unsigned *d) {
    const bool floats = (row->s[0] == H2 || row->s[0] == F2) && (row->flags & NO_MODIFIERS) == 0;
    append(p, row, "", d);
    for (unsigned k = 0; k < 4; k++) {
        struct isa_instance *const i = append(p, row, "", d);
        const uint64_t r = isa_random(12, (uint64_t)(uintptr_t)row->name[5] * 8 + k);
        const unsigned all = (1u << n_sources(row)) - 1;
        i->op_sel = (uint8_t)(r & all);
        i->op_sel_hi = (uint8_t)(r >> 3 & all);
        if (row->flags & NO_MODIFIERS) i->op_sel_hi = (uint8_t)all, i->op_sel = k & 3;
        i->neg_lo = floats ? (uint8_t)(r >> 6 & all) : 0;
        i->neg_hi = floats ? (uint8_t)(r >> 9 & all) : 0;
        i->clamp = (row->flags & CLAMP) != 0 && k == 3;
    }
    if (row->s[0] != F2) append(p, row, "", d)->s[0] = s(ISA_FIRST_S);
}

static void build_scalar(struct isa_program *p, const struct isa_row *row, unsigned *d) {
    struct isa_instance *i = append(p, row, "", d);
    if (row->form == SOPK) {
        const unsigned n = row->d == NONE ? 1 : 0;
        i->s[n] = immediate(isa_random(13, (uint64_t)row->name[7] * 256 + (uint64_t)row->name[9]));
        return;
    }
    if (row->form == SOPC || (row->flags & WRITES_EXEC) != 0) return;
    i = append(p, row, "", d);
    i->s[0] = constant(row->s[0], isa_random(14, (uint64_t)row->name[4]));
    if (row->s[1] != NONE && row->s[1] == I32) {
        i = append(p, row, "", d);
        i->s[1] = literal(I32, (uint32_t)isa_random(15, (uint64_t)row->name[4]));
    }
    if (row->d == I64) {
        i = append(p, row, "", d);
        i->d = s(ISA_VCC);
    }
}

static void build_short(struct isa_program *p, const struct isa_row *row, unsigned *d) {
    const bool literal_form = (row->flags & (LITERAL_K | LITERAL_M)) != 0;
    append(p, row, literal_form ? "" : "_e32", d);
    if ((row->flags & (PLAIN | CARRY_IN)) == 0 && isa_bits(row->s[0]) == 32 && row->s[0] != H2)
        append(p, row, "_e32", d)->s[0] = literal(row->s[0], (uint32_t)isa_value(row->s[0], 4, 5));
}

bool isa_build_row(struct isa_program *p, const struct isa_row *row, enum isa_part part) {
    unsigned d = is_scalar(row) ? 24 : 8;
    static const char *const parts[] = {"", " sdwa", " dpp", " omod"};
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s%s", row->name, parts[part]);
    p->fill = isa_fill;
    p->waves = is_scalar(row) ? 900 : 40;
    p->default_mode = (row->flags & USUAL_MODE) != 0;
    if (part == ISA_SDWA && (row->flags & WRITES_EXEC) == 0)
        build_sdwa(p, row, &d);
    else if (part == ISA_DPP)
        build_dpp(p, row, &d);
    else if (part == ISA_OMOD)
        build_omod(p, row, &d);
    else if (part == ISA_PLAIN && is_scalar(row))
        build_scalar(p, row, &d);
    else if (part == ISA_PLAIN && row->form == VOP3P)
        build_packed(p, row, &d);
    else if (part == ISA_PLAIN) {
        if (row->form != VOP3) build_short(p, row, &d);
        if ((row->flags & WRITES_EXEC) != 0)
            p->n = 1;
        else if ((row->flags & (LITERAL_K | LITERAL_M | NO_E64)) == 0)
            build_long(p, row, &d);
    }
    return p->n > 0;
}

static struct isa_operand random_source(const struct isa_row *row, unsigned n, uint64_t r,
                                        bool *scalar_taken) {
    const enum isa_type type = row->s[n];
    const unsigned v_reg = ISA_FIRST_V + 2 * (unsigned)((r >> 8) % ((ISA_V_END - ISA_FIRST_V) / 2));
    const unsigned s_reg =
        ISA_FIRST_S + 2 * (unsigned)((r >> 16) % ((ISA_S_END - ISA_FIRST_S) / 2));
    if (is_scalar(row)) return (r & 7) == 0 ? constant(type, r >> 24) : s(s_reg);
    if ((r & 7) == 0 && row->form != VOP3P && (row->flags & NO_CONSTANTS) == 0)
        return constant(type, r >> 24);
    if ((r & 7) == 1 && !*scalar_taken && type != F2) {
        *scalar_taken = true;
        return s(s_reg);
    }
    return v(v_reg);
}

static bool usable(const struct isa_row *row) {
    return (row->flags & (NO_RANDOM | LITERAL_K | LITERAL_M | NO_E64 | VCC_IN | APPROXIMATE)) ==
               0 &&
           row->form != SOPK && emu_opcode_find(row->name) != NULL;
}

void isa_build_random(struct isa_program *p, uint64_t seed) {
    size_t n_rows = 0;
    while (isa_row_at(n_rows) != NULL) n_rows++;
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "random sequence %llu", (unsigned long long)seed);
    p->fill = isa_fill;
    p->waves = 8;
    p->default_mode = seed % 2 == 0;
    for (uint64_t draw = 0; p->n < ISA_MAX_PROGRAM; draw++) {
        const uint64_t r = isa_random(seed, draw);
        const struct isa_row *const row = isa_row_at(r % n_rows);
        if (!usable(row) || ((row->flags & USUAL_MODE) != 0 && !p->default_mode)) continue;
        unsigned d = is_scalar(row) ? ISA_FIRST_S + 2 * (unsigned)((r >> 20) % 16)
                                    : ISA_FIRST_V + 2 * (unsigned)((r >> 20) % 29);
        struct isa_instance *const i = append(
            p, row, is_scalar(row) || row->form == VOP3 || row->form == VOP3P ? "" : "_e64", &d);
        bool taken = (row->flags & CARRY_IN) != 0;
        for (unsigned n = 0; n < n_sources(row); n++)
            i->s[n] = random_source(row, n, isa_random(seed ^ 0x5a5a, draw * 4 + n), &taken);
        if (row->form == VOPC || (row->flags & CARRY_OUT) != 0)
            i->mask_out = r >> 30 & 1 ? ISA_VCC : ISA_FIRST_S + 2 * (unsigned)((r >> 31) % 16);
        if ((row->flags & CARRY_IN) != 0)
            i->mask_in = r >> 40 & 1 ? ISA_VCC : ISA_FIRST_S + 2 * (unsigned)((r >> 41) % 16);
        if (has_float_source(row) && row->form != VOP3P) modify(i, r >> 48);
        if (row->form == VOP3P) i->op_sel = (uint8_t)(r >> 48 & ((1u << n_sources(row)) - 1));
    }
}
