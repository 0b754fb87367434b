/* SPDX-License-Identifier: Apache-2.0 */
/* The race detector: planted races between two waves, and all that is none. */
#include "../race.h"
#include "memory.h"

static struct bed bed;

static void begin(void) {
    bed_begin(&bed);
    bed.group.race = emu_race_create(BED_LDS);
    for (unsigned wave = 0; wave < BED_WAVES; wave++)
        for (unsigned lane = 0; lane < EMU_LANES; lane++) {
            bed.v[wave][2][lane] = 4 * lane;               /* the same for both */
            bed.v[wave][3][lane] = 1024 * wave + 4 * lane; /* each its own */
            bed.v[wave][4][lane] = 0;
            bed.v[wave][5][lane] = 4 * lane + 2;
        }
}

static void ok(unsigned wave, const char *text) {
    cr_assert_eq(bed_run_on(&bed, wave, text), EMU_NO_FAULT, "%s: %s", text, bed.launch.fault.text);
}

static void races(unsigned wave, const char *text, const char *words) {
    cr_assert_eq(bed_run_on(&bed, wave, text), EMU_RACE, "%s: %s", text, bed.launch.fault.text);
    cr_assert(strstr(bed.launch.fault.text, words) != NULL, "%s", bed.launch.fault.text);
    cr_assert(strstr(bed.launch.fault.text, "no barrier between") != NULL);
    emu_race_free(bed.group.race);
}

Test(emu_race, write_then_read) {
    begin();
    ok(0, "ds_write_b32 v2, v8");
    races(1, "ds_read_b32 v8, v2", "wave 1 reads byte 0 of LDS that wave 0 wrote at 0x100");
    begin();
    ok(0, "ds_write_b32 v2, v8");
    races(1, "ds_read_u16 v8, v5", "reads byte 2 of LDS");
}

Test(emu_race, read_then_write) {
    begin();
    ok(1, "ds_read_b32 v8, v2");
    races(0, "ds_write_b8 v2, v8", "wave 0 writes byte 0 of LDS that wave 1 read at 0x108");
    begin();
    ok(0, "ds_read_b32 v8, v2");
    ok(1, "ds_read_b32 v8, v2");
    races(1, "ds_write_b32 v2, v8", "wave 0 read");
    begin();
    ok(1, "ds_read_b32 v8, v2");
    ok(0, "ds_read_b32 v8, v2");
    races(1, "ds_write_b32 v2, v8", "wave 0 read");
}

Test(emu_race, write_then_write) {
    begin();
    ok(0, "ds_write_b32 v2, v8");
    races(1, "ds_write_b64 v2, v[8:9]", "wave 1 writes byte 0 of LDS that wave 0 wrote");
}

Test(emu_race, atomics_and_plain) {
    begin();
    ok(0, "ds_add_u32 v4, v8");
    races(1, "ds_read_b32 v8, v4", "wave 0 changed");
    begin();
    ok(0, "ds_write_b32 v4, v8");
    races(1, "ds_add_u32 v4, v8", "wave 1 changes byte 0 of LDS that wave 0 wrote");
    begin();
    ok(0, "ds_read_b32 v8, v4");
    races(1, "ds_add_rtn_u32 v8, v4, v9", "wave 0 read");
    begin();
    ok(0, "ds_add_u32 v4, v8");
    ok(1, "ds_add_u32 v4, v8");
    races(1, "ds_read_b32 v8, v4", "wave 0 changed at 0x100");
}

/* A write that follows an atomic of the same wave is not hidden by it, nor it by the write. */
Test(emu_race, atomic_after_write) {
    begin();
    ok(0, "ds_write_b32 v4, v8");
    ok(0, "ds_add_u32 v4, v8");
    races(1, "ds_add_u32 v4, v8", "wave 0 wrote");
}

Test(emu_race, flat_and_direct) {
    begin();
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        bed_address(&bed, 10, lane, (void *)(uintptr_t)(EMU_SHARED_APERTURE + 4 * lane));
    ok(0, "flat_store_dword v[10:11], v8");
    races(1, "ds_read_b32 v8, v2", "wave 0 wrote");
    begin();
    for (unsigned lane = 0; lane < EMU_LANES; lane++) bed_address(&bed, 10, lane, bed.memory);
    bed.wave[0].s[EMU_M0] = 0;
    ok(0, "global_load_lds_dword v[10:11], off");
    races(1, "ds_read_b32 v8, v2", "wave 0 wrote");
}

/* What is no race: barriers between, atomics alone, reads alone, each wave its own bytes, neighbours in a word. */
Test(emu_race, none) {
    begin();
    for (unsigned round = 0; round < 3; round++) {
        ok(0, "ds_write_b32 v2, v8");
        ok(0, "ds_read_b32 v8, v2");
        bed.group.barrier_epoch++;
        ok(1, "ds_read_b32 v8, v2");
        ok(0, "ds_read_b128 v[8:11], v4");
        bed.group.barrier_epoch++;
        ok(1, "ds_write_b32 v2, v8");
        ok(1, "ds_add_u32 v2, v8");
        bed.group.barrier_epoch++;
        ok(0, "ds_add_u32 v4, v8");
        ok(1, "ds_add_rtn_u32 v8, v4, v9");
        ok(0, "ds_max_u32 v4, v8");
        bed.group.barrier_epoch++;
        ok(0, "ds_write_b32 v3, v8 offset:512");
        ok(1, "ds_write_b32 v3, v8 offset:512");
        ok(1, "ds_read_b32 v8, v3 offset:512");
        ok(0, "ds_read_b32 v8, v3 offset:512");
        bed.group.barrier_epoch++;
        ok(0, "ds_write_b16 v2, v8");
        ok(1, "ds_write_b16 v5, v8");
        ok(0, "ds_bpermute_b32 v8, v2, v9");
        ok(1, "ds_swizzle_b32 v8, v9 offset:swizzle(SWAP,1)");
        bed.group.barrier_epoch++;
    }
    emu_race_free(bed.group.race);
}

/* The next workgroup on the same shadow begins with no history. */
Test(emu_race, next_workgroup) {
    begin();
    bed.group.barrier_epoch = 3;
    ok(0, "ds_write_b32 v2, v8");
    emu_race_reset(bed.group.race);
    bed.group.barrier_epoch = 0;
    ok(1, "ds_write_b32 v2, v8");
    bed.group.barrier_epoch = 1;
    ok(0, "ds_write_b32 v2, v8");
    emu_race_reset(bed.group.race);
    bed.group.barrier_epoch = 0;
    ok(1, "ds_read_b32 v8, v2");
    races(0, "ds_write_b32 v2, v8", "wave 1 read");
}
