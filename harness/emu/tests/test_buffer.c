/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: addressing, the range check word by word, loads to LDS, what is refused. */
#include "memory.h"

static struct bed bed;

static void resource(unsigned offset, unsigned stride, uint32_t size) {
    const uint64_t base = (uint64_t)(uintptr_t)bed.memory + offset;
    struct emu_wave *const w = &bed.wave[0];
    emu_write_s64(w, 12, base | (uint64_t)stride << 48);
    w->s[14] = size;
    w->s[15] = 0x00027000;
    w->s[5] = 0;
}

static uint32_t word_at(size_t offset) {
    uint32_t word;
    memcpy(&word, bed.memory + offset, 4);
    return word;
}

/* Addresses: base + scalar + immediate + offset + stride * index. */
Test(emu_buffer, addressing) {
    static const struct {
        const char *text;
        unsigned stride;
        bool index, offset;
    } rows[] = {
        {"buffer_load_dword v8, off, s[12:15], s5 offset:20",                 0,  false, false},
        {"buffer_load_dword v8, v2, s[12:15], s5 offen offset:20",            0,  false, true },
        {"buffer_load_dword v8, v2, s[12:15], s5 offen offset:20 sc0 nt sc1", 16, false, true },
        {"buffer_load_dword v8, v2, s[12:15], s5 idxen offset:20",            48, true,  false},
        {"buffer_load_dword v8, v[2:3], s[12:15], s5 idxen offen offset:20",  48, true,  true },
    };
    bed_begin(&bed);
    for (unsigned r = 0; r < sizeof rows / sizeof *rows; r++)
        for (unsigned round = 0; round < 8; round++) {
            const uint64_t exec = bed_mask(&bed, round);
            resource(64, rows[r].stride, 4096);
            bed.wave[0].s[5] = 8;
            uint32_t want[EMU_LANES];
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                const unsigned index = lane * 7 % 50, offset = lane % 5 * 4;
                bed.v[0][2][lane] = rows[r].index ? index : offset;
                bed.v[0][3][lane] = offset;
                bed.v[0][8][lane] = 77;
                want[lane] = word_at(64 + 8 + 20 + (rows[r].index ? rows[r].stride * index : 0) +
                                     (rows[r].offset ? offset : 0));
            }
            bed_exec(&bed, exec);
            bed_ok(&bed, rows[r].text);
            for (unsigned lane = 0; lane < EMU_LANES; lane++)
                cr_assert_eq(bed.v[0][8][lane], exec >> lane & 1 ? want[lane] : 77, "%s",
                             rows[r].text);
        }
}

/* Loads of every width at offsets that cross the end: what lies beyond is zero, and nothing is written there. */
Test(emu_buffer, range) {
    static const struct {
        const char *load, *store;
        unsigned bytes;
    } rows[] = {
        {"buffer_load_ubyte v8, v2, s[12:15], 0 offen",
         "buffer_store_byte v8, v2, s[12:15], 0 offen",         1 },
        {"buffer_load_ushort v8, v2, s[12:15], 0 offen",
         "buffer_store_short v8, v2, s[12:15], 0 offen",        2 },
        {"buffer_load_dword v8, v2, s[12:15], 0 offen",
         "buffer_store_dword v8, v2, s[12:15], 0 offen",        4 },
        {"buffer_load_dwordx2 v[8:9], v2, s[12:15], 0 offen",
         "buffer_store_dwordx2 v[8:9], v2, s[12:15], 0 offen",  8 },
        {"buffer_load_dwordx3 v[8:10], v2, s[12:15], 0 offen",
         "buffer_store_dwordx3 v[8:10], v2, s[12:15], 0 offen", 12},
        {"buffer_load_dwordx4 v[8:11], v2, s[12:15], 0 offen",
         "buffer_store_dwordx4 v[8:11], v2, s[12:15], 0 offen", 16},
    };
    enum { SIZE = 400 };
    static uint8_t model[BED_BYTES];
    bed_begin(&bed);
    for (unsigned r = 0; r < sizeof rows / sizeof *rows; r++)
        for (unsigned round = 0; round < 8; round++) {
            const unsigned unit = rows[r].bytes < 4 ? rows[r].bytes : 4;
            const uint64_t exec = bed_mask(&bed, round);
            resource(16, 0, SIZE);
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                bed.v[0][2][lane] = round == 7 ? 0x80000000 - 16 * lane : lane * 8;
                if (lane == 60) bed.v[0][2][lane] = UINT32_MAX - 3;
                for (unsigned k = 0; k < 4; k++) bed.v[0][8 + k][lane] = 0xEEEEEEEE;
            }
            bed_exec(&bed, exec);
            bed_ok(&bed, rows[r].load);
            memcpy(model, bed.memory, BED_BYTES);
            for (unsigned lane = 0; lane < EMU_LANES; lane++)
                for (unsigned k = 0; k < rows[r].bytes && (exec >> lane & 1); k++) {
                    const size_t at = (size_t)bed.v[0][2][lane] + k / unit * unit;
                    const uint8_t want = at < SIZE ? bed.memory[16 + at + k % unit] : 0;
                    cr_assert_eq((uint8_t)(bed.v[0][8 + k / 4][lane] >> (k % 4 * 8)), want,
                                 "%s: byte %u of lane %u", rows[r].load, k, lane);
                }
            for (unsigned lane = 0; lane < EMU_LANES; lane++)
                for (unsigned k = 0; k < 4; k++) bed.v[0][8 + k][lane] = bed_random(&bed);
            for (unsigned k = 0; k < rows[r].bytes; k++)
                for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                    const size_t at = (size_t)bed.v[0][2][lane] + k;
                    if ((exec >> lane & 1) && at < SIZE && rows[r].bytes <= 8)
                        model[16 + at] = (uint8_t)(bed.v[0][8 + k / 4][lane] >> (k % 4 * 8));
                }
            if (rows[r].bytes > 8) continue; /* lanes overlap */
            bed_ok(&bed, rows[r].store);
            cr_assert(memcmp(model, bed.memory, BED_BYTES) == 0, "%s", rows[r].store);
        }
}

