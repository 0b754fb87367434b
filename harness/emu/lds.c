/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LDS. Hardware reads zero beyond the end and drops writes; here both are faults. Which bytes have been written is
 * tracked in the workgroup: what a load finds unwritten makes its register undefined, which is reported where it is
 * used. M0 limits nothing on gfx942.
 */
#include "access.h"
#include "atomic.h"
#include "race.h"

static bool beyond(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                   const uint32_t *offsets, uint64_t lanes) {
    const uint32_t room = w->group->launch->lds_bytes;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        if ((lanes >> lane & 1) && (uint64_t)offsets[lane] + a->bytes > room) {
            emu_fault(w, i, EMU_BAD_ADDRESS, (int)lane,
                      "%u bytes at byte %u of LDS, of which this workgroup has %u bytes", a->bytes,
                      offsets[lane], room);
            return true;
        }
    return false;
}

bool emu_lds_resolve(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                     const uint32_t *offsets, uint64_t lanes, enum emu_lds_use use) {
    const uint64_t base = (uint64_t)(uintptr_t)w->group->lds;
    uint32_t low = UINT32_MAX, high = 0;
    if (beyond(w, i, a, offsets, lanes)) return false;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((lanes >> lane & 1) == 0) continue;
        low = offsets[lane] < low ? offsets[lane] : low;
        high = offsets[lane] > high ? offsets[lane] : high;
        a->at[lane] = base + offsets[lane];
    }
    a->low = low;
    a->span = high - low + a->bytes;
    return w->group->race == NULL || emu_race_note(w, i, a, lanes, use);
}

/* Whether everything between the lowest and the highest byte of an access has been written. */
static bool all_written(const struct emu_wave *w, const struct emu_access *a) {
    const uint8_t *const shadow = w->group->lds_defined + a->low;
    uint8_t all = 1;
    if (a->span > 4 * EMU_LANES * a->bytes) return false;
    _Pragma("omp simd reduction(& : all)") for (uint32_t k = 0; k < a->span; k++) all &= shadow[k];
    return all != 0;
}

static uint8_t *lane_shadow(const struct emu_wave *w, const struct emu_access *a, unsigned lane) {
    const uint64_t at = a->row ? a->at[0] + lane * a->bytes : a->at[lane];
    return w->group->lds_defined + (at - (uint64_t)(uintptr_t)w->group->lds);
}

uint64_t emu_lds_written(const struct emu_wave *w, const struct emu_access *a, uint64_t lanes) {
    if (all_written(w, a)) return lanes;
    uint64_t written = 0;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        uint8_t all = lanes >> lane & 1;
        const uint8_t *const shadow = lane_shadow(w, a, lane);
        for (unsigned k = 0; all && k < a->bytes; k++) all &= shadow[k];
        written |= (uint64_t)all << lane;
    }
    return written;
}

void emu_lds_mark(struct emu_wave *w, const struct emu_access *a, uint64_t lanes,
                  uint64_t defined) {
    if (a->row && defined == ~UINT64_C(0)) {
        memset(w->group->lds_defined + a->low, 1, a->span);
        return;
    }
    if ((lanes & ~defined) == 0 && all_written(w, a)) return;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        if (lanes >> lane & 1) {
            uint8_t *const shadow = lane_shadow(w, a, lane);
            for (unsigned k = 0; k < a->bytes; k++) shadow[k] = defined >> lane & 1;
        }
}

bool emu_lds_direct(struct emu_wave *w, const struct emu_insn *i, const uint32_t *values) {
    const struct emu_operand m0 = {.kind = EMU_SGPR, .registers = 1, .reg = EMU_M0};
    struct emu_access a = {.bytes = 4, .active = emu_exec(w)};
    uint32_t offsets[EMU_LANES];
    if (!emu_require(w, i, &m0, a.active, "an LDS address in m0")) return false;
    const uint32_t base = (w->s[EMU_M0] & 0xFFFF) + (uint32_t)i->offset;
    EMU_EACH_LANE offsets[lane] = base + 4 * lane;
    if (!emu_lds_resolve(w, i, &a, offsets, a.active, EMU_LDS_WRITE)) return false;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        if (a.active >> lane & 1) memcpy(emu_host(a.at[lane]), &values[lane], 4);
    emu_lds_mark(w, &a, a.active, ~UINT64_C(0));
    return true;
}

