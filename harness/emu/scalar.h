/* SPDX-License-Identifier: Apache-2.0 */
/* What scalar.def says of an instruction, beyond its function: for following undefined bits (track.c). */
#ifndef DSV4_EMU_SCALAR_H
#define DSV4_EMU_SCALAR_H

#include "lanes.h"

enum emu_scalar_flow {
    EMU_FLOW_NONE, /* not of scalar.def */
    EMU_FLOW_CORNERS,
    EMU_FLOW_SELECT,
    EMU_FLOW_SHIFT,
    EMU_FLOW_SPREAD,
    EMU_FLOW_CARRY,
    EMU_FLOW_EQUALITY,
    EMU_FLOW_WHOLE,
    EMU_FLOW_EXEC /* b and the result are EXEC; operand 0 is defined in any case */
};

struct emu_scalar_rule {
    enum emu_scalar_flow flow;
    int8_t a, b, result; /* operands; -1: none */
    bool keeps_scc, nonzero;
    uint8_t bits; /* of the result */
    uint64_t (*value)(uint64_t a, uint64_t b, uint32_t scc);
};

/* The rule of a row of emu_scalar_opcodes, or NULL. */
const struct emu_scalar_rule *emu_scalar_rule(const struct emu_opcode *opcode);

static inline uint32_t emu_get32(const struct emu_wave *w, const struct emu_operand *o) {
    if (o->kind == EMU_SGPR && o->reg < EMU_SREGS) return w->s[o->reg];
    return o->kind == EMU_CONSTANT ? (uint32_t)o->value : (uint32_t)emu_scalar(w, o);
}

static inline uint64_t emu_get64(const struct emu_wave *w, const struct emu_operand *o) {
    if (o->kind == EMU_SGPR && o->reg < EMU_SREGS) return emu_s64(w, o->reg);
    return o->kind == EMU_CONSTANT ? o->value : emu_scalar(w, o);
}

#endif
