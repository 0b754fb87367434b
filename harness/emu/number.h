/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Number formats, one lane at a time and without branches, so that a loop over lanes becomes vector code. Everything is
 * integer arithmetic on bits: no result depends on the host's rounding mode.
 *
 * NaNs: a conversion quiets a NaN and keeps its sign and the top bits of its payload; FP8 and BF8 have one NaN, 0x80,
 * which reads as 0x7fc00000.
 */
#ifndef DSV4_EMU_NUMBER_H
#define DSV4_EMU_NUMBER_H

#include "wave.h"

/* A rounding mode as three masks: all ones in the one that holds, all zero for towards zero. */
struct emu_rounding {
    uint32_t nearest, up, down;
};

static inline struct emu_rounding emu_rounding(uint32_t mode, enum emu_mode field) {
    const uint32_t r = mode >> field & 3;
    return (struct emu_rounding){
        .nearest = r == 0 ? ~0u : 0, .up = r == 1 ? ~0u : 0, .down = r == 2 ? ~0u : 0};
}

#define EMU_ROUND_NEAREST ((struct emu_rounding){.nearest = ~0u})
#define EMU_ROUND_ZERO ((struct emu_rounding){.nearest = 0})

/* Does MODE keep denormals? field: EMU_DENORM_32 or EMU_DENORM_16_64. */
static inline bool emu_keeps_inputs(uint32_t mode, enum emu_mode field) {
    return mode >> field & 1;
}
static inline bool emu_keeps_outputs(uint32_t mode, enum emu_mode field) {
    return mode >> field & 2;
}

/*
 * What is added to a significand before its lowest bits, those of 2 * half - 1, are cut off. odd: the lowest bit that
 * stays; negative: the value's sign bit.
 */
static inline uint32_t emu_round_addend(struct emu_rounding r, uint32_t odd, uint32_t half,
                                        uint32_t negative) {
    const uint32_t sign = 0u - negative;
    const uint32_t away = (r.up & ~sign) | (r.down & sign);
    return (r.nearest & (half - 1 + odd)) | (away & (2 * half - 1));
}

/* The largest finite number instead of infinity? */
static inline uint32_t emu_overflow_stays_finite(struct emu_rounding r, uint32_t negative) {
    const uint32_t sign = 0u - negative;
    return ~(r.nearest | (r.up & ~sign) | (r.down & sign));
}

static inline uint32_t emu_min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }

static inline uint32_t emu_flush32(uint32_t x, bool keep) {
    return x & ((keep | ((x & 0x7f800000u) != 0)) ? ~0u : 0x80000000u);
}
static inline uint64_t emu_flush64(uint64_t x, bool keep) {
    const uint64_t exponent = UINT64_C(0x7ff) << 52;
    return x & ((keep | ((x & exponent) != 0)) ? ~UINT64_C(0) : UINT64_C(1) << 63);
}
static inline uint32_t emu_flush16(uint32_t x, bool keep) {
    return x & ((keep | ((x & 0x7c00u) != 0)) ? ~0u : 0x8000u);
}

static inline uint32_t emu_bits(float x) {
    union {
        float f;
        uint32_t u;
    } b = {.f = x};
    return b.u;
}
static inline float emu_float(uint32_t x) {
    union {
        uint32_t u;
        float f;
    } b = {.u = x};
    return b.f;
}
static inline uint64_t emu_bits64(double x) {
    union {
        double f;
        uint64_t u;
    } b = {.f = x};
    return b.u;
}
static inline double emu_double(uint64_t x) {
    union {
        uint64_t u;
        double f;
    } b = {.u = x};
    return b.f;
}

/*
 * A binary32 magnitude cut to a format of `fraction` bits whose normal numbers begin at the binary32 exponent field
 * `first`: exponent and fraction of the result as one integer, not limited above.
 */
