/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running kernel is made of: launch, workgroup, wave; and how one of them fails.
 */
#ifndef DSV4_EMU_WAVE_H
#define DSV4_EMU_WAVE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "insn.h"

/* Scalar registers under their numbers in the encoding. */
enum emu_sreg {
    EMU_FLAT_SCRATCH = 102,
    EMU_XNACK_MASK = 104,
    EMU_VCC = 106,
    EMU_TTMP = 108,
    EMU_M0 = 124,
    EMU_EXEC = 126,
    EMU_SREGS = 128,
    /* Read-only sources beyond the register file. */
    EMU_SHARED_BASE = 235,
    EMU_SHARED_LIMIT,
    EMU_PRIVATE_BASE,
    EMU_PRIVATE_LIMIT,
    EMU_VCCZ = 251,
    EMU_EXECZ = 252
};

/* Flat addresses from here on are LDS and scratch: no host address has these upper halves. */
#define EMU_SHARED_APERTURE UINT64_C(0x0001000000000000)
#define EMU_PRIVATE_APERTURE UINT64_C(0x0002000000000000)

/* MODE, as s_getreg sees it. */
enum emu_mode {
    EMU_ROUND_32 = 0,     /* 2 bits: nearest even, +inf, -inf, zero */
    EMU_ROUND_16_64 = 2,  /* 2 bits */
    EMU_DENORM_32 = 4,    /* 2 bits: 1 keeps inputs' denormals, 2 outputs' */
    EMU_DENORM_16_64 = 6, /* 2 bits */
    EMU_DX10_CLAMP = 8,
    EMU_IEEE = 9,
    EMU_FP16_OVFL = 23
};

enum emu_state { EMU_RUNNING, EMU_AT_BARRIER, EMU_YIELDED, EMU_ENDED, EMU_FAULTED };

enum emu_fault_kind {
    EMU_NO_FAULT,
    EMU_UNIMPLEMENTED, /* an instruction, or a form of one, that is not emulated */
    EMU_BAD_ADDRESS,   /* out of bounds, freed, never allocated */
    EMU_MISALIGNED,
    EMU_UNINITIALISED,
    EMU_RACE,
    EMU_HANG, /* the step budget is spent, or every wave waits */
    EMU_TRAP, /* s_trap */
    EMU_BAD_CODE,
    EMU_BAD_LAUNCH /* a grid, block, LDS size or option that the device does not take */
};

struct emu_fault {
    enum emu_fault_kind kind;
    char text[1024]; /* one sentence, then kernel, instruction, source line, lane, workgroup */
};

struct emu_kernel;

struct emu_launch {
    const struct emu_kernel *kernel;
    uint32_t grid[3], block[3]; /* workgroups; work items of a workgroup */
    uint32_t lds_bytes;         /* static and dynamic */
    const uint8_t *kernarg;     /* with hidden arguments */
    size_t kernarg_bytes;
    const void *packet; /* the dispatch packet in device memory */
    uint64_t step_budget;
    bool tracked;           /* uninitialised registers are reported */
    struct emu_fault fault; /* the first one; written by emu_fault under a lock */
    int stop;               /* atomic: others stop soon after a fault */
    uint64_t executed;      /* wave instructions, of all waves that have ended */
};

struct emu_group {
    struct emu_launch *launch;
    uint32_t id[3];
    uint32_t n_waves;
    struct emu_wave *waves;
    uint8_t *lds;         /* lds_bytes, padded so that a 16-byte access at the end stays inside */
    uint8_t *lds_defined; /* one byte per byte of LDS: written since the workgroup began */
    void *race;           /* the race detector's shadow, or NULL */
    uint32_t barrier_epoch;
};

struct emu_wave {
    struct emu_group *group;
    uint32_t (*v)[EMU_LANES];      /* EMU_VGPRS rows, 64-byte aligned; AGPRs from EMU_AGPR on */
    uint64_t *v_defined;           /* per VGPR: lanes that hold a value somebody wrote */
    uint32_t s[EMU_SREGS];         /* write through emu_write_sreg: exec is among them */
    uint32_t s_defined[EMU_SREGS]; /* bit by bit */
    _Alignas(64) uint32_t lane_mask[EMU_LANES]; /* ~0 where exec is set; valid unless lanes_stale */
    bool lanes_stale;
    bool scc, scc_defined;
    uint32_t mode;
    uint32_t index;   /* of this wave in its workgroup */
    uint8_t *scratch; /* private memory: lane l's bytes from l * scratch_bytes on */
    uint32_t scratch_bytes;
    enum emu_state state;
    const struct emu_insn *next; /* where it resumes */
    uint64_t steps;
    _Alignas(
        64) uint32_t temporary[8][EMU_LANES]; /* operands made by DPP, SDWA and MODE wrappers */
};

static inline uint64_t emu_s64(const struct emu_wave *w, unsigned reg) {
    return (uint64_t)w->s[reg + 1] << 32 | w->s[reg];
}

static inline uint64_t emu_exec(const struct emu_wave *w) { return emu_s64(w, EMU_EXEC); }

static inline void emu_write_sreg(struct emu_wave *w, unsigned reg, uint32_t value) {
    w->s[reg] = value;
    w->lanes_stale |= reg >= EMU_EXEC;
}

static inline void emu_write_s64(struct emu_wave *w, unsigned reg, uint64_t value) {
    emu_write_sreg(w, reg, (uint32_t)value);
    emu_write_sreg(w, reg + 1, (uint32_t)(value >> 32));
}

/* ~0 for the lanes that execute, 0 for the others. */
static inline const uint32_t *emu_lane_mask(struct emu_wave *w) {
    if (w->lanes_stale) {
        const uint64_t exec = emu_exec(w);
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            w->lane_mask[lane] = (uint32_t)0 - (uint32_t)(exec >> lane & 1);
        w->lanes_stale = false;
    }
    return w->lane_mask;
}

/*
 * Ends the launch with a fault at this instruction. lane: the lane at fault, or -1. The text is one sentence without
 * place; kernel, instruction, source line, lane and workgroup are added. Returns NULL, for handlers to return.
 */
const struct emu_insn *emu_fault(struct emu_wave *w, const struct emu_insn *i,
                                 enum emu_fault_kind kind, int lane, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/*
 * Reports (EMU_UNINITIALISED) and returns false if a register of this operand was never written in a lane that
 * executes. For what is about to be used: `what` is "an address", "a stored value", ... Register contents that
 * go to scratch are no use of them: compilers spill undefined values.
 */
bool emu_require_defined(struct emu_wave *w, const struct emu_insn *i, const struct emu_operand *o,
                         const char *what);
/* The lanes in which all registers of an operand hold values. */
uint64_t emu_defined_lanes(const struct emu_wave *w, const struct emu_operand *o);
/* A destination's registers in the lanes that execute: defined in `defined`, undefined in the others. */
void emu_define_lanes(struct emu_wave *w, const struct emu_operand *o, uint64_t defined);

/* Stops the wave for now (barrier, yield) or for good (end); it resumes at `next`. Returns NULL. */
static inline const struct emu_insn *emu_stop(struct emu_wave *w, enum emu_state state,
                                              const struct emu_insn *next) {
    w->state = state;
    w->next = next;
    return NULL;
}

#endif
