/* SPDX-License-Identifier: Apache-2.0 */
/* Modifiers behind the operands: name, or name:value. */
#include "parse.h"

/* [1,0,1]: one bit each, the first lowest. */
static bool parse_bits(struct emu_piece p, uint8_t *bits) {
    unsigned n = 0, value = 0;
    if (!emu_take(&p, "[")) return false;
    for (; p.at + 1 < p.end && n < 8; n++, p.at += 2) {
        if ((p.at[0] != '0' && p.at[0] != '1') || (p.at[1] != ',' && p.at[1] != ']')) return false;
        value |= (unsigned)(p.at[0] - '0') << n;
    }
    *bits = (uint8_t)value;
    return n > 0 && p.at == p.end && p.end[-1] == ']';
}

/* [3,2,1,0]: two bits each. */
static bool parse_quad(struct emu_piece p, uint8_t *selectors) {
    unsigned value = 0;
    if (p.end - p.at != 9 || p.at[0] != '[' || p.at[8] != ']') return false;
    for (unsigned i = 0; i < 4; i++) {
        const char digit = p.at[1 + 2 * i];
        if (digit < '0' || digit > '3' || (i > 0 && p.at[2 * i] != ',')) return false;
        value |= (unsigned)(digit - '0') << (2 * i);
    }
    *selectors = (uint8_t)value;
    return true;
}

static bool parse_byte(struct emu_piece p, int64_t first, int64_t last, uint8_t *value) {
    int64_t n;
    if (!emu_integer(p, &n) || n < first || n > last) return false;
    *value = (uint8_t)n;
    return true;
}

static bool parse_select(struct emu_piece p, uint8_t *select) {
    static const char *const names[] = {"BYTE_0", "BYTE_1", "BYTE_2", "BYTE_3",
                                        "WORD_0", "WORD_1", "DWORD"};
    for (uint8_t n = 0; n < sizeof names / sizeof *names; n++) {
        if (!emu_is(p, names[n])) continue;
        *select = n;
        return true;
    }
    return false;
}

static bool parse_unused(struct emu_piece p, uint8_t *unused) {
    *unused = emu_is(p, "UNUSED_PAD") ? 0 : emu_is(p, "UNUSED_SEXT") ? 1 : 2;
    return *unused != 2 || emu_is(p, "UNUSED_PRESERVE");
}

static bool parse_offset(struct emu_insn *i, struct emu_piece p, int32_t *offset) {
    int64_t n;
    if (emu_swizzle_parse(p, &i->immediate)) {
        *offset = (int32_t)i->immediate;
        return true;
    }
    if (!emu_integer(p, &n) || n < INT32_MIN || n > INT32_MAX) return false;
    *offset = (int32_t)n;
    if (offset == &i->offset) i->immediate = (uint32_t)n;
    return true;
}

static bool parse_flag(struct emu_insn *i, struct emu_piece p) {
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"clamp", &i->clamp},
        {"sc0",   &i->sc0  },
        {"sc1",   &i->sc1  },
        {"nt",    &i->nt   },
        {"glc",   &i->sc0  },
        {"idxen", &i->idxen},
        {"offen", &i->offen},
        {"lds",   &i->lds  },
        {"gds",   &i->gds  },
    };
    for (size_t n = 0; n < sizeof flags / sizeof *flags; n++)
        if (emu_is(p, flags[n].name)) return *flags[n].flag = true;
    return false;
}

static const struct {
    const char *name;
    uint8_t kind, first, last; /* the values that may follow; none if last is 0 */
} lane_controls[] = {
    {"row_shl:",        EMU_ROW_SHL,         1,  15},
    {"row_shr:",        EMU_ROW_SHR,         1,  15},
    {"row_ror:",        EMU_ROW_ROR,         1,  15},
    {"wave_shl:",       EMU_WAVE_SHL,        1,  1 },
    {"wave_rol:",       EMU_WAVE_ROL,        1,  1 },
    {"wave_shr:",       EMU_WAVE_SHR,        1,  1 },
    {"wave_ror:",       EMU_WAVE_ROR,        1,  1 },
    {"row_bcast:",      EMU_ROW_BCAST15,     15, 31},
    {"row_newbcast:",   EMU_ROW_NEWBCAST,    0,  15},
    {"row_mirror",      EMU_ROW_MIRROR,      0,  0 },
    {"row_half_mirror", EMU_ROW_HALF_MIRROR, 0,  0 },
};

