/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel finds when it starts, and launches that are refused. */
#include <stdio.h>
#include <unistd.h>

#include "kernel.h"

/* Each thread of a three-dimensional grid adds 1 to a word that its ids name, and leaves v0. */
static const char places[] = "s_load_dwordx2 s[6:7], s[0:1], 0x0\n"
                             "v_and_b32 v1, 0x3ff, v0\n"
                             "v_bfe_u32 v2, v0, 10, 10\n"
                             "v_bfe_u32 v3, v0, 20, 10\n"
                             "v_mul_u32_u24 v3, 3, v3\n" /* block 7, 3, 5: (z * 3 + y) * 7 + x */
                             "v_add_u32 v3, v3, v2\n"
                             "v_mul_u32_u24 v3, 7, v3\n"
                             "v_add_u32 v3, v3, v1\n"
                             "s_mul_i32 s8, s4, 2\n" /* grid 3, 2, 4 */
                             "s_add_u32 s8, s8, s3\n"
                             "s_mul_i32 s8, s8, 3\n"
                             "s_add_u32 s8, s8, s2\n"
                             "s_mul_i32 s8, s8, 105\n"
                             "v_add_lshl_u32 v3, v3, s8, 2\n"
                             "s_waitcnt lgkmcnt(0)\n"
                             "v_mov_b32 v4, 1\n"
                             "global_atomic_add v3, v4, s[6:7]\n";

Test(launch, every_thread_of_a_grid_runs_once) {
    struct kernel kernel = {.body = places};
    struct emu_fault fault;
    const size_t n = (size_t)3 * 2 * 4 * 105;
    uint32_t *const words = kernel_words(n + 1);
    const int status = kernel_launch(&kernel, (uint32_t[3]){3, 2, 4}, (uint32_t[3]){7, 3, 5},
                                     (void *const[4]){words}, &fault);
    cr_assert_eq(status, 0, "%s", fault.text);
    for (size_t i = 0; i < n; i++) cr_assert_eq(words[i], 1, "word %zu: %u", i, words[i]);
    cr_expect_eq(words[n], 0);
    kernel_free(&kernel);
}

Test(launch, lanes_beyond_the_block_do_not_run) {
    struct kernel kernel = {.body = "s_load_dwordx2 s[6:7], s[0:1], 0x0\n"
                                    "v_mbcnt_lo_u32_b32 v2, -1, 0\n"
                                    "v_mbcnt_hi_u32_b32 v2, -1, v2\n"
                                    "s_waitcnt lgkmcnt(0)\n"
                                    "v_lshlrev_b32 v3, 2, v0\n"
                                    "s_bcnt1_i32_b64 s8, exec\n"
                                    "v_mov_b32 v4, s8\n"
                                    "global_store_dword v3, v4, s[6:7]\n"};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(256);
    cr_assert_eq(kernel_run(&kernel, 1, 130, (void *const[4]){words}, &fault), 0, "%s", fault.text);
    for (unsigned i = 0; i < 256; i++)
        cr_assert_eq(words[i], i < 128 ? 64 : i < 130 ? 2 : 0, "word %u: %u", i, words[i]);
    kernel_free(&kernel);
}

Test(launch, the_dispatch_packet_says_what_was_launched) {
    struct kernel kernel = {.body = "s_load_dwordx2 s[8:9], s[2:3], 0x0\n" /* out, from kernargs */
                                    "s_load_dwordx4 s[12:15], s[0:1], 0x4\n"
                                    "s_load_dwordx4 s[16:19], s[0:1], 0x14\n"
                                    "v_mov_b32 v1, 0\n"
                                    "s_waitcnt lgkmcnt(0)\n"
                                    "v_mov_b32 v2, s12\n"
                                    "v_mov_b32 v3, s14\n"
                                    "v_mov_b32 v4, s15\n"
                                    "v_mov_b32 v5, s16\n"
                                    "global_store_dwordx4 v1, v[2:5], s[8:9]\n",
                            .directives = "\t.amdhsa_user_sgpr_dispatch_ptr 1\n"};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(4);
    const int status = kernel_launch(&kernel, (uint32_t[3]){3, 5, 7}, (uint32_t[3]){16, 2, 1},
                                     (void *const[4]){words}, &fault);
    cr_assert_eq(status, 0, "%s", fault.text);
    cr_expect_eq(words[0], 16u | 2u << 16);
    cr_expect_eq(words[1], 48);
    cr_expect_eq(words[2], 10);
    cr_expect_eq(words[3], 7);
    kernel_free(&kernel);
}

