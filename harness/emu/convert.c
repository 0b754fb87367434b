/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions between number formats.
 *
 * To integers: truncation (or the rounding in the name), saturation, NaN gives 0; a result is never affected by MODE's
 * rounding. rpi is floor(x + 0.5) with the sum exact. Integers to f32: MODE.ROUND_32; from f64 to f32, and to f16:
 * ROUND_16_64. Denormals: MODE's bits for the format that is read, and for the one that is made. Results of 16 bits clear
 * the upper half of their register.
 *
 * FP8 and BF8 are the FNUZ formats. Down: nearest even (or random), neither MODE.ROUND nor denormal bits; MODE.FP16_OVFL
 * saturates finite numbers to the largest one, else they become NaN; infinity becomes NaN in both. The bytes that op_sel
 * does not name are kept. v_cvt_sr_*: random bits from the top of src1; see emu_f32_to_8bit_random.
 *
 * pknorm rounds to nearest even. The rounding of v_cvt_pk_u8_f32 and v_cvt_pkaccum_u8_f32 is not documented: they run where
 * no rounding is needed and are an error elsewhere.
 */
#include "insn.h"
#include "lanes.h"
#include "number.h"
#include "output.h"

/* What a lane function may need to know, fetched once per instruction. */
struct convert_mode {
    struct emu_rounding round32, round16;
    bool in32, out32, in16, out16, saturate;
};

static struct convert_mode convert_mode(const struct emu_wave *w) {
    return (struct convert_mode){
        .round32 = emu_rounding(w->mode, EMU_ROUND_32),
        .round16 = emu_rounding(w->mode, EMU_ROUND_16_64),
        .in32 = emu_keeps_inputs(w->mode, EMU_DENORM_32),
        .out32 = emu_keeps_outputs(w->mode, EMU_DENORM_32),
        .in16 = emu_keeps_inputs(w->mode, EMU_DENORM_16_64),
        .out16 = emu_keeps_outputs(w->mode, EMU_DENORM_16_64),
        .saturate = w->mode >> EMU_FP16_OVFL & 1,
    };
}

typedef const struct convert_mode mode_arg;

static void no_output32(const struct emu_wave *w, const struct emu_insn *i, uint32_t *values) {
    (void)w, (void)i, (void)values;
}

