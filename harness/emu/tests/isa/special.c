/* SPDX-License-Identifier: Apache-2.0 */
#include "special.h"
#include "number.h"

#include <string.h>

static uint64_t exec_of(const struct isa_state *s) {
    return (uint64_t)s->s[ISA_EXEC + 1] << 32 | s->s[ISA_EXEC];
}

static unsigned first_lane(const struct isa_state *s) {
    for (unsigned lane = 0; lane < ISA_LANES; lane++)
        if (exec_of(s) >> lane & 1) return lane;
    return 0;
}

static void readlane(struct isa_state *s, const void *argument) {
    (void)argument;
    s->s[20] = s->v[4][s->s[16] & 63];
    s->s[21] = s->v[5][37];
    s->s[22] = s->v[6][first_lane(s)];
}

static void writelane(struct isa_state *s, const void *argument) {
    (void)argument;
    s->v[4][s->s[16] & 63] = s->s[18];
    s->v[5][61] = s->s[19];
}

/* Only lanes that execute give their values; others give 0. */
static void bpermute(struct isa_state *s, const void *argument) {
    (void)argument;
    const struct isa_state before = *s;
    for (unsigned lane = 0; lane < ISA_LANES; lane++) {
        if ((exec_of(s) >> lane & 1) == 0) continue;
        const unsigned from = (before.v[2][lane] + 12) / 4 & 63;
        s->v[8][lane] = exec_of(s) >> from & 1 ? before.v[4][from] : 0;
    }
}

/* Later lanes win; lanes that nobody writes to get 0. */
static void permute(struct isa_state *s, const void *argument) {
    (void)argument;
    uint32_t result[ISA_LANES] = {0};
    for (unsigned lane = 0; lane < ISA_LANES; lane++)
        if (exec_of(s) >> lane & 1) result[s->v[2][lane] / 4 & 63] = s->v[4][lane];
    for (unsigned lane = 0; lane < ISA_LANES; lane++)
        if (exec_of(s) >> lane & 1) s->v[8][lane] = result[lane];
}

static void swizzled(struct isa_state *s, unsigned to, unsigned (*from)(unsigned lane)) {
    const struct isa_state before = *s;
    for (unsigned lane = 0; lane < ISA_LANES; lane++)
        if (exec_of(s) >> lane & 1)
            s->v[to][lane] = exec_of(s) >> from(lane) & 1 ? before.v[4][from(lane)] : 0;
}
static unsigned quad_reversed(unsigned lane) { return lane ^ 3; }
static unsigned half_swapped(unsigned lane) { return lane ^ 16; }
static unsigned broadcast_of_8(unsigned lane) { return (lane & ~7u) | 5; }
static void swizzle(struct isa_state *s, const void *argument) {
    (void)argument;
    swizzled(s, 8, quad_reversed);
    swizzled(s, 9, half_swapped);
    swizzled(s, 10, broadcast_of_8);
}

static void swap(struct isa_state *s, const void *argument) {
    (void)argument;
    for (unsigned lane = 0; lane < ISA_LANES; lane++) {
        if ((exec_of(s) >> lane & 1) == 0) continue;
        const uint32_t value = s->v[4][lane];
        s->v[4][lane] = s->v[6][lane];
        s->v[6][lane] = value;
    }
}

static void accumulators(struct isa_state *s, const void *argument) {
    (void)argument;
    for (unsigned lane = 0; lane < ISA_LANES; lane++)
        if (exec_of(s) >> lane & 1) s->v[8][lane] = s->v[4][lane];
}

static void scalar_loads(struct isa_state *s, const void *argument) {
    (void)argument;
    memcpy(&s->s[16], s->memory + 0x10, 4);
    memcpy(&s->s[18], s->memory + 0x20, 8);
    memcpy(&s->s[20], s->memory + 0x40, 16);
    memcpy(&s->s[24], s->memory + 0x80, 32);
    memcpy(&s->s[32], s->memory + 0x104, 64);
}

