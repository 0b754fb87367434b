/* SPDX-License-Identifier: Apache-2.0 */
/* Packed and mixed-precision arithmetic. Sources arrive as the halves that op_sel and op_sel_hi chose. */
#include "rows.h"

#define LOW16(v) ((uint16_t)(v))
#define HIGH16(v) ((uint16_t)((v) >> 16))

static uint64_t both(uint64_t low, uint64_t high) { return (low & 0xffff) | (high & 0xffff) << 16; }

static uint64_t halves(struct isa_lane *x, enum isa_operation operation) {
    return both(isa_compute(operation, F16, x->mode, LOW16(A), LOW16(B), LOW16(C)),
                isa_compute(operation, F16, x->mode, HIGH16(A), HIGH16(B), HIGH16(C)));
}

static uint64_t floats(struct isa_lane *x, enum isa_operation operation) {
    const uint64_t low =
        isa_compute(operation, F32, x->mode, (uint32_t)LA, (uint32_t)LB, (uint32_t)LC);
    const uint64_t high = isa_compute(operation, F32, x->mode, LA >> 32, LB >> 32, LC >> 32);
    return low | high << 32;
}

static uint64_t limit(const struct isa_lane *x, int64_t value, int64_t low, int64_t high) {
    if (!x->clamp) return (uint64_t)value;
    return (uint64_t)(value < low ? low : value > high ? high : value);
}

#define UNSIGNED(expression_low, expression_high)                                                  \
    both(limit(x, expression_low, 0, UINT16_MAX), limit(x, expression_high, 0, UINT16_MAX))
#define SIGNED(expression_low, expression_high)                                                    \
    both(limit(x, expression_low, INT16_MIN, INT16_MAX),                                           \
         limit(x, expression_high, INT16_MIN, INT16_MAX))
#define UL(v) ((int64_t)LOW16(v))
#define UH(v) ((int64_t)HIGH16(v))
#define SL(v) ((int64_t)(int16_t)LOW16(v))
#define SH(v) ((int64_t)(int16_t)HIGH16(v))

#define ROWS(ROW)                                                                                  \
    ROW(v_pk_add_f16, VOP3P, 0, H2, H2, H2, NONE, D = halves(x, ADD))                              \
    ROW(v_pk_mul_f16, VOP3P, 0, H2, H2, H2, NONE, D = halves(x, MUL))                              \
    ROW(v_pk_fma_f16, VOP3P, 0, H2, H2, H2, H2, D = halves(x, FMA))                                \
    ROW(v_pk_max_f16, VOP3P, 0, H2, H2, H2, NONE,                                                  \
        D = both(isa_maximum(F16, x->mode, LOW16(A), LOW16(B)),                                    \
                 isa_maximum(F16, x->mode, HIGH16(A), HIGH16(B))))                                 \
    ROW(v_pk_min_f16, VOP3P, 0, H2, H2, H2, NONE,                                                  \
        D = both(isa_minimum(F16, x->mode, LOW16(A), LOW16(B)),                                    \
                 isa_minimum(F16, x->mode, HIGH16(A), HIGH16(B))))                                 \
    ROW(v_pk_add_f32, VOP3P, 0, F2, F2, F2, NONE, D = floats(x, ADD))                              \
    ROW(v_pk_mul_f32, VOP3P, 0, F2, F2, F2, NONE, D = floats(x, MUL))                              \
    ROW(v_pk_fma_f32, VOP3P, 0, F2, F2, F2, F2, D = floats(x, FMA))                                \
    ROW(v_pk_mov_b32, VOP3P, NO_MODIFIERS | NO_RANDOM, I64, F2, F2, NONE,                          \
        D = (uint32_t)LA | LB << 32)                                                               \
    ROW(v_pk_add_u16, VOP3P, CLAMP, S2, S2, S2, NONE, D = UNSIGNED(UL(A) + UL(B), UH(A) + UH(B)))  \
    ROW(v_pk_sub_u16, VOP3P, CLAMP, S2, S2, S2, NONE, D = UNSIGNED(UL(A) - UL(B), UH(A) - UH(B)))  \
    ROW(v_pk_mul_lo_u16, VOP3P, 0, S2, S2, S2, NONE, D = UNSIGNED(UL(A) * UL(B), UH(A) * UH(B)))   \
    ROW(v_pk_mad_u16, VOP3P, CLAMP, S2, S2, S2, S2,                                                \
        D = UNSIGNED(UL(A) * UL(B) + UL(C), UH(A) * UH(B) + UH(C)))                                \
    ROW(v_pk_min_u16, VOP3P, 0, S2, S2, S2, NONE,                                                  \
        D = UNSIGNED(MIN(UL(A), UL(B)), MIN(UH(A), UH(B))))                                        \
    ROW(v_pk_max_u16, VOP3P, 0, S2, S2, S2, NONE,                                                  \
        D = UNSIGNED(MAX(UL(A), UL(B)), MAX(UH(A), UH(B))))                                        \
    ROW(v_pk_add_i16, VOP3P, CLAMP, S2, S2, S2, NONE, D = SIGNED(SL(A) + SL(B), SH(A) + SH(B)))    \
    ROW(v_pk_sub_i16, VOP3P, CLAMP, S2, S2, S2, NONE, D = SIGNED(SL(A) - SL(B), SH(A) - SH(B)))    \
    ROW(v_pk_mad_i16, VOP3P, CLAMP, S2, S2, S2, S2,                                                \
        D = SIGNED(SL(A) * SL(B) + SL(C), SH(A) * SH(B) + SH(C)))                                  \
    ROW(v_pk_min_i16, VOP3P, 0, S2, S2, S2, NONE,                                                  \
        D = SIGNED(MIN(SL(A), SL(B)), MIN(SH(A), SH(B))))                                          \
    ROW(v_pk_max_i16, VOP3P, 0, S2, S2, S2, NONE,                                                  \
        D = SIGNED(MAX(SL(A), SL(B)), MAX(SH(A), SH(B))))                                          \
    ROW(v_pk_lshlrev_b16, VOP3P, 0, S2, S2, S2, NONE,                                              \
        D = both((uint64_t)(UL(B) << (UL(A) & 15)), (uint64_t)(UH(B) << (UH(A) & 15))))            \
    ROW(v_pk_lshrrev_b16, VOP3P, 0, S2, S2, S2, NONE,                                              \
        D = both((uint64_t)(UL(B) >> (UL(A) & 15)), (uint64_t)(UH(B) >> (UH(A) & 15))))            \
    ROW(v_pk_ashrrev_i16, VOP3P, 0, S2, S2, S2, NONE,                                              \
        D = both((uint64_t)(SL(B) >> (UL(A) & 15)), (uint64_t)(SH(B) >> (UH(A) & 15))))

DEFINE_ROWS(isa_packed_rows)
