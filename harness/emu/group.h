/* SPDX-License-Identifier: Apache-2.0 */
/* A workgroup on the device: its memory, its start, its turn of running. */
#ifndef DSV4_EMU_GROUP_H
#define DSV4_EMU_GROUP_H

#include "machine.h"

enum {
    EMU_DEVICE_UNITS = 304,
    EMU_LDS_BYTES = 65536,
    EMU_MAX_BLOCK = 1024,
    EMU_MAX_WAVES = EMU_MAX_BLOCK / EMU_LANES
};

/* What all workgroups of a launch start with. */
struct emu_start {
    struct emu_launch *launch;
    const struct emu_insn *entry;
    uint32_t n_waves, scratch_bytes;
    uint32_t s[EMU_SREGS], s_defined[EMU_SREGS];
    uint32_t group_id_sreg[3];                /* EMU_SREGS: none */
    uint32_t items[EMU_MAX_WAVES][EMU_LANES]; /* v0 */
    uint64_t exec[EMU_MAX_WAVES];
    uint64_t (*run)(struct emu_wave *w, uint64_t limit); /* up to limit instructions; how many */
};

/* A wave's turns: how long the next is, and whether it was last seen to wait for other workgroups. */
struct emu_turn {
    uint64_t slice;
    bool waits;
    uint64_t period,
        hash; /* instructions after which a waiting wave is where it was, and its registers then */
};

/* One workgroup's place on the device. */
struct emu_resident {
    struct emu_group group;
    struct emu_turn turns[EMU_MAX_WAVES];
    struct emu_resident *next;
    uint64_t seen; /* progress of the launch when it last ran */
    bool waits;
    size_t map_bytes;
    uint32_t n_waves, lds_bytes, scratch_bytes; /* what it has room for */
};

enum emu_outcome {
    EMU_FINISHED,
    EMU_PREEMPTED, /* has used its slice */
    EMU_WAITING,   /* its waves go round in circles, changing nothing */
    EMU_STOPPED    /* the launch ends with a fault */
};

/* Room for one workgroup; given back to a store that later launches draw from. */
struct emu_resident *emu_resident_take(const struct emu_start *start);
void emu_resident_give(struct emu_resident *r);

void emu_group_start(struct emu_resident *r, const struct emu_start *start, uint64_t flat_id);
/* Runs for about `limit` instructions. moved: whether anything but waiting happened. */
enum emu_outcome emu_group_run(struct emu_resident *r, const struct emu_start *start,
                               uint64_t limit, uint64_t *executed, bool *moved);

/* Runs all workgroups of a launch, on several threads if that helps. */
void emu_schedule(const struct emu_start *start, uint64_t n_groups, uint64_t max_resident);

/* 0, or -1 with the fault: an instruction of the kernel names a register that the kernel does not have. */
int emu_verify_registers(const struct emu_kernel *kernel, const struct emu_insn *entry,
                         struct emu_fault *fault);

/* The loops that execute: alone, with definedness, and with whatever the options ask for. */
uint64_t emu_run_plain(struct emu_wave *w, uint64_t limit);
uint64_t emu_run_checked(struct emu_wave *w, uint64_t limit);
uint64_t emu_run_observed(struct emu_wave *w, uint64_t limit);
void emu_observe_end(void); /* of a launch: writes the coverage file */

#endif
