/* SPDX-License-Identifier: Apache-2.0 */
#include "lanes.h"

static uint64_t read_only(const struct emu_wave *w, unsigned reg) {
    switch (reg) {
    case EMU_SHARED_BASE: return EMU_SHARED_APERTURE;
    case EMU_SHARED_LIMIT: return EMU_SHARED_APERTURE | UINT32_MAX;
    case EMU_PRIVATE_BASE: return EMU_PRIVATE_APERTURE;
    case EMU_PRIVATE_LIMIT: return EMU_PRIVATE_APERTURE | UINT32_MAX;
    case EMU_VCCZ: return emu_s64(w, EMU_VCC) == 0;
    case EMU_EXECZ: return emu_exec(w) == 0;
    default: return 0;
    }
}

uint64_t emu_scalar(const struct emu_wave *w, const struct emu_operand *o) {
    if (o->kind == EMU_CONSTANT) return o->value;
    if (o->kind == EMU_SCC) return w->scc;
    if (o->kind != EMU_SGPR) return 0;
    if (o->reg >= EMU_SREGS) return read_only(w, o->reg);
    return o->registers >= 2 ? emu_s64(w, o->reg) : w->s[o->reg];
}
