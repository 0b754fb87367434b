/* SPDX-License-Identifier: Apache-2.0 */
/* Minimum, maximum and median of floats as bits, for each width, in integer arithmetic. -0 is less than +0. */
#ifndef DSV4_EMU_CHOOSE_H
#define DSV4_EMU_CHOOSE_H

#include "ieee.h"

static inline float emu_value16(uint32_t x) { return emu_float(emu_f16_to_f32(x, true)); }

/* Signed integers in the order of the numbers. */
static inline int32_t emu_order16(uint32_t x) {
    return (int32_t)(x & 0x8000 ? 0 - (x & 0x7fff) - 1 : x & 0x7fff);
}
static inline int32_t emu_order32(uint32_t x) { return (int32_t)(x ^ (0 - (x >> 31)) >> 1); }
static inline int64_t emu_order64(uint64_t x) { return (int64_t)(x ^ (0 - (x >> 63)) >> 1); }

/*
 * A number wins over a quiet NaN. With MODE's IEEE bit a signalling NaN comes out quiet, the first one first. The median
 * is the greatest of the two others, the greatest being taken away; with a NaN it is the minimum.
 */
#define EMU_CHOOSE(width, type, magnitude, quiet)                                                  \
    static inline type emu_number##width(type a, type b, type chosen, bool ieee) {                 \
        const type first = emu_is_nan##width(b) ? a : chosen;                                      \
        const type number = emu_is_nan##width(a) ? b : first;                                      \
        const type other = (ieee & emu_is_signalling##width(b)) ? b | (quiet) : number;            \
        return (ieee & emu_is_signalling##width(a)) ? a | (quiet) : other;                         \
    }                                                                                              \
    static inline type emu_lower##width(type a, type b) {                                          \
        return emu_order##width(a) < emu_order##width(b) ? a : b;                                  \
    }                                                                                              \
    static inline type emu_upper##width(type a, type b) {                                          \
        return emu_order##width(a) > emu_order##width(b) ? a : b;                                  \
    }                                                                                              \
    static inline type emu_differs##width(type a, type b) {                                        \
        const type both = (a | b) & (magnitude);                                                   \
        return both == 0 ? 0 : a ^ b;                                                              \
    }                                                                                              \
    static inline type emu_middle##width(type a, type b, type c) {                                 \
        const type without_a = emu_upper##width(b, c), without_b = emu_upper##width(a, c);         \
        const type without_c = emu_upper##width(a, b), most = emu_upper##width(without_c, c);      \
        const type later = emu_differs##width(most, b) ? without_c : without_b;                    \
        return emu_differs##width(most, a) ? later : without_a;                                    \
    }                                                                                              \
    static inline type emu_minimum##width(type a, type b, bool ieee) {                             \
        return emu_number##width(a, b, emu_lower##width(a, b), ieee);                              \
    }                                                                                              \
    static inline type emu_maximum##width(type a, type b, bool ieee) {                             \
        return emu_number##width(a, b, emu_upper##width(a, b), ieee);                              \
    }                                                                                              \
    static inline type emu_median##width(type a, type b, type c, bool ieee) {                      \
        const bool nan = emu_is_nan##width(a) | emu_is_nan##width(b) | emu_is_nan##width(c);       \
        const type least = emu_minimum##width(emu_minimum##width(a, b, ieee), c, ieee);            \
        return nan ? least : emu_middle##width(a, b, c);                                           \
    }

EMU_CHOOSE(16, uint32_t, 0x7fffu, 0x200u)
EMU_CHOOSE(32, uint32_t, 0x7fffffffu, 0x400000u)
EMU_CHOOSE(64, uint64_t, UINT64_C(0x7fffffffffffffff), UINT64_C(0x8000000000000))

/* The median of numbers that are not all zeros or less. */
static inline uint32_t emu_between32(uint32_t a, uint32_t b, uint32_t c) {
    return emu_upper32(emu_lower32(a, b), emu_lower32(emu_upper32(a, b), c));
}

#endif
