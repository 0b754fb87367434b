/* SPDX-License-Identifier: Apache-2.0 */
/* Every load and store against a model that moves one byte at a time. */
#include "memory.h"

struct move {
    const char *name; /* behind the family */
    unsigned bytes;
    bool is_store, is_signed;
    char half; /* 'w' whole, 'l' low, 'h' high */
};

static const struct move moves[] = {
    {"load_ubyte",         1,  false, false, 'w'},
    {"load_sbyte",         1,  false, true,  'w'},
    {"load_ushort",        2,  false, false, 'w'},
    {"load_sshort",        2,  false, true,  'w'},
    {"load_ubyte_d16",     1,  false, false, 'l'},
    {"load_ubyte_d16_hi",  1,  false, false, 'h'},
    {"load_sbyte_d16",     1,  false, true,  'l'},
    {"load_sbyte_d16_hi",  1,  false, true,  'h'},
    {"load_short_d16",     2,  false, false, 'l'},
    {"load_short_d16_hi",  2,  false, false, 'h'},
    {"load_dword",         4,  false, false, 'w'},
    {"load_dwordx2",       8,  false, false, 'w'},
    {"load_dwordx3",       12, false, false, 'w'},
    {"load_dwordx4",       16, false, false, 'w'},
    {"store_byte",         1,  true,  false, 'w'},
    {"store_byte_d16_hi",  1,  true,  false, 'h'},
    {"store_short",        2,  true,  false, 'w'},
    {"store_short_d16_hi", 2,  true,  false, 'h'},
    {"store_dword",        4,  true,  false, 'w'},
    {"store_dwordx2",      8,  true,  false, 'w'},
    {"store_dwordx3",      12, true,  false, 'w'},
    {"store_dwordx4",      16, true,  false, 'w'},
};
enum { N_MOVES = sizeof moves / sizeof *moves, DATA = 8, ROUNDS = 12 };

static struct bed bed;

/* v8, v[8:9], v[8:11]: the register or registers that a move needs. */
static void registers(char *text, size_t size, unsigned bytes) {
    if (bytes <= 4)
        snprintf(text, size, "v%d", DATA);
    else
        snprintf(text, size, "v[%d:%u]", DATA, DATA + bytes / 4 - 1);
}

/* What the register's words must be after a load: byte by byte. */
static void expect_load(const struct move *m, const uint8_t *from, uint32_t *words) {
    uint8_t bytes[16];
    const unsigned n = m->bytes < 4 ? 4 : m->bytes;
    for (unsigned k = 0; k < n; k++) {
        const bool negative = m->is_signed && from[m->bytes - 1] >= 128;
        bytes[k] = k < m->bytes ? from[k] : negative ? 255 : 0;
    }
    for (unsigned k = 0; k < n / 4; k++) {
        const uint32_t word = (uint32_t)bytes[4 * k] | (uint32_t)bytes[4 * k + 1] << 8 |
                              (uint32_t)bytes[4 * k + 2] << 16 | (uint32_t)bytes[4 * k + 3] << 24;
        if (m->half == 'w') words[k] = word;
        if (m->half == 'l') words[k] = (words[k] / 65536) * 65536 + word % 65536;
        if (m->half == 'h') words[k] = words[k] % 65536 + (word % 65536) * 65536;
    }
}

static uint8_t stored_byte(const struct move *m, const uint32_t *words, unsigned k) {
    return (uint8_t)(words[k / 4] >> (8 * (k % 4) + (m->half == 'h' ? 16 : 0)));
}

struct place {
    uint8_t *at[EMU_LANES]; /* where each lane's bytes are */
    uint8_t *memory;        /* what must not change elsewhere */
    size_t bytes;
};

