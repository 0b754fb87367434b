/* SPDX-License-Identifier: Apache-2.0 */
/* Vector integer instructions, as the ISA document describes them. */
#include "rows.h"

static uint64_t saturated(int64_t value, int64_t low, int64_t high) {
    return (uint64_t)(value < low ? low : value > high ? high : value);
}

static uint32_t add_u32(const struct isa_lane *x, uint64_t sum, bool negative) {
    if (!x->clamp) return (uint32_t)sum;
    return negative ? 0 : sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

static uint32_t add_i32(const struct isa_lane *x, int64_t sum) {
    return x->clamp ? (uint32_t)saturated(sum, INT32_MIN, INT32_MAX) : (uint32_t)sum;
}

static uint32_t u16(const struct isa_lane *x, int64_t value) {
    return (uint16_t)(x->clamp ? saturated(value, 0, UINT16_MAX) : (uint64_t)value);
}

static uint32_t i16(const struct isa_lane *x, int64_t value) {
    return (uint16_t)(x->clamp ? saturated(value, INT16_MIN, INT16_MAX) : (uint64_t)value);
}

static unsigned count(uint64_t value) {
    unsigned n = 0;
    for (; value != 0; value >>= 1) n += value & 1;
    return n;
}

static uint64_t reversed(uint64_t value, unsigned bits) {
    uint64_t result = 0;
    for (unsigned i = 0; i < bits; i++) result |= (value >> i & 1) << (bits - 1 - i);
    return result;
}

static int64_t signed_bits(uint64_t value, unsigned bits) {
    if (bits == 0) return 0;
    const uint64_t top = UINT64_C(1) << (bits - 1);
    value &= top | (top - 1);
    return (int64_t)(value ^ top) - (int64_t)top;
}

/* Position of the first one from the top, or all ones. */
static uint32_t from_top(uint32_t value) {
    for (unsigned i = 0; i < 32; i++)
        if (value >> (31 - i) & 1) return i;
    return UINT32_MAX;
}

static uint32_t from_top_signed(uint32_t value) {
    for (unsigned i = 1; i < 32; i++)
        if ((value >> (31 - i) & 1) != value >> 31) return i;
    return UINT32_MAX;
}

static uint32_t from_bottom(uint32_t value) {
    for (unsigned i = 0; i < 32; i++)
        if (value >> i & 1) return i;
    return UINT32_MAX;
}

static uint8_t byte_of(uint64_t value, unsigned i) { return (uint8_t)(value >> (8 * i)); }
static uint32_t apart(uint32_t a, uint32_t b) { return a > b ? a - b : b - a; }

static uint32_t sad_u8(uint32_t a, uint32_t b, uint32_t sum, bool masked) {
    for (unsigned i = 0; i < 4; i++)
        if (!masked || byte_of(b, i) != 0) sum += apart(byte_of(a, i), byte_of(b, i));
    return sum;
}

/* V_PERM_B32: bytes 0..3 of src1, 4..7 of src0, then sign fills, 0 and 0xff. */
static uint32_t permuted(uint32_t a, uint32_t b, uint32_t select) {
    const uint64_t bytes = (uint64_t)a << 32 | b;
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned s = byte_of(select, i);
        const uint32_t chosen = s <= 7    ? byte_of(bytes, s)
                                : s <= 11 ? (bytes >> (16 * (s - 8) + 15) & 1) * 0xffu
                                : s == 12 ? 0u
                                          : 0xffu;
        result |= chosen << (8 * i);
    }
    return result;
}

static uint32_t median(int64_t a, int64_t b, int64_t c) {
    const int64_t low = a < b ? a : b, high = a < b ? b : a;
    return (uint32_t)(c < low ? low : c > high ? high : c);
}

static uint32_t lerp(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; i++)
        result |= (uint32_t)((byte_of(a, i) + byte_of(b, i) + (byte_of(c, i) & 1)) >> 1) << (8 * i);
    return result;
}

/* Four sums of absolute differences, each of four bytes at a moving place. */
static uint64_t qsad(uint64_t a, uint32_t b, uint64_t c, bool masked) {
    uint64_t result = 0;
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t sum = sad_u8((uint32_t)(a >> (8 * i)), b, (uint16_t)(c >> (16 * i)), masked);
        result |= (uint64_t)(sum & 0xffff) << (16 * i);
    }
    return result;
}

