/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Global and flat loads and stores. A flat address decides lane by lane: LDS or private memory within their apertures,
 * global memory elsewhere.
 */
#include "access.h"
#include "atomic.h"

static bool is_uniform(const uint32_t *values) {
    const uint32_t first = values[0];
    uint32_t differs = 0;
    _Pragma("omp simd reduction(| : differs)") for (unsigned lane = 0; lane < EMU_LANES; lane++)
        differs |= values[lane] ^ first;
    return differs == 0;
}

/* Addresses of global_: v[n:n+1] with off, or s[n:n+1] and an unsigned 32-bit offset in v. */
static bool begin(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                  const struct emu_operand *vaddr, const struct emu_operand *saddr) {
    const uint64_t offset = (uint64_t)(int64_t)i->offset;
    const bool is_scalar = saddr != NULL && saddr->kind == EMU_SGPR && saddr->registers == 2;
    a->active = emu_exec(w);
    if (!emu_is_vector(vaddr, is_scalar ? 4 : 8)) return emu_refuse(w, i) != NULL;
    if (!emu_require(w, i, vaddr, a->active, "an address")) return false;
    if (is_scalar && !emu_require(w, i, saddr, a->active, "an address")) return false;
    const uint32_t *const low = w->v[vaddr->reg];
    const uint64_t base = (is_scalar ? emu_scalar(w, saddr) : 0) + offset;
    if (a->active == ~UINT64_C(0) && emu_is_row(low, a->bytes) &&
        (is_scalar || is_uniform(w->v[vaddr->reg + 1]))) {
        a->row = true;
        a->at[0] = base + low[0] + (is_scalar ? 0 : (uint64_t)w->v[vaddr->reg + 1][0] << 32);
        return true;
    }
    uint32_t lows[EMU_LANES], highs[EMU_LANES] = {0};
    emu_active_offsets(w, a->active, low, lows);
    if (!is_scalar) emu_active_offsets(w, a->active, w->v[vaddr->reg + 1], highs);
    EMU_EACH_LANE a->at[lane] = ((uint64_t)highs[lane] << 32 | lows[lane]) + base;
    return true;
}

/* The addresses of a row that somebody wants one by one. */
static void spread_row(struct emu_access *a) {
    const uint64_t first = a->at[0];
    if (a->row) EMU_EACH_LANE a->at[lane] = first + lane * a->bytes;
    a->row = false;
}

static const struct emu_insn *global_load(struct emu_wave *w, const struct emu_insn *i,
                                          unsigned bytes, bool is_signed, enum emu_half half) {
    struct emu_access a = {.bytes = bytes};
    if (!emu_is_vector(&i->operand[0], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[1], &i->operand[2]) || !emu_check_global(w, i, &a, false))
        return NULL;
    emu_load(w, &a, i->operand[0].reg, is_signed, half);
    return i + 1;
}

static const struct emu_insn *global_store(struct emu_wave *w, const struct emu_insn *i,
                                           unsigned bytes, enum emu_half half) {
    struct emu_access a = {.bytes = bytes};
    if (!emu_is_vector(&i->operand[1], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[0], &i->operand[2]) ||
        !emu_require(w, i, &i->operand[1], a.active, "stored data") ||
        !emu_check_global(w, i, &a, true))
        return NULL;
    emu_store(w, &a, i->operand[1].reg, half);
    return i + 1;
}

static const struct emu_insn *global_load_lds(struct emu_wave *w, const struct emu_insn *i,
                                              unsigned bytes, bool is_signed) {
    struct emu_access a = {.bytes = bytes};
    uint32_t values[EMU_LANES];
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[0], &i->operand[1]) || !emu_check_global(w, i, &a, false))
        return NULL;
    emu_fetch(&a, is_signed, values);
    return emu_lds_direct(w, i, values) ? i + 1 : NULL;
}

/* X(name, bytes, signed) */
#define LDS_LOADS(X)                                                                               \
    X(global_load_lds_ubyte, 1, false)                                                             \
    X(global_load_lds_sbyte, 1, true)                                                              \
    X(global_load_lds_ushort, 2, false)                                                            \
    X(global_load_lds_sshort, 2, true)                                                             \
    X(global_load_lds_dword, 4, false)

#define LDS_LOAD(name, bytes, is_signed)                                                           \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        return global_load_lds(w, i, bytes, is_signed);                                            \
    }
LDS_LOADS(LDS_LOAD)

