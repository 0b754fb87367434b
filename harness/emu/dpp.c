/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPP: the first source comes from other lanes. A lane whose source lies outside its row or wave, or does not execute,
 * reads 0 with bound_ctrl and does nothing without; lanes of rows and banks that are masked off do nothing either.
 *
 * What row_bcast gives to lanes of the rows before its first target, and the carry of lanes that do nothing, no document
 * says: EMU_UNIMPLEMENTED.
 */
#include <string.h>

#include "lanes.h"
#include "wrap.h"

emu_run *emu_wrap(const struct emu_insn *i) {
    const uint32_t flags = i->opcode->flags;
    if ((i->clamp && !(flags & EMU_CLAMPS)) || (i->omod && !(flags & EMU_OMOD))) return NULL;
    if ((i->op_sel || i->neg_lo || i->neg_hi) && !(flags & (EMU_OP_SEL | EMU_MEMORY))) return NULL;
    if (i->dpp && (i->sdwa || i->operand[i->opcode->n_destinations].kind != EMU_VGPR)) return NULL;
    if (i->dpp) return emu_run_dpp;
    if (i->sdwa) return emu_run_sdwa;
    return flags & EMU_UNDER_MODE ? emu_run_mode : i->opcode->run;
}

enum { NO_LANE = EMU_LANES, UNKNOWN_LANE };

/* The lane that `lane` reads; NO_LANE outside the row or wave. */
static unsigned source_lane(const struct emu_insn *i, unsigned lane) {
    const unsigned row = lane & ~15u, column = lane & 15, n = i->dpp_argument;
    switch (i->dpp) {
    case EMU_QUAD_PERM: return (lane & ~3u) | (n >> 2 * (lane & 3) & 3);
    case EMU_ROW_SHL: return column + n < 16 ? lane + n : NO_LANE;
    case EMU_ROW_SHR: return column >= n ? lane - n : NO_LANE;
    case EMU_ROW_ROR: return row | ((column - n) & 15);
    case EMU_WAVE_SHL: return lane + 1; /* of lane 63: NO_LANE */
    case EMU_WAVE_ROL: return (lane + 1) % EMU_LANES;
    case EMU_WAVE_SHR: return lane > 0 ? lane - 1 : NO_LANE;
    case EMU_WAVE_ROR: return (lane + EMU_LANES - 1) % EMU_LANES;
    case EMU_ROW_MIRROR: return lane ^ 15;
    case EMU_ROW_HALF_MIRROR: return lane ^ 7;
    case EMU_ROW_BCAST15: return row > 0 ? row - 1 : UNKNOWN_LANE;
    case EMU_ROW_BCAST31: return lane >= 32 ? 31 : UNKNOWN_LANE;
    case EMU_ROW_NEWBCAST: return row | n;
    default: return UNKNOWN_LANE;
    }
}

struct lanes {
    uint64_t work;           /* execute, by exec and by DPP */
    uint64_t zero;           /* read 0 */
    uint8_t from[EMU_LANES]; /* for lanes that work and do not read 0 */
    int unknown;             /* a lane that would work on an unknown source, or -1 */
};

static struct lanes plan(const struct emu_wave *w, const struct emu_insn *i) {
    const uint64_t exec = emu_exec(w);
    struct lanes lanes = {.unknown = -1};
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const unsigned from = source_lane(i, lane);
        const bool enabled = i->row_mask >> (lane >> 4) & i->bank_mask >> (lane >> 2 & 3) & 1;
        const bool valid = from < EMU_LANES && (exec >> from & 1);
        if (!(exec >> lane & 1) || !enabled) continue;
        if (from == UNKNOWN_LANE) lanes.unknown = (int)lane;
        if (!valid && !i->bound_ctrl) continue;
        lanes.work |= UINT64_C(1) << lane;
        lanes.zero |= (uint64_t)!valid << lane;
        lanes.from[lane] = (uint8_t)(valid ? from : lane);
    }
    return lanes;
}

/* The lanes whose result has a value, given that the first source is permuted. */
static uint64_t defined_lanes(const struct emu_wave *w, const struct emu_insn *i,
                              const struct lanes *lanes) {
    const unsigned first = i->opcode->n_destinations;
    const uint64_t source = emu_defined_lanes(w, &i->operand[first]);
    uint64_t defined = lanes->zero;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        defined |= (source >> lanes->from[lane] & 1) << lane;
    for (unsigned n = first + 1; n < i->n_operands; n++)
        defined &= emu_defined_lanes(w, &i->operand[n]);
    if (i->opcode->flags & EMU_PARTIAL) defined &= emu_defined_lanes(w, &i->operand[0]);
    return defined;
}

static void define(struct emu_wave *w, const struct emu_insn *i, const struct lanes *lanes,
                   uint64_t defined) {
    const struct emu_operand *const to = &i->operand[0];
    for (unsigned n = 0; n < to->registers; n++) {
        uint64_t *const old = &w->v_defined[to->reg + n];
        *old = (*old & ~lanes->work) | (defined & lanes->work);
    }
    if (i->opcode->n_destinations > 1) emu_define_lanes(w, &i->operand[1], defined);
}

const struct emu_insn *emu_run_dpp(struct emu_wave *w, const struct emu_insn *i) {
    const unsigned first = i->opcode->n_destinations;
    const struct emu_operand *const source = &i->operand[first];
    const struct lanes lanes = plan(w, i);
    if (lanes.unknown >= 0)
        return emu_fault(
            w, i, EMU_UNIMPLEMENTED, lanes.unknown,
            "what row_bcast gives to the rows before its first target is not known: mask "
            "them off with row_mask");
    if (first > 1 && lanes.work != emu_exec(w))
        return emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
                         "the carry of lanes that DPP disables is not emulated");

    uint32_t values[2][EMU_LANES], saved[EMU_LANES];
    for (unsigned word = 0; word < source->registers && word < 2; word++)
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            values[word][lane] =
                lanes.zero >> lane & 1 ? 0 : w->v[source->reg + word][lanes.from[lane]];
    define(w, i, &lanes, defined_lanes(w, i, &lanes));

    struct emu_insn plain = *i;
    plain.operand[first].kind = EMU_TEMPORARY;
    plain.operand[first].lanes = (const uint32_t(*)[EMU_LANES])values;
    memcpy(saved, emu_lane_mask(w), sizeof saved);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        w->lane_mask[lane] = (uint32_t)0 - (uint32_t)(lanes.work >> lane & 1);
    const struct emu_insn *const next = emu_run_mode(w, &plain);
    memcpy(w->lane_mask, saved, sizeof saved);
    return next == NULL ? NULL : i + 1;
}