Test(launch, kernel_arguments_are_preloaded_and_their_prologue_skipped) {
    struct kernel kernel = {.body = "s_trap 2\n" /* what older firmware would run */
                                    ".fill 63, 4, 0xbf800000\n"
                                    "v_mov_b32 v1, 0\n"
                                    "v_mov_b32 v2, 77\n"
                                    "global_store_dword v1, v2, s[2:3]\n",
                            .directives = "\t.amdhsa_user_sgpr_kernarg_preload_length 2\n"
                                          "\t.amdhsa_user_sgpr_kernarg_preload_offset 2\n"};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(2);
    const int status = kernel_run(&kernel, 1, 1, (void *const[4]){NULL, words}, &fault);
    cr_assert_eq(status, 0, "%s", fault.text);
    cr_expect_eq(words[0], 77);
    kernel_free(&kernel);
}

Test(launch, kernel_arguments_are_read_only) {
    kernel_expect_fault("v_mov_b32 v1, 0\nglobal_store_dword v1, v1, s[0:1]\n", EMU_BAD_ADDRESS,
                        "kernel arguments");
}

Test(launch, registers_beyond_the_kernels_own_are_found_before_it_runs) {
    kernel_expect_fault("s_endpgm\nv_mov_b32 v40, 0\n", EMU_BAD_CODE, "v_mov_b32_e32 v40, 0");
    kernel_expect_fault("v_add_f64 v[30:31], v[32:33], 1.0\n", EMU_BAD_CODE, "names others");
    kernel_expect_fault("v_accvgpr_write_b32 a0, 1\n", EMU_BAD_CODE, "0 accumulation registers");
}

static void refuse(const uint32_t grid[3], const uint32_t block[3], unsigned lds,
                   const char *text) {
    struct kernel kernel = {.body = "s_nop 0\n", .lds = lds};
    struct emu_fault fault;
    cr_expect_eq(kernel_launch(&kernel, grid, block, (void *const[4]){0}, &fault), -1);
    cr_expect_eq(fault.kind, EMU_BAD_LAUNCH);
    cr_expect_not_null(strstr(fault.text, text), "%s", fault.text);
    kernel_free(&kernel);
}

Test(launch, what_the_device_cannot_hold_is_refused) {
    refuse((uint32_t[3]){0, 1, 1}, (uint32_t[3]){64, 1, 1}, 0, "grid (0, 1, 1)");
    refuse((uint32_t[3]){1, 1, 1}, (uint32_t[3]){1, 0, 1}, 0, "blocks (1, 0, 1)");
    refuse((uint32_t[3]){1, 1, 1}, (uint32_t[3]){1025, 1, 1}, 0, "1024 in a block");
    refuse((uint32_t[3]){1, 1, 1}, (uint32_t[3]){32, 32, 2}, 0, "1024 threads at most, not 2048");
    refuse((uint32_t[3]){UINT32_C(1) << 31, 1, 1}, (uint32_t[3]){2, 1, 1}, 0, "2^32 - 1 threads");
}

Test(launch, a_word_in_the_options_that_is_not_known_is_refused) {
    setenv("DSV4_EMU", "stats,tracks", 1);
    refuse((uint32_t[3]){1, 1, 1}, (uint32_t[3]){64, 1, 1}, 0, "\"tracks\" is not understood");
}