/* Address register and offset to host addresses. */
static bool begin(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                  const struct emu_operand *address, uint32_t offset, enum emu_lds_use use) {
    const uint64_t base = (uint64_t)(uintptr_t)w->group->lds, room = w->group->launch->lds_bytes;
    uint32_t offsets[EMU_LANES];
    a->active = emu_exec(w);
    if (i->gds || !emu_is_vector(address, 4)) return emu_refuse(w, i) != NULL;
    if (!emu_require(w, i, address, a->active, "an LDS address")) return false;
    const uint32_t *const v = w->v[address->reg];
    const uint32_t first = v[0] + offset;
    if (a->active == ~UINT64_C(0) && w->group->race == NULL && use != EMU_LDS_ATOMIC &&
        emu_is_row(v, a->bytes) && (uint64_t)first + EMU_LANES * a->bytes <= room) {
        a->row = true;
        a->at[0] = base + first;
        a->low = first;
        a->span = EMU_LANES * a->bytes;
        return true;
    }
    emu_active_offsets(w, a->active, v, offsets);
    EMU_EACH_LANE offsets[lane] += offset;
    uint32_t low = offsets[0], high = offsets[0];
    _Pragma("omp simd reduction(min : low) reduction(max : high)") for (unsigned lane = 0;
                                                                        lane < EMU_LANES; lane++) {
        low = offsets[lane] < low ? offsets[lane] : low;
        high = offsets[lane] > high ? offsets[lane] : high;
        a->at[lane] = base + offsets[lane];
    }
    if ((uint64_t)high + a->bytes > room && beyond(w, i, a, offsets, a->active)) return false;
    a->low = low;
    a->span = high - low + a->bytes;
    return w->group->race == NULL || emu_race_note(w, i, a, a->active, use);
}

/* Loads a->bytes; the lanes that found unwritten bytes are undefined. */
static void load(struct emu_wave *w, const struct emu_access *a, unsigned reg, bool is_signed,
                 enum emu_half half) {
    const uint64_t unwritten = a->active & ~emu_lds_written(w, a, a->active);
    emu_load(w, a, reg, is_signed, half);
    for (unsigned k = 0; unwritten && k < (a->bytes + 3) / 4; k++)
        w->v_defined[reg + k] &= ~unwritten;
}

static void store(struct emu_wave *w, const struct emu_access *a, unsigned reg,
                  enum emu_half half) {
    uint64_t defined = ~UINT64_C(0);
    for (unsigned k = 0; k < (a->bytes + 3) / 4; k++) defined &= w->v_defined[reg + k];
    emu_store(w, a, reg, half);
    emu_lds_mark(w, a, a->active, defined);
}

static const struct emu_insn *read_one(struct emu_wave *w, const struct emu_insn *i, unsigned bytes,
                                       bool is_signed, enum emu_half half) {
    struct emu_access a = {.bytes = bytes};
    if (!emu_is_vector(&i->operand[0], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[1], (uint32_t)i->offset, EMU_LDS_READ)) return NULL;
    load(w, &a, i->operand[0].reg, is_signed, half);
    return i + 1;
}

