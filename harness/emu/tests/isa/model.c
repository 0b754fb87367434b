/* SPDX-License-Identifier: Apache-2.0 */
/* Executes a program lane by lane. */
#include "isa.h"
#include "number.h"

#include <string.h>

unsigned isa_bits(enum isa_type type) {
    return type == I64 || type == F64 || type == F2 || type == MASK ? 64 : 32;
}

bool isa_is_float(enum isa_type type) { return type == F16 || type == F32 || type == F64; }

static uint64_t sign_extended(uint64_t value, unsigned bits) {
    const uint64_t top = UINT64_C(1) << (bits - 1);
    return (value ^ top) - top;
}

static uint64_t selected(uint64_t value, uint8_t select, bool sext) {
    if (select == 6) return value;
    const unsigned bits = select < 4 ? 8 : 16;
    const unsigned shift = select < 4 ? 8u * select : 16u * (select - 4u);
    value = value >> shift & ((1u << bits) - 1);
    return sext ? (uint32_t)sign_extended(value, bits) : value;
}

static uint64_t sign_mask(enum isa_type type) {
    return type == F64 ? UINT64_C(1) << 63 : type == F16 ? 0x8000 : 0x80000000;
}

/* The lane that DPP reads for `lane`, or -1. */
static int dpp_source(const struct isa_instance *i, unsigned lane) {
    const int argument = i->dpp_argument, l = (int)lane, row = l & ~15, in_row = l & 15;
    switch ((enum isa_dpp)i->dpp) {
    case DPP_NONE:
    case DPP_KINDS: return l;
    case DPP_QUAD_PERM: return (l & ~3) + (argument >> (2 * (l & 3)) & 3);
    case DPP_ROW_SHL: return in_row + argument > 15 ? -1 : l + argument;
    case DPP_ROW_SHR: return in_row < argument ? -1 : l - argument;
    case DPP_ROW_ROR: return row + ((in_row + 16 - argument) & 15);
    case DPP_WAVE_SHL: return l == 63 ? -1 : l + 1;
    case DPP_WAVE_ROL: return (l + 1) & 63;
    case DPP_WAVE_SHR: return l - 1;
    case DPP_WAVE_ROR: return (l + 63) & 63;
    case DPP_ROW_MIRROR: return row + 15 - in_row;
    case DPP_ROW_HALF_MIRROR: return (l & ~7) + 7 - (l & 7);
    case DPP_BCAST15: return row == 0 ? -1 : row - 1;
    case DPP_BCAST31: return l < 32 ? -1 : 31;
    case DPP_NEWBCAST: return row + argument;
    }
    return -1;
}

static uint64_t exec_of(const struct isa_state *s) {
    return (uint64_t)s->s[ISA_EXEC + 1] << 32 | s->s[ISA_EXEC];
}

/* Registers as they are; DPP moves the lane of the first source. */
static uint64_t raw(const struct isa_state *s, const struct isa_operand *o, enum isa_type type,
                    unsigned lane) {
    const bool wide = isa_bits(type) == 64;
    switch (o->kind) {
    case ISA_V: return s->v[o->reg][lane] | (wide ? (uint64_t)s->v[o->reg + 1][lane] << 32 : 0);
    case ISA_S: return s->s[o->reg] | (wide ? (uint64_t)s->s[o->reg + 1] << 32 : 0);
    case ISA_BITS: break;
    }
    return o->bits;
}

static uint64_t packed(const struct isa_instance *i, unsigned n, enum isa_type type,
                       uint64_t value) {
    const unsigned bits = type == F2 ? 32 : 16;
    const uint64_t mask = bits == 32 ? UINT32_MAX : UINT16_MAX;
    uint64_t low = (i->op_sel >> n & 1 ? value >> bits : value) & mask;
    uint64_t high = (i->op_sel_hi >> n & 1 ? value >> bits : value) & mask;
    if (i->neg_lo >> n & 1) low ^= UINT64_C(1) << (bits - 1);
    if (i->neg_hi >> n & 1) high ^= UINT64_C(1) << (bits - 1);
    return low | high << bits;
}

static uint64_t source(const struct isa_state *s, const struct isa_instance *i, unsigned n,
                       unsigned lane) {
    const enum isa_type type = i->row->s[n];
    const struct isa_operand *const o = &i->s[n];
    uint64_t value = raw(s, o, type, lane);
    if (i->row->form == VOP3P) return packed(i, n, type, value);
    if (strcmp(i->suffix, "_sdwa") == 0) value = selected(value, o->select, o->sext);
    if ((i->row->flags & OPSEL) != 0 && (i->op_sel >> n & 1) != 0 && (type == I16 || type == F16))
        value >>= 16;
    if (type == I16 || type == F16) value &= 0xffff;
    if (o->abs) value &= ~sign_mask(type);
    if (o->neg) value ^= sign_mask(type);
    return value;
}

