/* SPDX-License-Identifier: Apache-2.0 */
#include "access.h"

#include "space.h"

void emu_fill_inactive(struct emu_access *a) {
    if (a->active == ~UINT64_C(0)) return;
    const uint64_t active = a->active, other = a->at[emu_first_lane(active)];
    EMU_EACH_LANE {
        const uint64_t mask = 0 - (active >> lane & 1);
        a->at[lane] = (a->at[lane] & mask) | (other & ~mask);
    }
}

static bool check_lanes(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                        bool write) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((a->active >> lane & 1) == 0) continue;
        if (emu_space_allows(a->at[lane], a->at[lane] + a->bytes, write)) continue;
        char why[256];
        emu_space_explain(a->at[lane], a->bytes, write, why, sizeof why);
        emu_fault(w, i, EMU_BAD_ADDRESS, (int)lane, "%s %s", write ? "a write: " : "a read: ", why);
        return false;
    }
    return true;
}

bool emu_check_global(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                      bool write) {
    uint64_t low = ~UINT64_C(0), high = 0;
    _Pragma("omp simd reduction(min : low) reduction(max : high)") for (unsigned lane = 0;
                                                                        lane < EMU_LANES; lane++) {
        low = a->at[lane] < low ? a->at[lane] : low;
        high = a->at[lane] > high ? a->at[lane] : high;
    }
    return emu_space_allows(low, high + a->bytes, write) || check_lanes(w, i, a, write);
}

bool emu_check_aligned(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a) {
    uint64_t any = 0;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) any |= a->at[lane];
    if ((any & (a->bytes - 1)) == 0) return true;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        if ((a->active >> lane & 1) && (a->at[lane] & (a->bytes - 1)) != 0) {
            emu_fault(w, i, EMU_MISALIGNED, (int)lane,
                      "an atomic of %u bytes at address 0x%llx: align it to its size", a->bytes,
                      (unsigned long long)a->at[lane]);
            return false;
        }
    return true;
}

static const void *pointer(uint64_t address) { return (const uint8_t *)0 + address; }
static void *writable(uint64_t address) { return (uint8_t *)0 + address; }

static uint32_t read32(uint64_t address) {
    uint32_t word;
    memcpy(&word, pointer(address), sizeof word);
    return word;
}

/* All lanes execute, and each begins where the one before ends. */
static bool contiguous(const struct emu_access *a) {
    if (a->active != ~UINT64_C(0)) return false;
    const uint64_t base = a->at[0], bytes = a->bytes;
    uint64_t differs = 0;
    _Pragma("omp simd reduction(| : differs)") for (unsigned lane = 0; lane < EMU_LANES; lane++)
        differs |= a->at[lane] ^ (base + lane * bytes);
    return differs == 0;
}

static void load_row(struct emu_wave *w, unsigned reg, const uint8_t *from, unsigned words,
                     unsigned word) {
    uint32_t *const to = w->v[reg + word];
    uint32_t values[EMU_LANES * 4];
    memcpy(values, from, EMU_LANES * 4 * words);
    EMU_EACH_LANE to[lane] = values[lane * words + word];
}

static void load_words(struct emu_wave *w, const struct emu_access *a, unsigned reg,
                       unsigned words) {
    if (contiguous(a)) {
        const uint8_t *const from = pointer(a->at[0]);
        for (unsigned k = 0; k < words; k++) switch (words) {
            case 1: memcpy(w->v[reg], from, sizeof w->v[reg]); break;
            case 2: load_row(w, reg, from, 2, k); break;
            case 4: load_row(w, reg, from, 4, k); break;
            default: load_row(w, reg, from, 3, k); break;
            }
        return;
    }
    for (unsigned k = 0; k < words; k++) {
        uint32_t values[EMU_LANES];
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            values[lane] = read32(a->at[lane] + 4 * k);
        emu_store32(w, reg + k, values);
    }
}

static uint32_t narrow(uint64_t address, unsigned bytes, bool is_signed) {
    uint8_t byte;
    uint16_t pair;
    if (bytes == 1) {
        memcpy(&byte, pointer(address), 1);
        return is_signed ? (uint32_t)(int8_t)byte : byte;
    }
    memcpy(&pair, pointer(address), 2);
    return is_signed ? (uint32_t)(int16_t)pair : pair;
}

void emu_fetch(const struct emu_access *a, bool is_signed, uint32_t *values) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        values[lane] = 0;
        if ((a->active >> lane & 1) == 0) continue;
        values[lane] =
            a->bytes == 4 ? read32(a->at[lane]) : narrow(a->at[lane], a->bytes, is_signed);
    }
}

static void load_narrow(struct emu_wave *w, const struct emu_access *a, unsigned reg,
                        bool is_signed, enum emu_half half) {
    uint32_t values[EMU_LANES];
    const uint32_t *const old = w->v[reg];
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        values[lane] = narrow(a->at[lane], a->bytes, is_signed);
    if (half == EMU_LOW)
        EMU_EACH_LANE values[lane] = (values[lane] & 0xFFFF) | (old[lane] & 0xFFFF0000);
    if (half == EMU_HIGH) EMU_EACH_LANE values[lane] = values[lane] << 16 | (old[lane] & 0xFFFF);
    emu_store32(w, reg, values);
}

void emu_load(struct emu_wave *w, const struct emu_access *a, unsigned reg, bool is_signed,
              enum emu_half half) {
    if (a->bytes < 4) {
        load_narrow(w, a, reg, is_signed, half);
        emu_define(w, reg, 1, a->active);
    } else {
        load_words(w, a, reg, a->bytes / 4);
        emu_define(w, reg, a->bytes / 4, a->active);
    }
}

static void store_rows(const struct emu_wave *w, uint8_t *to, unsigned reg, unsigned words) {
    uint32_t values[EMU_LANES * 4];
    for (unsigned k = 0; k < words; k++) {
        const uint32_t *const from = w->v[reg + k];
        EMU_EACH_LANE values[lane * words + k] = from[lane];
    }
    memcpy(to, values, EMU_LANES * 4 * words);
}

static void store_words(struct emu_wave *w, const struct emu_access *a, unsigned reg,
                        unsigned words) {
    if (contiguous(a)) {
        uint8_t *const to = writable(a->at[0]);
        switch (words) {
        case 1: memcpy(to, w->v[reg], sizeof w->v[reg]); break;
        case 2: store_rows(w, to, reg, 2); break;
        case 4: store_rows(w, to, reg, 4); break;
        default: store_rows(w, to, reg, 3); break;
        }
        return;
    }
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((a->active >> lane & 1) == 0) continue;
        for (unsigned k = 0; k < words; k++)
            memcpy(writable(a->at[lane] + 4 * k), &w->v[reg + k][lane], 4);
    }
}

void emu_store(struct emu_wave *w, const struct emu_access *a, unsigned reg, enum emu_half half) {
    if (a->bytes >= 4) {
        store_words(w, a, reg, a->bytes / 4);
        return;
    }
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((a->active >> lane & 1) == 0) continue;
        const uint32_t word = w->v[reg][lane] >> (half == EMU_HIGH ? 16 : 0);
        const uint8_t bytes[2] = {(uint8_t)word, (uint8_t)(word >> 8)};
        memcpy(writable(a->at[lane]), bytes, a->bytes);
    }
}