/* Runs a line whose addresses are set up, and compares registers and memory with the model. */
static void check(const struct move *m, const char *text, const struct place *p, uint64_t exec) {
    static uint32_t before[4][EMU_LANES];
    static uint8_t model[BED_BYTES];
    for (unsigned k = 0; k < 4; k++)
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            before[k][lane] = bed.v[0][DATA + k][lane] = bed_random(&bed);
    memcpy(model, p->memory, p->bytes);
    for (unsigned k = 0; k < 4; k++) bed.defined[0][DATA + k] = m->is_store ? ~UINT64_C(0) : 0;
    bed_exec(&bed, exec);
    bed_ok(&bed, text);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const bool active = exec >> lane & 1;
        uint32_t words[4] = {before[0][lane], before[1][lane], before[2][lane], before[3][lane]};
        if (active && m->is_store)
            for (unsigned k = 0; k < m->bytes; k++)
                model[p->at[lane] - p->memory + k] = stored_byte(m, words, k);
        if (active && !m->is_store) expect_load(m, p->at[lane], words);
        for (unsigned k = 0; k < 4; k++)
            cr_assert_eq(bed.v[0][DATA + k][lane], words[k], "%s: word %u of lane %u: %x, not %x",
                         text, k, lane, bed.v[0][DATA + k][lane], words[k]);
    }
    cr_assert(memcmp(model, p->memory, p->bytes) == 0, "%s: memory differs from the model", text);
    for (unsigned k = 0; !m->is_store && k < (m->bytes + 3) / 4; k++)
        cr_assert_eq(bed.defined[0][DATA + k], exec, "%s: definedness", text);
}

/* Byte offsets of the lanes: one after another, strided, anywhere (not overlapping, for stores). */
static unsigned spread(const struct move *m, unsigned round, unsigned lane) {
    switch (round % 4) {
    case 0: return lane * m->bytes;
    case 1: return lane * 32;
    case 2: return (EMU_LANES - 1 - lane) * 17;
    default: return (lane * 29 % EMU_LANES) * 21 + round;
    }
}

static void global_forms(const struct move *m, unsigned round) {
    const uint64_t exec = bed_mask(&bed, round);
    struct place p = {.memory = bed.memory, .bytes = BED_BYTES};
    char data[16], text[96];
    const int offset = (int)(bed_random(&bed) % 8192) - 4096;
    uint8_t *const base = bed.memory + 2048 - offset;
    registers(data, sizeof data, m->bytes);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        p.at[lane] = bed.memory + 2048 + spread(m, round, lane);
        /* Lanes that do not execute point nowhere. */
        bed_address(&bed, 2, lane,
                    exec >> lane & 1 ? (void *)(p.at[lane] - offset) : (void *)(uintptr_t)0x10);
        bed.v[0][4][lane] = exec >> lane & 1 ? spread(m, round, lane) : 0xFFFFFFF0;
    }
    emu_write_s64(&bed.wave[0], 10, (uint64_t)(uintptr_t)base);
    snprintf(text, sizeof text,
             m->is_store ? "global_%s v[2:3], %s, off offset:%d"
                         : "global_%s %s, v[2:3], off offset:%d",
             m->name, m->is_store ? data : data, offset);
    check(m, text, &p, exec);
    snprintf(text, sizeof text,
             m->is_store ? "global_%s v4, %s, s[10:11] offset:%d sc0 sc1"
                         : "global_%s %s, v4, s[10:11] offset:%d nt",
             m->name, data, offset);
    check(m, text, &p, exec);
    const int flat_offset = offset & 4095;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        bed_address(&bed, 2, lane, p.at[lane] - flat_offset);
    snprintf(text, sizeof text,
             m->is_store ? "flat_%s v[2:3], %s offset:%d" : "flat_%s %s, v[2:3] offset:%d", m->name,
             data, flat_offset);
    check(m, text, &p, exec);
}

Test(emu_moves, global) {
    bed_begin(&bed);
    for (unsigned k = 0; k < N_MOVES; k++)
        for (unsigned round = 0; round < ROUNDS; round++) global_forms(&moves[k], round);
}

