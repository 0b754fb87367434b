/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands as 64 lanes. A handler of a vector instruction fetches its sources as arrays of 64 words, computes 64
 * results, and stores those of the lanes that execute. Loops over lanes are plain C under `omp simd`: the compiler
 * turns each into four 512-bit or eight 256-bit operations.
 */
#ifndef DSV4_EMU_LANES_H
#define DSV4_EMU_LANES_H

#include "wave.h"

#define EMU_EACH_LANE _Pragma("omp simd") for (unsigned lane = 0; lane < EMU_LANES; lane++)

/* A scalar source: registers, constants, scc and the read-only ones. */
uint64_t emu_scalar(const struct emu_wave *w, const struct emu_operand *o);

static inline void emu_broadcast(uint32_t *lanes, uint32_t value) {
    EMU_EACH_LANE lanes[lane] = value;
}

/*
 * Word `word` (0 low) of a source in all lanes, without modifiers: the register itself where it is one, else made in
 * `space`. Inactive lanes hold whatever they hold.
 */
static inline const uint32_t *emu_source_word(struct emu_wave *w, const struct emu_operand *o,
                                              unsigned word, uint32_t *space) {
    if (o->kind == EMU_VGPR) return w->v[o->reg + word];
    if (o->kind == EMU_CONSTANT || o->kind == EMU_TEMPORARY) return o->lanes[word];
    emu_broadcast(space,
                  o->registers == 1 && word == 1 ? 0 : (uint32_t)(emu_scalar(w, o) >> (32 * word)));
    return space;
}

/* A 32-bit source with neg and abs of a float applied. */
static inline const uint32_t *emu_source32(struct emu_wave *w, const struct emu_operand *o,
                                           uint32_t *space) {
    const uint32_t *const lanes = emu_source_word(w, o, 0, space);
    if (!(o->neg | o->abs)) return lanes;
    const uint32_t sign = o->type == EMU_F16 || o->type == EMU_BF16 ? 0x8000u : 0x80000000u;
    const uint32_t keep = o->abs ? ~sign : ~0u, flip = o->neg ? sign : 0;
    EMU_EACH_LANE space[lane] = (lanes[lane] & keep) ^ flip;
    return space;
}

/* A 64-bit source with neg and abs of a float applied. */
static inline void emu_source64(struct emu_wave *w, const struct emu_operand *o, uint64_t *values) {
    uint32_t space[2][EMU_LANES];
    const uint32_t *const low = emu_source_word(w, o, 0, space[0]);
    const uint32_t *const high = emu_source_word(w, o, 1, space[1]);
    const uint64_t sign = UINT64_C(1) << 63;
    const uint64_t keep = o->abs ? ~sign : ~UINT64_C(0), flip = o->neg ? sign : 0;
    EMU_EACH_LANE values[lane] = (((uint64_t)high[lane] << 32 | low[lane]) & keep) ^ flip;
}

/* Stores 32-bit results in register reg of the lanes that execute. */
static inline void emu_store32(struct emu_wave *w, unsigned reg, const uint32_t *values) {
    const uint32_t *const mask = emu_lane_mask(w);
    uint32_t *const to = w->v[reg];
    EMU_EACH_LANE to[lane] = (values[lane] & mask[lane]) | (to[lane] & ~mask[lane]);
}

static inline void emu_store64(struct emu_wave *w, unsigned reg, const uint64_t *values) {
    const uint32_t *const mask = emu_lane_mask(w);
    uint32_t *const low = w->v[reg], *const high = w->v[reg + 1];
    EMU_EACH_LANE {
        low[lane] = ((uint32_t)values[lane] & mask[lane]) | (low[lane] & ~mask[lane]);
        high[lane] = ((uint32_t)(values[lane] >> 32) & mask[lane]) | (high[lane] & ~mask[lane]);
    }
}

#endif
