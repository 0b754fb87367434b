/* SPDX-License-Identifier: Apache-2.0 */
/* Jumps and calls, traps, hardware registers, registers by computed number. */
#include <stdio.h>

#include "kernel.h"

/* Runs one wave whose body leaves a result in v2; word n of the answer is lane n's. */
static uint32_t *results(const char *body) {
    static const char begin[] = "s_load_dwordx2 s[6:7], s[0:1], 0x0\nv_lshlrev_b32 v1, 2, v0\n"
                                "s_waitcnt lgkmcnt(0)\n";
    static const char end[] = "global_store_dword v1, v2, s[6:7]\ns_endpgm\n";
    const size_t size = sizeof begin + strlen(body) + sizeof end;
    char *const text = malloc(size);
    struct kernel kernel = {.body = text};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(64);
    cr_assert_not_null(text);
    /* Functions of the body follow the mark "functions:". */
    const char *const functions = strstr(body, "functions:");
    const int n = functions != NULL ? (int)(functions - body) : (int)strlen(body);
    snprintf(text, size, "%s%.*s%s%s", begin, n, body, end,
             functions != NULL ? functions + strlen("functions:") : "");
    const int status = kernel_run(&kernel, 1, 64, (void *const[4]){words}, &fault);
    cr_assert_eq(status, 0, "%s", fault.text);
    kernel_free(&kernel);
    free(text);
    return words;
}

static void expect(const char *body, uint32_t value) {
    const uint32_t *const words = results(body);
    for (unsigned lane = 0; lane < 64; lane++)
        cr_assert_eq(words[lane], value, "lane %u: 0x%x, not 0x%x, of\n%s", lane, words[lane],
                     value, body);
}

Test(control, calls_return_to_their_callers) {
    expect("s_mov_b32 s8, 1\n"
           "s_getpc_b64 s[10:11]\n"
           "9:\n"
           "s_add_u32 s10, s10, 5f-9b\n"
           "s_addc_u32 s11, s11, 0\n"
           "s_swappc_b64 s[12:13], s[10:11]\n"
           "s_add_u32 s8, s8, 100\n"
           "s_swappc_b64 s[12:13], s[10:11]\n"
           "s_call_b64 s[12:13], 5f\n"
           "v_mov_b32 v2, s8\n"
           "functions:\n"
           "5:\n"
           "s_mul_i32 s8, s8, 3\n"
           "s_setpc_b64 s[12:13]\n",
           ((1 * 3 + 100) * 3) * 3);
}

/* Each conditional branch, taken and not: the bits of s8 that get set. */
Test(control, branches_look_at_their_condition) {
    expect(
        "s_mov_b32 s8, 0\n"
        "s_cmp_eq_u32 s8, 0\ns_cbranch_scc1 1f\ns_bitset1_b32 s8, 0\n1:\n"
        "s_cbranch_scc0 1f\ns_bitset1_b32 s8, 1\n1:\n"
        "s_mov_b64 vcc, 0\ns_cbranch_vccz 1f\ns_bitset1_b32 s8, 2\n1:\n"
        "s_cbranch_vccnz 1f\ns_bitset1_b32 s8, 3\n1:\n"
        "s_mov_b32 vcc_hi, 1\ns_cbranch_vccz 1f\ns_bitset1_b32 s8, 4\n1:\n"
        "s_cbranch_vccnz 1f\ns_bitset1_b32 s8, 5\n1:\n"
        "s_mov_b64 s[10:11], exec\ns_mov_b64 exec, 0\ns_cbranch_execz 1f\ns_bitset1_b32 s8, 6\n1:\n"
        "s_cbranch_execnz 1f\ns_bitset1_b32 s8, 7\n1:\n"
        "s_mov_b64 exec, s[10:11]\ns_cbranch_execz 1f\ns_bitset1_b32 s8, 8\n1:\n"
        "s_cbranch_execnz 1f\ns_bitset1_b32 s8, 9\n1:\n"
        "v_mov_b32 v2, s8\n",
        1 << 1 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8);
}

