/* SPDX-License-Identifier: Apache-2.0 */
/* Minimum, maximum and median of floats as bits, for each width. -0 is less than +0. */
#ifndef DSV4_EMU_CHOOSE_H
#define DSV4_EMU_CHOOSE_H

#include "ieee.h"

static inline float emu_value16(uint32_t x) { return emu_float(emu_f16_to_f32(x, true)); }

/*
 * A number wins over a quiet NaN. With MODE's IEEE bit a signalling NaN comes out quiet. Equal values have equal bits
 * unless both are zero, whence | and &.
 */
#define EMU_CHOOSE(width, type, value, quiet)                                                      \
    static inline type emu_minimum##width(type a, type b, bool ieee) {                             \
        const type smaller = value(a) < value(b) ? a : value(a) == value(b) ? a | b : b;           \
        const type number = emu_is_nan##width(b) && !emu_is_nan##width(a) ? a : smaller;           \
        const type other = ieee && emu_is_signalling##width(b) ? b | quiet : number;               \
        return ieee && emu_is_signalling##width(a) ? a | quiet : other;                            \
    }                                                                                              \
    static inline type emu_maximum##width(type a, type b, bool ieee) {                             \
        const type larger = value(a) > value(b) ? a : value(a) == value(b) ? a & b : b;            \
        const type number = emu_is_nan##width(b) && !emu_is_nan##width(a) ? a : larger;            \
        const type other = ieee && emu_is_signalling##width(b) ? b | quiet : number;               \
        return ieee && emu_is_signalling##width(a) ? a | quiet : other;                            \
    }                                                                                              \
    static inline type emu_median##width(type a, type b, type c, bool ieee) {                      \
        const type least = emu_minimum##width(emu_minimum##width(a, b, ieee), c, ieee);            \
        const type most = emu_maximum##width(emu_maximum##width(a, b, ieee), c, ieee);             \
        const type without_a = emu_maximum##width(b, c, ieee);                                     \
        const type without_b = emu_maximum##width(a, c, ieee);                                     \
        const type without_c = emu_maximum##width(a, b, ieee);                                     \
        const type middle = value(most) == value(a)   ? without_a                                  \
                            : value(most) == value(b) ? without_b                                  \
                                                      : without_c;                                 \
        return emu_is_nan##width(a) || emu_is_nan##width(b) || emu_is_nan##width(c) ? least        \
                                                                                    : middle;      \
    }

EMU_CHOOSE(16, uint32_t, emu_value16, 0x200u)
EMU_CHOOSE(32, uint32_t, emu_float, 0x400000u)
EMU_CHOOSE(64, uint64_t, emu_double, UINT64_C(0x8000000000000))

#endif
