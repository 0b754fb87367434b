/* SPDX-License-Identifier: Apache-2.0 */
/* The device path without a device: HIP's back end over a runtime that keeps its memory on the CPU. */
#include "support.h"

enum { OUTPUT = 1 << 18 };
static char output[OUTPUT];

/* Runs a verb against the fake runtime; `fault` is what it should do wrong. */
static int run(const char *verb, const char *fault, const char *rest) {
    char suites[64], line[9000], root[4100], plugin[4100];
    support_suites(suites);
    support_write(suites, "kv_quantize_insert.yaml",
                  "op: kv_quantize_insert\ntags:\n  plain:\n    bug: any\ncases:\n"
                  "  - name: small\n    tier: smoke\n    tags: [plain]\n"
                  "  - name: high\n    tier: full\n    tags: [plain]\n    with: {address: high}\n"
                  "  - name: long\n    tier: bench\n    tags: [plain]\n");
    support_build(root, sizeof root, "tests/fake");
    support_build(plugin, sizeof plugin, "tests/fake/hip_plugin.so");
    cr_assert_eq(setenv("ROCM_PATH", root, 1), 0);
    cr_assert_eq(setenv("DSV4_EMULATE", "0", 1), 0);
    cr_assert_eq(setenv("DSV4_FAKE_HIP", fault, 1), 0);
    snprintf(line, sizeof line, "%s --suites %s --impl %s --op kv_quantize_insert %s", verb, suites,
             plugin, rest);
    return support_run(output, OUTPUT, line);
}

Test(device, a_case_travels_to_the_device_and_back) {
    cr_assert_eq(run("check --fresh", "", "--repeat 2"), 0, "%s", output);
    ASSERT_HAS(output,
               "emulated device   hip: emulated device, gfx942:sramecc+, HIP runtime 6.3.42134");
    ASSERT_HAS(output, "emulated hip_plugin: 1 passed");
}

Test(device, sparse_tensors_stay_sparse) {
    cr_assert_eq(run("check --fresh", "", "--tier full"), 0, "%s", output);
    ASSERT_HAS(output, "1 passed");
}

Test(device, no_device_is_exit_3) {
    cr_assert_eq(run("check --fresh", "no-device", ""), 3, "%s", output);
    ASSERT_HAS(output, "no hip device here");
    cr_assert_eq(run("check --fresh", "", "--device 5"), 2, "%s", output);
    ASSERT_HAS(output, "--device 5: this machine has hip devices 0 to 1");
}

Test(device, no_runtime_is_exit_3) {
    char line[9000], suites[64], plugin[4100];
    support_suites(suites);
    support_build(plugin, sizeof plugin, "tests/fake/hip_plugin.so");
    cr_assert_eq(setenv("ROCM_PATH", "/nonexistent", 1), 0);
    cr_assert_eq(setenv("DSV4_EMULATE", "0", 1), 0);
    snprintf(line, sizeof line, "check --fresh --suites %s --impl %s", suites, plugin);
    const int code = support_run(output, OUTPUT, line);
    if (strstr(output, "libamdhip64.so is not found") != NULL)
        cr_assert_eq(code, 3, "%s", output);
    else
        cr_assert_neq(code, 0, "%s",
                      output); /* a machine with ROCm: whatever it is, it is no pass */
}

Test(device, what_the_device_says_is_reported) {
    /* Before the plug-in was called it cannot be its fault. */
    cr_assert_eq(run("check --fresh", "hipMalloc", ""), 2, "%s", output);
    ASSERT_HAS(output, "cannot allocate the tensors: hipMalloc: out of memory (2)");
    cr_assert_eq(run("check --fresh", "hipStreamSynchronize", ""), 1, "%s", output);
    ASSERT_HAS(output, "CRASH");
    ASSERT_HAS(output, "the device: after the call: unspecified launch failure (719)");
    cr_assert_eq(run("check --fresh", "sticky", "--tier smoke,full"), 1, "%s", output);
    ASSERT_HAS(output, "2 crashed"); /* the second case had a worker of its own */
    cr_assert_eq(run("check --fresh", "hipMemcpy", ""), 2, "%s", output);
    ASSERT_HAS(output, "cannot copy the inputs to the device");
    cr_assert_eq(run("check --fresh", "hipGetLastError", ""), 1, "%s", output);
    ASSERT_HAS(output, "a launch that nobody checked");
}

Test(device, bench_replays_a_graph) {
    cr_assert_eq(run("bench --time 50 --verify", "", ""), 0, "%s", output);
    ASSERT_HAS(output, "graph exact");
    ASSERT_HAS(output,
               "31.25 us"); /* half a millisecond for the 16 calls or empty launches of a replay */
    cr_assert_eq(run("bench --time 50", "hipStreamBeginCapture", ""), 0, "%s", output);
    ASSERT_HAS(output, "calls");
    cr_assert_eq(run("bench --time 50", "hipGraphLaunch", ""), 1, "%s", output);
}

