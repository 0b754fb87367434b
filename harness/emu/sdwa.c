/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SDWA: sources are bytes or halves of their registers, extended to 32 bits, and the result goes to a byte or a half of
 * the destination, whose other bits become 0, copies of its sign, or stay.
 */
#include "lanes.h"
#include "wrap.h"

/* Selected part of a word: position and width. select: 0..3 BYTE_n, 4, 5 WORD_n, 6 DWORD. */
struct part {
    uint32_t shift, width;
};

static struct part part(unsigned select) {
    if (select < 4) return (struct part){8 * select, 8};
    if (select < 6) return (struct part){16 * (select - 4), 16};
    return (struct part){0, 32};
}

static void extract(uint32_t *values, struct part from, bool sign) {
    const uint32_t left = 32 - from.width - from.shift, right = 32 - from.width;
    if (sign)
        EMU_EACH_LANE values[lane] = (uint32_t)((int32_t)(values[lane] << left) >> right);
    else
        EMU_EACH_LANE values[lane] = values[lane] << left >> right;
}

/* Puts results, which stand in the register, in their part of it. */
static void merge(struct emu_wave *w, const struct emu_insn *i, const uint32_t *old) {
    const struct part to = part(i->dst_sel);
    const uint32_t *const mask = emu_lane_mask(w);
    uint32_t *const lanes = w->v[i->operand[0].reg];
    const uint32_t field = to.width == 32 ? ~0u : ((1u << to.width) - 1) << to.shift;
    const uint32_t keep = i->dst_unused == 2 ? ~field : 0;
    const uint32_t above = i->dst_unused == 1 ? ~(field | (field - 1)) : 0;
    const uint32_t sign = 1u << (to.width - 1);
    EMU_EACH_LANE {
        const uint32_t x = lanes[lane];
        const uint32_t extended = x & sign ? above : 0;
        const uint32_t result = (x << to.shift & field) | (old[lane] & keep) | extended;
        lanes[lane] = (result & mask[lane]) | (old[lane] & ~mask[lane]);
    }
}

const struct emu_insn *emu_run_sdwa(struct emu_wave *w, const struct emu_insn *i) {
    const unsigned first = i->opcode->n_destinations;
    uint32_t values[2][EMU_LANES], old[EMU_LANES];
    struct emu_insn plain = *i;
    for (unsigned n = first; n < i->n_operands && n < first + 2; n++) {
        struct emu_operand *const o = &plain.operand[n];
        if (o->type == EMU_MASK) continue;
        const uint32_t *const words = emu_source_word(w, o, 0, values[n - first]);
        EMU_EACH_LANE values[n - first][lane] = words[lane];
        extract(values[n - first], part(o->select), o->sext);
        o->kind = EMU_TEMPORARY;
        o->lanes = (const uint32_t(*)[EMU_LANES])values[n - first];
    }
    const bool vector = i->operand[0].kind == EMU_VGPR;
    if (vector) EMU_EACH_LANE old[lane] = w->v[i->operand[0].reg][lane];
    if (emu_run_mode(w, &plain) == NULL) return NULL;
    if (vector && i->dst_sel != 6) merge(w, i, old);
    return i + 1;
}
