/* SPDX-License-Identifier: Apache-2.0 */
/* LDS instructions that move values between lanes. */
#include "memory.h"

static struct bed bed;
static uint32_t source[EMU_LANES];

static void begin(uint64_t exec, uint64_t defined) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        source[lane] = bed.v[0][8][lane] = bed_random(&bed);
        bed.v[0][20][lane] = 0xABCD0000 + lane;
    }
    bed.defined[0][8] = defined;
    bed.defined[0][20] = 0;
    bed_exec(&bed, exec);
}

/* from[lane]: where its value comes from. */
static void check(const char *text, const unsigned *from, uint64_t exec, uint64_t defined) {
    bed_ok(&bed, text);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        const bool active = exec >> lane & 1, valid = exec >> from[lane] & 1;
        const uint32_t want = !active ? 0xABCD0000 + lane : valid ? source[from[lane]] : 0;
        cr_assert_eq(bed.v[0][20][lane], want, "%s: lane %u", text, lane);
        cr_assert_eq(bed.defined[0][20] >> lane & 1,
                     active && (!valid || (defined >> from[lane] & 1)), "%s: lane %u", text, lane);
    }
}

Test(emu_lanes, bpermute) {
    bed_begin(&bed);
    for (unsigned round = 0; round < 30; round++) {
        const uint64_t exec = bed_mask(&bed, round);
        const uint64_t defined = round % 2 ? ~UINT64_C(0) : bed_mask(&bed, 100);
        unsigned from[EMU_LANES];
        char text[64];
        begin(exec, defined);
        const unsigned offset = round * 4;
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            bed.v[0][4][lane] = bed_random(&bed);
            from[lane] = (bed.v[0][4][lane] + offset) % 256 / 4;
        }
        snprintf(text, sizeof text, "ds_bpermute_b32 v20, v4, v8 offset:%u", offset);
        check(text, from, exec, defined);
    }
    bed_exec(&bed, 3);
    bed.defined[0][4] = ~UINT64_C(2);
    bed_faults(&bed, "ds_bpermute_b32 v20, v4, v8", EMU_UNINITIALISED, "lane number");
}

Test(emu_lanes, permute) {
    bed_begin(&bed);
    for (unsigned round = 0; round < 30; round++) {
        const uint64_t exec = bed_mask(&bed, round), defined = bed_mask(&bed, 100);
        uint32_t want[EMU_LANES] = {0};
        uint64_t known = ~UINT64_C(0);
        begin(exec, defined);
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            /* A permutation in even rounds, collisions in odd ones. */
            bed.v[0][4][lane] = round % 2 ? bed_random(&bed) : 4 * (lane * 5 + round) + 256;
            if ((exec >> lane & 1) == 0) continue;
            const unsigned to = (bed.v[0][4][lane] + 8) % 256 / 4;
            want[to] = source[lane];
            known &= ~(UINT64_C(1) << to);
            known |= (defined >> lane & 1) << to;
        }
        bed_ok(&bed, "ds_permute_b32 v20, v4, v8 offset:8");
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            cr_assert_eq(bed.v[0][20][lane], exec >> lane & 1 ? want[lane] : 0xABCD0000 + lane);
        cr_assert_eq(bed.defined[0][20], known & exec);
    }
}

static unsigned reversed(unsigned n) {
    unsigned r = 0;
    for (unsigned bit = 0; bit < 5; bit++)
        if (n & (1u << bit)) r += 16u >> bit;
    return r;
}

/* The documentation's pseudocode, and its examples. */
static unsigned swizzle_model(unsigned lane, unsigned pattern) {
    const unsigned group = lane / 32 * 32, in = lane % 32, low = pattern % 32;
    if (pattern >= 0xE000) {
        unsigned j = reversed(in);
        for (unsigned bit = 0; bit < 5; bit++)
            if (low & (1u << bit)) j /= 2;
        return group + (j | (in & low));
    }
    if (pattern >= 0xC000) {
        const unsigned count = pattern / 32 % 32,
                       turned = pattern & 0x400 ? in + 32 - count : in + count;
        return group + ((in & low) | (turned % 32 & (31 - low)));
    }
    if (pattern >= 0x8000) return lane / 4 * 4 + (pattern >> (lane % 4 * 2)) % 4;
    return group + (((in & low) | pattern / 32 % 32) ^ pattern / 1024 % 32);
}

static void swizzle(const char *text, unsigned pattern, unsigned round) {
    const uint64_t exec = bed_mask(&bed, round);
    unsigned from[EMU_LANES];
    for (unsigned lane = 0; lane < EMU_LANES; lane++) from[lane] = swizzle_model(lane, pattern);
    begin(exec, ~UINT64_C(0));
    check(text, from, exec, ~UINT64_C(0));
}

Test(emu_lanes, swizzle) {
    char text[96];
    bed_begin(&bed);
    for (unsigned pattern = 0; pattern < 0x10000; pattern += 7) {
        snprintf(text, sizeof text, "ds_swizzle_b32 v20, v8 offset:%u", pattern);
        swizzle(text, pattern, pattern % 31);
    }
    swizzle("ds_swizzle_b32 v20, v8 offset:swizzle(QUAD_PERM,3,1,0,2)", 0x8000 + 3 + 4 + 128, 0);
    swizzle("ds_swizzle_b32 v20, v8 offset:swizzle(SWAP,8)", 0x201F, 0);
    swizzle("ds_swizzle_b32 v20, v8 offset:swizzle(REVERSE,16)", 0x3C1F, 0);
    swizzle("ds_swizzle_b32 v20, v8 offset:swizzle(BROADCAST,8,3)", 0x18 + 3 * 32, 0);
    swizzle("ds_swizzle_b32 v20, v8 offset:swizzle(BITMASK_PERM,\"01pip\")", 7 + 8 * 32 + 2 * 1024,
            0);
    static const unsigned fft[] = {1, 17, 9, 25, 5, 21, 13, 29, 3, 19, 11, 27};
    static const unsigned fft16[] = {1, 9, 5, 13, 3, 11, 7, 15, 2, 10, 6, 14};
    for (unsigned lane = 0; lane < 12; lane++) {
        cr_assert_eq(swizzle_model(lane, 0xE000) + 1, fft[lane]);
        cr_assert_eq(swizzle_model(lane, 0xE010) + 1, fft16[lane]);
        cr_assert_eq(swizzle_model(lane, 0xC020), lane + 1);
        cr_assert_eq(swizzle_model(lane, 0xC420), (lane + 31) % 32);
    }
}