static void branches(struct isa_state *s, const void *argument) {
    (void)argument;
    uint32_t taken = 0;
    if (s->scc) taken |= 1;
    if (!s->scc) taken |= 2;
    if (s->s[ISA_VCC] | s->s[ISA_VCC + 1]) taken |= 4;
    if ((s->s[ISA_VCC] | s->s[ISA_VCC + 1]) == 0) taken |= 8;
    if (exec_of(s) != 0) taken |= 16;
    if (exec_of(s) == 0) taken |= 32;
    s->s[16] = taken | 64;
}

static void calls(struct isa_state *s, const void *argument) {
    (void)argument;
    s->s[16] = 7;
    s->s[17] = 5;
    s->s[18] = 9;
}

static void modes(struct isa_state *s, const void *argument) {
    (void)argument;
    s->s[16] = 0x2a5;
    s->s[17] = 0xa;
    s->s[18] = 0x395;
    s->mode = 0x395;
}

static void loops(struct isa_state *s, const void *argument) {
    (void)argument;
    for (unsigned lane = 0; lane < ISA_LANES; lane++)
        if (exec_of(s) >> lane & 1) s->v[4][lane] += 55;
    s->s[16] = 0;
    s->scc = false;
}

static void nothing(struct isa_state *s, const void *argument) {
    (void)s;
    (void)argument;
}

static void scalar_stores(struct isa_state *s, const void *argument) {
    (void)argument;
    memcpy(s->memory + 0x10, &s->s[16], 4);
    memcpy(s->memory + 0x20, &s->s[18], 8);
    memcpy(s->memory + 0x40, &s->s[20], 16);
}

static void relative(struct isa_state *s, const void *argument) {
    (void)argument;
    const struct isa_state before = *s;
    s->s[20] = before.s[22 + 4];
    s->s[28 + 4] = before.s[17];
    s->s[36] = before.s[38 + 4];
    s->s[37] = before.s[39 + 4];
    s->s[44] = before.s[18];
    s->s[45] = before.s[19];
}

static void indexed(struct isa_state *s, const void *argument) {
    (void)argument;
    const struct isa_state before = *s;
    for (unsigned lane = 0; lane < ISA_LANES; lane++) {
        if ((exec_of(s) >> lane & 1) == 0) continue;
        s->v[8][lane] = before.v[4 + 3][lane];
        s->v[20 + 5][lane] = before.v[12][lane];
    }
}

static void inserted_bytes(struct isa_state *s, const void *argument) {
    (void)argument;
    for (unsigned lane = 0; lane < ISA_LANES; lane++) {
        if ((exec_of(s) >> lane & 1) == 0) continue;
        const unsigned shift = 8 * (s->v[6][lane] & 3);
        const uint32_t byte = (s->v[4][lane] & 0xff) << shift, keep = ~(0xffu << shift);
        s->v[8][lane] = (s->v[8][lane] & keep) | byte;
        s->v[10][lane] = (s->v[12][lane] & keep) | byte;
    }
}

static void mixes(struct isa_state *s, const void *argument) {
    (void)argument;
    for (unsigned lane = 0; lane < ISA_LANES; lane++) {
        if ((exec_of(s) >> lane & 1) == 0) continue;
        const uint32_t a = s->v[4][lane], b = s->v[6][lane], c = s->v[8][lane];
        const uint64_t low = isa_convert(F32, F16, 0x3f0, 0, a & 0xffff),
                       high = isa_convert(F32, F16, 0x3f0, 0, b >> 16);
        const uint64_t whole = isa_compute(FMA, F32, 0x3f0, low, high, c);
        s->v[10][lane] = (uint32_t)whole;
        /* Whether the half is rounded once or twice is not said: left open unless the single is a half. */
        const uint32_t half = (uint32_t)isa_convert(F16, F32, 0x3f0, 0, whole);
        const bool open = isa_convert(F32, F16, 0x3f0, 0, half) != whole;
        s->v[12][lane] = (s->v[12][lane] & 0xffff0000) | half;
        s->v[14][lane] = (s->v[14][lane] & 0xffff) | half << 16;
        if (open) s->open[12][lane] = 0xffff, s->open[14][lane] = 0xffff0000;
        if (isa_nan(F16, a & 0xffff) || isa_nan(F16, b >> 16) || isa_nan(F32, c))
            s->open[10][lane] = s->open[12][lane] = s->open[14][lane] = UINT32_MAX;
    }
}

