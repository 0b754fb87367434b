/* SPDX-License-Identifier: Apache-2.0 */
/* Dot products of packed numbers, and fused multiply-adds of halves that add to their destination. */
#include "rows.h"

static int64_t part(uint32_t word, unsigned bits, unsigned i, bool sign) {
    const uint32_t top = 1u << (bits - 1), value = word >> (bits * i) & (2 * top - 1);
    return sign ? (int64_t)(value ^ top) - (int64_t)top : (int64_t)value;
}

static uint64_t dot(struct isa_lane *x, unsigned bits, bool sign, uint32_t addend) {
    int64_t sum = sign ? (int64_t)(int32_t)addend : (int64_t)addend;
    for (unsigned i = 0; i < 32 / bits; i++) sum += part(A, bits, i, sign) * part(B, bits, i, sign);
    if (x->clamp && sign) sum = sum < INT32_MIN ? INT32_MIN : sum > INT32_MAX ? INT32_MAX : sum;
    if (x->clamp && !sign) sum = sum > UINT32_MAX ? UINT32_MAX : sum;
    return (uint32_t)sum;
}

/* Where the order of additions cannot matter: every step exact. */
static void dot_halves(struct isa_lane *x, uint32_t addend) {
    uint64_t sum = isa_convert(F64, F32, 0x3f0, 0, addend);
    bool exact = !isa_denormal(F32, addend);
    for (unsigned i = 0; i < 2; i++) {
        const uint16_t a = (uint16_t)(A >> 16 * i), b = (uint16_t)(B >> 16 * i);
        const uint64_t p = isa_convert(F64, F16, 0x3f0, 0, a),
                       q = isa_convert(F64, F16, 0x3f0, 0, b);
        const uint64_t down = isa_compute(FMA, F64, 0x3fc, p, q, sum),
                       up = isa_compute(FMA, F64, 0x3f4, p, q, sum);
        if (isa_denormal(F16, a) || isa_denormal(F16, b) || down != up || isa_zero(F64, down))
            exact = false;
        sum = down;
        if (isa_convert(F64, F32, 0x3f0, 0, isa_convert(F32, F64, 0x3f0, 0, sum)) != sum)
            exact = false;
    }
    D = isa_convert(F32, F64, 0x3f0, 0, sum);
    if (!exact || isa_nan(F32, D) || isa_infinite(F32, D) || isa_denormal(F32, D)) x->open = true;
}

static uint64_t fmac_halves(struct isa_lane *x) {
    const uint64_t low = isa_compute(FMA, F16, x->mode, A & 0xffff, B & 0xffff, D & 0xffff);
    return (low & 0xffff) | isa_compute(FMA, F16, x->mode, A >> 16, B >> 16, D >> 16 & 0xffff)
                                << 16;
}

#define ROWS(ROW)                                                                                  \
    ROW(v_dot4_i32_i8, VOP3, CLAMP, I32, I32, I32, I32, D = dot(x, 8, true, C))                    \
    ROW(v_dot4_u32_u8, VOP3, CLAMP, I32, I32, I32, I32, D = dot(x, 8, false, C))                   \
    ROW(v_dot8_i32_i4, VOP3, CLAMP, I32, I32, I32, I32, D = dot(x, 4, true, C))                    \
    ROW(v_dot8_u32_u4, VOP3, CLAMP, I32, I32, I32, I32, D = dot(x, 4, false, C))                   \
    ROW(v_dot2_i32_i16, VOP3, CLAMP | NO_CONSTANTS, I32, I32, I32, I32, D = dot(x, 16, true, C))   \
    ROW(v_dot2_u32_u16, VOP3, CLAMP | NO_CONSTANTS, I32, I32, I32, I32, D = dot(x, 16, false, C))  \
    ROW(v_dot2_f32_f16, VOP3, NO_RANDOM | USUAL_MODE | NO_CONSTANTS, I32, H2, H2, F32,             \
        dot_halves(x, C))                                                                          \
    ROW(v_dot4c_i32_i8, VOP2, PARTIAL | PLAIN | NO_E64, I32, I32, I32, NONE,                       \
        D = dot(x, 8, true, (uint32_t)D))                                                          \
    ROW(v_dot8c_i32_i4, VOP2, PARTIAL | PLAIN | NO_E64, I32, I32, I32, NONE,                       \
        D = dot(x, 4, true, (uint32_t)D))                                                          \
    ROW(v_dot2c_i32_i16, VOP2, PARTIAL | PLAIN | NO_E64, I32, I32, I32, NONE,                      \
        D = dot(x, 16, true, (uint32_t)D))                                                         \
    ROW(v_dot2c_f32_f16, VOP2, PARTIAL | PLAIN | NO_E64 | NO_RANDOM | USUAL_MODE, I32, H2, H2,     \
        NONE, dot_halves(x, (uint32_t)D))                                                          \
    ROW(v_pk_fmac_f16, VOP2, PARTIAL | PLAIN | NO_E64, I32, H2, H2, NONE, D = fmac_halves(x))

DEFINE_ROWS(isa_dot_rows)
