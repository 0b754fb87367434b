/* SPDX-License-Identifier: Apache-2.0 */
/* The address space, and every wrong access that instructions must report. */
#include "memory.h"

static struct bed bed;

static void address_lane(unsigned lane, uintptr_t address) {
    bed_address(&bed, 2, lane, (void *)address);
}

static void good_addresses(void) {
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        address_lane(lane, (uintptr_t)bed.memory + 4 * lane);
}

/* Lane `lane` alone goes wrong: the fault names it. */
static void wrong(const char *text, unsigned lane, uintptr_t address, enum emu_fault_kind kind,
                  const char *words) {
    char place[32];
    good_addresses();
    address_lane(lane, address);
    bed_faults(&bed, text, kind, words);
    snprintf(place, sizeof place, "lane %u", lane);
    cr_assert(strstr(bed.launch.fault.text, place) != NULL, "%s", bed.launch.fault.text);
    good_addresses();
    bed_ok(&bed, text);
    address_lane(lane, address);
    bed_exec(&bed, ~(UINT64_C(1) << lane));
    bed_ok(&bed, text);
    bed_exec(&bed, ~UINT64_C(0));
}

Test(emu_space, out_of_bounds) {
    bed_begin(&bed);
    const uintptr_t begin = (uintptr_t)bed.memory, end = begin + BED_BYTES;
    wrong("global_load_dword v8, v[2:3], off", 7, end - 3, EMU_BAD_ADDRESS,
          "reach 1 bytes beyond the end of allocation");
    wrong("global_load_ubyte v8, v[2:3], off", 63, end, EMU_BAD_ADDRESS,
          "begin 0 bytes behind the end of allocation");
    wrong("global_store_dwordx4 v[2:3], v[8:11], off", 0, end + 100, EMU_BAD_ADDRESS,
          "begin 100 bytes behind the end of allocation");
    wrong("global_store_byte v[2:3], v8, off", 13, begin - 1, EMU_BAD_ADDRESS,
          "begin 1 bytes before allocation");
    wrong("flat_load_dword v8, v[2:3]", 31, end - 1, EMU_BAD_ADDRESS, "reach 3 bytes beyond");
    wrong("flat_store_dword v[2:3], v8", 31, end - 1, EMU_BAD_ADDRESS, "reach 3 bytes beyond");
    wrong("global_atomic_add v[2:3], v8, off", 5, end, EMU_BAD_ADDRESS, "behind the end");
    wrong("global_load_dword v8, v[2:3], off", 1, 0x10, EMU_BAD_ADDRESS,
          "0x10 lie in no allocation");
    wrong("global_store_dword v[2:3], v8, off", 1, 0x10, EMU_BAD_ADDRESS, "null pointer");
    wrong("flat_store_dword v[2:3], v8", 2, 0x10, EMU_BAD_ADDRESS, "null pointer");
    wrong("flat_atomic_add v[2:3], v8", 2, 0x10, EMU_BAD_ADDRESS, "null pointer");
    wrong("global_load_dword v8, v[2:3], off", 3, UINTPTR_MAX - 1, EMU_BAD_ADDRESS,
          "no allocation");
    wrong("global_load_dword v8, v[2:3], off", 3, UINT64_C(0x1234567800000000), EMU_BAD_ADDRESS,
          "nor near one");
    emu_write_s64(&bed.wave[0], 10, end - 4);
    bed_ok(&bed, "s_load_dword s20, s[10:11], 0x0");
    bed_faults(&bed, "s_load_dwordx2 s[20:21], s[10:11], 0x0", EMU_BAD_ADDRESS,
               "reach 4 bytes beyond");
    bed_faults(&bed, "s_store_dword s20, s[10:11], 0x4", EMU_BAD_ADDRESS, "a scalar write");
}

Test(emu_space, freed) {
    bed_begin(&bed);
    uint8_t *const memory = emu_space_alloc(100000, EMU_REGION_DEVICE);
    for (unsigned k = 0; k < 100000; k++) cr_assert_eq(memory[k], 0xA5);
    good_addresses();
    address_lane(9, (uintptr_t)memory + 50);
    bed_ok(&bed, "global_load_dword v8, v[2:3], off");
    cr_assert_eq(emu_space_free(memory), 0);
    bed_faults(&bed, "global_load_dword v8, v[2:3], off", EMU_BAD_ADDRESS, "which was freed");
    bed_faults(&bed, "global_store_short v[2:3], v8, off", EMU_BAD_ADDRESS, "which was freed");
    cr_assert_eq(emu_space_free(memory), -1, "freed twice");
    cr_assert_eq(emu_space_free(memory + 8), -1, "never allocated");
    cr_assert_eq(emu_space_free(NULL), -1);
    for (unsigned k = 0; k < 1000; k++) {
        uint8_t *const other = emu_space_alloc(100000, EMU_REGION_DEVICE);
        cr_assert(other != memory, "freed addresses are not handed out again soon");
        emu_space_free(other);
    }
}