const struct isa_special isa_specials[] = {
    {"buffer_inv buffer_wbl2 s_dcache_inv s_dcache_wb s_icache_inv s_nop v_nop ds_nop s_setprio "
     "s_sleep s_barrier s_decperflevel "
     "s_incperflevel s_dcache_inv_vol s_dcache_wb_vol buffer_wbinvl1 buffer_wbinvl1_vol s_sethalt "
     "s_ttracedata s_memtime "
     "s_memrealtime",                                                      "\tbuffer_inv sc1\n\tbuffer_wbl2 sc1\n\ts_dcache_inv\n\ts_dcache_wb\n\ts_icache_inv\n\ts_nop "
     "7\n\tv_nop\n\tds_nop\n"
     "\ts_setprio 3\n\ts_sleep 1\n\ts_barrier\n\ts_decperflevel 1\n\ts_incperflevel "
     "1\n\ts_dcache_inv_vol\n\ts_dcache_wb_vol\n"
     "\ts_sethalt 0\n\ts_ttracedata\n\ts_memtime s[48:49]\n\ts_memrealtime s[50:51]\n\ts_waitcnt "
     "lgkmcnt(0)\n", nothing},
    {"s_store_dword s_store_dwordx2 s_store_dwordx4",
     "\ts_movk_i32 s48, 0x20\n\ts_store_dword s16, s[14:15], 0x10\n\ts_store_dwordx2 s[18:19], "
     "s[14:15], s48\n"
     "\ts_store_dwordx4 s[20:23], s[14:15], 0x40\n\ts_dcache_wb\n", scalar_stores},
    {"s_movrels_b32 s_movreld_b32 s_movrels_b64 s_movreld_b64",
     "\ts_mov_b32 m0, 4\n\ts_nop 4\n\ts_movrels_b32 s20, s22\n\ts_movreld_b32 s28, "
     "s17\n\ts_movrels_b64 s[36:37], s[38:39]\n"
     "\ts_movreld_b64 s[40:41], s[18:19]\n", relative},
    {"s_set_gpr_idx_on s_set_gpr_idx_off s_set_gpr_idx_idx s_set_gpr_idx_mode",
     "\ts_movk_i32 s48, 3\n\ts_movk_i32 s49, 5\n\ts_set_gpr_idx_on s48, "
     "gpr_idx(SRC0)\n\tv_mov_b32_e32 v8, v4\n"
     "\ts_set_gpr_idx_idx s49\n\ts_set_gpr_idx_mode gpr_idx(DST)\n\tv_mov_b32_e32 v20, "
     "v12\n\ts_set_gpr_idx_off\n", indexed},
    {"v_cvt_pkaccum_u8_f32 v_cvt_pk_u8_f32",
     "\tv_cvt_f32_ubyte0_e32 v63, v4\n\tv_cvt_pkaccum_u8_f32 v8, v63, v6\n\tv_cvt_pk_u8_f32 v10, "
     "v63, v6, v12\n", inserted_bytes},
    {"s_sendmsg",                                                                 "\ts_sendmsg sendmsg(MSG_INTERRUPT)\n", nothing},
    {"v_fma_mix_f32 v_fma_mixlo_f16 v_fma_mixhi_f16",
     "\tv_fma_mix_f32 v10, v4, v6, v8 op_sel:[0,1,0] op_sel_hi:[1,1,0]\n"
     "\tv_fma_mixlo_f16 v12, v4, v6, v8 op_sel:[0,1,0] op_sel_hi:[1,1,0]\n"
     "\tv_fma_mixhi_f16 v14, v4, v6, v8 op_sel:[0,1,0] op_sel_hi:[1,1,0]\n", mixes},
    {"v_readlane_b32 v_readfirstlane_b32",
     "\tv_readlane_b32 s20, v4, s16\n\tv_readlane_b32 s21, v5, 37\n\tv_readfirstlane_b32 s22, v6\n", readlane},
    {"v_writelane_b32",                                    "\tv_writelane_b32 v4, s18, m0\n\tv_writelane_b32 v5, s19, 61\n",
     writelane},
    {"ds_bpermute_b32",                                                           "\tds_bpermute_b32 v8, v2, v4 offset:12\n", bpermute},
    {"ds_permute_b32",                                                               "\tds_permute_b32 v8, v2, v4\n", permute},
    {"ds_swizzle_b32",
     "\tds_swizzle_b32 v8, v4 offset:swizzle(QUAD_PERM,3,2,1,0)\n\tds_swizzle_b32 v9, v4 "
     "offset:swizzle(SWAP,16)\n"
     "\tds_swizzle_b32 v10, v4 offset:swizzle(BROADCAST,8,5)\n", swizzle},
    {"v_swap_b32",                           "\tv_swap_b32 v4, v6\n", swap},
    {"v_accvgpr_write_b32 v_accvgpr_mov_b32 v_accvgpr_read_b32",
     "\tv_accvgpr_write_b32 a3, v4\n\tv_accvgpr_mov_b32 a9, a3\n\ts_nop 4\n\tv_accvgpr_read_b32 "
     "v8, a9\n", accumulators},
    {"s_load_dword s_load_dwordx2 s_load_dwordx4 s_load_dwordx8 s_load_dwordx16 s_waitcnt s_nop",
     "\ts_movk_i32 s48, 0x20\n\ts_load_dword s16, s[14:15], 0x10\n\ts_load_dwordx2 s[18:19], "
     "s[14:15], s48\n"
     "\ts_load_dwordx4 s[20:23], s[14:15], 0x40\n\ts_load_dwordx8 s[24:31], s[14:15], 0x80\n"
     "\ts_load_dwordx16 s[32:47], s[14:15], 0x104\n\ts_waitcnt lgkmcnt(0)\n", scalar_loads},
    {"s_buffer_load_dword s_buffer_load_dwordx2 s_buffer_load_dwordx4 s_buffer_load_dwordx8 "
     "s_buffer_load_dwordx16",                                                                 "\ts_mov_b32 s48, s14\n\ts_mov_b32 s49, s15\n\ts_movk_i32 s50, 0x400\n\ts_mov_b32 s51, "
     "0x27000\n\ts_movk_i32 s52, 0x20\n"
     "\ts_buffer_load_dword s16, s[48:51], 0x10\n\ts_buffer_load_dwordx2 s[18:19], s[48:51], s52\n"
     "\ts_buffer_load_dwordx4 s[20:23], s[48:51], 0x40\n\ts_buffer_load_dwordx8 s[24:31], "
     "s[48:51], 0x80\n"
     "\ts_buffer_load_dwordx16 s[32:47], s[48:51], 0x104\n\ts_waitcnt lgkmcnt(0)\n", scalar_loads},
    {"s_cbranch_scc0 s_cbranch_scc1 s_cbranch_vccnz s_cbranch_vccz s_cbranch_execnz "
     "s_cbranch_execz s_branch",                                                         "\ts_mov_b32 s16, 0\n\ts_cbranch_scc0 1f\n\ts_bitset1_b32 s16, 0\n1:\n\ts_cbranch_scc1 "
     "1f\n\ts_bitset1_b32 s16, 1\n1:\n"
     "\ts_cbranch_vccz 1f\n\ts_bitset1_b32 s16, 2\n1:\n\ts_cbranch_vccnz 1f\n\ts_bitset1_b32 s16, "
     "3\n1:\n"
     "\ts_cbranch_execz 1f\n\ts_bitset1_b32 s16, 4\n1:\n\ts_cbranch_execnz 1f\n\ts_bitset1_b32 "
     "s16, 5\n1:\n"
     "\ts_branch 1f\n\ts_mov_b32 s16, -1\n1:\n\ts_bitset1_b32 s16, 6\n", branches},
    {"s_getpc_b64 s_setpc_b64 s_swappc_b64 s_call_b64",
     "\ts_cselect_b32 s53, 1, 0\n\ts_call_b64 s[48:49], 1f\n\ts_movk_i32 s17, 5\n\ts_branch "
     "2f\n1:\n\ts_movk_i32 s16, 7\n"
     "\ts_setpc_b64 s[48:49]\n2:\n\ts_getpc_b64 s[48:49]\n3:\n\ts_add_u32 s48, s48, "
     "4f-3b\n\ts_addc_u32 s49, s49, 0\n"
     "\ts_swappc_b64 s[50:51], s[48:49]\n\ts_branch 5f\n4:\n\ts_movk_i32 s18, 9\n\ts_setpc_b64 "
     "s[50:51]\n5:\n"
     "\ts_cmp_lg_u32 s53, 0\n", calls},
    {"s_setreg_imm32_b32 s_setreg_b32 s_getreg_b32",
     "\ts_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 10), 0x2a5\n\ts_getreg_b32 s16, "
     "hwreg(HW_REG_MODE, 0, 10)\n"
     "\ts_getreg_b32 s17, hwreg(HW_REG_MODE, 4, 4)\n\ts_movk_i32 s48, 0x39\n"
     "\ts_setreg_b32 hwreg(HW_REG_MODE, 4, 6), s48\n\ts_getreg_b32 s18, hwreg(HW_REG_MODE, 0, "
     "10)\n", modes},
    {"s_cbranch_scc1",
     "\ts_movk_i32 s16, 10\n1:\n\tv_add_u32_e32 v4, s16, v4\n\ts_sub_u32 s16, s16, "
     "1\n\ts_cmp_lg_u32 s16, 0\n"
     "\ts_cbranch_scc1 1b\n", loops},
    {0                                                         }
};