static const struct emu_insn *write_one(struct emu_wave *w, const struct emu_insn *i,
                                        unsigned bytes, enum emu_half half) {
    struct emu_access a = {.bytes = bytes};
    if (!emu_is_vector(&i->operand[1], bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (!begin(w, i, &a, &i->operand[0], (uint32_t)i->offset, EMU_LDS_WRITE)) return NULL;
    store(w, &a, i->operand[1].reg, half);
    return i + 1;
}

/* Whether the second of two elements lies behind the first: then they are one of twice the size. */
static bool adjoining(const struct emu_insn *i, unsigned bytes, unsigned unit) {
    return unit == bytes && i->offset1 == i->offset + 1;
}

/* Two elements at offset0 and offset1, in units of the element, or of 64 elements. */
static const struct emu_insn *read_two(struct emu_wave *w, const struct emu_insn *i, unsigned bytes,
                                       unsigned unit) {
    struct emu_access a = {.bytes = bytes}, b = {.bytes = bytes};
    const struct emu_operand *const to = &i->operand[0], *const address = &i->operand[1];
    if (!emu_is_vector(to, 2 * bytes)) return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (adjoining(i, bytes, unit)) {
        a.bytes = 2 * bytes;
        if (!begin(w, i, &a, address, (uint32_t)i->offset * unit, EMU_LDS_READ)) return NULL;
        load(w, &a, to->reg, false, EMU_WHOLE);
        return i + 1;
    }
    if (!begin(w, i, &a, address, (uint32_t)i->offset * unit, EMU_LDS_READ) ||
        !begin(w, i, &b, address, (uint32_t)i->offset1 * unit, EMU_LDS_READ))
        return NULL;
    load(w, &a, to->reg, false, EMU_WHOLE);
    load(w, &b, to->reg + bytes / 4, false, EMU_WHOLE);
    return i + 1;
}

static const struct emu_insn *write_two(struct emu_wave *w, const struct emu_insn *i,
                                        unsigned bytes, unsigned unit) {
    struct emu_access a = {.bytes = bytes}, b = {.bytes = bytes};
    const struct emu_operand *const address = &i->operand[0];
    if (!emu_is_vector(&i->operand[1], bytes) || !emu_is_vector(&i->operand[2], bytes))
        return emu_refuse(w, i);
    if (emu_exec(w) == 0) return i + 1;
    if (adjoining(i, bytes, unit) && i->operand[2].reg == i->operand[1].reg + bytes / 4) {
        a.bytes = 2 * bytes;
        if (!begin(w, i, &a, address, (uint32_t)i->offset * unit, EMU_LDS_WRITE)) return NULL;
        store(w, &a, i->operand[1].reg, EMU_WHOLE);
        return i + 1;
    }
    if (!begin(w, i, &a, address, (uint32_t)i->offset * unit, EMU_LDS_WRITE) ||
        !begin(w, i, &b, address, (uint32_t)i->offset1 * unit, EMU_LDS_WRITE))
        return NULL;
    store(w, &a, i->operand[1].reg, EMU_WHOLE);
    store(w, &b, i->operand[2].reg, EMU_WHOLE);
    return i + 1;
}

/* X(name, bytes, signed, half) */
#define READS(X)                                                                                   \
    X(ds_read_u8, 1, false, EMU_WHOLE)                                                             \
    X(ds_read_i8, 1, true, EMU_WHOLE)                                                              \
    X(ds_read_u16, 2, false, EMU_WHOLE)                                                            \
    X(ds_read_i16, 2, true, EMU_WHOLE)                                                             \
    X(ds_read_u8_d16, 1, false, EMU_LOW)                                                           \
    X(ds_read_u8_d16_hi, 1, false, EMU_HIGH)                                                       \
    X(ds_read_i8_d16, 1, true, EMU_LOW)                                                            \
    X(ds_read_i8_d16_hi, 1, true, EMU_HIGH)                                                        \
    X(ds_read_u16_d16, 2, false, EMU_LOW)                                                          \
    X(ds_read_u16_d16_hi, 2, false, EMU_HIGH)                                                      \
    X(ds_read_b32, 4, false, EMU_WHOLE)                                                            \
    X(ds_read_b64, 8, false, EMU_WHOLE)                                                            \
    X(ds_read_b96, 12, false, EMU_WHOLE)                                                           \
    X(ds_read_b128, 16, false, EMU_WHOLE)
/* X(name, bytes, half) */
#define WRITES(X)                                                                                  \
    X(ds_write_b8, 1, EMU_WHOLE)                                                                   \
    X(ds_write_b8_d16_hi, 1, EMU_HIGH)                                                             \
    X(ds_write_b16, 2, EMU_WHOLE)                                                                  \
    X(ds_write_b16_d16_hi, 2, EMU_HIGH)                                                            \
    X(ds_write_b32, 4, EMU_WHOLE)                                                                  \
    X(ds_write_b64, 8, EMU_WHOLE)                                                                  \
    X(ds_write_b96, 12, EMU_WHOLE)                                                                 \
    X(ds_write_b128, 16, EMU_WHOLE)
/* X(name, bytes, unit) */
#define PAIRS(X, kind)                                                                             \
    X(ds_##kind##2_b32, kind##_two, 4, 4)                                                          \
    X(ds_##kind##2_b64, kind##_two, 8, 8)                                                          \
    X(ds_##kind##2st64_b32, kind##_two, 4, 256)                                                    \
    X(ds_##kind##2st64_b64, kind##_two, 8, 512)

#define HANDLER(name, call)                                                                        \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        return call;                                                                               \
    }
#define READ(name, bytes, is_signed, half) HANDLER(name, read_one(w, i, bytes, is_signed, half))
#define WRITE(name, bytes, half) HANDLER(name, write_one(w, i, bytes, half))
#define PAIR(name, function, bytes, unit) HANDLER(name, function(w, i, bytes, unit))
READS(READ)
WRITES(WRITE)
PAIRS(PAIR, read)
PAIRS(PAIR, write)

/* Whether MODE keeps denormals: LDS obeys it in float atomics, and flushing is not emulated. */
static bool keeps_denormals(struct emu_wave *w, const struct emu_insn *i) {
    const uint32_t kept = UINT32_C(15) << EMU_DENORM_32;
    if ((w->mode & kept) == kept) return true;
    emu_fault(w, i, EMU_UNIMPLEMENTED, -1,
              "%s while MODE (0x%x) flushes denormals: compile without flushing", i->opcode->name,
              w->mode);
    return false;
}

/* How an LDS atomic's operands stand: ds_op addr, data; ds_op_rtn dst, addr, data; two data where compared. */
static bool begin_atomic(struct emu_wave *w, const struct emu_insn *i, struct emu_access *a,
                         struct emu_atomic_registers *registers, bool returns, bool two,
                         bool is_float) {
    const struct emu_operand *const address = &i->operand[returns ? 1 : 0];
    const struct emu_operand *const data = address + 1, *const second = address + 2;
    const unsigned words = a->bytes / 4;
    if (!emu_is_vector(data, a->bytes) || (two && !emu_is_vector(second, a->bytes)) ||
        (returns && !emu_is_vector(&i->operand[0], a->bytes)))
        return emu_refuse(w, i) != NULL;
    if (is_float && !keeps_denormals(w, i)) return false;
    if (!begin(w, i, a, address, (uint32_t)i->offset, EMU_LDS_ATOMIC) ||
        !emu_check_aligned(w, i, a))
        return false;
    const uint64_t written = emu_lds_written(w, a, a->active);
    uint64_t defined = written & emu_defined(w, data);
    if (two) defined &= emu_defined(w, second);
    registers->data = data->reg;
    registers->compare = two ? second->reg : -1;
    registers->to = returns ? i->operand[0].reg : -1;
    emu_lds_mark(w, a, a->active, defined);
    if (!returns) return true;
    emu_define(w, i->operand[0].reg, words, a->active);
    for (unsigned k = 0; k < words; k++)
        w->v_defined[i->operand[0].reg + k] &= ~(a->active & ~written);
    return true;
}

/* A swap defines memory, whatever was there. */
static const struct emu_insn *swap(struct emu_wave *w, const struct emu_insn *i, unsigned bytes) {
    struct emu_access a = {.bytes = bytes};
    struct emu_atomic_registers registers;
    if (emu_exec(w) == 0) return i + 1;
    const uint64_t defined = emu_defined(w, &i->operand[2]);
    if (!begin_atomic(w, i, &a, &registers, true, false, false)) return NULL;
    emu_lds_mark(w, &a, a.active, defined);
    if (bytes == 4)
        emu_lds_atomic32(w, &a, emu_atomic_swap, registers);
    else
        emu_lds_atomic64(w, &a, emu_atomic_swap_x2, registers);
    return i + 1;
}

HANDLER(ds_wrxchg_rtn_b32, swap(w, i, 4))
HANDLER(ds_wrxchg_rtn_b64, swap(w, i, 8))

/* X(name without and with rtn, bits, what it does, whether it has two data, whether it is a float's) */
#define ATOMICS(X)                                                                                 \
    X(ds_add_u32, ds_add_rtn_u32, 32, add, false, false)                                           \
    X(ds_sub_u32, ds_sub_rtn_u32, 32, sub, false, false)                                           \
    X(ds_rsub_u32, ds_rsub_rtn_u32, 32, rsub, false, false)                                        \
    X(ds_inc_u32, ds_inc_rtn_u32, 32, inc, false, false)                                           \
    X(ds_dec_u32, ds_dec_rtn_u32, 32, dec, false, false)                                           \
    X(ds_min_i32, ds_min_rtn_i32, 32, smin, false, false)                                          \
    X(ds_max_i32, ds_max_rtn_i32, 32, smax, false, false)                                          \
    X(ds_min_u32, ds_min_rtn_u32, 32, umin, false, false)                                          \
    X(ds_max_u32, ds_max_rtn_u32, 32, umax, false, false)                                          \
    X(ds_and_b32, ds_and_rtn_b32, 32, and, false, false)                                           \
    X(ds_or_b32, ds_or_rtn_b32, 32, or, false, false)                                              \
    X(ds_xor_b32, ds_xor_rtn_b32, 32, xor, false, false)                                           \
    X(ds_mskor_b32, ds_mskor_rtn_b32, 32, mskor, true, false)                                      \
    X(ds_cmpst_b32, ds_cmpst_rtn_b32, 32, cmpst, true, false)                                      \
    X(ds_add_f32, ds_add_rtn_f32, 32, add_f32, false, true)                                        \
    X(ds_min_f32, ds_min_rtn_f32, 32, min_f32, false, true)                                        \
    X(ds_max_f32, ds_max_rtn_f32, 32, max_f32, false, true)                                        \
    X(ds_pk_add_f16, ds_pk_add_rtn_f16, 32, pk_add_f16, false, true)                               \
    X(ds_pk_add_bf16, ds_pk_add_rtn_bf16, 32, pk_add_bf16, false, true)                            \
    X(ds_add_u64, ds_add_rtn_u64, 64, add_x2, false, false)                                        \
    X(ds_sub_u64, ds_sub_rtn_u64, 64, sub_x2, false, false)                                        \
    X(ds_rsub_u64, ds_rsub_rtn_u64, 64, rsub_x2, false, false)                                     \
    X(ds_inc_u64, ds_inc_rtn_u64, 64, inc_x2, false, false)                                        \
    X(ds_dec_u64, ds_dec_rtn_u64, 64, dec_x2, false, false)                                        \
    X(ds_min_i64, ds_min_rtn_i64, 64, smin_x2, false, false)                                       \
    X(ds_max_i64, ds_max_rtn_i64, 64, smax_x2, false, false)                                       \
    X(ds_min_u64, ds_min_rtn_u64, 64, umin_x2, false, false)                                       \
    X(ds_max_u64, ds_max_rtn_u64, 64, umax_x2, false, false)                                       \
    X(ds_and_b64, ds_and_rtn_b64, 64, and_x2, false, false)                                        \
    X(ds_or_b64, ds_or_rtn_b64, 64, or_x2, false, false)                                           \
    X(ds_xor_b64, ds_xor_rtn_b64, 64, xor_x2, false, false)                                        \
    X(ds_mskor_b64, ds_mskor_rtn_b64, 64, mskor_x2, true, false)                                   \
    X(ds_cmpst_b64, ds_cmpst_rtn_b64, 64, cmpst_x2, true, false)                                   \
    X(ds_add_f64, ds_add_rtn_f64, 64, add_f64, false, true)                                        \
    X(ds_min_f64, ds_min_rtn_f64, 64, min_f64, false, true)                                        \
    X(ds_max_f64, ds_max_rtn_f64, 64, max_f64, false, true)

#define ATOMIC_HANDLER(name, bits, what, two, is_float, returns)                                   \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        struct emu_access a = {.bytes = bits / 8};                                                 \
        struct emu_atomic_registers registers;                                                     \
        if (emu_exec(w) == 0) return i + 1;                                                        \
        if (!begin_atomic(w, i, &a, &registers, returns, two, is_float)) return NULL;              \
        emu_lds_atomic##bits(w, &a, emu_atomic_##what, registers);                                 \
        return i + 1;                                                                              \
    }
#define ATOMIC_HANDLERS(plain, rtn, bits, what, two, is_float)                                     \
    ATOMIC_HANDLER(plain, bits, what, two, is_float, false)                                        \
    ATOMIC_HANDLER(rtn, bits, what, two, is_float, true)
ATOMICS(ATOMIC_HANDLERS)

static const struct emu_insn *ds_nop(struct emu_wave *w, const struct emu_insn *i) {
    (void)w;
    return i + 1;
}

/* ---- lanes to lanes: these need no LDS ---- */

/* The value of lane from[l] for each lane l that executes, 0 where that one does not. */
static const struct emu_insn *pull(struct emu_wave *w, const struct emu_insn *i,
                                   const struct emu_operand *source, const uint32_t *from) {
    const uint64_t active = emu_exec(w), defined = w->v_defined[source->reg] | ~active;
    const uint32_t *const mask = emu_lane_mask(w), *const v = w->v[source->reg];
    const unsigned to = i->operand[0].reg;
    uint32_t masked[EMU_LANES], values[EMU_LANES];
    uint64_t known = 0;
    EMU_EACH_LANE masked[lane] = v[lane] & mask[lane];
    EMU_EACH_LANE values[lane] = masked[from[lane]];
    if (~defined == 0)
        known = active;
    else
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            known |= (defined >> from[lane] & 1 & active >> lane) << lane;
    emu_store32(w, to, values);
    w->v_defined[to] = (w->v_defined[to] & ~active) | known;
    return i + 1;
}

static bool is_permute(const struct emu_insn *i) {
    return emu_is_vector(&i->operand[0], 4) && emu_is_vector(&i->operand[1], 4) &&
           emu_is_vector(&i->operand[2], 4);
}

static const struct emu_insn *ds_bpermute_b32(struct emu_wave *w, const struct emu_insn *i) {
    uint32_t from[EMU_LANES];
    if (!is_permute(i)) return emu_refuse(w, i);
    if (!emu_require(w, i, &i->operand[1], emu_exec(w), "a lane number")) return NULL;
    const uint32_t *const v = w->v[i->operand[1].reg];
    const uint32_t offset = (uint32_t)i->offset;
    EMU_EACH_LANE from[lane] = (v[lane] + offset) >> 2 & 63;
    return pull(w, i, &i->operand[2], from);
}

/* Where several lanes push to one, the highest wins. A lane that nobody pushes to becomes 0. */
static const struct emu_insn *ds_permute_b32(struct emu_wave *w, const struct emu_insn *i) {
    const uint64_t active = emu_exec(w);
    uint32_t values[EMU_LANES] = {0};
    uint64_t known = ~UINT64_C(0);
    if (!is_permute(i)) return emu_refuse(w, i);
    if (!emu_require(w, i, &i->operand[1], active, "a lane number")) return NULL;
    const uint32_t *const v = w->v[i->operand[1].reg], *const source = w->v[i->operand[2].reg];
    const uint64_t defined = w->v_defined[i->operand[2].reg];
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((active >> lane & 1) == 0) continue;
        const unsigned to = (v[lane] + (uint32_t)i->offset) >> 2 & 63;
        values[to] = source[lane];
        known = (known & ~(UINT64_C(1) << to)) | (defined >> lane & 1) << to;
    }
    const unsigned reg = i->operand[0].reg;
    emu_store32(w, reg, values);
    w->v_defined[reg] = (w->v_defined[reg] & ~active) | (known & active);
    return i + 1;
}

static uint32_t reverse5(uint32_t n) {
    return (n & 1) << 4 | (n & 2) << 2 | (n & 4) | (n & 8) >> 2 | (n & 16) >> 4;
}

/* The lane that ds_swizzle_b32 reads. */
static uint32_t swizzled(uint32_t lane, uint32_t pattern) {
    const uint32_t half = lane & 32, in = lane & 31, mask = pattern & 31;
    if (pattern >= 0xE000) { /* the order of an FFT's stages */
        unsigned ones = 0;
        for (unsigned bit = 0; bit < 5; bit++) ones += mask >> bit & 1;
        return half | ((reverse5(in) >> ones) | (in & mask));
    }
    if (pattern >= 0xC000) { /* a rotation of the bits outside the mask */
        const uint32_t count = pattern >> 5 & 31, turn = pattern >> 10 & 1 ? 0 - count : count;
        return half | (((in & mask) | ((in + turn) & ~mask)) & 31);
    }
    if (pattern & 0x8000) return (lane & ~3u) | (pattern >> (2 * (lane & 3)) & 3);
    return half | (((in & mask) | (pattern >> 5 & 31)) ^ (pattern >> 10 & 31));
}

static const struct emu_insn *ds_swizzle_b32(struct emu_wave *w, const struct emu_insn *i) {
    const uint32_t pattern = i->immediate;
    uint32_t from[EMU_LANES];
    if (!emu_is_vector(&i->operand[0], 4) || !emu_is_vector(&i->operand[1], 4))
        return emu_refuse(w, i);
    if (pattern < 0x8000) {
        const uint32_t keep = pattern & 31, set = pattern >> 5 & 31, flip = pattern >> 10 & 31;
        EMU_EACH_LANE from[lane] = (lane & 32) | (((lane & keep) | set) ^ flip);
    } else
        for (uint32_t lane = 0; lane < EMU_LANES; lane++) from[lane] = swizzled(lane, pattern);
    return pull(w, i, &i->operand[1], from);
}

#define ROW(name, to, ...) {#name, name, {__VA_ARGS__}, to, EMU_MEMORY},
#define READ_ROW(name, bytes, is_signed, half) ROW(name, 1, EMU_WORDS(bytes), EMU_U32)
#define WRITE_ROW(name, bytes, half) ROW(name, 0, EMU_U32, EMU_WORDS(bytes))
#define READ_PAIR_ROW(name, function, bytes, unit) ROW(name, 1, EMU_WORDS(2 * bytes), EMU_U32)
#define WRITE_PAIR_ROW(name, function, bytes, unit)                                                \
    ROW(name, 0, EMU_U32, EMU_WORDS(bytes), EMU_WORDS(bytes))
#define ATOMIC_ROWS(plain, rtn, bits, what, two, is_float)                                         \
    ROW(plain, 0, EMU_U32, EMU_B##bits, EMU_B##bits)                                               \
    ROW(rtn, 1, EMU_B##bits, EMU_U32, EMU_B##bits, EMU_B##bits)

/* clang-format off */
const struct emu_opcode emu_lds_opcodes[] = {
    READS(READ_ROW)
    WRITES(WRITE_ROW)
    PAIRS(READ_PAIR_ROW, read)
    PAIRS(WRITE_PAIR_ROW, write)
    ATOMICS(ATOMIC_ROWS)
    ROW(ds_wrxchg_rtn_b32, 1, EMU_B32, EMU_U32, EMU_B32)
    ROW(ds_wrxchg_rtn_b64, 1, EMU_B64, EMU_U32, EMU_B64)
    ROW(ds_bpermute_b32, 1, EMU_B32, EMU_U32, EMU_B32)
    ROW(ds_permute_b32, 1, EMU_B32, EMU_U32, EMU_B32)
    ROW(ds_swizzle_b32, 1, EMU_B32, EMU_B32)
    ROW(ds_nop, 0, EMU_NONE)
    {0}};
/* clang-format on */