/* Where the lanes of a flat access go. */
struct flat {
    int64_t offsets[EMU_LANES];
    uint32_t lds_offsets[EMU_LANES];
    uint64_t lds, private_, global;
};

static void split(const struct emu_access *a, struct flat *flat) {
    flat->lds = flat->private_ = 0;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const uint64_t high = a->at[lane] & ~UINT64_C(0xFFFFFFFF);
        flat->lds |= (uint64_t)(high == EMU_SHARED_APERTURE) << lane;
        flat->private_ |= (uint64_t)(high == EMU_PRIVATE_APERTURE) << lane;
        flat->lds_offsets[lane] = (uint32_t)a->at[lane];
        flat->offsets[lane] = (int64_t)(uint32_t)a->at[lane];
    }
    flat->lds &= a->active;
    flat->private_ &= a->active;
    flat->global = a->active & ~flat->lds & ~flat->private_;
}

/* Whether no lane is in an aperture: no other address has these upper bits. */
static bool all_global(const struct emu_access *a) {
    uint64_t any = a->at[0];
    if (!a->row)
        _Pragma("omp simd reduction(| : any)") for (unsigned lane = 0; lane < EMU_LANES; lane++)
            any |= a->at[lane];
    return any < EMU_SHARED_APERTURE;
}

/* Checks all lanes and turns LDS and private addresses into the host's. */
static bool resolve(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                    struct flat *flat, bool write, enum emu_lds_use use) {
    if (all_global(a)) {
        flat->lds = flat->private_ = 0;
        flat->global = a->active;
        return emu_check_global(w, i, a, write);
    }
    spread_row(a);
    split(a, flat);
    if (flat->global) {
        struct emu_access global = *a;
        global.active = flat->global;
        emu_fill_inactive(&global);
        if (!emu_check_global(w, i, &global, write)) return false;
    }
    if (flat->lds && !emu_lds_resolve(w, i, a, flat->lds_offsets, flat->lds, use)) return false;
    if (flat->private_ && !emu_scratch_resolve(w, i, a, flat->offsets, flat->private_))
        return false;
    emu_fill_inactive(a);
    return true;
}

static const struct emu_insn *flat_load(struct emu_wave *w, const struct emu_insn *i,
                                        unsigned bytes, bool is_signed, enum emu_half half) {
    struct emu_access a = {.bytes = bytes};
    struct flat flat;
    if (!emu_is_vector(&i->operand[0], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[1], NULL) || !resolve(w, i, &a, &flat, false, EMU_LDS_READ))
        return NULL;
    emu_load(w, &a, i->operand[0].reg, is_signed, half);
    if (flat.lds) {
        const uint64_t unwritten = flat.lds & ~emu_lds_written(w, &a, flat.lds);
        for (unsigned k = 0; k < (bytes + 3) / 4; k++)
            w->v_defined[i->operand[0].reg + k] &= ~unwritten;
    }
    return i + 1;
}

static const struct emu_insn *flat_store(struct emu_wave *w, const struct emu_insn *i,
                                         unsigned bytes, enum emu_half half) {
    struct emu_access a = {.bytes = bytes};
    struct flat flat;
    if (!emu_is_vector(&i->operand[1], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[0], NULL) || !resolve(w, i, &a, &flat, true, EMU_LDS_WRITE) ||
        (flat.global && !emu_require(w, i, &i->operand[1], flat.global, "stored data")))
        return NULL;
    emu_store(w, &a, i->operand[1].reg, half);
    if (flat.lds) emu_lds_mark(w, &a, flat.lds, emu_defined(w, &i->operand[1]));
    return i + 1;
}

/* Operands of an atomic: with sc0 the destination comes first. */
struct atomic_operands {
    const struct emu_operand *to, *address, *data, *base;
};

static struct atomic_operands atomic_operands(const struct emu_insn *i) {
    const struct emu_operand *const first = &i->operand[i->sc0 ? 1 : 0];
    return (struct atomic_operands){i->sc0 ? &i->operand[0] : NULL, first, first + 1, first + 2};
}

