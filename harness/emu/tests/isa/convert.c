/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions. Half and double results round by MODE's 16/64-bit field, as do singles made from doubles. */
#include "rows.h"

static unsigned wide_rounding(const struct isa_lane *x) { return x->mode >> 2 & 3; }

/* MODE has one denormal field for single and one for half and double; where they differ, which one applies between
 * formats is not said. */
static void mixed(struct isa_lane *x, enum isa_type to, enum isa_type from) {
    const uint32_t fields = x->mode >> 4 & 15;
    if ((fields & 3) != fields >> 2 &&
        (isa_denormal(from, LA) || isa_denormal(to, D) || isa_zero(to, D)))
        x->open = true;
}

static void between(struct isa_lane *x, enum isa_type to, enum isa_type from, unsigned rounding) {
    D = isa_convert(to, from, x->mode, rounding, LA);
    mixed(x, to, from);
}

#define TO_INTEGER(from, rounding, low, high) isa_to_integer(from, x->mode, rounding, LA, low, high)

static uint64_t fp8_byte(struct isa_lane *x, bool bf8, uint32_t f32) {
    const bool saturate = (x->mode & MODE_FP16_OVFL) != 0;
    if (isa_infinite(F32, f32) && saturate) x->open = true;
    return isa_to_fnuz(bf8, saturate, false, 0, f32);
}

static void pack_fp8(struct isa_lane *x, bool bf8) {
    const unsigned shift = x->op_sel & 8 ? 16 : 0;
    const uint64_t pair = fp8_byte(x, bf8, A) | fp8_byte(x, bf8, B) << 8;
    D = ((uint32_t)D & ~(0xffffu << shift)) | pair << shift;
}

/* Where nothing is rounded away noise changes nothing. */
static void stochastic(struct isa_lane *x, bool bf8) {
    const unsigned shift = 8 * (x->op_sel >> 2 & 3);
    const uint8_t byte = (uint8_t)fp8_byte(x, bf8, A);
    if (byte == 0x80 ? !isa_nan(F32, A) : isa_from_fnuz(bf8, byte) != A) x->open = true;
    D = ((uint32_t)D & ~(0xffu << shift)) | (uint64_t)byte << shift;
}

static uint64_t pair_of(bool bf8, uint32_t bytes) {
    return isa_from_fnuz(bf8, (uint8_t)bytes) | (uint64_t)isa_from_fnuz(bf8, (uint8_t)(bytes >> 8))
                                                    << 32;
}

static uint64_t toward_zero(const struct isa_lane *x, uint64_t f32) {
    return isa_convert(F16, F32, x->mode & ~(uint32_t)MODE_FP16_OVFL, 3, f32);
}

static uint64_t clamped_pair(int64_t low, int64_t a, int64_t b, int64_t high) {
    a = a < low ? low : a > high ? high : a;
    b = b < low ? low : b > high ? high : b;
    return ((uint64_t)a & 0xffff) | ((uint64_t)b & 0xffff) << 16;
}

static uint64_t packed_byte(struct isa_lane *x) {
    const unsigned shift = 8 * (B & 3);
    const uint64_t byte = (uint64_t)isa_to_integer(F32, x->mode, RINT, LA, 0, 255);
    if ((x->mode & 3) != 0) x->open = true;
    return (C & ~(0xffu << shift)) | byte << shift;
}

static uint64_t offset_i4(struct isa_lane *x) {
    const int value = (int)(A & 15) >= 8 ? (int)(A & 15) - 16 : (int)(A & 15);
    return isa_compute(MUL, F32, x->mode, isa_from_integer(F32, 0, value), 0x3d800000, 0);
}

/* To the nearest even of a * scale, clamped; the product is exact in double. */
static int64_t normalised(enum isa_type type, uint64_t a, bool sign) {
    const uint64_t scale = sign ? UINT64_C(0x40dfffc000000000) : UINT64_C(0x40efffe000000000);
    const uint64_t product =
        isa_compute(MUL, F64, 0x3f0, isa_convert(F64, type, 0x3f0, 0, a), scale, 0);
    return isa_to_integer(F64, 0x3f0, RINT, product, sign ? -32767 : 0, sign ? 32767 : 65535);
}

static uint64_t normalised_pair(struct isa_lane *x, enum isa_type type, bool sign) {
    return ((uint64_t)normalised(type, LA, sign) & 0xffff) |
           ((uint64_t)normalised(type, LB, sign) & 0xffff) << 16;
}