static bool parse_lane_control(struct emu_insn *i, struct emu_piece p) {
    if (emu_take(&p, "quad_perm:")) {
        i->dpp = EMU_QUAD_PERM;
        return parse_quad(p, &i->dpp_argument);
    }
    for (size_t n = 0; n < sizeof lane_controls / sizeof *lane_controls; n++) {
        struct emu_piece rest = p;
        if (!emu_take(&rest, lane_controls[n].name)) continue;
        i->dpp = lane_controls[n].kind;
        if (lane_controls[n].last == 0) return rest.at == rest.end;
        if (!parse_byte(rest, lane_controls[n].first, lane_controls[n].last, &i->dpp_argument))
            return false;
        if (i->dpp != EMU_ROW_BCAST15) return true;
        if (i->dpp_argument == 31) i->dpp = EMU_ROW_BCAST31;
        return i->dpp_argument == 15 || i->dpp_argument == 31;
    }
    return false;
}

/* name:value of lane permutation and of partial registers. */
static bool parse_lane_part(struct emu_insn *i, struct emu_piece p) {
    const unsigned source = i->opcode != NULL ? i->opcode->n_destinations : 1;
    uint8_t value;
    if (emu_take(&p, "row_mask:")) return parse_byte(p, 0, 15, &i->row_mask);
    if (emu_take(&p, "bank_mask:")) return parse_byte(p, 0, 15, &i->bank_mask);
    if (emu_take(&p, "bound_ctrl:")) return i->bound_ctrl = parse_byte(p, 0, 1, &value);
    if (emu_take(&p, "fi:")) {
        const bool understood = parse_byte(p, 0, 1, &value);
        i->fi = understood && value == 1;
        return understood;
    }
    if (emu_take(&p, "dst_sel:")) return parse_select(p, &i->dst_sel);
    if (emu_take(&p, "dst_unused:")) return parse_unused(p, &i->dst_unused);
    if (emu_take(&p, "src0_sel:"))
        return source < i->n_operands && parse_select(p, &i->operand[source].select);
    return emu_take(&p, "src1_sel:") && source + 1 < i->n_operands &&
           parse_select(p, &i->operand[source + 1].select);
}

static bool parse_output(struct emu_insn *i, struct emu_piece p) {
    if (emu_take(&p, "mul:")) {
        i->omod = emu_is(p, "2") ? 1 : 2;
        return i->omod == 1 || emu_is(p, "4");
    }
    if (!emu_take(&p, "div:") || !emu_is(p, "2")) return false;
    i->omod = 3;
    return true;
}

bool emu_modifier_parse(struct emu_insn *i, struct emu_piece p) {
    if (memchr(p.at, ':', (size_t)(p.end - p.at)) == NULL)
        return parse_flag(i, p) || emu_counter_parse(p, &i->immediate) || parse_lane_control(i, p);
    if (emu_take(&p, "offset:")) return parse_offset(i, p, &i->offset);
    if (emu_take(&p, "offset0:")) return parse_offset(i, p, &i->offset);
    if (emu_take(&p, "offset1:")) return parse_offset(i, p, &i->offset1);
    if (emu_take(&p, "op_sel:")) return parse_bits(p, &i->op_sel);
    if (emu_take(&p, "op_sel_hi:")) return parse_bits(p, &i->op_sel_hi);
    if (emu_take(&p, "neg_lo:")) return parse_bits(p, &i->neg_lo);
    if (emu_take(&p, "neg_hi:")) return parse_bits(p, &i->neg_hi);
    if (emu_take(&p, "neg:")) return parse_bits(p, &i->blgp);
    if (emu_take(&p, "cbsz:")) return parse_byte(p, 0, 7, &i->cbsz);
    if (emu_take(&p, "abid:")) return parse_byte(p, 0, 15, &i->abid);
    if (emu_take(&p, "blgp:")) return parse_byte(p, 0, 7, &i->blgp);
    if (emu_take(&p, "format:")) return emu_format_parse(p, &i->immediate);
    return parse_output(i, p) || parse_lane_control(i, p) || parse_lane_part(i, p);
}
