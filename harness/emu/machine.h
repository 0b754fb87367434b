/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a kernel to its end: workgroups in parallel, the waves of a workgroup in turn. */
#ifndef DSV4_EMU_MACHINE_H
#define DSV4_EMU_MACHINE_H

#include "code.h"
#include "wave.h"

/* What DSV4_EMU says, a comma-separated list: race, no-uninitialised, approx=exact|low|high, steps=N, threads=N, trace,
 * stats, coverage=FILE. */
struct emu_options {
    bool race;          /* the LDS race detector */
    bool uninitialised; /* on unless "no-uninitialised" */
    bool trace;         /* every instruction to stderr */
    bool stats;         /* per launch: wave instructions and seconds to stderr */
    int approximate; /* -1, 0, 1: approximate instructions give the low end, the middle, the high end of their bound */
    uint64_t step_budget; /* wave instructions of one wave before it counts as hanging */
    int threads;          /* 0: OpenMP's choice */
    const char *coverage; /* coverage=FILE: append the mnemonics that were executed */
};

const struct emu_options *emu_options(void);
/* What is wrong with DSV4_EMU, or NULL: no kernel is launched then. */
const char *emu_options_error(void);

struct emu_request {
    const struct emu_kernel *kernel;
    uint32_t grid[3], block[3];
    uint32_t dynamic_lds;
    const void *arguments; /* explicit ones, laid out as the metadata says */
    size_t argument_bytes;
};

/* 0, or -1 with the fault. Blocks until the last workgroup has ended. */
int emu_machine_run(const struct emu_request *request, struct emu_fault *fault);

/* Workgroups of this kernel that one of the device's 304 CUs holds at a time: 0 if it cannot hold one. */
uint32_t emu_machine_occupancy(const struct emu_kernel *kernel, uint32_t block_size,
                               uint32_t dynamic_lds);

/* Total over this process. */
void emu_machine_statistics(uint64_t *wave_instructions, double *seconds);

#endif