/* One handler per line: NAME(mnemonic, what a lane computes of x under mode m, output modifiers). */
#define CONVERT_32_32(name, expression, output)                                                    \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        uint32_t space[EMU_LANES], result[EMU_LANES];                                              \
        const uint32_t *const source = emu_source32(w, &i->operand[1], space);                     \
        mode_arg m = convert_mode(w);                                                              \
        (void)m;                                                                                   \
        EMU_EACH_LANE {                                                                            \
            const uint32_t x = source[lane];                                                       \
            result[lane] = (expression);                                                           \
        }                                                                                          \
        output(w, i, result);                                                                      \
        emu_store32(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

#define CONVERT_64_32(name, expression)                                                            \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        uint32_t space[EMU_LANES];                                                                 \
        uint64_t result[EMU_LANES];                                                                \
        const uint32_t *const source = emu_source32(w, &i->operand[1], space);                     \
        mode_arg m = convert_mode(w);                                                              \
        (void)m;                                                                                   \
        EMU_EACH_LANE {                                                                            \
            const uint32_t x = source[lane];                                                       \
            result[lane] = (expression);                                                           \
        }                                                                                          \
        emu_output64(w, i, result);                                                                \
        emu_store64(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

#define CONVERT_32_64(name, expression, output)                                                    \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        uint64_t source[EMU_LANES];                                                                \
        uint32_t result[EMU_LANES];                                                                \
        emu_source64(w, &i->operand[1], source);                                                   \
        mode_arg m = convert_mode(w);                                                              \
        (void)m;                                                                                   \
        EMU_EACH_LANE {                                                                            \
            const uint64_t x = source[lane];                                                       \
            result[lane] = (expression);                                                           \
        }                                                                                          \
        output(w, i, result);                                                                      \
        emu_store32(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

/* Two sources, one 32-bit result. */
#define CONVERT_PAIR(name, expression)                                                             \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        uint32_t space[2][EMU_LANES], result[EMU_LANES];                                           \
        const uint32_t *const first = emu_source32(w, &i->operand[1], space[0]);                   \
        const uint32_t *const second = emu_source32(w, &i->operand[2], space[1]);                  \
        mode_arg m = convert_mode(w);                                                              \
        (void)m;                                                                                   \
        EMU_EACH_LANE {                                                                            \
            const uint32_t a = first[lane], b = second[lane];                                      \
            result[lane] = (expression);                                                           \
        }                                                                                          \
        emu_store32(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

/* ---- integers ---- */

static inline uint32_t double_to_i32(double x) {
    const double inside = x > -2147483648.0 && x < 2147483648.0 ? x : 0.0;
    const uint32_t value = (uint32_t)(int32_t)inside;
    return x >= 2147483648.0 ? 0x7fffffffu : x <= -2147483648.0 ? 0x80000000u : value;
}

static inline uint32_t double_to_u32(double x) {
    const double inside = x > 0.0 && x < 4294967296.0 ? x : 0.0;
    const uint32_t value = (uint32_t)(int64_t)inside;
    return x >= 4294967296.0 ? 0xffffffffu : value;
}

static inline uint32_t float_to_i32(float x) {
    const float inside = x > -2147483648.0f && x < 2147483648.0f ? x : 0.0f;
    const uint32_t value = (uint32_t)(int32_t)inside;
    return x >= 2147483648.0f ? 0x7fffffffu : x <= -2147483648.0f ? 0x80000000u : value;
}

static inline uint32_t float_to_u32(float x) {
    const float inside = x > 0.0f && x < 4294967296.0f ? x : 0.0f;
    /* Two halves that fit a signed conversion; the difference is exact. */
    const bool large = inside >= 2147483648.0f;
    const uint32_t value = (uint32_t)(int32_t)(large ? inside - 2147483648.0f : inside);
    return x >= 4294967296.0f ? 0xffffffffu : value + (large ? 0x80000000u : 0);
}

static inline uint32_t floor_to_i32(uint32_t x, double addend, bool keep_denormals) {
    return double_to_i32(
        __builtin_floor((double)emu_float(emu_flush32(x, keep_denormals)) + addend));
}

static inline uint32_t i32_to_f32(uint32_t x, struct emu_rounding r) {
    return emu_f64_to_f32(emu_bits64((double)(int32_t)x), r, true, true);
}

static inline uint32_t u32_to_f32(uint32_t x, struct emu_rounding r) {
    return emu_f64_to_f32(emu_bits64((double)(int64_t)x), r, true, true);
}

static inline uint32_t f16_value(uint32_t x, bool keep_denormals) {
    return emu_f16_to_f32(x & 0xffffu, keep_denormals);
}

static inline uint32_t clamp_i32(int32_t x, int32_t low, int32_t high) {
    return (uint32_t)(x < low ? low : x > high ? high : x);
}

static inline uint32_t f32_to_i16(uint32_t x) {
    return clamp_i32((int32_t)float_to_i32(emu_float(x)), -32768, 32767) & 0xffffu;
}

static inline uint32_t f32_to_u16(uint32_t x) {
    return clamp_i32((int32_t)float_to_i32(emu_float(x)), 0, 65535);
}

CONVERT_32_32(cvt_i32_f32, float_to_i32(emu_float(x)), no_output32)
CONVERT_32_32(cvt_u32_f32, float_to_u32(emu_float(x)), no_output32)
CONVERT_32_32(cvt_rpi_i32_f32, floor_to_i32(x, 0.5, m.in32), no_output32)
CONVERT_32_32(cvt_flr_i32_f32, floor_to_i32(x, 0.0, m.in32), no_output32)
CONVERT_32_32(cvt_f32_i32_in_mode, i32_to_f32(x, m.round32), emu_output32)
CONVERT_32_32(cvt_f32_u32_in_mode, u32_to_f32(x, m.round32), emu_output32)
CONVERT_32_32(cvt_f32_i32_nearest, emu_bits((float)(int32_t)x), emu_output32)
CONVERT_32_32(cvt_f32_u32_nearest, emu_bits((float)x), emu_output32)
CONVERT_32_32(cvt_f32_ubyte0, emu_bits((float)(int32_t)(x & 0xff)), emu_output32)
CONVERT_32_32(cvt_f32_ubyte1, emu_bits((float)(int32_t)(x >> 8 & 0xff)), emu_output32)
CONVERT_32_32(cvt_f32_ubyte2, emu_bits((float)(int32_t)(x >> 16 & 0xff)), emu_output32)
CONVERT_32_32(cvt_f32_ubyte3, emu_bits((float)(int32_t)(x >> 24)), emu_output32)
/* The low four bits, signed, in sixteenths. */
CONVERT_32_32(cvt_off_f32_i4,
              emu_bits((float)((int32_t)(x & 0xf) - (int32_t)(x << 1 & 0x10)) * 0x1p-4f),
              emu_output32)
CONVERT_32_64(cvt_i32_f64, double_to_i32(emu_double(x)), no_output32)
CONVERT_32_64(cvt_u32_f64, double_to_u32(emu_double(x)), no_output32)
CONVERT_64_32(cvt_f64_i32, emu_bits64((double)(int32_t)x))
CONVERT_64_32(cvt_f64_u32, emu_bits64((double)(int64_t)x))

/* ---- f16, f32, f64 ---- */

CONVERT_32_32(cvt_f16_f32, emu_f32_to_f16(emu_flush32(x, m.in32), m.round16, m.out16, m.saturate),
              emu_output16)
CONVERT_32_32(cvt_f32_f16, f16_value(x, m.in16), emu_output32)
CONVERT_32_64(cvt_f32_f64_in_mode, emu_f64_to_f32(x, m.round16, m.in16, m.out32), emu_output32)
CONVERT_32_64(cvt_f32_f64_nearest, emu_bits((float)emu_double(x)), emu_output32)
CONVERT_64_32(cvt_f64_f32, emu_f32_to_f64(x, m.in32))
CONVERT_32_32(cvt_f16_u16,
              emu_f32_to_f16(emu_bits((float)(int32_t)(x & 0xffff)), m.round16, true, m.saturate),
              emu_output16)
CONVERT_32_32(cvt_f16_i16, emu_f32_to_f16(emu_bits((float)(int16_t)x), m.round16, true, m.saturate),
              emu_output16)
CONVERT_32_32(cvt_u16_f16, f32_to_u16(f16_value(x, true)), no_output32)
CONVERT_32_32(cvt_i16_f16, f32_to_i16(f16_value(x, true)), no_output32)
/* The host rounds to nearest even, keeps denormals and quiets a NaN as the hardware does. */
static bool as_host(const struct emu_wave *w) {
    const uint32_t rounding = 3u << EMU_ROUND_32 | 3u << EMU_ROUND_16_64,
                   denormals = 3u << EMU_DENORM_32 | 3u << EMU_DENORM_16_64;
    return (w->mode & (rounding | denormals)) == denormals;
}

#define FAST_IF_AS_HOST(name)                                                                      \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        return as_host(w) ? name##_nearest(w, i) : name##_in_mode(w, i);                           \
    }

FAST_IF_AS_HOST(cvt_f32_i32)
FAST_IF_AS_HOST(cvt_f32_u32)
FAST_IF_AS_HOST(cvt_f32_f64)

static const struct emu_insn *cvt_pkrtz_f16_f32(struct emu_wave *w, const struct emu_insn *i) {
    uint32_t space[2][EMU_LANES], result[2][EMU_LANES];
    mode_arg m = convert_mode(w);
    for (unsigned n = 0; n < 2; n++) {
        const uint32_t *const source = emu_source32(w, &i->operand[1 + n], space[n]);
        EMU_EACH_LANE {
            result[n][lane] = emu_f32_to_f16(emu_flush32(source[lane], m.in32), EMU_ROUND_ZERO,
                                             m.out16, m.saturate);
        }
    }
    EMU_EACH_LANE result[0][lane] |= result[1][lane] << 16;
    emu_store32(w, i->operand[0].reg, result[0]);
    return i + 1;
}

/* ---- normalised and packed integers ---- */

/* Nearest even of |x| <= 65535.5, by the integer that a double near 1.5 * 2^52 holds; needs no rounding mode: exact. */
static inline int32_t nearest_even(double x) {
    const double down = __builtin_floor(x), rest = x - down;
    const int32_t low = (int32_t)down;
    return low + (int32_t)((rest > 0.5) | ((rest == 0.5) & (low & 1)));
}

static inline uint32_t norm(uint32_t x, float low, double scale) {
    const float f = emu_float(x);
    const float limited = f > 1.0f ? 1.0f : f < low ? low : f;
    const float number = f != f ? 0.0f : limited;
    return (uint32_t)nearest_even((double)number * scale) & 0xffffu;
}

static inline uint32_t snorm(uint32_t x) { return norm(x, -1.0f, 32767.0); }
static inline uint32_t unorm(uint32_t x) { return norm(x, 0.0f, 65535.0); }

CONVERT_32_32(cvt_norm_i16_f16, snorm(f16_value(x, m.in16)), no_output32)
CONVERT_32_32(cvt_norm_u16_f16, unorm(f16_value(x, m.in16)), no_output32)
CONVERT_PAIR(cvt_pknorm_i16_f32, snorm(a) | snorm(b) << 16)
CONVERT_PAIR(cvt_pknorm_u16_f32, unorm(a) | unorm(b) << 16)
/* op_sel names the half of each source. */
static inline uint32_t chosen_half(const struct emu_insn *i, unsigned source, uint32_t word) {
    const struct emu_operand *const o = &i->operand[1 + source];
    const uint32_t half = word >> (i->op_sel >> source & 1 ? 16 : 0) & 0xffff;
    return (o->abs ? half & 0x7fff : half) ^ (o->neg ? 0x8000 : 0);
}

#define PKNORM_F16(name, normalise)                                                                \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        uint32_t space[2][EMU_LANES], result[EMU_LANES];                                           \
        const uint32_t *const a = emu_source_word(w, &i->operand[1], 0, space[0]);                 \
        const uint32_t *const b = emu_source_word(w, &i->operand[2], 0, space[1]);                 \
        mode_arg m = convert_mode(w);                                                              \
        EMU_EACH_LANE {                                                                            \
            const uint32_t low = normalise(f16_value(chosen_half(i, 0, a[lane]), m.in16));         \
            const uint32_t high = normalise(f16_value(chosen_half(i, 1, b[lane]), m.in16));        \
            result[lane] = low | high << 16;                                                       \
        }                                                                                          \
        emu_store32(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

PKNORM_F16(cvt_pknorm_i16_f16, snorm)
PKNORM_F16(cvt_pknorm_u16_f16, unorm)
CONVERT_PAIR(cvt_pk_i16_i32, (clamp_i32((int32_t)a, -32768, 32767) & 0xffffu) |
                                 clamp_i32((int32_t)b, -32768, 32767) << 16)
CONVERT_PAIR(cvt_pk_u16_u32, emu_min_u32(a, 65535) | emu_min_u32(b, 65535) << 16)

/* Byte `byte[lane]` of `old` becomes the source as an unsigned byte. */
static const struct emu_insn *pack_u8(struct emu_wave *w, const struct emu_insn *i,
                                      const uint32_t *byte, const uint32_t *old) {
    uint32_t space[EMU_LANES], result[EMU_LANES];
    const uint32_t *const source = emu_source32(w, &i->operand[1], space);
    const uint32_t *const mask = emu_lane_mask(w);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const float x = emu_float(source[lane]);
        const uint32_t value = !(x > 0.0f) ? 0 : x >= 255.0f ? 255 : (uint32_t)(int32_t)x;
        if (mask[lane] != 0 && x > 0.0f && x < 255.0f && (float)(int32_t)value != x)
            return emu_fault(w, i, EMU_UNIMPLEMENTED, (int)lane,
                             "the rounding of this conversion is not documented; it is emulated "
                             "for whole numbers only");
        const uint32_t shift = 8 * (byte[lane] & 3);
        result[lane] = (old[lane] & ~(0xffu << shift)) | value << shift;
    }
    emu_store32(w, i->operand[0].reg, result);
    return i + 1;
}

static const struct emu_insn *cvt_pk_u8_f32(struct emu_wave *w, const struct emu_insn *i) {
    uint32_t space[2][EMU_LANES];
    return pack_u8(w, i, emu_source_word(w, &i->operand[2], 0, space[0]),
                   emu_source_word(w, &i->operand[3], 0, space[1]));
}

static const struct emu_insn *cvt_pkaccum_u8_f32(struct emu_wave *w, const struct emu_insn *i) {
    uint32_t space[EMU_LANES];
    return pack_u8(w, i, emu_source_word(w, &i->operand[2], 0, space), w->v[i->operand[0].reg]);
}

/* ---- FP8 and BF8 ---- */

CONVERT_32_32(cvt_f32_fp8, emu_fp8_to_f32(x), emu_output32)
CONVERT_32_32(cvt_f32_bf8, emu_bf8_to_f32(x), emu_output32)

/* Two bytes become two registers. */
#define UNPACK_8BIT(name, widen)                                                                   \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        uint32_t space[EMU_LANES], result[2][EMU_LANES];                                           \
        const uint32_t *const source = emu_source_word(w, &i->operand[1], 0, space);               \
        EMU_EACH_LANE {                                                                            \
            result[0][lane] = widen(source[lane]);                                                 \
            result[1][lane] = widen(source[lane] >> 8);                                            \
        }                                                                                          \
        emu_output32(w, i, result[0]);                                                             \
        emu_output32(w, i, result[1]);                                                             \
        emu_store32(w, i->operand[0].reg, result[0]);                                              \
        emu_store32(w, i->operand[0].reg + 1u, result[1]);                                         \
        return i + 1;                                                                              \
    }

UNPACK_8BIT(cvt_pk_f32_fp8, emu_fp8_to_f32)
UNPACK_8BIT(cvt_pk_f32_bf8, emu_bf8_to_f32)

/* `value` replaces the bits of `mask` in the destination. */
#define REPLACE(mask, value) ((w->v[i->operand[0].reg][lane] & ~(mask)) | (value))

/* The last bit of op_sel is the destination's half. */
#define PACK_8BIT(name, fraction, first)                                                           \
    static inline const struct emu_insn *name##_at(struct emu_wave *w, const struct emu_insn *i,   \
                                                   const unsigned shift, const bool saturate) {    \
        uint32_t space[2][EMU_LANES], result[EMU_LANES];                                           \
        const uint32_t *const low = emu_source32(w, &i->operand[1], space[0]);                     \
        const uint32_t *const high = emu_source32(w, &i->operand[2], space[1]);                    \
        EMU_EACH_LANE {                                                                            \
            const uint32_t code = emu_f32_to_8bit(low[lane], fraction, first, saturate) |          \
                                  emu_f32_to_8bit(high[lane], fraction, first, saturate) << 8;     \
            result[lane] = REPLACE(0xffffu << shift, code << shift);                               \
        }                                                                                          \
        emu_store32(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }                                                                                              \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        const unsigned shift = i->op_sel >> 2 ? 16 : 0;                                            \
        return w->mode >> EMU_FP16_OVFL & 1 ? name##_at(w, i, shift, true)                         \
                                            : name##_at(w, i, shift, false);                       \
    }

PACK_8BIT(cvt_pk_fp8_f32, EMU_FP8_FRACTION, EMU_FP8_FIRST)
PACK_8BIT(cvt_pk_bf8_f32, EMU_BF8_FRACTION, EMU_BF8_FIRST)

/* The last two bits of op_sel are the destination's byte. */
#define RANDOM_8BIT(name, fraction, first)                                                         \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        uint32_t space[2][EMU_LANES], result[EMU_LANES];                                           \
        const uint32_t *const source = emu_source32(w, &i->operand[1], space[0]);                  \
        const uint32_t *const random = emu_source_word(w, &i->operand[2], 0, space[1]);            \
        const bool saturate = w->mode >> EMU_FP16_OVFL & 1;                                        \
        const unsigned shift = 8 * (i->op_sel >> 2 & 3u);                                          \
        EMU_EACH_LANE {                                                                            \
            const uint32_t code =                                                                  \
                emu_f32_to_8bit_random(source[lane], random[lane], fraction, first, saturate);     \
            result[lane] = REPLACE(0xffu << shift, code << shift);                                 \
        }                                                                                          \
        emu_store32(w, i->operand[0].reg, result);                                                 \
        return i + 1;                                                                              \
    }