/* floor(a + 0.5), the sum exact. */
static uint32_t rounded_up(uint64_t a) {
    const uint64_t sum = isa_compute(ADD, F64, 0x3f8, isa_convert(F64, F32, 0x3f0, 0, a),
                                     UINT64_C(0x3fe0000000000000), 0);
    return (uint32_t)isa_to_integer(F64, 0x3f0, FLOOR, sum, INT32_MIN, INT32_MAX);
}

#define ROWS(ROW)                                                                                  \
    ROW(v_cvt_f16_f32, VOP2, NO_RANDOM, F16, F32, NONE, NONE,                                      \
        between(x, F16, F32, wide_rounding(x)))                                                    \
    ROW(v_cvt_f32_f16, VOP2, NO_RANDOM, F32, F16, NONE, NONE, between(x, F32, F16, 0))             \
    ROW(v_cvt_f32_f64, VOP2, NO_RANDOM, F32, F64, NONE, NONE,                                      \
        between(x, F32, F64, wide_rounding(x)))                                                    \
    ROW(v_cvt_f64_f32, VOP2, NO_RANDOM, F64, F32, NONE, NONE, between(x, F64, F32, 0))             \
    ROW(v_cvt_f32_i32, VOP2, 0, F32, I32, NONE, NONE, D = isa_from_integer(F32, x->mode, SA))      \
    ROW(v_cvt_f32_u32, VOP2, 0, F32, I32, NONE, NONE, D = isa_from_integer(F32, x->mode, A))       \
    ROW(v_cvt_f64_i32, VOP2, 0, F64, I32, NONE, NONE, D = isa_from_integer(F64, x->mode, SA))      \
    ROW(v_cvt_f64_u32, VOP2, 0, F64, I32, NONE, NONE, D = isa_from_integer(F64, x->mode, A))       \
    ROW(v_cvt_f16_i16, VOP2, 0, F16, I16, NONE, NONE, D = isa_from_integer(F16, x->mode, GA))      \
    ROW(v_cvt_f16_u16, VOP2, 0, F16, I16, NONE, NONE, D = isa_from_integer(F16, x->mode, HA))      \
    ROW(v_cvt_f32_ubyte0, VOP2, 0, F32, I32, NONE, NONE,                                           \
        D = isa_from_integer(F32, x->mode, A & 255))                                               \
    ROW(v_cvt_f32_ubyte1, VOP2, 0, F32, I32, NONE, NONE,                                           \
        D = isa_from_integer(F32, x->mode, A >> 8 & 255))                                          \
    ROW(v_cvt_f32_ubyte2, VOP2, 0, F32, I32, NONE, NONE,                                           \
        D = isa_from_integer(F32, x->mode, A >> 16 & 255))                                         \
    ROW(v_cvt_f32_ubyte3, VOP2, 0, F32, I32, NONE, NONE,                                           \
        D = isa_from_integer(F32, x->mode, A >> 24 & 255))                                         \
    ROW(v_cvt_off_f32_i4, VOP2, 0, F32, I32, NONE, NONE, D = offset_i4(x))                         \
    ROW(v_cvt_i32_f32, VOP2, NO_CLAMP, I32, F32, NONE, NONE,                                       \
        D = (uint32_t)TO_INTEGER(F32, TRUNC, INT32_MIN, INT32_MAX))                                \
    ROW(v_cvt_u32_f32, VOP2, NO_CLAMP, I32, F32, NONE, NONE,                                       \
        D = (uint32_t)TO_INTEGER(F32, TRUNC, 0, UINT32_MAX))                                       \
    ROW(v_cvt_i32_f64, VOP2, NO_CLAMP, I32, F64, NONE, NONE,                                       \
        D = (uint32_t)TO_INTEGER(F64, TRUNC, INT32_MIN, INT32_MAX))                                \
    ROW(v_cvt_u32_f64, VOP2, NO_CLAMP, I32, F64, NONE, NONE,                                       \
        D = (uint32_t)TO_INTEGER(F64, TRUNC, 0, UINT32_MAX))                                       \
    ROW(v_cvt_i16_f16, VOP2, NO_CLAMP, I16, F16, NONE, NONE,                                       \
        D = (uint16_t)TO_INTEGER(F16, TRUNC, INT16_MIN, INT16_MAX))                                \
    ROW(v_cvt_u16_f16, VOP2, NO_CLAMP, I16, F16, NONE, NONE,                                       \
        D = (uint16_t)TO_INTEGER(F16, TRUNC, 0, UINT16_MAX))                                       \
    ROW(v_cvt_flr_i32_f32, VOP2, NO_CLAMP, I32, F32, NONE, NONE,                                   \
        D = (uint32_t)TO_INTEGER(F32, FLOOR, INT32_MIN, INT32_MAX))                                \
    ROW(v_cvt_pkrtz_f16_f32, VOP3, NO_RANDOM | NO_CLAMP, I32, F32, F32, NONE,                      \
        D = toward_zero(x, LA) | toward_zero(x, LB) << 16)                                         \
    ROW(v_cvt_pknorm_i16_f32, VOP3, NO_RANDOM | NO_CLAMP | USUAL_MODE, I32, F32, F32, NONE,        \
        D = normalised_pair(x, F32, true))                                                         \
    ROW(v_cvt_pknorm_u16_f32, VOP3, NO_RANDOM | NO_CLAMP | USUAL_MODE, I32, F32, F32, NONE,        \
        D = normalised_pair(x, F32, false))                                                        \
    ROW(v_cvt_pknorm_i16_f16, VOP3, NO_RANDOM | NO_CLAMP | USUAL_MODE, I32, F16, F16, NONE,        \
        D = normalised_pair(x, F16, true))                                                         \
    ROW(v_cvt_pknorm_u16_f16, VOP3, NO_RANDOM | NO_CLAMP | USUAL_MODE, I32, F16, F16, NONE,        \
        D = normalised_pair(x, F16, false))                                                        \
    ROW(v_cvt_norm_i16_f16, VOP2, NO_RANDOM | NO_CLAMP | USUAL_MODE, I16, F16, NONE, NONE,         \
        D = (uint16_t)normalised(F16, LA, true))                                                   \
    ROW(v_cvt_norm_u16_f16, VOP2, NO_RANDOM | NO_CLAMP | USUAL_MODE, I16, F16, NONE, NONE,         \
        D = (uint16_t)normalised(F16, LA, false))                                                  \
    ROW(v_cvt_rpi_i32_f32, VOP2, NO_RANDOM | NO_CLAMP | USUAL_MODE, I32, F32, NONE, NONE,          \
        D = rounded_up(LA))                                                                        \
    ROW(v_cvt_pk_u16_u32, VOP3, 0, I32, I32, I32, NONE, D = clamped_pair(0, A, B, UINT16_MAX))     \
    ROW(v_cvt_pk_i16_i32, VOP3, 0, I32, I32, I32, NONE,                                            \
        D = clamped_pair(INT16_MIN, SA, SB, INT16_MAX))                                            \
    ROW(v_cvt_pk_u8_f32, VOP3, NO_RANDOM | NO_CLAMP, I32, F32, I32, I32, D = packed_byte(x))       \
    ROW(v_cvt_pk_fp8_f32, VOP3, PARTIAL | OPSEL_D | NO_CLAMP, I32, F32, F32, NONE,                 \
        pack_fp8(x, false))                                                                        \
    ROW(v_cvt_pk_bf8_f32, VOP3, PARTIAL | OPSEL_D | NO_CLAMP, I32, F32, F32, NONE,                 \
        pack_fp8(x, true))                                                                         \
    ROW(v_cvt_sr_fp8_f32, VOP3, PARTIAL | OPSEL_B | NO_CLAMP | NO_RANDOM, I32, F32, I32, NONE,     \
        stochastic(x, false))                                                                      \
    ROW(v_cvt_sr_bf8_f32, VOP3, PARTIAL | OPSEL_B | NO_CLAMP | NO_RANDOM, I32, F32, I32, NONE,     \
        stochastic(x, true))                                                                       \
    ROW(v_cvt_f32_fp8, VOP2, NO_E64 | BYTES, F32, I32, NONE, NONE,                                 \
        D = isa_from_fnuz(false, (uint8_t)A))                                                      \
    ROW(v_cvt_f32_bf8, VOP2, NO_E64 | BYTES, F32, I32, NONE, NONE,                                 \
        D = isa_from_fnuz(true, (uint8_t)A))                                                       \
    ROW(v_cvt_pk_f32_fp8, VOP2, NO_E64 | WORDS, F2, I32, NONE, NONE, D = pair_of(false, A))        \
    ROW(v_cvt_pk_f32_bf8, VOP2, NO_E64 | WORDS, F2, I32, NONE, NONE, D = pair_of(true, A))

DEFINE_ROWS(isa_convert_rows)