/* The suite of a sequence, against the fake runtime in graph mode; `wrong` is what the plug-in does. */
static int run_steps(const char *wrong, const char *rest) {
    char suites[64], line[9000], root[4100], plugin[4100];
    support_suites(suites);
    support_write(suites, "kv_quantize_insert.yaml",
                  "op: kv_quantize_insert\ntags:\n  plain:\n    bug: any\ncases:\n"
                  "  - name: step-{batch}\n    tier: smoke\n    tags: [plain]\n"
                  "    sweep: {batch: [\"1@9x4\", \"1@2x3\", \"0@0\"]}\n"
                  "    with: {room: \"1@9x4\", block_size: 2}\n"
                  "sequences:\n  - name: there-and-back\n    tier: smoke\n    tags: [plain]\n"
                  "    steps: [step-1-9x4, step-1-2x3, step-0-0, step-1-9x4]\n");
    support_build(root, sizeof root, "tests/fake");
    support_build(plugin, sizeof plugin, "tests/fake/hip_plugin.so");
    cr_assert_eq(setenv("ROCM_PATH", root, 1), 0);
    cr_assert_eq(setenv("DSV4_EMULATE", "0", 1), 0);
    cr_assert_eq(setenv("DSV4_FAKE_HIP", "", 1), 0);
    cr_assert_eq(setenv("DSV4_FAKE_PLUGIN", wrong, 1), 0);
    snprintf(line, sizeof line,
             "check --fresh --suites %s --impl %s --op kv_quantize_insert --mode graph %s", suites,
             plugin, rest);
    return support_run(output, OUTPUT, line);
}

Test(device, a_graph_is_captured_once_and_replayed) {
    cr_assert_eq(run_steps("", "--verbose"), 0, "%s", output);
    ASSERT_HAS(output, "each call is captured once and replayed");
    ASSERT_HAS(output, "4 passed");
    ASSERT_HAS(output, "4 steps");
}

Test(device, what_a_capture_forbids_is_named) {
    cr_assert_eq(run_steps("synchronises", ""), 1, "%s", output);
    ASSERT_HAS(output, "run() cannot be captured into a graph");
    ASSERT_HAS(output, "operation failed due to a previous error during capture");
    cr_assert_eq(run_steps("allocates", ""), 1, "%s", output);
    ASSERT_HAS(output, "nor allocate nor leave its stream: hipMalloc failed");
}

Test(device, a_graph_that_holds_host_values_fails_at_the_next_step) {
    cr_assert_eq(run_steps("bakes", "--case there-and-back"), 1, "%s", output);
    ASSERT_HAS(output, "2 of 4: step-1-2x3");
    cr_assert_eq(run_steps("direct", "--case there-and-back"), 1, "%s", output);
    ASSERT_HAS(output, "nothing was captured");
}

/* A layer of two steps in graph mode: every call of it is captured and replayed, in whatever shapes the step has. */
static int run_layer(const char *wrong, const char *rest) {
    char suites[64], layers[80], line[9000], root[4100], plugin[4100];
    support_suites(suites);
    snprintf(layers, sizeof layers, "%s/layers", suites);
    cr_assert_eq(mkdir(layers, 0755), 0);
    support_write(layers, "two.yaml",
                  "layer: two\nwhat: w\nsteps:\n  - {name: one, set: {batch: \"9@0^12\"}}\n"
                  "  - {name: next, set: {batch: \"3@9^12\"}}\nnodes:\n"
                  "  - {name: insert, row: 8, op: kv_quantize_insert, seed: step, "
                  "with: {block_size: 8, batch: $batch}, carry: [cache]}\n");
    support_build(root, sizeof root, "tests/fake");
    support_build(plugin, sizeof plugin, "tests/fake/hip_plugin.so");
    cr_assert_eq(setenv("ROCM_PATH", root, 1), 0);
    cr_assert_eq(setenv("DSV4_EMULATE", "0", 1), 0);
    cr_assert_eq(setenv("DSV4_FAKE_HIP", "", 1), 0);
    cr_assert_eq(setenv("DSV4_FAKE_PLUGIN", wrong, 1), 0);
    snprintf(line, sizeof line, "check --fresh --suites %s --impl %s --layer two %s", suites,
             plugin, rest);
    return support_run(output, OUTPUT, line);
}

Test(device, a_layer_is_captured_call_by_call) {
    cr_assert_eq(run_layer("", "--mode graph"), 0, "%s", output);
    ASSERT_HAS(output, "each call is captured once and replayed");
    ASSERT_HAS(output, "layer two: 2 calls in 2 steps, none goes wrong");
    cr_assert_eq(run_layer("synchronises", ""), 0, "%s", output);
    cr_assert_eq(run_layer("synchronises", "--mode graph"), 1, "%s", output);
    ASSERT_HAS(output, "run() cannot be captured into a graph");
    cr_assert_eq(run_layer("direct", "--mode graph"), 1, "%s", output);
    ASSERT_HAS(output, "nothing was captured");
}
