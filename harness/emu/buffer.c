/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers: a descriptor in four scalar registers (base, stride, size), offsets from it, and a range check: loads beyond
 * the end give zero, stores and atomics are dropped. Wide accesses are checked word by word, atomics as a whole.
 *
 * Without idxen, or with stride 0, the size counts bytes; with both, records. Where documents disagree, what depends on
 * it is a fault: an access that only its scalar offset takes beyond the end, one that straddles the end, and one that
 * leaves its record. Swizzled descriptors and thread ids added to the index are refused.
 */
#include <stdatomic.h>

#include "access.h"
#include "atomic.h"

/* A buffer access: addresses, and the lanes whose word k lies within the buffer. */
struct buffer {
    struct emu_access access;
    uint64_t inside[4];
    unsigned words;
    bool all; /* every active lane, every word */
};

struct resource {
    uint64_t base, size;
    uint32_t stride;
    uint64_t scalar_offset;
};

static bool read_resource(struct emu_wave *w, const struct emu_insn *i, struct resource *r,
                          const struct emu_operand *descriptor, const struct emu_operand *scalar) {
    if (descriptor->kind != EMU_SGPR || descriptor->registers != 4) {
        emu_refuse(w, i);
        return false;
    }
    if (!emu_require(w, i, descriptor, 1, "a buffer resource") ||
        !emu_require(w, i, scalar, 1, "a buffer offset"))
        return false;
    const uint32_t *const s = &w->s[descriptor->reg];
    *r = (struct resource){.base = (uint64_t)(s[1] & 0xFFFF) << 32 | s[0],
                           .size = s[2],
                           .stride = s[1] >> 16 & 0x3FFF,
                           .scalar_offset = (uint32_t)emu_scalar(w, scalar)};
    if ((s[1] >> 31) == 0 && (s[3] >> 23 & 1) == 0 && (s[3] >> 30) == 0) return true;
    emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
              "a buffer resource (%08x %08x %08x %08x) with swizzling, thread ids or another type "
              "than buffer is not emulated",
              s[0], s[1], s[2], s[3]);
    return false;
}

/* Index and offset registers: none, one, or index and offset. */
static void read_offsets(struct emu_wave *w, const struct emu_insn *i,
                         const struct emu_operand *vaddr, uint64_t *indices, uint64_t *offsets) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        indices[lane] = i->idxen ? w->v[vaddr->reg][lane] : 0;
        offsets[lane] = (uint32_t)i->offset;
        if (i->offen) offsets[lane] += w->v[vaddr->reg + (i->idxen ? 1 : 0)][lane];
    }
}

enum verdict { INSIDE, OUTSIDE, UNCLEAR };

static enum verdict range_check(const struct emu_insn *i, const struct resource *r, uint64_t index,
                                uint64_t offset, unsigned bytes) {
    if (i->idxen && r->stride)
        return index >= r->size ? OUTSIDE : offset + bytes <= r->stride ? INSIDE : UNCLEAR;
    if (offset >= r->size) return OUTSIDE;
    return offset + bytes + r->scalar_offset <= r->size ? INSIDE : UNCLEAR;
}

/* The common case, decided at once: every active lane is inside. */
static bool all_inside(struct emu_wave *w, const struct emu_insn *i, struct buffer *b,
                       const struct emu_operand *vaddr, const struct resource *r) {
    struct emu_access *const a = &b->access;
    const bool structured = i->idxen && r->stride;
    const uint64_t fixed = (uint32_t)i->offset;
    uint32_t indices[EMU_LANES] = {0}, offsets[EMU_LANES] = {0}, last = 0, highest = 0;
    if (i->idxen) emu_active_offsets(w, a->active, w->v[vaddr->reg], indices);
    if (i->offen) emu_active_offsets(w, a->active, w->v[vaddr->reg + (i->idxen ? 1 : 0)], offsets);
    _Pragma("omp simd reduction(max : last, highest)") for (unsigned lane = 0; lane < EMU_LANES;
                                                            lane++) {
        last = indices[lane] > last ? indices[lane] : last;
        highest = offsets[lane] > highest ? offsets[lane] : highest;
    }
    const uint64_t end = fixed + highest + a->bytes;
    if (structured ? last >= r->size || end > r->stride : end + r->scalar_offset > r->size)
        return false;
    const uint64_t base = r->base + r->scalar_offset + fixed, stride = r->stride;
    for (unsigned k = 0; k < b->words; k++) b->inside[k] = a->active;
    if (a->active == ~UINT64_C(0) && stride * last == 0 && emu_is_row(offsets, a->bytes)) {
        a->row = true;
        a->at[0] = base + offsets[0];
    } else
        EMU_EACH_LANE a->at[lane] = base + offsets[lane] + stride * indices[lane];
    return true;
}