static void sub_carry(struct isa_lane *x, uint32_t a, uint32_t b, unsigned borrow) {
    const bool under = (uint64_t)b + borrow > a;
    x->d = add_u32(x, (uint64_t)a - b - borrow, under);
    x->carry = under;
}

static void add_carry(struct isa_lane *x, uint32_t a, uint32_t b, unsigned carry) {
    const uint64_t sum = (uint64_t)a + b + carry;
    x->d = add_u32(x, sum, false);
    x->carry = sum > UINT32_MAX;
}

static void mad_u64(struct isa_lane *x) {
    const uint64_t product = (uint64_t)A * B;
    x->d = product + LC;
    x->carry = x->d < product;
}

/* The carry of the signed form: overflow of the 65-bit sum of sign-extended operands. */
static void mad_i64(struct isa_lane *x) {
    const int64_t product = (int64_t)SA * SB;
    x->d = (uint64_t)product + LC;
    x->open_mask = true;
}

static void pack(struct isa_lane *x) {
    D = (uint32_t)HB << 16 | HA;
    /* Whether it quiets NaNs and flushes denormals is not said. */
    for (unsigned half = 0; half < 2; half++) {
        const uint16_t value = half ? HB : HA;
        if (isa_denormal(F16, value) || isa_nan(F16, value)) x->open = true;
    }
}

static void shift_add(struct isa_lane *x) {
    /* Shifts beyond 4 are not specified. */
    if ((B & 63) > 4) x->open = true;
    x->d = (LA << (B & 7)) + LC;
}