/* Addresses of lanes in v2; s16 and m0 choose a lane. Now and then vcc is zero. */
static void fill(struct isa_state *s, const struct isa_program *p, unsigned wave) {
    static const struct isa_row none = {
        "", VOP2, 0, I32, {NONE, NONE, NONE},
            NULL
    };
    struct isa_program any = {.default_mode = true};
    (void)p;
    any.list[0].row = &none;
    isa_fill(s, &any, wave);
    for (unsigned lane = 0; lane < ISA_LANES; lane++)
        s->v[2][lane] = (lane * 37 + wave * 11) % 64 * 4 + (uint32_t)(isa_random(51, wave) & 256);
    for (unsigned at = 0; at < ISA_MEMORY_BYTES; at++)
        s->memory[at] = (uint8_t)isa_random(52, wave * 1024u + at);
    s->s[16] = (uint32_t)isa_random(53, wave) % 64;
    s->m0 = s->s[16];
    if (wave % 4 == 1) s->s[ISA_VCC] = s->s[ISA_VCC + 1] = 0;
    if (wave == 6) s->s[ISA_EXEC] = s->s[ISA_EXEC + 1] = 0;
}

void isa_build_special(struct isa_program *p, const struct isa_special *special) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%.60s", special->names);
    snprintf(p->text, sizeof p->text, "%s", special->text);
    p->model = special->model;
    p->fill = fill;
    p->waves = 16;
    p->default_mode = true;
}
