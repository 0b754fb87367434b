/* SPDX-License-Identifier: Apache-2.0 */
/* Scalar instructions with SCC, as the ISA document describes them. */
#include "rows.h"

static uint64_t non_zero(struct isa_lane *x, uint64_t value) {
    x->scc = value != 0;
    return value;
}

static uint32_t narrow(struct isa_lane *x, uint32_t value) { return (uint32_t)non_zero(x, value); }

static uint32_t carried(struct isa_lane *x, uint64_t sum) {
    x->scc = sum > UINT32_MAX;
    return (uint32_t)sum;
}

static uint32_t borrowed(struct isa_lane *x, uint32_t a, uint64_t b) {
    x->scc = b > a;
    return (uint32_t)(a - b);
}

static uint32_t overflowed(struct isa_lane *x, int64_t sum) {
    x->scc = sum < INT32_MIN || sum > INT32_MAX;
    return (uint32_t)sum;
}

static uint64_t chosen(struct isa_lane *x, int64_t a, int64_t b, bool first) {
    x->scc = first;
    if (a == b) x->open_scc = true;
    return (uint32_t)(first ? a : b);
}

static int64_t signed_field(uint64_t value, unsigned width) {
    if (width == 0) return 0;
    if (width >= 64) return (int64_t)value;
    const uint64_t top = UINT64_C(1) << (width - 1);
    value &= 2 * top - 1;
    return (int64_t)(value ^ top) - (int64_t)top;
}

static uint64_t low_ones(unsigned n) { return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1; }

static uint64_t bfe_u(uint64_t value, uint32_t control, unsigned bits) {
    const unsigned offset = control & (bits - 1), width = control >> 16 & 127;
    return value >> offset & low_ones(width);
}

static uint64_t bfe_i(uint64_t value, uint32_t control, unsigned bits) {
    const unsigned offset = control & (bits - 1), width = control >> 16 & 127;
    const uint64_t moved = (uint64_t)(signed_field(value, bits) >> offset);
    return (uint64_t)signed_field(moved, width);
}

static unsigned count(uint64_t value) {
    unsigned n = 0;
    for (unsigned i = 0; i < 64; i++) n += value >> i & 1;
    return n;
}

static uint64_t reversed(uint64_t value, unsigned bits) {
    uint64_t result = 0;
    for (unsigned i = 0; i < bits; i++)
        if (value >> i & 1) result |= UINT64_C(1) << (bits - 1 - i);
    return result;
}

static uint32_t lowest(uint64_t value, unsigned bits) {
    for (unsigned i = 0; i < bits; i++)
        if (value >> i & 1) return i;
    return UINT32_MAX;
}

static uint32_t highest(uint64_t value, unsigned bits) {
    for (unsigned i = 0; i < bits; i++)
        if (value >> (bits - 1 - i) & 1) return i;
    return UINT32_MAX;
}

/* Leading bits that equal the sign; all ones if all do. */
static uint32_t sign_run(uint64_t value, unsigned bits) {
    const uint64_t sign = value >> (bits - 1) & 1;
    for (unsigned i = 1; i < bits; i++)
        if ((value >> (bits - 1 - i) & 1) != sign) return i;
    return UINT32_MAX;
}

static uint64_t quads(uint64_t value, unsigned bits, bool whole) {
    uint64_t result = 0;
    for (unsigned i = 0; i < bits; i += 4)
        if (value >> i & 15) result |= whole ? UINT64_C(15) << i : UINT64_C(1) << (i / 4);
    return result;
}

static uint64_t replicated(uint32_t value) {
    uint64_t result = 0;
    for (unsigned i = 0; i < 32; i++)
        if (value >> i & 1) result |= UINT64_C(3) << (2 * i);
    return result;
}

/* exec becomes `exec`; the destination gets the old one, or the new one of the wrexec form. */
static void set_exec(struct isa_lane *x, uint64_t exec, bool give_new) {
    x->d = give_new ? exec : x->exec;
    x->exec = exec;
    x->scc = exec != 0;
}

static void absolute(struct isa_lane *x) {
    const int64_t value = SA;
    x->d = narrow(x, (uint32_t)(value < 0 ? -value : value));
}

static uint32_t difference(struct isa_lane *x) {
    /* The manual's examples wrap: 0x80000000 and 1 give 0x7fffffff. */
    const uint32_t value = (uint32_t)(A - B);
    return narrow(x, value >> 31 ? ~value + 1 : value);
}