Test(control, traps_end_the_launch_and_debug_traps_do_not) {
    expect("s_trap 3\ns_nop 7\ns_setprio 3\ns_sethalt 0\ns_sendmsg sendmsg(MSG_INTERRUPT)\n"
           "s_sleep 1\ns_icache_inv\ns_incperflevel 1\ns_decperflevel 1\ns_ttracedata\n"
           "s_waitcnt vmcnt(0)\nv_mov_b32 v2, 3\n",
           3);
    kernel_expect_fault("s_trap 2\n", EMU_TRAP, "s_trap 2");
    kernel_expect_fault("s_sethalt 1\n", EMU_TRAP, "halts");
    kernel_expect_fault("s_sendmsg sendmsg(MSG_GS_DONE, GS_OP_NOP)\n", EMU_UNIMPLEMENTED,
                        "s_sendmsg");
}

Test(control, jumps_out_of_the_code_are_faults) {
    kernel_expect_fault("s_mov_b64 s[10:11], 0\ns_setpc_b64 s[10:11]\n", EMU_BAD_CODE,
                        "leads nowhere");
    kernel_expect_fault("s_getpc_b64 s[10:11]\ns_add_u32 s10, s10, 2\ns_setpc_b64 s[10:11]\n",
                        EMU_BAD_CODE, "leads nowhere");
    kernel_expect_fault(".long 0xbf827530\n", EMU_BAD_CODE, "leads nowhere");
    kernel_expect_fault(".long 0xbf9fffff\n", EMU_BAD_CODE, "no gfx942 instruction");
}

Test(control, what_is_not_emulated_is_named) {
    kernel_expect_fault("s_setvskip s8, 0\n", EMU_UNIMPLEMENTED, "s_setvskip");
    kernel_expect_fault("s_getreg_b32 s8, hwreg(HW_REG_TRAPSTS)\n", EMU_UNIMPLEMENTED,
                        "hardware register 3");
    kernel_expect_fault("s_setreg_imm32_b32 hwreg(HW_REG_MODE, 12, 1), 1\n", EMU_UNIMPLEMENTED,
                        "not emulated");
    kernel_expect_fault("s_mov_b32 s8, 0\ns_setreg_b32 hwreg(HW_REG_HW_ID), s8\n",
                        EMU_UNIMPLEMENTED, "hardware register 4");
}

Test(control, mode_is_read_and_written_by_fields) {
    expect("s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 4), 0x6\n"
           "s_mov_b32 s8, 1\n"
           "s_setreg_b32 hwreg(HW_REG_MODE, 23, 1), s8\n"
           "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 6, 2), 0x1\n"
           "s_getreg_b32 s8, hwreg(HW_REG_MODE)\n"
           "s_getreg_b32 s9, hwreg(HW_REG_MODE, 4, 4)\n"
           "s_lshl_b32 s9, s9, 28\n"
           "s_or_b32 s8, s8, s9\n"
           "v_mov_b32 v2, s8\n",
           0x00800376u | 0x70000000u);
}

/* 2000 workgroups of one wave: the die goes round, and a place is a unit below 10 of an engine below 4. */
Test(control, workgroups_have_places_on_the_device) {
    struct kernel kernel = {.body = "s_load_dwordx2 s[6:7], s[0:1], 0x0\n"
                                    "s_getreg_b32 s8, hwreg(HW_REG_XCC_ID, 0, 4)\n"
                                    "s_getreg_b32 s9, hwreg(HW_REG_HW_ID)\n"
                                    "s_lshl_b32 s8, s8, 16\ns_or_b32 s8, s8, s9\n"
                                    "s_lshl_b32 s10, s2, 2\nv_mov_b32 v1, s10\nv_mov_b32 v2, s8\n"
                                    "s_waitcnt lgkmcnt(0)\nglobal_store_dword v1, v2, s[6:7]\n"};
    enum { GROUPS = 2000, DIES = 8, UNITS = 304 };
    struct emu_fault fault;
    uint32_t *const words = kernel_words(GROUPS);
    cr_assert_eq(kernel_run(&kernel, GROUPS, 64, (void *const[4]){words}, &fault), 0, "%s",
                 fault.text);
    size_t n_places = 0;
    for (unsigned i = 0; i < GROUPS; i++) {
        cr_assert_eq(words[i] >> 16, i % DIES);
        cr_assert_lt(words[i] >> 8 & 15, 10);
        cr_assert_lt(words[i] >> 13 & 7, 4);
        bool seen = false;
        for (unsigned k = 0; k < i; k++) seen |= words[k] == words[i];
        n_places += !seen;
    }
    cr_expect_eq(n_places, UNITS);
    kernel_free(&kernel);
}