static bool begin(struct emu_wave *w, const struct emu_insn *i, struct buffer *b, unsigned bytes,
                  unsigned unit, const struct emu_operand *vaddr) {
    struct resource r;
    uint64_t indices[EMU_LANES], offsets[EMU_LANES];
    struct emu_access *const a = &b->access;
    *a = (struct emu_access){.active = emu_exec(w), .bytes = bytes};
    b->words = bytes / unit;
    b->all = true;
    const unsigned needed = (unsigned)i->idxen + (unsigned)i->offen;
    if (needed > 0 && !emu_is_vector(vaddr, 4 * needed)) return emu_refuse(w, i) != NULL;
    if (!emu_require(w, i, vaddr, a->active, "a buffer address") ||
        !read_resource(w, i, &r, vaddr + 1, vaddr + 2))
        return false;
    if (all_inside(w, i, b, vaddr, &r)) return true;
    read_offsets(w, i, vaddr, indices, offsets);
    for (unsigned k = 0; k < b->words; k++) {
        b->inside[k] = 0;
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            if ((a->active >> lane & 1) == 0) continue;
            const enum verdict verdict =
                range_check(i, &r, indices[lane], offsets[lane] + k * unit, unit);
            b->inside[k] |= (uint64_t)(verdict == INSIDE) << lane;
            if (verdict != UNCLEAR) continue;
            emu_fault(w, i, EMU_BAD_ADDRESS, (int)lane,
                      "%u bytes at byte %llu of record %llu, with scalar offset %llu, lie partly "
                      "beyond the end of a record or buffer (stride %u, size %llu)",
                      unit, (unsigned long long)(offsets[lane] + k * unit),
                      (unsigned long long)indices[lane], (unsigned long long)r.scalar_offset,
                      r.stride, (unsigned long long)r.size);
            return false;
        }
        b->all &= b->inside[k] == a->active;
    }
    EMU_EACH_LANE a->at[lane] = r.base + r.scalar_offset + offsets[lane] + r.stride * indices[lane];
    emu_fill_inactive(a);
    return true;
}

/* The access to word k of the lanes inside the buffer; false if there are none. */
static bool word_access(const struct buffer *b, unsigned k, struct emu_access *one) {
    const uint64_t first = b->access.at[0];
    *one = b->access;
    one->bytes = b->access.bytes / b->words;
    one->active = b->inside[k];
    one->row = false;
    if (one->active == 0) return false;
    if (b->access.row) EMU_EACH_LANE one->at[lane] = first + lane * b->access.bytes;
    EMU_EACH_LANE one->at[lane] += k * one->bytes;
    emu_fill_inactive(one);
    return true;
}

static void zero(struct emu_wave *w, unsigned reg, uint64_t lanes, enum emu_half half) {
    const uint32_t keep = half == EMU_WHOLE ? 0 : half == EMU_LOW ? 0xFFFF0000 : 0xFFFF;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        if (lanes >> lane & 1) w->v[reg][lane] &= keep;
    emu_define(w, reg, 1, lanes);
}

static unsigned unit_of(unsigned bytes) { return bytes < 4 ? bytes : 4; }