/* Quarantine ends at last: 40,000 allocations come and go, and 166 TiB. */
Test(emu_space, quarantine) {
    bed_begin(&bed);
    for (unsigned k = 0; k < 40000; k++) {
        void *const memory = emu_space_alloc(300, EMU_REGION_DEVICE);
        cr_assert(memory != NULL);
        cr_assert_eq(emu_space_free(memory), 0);
    }
    /* More addresses than there are. */
    for (unsigned k = 0; k < 10000; k++) {
        void *const memory = emu_space_alloc((size_t)17 << 30, EMU_REGION_DEVICE);
        cr_assert(memory != NULL, "%u", k);
        cr_assert_eq(emu_space_free(memory), 0);
    }
    struct emu_region region;
    cr_assert(emu_space_find((uintptr_t)bed.memory, &region) && !region.freed);
}

Test(emu_space, read_only) {
    static const uint8_t constant[512];
    uint8_t *const memory = (void *)(uintptr_t)constant;
    bed_begin(&bed);
    emu_space_add(memory, sizeof constant, EMU_REGION_GLOBALS, false, "table");
    good_addresses();
    address_lane(4, (uintptr_t)constant + 8);
    bed_ok(&bed, "global_load_dword v8, v[2:3], off");
    bed_faults(&bed, "global_store_dword v[2:3], v8, off", EMU_BAD_ADDRESS,
               "table, which is read-only");
    bed_faults(&bed, "global_atomic_or v[2:3], v8, off", EMU_BAD_ADDRESS, "read-only");
    bed_ok(&bed, "global_load_dword v8, v[2:3], off");
    cr_assert_eq(emu_space_remove(memory), 0);
    cr_assert_eq(emu_space_remove(memory), -1);
    bed_faults(&bed, "global_load_dword v8, v[2:3], off", EMU_BAD_ADDRESS, "");
    uint8_t *const kernarg = emu_space_alloc(256, EMU_REGION_KERNARG);
    emu_write_s64(&bed.wave[0], 10, (uint64_t)(uintptr_t)kernarg);
    bed_ok(&bed, "s_load_dword s20, s[10:11], 0x0");
    bed_faults(&bed, "s_store_dword s20, s[10:11], 0x0", EMU_BAD_ADDRESS, "read-only");
    emu_space_free(kernarg);
}

Test(emu_space, misaligned) {
    bed_begin(&bed);
    const uintptr_t begin = (uintptr_t)bed.memory;
    wrong("global_atomic_add v[2:3], v8, off", 12, begin + 2, EMU_MISALIGNED,
          "align it to its size");
    good_addresses();
    for (unsigned lane = 0; lane < EMU_LANES; lane++) address_lane(lane, begin + 8 * lane);
    bed_ok(&bed, "global_atomic_add_x2 v[2:3], v[8:9], off");
    address_lane(3, begin + 4);
    bed_faults(&bed, "global_atomic_add_x2 v[2:3], v[8:9], off", EMU_MISALIGNED, "8 bytes");
    for (unsigned lane = 0; lane < EMU_LANES; lane++) bed.v[0][4][lane] = 4 * lane;
    bed_ok(&bed, "ds_add_u32 v4, v8");
    bed.v[0][4][40] = 1;
    bed_faults(&bed, "ds_add_u32 v4, v8", EMU_MISALIGNED, "lane 40");
}