#define COMPARE_ROWS(ROW)                                                                          \
    ROW(s_cmp_eq_i32, SOPC, 0, NONE, I32, I32, NONE, x->scc = A == B)                              \
    ROW(s_cmp_lg_i32, SOPC, 0, NONE, I32, I32, NONE, x->scc = A != B)                              \
    ROW(s_cmp_gt_i32, SOPC, 0, NONE, I32, I32, NONE, x->scc = SA > SB)                             \
    ROW(s_cmp_ge_i32, SOPC, 0, NONE, I32, I32, NONE, x->scc = SA >= SB)                            \
    ROW(s_cmp_lt_i32, SOPC, 0, NONE, I32, I32, NONE, x->scc = SA < SB)                             \
    ROW(s_cmp_le_i32, SOPC, 0, NONE, I32, I32, NONE, x->scc = SA <= SB)                            \
    ROW(s_cmp_eq_u32, SOPC, 0, NONE, I32, I32, NONE, x->scc = A == B)                              \
    ROW(s_cmp_lg_u32, SOPC, 0, NONE, I32, I32, NONE, x->scc = A != B)                              \
    ROW(s_cmp_gt_u32, SOPC, 0, NONE, I32, I32, NONE, x->scc = A > B)                               \
    ROW(s_cmp_ge_u32, SOPC, 0, NONE, I32, I32, NONE, x->scc = A >= B)                              \
    ROW(s_cmp_lt_u32, SOPC, 0, NONE, I32, I32, NONE, x->scc = A < B)                               \
    ROW(s_cmp_le_u32, SOPC, 0, NONE, I32, I32, NONE, x->scc = A <= B)                              \
    ROW(s_cmp_eq_u64, SOPC, 0, NONE, I64, I64, NONE, x->scc = LA == LB)                            \
    ROW(s_cmp_lg_u64, SOPC, 0, NONE, I64, I64, NONE, x->scc = LA != LB)                            \
    ROW(s_bitcmp0_b32, SOPC, 0, NONE, I32, I32, NONE, x->scc = (A >> (B & 31) & 1) == 0)           \
    ROW(s_bitcmp1_b32, SOPC, 0, NONE, I32, I32, NONE, x->scc = (A >> (B & 31) & 1) == 1)           \
    ROW(s_bitcmp0_b64, SOPC, 0, NONE, I64, I32, NONE, x->scc = (LA >> (B & 63) & 1) == 0)          \
    ROW(s_bitcmp1_b64, SOPC, 0, NONE, I64, I32, NONE, x->scc = (LA >> (B & 63) & 1) == 1)          \
    ROW(s_cmpk_eq_i32, SOPK, 0, NONE, I32, I32, NONE, x->scc = SA == SB)                           \
    ROW(s_cmpk_lg_i32, SOPK, 0, NONE, I32, I32, NONE, x->scc = SA != SB)                           \
    ROW(s_cmpk_gt_i32, SOPK, 0, NONE, I32, I32, NONE, x->scc = SA > SB)                            \
    ROW(s_cmpk_ge_i32, SOPK, 0, NONE, I32, I32, NONE, x->scc = SA >= SB)                           \
    ROW(s_cmpk_lt_i32, SOPK, 0, NONE, I32, I32, NONE, x->scc = SA < SB)                            \
    ROW(s_cmpk_le_i32, SOPK, 0, NONE, I32, I32, NONE, x->scc = SA <= SB)                           \
    ROW(s_cmpk_eq_u32, SOPK, 0, NONE, I32, I32, NONE, x->scc = A == HB)                            \
    ROW(s_cmpk_lg_u32, SOPK, 0, NONE, I32, I32, NONE, x->scc = A != HB)                            \
    ROW(s_cmpk_gt_u32, SOPK, 0, NONE, I32, I32, NONE, x->scc = A > HB)                             \
    ROW(s_cmpk_ge_u32, SOPK, 0, NONE, I32, I32, NONE, x->scc = A >= HB)                            \
    ROW(s_cmpk_lt_u32, SOPK, 0, NONE, I32, I32, NONE, x->scc = A < HB)                             \
    ROW(s_cmpk_le_u32, SOPK, 0, NONE, I32, I32, NONE, x->scc = A <= HB)                            \
    ROW(s_movk_i32, SOPK, 0, I32, I32, NONE, NONE, D = A)                                          \
    ROW(s_cmovk_i32, SOPK, PARTIAL, I32, I32, NONE, NONE, D = x->scc ? A : D)                      \
    ROW(s_addk_i32, SOPK, PARTIAL, I32, I32, NONE, NONE,                                           \
        D = overflowed(x, (int64_t)(int32_t)(uint32_t)D + SA))                                     \
    ROW(s_mulk_i32, SOPK, PARTIAL, I32, I32, NONE, NONE, D = (uint32_t)D * A)