static inline uint32_t emu_narrow32(uint32_t magnitude, uint32_t negative, uint32_t fraction,
                                    uint32_t first, struct emu_rounding r) {
    const uint32_t field = magnitude >> 23;
    const uint32_t exponent = field == 0 ? 1 : field;
    const uint32_t m = (magnitude & 0x7fffffu) | (uint32_t)(field != 0) << 23;
    const uint32_t normal = (uint32_t)(exponent >= first);
    const uint32_t cut = 23 - fraction;
    const uint32_t shift = normal ? cut : emu_min_u32(cut + first - exponent, 25);
    const uint32_t base = normal ? (exponent - first) << fraction : 0;
    const uint32_t addend = emu_round_addend(r, m >> shift & 1, 1u << (shift - 1), negative);
    return base + ((m + addend) >> shift);
}

/* saturate: MODE.FP16_OVFL, which makes finite numbers too large for f16 +-65504 whatever the rounding mode. */
static inline uint32_t emu_f32_to_f16(uint32_t x, struct emu_rounding r, bool keep_denormals,
                                      bool saturate) {
    const uint32_t magnitude = x & 0x7fffffffu, negative = x >> 31, sign = x >> 16 & 0x8000u;
    uint32_t h = emu_narrow32(magnitude, negative, 10, 113, r);
    const bool finite = saturate | (emu_overflow_stays_finite(r, negative) != 0);
    const bool flushed = !keep_denormals & (h < 0x400u);
    const uint32_t limit = finite ? 0x7bffu : 0x7c00u;
    h = h >= 0x7c00u ? limit : h;
    h = flushed ? 0 : h;
    h = magnitude == 0x7f800000u ? 0x7c00u : h;
    h = magnitude > 0x7f800000u ? 0x7e00u | (magnitude >> 13 & 0x1ffu) : h;
    return sign | h;
}

static inline uint32_t emu_f16_to_f32(uint32_t x, bool keep_denormals) {
    const uint32_t magnitude = x & 0x7fffu, sign = (x & 0x8000u) << 16;
    const uint32_t small = emu_bits((float)(int32_t)magnitude * 0x1p-24f);
    const uint32_t high =
        magnitude >= 0x7c00u ? 0x7f800000u | magnitude << 13 : (magnitude << 13) + (112u << 23);
    const uint32_t quiet = magnitude > 0x7c00u ? 0x400000u : 0;
    const uint32_t low = keep_denormals ? small : 0;
    return sign | quiet | (magnitude < 0x400u ? low : high);
}

/* FP8 is E4M3FNUZ, BF8 is E5M2FNUZ: biases 8 and 16, no infinity, no negative zero. */
enum { EMU_FP8_FRACTION = 3, EMU_FP8_FIRST = 120, EMU_BF8_FRACTION = 2, EMU_BF8_FIRST = 112 };

static inline uint32_t emu_fp8_to_f32(uint32_t x) {
    const uint32_t magnitude = x & 0x7fu, sign = (x & 0x80u) << 24;
    const uint32_t small = emu_bits((float)(int32_t)magnitude * 0x1p-10f);
    const uint32_t value = magnitude < 8 ? small : (magnitude << 20) + (119u << 23);
    return (x & 0xffu) == 0x80u ? 0x7fc00000u : sign | value;
}

static inline uint32_t emu_bf8_to_f32(uint32_t x) {
    const uint32_t magnitude = x & 0x7fu, sign = (x & 0x80u) << 24;
    const uint32_t small = emu_bits((float)(int32_t)magnitude * 0x1p-17f);
    const uint32_t value = magnitude < 4 ? small : (magnitude << 21) + (111u << 23);
    return (x & 0xffu) == 0x80u ? 0x7fc00000u : sign | value;
}

/* Sign, overflow and NaN of a narrowed magnitude. Infinity is an overflow that saturation leaves alone: NaN. */
static inline uint32_t emu_finish_8bit(uint32_t x, uint32_t code, bool saturate) {
    const uint32_t magnitude = x & 0x7fffffffu, sign = x >> 24 & 0x80u;
    const uint32_t finite = code == 0 ? 0 : sign | code;
    const uint32_t overflow = saturate ? sign | 0x7fu : 0x80u;
    const uint32_t result = code > 0x7fu ? overflow : finite;
    return magnitude >= 0x7f800000u ? 0x80u : result;
}

static inline uint32_t emu_f32_to_8bit(uint32_t x, uint32_t fraction, uint32_t first,
                                       bool saturate) {
    const uint32_t code =
        emu_narrow32(x & 0x7fffffffu, x >> 31, fraction, first, EMU_ROUND_NEAREST);
    return emu_finish_8bit(x, code, saturate);
}