Test(control, scalar_registers_by_number) {
    expect("s_mov_b32 s16, 10\ns_mov_b32 s17, 11\ns_mov_b32 s18, 12\ns_mov_b32 s19, 13\n"
           "s_mov_b32 m0, 2\n"
           "s_movrels_b32 s8, s16\n"            /* s18 */
           "s_movrels_b64 s[10:11], s[16:17]\n" /* s[18:19] */
           "s_mov_b32 m0, 3\n"
           "s_movreld_b32 s17, s8\n" /* s20 */
           "s_mov_b32 m0, 4\n"
           "s_movreld_b64 s[18:19], s[10:11]\n" /* s[22:23] */
           "s_mul_i32 s20, s20, 1000\ns_mul_i32 s22, s22, 100\ns_add_u32 s20, s20, s22\n"
           "s_add_u32 s20, s20, s23\nv_mov_b32 v2, s20\n",
           12 * 1000 + 12 * 100 + 13);
    kernel_expect_fault("s_mov_b32 s16, 1\ns_mov_b32 m0, 90\ns_movreld_b32 s16, s16\n",
                        EMU_BAD_CODE, "index 90");
    kernel_expect_fault("s_mov_b32 m0, -1\ns_movrels_b32 s16, s0\n", EMU_BAD_CODE, "leaves");
    kernel_expect_fault("s_movrels_b32 s16, s16\n", EMU_UNINITIALISED, "m0");
}

Test(control, vector_registers_by_number) {
    expect("v_mov_b32 v10, 20\nv_mov_b32 v11, 21\nv_mov_b32 v12, 22\ns_mov_b32 s8, 2\n"
           "s_set_gpr_idx_on s8, gpr_idx(SRC0)\nv_mov_b32 v3, v10\n" /* v12 */
           "s_set_gpr_idx_mode gpr_idx(DST)\nv_mov_b32 v4, v11\n"    /* v6 = 21 */
           "s_set_gpr_idx_off\n"
           "s_mov_b32 s8, 1\ns_set_gpr_idx_on s8, gpr_idx(SRC0,SRC1)\n"
           "v_add_u32 v5, v10, v11\n" /* v11 + v12 */
           "s_set_gpr_idx_off\n"
           "v_mad_u32_u24 v2, v3, 10, v6\nv_mad_u32_u24 v2, v2, 10, v5\n",
           (22 * 10 + 21) * 10 + 43);
    kernel_expect_fault("s_movk_i32 s8, 40\ns_set_gpr_idx_on s8, gpr_idx(DST)\nv_mov_b32 v3, 1\n"
                        "s_set_gpr_idx_off\n",
                        EMU_BAD_CODE, "index 40");
    kernel_expect_fault("s_mov_b32 s8, 1\ns_set_gpr_idx_on s8, gpr_idx(DST)\ns_barrier\n"
                        "s_set_gpr_idx_off\n",
                        EMU_UNIMPLEMENTED, "s_barrier between");
    kernel_expect_fault("s_set_gpr_idx_on s8, gpr_idx(DST)\nv_mov_b32 v3, 1\ns_set_gpr_idx_off\n",
                        EMU_UNINITIALISED, "register index");
    kernel_expect_fault("s_set_gpr_idx_idx s2\n", EMU_UNIMPLEMENTED, "without s_set_gpr_idx_on");
}