/* An arena in which tensors are declared may be touched there only. */
Test(emu_space, tensors) {
    bed_begin(&bed);
    uint8_t *const other = emu_space_alloc(4096, EMU_REGION_DEVICE);
    cr_assert_eq(dsv4_emu_declare(bed.memory, 512, "in"), 0);
    cr_assert_eq(dsv4_emu_declare(bed.memory + 1024, 256, "out"), 0);
    const uintptr_t begin = (uintptr_t)bed.memory;
    wrong("global_load_dword v8, v[2:3], off", 20, begin + 510, EMU_BAD_ADDRESS,
          "reach 2 bytes beyond the end of tensor in");
    wrong("global_load_dword v8, v[2:3], off", 20, begin + 1020, EMU_BAD_ADDRESS,
          "begin 4 bytes before tensor out");
    wrong("global_store_dword v[2:3], v8, off", 20, begin + 600, EMU_BAD_ADDRESS, "tensor in");
    good_addresses();
    address_lane(5, begin + 1276);
    address_lane(6, (uintptr_t)other + 4092);
    bed_ok(&bed, "global_load_dword v8, v[2:3], off");
    dsv4_emu_undeclare_all();
    address_lane(5, begin + 600);
    bed_ok(&bed, "global_load_dword v8, v[2:3], off");
    cr_assert_eq(dsv4_emu_declare(bed.memory, BED_BYTES + 1, "too long"), -1);
    cr_assert_eq(dsv4_emu_declare(bed.lds, 8, "host memory"), -1);
    cr_assert_eq(dsv4_emu_declare(other, 64, "gone"), 0);
    emu_space_free(other);
    cr_assert_eq(dsv4_emu_declare(other, 64, "freed"), -1);
}

/* More than this machine has: backed where touched. */
Test(emu_space, large) {
    size_t used, total, before;
    const size_t bytes = (size_t)17 << 30;
    bed_begin(&bed);
    emu_space_usage(&before, &total);
    uint8_t *const arena[4] = {
        emu_space_alloc(bytes, EMU_REGION_DEVICE), emu_space_alloc(bytes, EMU_REGION_DEVICE),
        emu_space_alloc(bytes, EMU_REGION_DEVICE), emu_space_alloc(bytes, EMU_REGION_DEVICE)};
    for (unsigned k = 0; k < 4; k++) {
        cr_assert(arena[k] != NULL);
        arena[k][0] = arena[k][bytes - 1] = 1;
    }
    emu_space_usage(&used, &total);
    cr_assert_eq(used - before, 4 * bytes);
    cr_assert_eq(total, (size_t)192 << 30);
    cr_assert(emu_space_alloc((size_t)130 << 30, EMU_REGION_DEVICE) == NULL);
    cr_assert(emu_space_alloc(0, EMU_REGION_DEVICE) == NULL);
    cr_assert(emu_space_alloc(SIZE_MAX, EMU_REGION_DEVICE) == NULL);
    for (unsigned k = 0; k < 4; k++) cr_assert_eq(emu_space_free(arena[k]), 0);
    emu_space_usage(&used, &total);
    cr_assert_eq(used, before);
}

Test(emu_space, lds_and_scratch_bounds) {
    bed_begin(&bed);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) bed.v[0][4][lane] = 4 * lane;
    bed.v[0][4][17] = BED_LDS - 4;
    bed_ok(&bed, "ds_read_b32 v8, v4");
    bed_ok(&bed, "ds_write_b32 v4, v8");
    bed.v[0][4][17] = BED_LDS - 3;
    bed_faults(&bed, "ds_read_b32 v8, v4", EMU_BAD_ADDRESS, "4 bytes at byte 4093 of LDS");
    bed_faults(&bed, "ds_write_b8 v4, v8 offset:3", EMU_BAD_ADDRESS, "lane 17");
    bed_faults(&bed, "ds_read2_b32 v[8:9], v4 offset1:1", EMU_BAD_ADDRESS, "lane 17");
    bed_faults(&bed, "ds_add_f32 v4, v8", EMU_BAD_ADDRESS, "lane 17");
    bed.v[0][4][17] = 0xFFFFFFF0;
    bed_faults(&bed, "ds_read_b32 v8, v4", EMU_BAD_ADDRESS, "lane 17");
    bed_ok(&bed, "ds_read_b32 v8, v4 offset:16");
    good_addresses();
    address_lane(2, EMU_SHARED_APERTURE + BED_LDS - 3);
    bed_faults(&bed, "flat_load_dword v8, v[2:3]", EMU_BAD_ADDRESS, "of LDS");
    address_lane(2, EMU_PRIVATE_APERTURE + BED_SCRATCH - 3);
    bed_faults(&bed, "flat_store_dword v[2:3], v8", EMU_BAD_ADDRESS, "stack overflow");
    bed.wave[0].s[5] = BED_SCRATCH;
    bed_faults(&bed, "scratch_store_dword off, v8, s5 offset:-3", EMU_BAD_ADDRESS,
               "stack overflow");
    bed_ok(&bed, "scratch_store_dword off, v8, s5 offset:-4");
    bed_faults(&bed, "scratch_load_dword v8, off, off offset:-1", EMU_BAD_ADDRESS, "offset -1");
}