static void scratch_forms(const struct move *m, unsigned round) {
    const uint64_t exec = bed_mask(&bed, round);
    struct place p = {.memory = bed.scratch, .bytes = sizeof bed.scratch};
    char data[16], text[96];
    registers(data, sizeof data, m->bytes);
    for (unsigned form = 0; form < 4; form++) {
        const unsigned scalar = 20, offset = bed_random(&bed) % 8;
        bed.wave[0].s[5] = form & 1 ? scalar - 4 : 0;
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            const unsigned v = form & 2 ? lane % 12 : 0;
            p.at[lane] =
                bed.scratch + lane * BED_SCRATCH + v + (form & 1 ? scalar - 4 : 0) + offset;
            bed.v[0][4][lane] = exec >> lane & 1 ? v : 0xFFFFFFF0;
        }
        const char *const vaddr = form & 2 ? "v4" : "off", *const saddr = form & 1 ? "s5" : "off";
        snprintf(text, sizeof text, "scratch_%s %s, %s, %s offset:%u", m->name,
                 m->is_store ? vaddr : data, m->is_store ? data : vaddr, saddr, offset);
        check(m, text, &p, exec);
    }
    if (exec == 0) return;
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        p.at[lane] = bed.scratch + lane * BED_SCRATCH + lane % 40;
        bed_address(&bed, 2, lane, (void *)(uintptr_t)(EMU_PRIVATE_APERTURE + lane % 40));
    }
    snprintf(text, sizeof text, m->is_store ? "flat_%s v[2:3], %s" : "flat_%s %s, v[2:3]", m->name,
             m->is_store ? data : data);
    check(m, text, &p, exec);
}

Test(emu_moves, scratch) {
    bed_begin(&bed);
    for (unsigned k = 0; k < N_MOVES; k++)
        for (unsigned round = 0; round < ROUNDS; round++) scratch_forms(&moves[k], round);
}

/* The same moves under LDS's names, and through flat addresses. */
static void lds_forms(const struct move *m, const char *name, unsigned round) {
    const uint64_t exec = bed_mask(&bed, round);
    struct place p = {.memory = bed.lds, .bytes = BED_LDS};
    char data[16], text[96];
    const unsigned offset = bed_random(&bed) % 4096;
    registers(data, sizeof data, m->bytes);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        p.at[lane] = bed.lds + 256 + spread(m, round, lane);
        bed.v[0][4][lane] = exec >> lane & 1 ? 256 + spread(m, round, lane) - offset : 0x7FFFFFFF;
        bed_address(&bed, 2, lane,
                    (void *)(uintptr_t)(EMU_SHARED_APERTURE + (uint64_t)(p.at[lane] - bed.lds)));
    }
    snprintf(text, sizeof text, m->is_store ? "%s v4, %s offset:%u" : "%s %s, v4 offset:%u", name,
             data, offset);
    check(m, text, &p, exec);
    snprintf(text, sizeof text, m->is_store ? "flat_%s v[2:3], %s" : "flat_%s %s, v[2:3]", m->name,
             data);
    check(m, text, &p, exec);
}

Test(emu_moves, lds) {
    static const char *const names[N_MOVES] = {
        "ds_read_u8",      "ds_read_i8",          "ds_read_u16",    "ds_read_i16",
        "ds_read_u8_d16",  "ds_read_u8_d16_hi",   "ds_read_i8_d16", "ds_read_i8_d16_hi",
        "ds_read_u16_d16", "ds_read_u16_d16_hi",  "ds_read_b32",    "ds_read_b64",
        "ds_read_b96",     "ds_read_b128",        "ds_write_b8",    "ds_write_b8_d16_hi",
        "ds_write_b16",    "ds_write_b16_d16_hi", "ds_write_b32",   "ds_write_b64",
        "ds_write_b96",    "ds_write_b128"};
    bed_begin(&bed);
    for (unsigned k = 0; k < N_MOVES; k++)
        for (unsigned round = 0; round < ROUNDS; round++) lds_forms(&moves[k], names[k], round);
}

