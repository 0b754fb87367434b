/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes of kernels, and how many fit on a compute unit: four SIMDs of eight waves, 512 vector registers per lane
 * (AGPRs among them) in granules of 8, 800 scalar registers in granules of 16, and 64 KiB of LDS.
 */
#include <string.h>

#include "hip.h"

static int round_up(int value, int granule) { return (value + granule - 1) / granule * granule; }

static int smaller(int a, int b) { return a < b ? a : b; }

int emu_occupancy(const struct emu_function *function, int block, size_t dynamic_lds) {
    enum { VGPR_GRANULE = 8, SGPRS = 800, SGPR_GRANULE = 16 };
    const struct emu_kernel *const kernel = function->kernel;
    const int vgprs = round_up((int)(kernel->n_vgprs + kernel->n_agprs), VGPR_GRANULE);
    const int sgprs = round_up((int)kernel->sgpr_count, SGPR_GRANULE);
    int waves = EMU_WAVES_PER_SIMD;
    if (vgprs > 0) waves = smaller(waves, EMU_SIMD_VGPRS / vgprs);
    if (sgprs > 0) waves = smaller(waves, SGPRS / sgprs);
    int blocks = waves * EMU_SIMDS / (round_up(block, EMU_LANES) / EMU_LANES);
    const size_t lds = kernel->lds_bytes + dynamic_lds;
    if (lds > 0) blocks = smaller(blocks, (int)(EMU_LDS_BYTES / lds));
    return blocks;
}

static int limit_of(const struct emu_kernel *kernel) {
    return kernel->max_workgroup != 0 ? smaller((int)kernel->max_workgroup, EMU_MAX_BLOCK)
                                      : EMU_MAX_BLOCK;
}

static int find(const void *symbol, struct emu_function **function,
                const struct emu_kernel **kernel) {
    *function = emu_function_find(symbol);
    return *function == NULL ? hipErrorInvalidDeviceFunction
                             : emu_function_kernel(*function, kernel);
}

static int active_blocks(int *blocks, const void *symbol, int block, size_t dynamic_lds) {
    struct emu_function *function;
    const struct emu_kernel *kernel;
    if (blocks == NULL || block <= 0) return hipErrorInvalidValue;
    const int error = find(symbol, &function, &kernel);
    if (error != hipSuccess) return error;
    *blocks = block > limit_of(kernel) ? 0 : emu_occupancy(function, block, dynamic_lds);
    return hipSuccess;
}

/* The block that keeps most threads resident, the largest of several. */
static int best_block(int *grid, int *block, const void *symbol, size_t dynamic_lds, int limit) {
    struct emu_function *function;
    const struct emu_kernel *kernel;
    if (grid == NULL || block == NULL || limit < 0) return hipErrorInvalidValue;
    const int error = find(symbol, &function, &kernel);
    if (error != hipSuccess) return error;
    int most = 0, largest = limit_of(kernel);
    if (limit > 0) largest = smaller(largest, limit);
    *grid = *block = 0;
    for (int size = largest; size > 0; size = (size - 1) / EMU_LANES * EMU_LANES) {
        const int blocks = emu_occupancy(function, size, dynamic_lds);
        if (blocks * size <= most) continue;
        most = blocks * size;
        *block = size;
        *grid = blocks * EMU_COMPUTE_UNITS;
    }
    return hipSuccess;
}

#define ACTIVE int *blocks, const void *symbol, int block, size_t dynamic_lds
#define BEST int *grid, int *block, const void *symbol, size_t dynamic_lds, int limit

