/* SPDX-License-Identifier: Apache-2.0 */
/* A workgroup of one or two waves with LDS, scratch and a piece of global memory: what memory instructions need. */
#ifndef DSV4_EMU_TESTS_MEMORY_H
#define DSV4_EMU_TESTS_MEMORY_H

#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "../decode.h"
#include "../lanes.h"
#include "../space.h"

enum { BED_WAVES = 2, BED_LDS = 4096, BED_SCRATCH = 64, BED_BYTES = 8192 };

struct bed {
    struct emu_launch launch;
    struct emu_group group;
    struct emu_wave wave[BED_WAVES];
    uint64_t defined[BED_WAVES][EMU_VGPRS];
    alignas(64) uint32_t v[BED_WAVES][EMU_VGPRS][EMU_LANES];
    alignas(64) uint8_t lds[BED_LDS + 64], lds_defined[BED_LDS + 64];
    uint8_t scratch[EMU_LANES * BED_SCRATCH];
    uint8_t *memory; /* BED_BYTES of the device */
    struct emu_insn insn[2];
    uint64_t random;
};

static inline uint32_t bed_random(struct bed *b) {
    b->random = b->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint64_t x = b->random;
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    return (uint32_t)(x >> 16);
}

static inline void bed_begin(struct bed *b) {
    uint8_t *const memory = b->memory;
    memset(b, 0, sizeof *b);
    b->memory = memory ? memory : emu_space_alloc(BED_BYTES, EMU_REGION_DEVICE);
    b->launch.lds_bytes = BED_LDS;
    b->launch.tracked = true;
    b->launch.block[0] = EMU_LANES * BED_WAVES;
    b->launch.block[1] = b->launch.block[2] = 1;
    b->group.launch = &b->launch;
    b->group.n_waves = BED_WAVES;
    b->group.waves = b->wave;
    b->group.lds = b->lds;
    b->group.lds_defined = b->lds_defined;
    memset(b->lds_defined, 1, sizeof b->lds_defined);
    for (uint32_t k = 0; k < BED_WAVES; k++) {
        struct emu_wave *const w = &b->wave[k];
        w->group = &b->group;
        w->index = k;
        w->v = b->v[k];
        w->v_defined = b->defined[k];
        memset(b->defined[k], 0xff, sizeof b->defined[k]);
        memset(w->s_defined, 0xff, sizeof w->s_defined);
        w->scratch = b->scratch;
        w->scratch_bytes = BED_SCRATCH;
        w->mode = 0x3f0;
        emu_write_s64(w, EMU_EXEC, ~UINT64_C(0));
    }
    b->random = 1;
    for (unsigned i = 0; i < BED_BYTES; i++) b->memory[i] = (uint8_t)bed_random(b);
    for (unsigned i = 0; i < BED_LDS; i++) b->lds[i] = (uint8_t)bed_random(b);
    for (unsigned i = 0; i < sizeof b->scratch; i++) b->scratch[i] = (uint8_t)bed_random(b);
}

/* Runs one line of disassembly on a wave; the kind of fault, EMU_NO_FAULT if it went through. */
static inline enum emu_fault_kind bed_run_on(struct bed *b, unsigned wave, const char *text) {
    struct emu_insn *const i = &b->insn[wave];
    emu_decode(i, text, 0x100 + 8 * wave, 8);
    cr_assert(i->opcode != NULL, "%s: no such instruction", text);
    memset(&b->launch.fault, 0, sizeof b->launch.fault);
    b->launch.stop = 0;
    b->wave[wave].state = EMU_RUNNING;
    const struct emu_insn *const next = i->opcode->run(&b->wave[wave], i);
    cr_assert((next == NULL) == (b->launch.fault.kind != EMU_NO_FAULT), "%s: %s", text,
              b->launch.fault.text);
    cr_assert(next == NULL || next == i + 1);
    return b->launch.fault.kind;
}

static inline enum emu_fault_kind bed_run(struct bed *b, const char *text) {
    return bed_run_on(b, 0, text);
}

static inline void bed_ok(struct bed *b, const char *text) {
    cr_assert_eq(bed_run(b, text), EMU_NO_FAULT, "%s: %s", text, b->launch.fault.text);
}

/* That the line faults so, and that the sentence holds some words. */
static inline void bed_faults(struct bed *b, const char *text, enum emu_fault_kind kind,
                              const char *words) {
    const enum emu_fault_kind got = bed_run(b, text);
    cr_assert_eq(got, kind, "%s: fault %d instead of %d: %s", text, (int)got, (int)kind,
                 b->launch.fault.text);
    cr_assert(strstr(b->launch.fault.text, words) != NULL, "%s: '%s' without '%s'", text,
              b->launch.fault.text, words);
}

static inline void bed_exec(struct bed *b, uint64_t exec) {
    emu_write_s64(&b->wave[0], EMU_EXEC, exec);
}

static inline void bed_address(struct bed *b, unsigned reg, unsigned lane, const void *address) {
    b->v[0][reg][lane] = (uint32_t)(uintptr_t)address;
    b->v[0][reg + 1][lane] = (uint32_t)((uint64_t)(uintptr_t)address >> 32);
}

/* Masks of lanes worth trying. */
static inline uint64_t bed_mask(struct bed *b, unsigned round) {
    static const uint64_t masks[] = {
        ~UINT64_C(0), 1, UINT64_C(1) << 63, UINT64_C(0x5555555555555555), UINT64_C(0xFFFFFFFF), 0};
    if (round < sizeof masks / sizeof *masks) return masks[round];
    return (uint64_t)bed_random(b) << 32 | bed_random(b);
}

#endif