/* A flat access of which every lane goes elsewhere. */
Test(emu_moves, flat_mixed) {
    bed_begin(&bed);
    bed.lds_defined[100] = 0;
    const uint64_t exec = UINT64_C(0x0FFFFFFFFFFFFFF7);
    bed_exec(&bed, exec);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        bed_address(&bed, 2, lane,
                    lane % 3 == 0   ? (void *)(uintptr_t)(EMU_SHARED_APERTURE + 4 * lane)
                    : lane % 3 == 1 ? (void *)(uintptr_t)(EMU_PRIVATE_APERTURE + 8)
                                    : (void *)(bed.memory + 12 * lane));
    bed.defined[0][DATA] = 0;
    bed_ok(&bed, "flat_load_dword v8, v[2:3]");
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        uint32_t word = 0;
        memcpy(&word,
               lane % 3 == 0   ? bed.lds + 4 * lane
               : lane % 3 == 1 ? bed.scratch + lane * BED_SCRATCH + 8
                               : bed.memory + 12 * lane,
               4);
        if (exec >> lane & 1) cr_assert_eq(bed.v[0][DATA][lane], word, "lane %u", lane);
    }
    /* Byte 100 is not lane 24's (96..99), nor another's that goes to LDS. */
    cr_assert_eq(bed.defined[0][DATA], exec);
    bed.lds_defined[97] = 0;
    bed_ok(&bed, "flat_load_dword v8, v[2:3]");
    cr_assert_eq(bed.defined[0][DATA], exec & ~(UINT64_C(1) << 24));
}

static void pair_forms(unsigned bytes, const char *st64, unsigned unit, unsigned round) {
    const uint64_t exec = bed_mask(&bed, round);
    char text[96], wide[24], narrow[2][24];
    const unsigned first = round % 3, second = first + 1 + round % 2;
    static uint8_t model[BED_LDS];
    snprintf(wide, sizeof wide, "v[8:%u]", 8 + 2 * bytes / 4 - 1);
    snprintf(narrow[0], 24, bytes == 4 ? "v8" : "v[8:9]");
    const unsigned next = round % 4 < 2 ? 12 : 8 + bytes / 4;
    if (bytes == 4)
        snprintf(narrow[1], 24, "v%u", next);
    else
        snprintf(narrow[1], 24, "v[%u:%u]", next % 32, next % 32 + 1);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        bed.v[0][4][lane] = exec >> lane & 1 ? lane * 4 * bytes : 0x80000000;
    bed_exec(&bed, exec);
    memcpy(model, bed.lds, BED_LDS);
    snprintf(text, sizeof text, "ds_write2%s_b%u v4, %s, %s offset0:%u offset1:%u", st64, 8 * bytes,
             narrow[0], narrow[1], first, second);
    for (unsigned k = 8; k < 16; k++)
        for (unsigned lane = 0; lane < EMU_LANES; lane++) bed.v[0][k][lane] = bed_random(&bed);
    bed_ok(&bed, text);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        for (unsigned k = 0; k < bytes && (exec >> lane & 1); k++) {
            model[lane * 4 * bytes + first * unit + k] =
                (uint8_t)(bed.v[0][8 + k / 4][lane] >> (8 * (k % 4)));
        }
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        for (unsigned k = 0; k < bytes && (exec >> lane & 1); k++)
            model[lane * 4 * bytes + second * unit + k] =
                (uint8_t)(bed.v[0][next + k / 4][lane] >> (8 * (k % 4)));
    cr_assert(memcmp(model, bed.lds, BED_LDS) == 0, "%s", text);
    snprintf(text, sizeof text, "ds_read2%s_b%u %s, v4 offset0:%u offset1:%u", st64, 8 * bytes,
             wide, first, second);
    bed_ok(&bed, text);
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        for (unsigned k = 0; k < 2 * bytes && (exec >> lane & 1); k++)
            cr_assert_eq((uint8_t)(bed.v[0][8 + k / 4][lane] >> (8 * (k % 4))),
                         model[lane * 4 * bytes +
                               (k < bytes ? first * unit + k : second * unit + k - bytes)],
                         "%s, lane %u", text, lane);
}

