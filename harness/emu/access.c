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

void emu_active_offsets(struct emu_wave *w, uint64_t active, const uint32_t *v, uint32_t *offsets) {
    const uint32_t *const mask = emu_lane_mask(w);
    const uint32_t other = v[emu_first_lane(active)];
    EMU_EACH_LANE offsets[lane] = (v[lane] & mask[lane]) | (other & ~mask[lane]);
}

static bool check_lanes(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                        bool write) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const uint64_t at = a->row ? a->at[0] + lane * a->bytes : a->at[lane];
        if ((a->active >> lane & 1) == 0 || emu_space_allows(at, at + a->bytes, write)) continue;
        char why[256];
        emu_space_explain(at, a->bytes, write, why, sizeof why);
        emu_fault(w, i, EMU_BAD_ADDRESS, (int)lane, "a %s: %s", write ? "write" : "read", why);
        return false;
    }
    return true;
}

bool emu_check_global(struct emu_wave *w, const struct emu_insn *i, const struct emu_access *a,
                      bool write) {
    uint64_t low = a->at[0], high = a->row ? low + (EMU_LANES - 1) * a->bytes : low;
    if (!a->row)
        _Pragma("omp simd reduction(min : low) reduction(max : high)") for (unsigned lane = 0;
                                                                            lane < EMU_LANES;
                                                                            lane++) {
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

/* ---- loads ---- */

#define READ(bits)                                                                                 \
    static uint32_t read##bits(uint64_t address) {                                                 \
        uint##bits##_t value;                                                                      \
        memcpy(&value, emu_host(address), sizeof value);                                           \
        return value;                                                                              \
    }
READ(8)
READ(16)
READ(32)

/* Elements that lie together, taken apart into registers. */
#define LOAD_ROW(words)                                                                            \
    static void load_row##words(struct emu_wave *w, unsigned reg, const void *from) {              \
        uint32_t values[EMU_LANES * words];                                                        \
        memcpy(values, from, sizeof values);                                                       \
        for (unsigned k = 0; k < words; k++) {                                                     \
            uint32_t *const to = w->v[reg + k];                                                    \
            EMU_EACH_LANE to[lane] = values[lane * words + k];                                     \
        }                                                                                          \
    }
LOAD_ROW(2)
LOAD_ROW(3)
LOAD_ROW(4)

static void load_row(struct emu_wave *w, const struct emu_access *a, unsigned reg) {
    const void *const from = emu_host(a->at[0]);
    switch (a->bytes) {
    case 4: memcpy(w->v[reg], from, sizeof w->v[reg]); break;
    case 8: load_row2(w, reg, from); break;
    case 12: load_row3(w, reg, from); break;
    default: load_row4(w, reg, from); break;
    }
}

static void load_words(struct emu_wave *w, const struct emu_access *a, unsigned reg) {
    uint32_t values[EMU_LANES];
    for (unsigned k = 0; k < a->bytes / 4; k++) {
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            values[lane] = read32(a->at[lane] + 4 * k);
        emu_store32(w, reg + k, values);
    }
}

static void fetch_narrow(const struct emu_access *a, bool is_signed, uint32_t *values) {
    if (a->bytes == 1) {
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            values[lane] = read8(a->row ? a->at[0] + lane : a->at[lane]);
        if (is_signed) EMU_EACH_LANE values[lane] = (uint32_t)(int8_t)(uint8_t)values[lane];
    } else {
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            values[lane] = read16(a->row ? a->at[0] + 2 * lane : a->at[lane]);
        if (is_signed) EMU_EACH_LANE values[lane] = (uint32_t)(int16_t)(uint16_t)values[lane];
    }
}

void emu_fetch(const struct emu_access *a, bool is_signed, uint32_t *values) {
    if (a->bytes < 4)
        fetch_narrow(a, is_signed, values);
    else
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            values[lane] = read32(a->row ? a->at[0] + 4 * lane : a->at[lane]);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        if ((a->active >> lane & 1) == 0) values[lane] = 0;
}

