/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the memory instructions share: the addresses of 64 lanes, checks, and the moves between host memory and vector
 * registers. Lanes that do not execute repeat the address of one that does, so that loops need no branches.
 *
 * Alignment: the HSA runtime puts gfx942 in unaligned access mode, where vector and LDS loads and stores work at any
 * byte address, and compilers use that. Atomics must be naturally aligned, scalar loads aligned to 4 bytes.
 */
#ifndef DSV4_EMU_ACCESS_H
#define DSV4_EMU_ACCESS_H

#include <string.h>

#include "lanes.h"

/* One access of a wave. */
struct emu_access {
    uint64_t at[EMU_LANES]; /* host addresses; of a row, the first alone */
    uint64_t active;        /* lanes: exec when it began; never 0 */
    unsigned bytes;         /* of a lane */
    bool row;               /* all lanes execute, and each begins where the one before ends */
    uint32_t low, span;     /* in LDS: what the active lanes touch lies in [low, low + span) */
};

/* The part of a register that d16 instructions move; loads keep the other one. */
enum emu_half { EMU_WHOLE, EMU_LOW, EMU_HIGH };

/* The type of an operand that moves so many bytes. */
#define EMU_WORDS(bytes)                                                                           \
    ((bytes) <= 4 ? EMU_B32 : (bytes) == 8 ? EMU_B64 : (bytes) == 12 ? EMU_B96 : EMU_B128)

/* A vector operand that holds so many bytes. */
static inline bool emu_is_vector(const struct emu_operand *o, unsigned bytes) {
    return o->kind == EMU_VGPR && 4u * o->registers >= bytes;
}

/* The fault of a form that no real code has. */
static inline const struct emu_insn *emu_refuse(struct emu_wave *w, const struct emu_insn *i) {
    return emu_fault(w, i, EMU_UNIMPLEMENTED, -1, "%s with these operands is not emulated",
                     i->opcode->name);
}

/* True if all registers of the operand hold values somebody wrote, in the active lanes; else a fault. */
static inline bool emu_require(struct emu_wave *w, const struct emu_insn *i,
                               const struct emu_operand *o, uint64_t active, const char *what) {
    uint64_t missing = 0;
    if (o->kind == EMU_VGPR)
        for (unsigned k = 0; k < o->registers; k++) missing |= active & ~w->v_defined[o->reg + k];
    if (o->kind == EMU_SGPR && o->reg + o->registers <= EMU_SREGS)
        for (unsigned k = 0; k < o->registers; k++) missing |= (uint32_t)~w->s_defined[o->reg + k];
    return missing == 0 || emu_require_defined(w, i, o, what);
}

/* The lanes in which all registers of a vector operand are defined. */
static inline uint64_t emu_defined(const struct emu_wave *w, const struct emu_operand *o) {
    uint64_t defined = ~UINT64_C(0);
    for (unsigned k = 0; k < o->registers; k++) defined &= w->v_defined[o->reg + k];
    return defined;
}

/* The host's memory at a device address. */
static inline void *emu_host(uint64_t address) { return (void *)(uintptr_t)address; }

static inline void emu_define(struct emu_wave *w, unsigned reg, unsigned count, uint64_t active) {
    for (unsigned k = 0; k < count; k++) w->v_defined[reg + k] |= active;
}

/* The lowest of some lanes; there is one. */
static inline unsigned emu_first_lane(uint64_t lanes) {
    unsigned lane = 0;
    for (unsigned step = 32; step > 0; step /= 2)
        if ((lanes & ((UINT64_C(1) << step) - 1)) == 0) {
            lanes >>= step;
            lane += step;
        }
    return lane;
}

/* Whether 64 offsets of elements of some bytes make a row. */
static inline bool emu_is_row(const uint32_t *offsets, unsigned bytes) {
    const uint32_t first = offsets[0];
    uint32_t differs = 0;
    _Pragma("omp simd reduction(| : differs)") for (uint32_t lane = 0; lane < EMU_LANES; lane++)
        differs |= offsets[lane] ^ (first + lane * bytes);
    return differs == 0 && first <= UINT32_MAX - EMU_LANES * bytes;
}

/* Lets the lanes that are not active repeat the first that is. */
void emu_fill_inactive(struct emu_access *a);
/* The offsets of the lanes that execute; the others repeat the first that does. */
void emu_active_offsets(struct emu_wave *w, uint64_t active, const uint32_t *v, uint32_t *offsets);
/* Whether kernels may touch these addresses; else a fault that names the first lane that may not. */
bool emu_check_global(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                      bool write);
/* Whether all are multiples of a->bytes. */
bool emu_check_aligned(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a);

/* a->bytes of each active lane from memory to registers reg.. (defining them) and back. */
void emu_load(struct emu_wave *w, const struct emu_access *a, unsigned reg, bool is_signed,
              enum emu_half half);
void emu_store(struct emu_wave *w, const struct emu_access *a, unsigned reg, enum emu_half half);

/* 1, 2 or 4 bytes of each active lane, extended to a word; 0 in the others. */
void emu_fetch(const struct emu_access *a, bool is_signed, uint32_t *values);

/*
 * LDS: offsets of 64 lanes (of inactive ones: any), from the workgroup's LDS on. emu_lds_resolve checks the range, and
 * races where the detector is on, and fills in a->at of the active lanes.
 */
enum emu_lds_use { EMU_LDS_READ, EMU_LDS_WRITE, EMU_LDS_ATOMIC };
bool emu_lds_resolve(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                     const uint32_t *offsets, uint64_t lanes, enum emu_lds_use use);
/* The lanes among those of a->at in LDS whose bytes have all been written. */
uint64_t emu_lds_written(const struct emu_wave *w, const struct emu_access *a, uint64_t lanes);
/* Notes a write, of defined data in the lanes of `defined`. */
void emu_lds_mark(struct emu_wave *w, const struct emu_access *a, uint64_t lanes, uint64_t defined);

/* What loads "to LDS" do with their words: lane l's goes to M0[15:0] + offset: + 4 l. False after a fault. */
bool emu_lds_direct(struct emu_wave *w, const struct emu_insn *i, const uint32_t *values);

/* Scratch: the same, at byte offsets of the lane's own memory. */
bool emu_scratch_resolve(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                         const int64_t *offsets, uint64_t lanes);

#endif
