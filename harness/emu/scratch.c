/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory. Lane l's bytes lie together in the wave's scratch, so that a wide access is one host access. What a
 * spill stores may be undefined (whole-wave spills store the lanes of nobody), and loads define: values that pass
 * through scratch count as initialised.
 */
#include "access.h"

bool emu_scratch_resolve(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                         const int64_t *offsets, uint64_t lanes) {
    const int64_t room = (int64_t)w->scratch_bytes - (int64_t)a->bytes;
    const uint64_t base = (uint64_t)(uintptr_t)w->scratch;
    uint64_t bad = 0;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        bad |= (uint64_t)(offsets[lane] < 0 || offsets[lane] > room) << lane;
    if (bad & lanes) {
        const unsigned lane = emu_first_lane(bad & lanes);
        emu_fault(w, i, EMU_BAD_ADDRESS, (int)lane,
                  "%u bytes at offset %lld of private memory, of which this lane has %u bytes: a "
                  "stack overflow?",
                  a->bytes, (long long)offsets[lane], w->scratch_bytes);
        return false;
    }
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        if (lanes >> lane & 1)
            a->at[lane] = base + (uint64_t)lane * w->scratch_bytes + (uint64_t)offsets[lane];
    return true;
}

/* Names the first lane that goes wrong. */
static bool refuse(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                   const uint32_t *sums) {
    int64_t offsets[EMU_LANES];
    EMU_EACH_LANE offsets[lane] = (int32_t)sums[lane];
    return emu_scratch_resolve(w, i, a, offsets, a->active);
}

/* vaddr and saddr are "off" or hold 32-bit offsets. */
static bool begin(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                  const struct emu_operand *vaddr, const struct emu_operand *saddr) {
    uint32_t sums[EMU_LANES];
    a->active = emu_exec(w);
    if ((vaddr->kind != EMU_OFF && !emu_is_vector(vaddr, 4)) ||
        (saddr->kind != EMU_OFF && saddr->kind != EMU_SGPR))
        return emu_refuse(w, i) != NULL;
    if (!emu_require(w, i, vaddr, a->active, "a private address") ||
        !emu_require(w, i, saddr, a->active, "a private address"))
        return false;
    const uint32_t scalar =
        (uint32_t)i->offset + (saddr->kind == EMU_OFF ? 0 : (uint32_t)emu_scalar(w, saddr));
    uint32_t highest = scalar;
    if (vaddr->kind == EMU_VGPR) {
        emu_active_offsets(w, a->active, w->v[vaddr->reg], sums);
        highest = 0;
        _Pragma("omp simd reduction(max : highest)") for (unsigned lane = 0; lane < EMU_LANES;
                                                          lane++) {
            sums[lane] += scalar;
            highest = sums[lane] > highest ? sums[lane] : highest;
        }
    } else
        emu_broadcast(sums, scalar);
    if (w->scratch_bytes < a->bytes || highest > w->scratch_bytes - a->bytes)
        return refuse(w, i, a, sums);
    const uint64_t base = (uint64_t)(uintptr_t)w->scratch, stride = w->scratch_bytes;
    EMU_EACH_LANE a->at[lane] = base + lane * stride + sums[lane];
    return true;
}

static const struct emu_insn *load(struct emu_wave *w, const struct emu_insn *i, unsigned bytes,
                                   bool is_signed, enum emu_half half) {
    struct emu_access a = {.bytes = bytes};
    if (!emu_is_vector(&i->operand[0], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[1], &i->operand[2])) return NULL;
    emu_load(w, &a, i->operand[0].reg, is_signed, half);
    return i + 1;
}

static const struct emu_insn *store(struct emu_wave *w, const struct emu_insn *i, unsigned bytes,
                                    enum emu_half half) {
    struct emu_access a = {.bytes = bytes};
    if (!emu_is_vector(&i->operand[1], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[0], &i->operand[2])) return NULL;
    emu_store(w, &a, i->operand[1].reg, half);
    return i + 1;
}

#define LOAD(name, bytes, is_signed, half)                                                         \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        return load(w, i, bytes, is_signed, half);                                                 \
    }
#define STORE(name, bytes, half)                                                                   \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        return store(w, i, bytes, half);                                                           \
    }
#include "moves.def"

#define ROW(name, to, ...) {"scratch_" #name, name, {__VA_ARGS__}, to, EMU_MEMORY},
#define LOAD(name, bytes, is_signed, half) ROW(name, 1, EMU_WORDS(bytes), EMU_U32, EMU_U32)
#define STORE(name, bytes, half) ROW(name, 0, EMU_U32, EMU_WORDS(bytes), EMU_U32)

/* clang-format off */
const struct emu_opcode emu_scratch_opcodes[] = {
#include "moves.def"
    {0}};
/* clang-format on */