static void load_narrow(struct emu_wave *w, const struct emu_access *a, unsigned reg,
                        bool is_signed, enum emu_half half) {
    uint32_t values[EMU_LANES];
    const uint32_t *const old = w->v[reg];
    fetch_narrow(a, is_signed, values);
    if (half == EMU_LOW)
        EMU_EACH_LANE values[lane] = (values[lane] & 0xFFFF) | (old[lane] & 0xFFFF0000);
    if (half == EMU_HIGH) EMU_EACH_LANE values[lane] = values[lane] << 16 | (old[lane] & 0xFFFF);
    emu_store32(w, reg, values);
}

void emu_load(struct emu_wave *w, const struct emu_access *a, unsigned reg, bool is_signed,
              enum emu_half half) {
    if (a->bytes < 4)
        load_narrow(w, a, reg, is_signed, half);
    else if (a->row)
        load_row(w, a, reg);
    else
        load_words(w, a, reg);
    emu_define(w, reg, a->bytes < 4 ? 1 : a->bytes / 4, a->active);
}

/* ---- stores ---- */

#define STORE_ROW(words)                                                                           \
    static void store_row##words(const struct emu_wave *w, void *to, unsigned reg) {               \
        uint32_t values[EMU_LANES * words];                                                        \
        for (unsigned k = 0; k < words; k++) {                                                     \
            const uint32_t *const from = w->v[reg + k];                                            \
            EMU_EACH_LANE values[lane * words + k] = from[lane];                                   \
        }                                                                                          \
        memcpy(to, values, sizeof values);                                                         \
    }
STORE_ROW(2)
STORE_ROW(3)
STORE_ROW(4)

static void store_row(struct emu_wave *w, const struct emu_access *a, unsigned reg,
                      unsigned shift) {
    void *const to = emu_host(a->at[0]);
    const uint32_t *const from = w->v[reg];
    uint16_t pairs[EMU_LANES];
    uint8_t bytes[EMU_LANES];
    switch (a->bytes) {
    case 1:
        EMU_EACH_LANE bytes[lane] = (uint8_t)(from[lane] >> shift);
        memcpy(to, bytes, sizeof bytes);
        break;
    case 2:
        EMU_EACH_LANE pairs[lane] = (uint16_t)(from[lane] >> shift);
        memcpy(to, pairs, sizeof pairs);
        break;
    case 4: memcpy(to, from, sizeof w->v[reg]); break;
    case 8: store_row2(w, to, reg); break;
    case 12: store_row3(w, to, reg); break;
    default: store_row4(w, to, reg); break;
    }
}

/* Word by word of a register; lanes in ascending order, so that the highest wins where they meet. */
#define SCATTER(bits)                                                                              \
    static void scatter##bits(const struct emu_access *a, const uint32_t *from, unsigned shift,    \
                              unsigned offset) {                                                   \
        const uint64_t active = a->active;                                                         \
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {                                        \
            const uint##bits##_t value = (uint##bits##_t)(from[lane] >> shift);                    \
            if (active >> lane & 1) memcpy(emu_host(a->at[lane] + offset), &value, sizeof value);  \
        }                                                                                          \
    }
SCATTER(8)
SCATTER(16)
SCATTER(32)

static void scatter_wide(const struct emu_wave *w, const struct emu_access *a, unsigned reg) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        if ((a->active >> lane & 1) == 0) continue;
        for (unsigned k = 0; k < a->bytes / 4; k++)
            memcpy(emu_host(a->at[lane] + 4 * k), &w->v[reg + k][lane], 4);
    }
}

void emu_store(struct emu_wave *w, const struct emu_access *a, unsigned reg, enum emu_half half) {
    const unsigned shift = half == EMU_HIGH ? 16 : 0;
    if (a->row)
        store_row(w, a, reg, shift);
    else if (a->bytes == 1)
        scatter8(a, w->v[reg], shift, 0);
    else if (a->bytes == 2)
        scatter16(a, w->v[reg], shift, 0);
    else if (a->bytes == 4)
        scatter32(a, w->v[reg], shift, 0);
    else
        scatter_wide(w, a, reg);
}