static void options_refuse(const char *text) {
    struct kernel kernel = {.body = "s_nop 0\n"};
    struct emu_fault fault;
    setenv("DSV4_EMU", text, 1);
    cr_expect_eq(kernel_run(&kernel, 1, 64, (void *const[4]){0}, &fault), -1, "%s", text);
    cr_expect_eq(fault.kind, EMU_BAD_LAUNCH, "%s", text);
}

Test(launch, steps_that_are_no_number_are_refused) { options_refuse("steps=1e6"); }
Test(launch, no_steps_at_all_are_refused) { options_refuse("steps="); }
Test(launch, half_an_option_is_refused) { options_refuse("race,"); }
Test(launch, approx_without_a_side_is_refused) { options_refuse("approx=low,approx=middle"); }

Test(launch, options_are_read) {
    setenv("DSV4_EMU",
           "race,no-uninitialised,approx=high,steps=12,threads=3,trace,stats,coverage=x", 1);
    const struct emu_options *const o = emu_options();
    cr_assert_null(emu_options_error());
    cr_expect(o->race && !o->uninitialised && o->trace && o->stats);
    cr_expect(o->approximate == 1 && o->step_budget == 12 && o->threads == 3);
    cr_expect_str_eq(o->coverage, "x");
}

Test(launch, the_coverage_file_names_what_was_executed_and_nothing_else) {
    char name[] = "/tmp/dsv4-coverage-XXXXXX", option[64], text[256] = "";
    const int handle = mkstemp(name);
    snprintf(option, sizeof option, "coverage=%s", name);
    setenv("DSV4_EMU", option, 1);
    struct kernel kernel = {.body = "s_branch 1f\nv_mov_b32 v1, 1\n1:\nv_mov_b32_dpp v2, v0 "
                                    "row_shr:1\n"};
    struct emu_fault fault;
    cr_assert_eq(kernel_run(&kernel, 2, 64, (void *const[4]){0}, &fault), 0, "%s", fault.text);
    cr_assert(read(handle, text, sizeof text - 1) > 0);
    cr_expect_not_null(strstr(text, "s_branch\n"));
    cr_expect_not_null(strstr(text, "v_mov_b32_dpp\n"));
    cr_expect_not_null(strstr(text, "s_endpgm\n"));
    cr_expect_eq(strlen(text), strlen("s_branch\nv_mov_b32_dpp\ns_endpgm\n"), "%s", text);
    close(handle);
    unlink(name);
    kernel_free(&kernel);
}

Test(launch, occupancy_is_bounded_by_registers_waves_and_lds) {
    struct emu_kernel kernel = {.n_vgprs = 24};
    cr_expect_eq(emu_machine_occupancy(&kernel, 64, 0), 32);
    cr_expect_eq(emu_machine_occupancy(&kernel, 256, 0), 8);
    cr_expect_eq(emu_machine_occupancy(&kernel, 257, 0), 6);
    cr_expect_eq(emu_machine_occupancy(&kernel, 1024, 0), 2);
    cr_expect_eq(emu_machine_occupancy(&kernel, 64, 65536), 1);
    cr_expect_eq(emu_machine_occupancy(&kernel, 64, 65537), 0);
    cr_expect_eq(emu_machine_occupancy(&kernel, 64, 20000), 3);
    kernel.n_vgprs = 128;
    cr_expect_eq(emu_machine_occupancy(&kernel, 256, 0), 4);
    kernel.n_agprs = 128;
    cr_expect_eq(emu_machine_occupancy(&kernel, 256, 0), 2);
    kernel.n_vgprs = kernel.n_agprs = 256;
    cr_expect_eq(emu_machine_occupancy(&kernel, 256, 0), 1);
    cr_expect_eq(emu_machine_occupancy(&kernel, 512, 0), 0);
}