static bool load_words(struct emu_wave *w, const struct emu_insn *i, const struct buffer *b,
                       unsigned reg, bool is_signed, enum emu_half half) {
    if (b->all) {
        if (!emu_check_global(w, i, &b->access, false)) return false;
        emu_load(w, &b->access, reg, is_signed, half);
        return true;
    }
    for (unsigned k = 0; k < b->words; k++) {
        struct emu_access one;
        const uint64_t outside = b->access.active & ~b->inside[k];
        uint32_t kept[EMU_LANES];
        memcpy(kept, w->v[reg + k], sizeof kept);
        if (word_access(b, k, &one)) {
            if (!emu_check_global(w, i, &one, false)) return false;
            emu_load(w, &one, reg + k, is_signed, half);
        }
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            if (outside >> lane & 1) w->v[reg + k][lane] = kept[lane];
        zero(w, reg + k, outside, half);
    }
    return true;
}

static const struct emu_insn *load_lds(struct emu_wave *w, const struct emu_insn *i, unsigned bytes,
                                       bool is_signed) {
    struct buffer b;
    struct emu_access inside;
    uint32_t values[EMU_LANES] = {0};
    if (bytes > 4) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &b, bytes, bytes, &i->operand[0])) return NULL;
    if (word_access(&b, 0, &inside)) {
        if (!emu_check_global(w, i, &inside, false)) return NULL;
        emu_fetch(&inside, is_signed, values);
    }
    return emu_lds_direct(w, i, values) ? i + 1 : NULL;
}

static const struct emu_insn *load(struct emu_wave *w, const struct emu_insn *i, unsigned bytes,
                                   bool is_signed, enum emu_half half) {
    struct buffer b;
    if (i->lds) return half == EMU_WHOLE ? load_lds(w, i, bytes, is_signed) : emu_refuse(w, i);
    if (!emu_is_vector(&i->operand[0], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &b, bytes, unit_of(bytes), &i->operand[1]) ||
        !load_words(w, i, &b, i->operand[0].reg, is_signed, half))
        return NULL;
    return i + 1;
}

static const struct emu_insn *store(struct emu_wave *w, const struct emu_insn *i, unsigned bytes,
                                    enum emu_half half) {
    struct buffer b;
    struct emu_access one;
    if (i->lds || !emu_is_vector(&i->operand[0], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &b, bytes, unit_of(bytes), &i->operand[1]) ||
        !emu_require(w, i, &i->operand[0], b.access.active, "stored data"))
        return NULL;
    if (b.all) {
        if (!emu_check_global(w, i, &b.access, true)) return NULL;
        emu_store(w, &b.access, i->operand[0].reg, half);
        return i + 1;
    }
    for (unsigned k = 0; k < b.words; k++) {
        if (!word_access(&b, k, &one)) continue;
        if (!emu_check_global(w, i, &one, true)) return NULL;
        emu_store(w, &one, i->operand[0].reg + k, half);
    }
    return i + 1;
}

/* With sc0 the data register receives what was in memory; 0 in lanes outside the buffer. */
static bool begin_atomic(struct emu_wave *w, const struct emu_insn *i, struct emu_access *inside,
                         struct emu_atomic_registers *registers, unsigned bytes) {
    const struct emu_operand *const data = &i->operand[0];
    struct buffer b;
    if (!emu_is_vector(data, bytes)) return emu_refuse(w, i) != NULL;
    if (!begin(w, i, &b, bytes, bytes, data + 1) ||
        !emu_require(w, i, data, b.access.active, "an atomic's data"))
        return false;
    registers->data = data->reg;
    registers->compare = data->registers > bytes / 4 ? data->reg + (int)(bytes / 4) : -1;
    registers->to = i->sc0 ? data->reg : -1;
    for (unsigned k = 0; i->sc0 && k < bytes / 4; k++)
        zero(w, data->reg + k, b.access.active & ~b.inside[0], EMU_WHOLE);
    if (!word_access(&b, 0, inside)) {
        inside->active = 0;
        return true;
    }
    return emu_check_global(w, i, inside, true) && emu_check_aligned(w, i, inside);
}