RANDOM_8BIT(cvt_sr_fp8_f32, EMU_FP8_FRACTION, EMU_FP8_FIRST)
RANDOM_8BIT(cvt_sr_bf8_f32, EMU_BF8_FRACTION, EMU_BF8_FIRST)

#define ROW(name, flags, ...)                                                                      \
    { "v_" #name, name, {__VA_ARGS__}, 1, EMU_VALU | (flags) }

enum { MODIFIED = EMU_CLAMPS | EMU_OMOD };

/* Integers are saturated anyway: clamp changes nothing. Rounding and denormals are done here, not around the handler, so
 * that none of these is EMU_FLOAT. */
const struct emu_opcode emu_convert_opcodes[] = {
    ROW(cvt_i32_f32, EMU_CLAMPS, EMU_I32, EMU_F32),
    ROW(cvt_u32_f32, EMU_CLAMPS, EMU_U32, EMU_F32),
    ROW(cvt_rpi_i32_f32, EMU_CLAMPS, EMU_I32, EMU_F32),
    ROW(cvt_flr_i32_f32, EMU_CLAMPS, EMU_I32, EMU_F32),
    ROW(cvt_f32_i32, MODIFIED, EMU_F32, EMU_I32),
    ROW(cvt_f32_u32, MODIFIED, EMU_F32, EMU_U32),
    ROW(cvt_f32_ubyte0, MODIFIED, EMU_F32, EMU_U32),
    ROW(cvt_f32_ubyte1, MODIFIED, EMU_F32, EMU_U32),
    ROW(cvt_f32_ubyte2, MODIFIED, EMU_F32, EMU_U32),
    ROW(cvt_f32_ubyte3, MODIFIED, EMU_F32, EMU_U32),
    ROW(cvt_off_f32_i4, MODIFIED, EMU_F32, EMU_U32),
    ROW(cvt_i32_f64, EMU_CLAMPS, EMU_I32, EMU_F64),
    ROW(cvt_u32_f64, EMU_CLAMPS, EMU_U32, EMU_F64),
    ROW(cvt_f64_i32, MODIFIED, EMU_F64, EMU_I32),
    ROW(cvt_f64_u32, MODIFIED, EMU_F64, EMU_U32),
    ROW(cvt_f16_f32, MODIFIED, EMU_F16, EMU_F32),
    ROW(cvt_f32_f16, MODIFIED, EMU_F32, EMU_F16),
    ROW(cvt_f32_f64, MODIFIED, EMU_F32, EMU_F64),
    ROW(cvt_f64_f32, MODIFIED, EMU_F64, EMU_F32),
    ROW(cvt_f16_u16, MODIFIED, EMU_F16, EMU_U16),
    ROW(cvt_f16_i16, MODIFIED, EMU_F16, EMU_I16),
    ROW(cvt_u16_f16, EMU_CLAMPS, EMU_U16, EMU_F16),
    ROW(cvt_i16_f16, EMU_CLAMPS, EMU_I16, EMU_F16),
    ROW(cvt_pkrtz_f16_f32, 0, EMU_2F16, EMU_F32, EMU_F32),
    ROW(cvt_norm_i16_f16, EMU_CLAMPS, EMU_I16, EMU_F16),
    ROW(cvt_norm_u16_f16, EMU_CLAMPS, EMU_U16, EMU_F16),
    ROW(cvt_pknorm_i16_f32, 0, EMU_2B16, EMU_F32, EMU_F32),
    ROW(cvt_pknorm_u16_f32, 0, EMU_2B16, EMU_F32, EMU_F32),
    ROW(cvt_pknorm_i16_f16, EMU_OP_SEL, EMU_2B16, EMU_F16, EMU_F16),
    ROW(cvt_pknorm_u16_f16, EMU_OP_SEL, EMU_2B16, EMU_F16, EMU_F16),
    ROW(cvt_pk_i16_i32, 0, EMU_2B16, EMU_I32, EMU_I32),
    ROW(cvt_pk_u16_u32, 0, EMU_2B16, EMU_U32, EMU_U32),
    ROW(cvt_pk_u8_f32, 0, EMU_B32, EMU_F32, EMU_U32, EMU_B32),
    ROW(cvt_pkaccum_u8_f32, EMU_PARTIAL, EMU_B32, EMU_F32, EMU_U32),
    ROW(cvt_f32_fp8, MODIFIED, EMU_F32, EMU_B32),
    ROW(cvt_f32_bf8, MODIFIED, EMU_F32, EMU_B32),
    ROW(cvt_pk_f32_fp8, MODIFIED, EMU_2F32, EMU_B32),
    ROW(cvt_pk_f32_bf8, MODIFIED, EMU_2F32, EMU_B32),
    ROW(cvt_pk_fp8_f32, EMU_PARTIAL | EMU_OP_SEL, EMU_B32, EMU_F32, EMU_F32),
    ROW(cvt_pk_bf8_f32, EMU_PARTIAL | EMU_OP_SEL, EMU_B32, EMU_F32, EMU_F32),
    ROW(cvt_sr_fp8_f32, EMU_PARTIAL | EMU_OP_SEL, EMU_B32, EMU_F32, EMU_U32),
    ROW(cvt_sr_bf8_f32, EMU_PARTIAL | EMU_OP_SEL, EMU_B32, EMU_F32, EMU_U32),
    {0},
};