Test(emu_moves, lds_pairs) {
    bed_begin(&bed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        pair_forms(4, "", 4, round);
        pair_forms(8, "", 8, round);
        pair_forms(4, "st64", 256, round);
        pair_forms(8, "st64", 512, round);
    }
}

/* Accumulation registers are loaded and stored as the others are. */
Test(emu_moves, accumulation_registers) {
    bed_begin(&bed);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        bed_address(&bed, 2, lane, bed.memory + 4 * lane);
        bed.v[0][4][lane] = 4 * lane;
    }
    bed_ok(&bed, "global_load_dword a7, v[2:3], off");
    cr_assert(memcmp(bed.v[0][EMU_AGPR + 7], bed.memory, 256) == 0);
    bed_ok(&bed, "ds_write_b32 v4, a7");
    cr_assert(memcmp(bed.lds, bed.memory, 256) == 0);
}

Test(emu_moves, scalar) {
    static const struct {
        const char *text;
        unsigned words, offset;
    } rows[] = {
        {"s_load_dword s20, s[2:3], 0x10",                         1,  16  },
        {"s_load_dwordx2 s[20:21], s[2:3], s9",                    2,  100 },
        {"s_load_dwordx2 s[20:21], s[2:3], s9 offset:0x10",        2,  116 },
        {"s_load_dwordx4 s[20:23], s[2:3], -0x10",                 4,  ~15u},
        {"s_load_dwordx8 s[20:27], s[2:3], 0x4",                   8,  4   },
        {"s_load_dwordx16 s[20:35], s[2:3], 0x0 glc",              16, 0   },
        {"s_buffer_load_dword s20, s[4:7], 0x10",                  1,  16  },
        {"s_buffer_load_dwordx2 s[20:21], s[4:7], s9",             2,  100 },
        {"s_buffer_load_dwordx4 s[20:23], s[4:7], s9 offset:0x10", 4,  116 },
        {"s_buffer_load_dwordx8 s[20:27], s[4:7], 0x20",           8,  32  },
        {"s_buffer_load_dwordx16 s[20:35], s[4:7], 0x0",           16, 0   },
    };
    bed_begin(&bed);
    struct emu_wave *const w = &bed.wave[0];
    const uint8_t *const base = bed.memory + 1024;
    emu_write_s64(w, 2, (uint64_t)(uintptr_t)base);
    emu_write_s64(w, 4, (uint64_t)(uintptr_t)base);
    w->s[6] = 1024;
    w->s[7] = 0x00027000;
    w->s[9] = 100;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        memset(&w->s[20], 0, 16 * 4);
        memset(&w->s_defined[20], 0, 16 * 4);
        bed_ok(&bed, rows[r].text);
        cr_assert(memcmp(&w->s[20], base + (int32_t)rows[r].offset, 4 * rows[r].words) == 0, "%s",
                  rows[r].text);
        for (unsigned k = 0; k < 16; k++)
            cr_assert_eq(w->s_defined[20 + k], k < rows[r].words ? ~0u : 0, "%s", rows[r].text);
    }
    bed_ok(&bed, "s_store_dwordx2 s[20:21], s[2:3], 0x8");
    cr_assert(memcmp(&w->s[20], base + 8, 8) == 0);
    w->s[21] = 0;
    bed_ok(&bed, "s_memtime s[20:21]");
    const uint64_t first = emu_s64(w, 20);
    bed_ok(&bed, "s_memtime s[20:21]");
    cr_assert(emu_s64(w, 20) >= first && first > 0);
    bed_faults(&bed, "s_buffer_load_dwordx2 s[20:21], s[4:7], 0x3fc", EMU_BAD_ADDRESS,
               "1024 bytes");
    bed_faults(&bed, "s_load_dword s20, s[2:3], 0x2", EMU_MISALIGNED, "align");
}
