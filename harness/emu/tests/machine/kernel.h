/* SPDX-License-Identifier: Apache-2.0 */
/* Small kernels written in assembly, run on the machine. */
#ifndef DSV4_MACHINE_KERNEL_H
#define DSV4_MACHINE_KERNEL_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../../machine.h"
#include "../../space.h"

/*
 * Starts with its arguments (pointers, 8 bytes each) at s[0:1], the workgroup in s2, s3, s4, the thread in v0 (packed if
 * the block has more than one axis).
 */
struct kernel {
    const char *body;       /* lines of assembly, without s_endpgm at the end unless written */
    const char *directives; /* further .amdhsa_ lines, or NULL */
    unsigned lds;
    struct emu_code *code; /* made by kernel_run, kept for the next */
};

enum { KERNEL_VGPRS = 32, KERNEL_SGPRS = 40 };

/* Runs the kernel with up to four device pointers. 0, or -1 with the fault. */
int kernel_run(struct kernel *kernel, uint32_t groups, uint32_t threads, void *const arguments[4],
               struct emu_fault *fault);
/* The same with all that a launch may say. */
int kernel_launch(struct kernel *kernel, const uint32_t grid[3], const uint32_t block[3],
                  void *const arguments[4], struct emu_fault *fault);
void kernel_free(struct kernel *kernel);

/* Zeroed device memory for n words. */
static inline uint32_t *kernel_words(size_t n) {
    uint32_t *const words = emu_space_alloc(n * sizeof *words, EMU_REGION_DEVICE);
    cr_assert_not_null(words);
    memset(words, 0, n * sizeof *words);
    return words;
}

/* Runs it on one workgroup without arguments and expects this fault, with this text in its sentence. */
static inline void kernel_expect_fault(const char *body, enum emu_fault_kind kind,
                                       const char *text) {
    struct kernel kernel = {.body = body};
    struct emu_fault fault;
    uint32_t *const words = kernel_words(1024);
    const int status = kernel_run(&kernel, 1, 64, (void *const[4]){words}, &fault);
    cr_expect_eq(status, -1, "no fault in:\n%s", body);
    cr_expect_eq(fault.kind, kind, "fault %d, not %d: %s", fault.kind, kind, fault.text);
    cr_expect_not_null(strstr(fault.text, text), "\"%s\" is not in: %s", text, fault.text);
    kernel_free(&kernel);
}

#endif