#define ROWS(ROW)                                                                                  \
    ROW(v_mov_b32, VOP2, 0, I32, I32, NONE, NONE, D = A)                                           \
    ROW(v_mov_b64, VOP2, PLAIN, I64, I64, NONE, NONE, D = LA)                                      \
    ROW(v_not_b32, VOP2, 0, I32, I32, NONE, NONE, D = ~A)                                          \
    ROW(v_bfrev_b32, VOP2, 0, I32, I32, NONE, NONE, D = reversed(A, 32))                           \
    ROW(v_ffbh_u32, VOP2, 0, I32, I32, NONE, NONE, D = from_top(A))                                \
    ROW(v_ffbh_i32, VOP2, 0, I32, I32, NONE, NONE, D = from_top_signed(A))                         \
    ROW(v_ffbl_b32, VOP2, 0, I32, I32, NONE, NONE, D = from_bottom(A))                             \
    ROW(v_add_u32, VOP2, CLAMP, I32, I32, I32, NONE, D = add_u32(x, (uint64_t)A + B, false))       \
    ROW(v_sub_u32, VOP2, CLAMP, I32, I32, I32, NONE, D = add_u32(x, (uint64_t)A - B, B > A))       \
    ROW(v_subrev_u32, VOP2, CLAMP, I32, I32, I32, NONE, D = add_u32(x, (uint64_t)B - A, A > B))    \
    ROW(v_add_i32, VOP3, CLAMP, I32, I32, I32, NONE, D = add_i32(x, (int64_t)SA + SB))             \
    ROW(v_sub_i32, VOP3, CLAMP, I32, I32, I32, NONE, D = add_i32(x, (int64_t)SA - SB))             \
    ROW(v_add_co_u32, VOP2, CARRY_OUT, I32, I32, I32, NONE, add_carry(x, A, B, 0))                 \
    ROW(v_sub_co_u32, VOP2, CARRY_OUT, I32, I32, I32, NONE, sub_carry(x, A, B, 0))                 \
    ROW(v_subrev_co_u32, VOP2, CARRY_OUT, I32, I32, I32, NONE, sub_carry(x, B, A, 0))              \
    ROW(v_addc_co_u32, VOP2, CARRY_OUT | CARRY_IN, I32, I32, I32, NONE,                            \
        add_carry(x, A, B, x->carry))                                                              \
    ROW(v_subb_co_u32, VOP2, CARRY_OUT | CARRY_IN, I32, I32, I32, NONE,                            \
        sub_carry(x, A, B, x->carry))                                                              \
    ROW(v_subbrev_co_u32, VOP2, CARRY_OUT | CARRY_IN, I32, I32, I32, NONE,                         \
        sub_carry(x, B, A, x->carry))                                                              \
    ROW(v_cndmask_b32, VOP2, CARRY_IN, I32, I32, I32, NONE, D = x->carry ? B : A)                  \
    ROW(v_and_b32, VOP2, 0, I32, I32, I32, NONE, D = A & B)                                        \
    ROW(v_or_b32, VOP2, 0, I32, I32, I32, NONE, D = A | B)                                         \
    ROW(v_xor_b32, VOP2, 0, I32, I32, I32, NONE, D = A ^ B)                                        \
    ROW(v_xnor_b32, VOP2, 0, I32, I32, I32, NONE, D = ~(A ^ B))                                    \
    ROW(v_lshlrev_b32, VOP2, 0, I32, I32, I32, NONE, D = B << (A & 31))                            \
    ROW(v_lshrrev_b32, VOP2, 0, I32, I32, I32, NONE, D = B >> (A & 31))                            \
    ROW(v_ashrrev_i32, VOP2, 0, I32, I32, I32, NONE, D = (uint64_t)((int64_t)SB >> (A & 31)))      \
    ROW(v_lshlrev_b64, VOP3, 0, I64, I32, I64, NONE, D = LB << (A & 63))                           \
    ROW(v_lshrrev_b64, VOP3, 0, I64, I32, I64, NONE, D = LB >> (A & 63))                           \
    ROW(v_ashrrev_i64, VOP3, 0, I64, I32, I64, NONE, D = (uint64_t)((int64_t)LB >> (A & 63)))      \
    ROW(v_min_u32, VOP2, 0, I32, I32, I32, NONE, D = A < B ? A : B)                                \
    ROW(v_max_u32, VOP2, 0, I32, I32, I32, NONE, D = A > B ? A : B)                                \
    ROW(v_min_i32, VOP2, 0, I32, I32, I32, NONE, D = SA < SB ? A : B)                              \
    ROW(v_max_i32, VOP2, 0, I32, I32, I32, NONE, D = SA > SB ? A : B)                              \
    ROW(v_min3_u32, VOP3, 0, I32, I32, I32, I32, D = MIN(MIN(A, B), C))                            \
    ROW(v_max3_u32, VOP3, 0, I32, I32, I32, I32, D = MAX(MAX(A, B), C))                            \
    ROW(v_med3_u32, VOP3, 0, I32, I32, I32, I32, D = median(A, B, C))                              \
    ROW(v_min3_i32, VOP3, 0, I32, I32, I32, I32, D = (uint32_t)MIN(MIN(SA, SB), SC))               \
    ROW(v_max3_i32, VOP3, 0, I32, I32, I32, I32, D = (uint32_t)MAX(MAX(SA, SB), SC))               \
    ROW(v_med3_i32, VOP3, 0, I32, I32, I32, I32, D = median(SA, SB, SC))                           \
    ROW(v_min3_u16, VOP3, OPSEL, I16, I16, I16, I16, D = MIN(MIN(HA, HB), HC))                     \
    ROW(v_max3_u16, VOP3, OPSEL, I16, I16, I16, I16, D = MAX(MAX(HA, HB), HC))                     \
    ROW(v_med3_u16, VOP3, OPSEL, I16, I16, I16, I16, D = median(HA, HB, HC) & 0xffff)              \
    ROW(v_min3_i16, VOP3, OPSEL, I16, I16, I16, I16, D = (uint16_t)MIN(MIN(GA, GB), GC))           \
    ROW(v_max3_i16, VOP3, OPSEL, I16, I16, I16, I16, D = (uint16_t)MAX(MAX(GA, GB), GC))           \
    ROW(v_med3_i16, VOP3, OPSEL, I16, I16, I16, I16, D = median(GA, GB, GC) & 0xffff)              \
    ROW(v_mul_lo_u32, VOP3, 0, I32, I32, I32, NONE, D = (uint64_t)A * B)                           \
    ROW(v_mul_hi_u32, VOP3, 0, I32, I32, I32, NONE, D = (uint64_t)A * B >> 32)                     \
    ROW(v_mul_hi_i32, VOP3, 0, I32, I32, I32, NONE, D = (uint64_t)((int64_t)SA * SB) >> 32)        \
    ROW(v_mul_u32_u24, VOP2, 0, I32, I32, I32, NONE,                                               \
        D = (uint64_t)(A & 0xffffff) * (B & 0xffffff))                                             \
    ROW(v_mul_hi_u32_u24, VOP2, 0, I32, I32, I32, NONE,                                            \
        D = (uint64_t)(A & 0xffffff) * (B & 0xffffff) >> 32)                                       \
    ROW(v_mul_i32_i24, VOP2, 0, I32, I32, I32, NONE,                                               \
        D = (uint64_t)(signed_bits(A, 24) * signed_bits(B, 24)))                                   \
    ROW(v_mul_hi_i32_i24, VOP2, 0, I32, I32, I32, NONE,                                            \
        D = (uint64_t)(signed_bits(A, 24) * signed_bits(B, 24)) >> 32)                             \
    ROW(v_mad_u32_u24, VOP3, 0, I32, I32, I32, I32,                                                \
        D = (uint64_t)(A & 0xffffff) * (B & 0xffffff) + C)                                         \
    ROW(v_mad_i32_i24, VOP3, 0, I32, I32, I32, I32,                                                \
        D = (uint64_t)(signed_bits(A, 24) * signed_bits(B, 24) + SC))                              \
    ROW(v_mad_u64_u32, VOP3, CARRY_OUT, I64, I32, I32, I64, mad_u64(x))                            \
    ROW(v_mad_i64_i32, VOP3, CARRY_OUT | NO_RANDOM, I64, I32, I32, I64, mad_i64(x))                \
    ROW(v_mad_u32_u16, VOP3, OPSEL, I32, I16, I16, I32, D = (uint64_t)HA * HB + C)                 \
    ROW(v_mad_i32_i16, VOP3, OPSEL, I32, I16, I16, I32, D = (uint64_t)((int64_t)GA * GB + SC))     \
    ROW(v_add3_u32, VOP3, 0, I32, I32, I32, I32, D = (uint64_t)A + B + C)                          \
    ROW(v_lshl_add_u32, VOP3, 0, I32, I32, I32, I32, D = (A << (B & 31)) + C)                      \
    ROW(v_lshl_add_u64, VOP3, NO_RANDOM, I64, I64, I32, I64, shift_add(x))                         \
    ROW(v_add_lshl_u32, VOP3, 0, I32, I32, I32, I32, D = (A + B) << (C & 31))                      \
    ROW(v_xad_u32, VOP3, 0, I32, I32, I32, I32, D = (A ^ B) + C)                                   \
    ROW(v_and_or_b32, VOP3, 0, I32, I32, I32, I32, D = (A & B) | C)                                \
    ROW(v_or3_b32, VOP3, 0, I32, I32, I32, I32, D = A | B | C)                                     \
    ROW(v_lshl_or_b32, VOP3, 0, I32, I32, I32, I32, D = (A << (B & 31)) | C)                       \
    ROW(v_bfi_b32, VOP3, 0, I32, I32, I32, I32, D = (A & B) | (~A & C))                            \
    ROW(v_bfe_u32, VOP3, 0, I32, I32, I32, I32, D = A >> (B & 31) & ((1u << (C & 31)) - 1))        \
    ROW(v_bfe_i32, VOP3, 0, I32, I32, I32, I32,                                                    \
        D = (uint64_t)signed_bits((uint64_t)((int64_t)SA >> (B & 31)), C & 31))                    \
    ROW(v_bfm_b32, VOP3, 0, I32, I32, I32, NONE, D = ((1u << (A & 31)) - 1) << (B & 31))           \
    ROW(v_bcnt_u32_b32, VOP3, 0, I32, I32, I32, NONE, D = count(A) + B)                            \
    ROW(v_mbcnt_lo_u32_b32, VOP3, 0, I32, I32, I32, NONE,                                          \
        D = count(x->lane >= 32 ? A : A & ((1u << x->lane) - 1)) + B)                              \
    ROW(v_mbcnt_hi_u32_b32, VOP3, 0, I32, I32, I32, NONE,                                          \
        D = count(x->lane < 32 ? 0 : A & ((1u << (x->lane - 32)) - 1)) + B)                        \
    ROW(v_alignbit_b32, VOP3, 0, I32, I32, I32, I32, D = ((uint64_t)A << 32 | B) >> (C & 31))      \
    ROW(v_alignbyte_b32, VOP3, 0, I32, I32, I32, I32, D = ((uint64_t)A << 32 | B) >> 8 * (C & 3))  \
    ROW(v_perm_b32, VOP3, 0, I32, I32, I32, I32, D = permuted(A, B, C))                            \
    ROW(v_sad_u8, VOP3, 0, I32, I32, I32, I32, D = sad_u8(A, B, C, false))                         \
    ROW(v_msad_u8, VOP3, 0, I32, I32, I32, I32, D = sad_u8(A, B, C, true))                         \
    ROW(v_sad_hi_u8, VOP3, 0, I32, I32, I32, I32, D = (sad_u8(A, B, 0, false) << 16) + C)          \
    ROW(v_sad_u16, VOP3, 0, I32, I32, I32, I32,                                                    \
        D = apart(A & 0xffff, B & 0xffff) + apart(A >> 16, B >> 16) + C)                           \
    ROW(v_sad_u32, VOP3, 0, I32, I32, I32, I32, D = (uint64_t)apart(A, B) + C)                     \
    ROW(v_lerp_u8, VOP3, 0, I32, I32, I32, I32, D = lerp(A, B, C))                                 \
    ROW(v_qsad_pk_u16_u8, VOP3, 0, I64, I64, I32, I64, D = qsad(LA, B, LC, false))                 \
    ROW(v_mqsad_pk_u16_u8, VOP3, 0, I64, I64, I32, I64, D = qsad(LA, B, LC, true))                 \
    ROW(v_add_u16, VOP2, CLAMP, I16, I16, I16, NONE, D = u16(x, (int64_t)HA + HB))                 \
    ROW(v_sub_u16, VOP2, CLAMP, I16, I16, I16, NONE, D = u16(x, (int64_t)HA - HB))                 \
    ROW(v_subrev_u16, VOP2, CLAMP, I16, I16, I16, NONE, D = u16(x, (int64_t)HB - HA))              \
    ROW(v_mul_lo_u16, VOP2, 0, I16, I16, I16, NONE, D = (uint16_t)((uint32_t)HA * HB))             \
    ROW(v_lshlrev_b16, VOP2, 0, I16, I16, I16, NONE, D = (uint16_t)((uint32_t)HB << (HA & 15)))    \
    ROW(v_lshrrev_b16, VOP2, 0, I16, I16, I16, NONE, D = (uint16_t)(HB >> (HA & 15)))              \
    ROW(v_ashrrev_i16, VOP2, 0, I16, I16, I16, NONE, D = (uint16_t)(GB >> (HA & 15)))              \
    ROW(v_min_u16, VOP2, 0, I16, I16, I16, NONE, D = MIN(HA, HB))                                  \
    ROW(v_max_u16, VOP2, 0, I16, I16, I16, NONE, D = MAX(HA, HB))                                  \
    ROW(v_min_i16, VOP2, 0, I16, I16, I16, NONE, D = (uint16_t)MIN(GA, GB))                        \
    ROW(v_max_i16, VOP2, 0, I16, I16, I16, NONE, D = (uint16_t)MAX(GA, GB))                        \
    ROW(v_add_i16, VOP3, OPSEL | CLAMP, I16, I16, I16, NONE, D = i16(x, GA + GB))                  \
    ROW(v_sub_i16, VOP3, OPSEL | CLAMP, I16, I16, I16, NONE, D = i16(x, GA - GB))                  \
    ROW(v_mad_u16, VOP3, 0, I16, I16, I16, I16, D = (uint16_t)((uint32_t)HA * HB + HC))            \
    ROW(v_mad_i16, VOP3, 0, I16, I16, I16, I16, D = (uint16_t)(GA * GB + GC))                      \
    ROW(v_mad_legacy_u16, VOP3, 0, I32, I16, I16, I16, D = (uint16_t)((uint32_t)HA * HB + HC))     \
    ROW(v_mad_legacy_i16, VOP3, 0, I32, I16, I16, I16, D = (uint16_t)(GA * GB + GC))               \
    ROW(v_sat_pk_u8_i16, VOP2, PLAIN, I32, I32, NONE, NONE,                                        \
        D = saturated((int16_t)A, 0, 255) | saturated((int16_t)(A >> 16), 0, 255) << 8)            \
    ROW(v_pack_b32_f16, VOP3, OPSEL | NO_MODIFIERS | NO_RANDOM | USUAL_MODE, I32, I16, I16, NONE,  \
        pack(x))

DEFINE_ROWS(isa_integer_rows)
