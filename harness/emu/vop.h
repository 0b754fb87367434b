/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of vector instructions share. Each has a list, NAME.def, with one line per mnemonic; the list is read
 * twice: once to make the functions, once to make the table.
 */
#ifndef DSV4_EMU_VOP_H
#define DSV4_EMU_VOP_H

#include "lanes.h"
#include "wrap.h"

#define EMU_ROW(name, destinations, flags, ...)                                                    \
    {#name, name, {__VA_ARGS__}, destinations, EMU_VALU | (flags)},

/* 16 and 8 bits of a word, signed. */
static inline int32_t emu_signed16(uint32_t x) { return (int16_t)(uint16_t)x; }
static inline int32_t emu_signed24(uint32_t x) { return (int32_t)(x << 8) >> 8; }

/* The bit of every lane in a mask of 64, as words of 0 and 1. */
static inline void emu_mask_bits(uint32_t *bits, uint64_t mask) {
    const uint32_t low = (uint32_t)mask, high = (uint32_t)(mask >> 32);
    _Pragma("omp simd") for (unsigned lane = 0; lane < 32; lane++) {
        bits[lane] = low >> lane & 1;
        bits[lane + 32] = high >> lane & 1;
    }
}

/* The mask of lanes whose word has its lowest bit set. */
static inline uint64_t emu_pack_bits(const uint32_t *bits) {
    uint32_t low = 0, high = 0;
    _Pragma("omp simd reduction(| : low, high)") for (unsigned lane = 0; lane < 32; lane++) {
        low |= (bits[lane] & 1) << lane;
        high |= (bits[lane + 32] & 1) << lane;
    }
    return (uint64_t)high << 32 | low;
}

/* A source that is a mask of lanes. */
static inline uint64_t emu_mask_source(const struct emu_wave *w, const struct emu_operand *o) {
    return emu_scalar(w, o);
}

/* A 64-bit source as its two words, with neg and abs of a double: joined lane by lane in the loop that uses it. */
struct emu_wide {
    const uint32_t *low, *high;
    uint32_t keep, flip; /* of the high word */
};

static inline struct emu_wide emu_wide_source(struct emu_wave *w, const struct emu_operand *o,
                                              uint32_t (*space)[EMU_LANES]) {
    return (struct emu_wide){.low = emu_source_word(w, o, 0, space[0]),
                             .high = emu_source_word(w, o, 1, space[1]),
                             .keep = o->abs ? 0x7fffffff : ~0u,
                             .flip = o->neg ? 0x80000000 : 0};
}

static inline uint64_t emu_wide_value(struct emu_wide s, unsigned lane) {
    return (uint64_t)((s.high[lane] & s.keep) ^ s.flip) << 32 | s.low[lane];
}

/* Stores a mask of lanes, bits of lanes that do not execute cleared, in a pair of scalar registers. */
static inline void emu_store_mask(struct emu_wave *w, const struct emu_operand *o, uint64_t mask) {
    emu_write_s64(w, o->reg, mask & emu_exec(w));
}

/*
 * Stores the 16-bit results in the low bits of `values` where op_sel says: high half for bit `bit`, else low half; the
 * other half keeps its value.
 */
static inline void emu_store16(struct emu_wave *w, const struct emu_insn *i, unsigned bit,
                               const uint32_t *values) {
    const uint32_t *const mask = emu_lane_mask(w);
    uint32_t *const to = w->v[i->operand[0].reg];
    const uint32_t shift = i->op_sel >> bit & 1 ? 16 : 0, half = 0xffffu << shift;
    EMU_EACH_LANE {
        const uint32_t m = mask[lane] & half;
        to[lane] = (values[lane] << shift & m) | (to[lane] & ~m);
    }
}

/* A 16-bit source in the low half of a word: op_sel's bit chooses the half. neg and abs are not done here. */
static inline const uint32_t *emu_source16(struct emu_wave *w, const struct emu_insn *i,
                                           unsigned source, uint32_t *space) {
    const uint32_t *const words = emu_source_word(w, &i->operand[1 + source], 0, space);
    const uint32_t shift = i->op_sel >> source & 1 ? 16 : 0;
    EMU_EACH_LANE space[lane] = words[lane] >> shift & 0xffff;
    return space;
}

#endif
