/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels compiled at -O0 to -O3 give the same bits on the emulator, and the host's C gives them too. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../../code.h"
#include "../../machine.h"
#include "../../space.h"
#include "../levels/levels.h"
#include "assemble.h"
#include "isa.h"

enum { ITEMS = 1024, GROUP = 256, N_WORDS = 4 * ITEMS };

typedef void levels_function(const unsigned *in, unsigned *out, unsigned i);

/* The halving tree that the kernel builds in LDS. */
static void levels_reduction(const unsigned *in, unsigned *out, unsigned i) {
    if (i % GROUP != 0) return;
    float sums[GROUP];
    for (unsigned t = 0; t < GROUP; t++) sums[t] = levels_value(in[i + t]);
    for (unsigned stride = GROUP / 2; stride > 0; stride /= 2)
        for (unsigned t = 0; t < stride; t++) sums[t] = sums[t] + sums[t + stride];
    out[i] = levels_bits(sums[0]);
}

struct level_kernel {
    const char *name;
    levels_function *host;
};

#define ENTRY(name) {"kernel_" #name, levels_##name},
/* clang-format off */
static const struct level_kernel functions[] = {LEVELS(ENTRY) {"kernel_reduction", levels_reduction}};
/* clang-format on */

static void run_kernel(const struct emu_kernel *kernel, const char *level, levels_function *host) {
    static struct emu_fault fault;
    unsigned *const in = emu_space_alloc(N_WORDS * sizeof *in, EMU_REGION_DEVICE);
    unsigned *const out = emu_space_alloc(N_WORDS * sizeof *out, EMU_REGION_DEVICE);
    unsigned *const want = calloc(N_WORDS, sizeof *want);
    cr_assert(in != NULL && out != NULL && want != NULL);
    for (unsigned i = 0; i < N_WORDS; i++) in[i] = (unsigned)isa_value(I32, 99, i);
    memset(out, 0, N_WORDS * sizeof *out);
    for (unsigned i = 0; i < ITEMS; i++) host(in, want, i);
    const void *const arguments[] = {in, out};
    const struct emu_request request = {
        .kernel = kernel,
        .grid = {ITEMS / GROUP, 1, 1},
        .block = {GROUP,         1, 1},
        .arguments = arguments,
        .argument_bytes = sizeof arguments
    };
    cr_expect_eq(emu_machine_run(&request, &fault), 0, "%s %s: %s", kernel->name, level,
                 fault.text);
    for (unsigned i = 0; i < N_WORDS; i++)
        if (out[i] != want[i]) {
            cr_expect(false,
                      "%s %s: item %u word %u: the host has 0x%08x, the kernel 0x%08x; in 0x%08x "
                      "0x%08x 0x%08x 0x%08x",
                      kernel->name, level, i / 4, i % 4, want[i], out[i], in[i & ~3u],
                      in[(i & ~3u) + 1], in[(i & ~3u) + 2], in[(i & ~3u) + 3]);
            break;
        }
    free(want);
    emu_space_free(in);
    emu_space_free(out);
}

static void run_level(const char *level, const char *flags) {
    struct emu_error error = {0};
    size_t bytes = 0;
    void *const object = isa_compile_hip("harness/emu/tests/levels/kernels.hip", flags, &bytes);
    cr_assert_not_null(object, "%s: the kernels were not compiled", level);
    struct emu_code *const code = emu_code_load(object, bytes, &error);
    cr_assert_not_null(code, "%s: %s", level, error.text);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const struct emu_kernel *const kernel = emu_code_kernel(code, functions[i].name);
        cr_assert_not_null(kernel, "%s: there is no %s", level, functions[i].name);
        run_kernel(kernel, level, functions[i].host);
    }
    emu_code_free(code);
    free(object);
}

Test(levels, o0) { run_level("-O0", "-O0"); }
Test(levels, o1) { run_level("-O1", "-O1"); }
Test(levels, o2) { run_level("-O2", "-O2"); }
Test(levels, o3) { run_level("-O3", "-O3"); }
