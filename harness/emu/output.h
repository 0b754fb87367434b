/* SPDX-License-Identifier: Apache-2.0 */
/* The output modifiers clamp and omod of conversions and elementary functions. */
#ifndef DSV4_EMU_OUTPUT_H
#define DSV4_EMU_OUTPUT_H

#include "lanes.h"
#include "number.h"

/* omod holds only where MODE flushes output denormals and the IEEE bit is clear; then it also makes -0 a +0. */
static inline bool emu_omod_holds(const struct emu_wave *w, const struct emu_insn *i,
                                  enum emu_mode denormals) {
    return i->omod != 0 && !emu_keeps_outputs(w->mode, denormals) && !(w->mode >> EMU_IEEE & 1);
}

static inline double emu_omod_factor(const struct emu_insn *i) {
    return i->omod == 1 ? 2.0 : i->omod == 2 ? 4.0 : 0.5;
}

/* Doubling overflows to the largest number where MODE rounds that way. Halving to a denormal is flushed: no rounding. */
static inline uint32_t emu_scaled32(uint32_t x, float factor, struct emu_rounding r) {
    const uint32_t y = emu_bits(emu_float(x) * factor), size = x & 0x7fffffffu;
    const bool overflow = (y & 0x7fffffffu) == 0x7f800000u && size < 0x7f800000u;
    if (size > 0x7f800000u) return x;
    return overflow && emu_overflow_stays_finite(r, x >> 31) != 0 ? y - 1 : y;
}

static inline uint64_t emu_scaled64(uint64_t x, double factor, struct emu_rounding r) {
    const uint64_t sign = UINT64_C(1) << 63, infinity = UINT64_C(0x7ff) << 52;
    const uint64_t y = emu_bits64(emu_double(x) * factor), size = x & ~sign;
    const bool overflow = (y & ~sign) == infinity && size < infinity;
    if (size > infinity) return x;
    return overflow && emu_overflow_stays_finite(r, (uint32_t)(x >> 63)) != 0 ? y - 1 : y;
}

static inline void emu_output32(const struct emu_wave *w, const struct emu_insn *i,
                                uint32_t *values) {
    if (emu_omod_holds(w, i, EMU_DENORM_32)) {
        const float factor = (float)emu_omod_factor(i);
        const struct emu_rounding r = emu_rounding(w->mode, EMU_ROUND_32);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            const uint32_t y = emu_flush32(emu_scaled32(values[lane], factor, r), false);
            values[lane] = y == 0x80000000u ? 0 : y;
        }
    }
    if (!i->clamp) return;
    const uint32_t nan_stays = w->mode >> EMU_DX10_CLAMP & 1 ? 0 : ~0u;
    EMU_EACH_LANE {
        const uint32_t x = values[lane];
        const uint32_t one = x > 0x3f800000u ? 0x3f800000u : x;
        const uint32_t limited = x >> 31 ? 0 : one;
        values[lane] = (x & 0x7fffffffu) > 0x7f800000u ? x & nan_stays : limited;
    }
}

static inline void emu_output16(const struct emu_wave *w, const struct emu_insn *i,
                                uint32_t *values) {
    if (emu_omod_holds(w, i, EMU_DENORM_16_64)) {
        const float factor = (float)emu_omod_factor(i);
        const bool saturate = w->mode >> EMU_FP16_OVFL & 1;
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            const uint32_t x = values[lane], f = emu_f16_to_f32(x, true);
            const uint32_t y =
                emu_f32_to_f16(emu_bits(emu_float(f) * factor),
                               emu_rounding(w->mode, EMU_ROUND_16_64), false, saturate);
            values[lane] = (x & 0x7fffu) > 0x7c00u ? x : y == 0x8000u ? 0 : y;
        }
    }
    if (!i->clamp) return;
    const uint32_t nan_stays = w->mode >> EMU_DX10_CLAMP & 1 ? 0 : ~0u;
    EMU_EACH_LANE {
        const uint32_t x = values[lane];
        const uint32_t one = x > 0x3c00u ? 0x3c00u : x;
        const uint32_t limited = x & 0x8000u ? 0 : one;
        values[lane] = (x & 0x7fffu) > 0x7c00u ? x & nan_stays : limited;
    }
}

static inline void emu_output64(const struct emu_wave *w, const struct emu_insn *i,
                                uint64_t *values) {
    const uint64_t sign = UINT64_C(1) << 63, infinity = UINT64_C(0x7ff) << 52;
    if (emu_omod_holds(w, i, EMU_DENORM_16_64))
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            const uint64_t y = emu_scaled64(values[lane], emu_omod_factor(i),
                                            emu_rounding(w->mode, EMU_ROUND_16_64));
            const uint64_t flushed = emu_flush64(y, false);
            values[lane] = flushed == sign ? 0 : flushed;
        }
    if (!i->clamp) return;
    const uint64_t one = UINT64_C(1023) << 52;
    const bool nan_stays = !(w->mode >> EMU_DX10_CLAMP & 1);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const uint64_t x = values[lane];
        const uint64_t limited = x >> 63 ? 0 : x > one ? one : x;
        values[lane] = (x & ~sign) > infinity ? (nan_stays ? x : 0) : limited;
    }
}

#endif