static uint32_t placed(const struct isa_instance *i, uint32_t old, uint32_t value) {
    const enum isa_type type = i->row->d;
    if (type == I16 || type == F16) value &= 0xffff;
    if (strcmp(i->suffix, "_sdwa") != 0 || i->dst_sel == 6) {
        /* GFX9's own 16-bit VOP3 instructions keep the other half; those that VI had clear it. */
        if (i->row->form == VOP3 && (type == I16 || type == F16))
            return i->op_sel & 8 ? (old & 0xffff) | value << 16 : (old & 0xffff0000) | value;
        return value;
    }
    const unsigned bits = i->dst_sel < 4 ? 8 : 16;
    const unsigned shift = i->dst_sel < 4 ? 8u * i->dst_sel : 16u * (i->dst_sel - 4u);
    const uint32_t mask = ((1u << bits) - 1) << shift;
    const uint32_t inside = value << shift & mask;
    if (i->dst_unused == 2) return (old & ~mask) | inside;
    if (i->dst_unused == 1) return (uint32_t)(sign_extended(inside >> shift, bits) << shift);
    return inside;
}

/* Whether the lane takes part, and where its first source is: DPP can switch a lane off. */
static bool dpp_lane(const struct isa_instance *i, uint64_t exec, unsigned lane, int *from) {
    *from = (int)lane;
    if ((exec >> lane & 1) == 0) return false;
    if (i->dpp == DPP_NONE) return true;
    if ((i->row_mask >> (lane / 16) & 1) == 0 || (i->bank_mask >> (lane / 4 % 4) & 1) == 0)
        return false;
    *from = dpp_source(i, lane);
    if (*from >= 0 && (exec >> *from & 1) == 0) *from = -1;
    return *from >= 0 || i->bound_ctrl;
}

static void write_mask(struct isa_state *s, unsigned reg, uint64_t value, uint64_t open) {
    s->s[reg] = (uint32_t)value;
    s->s[reg + 1] = (uint32_t)(value >> 32);
    s->open_s[reg] = (uint32_t)open;
    s->open_s[reg + 1] = (uint32_t)(open >> 32);
}

static void vector(struct isa_state *s, const struct isa_instance *i) {
    const struct isa_row *const row = i->row;
    const struct isa_state before = *s;
    const uint64_t exec = exec_of(s);
    uint64_t mask = 0, open = 0;
    const uint64_t carry = (uint64_t)before.s[i->mask_in + 1] << 32 | before.s[i->mask_in];
    for (unsigned lane = 0; lane < ISA_LANES; lane++) {
        int from;
        if (!dpp_lane(i, exec, lane, &from)) continue;
        struct isa_lane x = {.mode = s->mode,
                             .m0 = s->m0,
                             .lane = lane,
                             .clamp = i->clamp,
                             .op_sel = i->op_sel,
                             .carry = carry >> lane & 1};
        x.a = from < 0 ? 0 : source(&before, i, 0, (unsigned)from);
        if (row->s[1] != NONE) x.b = source(&before, i, 1, lane);
        if (row->s[2] != NONE) x.c = source(&before, i, 2, lane);
        if (row->form != VOPC) x.d = raw(&before, &i->d, row->d, lane);
        row->run(&x);
        if (isa_is_float(row->d) && (row->flags & NO_CLAMP) == 0)
            x.d = isa_output(row->d, s->mode, i->omod, i->clamp, x.d, &x.open);
        if (x.carry) mask |= UINT64_C(1) << lane;
        if (x.open_mask) open |= UINT64_C(1) << lane;
        if (row->form == VOPC) continue;
        s->v[i->d.reg][lane] = placed(i, before.v[i->d.reg][lane], (uint32_t)x.d);
        s->open[i->d.reg][lane] = x.open ? UINT32_MAX : 0;
        if (isa_bits(row->d) == 64) {
            s->v[i->d.reg + 1][lane] = (uint32_t)(x.d >> 32);
            s->open[i->d.reg + 1][lane] = x.open ? UINT32_MAX : 0;
        }
    }
    if (row->form == VOPC || (row->flags & CARRY_OUT) != 0) write_mask(s, i->mask_out, mask, open);
    if (row->form == VOPC && (row->flags & WRITES_EXEC) != 0) write_mask(s, ISA_EXEC, mask, 0);
}

static void scalar(struct isa_state *s, const struct isa_instance *i) {
    const struct isa_row *const row = i->row;
    struct isa_lane x = {.mode = s->mode, .exec = exec_of(s), .scc = s->scc, .m0 = s->m0};
    x.a = raw(s, &i->s[0], row->s[0], 0);
    if (row->s[1] != NONE) x.b = raw(s, &i->s[1], row->s[1], 0);
    if (row->d != NONE) x.d = raw(s, &i->d, row->d, 0);
    row->run(&x);
    s->scc = x.scc;
    s->open_s[0] = x.open_scc; /* s0 is the frame's: its place tells of scc */
    if ((row->flags & WRITES_EXEC) != 0) write_mask(s, ISA_EXEC, x.exec, 0);
    if (row->d == NONE) return;
    s->s[i->d.reg] = (uint32_t)x.d;
    if (isa_bits(row->d) == 64) s->s[i->d.reg + 1] = (uint32_t)(x.d >> 32);
}

void isa_model_run(struct isa_state *state, const struct isa_program *program) {
    if (program->model != NULL) program->model(state, program->argument);
    for (size_t n = 0; n < program->n; n++) {
        const enum isa_form form = program->list[n].row->form;
        if (form == SOP2 || form == SOPC || form == SOPK)
            scalar(state, &program->list[n]);
        else
            vector(state, &program->list[n]);
    }
}