/* What was never written must not become an address, nor leave the workgroup. */
Test(emu_space, undefined) {
    bed_begin(&bed);
    good_addresses();
    bed.defined[0][3] = ~(UINT64_C(1) << 50);
    bed_faults(&bed, "global_load_dword v8, v[2:3], off", EMU_UNINITIALISED, "address");
    bed_exec(&bed, ~(UINT64_C(1) << 50));
    bed_ok(&bed, "global_load_dword v8, v[2:3], off");
    bed_exec(&bed, ~UINT64_C(0));
    bed.defined[0][3] = ~UINT64_C(0);
    bed.defined[0][9] = ~UINT64_C(1);
    bed_faults(&bed, "global_store_dwordx2 v[2:3], v[8:9], off", EMU_UNINITIALISED, "stored data");
    bed_faults(&bed, "global_atomic_add_x2 v[2:3], v[8:9], off", EMU_UNINITIALISED, "data");
    bed_ok(&bed, "global_store_dword v[2:3], v8, off");
    bed.wave[0].s_defined[11] = 0;
    bed_faults(&bed, "global_load_dword v8, v4, s[10:11]", EMU_UNINITIALISED, "address");
    bed_faults(&bed, "s_load_dword s20, s[10:11], 0x0", EMU_UNINITIALISED, "address");
    bed.launch.tracked = false;
    bed_ok(&bed, "global_store_dwordx2 v[2:3], v[8:9], off");
}

/* LDS nobody wrote makes the register undefined; an undefined value leaves LDS undefined. */
Test(emu_space, unwritten_lds) {
    bed_begin(&bed);
    memset(bed.lds_defined, 0, BED_LDS);
    for (unsigned lane = 0; lane < EMU_LANES; lane++) bed.v[0][4][lane] = 8 * lane;
    bed_exec(&bed, 0xFF);
    bed_ok(&bed, "ds_write_b64 v4, v[8:9]");
    bed_exec(&bed, ~UINT64_C(0));
    bed_ok(&bed, "ds_read_b64 v[12:13], v4");
    cr_assert_eq(bed.defined[0][12], 0xFF);
    cr_assert_eq(bed.defined[0][13], 0xFF);
    bed_ok(&bed, "ds_read_b32 v12, v4 offset:4");
    cr_assert_eq(bed.defined[0][12], 0xFF);
    bed_ok(&bed, "ds_read_u8 v12, v4 offset:8");
    cr_assert_eq(bed.defined[0][12], 0x7F);
    bed_ok(&bed, "ds_add_rtn_u32 v12, v4, v8");
    cr_assert_eq(bed.defined[0][12], 0xFF);
    bed_ok(&bed, "ds_wrxchg_rtn_b32 v12, v4, v8");
    cr_assert_eq(bed.defined[0][12], 0xFF);
    bed_ok(&bed, "ds_read_b32 v12, v4");
    cr_assert_eq(bed.defined[0][12], ~UINT64_C(0));
    bed.defined[0][8] = ~(UINT64_C(1) << 20);
    bed_ok(&bed, "ds_write_b16 v4, v8");
    bed_ok(&bed, "ds_read_b32 v12, v4");
    cr_assert_eq(bed.defined[0][12], ~(UINT64_C(1) << 20));
    bed_ok(&bed, "ds_read_u16 v12, v4 offset:2");
    cr_assert_eq(bed.defined[0][12], ~UINT64_C(0));
    /* The same where all around has been written. */
    bed.defined[0][8] = ~UINT64_C(0);
    bed_ok(&bed, "ds_write_b64 v4, v[8:9]");
    bed.defined[0][8] = ~(UINT64_C(1) << 21);
    bed_ok(&bed, "ds_write_b32 v4, v8");
    bed_ok(&bed, "ds_read_b32 v12, v4");
    cr_assert_eq(bed.defined[0][12], ~(UINT64_C(1) << 21));
    for (unsigned lane = 0; lane < EMU_LANES; lane++) bed.v[0][4][lane] = 4 * lane;
    bed_ok(&bed, "ds_write_b32 v4, v8");
    bed_ok(&bed, "ds_read_b32 v12, v4");
    cr_assert_eq(bed.defined[0][12], ~(UINT64_C(1) << 21));
}
