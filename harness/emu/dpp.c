/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPP: the first source comes from other lanes. A lane whose source lies outside its row or wave, or does not execute,
 * reads 0 with bound_ctrl and does nothing without; lanes of rows and banks that are masked off do nothing either.
 *
 * What row_bcast gives to lanes of the rows before its first target, and the carry of lanes that do nothing, no document
 * says: EMU_UNIMPLEMENTED.
 */
#include <string.h>

#include "vop.h"

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

#define EACH(result) EMU_EACH_LANE from[lane] = (result)

/* The lane that each lane reads; NO_LANE outside the row or wave. */
static void source_lanes(const struct emu_insn *i, uint32_t *from) {
    const uint32_t n = i->dpp_argument;
    switch (i->dpp) {
    case EMU_QUAD_PERM: EACH((lane & ~3u) | (n >> 2 * (lane & 3) & 3)); break;
    case EMU_ROW_SHL: EACH((lane & 15) + n < 16 ? lane + n : NO_LANE); break;
    case EMU_ROW_SHR: EACH((lane & 15) >= n ? lane - n : NO_LANE); break;
    case EMU_ROW_ROR: EACH((lane & ~15u) | ((lane - n) & 15)); break;
    case EMU_WAVE_SHL: EACH(lane + 1); break; /* of lane 63: NO_LANE */
    case EMU_WAVE_ROL: EACH((lane + 1) % EMU_LANES); break;
    case EMU_WAVE_SHR: EACH(lane > 0 ? lane - 1 : NO_LANE); break;
    case EMU_WAVE_ROR: EACH((lane + EMU_LANES - 1) % EMU_LANES); break;
    case EMU_ROW_MIRROR: EACH(lane ^ 15); break;
    case EMU_ROW_HALF_MIRROR: EACH(lane ^ 7); break;
    case EMU_ROW_BCAST15: EACH(lane > 15 ? (lane & ~15u) - 1 : UNKNOWN_LANE); break;
    case EMU_ROW_BCAST31: EACH(lane > 31 ? 31 : UNKNOWN_LANE); break;
    case EMU_ROW_NEWBCAST: EACH((lane & ~15u) | n); break;
    default: EACH(UNKNOWN_LANE); break;
    }
}

/* Masks of lanes, as words of all ones and zeros. */
struct lanes {
    uint32_t work[EMU_LANES]; /* execute, by exec and by DPP */
    uint32_t read[EMU_LANES]; /* the source is another lane's; else 0 */
    uint32_t from[EMU_LANES]; /* below 64 */
    uint32_t unknown;         /* a lane that executes reads what is not known */
};

static void plan(struct emu_wave *w, const struct emu_insn *i, struct lanes *lanes) {
    const uint32_t *const exec = emu_lane_mask(w);
    const uint32_t rows = i->row_mask, banks = i->bank_mask, always = i->bound_ctrl ? ~0u : 0;
    uint32_t unknown = 0;
    source_lanes(i, lanes->from);
    _Pragma("omp simd reduction(| : unknown)") for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const uint32_t from = lanes->from[lane];
        const uint32_t enabled = 0 - (rows >> (lane >> 4) & banks >> (lane >> 2 & 3) & 1);
        const uint32_t active = exec[lane] & enabled;
        const uint32_t read = from < EMU_LANES ? exec[from & 63] : 0;
        unknown |= from == UNKNOWN_LANE ? active : 0;
        lanes->work[lane] = active & (read | always);
        lanes->read[lane] = read;
        lanes->from[lane] = from & 63;
    }
    lanes->unknown = unknown;
}

/* The lanes whose result has a value, given that the first source is permuted. */
static uint64_t defined_lanes(const struct emu_wave *w, const struct emu_insn *i,
                              const struct lanes *lanes) {
    const unsigned first = i->opcode->n_destinations;
    const uint64_t source = emu_defined_lanes(w, &i->operand[first]);
    uint64_t defined = source;
    for (unsigned lane = 0; source != UINT64_MAX && lane < EMU_LANES; lane++) {
        const uint64_t bit = UINT64_C(1) << lane;
        const bool has = !lanes->read[lane] || (source >> lanes->from[lane] & 1);
        defined = has ? defined | bit : defined & ~bit;
    }
    for (unsigned n = first + 1; n < i->n_operands; n++)
        defined &= emu_defined_lanes(w, &i->operand[n]);
    if (i->opcode->flags & EMU_PARTIAL) defined &= emu_defined_lanes(w, &i->operand[0]);
    return defined;
}

static void define(struct emu_wave *w, const struct emu_insn *i, uint64_t work, uint64_t defined) {
    const struct emu_operand *const to = &i->operand[0];
    for (unsigned n = 0; n < to->registers; n++) {
        uint64_t *const old = &w->v_defined[to->reg + n];
        *old = (*old & ~work) | (defined & work);
    }
    if (i->opcode->n_destinations > 1) emu_define_lanes(w, &i->operand[1], defined);
}

static const struct emu_insn *run_planned(struct emu_wave *w, const struct emu_insn *i,
                                          const struct lanes *lanes) {
    const struct emu_operand *const source = &i->operand[i->opcode->n_destinations];
    uint32_t values[2][EMU_LANES], saved[EMU_LANES];
    for (unsigned word = 0; word < source->registers && word < 2; word++) {
        const uint32_t *const words = w->v[source->reg + word];
        EMU_EACH_LANE values[word][lane] = words[lanes->from[lane]] & lanes->read[lane];
    }
    struct emu_insn plain = *i;
    plain.operand[i->opcode->n_destinations].kind = EMU_TEMPORARY;
    plain.operand[i->opcode->n_destinations].lanes = (const uint32_t(*)[EMU_LANES])values;
    memcpy(saved, w->lane_mask, sizeof saved);
    memcpy(w->lane_mask, lanes->work, sizeof saved);
    const struct emu_insn *const next = emu_run_mode(w, &plain);
    memcpy(w->lane_mask, saved, sizeof saved);
    return next == NULL ? NULL : i + 1;
}

const struct emu_insn *emu_run_dpp(struct emu_wave *w, const struct emu_insn *i) {
    struct lanes lanes;
    plan(w, i, &lanes);
    const uint64_t work = emu_pack_bits(lanes.work);
    if (lanes.unknown)
        return emu_fault(
            w, i, EMU_UNIMPLEMENTED, -1,
            "what row_bcast gives to the rows before its first target is not known: mask "
            "them off with row_mask");
    if (i->opcode->n_destinations > 1 && work != emu_exec(w))
        return emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
                         "the carry of lanes that DPP disables is not emulated");
    define(w, i, work, defined_lanes(w, i, &lanes));
    return run_planned(w, i, &lanes);
}