/* A d16 load beyond the end zeroes its half and keeps the other. */
Test(emu_buffer, range_d16) {
    bed_begin(&bed);
    resource(0, 0, 64);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        bed.v[0][2][lane] = lane * 2;
        bed.v[0][8][lane] = bed.v[0][9][lane] = 0x12345678;
    }
    bed_ok(&bed, "buffer_load_short_d16 v8, v2, s[12:15], 0 offen");
    bed_ok(&bed, "buffer_load_ubyte_d16_hi v9, v2, s[12:15], 0 offen");
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const bool inside = lane < 32;
        const uint32_t half = inside ? word_at(2 * lane) & 0xFFFF : 0, byte = half & 255;
        cr_assert_eq(bed.v[0][8][lane], 0x12340000 + half);
        cr_assert_eq(bed.v[0][9][lane], 0x5678 + (byte << 16));
    }
}

/* Structured: the index counts. */
Test(emu_buffer, records) {
    bed_begin(&bed);
    resource(0, 12, 40);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) bed.v[0][2][lane] = lane;
    bed_ok(&bed, "buffer_load_dwordx2 v[8:9], v2, s[12:15], 0 idxen offset:4");
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        cr_assert_eq(bed.v[0][8][lane], lane < 40 ? word_at(12 * lane + 4) : 0);
        cr_assert_eq(bed.v[0][9][lane], lane < 40 ? word_at(12 * lane + 8) : 0);
    }
    bed_faults(&bed, "buffer_load_dwordx2 v[8:9], v2, s[12:15], 0 idxen offset:8", EMU_BAD_ADDRESS,
               "beyond the end of a record");
}

Test(emu_buffer, atomics) {
    bed_begin(&bed);
    resource(0, 0, 128);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        bed.v[0][2][lane] = lane * 4;
        bed.v[0][8][lane] = 5;
    }
    static uint8_t before[BED_BYTES];
    memcpy(before, bed.memory, BED_BYTES);
    bed_ok(&bed, "buffer_atomic_add v8, v2, s[12:15], 0 offen sc0");
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        uint32_t old;
        memcpy(&old, before + 4 * lane, 4);
        cr_assert_eq(bed.v[0][8][lane], lane < 32 ? old : 0);
        cr_assert_eq(word_at(4 * lane), lane < 32 ? old + 5 : old);
    }
    bed.v[0][2][0] = 2;
    bed_faults(&bed, "buffer_atomic_add v8, v2, s[12:15], 0 offen", EMU_MISALIGNED, "align");
}