#define HANDLER(name, call)                                                                        \
    static const struct emu_insn *buffer_##name(struct emu_wave *w, const struct emu_insn *i) {    \
        return call;                                                                               \
    }
#define LOAD(name, bytes, is_signed, half) HANDLER(name, load(w, i, bytes, is_signed, half))
#define STORE(name, bytes, half) HANDLER(name, store(w, i, bytes, half))
#include "moves.def"

#define ATOMICS(X)                                                                                 \
    X(swap, 32)                                                                                    \
    X(cmpswap, 32)                                                                                 \
    X(add, 32)                                                                                     \
    X(sub, 32)                                                                                     \
    X(smin, 32)                                                                                    \
    X(umin, 32)                                                                                    \
    X(smax, 32)                                                                                    \
    X(umax, 32)                                                                                    \
    X(and, 32)                                                                                     \
    X(or, 32)                                                                                      \
    X(xor, 32)                                                                                     \
    X(inc, 32)                                                                                     \
    X(dec, 32)                                                                                     \
    X(swap_x2, 64)                                                                                 \
    X(cmpswap_x2, 64)                                                                              \
    X(add_x2, 64)                                                                                  \
    X(sub_x2, 64)                                                                                  \
    X(smin_x2, 64)                                                                                 \
    X(umin_x2, 64)                                                                                 \
    X(smax_x2, 64)                                                                                 \
    X(umax_x2, 64)                                                                                 \
    X(and_x2, 64)                                                                                  \
    X(or_x2, 64)                                                                                   \
    X(xor_x2, 64)                                                                                  \
    X(inc_x2, 64)                                                                                  \
    X(dec_x2, 64)                                                                                  \
    X(add_f32, 32)                                                                                 \
    X(pk_add_f16, 32)                                                                              \
    X(add_f64, 64)                                                                                 \
    X(min_f64, 64)                                                                                 \
    X(max_f64, 64)

#define ATOMIC_HANDLER(name, bits)                                                                 \
    static const struct emu_insn *buffer_atomic_##name(struct emu_wave *w,                         \
                                                       const struct emu_insn *i) {                 \
        struct emu_access inside;                                                                  \
        struct emu_atomic_registers registers;                                                     \
        if (emu_exec(w) == 0) return i + 1;                                                        \
        if (!begin_atomic(w, i, &inside, &registers, bits / 8)) return NULL;                       \
        emu_atomic##bits(w, &inside, emu_atomic_##name, registers);                                \
        return i + 1;                                                                              \
    }
ATOMICS(ATOMIC_HANDLER)

/* Caches are not emulated, so that writing back and invalidating only orders what threads of the host do. */
static const struct emu_insn *fence(struct emu_wave *w, const struct emu_insn *i) {
    (void)w;
    atomic_thread_fence(memory_order_seq_cst);
    return i + 1;
}
HANDLER(wbl2, fence(w, i))
HANDLER(inv, fence(w, i))
HANDLER(wbinvl1, fence(w, i))
HANDLER(wbinvl1_vol, fence(w, i))

#define ROW(name, to, ...) {"buffer_" #name, buffer_##name, {__VA_ARGS__}, to, EMU_MEMORY},
#define LOAD(name, bytes, is_signed, half)                                                         \
    ROW(name, 1, EMU_WORDS(bytes), EMU_U64, EMU_B128, EMU_U32)
#define STORE(name, bytes, half) ROW(name, 0, EMU_WORDS(bytes), EMU_U64, EMU_B128, EMU_U32)
#define ATOMIC_ROW(name, bits) ROW(atomic_##name, 0, EMU_B##bits, EMU_U64, EMU_B128, EMU_U32)

/* clang-format off */
const struct emu_opcode emu_buffer_opcodes[] = {
#include "moves.def"
    ATOMICS(ATOMIC_ROW)
    ROW(wbl2, 0, EMU_NONE)
    ROW(inv, 0, EMU_NONE)
    ROW(wbinvl1, 0, EMU_NONE)
    ROW(wbinvl1_vol, 0, EMU_NONE)
    {0}};
/* clang-format on */
