/* SPDX-License-Identifier: Apache-2.0 */
/* Barriers, workgroups that wait for each other, kernels that hang. */
#include "kernel.h"

static uint32_t *run(const char *body, unsigned lds, uint32_t groups, uint32_t threads, size_t n) {
    struct kernel kernel = {.body = body, .lds = lds};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(n);
    const int status = kernel_run(&kernel, groups, threads, (void *const[4]){words}, &fault);
    cr_assert_eq(status, 0, "%s", fault.text);
    kernel_free(&kernel);
    return words;
}

/* Wave k of four writes LDS word k after 1000 * k turns of a loop; wave 0 adds them up behind the barrier. */
Test(schedule, a_barrier_waits_for_the_slowest_wave) {
    const uint32_t *const words = run("s_load_dwordx2 s[6:7], s[0:1], 0x0\n"
                                      "v_readfirstlane_b32 s8, v0\n"
                                      "s_lshr_b32 s8, s8, 6\n"
                                      "s_mul_i32 s9, s8, 1000\n"
                                      "1:\n"
                                      "s_sub_u32 s9, s9, 1\n"
                                      "s_cmp_gt_i32 s9, 0\n"
                                      "s_cbranch_scc1 1b\n"
                                      "s_lshl_b32 s10, s8, 2\n"
                                      "s_add_u32 s11, s8, 1\n"
                                      "v_mov_b32 v1, s10\n"
                                      "v_mov_b32 v2, s11\n"
                                      "ds_write_b32 v1, v2\n"
                                      "s_waitcnt lgkmcnt(0)\n"
                                      "s_barrier\n"
                                      "s_cmp_lg_u32 s8, 0\n"
                                      "s_cbranch_scc1 2f\n"
                                      "v_mov_b32 v1, 0\n"
                                      "ds_read_b128 v[4:7], v1\n"
                                      "s_waitcnt lgkmcnt(0)\n"
                                      "v_add_u32 v4, v4, v5\n"
                                      "v_add3_u32 v4, v4, v6, v7\n"
                                      "global_store_dword v1, v4, s[6:7]\n"
                                      "2:\n",
                                      16, 1, 256, 1);
    cr_expect_eq(words[0], 1 + 2 + 3 + 4);
}

Test(schedule, a_wave_that_has_ended_does_not_count_at_a_barrier) {
    const uint32_t *const words = run("s_load_dwordx2 s[6:7], s[0:1], 0x0\n"
                                      "v_readfirstlane_b32 s8, v0\n"
                                      "s_cmp_gt_u32 s8, 64\n"
                                      "s_cbranch_scc1 2f\n"
                                      "s_barrier\n"
                                      "s_barrier\n"
                                      "v_lshlrev_b32 v1, 2, v0\n"
                                      "v_mov_b32 v2, 5\n"
                                      "s_waitcnt lgkmcnt(0)\n"
                                      "global_store_dword v1, v2, s[6:7]\n"
                                      "2:\n",
                                      0, 1, 256, 256);
    for (unsigned i = 0; i < 256; i++) cr_assert_eq(words[i], i < 128 ? 5 : 0, "word %u", i);
}

/* Wave 0 of workgroup g waits until word g + 1 is set, then sets word g; the last does not wait. `pause` stands in the loop. */
#define CHAIN(pause)                                                                               \
    "v_readfirstlane_b32 s10, v0\n"                                                                \
    "s_cmp_lg_u32 s10, 0\n"                                                                        \
    "s_cbranch_scc1 9f\n"                                                                          \
    "s_load_dwordx2 s[6:7], s[0:1], 0x0\n"                                                         \
    "s_lshl_b32 s8, s2, 2\n"                                                                       \
    "v_mov_b32 v1, s8\n"                                                                           \
    "v_mov_b32 v5, 0\n"                                                                            \
    "s_waitcnt lgkmcnt(0)\n"                                                                       \
    "1:\n"                                                                                         \
    "global_load_dword v2, v1, s[6:7] offset:4 sc1\n"                                              \
    "s_waitcnt vmcnt(0)\n" pause "v_readfirstlane_b32 s9, v2\n"                                    \
    "s_cmp_eq_u32 s9, 0\n"                                                                         \
    "s_cbranch_scc1 1b\n"                                                                          \
    "v_mov_b32 v3, 1\n"                                                                            \
    "global_store_dword v1, v3, s[6:7]\n"                                                          \
    "9:\n"

static void chain(const char *body, uint32_t groups) {
    struct kernel kernel = {.body = body};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(groups + 1);
    words[groups] = 1;
    const int status = kernel_run(&kernel, groups, 64, (void *const[4]){words}, &fault);
    cr_assert_eq(status, 0, "%s", fault.text);
    for (uint32_t i = 0; i <= groups; i++) cr_assert_eq(words[i], 1, "word %u", i);
    kernel_free(&kernel);
}

Test(schedule, workgroups_wait_for_later_ones) { chain(CHAIN(""), 300); }
Test(schedule, workgroups_wait_asleep) { chain(CHAIN("s_sleep 1\n"), 300); }
Test(schedule, workgroups_wait_and_count) { chain(CHAIN("v_add_u32 v5, 1, v5\n"), 8); }

Test(schedule, one_thread_is_enough_for_them) {
    setenv("DSV4_EMU", "threads=1", 1);
    chain(CHAIN(""), 300);
}