/* The descriptor may promise more than there is: its word is not taken. */
Test(emu_buffer, wrong) {
    bed_begin(&bed);
    resource(0, 0, UINT32_MAX);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) bed.v[0][2][lane] = lane * 4;
    bed.v[0][2][33] = BED_BYTES - 2;
    bed_faults(&bed, "buffer_load_dword v8, v2, s[12:15], 0 offen", EMU_BAD_ADDRESS, "lane 33");
    bed_faults(&bed, "buffer_store_dword v8, v2, s[12:15], 0 offen", EMU_BAD_ADDRESS,
               "reach 2 bytes beyond the end of allocation");
    resource(0, 0, 128);
    bed.v[0][2][33] = 126;
    bed_faults(&bed, "buffer_load_dword v8, v2, s[12:15], 0 offen", EMU_BAD_ADDRESS,
               "partly beyond");
    bed.v[0][2][33] = 0;
    bed.wave[0].s[5] = 100;
    bed_faults(&bed, "buffer_load_dword v8, v2, s[12:15], s5 offen", EMU_BAD_ADDRESS,
               "scalar offset 100");
    resource(0, 0, 256);
    bed.wave[0].s[5] = 4;
    bed_faults(&bed, "buffer_load_dword v8, v2, s[12:15], s5 offen", EMU_BAD_ADDRESS, "lane 63");
    resource(0, 0, 128);
    bed.wave[0].s[13] |= 0x80000000;
    bed_faults(&bed, "buffer_load_dword v8, v2, s[12:15], 0 offen", EMU_UNIMPLEMENTED, "swizzling");
    resource(0, 0, 128);
    bed.wave[0].s[15] |= 1u << 23;
    bed_faults(&bed, "buffer_load_dword v8, v2, s[12:15], 0 offen", EMU_UNIMPLEMENTED,
               "thread ids");
    resource(0, 0, 128);
    bed.wave[0].s_defined[14] = 0;
    bed_faults(&bed, "buffer_load_dword v8, v2, s[12:15], 0 offen", EMU_UNINITIALISED, "resource");
    bed.wave[0].s_defined[14] = ~UINT32_C(0);
    bed.defined[0][2] = 1;
    bed_faults(&bed, "buffer_load_dword v8, v2, s[12:15], 0 offen", EMU_UNINITIALISED, "address");
    bed_ok(&bed, "buffer_load_dword v8, off, s[12:15], 0");
}

/* ---- loads to LDS ---- */

Test(emu_buffer, to_lds) {
    static const struct {
        const char *text;
        unsigned bytes;
        bool is_signed;
    } rows[] = {
        {"global_load_lds_dword v[2:3], off offset:8",            4, false},
        {"global_load_lds_ubyte v[2:3], off offset:8",            1, false},
        {"global_load_lds_sbyte v4, s[30:31] offset:8",           1, true },
        {"global_load_lds_ushort v4, s[30:31] offset:8",          2, false},
        {"global_load_lds_sshort v[2:3], off offset:8",           2, true },
        {"buffer_load_dword v4, s[12:15], 0 offen offset:8 lds",  4, false},
        {"buffer_load_sbyte v4, s[12:15], 0 offen offset:8 lds",  1, true },
        {"buffer_load_ushort v4, s[12:15], 0 offen offset:8 lds", 2, false},
    };
    static uint8_t model[BED_LDS];
    bed_begin(&bed);
    for (unsigned r = 0; r < sizeof rows / sizeof *rows; r++)
        for (unsigned round = 0; round < 8; round++) {
            const uint64_t exec = bed_mask(&bed, round);
            bed.wave[0].s[EMU_M0] = 0xABCD0000 + 512 + 4 * round;
            emu_write_s64(&bed.wave[0], 30, (uint64_t)(uintptr_t)bed.memory);
            resource(0, 0, BED_BYTES);
            memcpy(model, bed.lds, BED_LDS);
            memset(bed.lds_defined, 0, BED_LDS);
            for (unsigned lane = 0; lane < EMU_LANES; lane++) {
                const unsigned offset = bed_random(&bed) % 4096;
                bed.v[0][4][lane] = offset;
                bed_address(&bed, 2, lane, bed.memory + offset);
                if ((exec >> lane & 1) == 0) continue;
                const uint8_t *const from = bed.memory + offset + 8;
                for (unsigned k = 0; k < 4; k++)
                    model[512 + 4 * round + 8 + 4 * lane + k] =
                        k < rows[r].bytes                                     ? from[k]
                        : rows[r].is_signed && from[rows[r].bytes - 1] >= 128 ? 255
                                                                              : 0;
            }
            bed_exec(&bed, exec);
            bed_ok(&bed, rows[r].text);
            cr_assert(memcmp(model, bed.lds, BED_LDS) == 0, "%s", rows[r].text);
            for (unsigned k = 0; k < BED_LDS; k++) {
                const unsigned at = k - (512 + 4 * round + 8);
                cr_assert_eq(bed.lds_defined[k], at < 256 && (exec >> at / 4 & 1));
            }
        }
    bed_exec(&bed, 1);
    bed.wave[0].s[EMU_M0] = BED_LDS - 8;
    bed_faults(&bed, "global_load_lds_dword v[2:3], off offset:8", EMU_BAD_ADDRESS, "of LDS");
    bed.wave[0].s_defined[EMU_M0] = 0;
    bed_faults(&bed, "global_load_lds_dword v[2:3], off", EMU_UNINITIALISED, "m0");
}
