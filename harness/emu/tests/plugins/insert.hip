/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plug-in as a third party writes one, in ordinary HIP: a wave per token, shuffles for the maximum. DSV4_PLANTED says
 * what it does wrong: "beyond" writes behind the cache, "stale" uses LDS that nobody wrote, "trap" stops, "scale"
 * doubles the last scale, "hang" never ends.
 */
#include <cstdlib>
#include <cstring>
#include <hip/hip_runtime.h>

#include "../../../include/dsv4_plugin.h"

/* The planted plug-ins' number formats are for kernels too. */
#define memcpy __builtin_memcpy
#pragma clang force_cuda_host_device begin
#include "../../../tests/planted/insert.h"
#pragma clang force_cuda_host_device end

enum wrong { RIGHT, BEYOND, STALE, TRAP, SCALE, HANG };

template <int LANES>
__global__ __launch_bounds__(LANES) void insert(uint8_t *cache, size_t cache_bytes,
                                                size_t page_bytes, int block_size,
                                                const uint16_t *k, size_t row_stride,
                                                const int64_t *slots, wrong how) {
    __shared__ float maxima[GROUPS + 1];
    const int64_t slot = slots[blockIdx.x];
    if (slot < 0) return;
    const uint16_t *const row = k + blockIdx.x * row_stride;
    uint8_t *const page = cache + slot / block_size * page_bytes;
    uint8_t *const data = page + slot % block_size * DATA;
    uint8_t *const scales = page + (size_t)block_size * DATA + slot % block_size * SCALES;
    const int lane = (int)threadIdx.x;
    for (int group = 0; group < GROUPS; group++) {
        const float x = planted_bf16(row[group * GROUP + lane]);
        float amax = x < 0 ? -x : x;
        for (int mask = LANES / 2; mask > 0; mask /= 2) {
            const float other = __shfl_xor(amax, mask);
            amax = other > amax ? other : amax;
        }
        if (lane == 0) maxima[group] = amax;
        const int byte = planted_scale(amax);
        data[group * GROUP + lane] = planted_code(x * planted_power(127 - byte));
    }
    __syncthreads();
    if (lane < GROUPS)
        scales[lane] = (uint8_t)(planted_scale(maxima[lane]) + (how == SCALE && lane == 6));
    if (lane == GROUPS) scales[lane] = how == STALE ? (uint8_t)maxima[lane] : 0;
    ((uint16_t *)(data + QUANTISED))[lane] = row[QUANTISED + lane];
    if (how == BEYOND && lane == 0) cache[cache_bytes] = 1;
    if (how == TRAP) __builtin_trap();
    while (how == HANG && *(volatile const int64_t *)slots >= 0) {
    }
}

static wrong planted() {
    static const char *const names[] = {"", "beyond", "stale", "trap", "scale", "hang"};
    const char *const wanted = std::getenv("DSV4_PLANTED");
    for (int i = 0; i < 6 && wanted != nullptr; i++)
        if (std::strcmp(wanted, names[i]) == 0) return (wrong)i;
    return RIGHT;
}

static int run(const dsv4_call *call, char *why, size_t why_size) {
    const dsv4_tensor *const cache = dsv4_find(call, "cache"), *const k = dsv4_find(call, "k");
    const dsv4_tensor *const slots = dsv4_find(call, "slot_mapping");
    const int block_size = (int)dsv4_int(call, "block_size", 64);
    if (slots->shape[0] == 0) return DSV4_OK;
    const size_t cache_bytes = (size_t)((cache->shape[0] - 1) * cache->stride[0] + cache->shape[1]);
    insert<64><<<dim3((uint32_t)slots->shape[0]), dim3(64), 0, (hipStream_t)call->stream>>>(
        (uint8_t *)cache->data, cache_bytes, (size_t)cache->stride[0], block_size,
        (const uint16_t *)k->data, (size_t)k->stride[0] / 2, (const int64_t *)slots->data,
        planted());
    const hipError_t error = hipGetLastError();
    if (error == hipSuccess) return DSV4_OK;
    snprintf(why, why_size, "%s", hipGetErrorString(error));
    return DSV4_ERROR;
}

extern "C" __attribute__((visibility("default"))) const dsv4_plugin *dsv4_plugin_v1(void) {
    static const dsv4_plugin plugin = {sizeof plugin, DSV4_ABI_VERSION, "third-party", "1",
                                       "hip",         planted_supports, run,           nullptr};
    return &plugin;
}
