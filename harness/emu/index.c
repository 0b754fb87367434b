/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers whose number is computed: s_movrels and s_movreld for scalars, s_set_gpr_idx_* for vectors.
 *
 * Between s_set_gpr_idx_on and _off a vector instruction's registers are shifted by M0[7:0], those of its sources and its
 * destination that M0[15:12] selects. Compilers keep such a stretch short and straight; it runs here as one step.
 */
#include "code.h"
#include "control.h"
#include "scalar.h"

enum { INDEX_BITS = 0xff, MODE_SHIFT = 12, MODE_BITS = 0xf, DESTINATION_BIT = 3 };

static const struct emu_insn *move_relative(struct emu_wave *w, const struct emu_insn *i,
                                            bool source, unsigned registers) {
    const uint64_t index = w->s[EMU_M0];
    const uint64_t from = i->operand[1].reg + (source ? index : 0);
    const uint64_t to = i->operand[0].reg + (source ? 0 : index);
    if (w->group->launch->tracked && w->s_defined[EMU_M0] != UINT32_MAX)
        return emu_fault(w, i, EMU_UNINITIALISED, -1, "the register index in m0 is undefined");
    if (i->operand[1].kind != EMU_SGPR || from + registers > EMU_FLAT_SCRATCH ||
        to + registers > EMU_FLAT_SCRATCH)
        return emu_fault(w, i, EMU_BAD_CODE, -1, "index %u leaves the scalar registers",
                         w->s[EMU_M0]);
    for (unsigned n = 0; n < registers; n++) {
        w->s[to + n] = w->s[from + n];
        w->s_defined[to + n] = w->s_defined[from + n];
    }
    return i + 1;
}

const struct emu_insn *emu_run_movrels_b32(struct emu_wave *w, const struct emu_insn *i) {
    return move_relative(w, i, true, 1);
}

const struct emu_insn *emu_run_movrels_b64(struct emu_wave *w, const struct emu_insn *i) {
    return move_relative(w, i, true, 2);
}

const struct emu_insn *emu_run_movreld_b32(struct emu_wave *w, const struct emu_insn *i) {
    return move_relative(w, i, false, 1);
}

const struct emu_insn *emu_run_movreld_b64(struct emu_wave *w, const struct emu_insn *i) {
    return move_relative(w, i, false, 2);
}

static bool shift(struct emu_wave *w, struct emu_operand *o, uint32_t index) {
    if (o->kind != EMU_VGPR) return true;
    const uint32_t reg = o->reg + index, limit = o->reg < EMU_AGPR ? 0 : EMU_AGPR;
    const struct emu_kernel *const kernel = w->group->launch->kernel;
    o->reg = (uint16_t)reg;
    return reg - limit + o->registers <= (limit == 0 ? kernel->n_vgprs : kernel->n_agprs);
}

/* One vector instruction, its registers shifted. */
static bool run_shifted(struct emu_wave *w, const struct emu_insn *i) {
    struct emu_insn shifted = *i;
    const uint32_t index = w->s[EMU_M0] & INDEX_BITS, mode = w->s[EMU_M0] >> MODE_SHIFT;
    for (unsigned k = 0; k < i->n_operands; k++) {
        const unsigned sources = i->opcode->n_destinations;
        const unsigned bit = k < sources ? (unsigned)DESTINATION_BIT : k - sources;
        if ((mode >> bit & 1) == 0 || (k >= sources && bit > 2)) continue;
        if (!shift(w, &shifted.operand[k], index)) {
            emu_fault(w, i, EMU_BAD_CODE, -1, "register index %u leaves the kernel's registers",
                      index);
            return false;
        }
    }
    if (!w->group->launch->tracked) return shifted.run(w, &shifted) != NULL;
    emu_track_prepare(&shifted);
    return shifted.checked(w, &shifted) != NULL;
}

static bool is_plain_vector(const struct emu_insn *i) {
    const uint32_t flags = i->opcode->flags;
    return (flags & EMU_VALU) != 0 && (flags & (EMU_PARTIAL | EMU_CROSS_LANE | EMU_MEMORY)) == 0 &&
           i->dpp == EMU_DPP_NONE && !i->sdwa;
}

static void set_mode(struct emu_wave *w, uint32_t mode) {
    const uint32_t keep = ~((uint32_t)MODE_BITS << MODE_SHIFT);
    w->s[EMU_M0] = (w->s[EMU_M0] & keep) | (mode & MODE_BITS) << MODE_SHIFT;
    w->s_defined[EMU_M0] |= ~keep;
}

static bool set_index(struct emu_wave *w, const struct emu_insn *i) {
    if (!emu_require_defined(w, i, &i->operand[0], "a register index")) return false;
    const uint32_t index = emu_get32(w, &i->operand[0]);
    w->s[EMU_M0] = (w->s[EMU_M0] & ~(uint32_t)INDEX_BITS) | (index & INDEX_BITS);
    w->s_defined[EMU_M0] |= INDEX_BITS;
    return true;
}

const struct emu_insn *emu_run_set_gpr_idx_on(struct emu_wave *w, const struct emu_insn *i) {
    if (!set_index(w, i)) return NULL;
    set_mode(w, i->immediate);
    for (i++;; i++) {
        if (i->opcode == NULL) return i->run(w, i);
        emu_run *const run = i->opcode->run;
        if (run == emu_run_set_gpr_idx_off) return i + 1;
        if (run == emu_run_set_gpr_idx_mode) {
            set_mode(w, i->immediate);
        } else if (run == emu_run_set_gpr_idx_idx) {
            if (!set_index(w, i)) return NULL;
        } else if (is_plain_vector(i)) {
            if (!run_shifted(w, i)) return NULL;
        } else if ((i->opcode->flags & EMU_WAITS) == 0) {
            return emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
                             "%s between s_set_gpr_idx_on and _off is not emulated",
                             i->opcode->name);
        }
    }
}

const struct emu_insn *emu_run_set_gpr_idx_off(struct emu_wave *w, const struct emu_insn *i) {
    (void)w;
    return i + 1;
}

static const struct emu_insn *astray(struct emu_wave *w, const struct emu_insn *i) {
    return emu_fault(w, i, EMU_UNIMPLEMENTED, -1, "%s without s_set_gpr_idx_on before it",
                     i->opcode->name);
}

const struct emu_insn *emu_run_set_gpr_idx_idx(struct emu_wave *w, const struct emu_insn *i) {
    return astray(w, i);
}

const struct emu_insn *emu_run_set_gpr_idx_mode(struct emu_wave *w, const struct emu_insn *i) {
    return astray(w, i);
}