#define LOGIC_ROWS(ROW)                                                                            \
    ROW(s_and_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, A & B))                             \
    ROW(s_and_b64, SOP2, 0, I64, I64, I64, NONE, D = non_zero(x, LA & LB))                         \
    ROW(s_or_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, A | B))                              \
    ROW(s_or_b64, SOP2, 0, I64, I64, I64, NONE, D = non_zero(x, LA | LB))                          \
    ROW(s_xor_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, A ^ B))                             \
    ROW(s_xor_b64, SOP2, 0, I64, I64, I64, NONE, D = non_zero(x, LA ^ LB))                         \
    ROW(s_andn2_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, A & ~B))                          \
    ROW(s_andn2_b64, SOP2, 0, I64, I64, I64, NONE, D = non_zero(x, LA & ~LB))                      \
    ROW(s_orn2_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, A | ~B))                           \
    ROW(s_orn2_b64, SOP2, 0, I64, I64, I64, NONE, D = non_zero(x, LA | ~LB))                       \
    ROW(s_nand_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, ~(A & B)))                         \
    ROW(s_nand_b64, SOP2, 0, I64, I64, I64, NONE, D = non_zero(x, ~(LA & LB)))                     \
    ROW(s_nor_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, ~(A | B)))                          \
    ROW(s_nor_b64, SOP2, 0, I64, I64, I64, NONE, D = non_zero(x, ~(LA | LB)))                      \
    ROW(s_xnor_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, ~(A ^ B)))                         \
    ROW(s_xnor_b64, SOP2, 0, I64, I64, I64, NONE, D = non_zero(x, ~(LA ^ LB)))                     \
    ROW(s_not_b32, SOP2, 0, I32, I32, NONE, NONE, D = narrow(x, ~A))                               \
    ROW(s_not_b64, SOP2, 0, I64, I64, NONE, NONE, D = non_zero(x, ~LA))                            \
    ROW(s_lshl_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, A << (B & 31)))                    \
    ROW(s_lshl_b64, SOP2, 0, I64, I64, I32, NONE, D = non_zero(x, LA << (B & 63)))                 \
    ROW(s_lshr_b32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, A >> (B & 31)))                    \
    ROW(s_lshr_b64, SOP2, 0, I64, I64, I32, NONE, D = non_zero(x, LA >> (B & 63)))                 \
    ROW(s_ashr_i32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, (uint32_t)(SA >> (B & 31))))       \
    ROW(s_ashr_i64, SOP2, 0, I64, I64, I32, NONE,                                                  \
        D = non_zero(x, (uint64_t)((int64_t)LA >> (B & 63))))                                      \
    ROW(s_bfm_b32, SOP2, 0, I32, I32, I32, NONE, D = ((1u << (A & 31)) - 1) << (B & 31))           \
    ROW(s_bfm_b64, SOP2, 0, I64, I32, I32, NONE, D = low_ones(A & 63) << (B & 63))                 \
    ROW(s_bfe_u32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, (uint32_t)bfe_u(A, B, 32)))         \
    ROW(s_bfe_i32, SOP2, 0, I32, I32, I32, NONE, D = narrow(x, (uint32_t)bfe_i(A, B, 32)))         \
    ROW(s_bfe_u64, SOP2, 0, I64, I64, I32, NONE, D = non_zero(x, bfe_u(LA, B, 64)))                \
    ROW(s_bfe_i64, SOP2, 0, I64, I64, I32, NONE, D = non_zero(x, bfe_i(LA, B, 64)))                \
    ROW(s_wqm_b32, SOP2, 0, I32, I32, NONE, NONE, D = narrow(x, (uint32_t)quads(A, 32, true)))     \
    ROW(s_wqm_b64, SOP2, 0, I64, I64, NONE, NONE, D = non_zero(x, quads(LA, 64, true)))            \
    ROW(s_quadmask_b32, SOP2, 0, I32, I32, NONE, NONE,                                             \
        D = narrow(x, (uint32_t)quads(A, 32, false)))                                              \
    ROW(s_quadmask_b64, SOP2, 0, I64, I64, NONE, NONE, D = non_zero(x, quads(LA, 64, false)))      \
    ROW(s_bitset0_b32, SOP2, PARTIAL, I32, I32, NONE, NONE, D = D & ~(1u << (A & 31)))             \
    ROW(s_bitset1_b32, SOP2, PARTIAL, I32, I32, NONE, NONE, D = D | 1u << (A & 31))                \
    ROW(s_bitset0_b64, SOP2, PARTIAL, I64, I32, NONE, NONE, D = D & ~(UINT64_C(1) << (A & 63)))    \
    ROW(s_bitset1_b64, SOP2, PARTIAL, I64, I32, NONE, NONE, D = D | UINT64_C(1) << (A & 63))       \
    ROW(s_and_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, LA & x->exec, 0))       \
    ROW(s_or_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, LA | x->exec, 0))        \
    ROW(s_xor_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, LA ^ x->exec, 0))       \
    ROW(s_andn2_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, LA & ~x->exec, 0))    \
    ROW(s_orn2_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, LA | ~x->exec, 0))     \
    ROW(s_nand_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, ~(LA & x->exec), 0))   \
    ROW(s_nor_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, ~(LA | x->exec), 0))    \
    ROW(s_xnor_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, ~(LA ^ x->exec), 0))   \
    ROW(s_andn1_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, ~LA & x->exec, 0))    \
    ROW(s_orn1_saveexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, ~LA | x->exec, 0))     \
    ROW(s_andn1_wrexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, ~LA & x->exec, 1))      \
    ROW(s_andn2_wrexec_b64, SOP2, EXECS, I64, I64, NONE, NONE, set_exec(x, LA & ~x->exec, 1))

