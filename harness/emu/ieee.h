/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floats as bits, for loops over lanes. Conversions round as the host's rounding mode says.
 */
#ifndef DSV4_EMU_IEEE_H
#define DSV4_EMU_IEEE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define EMU_NAN16 0x7e00u
#define EMU_NAN32 0x7fc00000u
#define EMU_NAN64 UINT64_C(0x7ff8000000000000)

static inline float emu_float(uint32_t bits) {
    const union {
        uint32_t bits;
        float value;
    } x = {.bits = bits};
    return x.value;
}

static inline uint32_t emu_bits32(float value) {
    const union {
        float value;
        uint32_t bits;
    } x = {.value = value};
    return x.bits;
}

static inline double emu_double(uint64_t bits) {
    const union {
        uint64_t bits;
        double value;
    } x = {.bits = bits};
    return x.value;
}

static inline uint64_t emu_bits64(double value) {
    const union {
        double value;
        uint64_t bits;
    } x = {.value = value};
    return x.bits;
}

static inline bool emu_is_nan16(uint32_t x) { return (x & 0x7fff) > 0x7c00; }
static inline bool emu_is_nan32(uint32_t x) { return (x & 0x7fffffff) > 0x7f800000; }
static inline bool emu_is_nan64(uint64_t x) {
    return (x & UINT64_C(0x7fffffffffffffff)) > UINT64_C(0x7ff0000000000000);
}

static inline bool emu_is_signalling16(uint32_t x) { return emu_is_nan16(x) && !(x & 0x200); }
static inline bool emu_is_signalling32(uint32_t x) { return emu_is_nan32(x) && !(x & 0x400000); }
static inline bool emu_is_signalling64(uint64_t x) {
    return emu_is_nan64(x) && !(x & UINT64_C(0x8000000000000));
}

static inline bool emu_is_denormal32(uint32_t x) { return (x & 0x7fffffff) - 1 < 0x7fffff; }
static inline bool emu_is_denormal64(uint64_t x) {
    return (x & UINT64_C(0x7fffffffffffffff)) - 1 < UINT64_C(0xfffffffffffff);
}

/* The f16 in the low half of x. Exact; a NaN keeps its payload and signal. */
static inline float emu_widen16(uint32_t x) {
    const uint32_t magnitude = x & 0x7fff, sign = (x & 0x8000) << 16;
    const uint32_t normal = (magnitude << 13) + (112u << 23);
    const uint32_t special = magnitude << 13 | 0x7f800000;
    const uint32_t denormal = emu_bits32((float)(int32_t)magnitude * 0x1p-24f);
    const uint32_t value = magnitude >= 0x7c00 ? special : magnitude < 0x400 ? denormal : normal;
    return emu_float(value | sign);
}

/*
 * To f16. Adding and subtracting a power of two rounds at its last place; what lies beyond the largest finite number
 * rounds as if the format had one more exponent, to infinity or back. NaN: quiet, the payload's top.
 */
static inline uint32_t emu_narrow16(float x) {
    const uint32_t bits = emu_bits32(x), sign = bits >> 16 & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    const uint32_t limited = magnitude > 0x477fffff ? 0x477fffff : magnitude; /* below 65536 */
    const uint32_t exponent = limited >> 23 < 113 ? 113 : limited >> 23;
    const float step = emu_float((exponent + 13) << 23 | (bits & 0x80000000));
    const float rounded = (emu_float(limited | (bits & 0x80000000)) + step) - step;
    const uint32_t r = emu_bits32(rounded) & 0x7fffffff;
    const uint32_t denormal = (uint32_t)(int32_t)(emu_float(r) * 0x1p24f);
    const uint32_t finite = r < 0x38800000 ? denormal : (r >> 13) - (112u << 10);
    const uint32_t nan = 0x7e00 | (magnitude >> 13 & 0x1ff);
    return sign | (magnitude > 0x7f800000 ? nan : magnitude == 0x7f800000 ? 0x7c00 : finite);
}

#endif
