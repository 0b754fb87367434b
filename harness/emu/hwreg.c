/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s_getreg and s_setreg. Where a wave runs (HW_ID, XCC_ID) is as on an MI300X: workgroups go round the 8 dies in turn, each
 * of 4 shader engines with 38 compute units in all, each unit of 4 SIMDs.
 */
#include "control.h"
#include "scalar.h"

enum hardware_register { MODE = 1, HW_ID = 4, XCC_ID = 20 };
enum {
    DIES = 8,
    UNITS_OF_DIE = 38,
    ENGINES_OF_DIE = 4,
    SIMDS = 4,
    /* Fields of MODE that may be written: rounding, denormals, clamp, IEEE, FP16_OVFL. */
    WRITABLE_MODE = 0x3ff | 1 << EMU_FP16_OVFL
};

struct field {
    unsigned id, offset;
    uint32_t mask;
};

static struct field field_of(const struct emu_insn *i) {
    const unsigned size = (i->immediate >> 11 & 31) + 1;
    return (struct field){i->immediate & 63, i->immediate >> 6 & 31,
                          (uint32_t)((UINT64_C(1) << size) - 1)};
}

static uint64_t flat_group(const struct emu_group *group) {
    const uint32_t *const grid = group->launch->grid, *const id = group->id;
    return id[0] + (uint64_t)grid[0] * (id[1] + (uint64_t)grid[1] * id[2]);
}

static uint32_t hardware_id(const struct emu_wave *w) {
    const uint32_t unit = (uint32_t)(flat_group(w->group) / DIES % UNITS_OF_DIE);
    const uint32_t slot = w->index / SIMDS, simd = w->index % SIMDS;
    return (slot & 15) | simd << 4 | unit / ENGINES_OF_DIE << 8 | unit % ENGINES_OF_DIE << 13;
}

const struct emu_insn *emu_run_getreg(struct emu_wave *w, const struct emu_insn *i) {
    const struct field field = field_of(i);
    uint32_t value = 0;
    switch (field.id) {
    case MODE: value = w->mode; break;
    case HW_ID: value = hardware_id(w); break;
    case XCC_ID: value = (uint32_t)(flat_group(w->group) % DIES); break;
    default:
        return emu_fault(w, i, EMU_UNIMPLEMENTED, -1, "hardware register %u is not emulated",
                         field.id);
    }
    emu_write_sreg(w, i->operand[0].reg, value >> field.offset & field.mask);
    return i + 1;
}

static const struct emu_insn *set(struct emu_wave *w, const struct emu_insn *i, uint32_t value) {
    const struct field field = field_of(i);
    if (field.id != MODE)
        return emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
                         "writing hardware register %u is not emulated", field.id);
    const uint32_t mask = field.mask << field.offset;
    const uint32_t mode = (w->mode & ~mask) | (value << field.offset & mask);
    if (((mode ^ w->mode) & ~(uint32_t)WRITABLE_MODE) != 0)
        return emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
                         "MODE 0x%x has bits that are not emulated (traps, debugging)", mode);
    w->mode = mode;
    return i + 1;
}

const struct emu_insn *emu_run_setreg(struct emu_wave *w, const struct emu_insn *i) {
    return set(w, i, emu_get32(w, &i->operand[1]));
}

const struct emu_insn *emu_run_setreg_imm32(struct emu_wave *w, const struct emu_insn *i) {
    return set(w, i, emu_get32(w, &i->operand[1]));
}