#define ROWS(ROW)                                                                                  \
    ROW(s_mov_b32, SOP2, 0, I32, I32, NONE, NONE, D = A)                                           \
    ROW(s_mov_b64, SOP2, 0, I64, I64, NONE, NONE, D = LA)                                          \
    ROW(s_cmov_b32, SOP2, PARTIAL, I32, I32, NONE, NONE, D = x->scc ? A : D)                       \
    ROW(s_cmov_b64, SOP2, PARTIAL, I64, I64, NONE, NONE, D = x->scc ? LA : D)                      \
    ROW(s_cselect_b32, SOP2, 0, I32, I32, I32, NONE, D = x->scc ? A : B)                           \
    ROW(s_cselect_b64, SOP2, 0, I64, I64, I64, NONE, D = x->scc ? LA : LB)                         \
    ROW(s_add_u32, SOP2, 0, I32, I32, I32, NONE, D = carried(x, (uint64_t)A + B))                  \
    ROW(s_sub_u32, SOP2, 0, I32, I32, I32, NONE, D = borrowed(x, A, B))                            \
    ROW(s_addc_u32, SOP2, 0, I32, I32, I32, NONE, D = carried(x, (uint64_t)A + B + x->scc))        \
    ROW(s_subb_u32, SOP2, 0, I32, I32, I32, NONE, D = borrowed(x, A, (uint64_t)B + x->scc))        \
    ROW(s_add_i32, SOP2, 0, I32, I32, I32, NONE, D = overflowed(x, (int64_t)SA + SB))              \
    ROW(s_sub_i32, SOP2, 0, I32, I32, I32, NONE, D = overflowed(x, (int64_t)SA - SB))              \
    ROW(s_min_i32, SOP2, NO_RANDOM, I32, I32, I32, NONE, D = chosen(x, SA, SB, SA < SB))           \
    ROW(s_min_u32, SOP2, NO_RANDOM, I32, I32, I32, NONE, D = chosen(x, A, B, A < B))               \
    ROW(s_max_i32, SOP2, NO_RANDOM, I32, I32, I32, NONE, D = chosen(x, SA, SB, SA > SB))           \
    ROW(s_max_u32, SOP2, NO_RANDOM, I32, I32, I32, NONE, D = chosen(x, A, B, A > B))               \
    ROW(s_mul_i32, SOP2, 0, I32, I32, I32, NONE, D = A * B)                                        \
    ROW(s_mul_hi_u32, SOP2, 0, I32, I32, I32, NONE, D = (uint64_t)A * B >> 32)                     \
    ROW(s_mul_hi_i32, SOP2, 0, I32, I32, I32, NONE, D = (uint64_t)((int64_t)SA * SB) >> 32)        \
    ROW(s_lshl1_add_u32, SOP2, 0, I32, I32, I32, NONE, D = carried(x, ((uint64_t)A << 1) + B))     \
    ROW(s_lshl2_add_u32, SOP2, 0, I32, I32, I32, NONE, D = carried(x, ((uint64_t)A << 2) + B))     \
    ROW(s_lshl3_add_u32, SOP2, 0, I32, I32, I32, NONE, D = carried(x, ((uint64_t)A << 3) + B))     \
    ROW(s_lshl4_add_u32, SOP2, 0, I32, I32, I32, NONE, D = carried(x, ((uint64_t)A << 4) + B))     \
    ROW(s_absdiff_i32, SOP2, 0, I32, I32, I32, NONE, D = difference(x))                            \
    ROW(s_abs_i32, SOP2, 0, I32, I32, NONE, NONE, absolute(x))                                     \
    ROW(s_pack_ll_b32_b16, SOP2, 0, I32, I32, I32, NONE, D = (A & 0xffff) | B << 16)               \
    ROW(s_pack_lh_b32_b16, SOP2, 0, I32, I32, I32, NONE, D = (A & 0xffff) | (B & 0xffff0000))      \
    ROW(s_pack_hh_b32_b16, SOP2, 0, I32, I32, I32, NONE, D = A >> 16 | (B & 0xffff0000))           \
    ROW(s_brev_b32, SOP2, 0, I32, I32, NONE, NONE, D = reversed(A, 32))                            \
    ROW(s_brev_b64, SOP2, 0, I64, I64, NONE, NONE, D = reversed(LA, 64))                           \
    ROW(s_bcnt0_i32_b32, SOP2, 0, I32, I32, NONE, NONE, D = narrow(x, count((uint32_t)~A)))        \
    ROW(s_bcnt0_i32_b64, SOP2, 0, I32, I64, NONE, NONE, D = narrow(x, count(~LA)))                 \
    ROW(s_bcnt1_i32_b32, SOP2, 0, I32, I32, NONE, NONE, D = narrow(x, count(A)))                   \
    ROW(s_bcnt1_i32_b64, SOP2, 0, I32, I64, NONE, NONE, D = narrow(x, count(LA)))                  \
    ROW(s_ff0_i32_b32, SOP2, 0, I32, I32, NONE, NONE, D = lowest(~A, 32))                          \
    ROW(s_ff0_i32_b64, SOP2, 0, I32, I64, NONE, NONE, D = lowest(~LA, 64))                         \
    ROW(s_ff1_i32_b32, SOP2, 0, I32, I32, NONE, NONE, D = lowest(A, 32))                           \
    ROW(s_ff1_i32_b64, SOP2, 0, I32, I64, NONE, NONE, D = lowest(LA, 64))                          \
    ROW(s_flbit_i32_b32, SOP2, 0, I32, I32, NONE, NONE, D = highest(A, 32))                        \
    ROW(s_flbit_i32_b64, SOP2, 0, I32, I64, NONE, NONE, D = highest(LA, 64))                       \
    ROW(s_flbit_i32, SOP2, 0, I32, I32, NONE, NONE, D = sign_run(A, 32))                           \
    ROW(s_flbit_i32_i64, SOP2, 0, I32, I64, NONE, NONE, D = sign_run(LA, 64))                      \
    ROW(s_sext_i32_i8, SOP2, 0, I32, I32, NONE, NONE, D = (uint64_t)signed_field(A, 8))            \
    ROW(s_sext_i32_i16, SOP2, 0, I32, I32, NONE, NONE, D = (uint64_t)signed_field(A, 16))          \
    ROW(s_bitreplicate_b64_b32, SOP2, 0, I64, I32, NONE, NONE, D = replicated(A))                  \
    LOGIC_ROWS(ROW)                                                                                \
    COMPARE_ROWS(ROW)

enum { EXECS = WRITES_EXEC | NO_RANDOM };

DEFINE_ROWS(isa_scalar_rows)