/* Every workgroup counts itself in and waits for the rest, five times over. */
Test(schedule, a_grid_synchronises) {
    enum { GROUPS = 608, ROUNDS = 5 };
    const uint32_t *const words = run("s_load_dwordx2 s[6:7], s[0:1], 0x0\n"
                                      "v_mov_b32 v1, 0\n"
                                      "v_mov_b32 v2, 1\n"
                                      "s_movk_i32 s8, 608\n"
                                      "s_mov_b32 s9, 0\n"
                                      "s_waitcnt lgkmcnt(0)\n"
                                      "1:\n"
                                      "s_barrier\n"
                                      "v_cmp_eq_u32 vcc, 0, v0\n"
                                      "s_and_saveexec_b64 s[10:11], vcc\n"
                                      "s_cbranch_execz 3f\n"
                                      "global_atomic_add v1, v2, s[6:7]\n"
                                      "2:\n"
                                      "global_load_dword v3, v1, s[6:7] sc1\n"
                                      "s_waitcnt vmcnt(0)\n"
                                      "v_readfirstlane_b32 s12, v3\n"
                                      "s_cmp_lt_u32 s12, s8\n"
                                      "s_cbranch_scc1 2b\n"
                                      "3:\n"
                                      "s_mov_b64 exec, s[10:11]\n"
                                      "s_barrier\n"
                                      "s_addk_i32 s8, 608\n"
                                      "s_addk_i32 s9, 1\n"
                                      "s_cmp_lt_u32 s9, 5\n"
                                      "s_cbranch_scc1 1b\n",
                                      0, GROUPS, 128, 1);
    cr_expect_eq(words[0], GROUPS * ROUNDS);
}

/* More workgroups than the device holds at a time cannot all meet: 304 units with 2 workgroups of 1024 threads each. */
Test(schedule, a_grid_too_large_to_meet_hangs) {
    setenv("DSV4_EMU", "steps=1000000", 1);
    struct kernel kernel = {.body = CHAIN("")};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(610);
    words[609] = 1;
    cr_expect_eq(kernel_run(&kernel, 609, 1024, (void *const[4]){words}, &fault), -1);
    cr_expect_eq(fault.kind, EMU_HANG);
    cr_expect_not_null(strstr(fault.text, "every workgroup on the device waits"), "%s", fault.text);
    kernel_free(&kernel);
}

Test(schedule, as_many_as_it_holds_meet) {
    struct kernel kernel = {.body = CHAIN("")};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(610);
    words[608] = 1;
    const int status = kernel_run(&kernel, 608, 1024, (void *const[4]){words}, &fault);
    cr_expect_eq(status, 0, "%s", fault.text);
    kernel_free(&kernel);
}

Test(schedule, a_loop_that_counts_runs_out_of_steps) {
    setenv("DSV4_EMU", "steps=1000000", 1);
    kernel_expect_fault("s_mov_b32 s8, 0\n1:\ns_add_u32 s8, s8, 1\ns_branch 1b\n", EMU_HANG,
                        "without an end");
}

Test(schedule, a_loop_that_does_nothing_hangs) {
    setenv("DSV4_EMU", "steps=1000000", 1);
    kernel_expect_fault("1:\ns_branch 1b\n", EMU_HANG, "nothing changes");
}

Test(schedule, a_wave_that_waits_for_one_that_ended_hangs) {
    setenv("DSV4_EMU", "steps=1000000", 1);
    kernel_expect_fault("s_load_dwordx2 s[6:7], s[0:1], 0x0\nv_mov_b32 v1, 0\n1:\n"
                        "global_load_dword v2, v1, s[6:7] sc1\nv_readfirstlane_b32 s9, v2\n"
                        "s_sleep 4\ns_cmp_eq_u32 s9, 0\ns_cbranch_scc1 1b\n",
                        EMU_HANG, "nothing changes");
}

/* Each thread multiplies with what another one left in LDS. */
static const char product[] = "s_load_dwordx2 s[6:7], s[0:1], 0x0\n"
                              "s_lshl_b32 s8, s2, 8\n"
                              "v_add_u32 v1, s8, v0\n"
                              "s_mov_b32 s9, 0x9e3779b1\n"
                              "v_mul_lo_u32 v2, v1, s9\n"
                              "v_lshlrev_b32 v3, 2, v0\n"
                              "ds_write_b32 v3, v2\n"
                              "s_waitcnt lgkmcnt(0)\n"
                              "s_barrier\n"
                              "v_xor_b32 v4, 0x3fc, v3\n"
                              "ds_read_b32 v5, v4\n"
                              "s_waitcnt lgkmcnt(0)\n"
                              "v_mul_lo_u32 v2, v2, v5\n"
                              "v_lshlrev_b32 v1, 2, v1\n"
                              "global_store_dword v1, v2, s[6:7]\n";

static void multiply(const char *option) {
    enum { GROUPS = 100, THREADS = 256 };
    setenv("DSV4_EMU", option, 1);
    const uint32_t *const words = run(product, 4 * THREADS, GROUPS, THREADS, GROUPS * THREADS);
    for (uint32_t i = 0; i < GROUPS * THREADS; i++) {
        const uint32_t want = i * 0x9e3779b1u * ((i ^ 255) * 0x9e3779b1u);
        cr_assert_eq(words[i], want, "word %u", i);
    }
}

Test(schedule, one_thread_of_the_host) { multiply("threads=1"); }
Test(schedule, two_threads_of_the_host) { multiply("threads=2"); }
Test(schedule, seven_threads_of_the_host) { multiply("threads=7"); }
Test(schedule, without_tracking) { multiply("no-uninitialised"); }
Test(schedule, with_the_race_detector) { multiply("race"); }