/* Checks, addresses and registers of an atomic; words: of data, half of them to compare with where compares. */
static bool begin_atomic(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                         struct emu_atomic_registers *registers, bool is_flat) {
    const struct atomic_operands o = atomic_operands(i);
    struct flat flat = {.lds = 0};
    if (!emu_is_vector(o.data, a->bytes) || (o.to && !emu_is_vector(o.to, a->bytes)))
        return emu_refuse(w, i) != NULL;
    if (!begin(w, i, a, o.address, is_flat ? NULL : o.base) ||
        !emu_require(w, i, o.data, a->active, "an atomic's data"))
        return false;
    spread_row(a);
    if (is_flat ? !resolve(w, i, a, &flat, true, EMU_LDS_ATOMIC) : !emu_check_global(w, i, a, true))
        return false;
    if (!emu_check_aligned(w, i, a)) return false;
    registers->data = o.data->reg;
    registers->compare = o.data->registers > a->bytes / 4 ? o.data->reg + (int)a->bytes / 4 : -1;
    registers->to = o.to ? o.to->reg : -1;
    if (o.to == NULL) return true;
    emu_define(w, o.to->reg, a->bytes / 4, a->active);
    if (flat.lds) {
        const uint64_t unwritten = flat.lds & ~emu_lds_written(w, a, flat.lds);
        for (unsigned k = 0; k < a->bytes / 4; k++) w->v_defined[o.to->reg + k] &= ~unwritten;
    }
    return true;
}

#define LOAD(name, bytes, is_signed, half)                                                         \
    static const struct emu_insn *global_##name(struct emu_wave *w, const struct emu_insn *i) {    \
        return global_load(w, i, bytes, is_signed, half);                                          \
    }                                                                                              \
    static const struct emu_insn *flat_##name(struct emu_wave *w, const struct emu_insn *i) {      \
        return flat_load(w, i, bytes, is_signed, half);                                            \
    }
#define STORE(name, bytes, half)                                                                   \
    static const struct emu_insn *global_##name(struct emu_wave *w, const struct emu_insn *i) {    \
        return global_store(w, i, bytes, half);                                                    \
    }                                                                                              \
    static const struct emu_insn *flat_##name(struct emu_wave *w, const struct emu_insn *i) {      \
        return flat_store(w, i, bytes, half);                                                      \
    }
#include "moves.def"

/* X(name, bits) for what global_atomic_* and flat_atomic_* do. */
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
    X(pk_add_bf16, 32)                                                                             \
    X(add_f64, 64)                                                                                 \
    X(min_f64, 64)                                                                                 \
    X(max_f64, 64)

#define ATOMIC_HANDLER(family, name, bits, is_flat)                                                \
    static const struct emu_insn *family##_atomic_##name(struct emu_wave *w,                       \
                                                         const struct emu_insn *i) {               \
        struct emu_access a = {.bytes = bits / 8};                                                 \
        struct emu_atomic_registers registers;                                                     \
        if (emu_exec(w) == 0) return i + 1;                                                        \
        if (!begin_atomic(w, i, &a, &registers, is_flat)) return NULL;                             \
        emu_atomic##bits(w, &a, emu_atomic_##name, registers);                                     \
        return i + 1;                                                                              \
    }
#define HANDLERS(name, bits)                                                                       \
    ATOMIC_HANDLER(global, name, bits, false)                                                      \
    ATOMIC_HANDLER(flat, name, bits, true)
ATOMICS(HANDLERS)

#define ROW(name, to, ...) {#name, name, {__VA_ARGS__}, to, EMU_MEMORY},
#define LOAD(name, bytes, is_signed, half)                                                         \
    ROW(global_##name, 1, EMU_WORDS(bytes), EMU_U64, EMU_U64)                                      \
    ROW(flat_##name, 1, EMU_WORDS(bytes), EMU_U64)
#define STORE(name, bytes, half)                                                                   \
    ROW(global_##name, 0, EMU_U64, EMU_WORDS(bytes), EMU_U64)                                      \
    ROW(flat_##name, 0, EMU_U64, EMU_WORDS(bytes))
/* The destination is there with sc0 only: the types are those of either form. */
#define ATOMIC_ROWS(name, bits)                                                                    \
    ROW(global_atomic_##name, 1, EMU_U64, EMU_U64, EMU_U64, EMU_U64)                               \
    ROW(flat_atomic_##name, 1, EMU_U64, EMU_U64, EMU_U64)
#define LDS_ROW(name, bytes, is_signed) ROW(name, 0, EMU_U64, EMU_U64)

/* clang-format off */
const struct emu_opcode emu_memory_opcodes[] = {
#include "moves.def"
    ATOMICS(ATOMIC_ROWS)
    LDS_LOADS(LDS_ROW)
    {0}};
/* clang-format on */
