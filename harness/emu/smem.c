/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scalar memory. Hardware ignores the low two bits of an address; code that sets them is wrong, and a fault here. A
 * buffer load beyond the descriptor's size is a fault too: what hardware returns then is not documented well.
 */
#include <time.h>

#include "access.h"
#include "space.h"

/* Base, and what is added: an immediate, a register, or both. */
static bool address(struct emu_wave *w, const struct emu_insn *i, uint64_t base, uint64_t *sum) {
    const struct emu_operand *const offset = &i->operand[2];
    *sum = base + (uint64_t)(int64_t)i->offset;
    if (offset->kind != EMU_OFF) {
        if (!emu_require(w, i, offset, 1, "a scalar address")) return false;
        *sum += (uint32_t)emu_scalar(w, offset);
    }
    if ((*sum & 3) == 0) return true;
    emu_fault(w, i, EMU_MISALIGNED, -1,
              "a scalar access at address 0x%llx: align it to 4 bytes, hardware ignores the rest",
              (unsigned long long)*sum);
    return false;
}

static bool allowed(struct emu_wave *w, const struct emu_insn *i, uint64_t at, unsigned bytes,
                    bool write) {
    char why[256];
    if (emu_space_allows(at, at + bytes, write)) return true;
    emu_space_explain(at, bytes, write, why, sizeof why);
    emu_fault(w, i, EMU_BAD_ADDRESS, -1, "a scalar %s: %s", write ? "write" : "read", why);
    return false;
}

static bool is_scalar(const struct emu_operand *o, unsigned words) {
    return o->kind == EMU_SGPR && o->registers >= words && o->reg + words <= EMU_SREGS;
}

static void load(struct emu_wave *w, unsigned reg, uint64_t at, unsigned words) {
    uint32_t values[16];
    memcpy(values, emu_host(at), 4 * words);
    for (unsigned k = 0; k < words; k++) {
        emu_write_sreg(w, reg + k, values[k]);
        w->s_defined[reg + k] = ~UINT32_C(0);
    }
}

static const struct emu_insn *s_load(struct emu_wave *w, const struct emu_insn *i, unsigned words) {
    uint64_t at;
    if (!is_scalar(&i->operand[0], words) || !is_scalar(&i->operand[1], 2)) return emu_refuse(w, i);
    if (!emu_require(w, i, &i->operand[1], 1, "a scalar address") ||
        !address(w, i, emu_s64(w, i->operand[1].reg), &at) || !allowed(w, i, at, 4 * words, false))
        return NULL;
    load(w, i->operand[0].reg, at, words);
    return i + 1;
}

static const struct emu_insn *s_store(struct emu_wave *w, const struct emu_insn *i,
                                      unsigned words) {
    uint64_t at;
    if (!is_scalar(&i->operand[0], words) || !is_scalar(&i->operand[1], 2)) return emu_refuse(w, i);
    if (!emu_require(w, i, &i->operand[1], 1, "a scalar address") ||
        !emu_require(w, i, &i->operand[0], 1, "stored data") ||
        !address(w, i, emu_s64(w, i->operand[1].reg), &at) || !allowed(w, i, at, 4 * words, true))
        return NULL;
    memcpy(emu_host(at), &w->s[i->operand[0].reg], 4 * words);
    return i + 1;
}

static const struct emu_insn *s_buffer_load(struct emu_wave *w, const struct emu_insn *i,
                                            unsigned words) {
    const struct emu_operand *const resource = &i->operand[1];
    uint64_t offset;
    if (!is_scalar(&i->operand[0], words) || !is_scalar(resource, 4)) return emu_refuse(w, i);
    if (!emu_require(w, i, resource, 1, "a buffer resource") || !address(w, i, 0, &offset))
        return NULL;
    const uint32_t *const s = &w->s[resource->reg];
    const uint64_t base = (uint64_t)(s[1] & 0xFFFF) << 32 | s[0], stride = s[1] >> 16 & 0x3FFF;
    const uint64_t size = s[2] * (stride ? stride : 1);
    if (offset + 4 * words > size)
        return emu_fault(w, i, EMU_BAD_ADDRESS, -1,
                         "a scalar read of %u bytes at byte %llu of a buffer of %llu bytes",
                         4 * words, (unsigned long long)offset, (unsigned long long)size);
    if (!allowed(w, i, base + offset, 4 * words, false)) return NULL;
    load(w, i->operand[0].reg, base + offset, words);
    return i + 1;
}

/* Clocks count the host's time: nanoseconds, and the 100 MHz of the constant clock. */
static const struct emu_insn *clock_value(struct emu_wave *w, const struct emu_insn *i,
                                          uint64_t divisor) {
    struct timespec now;
    if (!is_scalar(&i->operand[0], 2)) return emu_refuse(w, i);
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t value = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    emu_write_s64(w, i->operand[0].reg, value / divisor);
    w->s_defined[i->operand[0].reg] = w->s_defined[i->operand[0].reg + 1] = ~UINT32_C(0);
    return i + 1;
}

#define HANDLER(name, call)                                                                        \
    static const struct emu_insn *name(struct emu_wave *w, const struct emu_insn *i) {             \
        return call;                                                                               \
    }
/* X(name, words, type) */
#define LOADS(X, family)                                                                           \
    X(family##_dword, family, 1, EMU_B32)                                                          \
    X(family##_dwordx2, family, 2, EMU_B64)                                                        \
    X(family##_dwordx4, family, 4, EMU_B128)                                                       \
    X(family##_dwordx8, family, 8, EMU_B256)                                                       \
    X(family##_dwordx16, family, 16, EMU_B512)
#define STORES(X)                                                                                  \
    X(s_store_dword, s_store, 1, EMU_B32)                                                          \
    X(s_store_dwordx2, s_store, 2, EMU_B64)                                                        \
    X(s_store_dwordx4, s_store, 4, EMU_B128)
#define MOVE(name, function, words, type) HANDLER(name, function(w, i, words))
LOADS(MOVE, s_load)
LOADS(MOVE, s_buffer_load)
STORES(MOVE)
HANDLER(s_memtime, clock_value(w, i, 1))
HANDLER(s_memrealtime, clock_value(w, i, 10))

/* Caches are not emulated: every access is coherent. */
static const struct emu_insn *nothing(struct emu_wave *w, const struct emu_insn *i) {
    (void)w;
    return i + 1;
}
HANDLER(s_dcache_inv, nothing(w, i))
HANDLER(s_dcache_wb, nothing(w, i))
HANDLER(s_dcache_inv_vol, nothing(w, i))
HANDLER(s_dcache_wb_vol, nothing(w, i))

#define ROW(name, to, ...) {#name, name, {__VA_ARGS__}, to, EMU_MEMORY},
#define LOAD_ROW(name, function, words, type) ROW(name, 1, type, EMU_B64, EMU_U32)
#define STORE_ROW(name, function, words, type) ROW(name, 0, type, EMU_B64, EMU_U32)

/* clang-format off */
const struct emu_opcode emu_smem_opcodes[] = {
    LOADS(LOAD_ROW, s_load)
    LOADS(LOAD_ROW, s_buffer_load)
    STORES(STORE_ROW)
    ROW(s_memtime, 1, EMU_B64)
    ROW(s_memrealtime, 1, EMU_B64)
    ROW(s_dcache_inv, 0, EMU_NONE)
    ROW(s_dcache_wb, 0, EMU_NONE)
    ROW(s_dcache_inv_vol, 0, EMU_NONE)
    ROW(s_dcache_wb_vol, 0, EMU_NONE)
    {0}};
/* clang-format on */