/*
 * Stochastic rounding: the significand, aligned to the result's last place with bits below 2^-23 of it cut off, plus
 * random bits (the top 20 for FP8, 21 for BF8), truncated.
 */
static inline uint32_t emu_f32_to_8bit_random(uint32_t x, uint32_t random, uint32_t fraction,
                                              uint32_t first, bool saturate) {
    const uint32_t magnitude = x & 0x7fffffffu, field = magnitude >> 23;
    const uint32_t exponent = field == 0 ? 1 : field;
    const uint32_t m = (magnitude & 0x7fffffu) | (uint32_t)(field != 0) << 23;
    const uint32_t normal = (uint32_t)(exponent >= first);
    const uint32_t align = normal ? 0 : emu_min_u32(first - exponent, 25);
    const uint32_t base = normal ? (exponent - first) << fraction : 0;
    const uint32_t sum = (m >> align) + (random >> (9 + fraction));
    return emu_finish_8bit(x, base + (sum >> (23 - fraction)), saturate);
}

/* fields: denormals kept of the double read and of the float made. */
static inline uint32_t emu_f64_to_f32(uint64_t x, struct emu_rounding r, bool keep_inputs,
                                      bool keep_outputs) {
    const uint64_t magnitude = emu_flush64(x & (~UINT64_C(0) >> 1), keep_inputs);
    const uint32_t negative = (uint32_t)(x >> 63), sign = negative << 31;
    const uint32_t field = (uint32_t)(magnitude >> 52), exponent = field == 0 ? 1 : field;
    const uint64_t m = (magnitude & (~UINT64_C(0) >> 12)) | (uint64_t)(uint32_t)(field != 0) << 52;
    const uint32_t normal = (uint32_t)(exponent >= 897);
    const uint32_t shift = normal ? 29 : emu_min_u32(29 + 897 - exponent, 54);
    const uint32_t base = normal ? (exponent - 897) << 23 : 0;
    const uint64_t sign_mask = UINT64_C(0) - negative, half = UINT64_C(1) << (shift - 1);
    const uint64_t nearest = UINT64_C(0) - (r.nearest & 1), up = UINT64_C(0) - (r.up & 1),
                   down = UINT64_C(0) - (r.down & 1);
    const uint64_t away = (up & ~sign_mask) | (down & sign_mask);
    const uint64_t addend = (nearest & (half - 1 + (m >> shift & 1))) | (away & (2 * half - 1));
    const uint32_t rounded = (uint32_t)((m + addend) >> shift);
    const uint32_t limit = emu_overflow_stays_finite(r, negative) != 0 ? 0x7f7fffffu : 0x7f800000u;
    /* A base beyond the format would wrap around: exponents above 1150 overflow whatever the rest. */
    const bool overflow = (exponent > 1150) | (base + rounded >= 0x7f800000u);
    uint32_t f = overflow ? limit : base + rounded;
    const bool flushed = !keep_outputs & (f < 0x800000u);
    f = flushed ? 0 : f;
    f = magnitude == UINT64_C(0x7ff) << 52 ? 0x7f800000u : f;
    f = magnitude > UINT64_C(0x7ff) << 52 ? 0x7fc00000u | ((uint32_t)(magnitude >> 29) & 0x3fffffu)
                                          : f;
    return sign | f;
}

static inline uint64_t emu_f32_to_f64(uint32_t x, bool keep_denormals) {
    const uint32_t magnitude = emu_flush32(x & 0x7fffffffu, keep_denormals);
    const uint64_t sign = (uint64_t)(x >> 31) << 63;
    const uint64_t small = emu_bits64((double)(int32_t)magnitude * 0x1p-149);
    const uint64_t normal = ((uint64_t)magnitude << 29) + (UINT64_C(896) << 52);
    const uint64_t special = UINT64_C(0x7ff) << 52 | (uint64_t)(magnitude & 0x7fffffu) << 29 |
                             (uint64_t)(magnitude > 0x7f800000u) << 51;
    const uint64_t finite = magnitude < 0x800000u ? small : normal;
    return sign | (magnitude >= 0x7f800000u ? special : finite);
}

#endif