HIP(hipOccupancyMaxActiveBlocksPerMultiprocessor, ACTIVE) {
    RETURN(active_blocks(blocks, symbol, block, dynamic_lds));
}
HIP(hipOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, ACTIVE, unsigned flags) {
    RETURN(flags > 1 ? hipErrorInvalidValue : active_blocks(blocks, symbol, block, dynamic_lds));
}
HIP(hipModuleOccupancyMaxActiveBlocksPerMultiprocessor, ACTIVE) {
    RETURN(active_blocks(blocks, symbol, block, dynamic_lds));
}
HIP(hipModuleOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, ACTIVE, unsigned flags) {
    RETURN(flags > 1 ? hipErrorInvalidValue : active_blocks(blocks, symbol, block, dynamic_lds));
}
HIP(hipOccupancyMaxPotentialBlockSize, BEST) {
    RETURN(best_block(grid, block, symbol, dynamic_lds, limit));
}
HIP(hipModuleOccupancyMaxPotentialBlockSize, BEST) {
    RETURN(best_block(grid, block, symbol, dynamic_lds, limit));
}
HIP(hipModuleOccupancyMaxPotentialBlockSizeWithFlags, BEST, unsigned flags) {
    RETURN(flags > 1 ? hipErrorInvalidValue : best_block(grid, block, symbol, dynamic_lds, limit));
}

struct function_attributes {
    int binary_version, cache_mode;
    size_t constant_bytes, local_bytes;
    int max_dynamic_lds, max_threads, registers, carveout, ptx_version;
    size_t lds_bytes;
};

static int attributes(struct function_attributes *a, const void *symbol) {
    struct emu_function *function;
    const struct emu_kernel *kernel;
    if (a == NULL) return hipErrorInvalidValue;
    const int error = find(symbol, &function, &kernel);
    if (error != hipSuccess) return error;
    *a = (struct function_attributes){
        .binary_version = 94,
        .local_bytes = kernel->scratch_bytes,
        .max_dynamic_lds =
            smaller((int)function->max_dynamic_lds, EMU_LDS_BYTES - (int)kernel->lds_bytes),
        .max_threads = limit_of(kernel),
        .registers = (int)(kernel->n_vgprs + kernel->n_agprs),
        .ptx_version = 94,
        .lds_bytes = kernel->lds_bytes};
    return hipSuccess;
}

HIP(hipFuncGetAttributes, struct function_attributes *a, const void *symbol) {
    RETURN(attributes(a, symbol));
}

static int attribute(int *value, int number, const void *symbol) {
    struct function_attributes a;
    if (value == NULL) return hipErrorInvalidValue;
    const int error = attributes(&a, symbol);
    if (error != hipSuccess) return error;
    const int values[] = {
        a.max_threads, (int)a.lds_bytes, (int)a.constant_bytes, (int)a.local_bytes, a.registers,
        a.ptx_version, a.binary_version, a.cache_mode,          a.max_dynamic_lds,  a.carveout};
    if (number < 0 || number >= (int)(sizeof values / sizeof *values)) return hipErrorInvalidValue;
    *value = values[number];
    return hipSuccess;
}

HIP(hipFuncGetAttribute, int *value, int number, const void *function) {
    RETURN(attribute(value, number, function));
}

static int set_attribute(const void *symbol, int number, int value) {
    enum { MAX_DYNAMIC_LDS = 8, CARVEOUT = 9 };
    struct emu_function *function;
    const struct emu_kernel *kernel;
    const int error = find(symbol, &function, &kernel);
    if (error != hipSuccess) return error;
    if (number == CARVEOUT) return value >= -1 && value <= 100 ? hipSuccess : hipErrorInvalidValue;
    if (number != MAX_DYNAMIC_LDS || value < 0 || value > EMU_LDS_BYTES - (int)kernel->lds_bytes)
        return hipErrorInvalidValue;
    function->max_dynamic_lds = (uint32_t)value;
    return hipSuccess;
}

HIP(hipFuncSetAttribute, const void *symbol, int number, int value) {
    RETURN(set_attribute(symbol, number, value));
}
HIP(hipFuncSetCacheConfig, const void *symbol, int config) {
    (void)config;
    RETURN(emu_function_find(symbol) != NULL ? hipSuccess : hipErrorInvalidDeviceFunction);
}
HIP(hipFuncSetSharedMemConfig, const void *symbol, int config) {
    (void)config;
    RETURN(emu_function_find(symbol) != NULL ? hipSuccess : hipErrorInvalidDeviceFunction);
}
