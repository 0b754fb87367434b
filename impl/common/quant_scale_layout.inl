/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_scale_layout: a tile of 32 rows and 32 words of four groups per block of threads. Lanes read along a row and,
 * through shared memory, write along an MN-major array.
 */
#include "call.h"
#include "num.inl"

enum { QUANT_SF_TILE = 32, QUANT_SF_ROWS = QUANT_SF_TILE / CALL_TEAMS };

struct quant_sf_args {
    const char *scales;
    char *out;
    int64_t expert, row, out_expert, n, padded;
    struct gpu_divisor across, down; /* tiles of words, tiles of rows */
    int groups, words, shift;        /* 2^shift rows share a scale */
};

/* Four scale bytes of a row; those behind the last are zero. */
template <bool BYTES, bool WIDE>
GPU_DEVICE uint32_t quant_sf_word(const char *row, int word, int groups) {
    if (WIDE && BYTES && 4 * word + 4 <= groups) return ((const uint32_t *)row)[word];
    if (WIDE && !BYTES && 4 * word + 4 <= groups) {
        const gpu_u4 v = ((const gpu_u4 *)row)[word];
        return (v.x >> 23 & 0xFFu) | (v.y >> 23 & 0xFFu) << 8 | (v.z >> 23 & 0xFFu) << 16 |
               (v.w >> 23 & 0xFFu) << 24;
    }
    uint32_t bytes = 0;
    GPU_UNROLL for (int b = 0; b < 4; b++) {
        const int j = 4 * word + b;
        if (j >= groups) continue;
        const uint32_t byte =
            BYTES ? ((const uint8_t *)row)[j] : ((const uint32_t *)row)[j] >> 23 & 0xFFu;
        bytes |= byte << 8 * b;
    }
    return bytes;
}

template <bool BYTES, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) quant_sf_kernel(const struct quant_sf_args a) {
    __shared__ uint32_t tile[QUANT_SF_TILE][QUANT_SF_TILE + 1];
    const int64_t rest = gpu_quotient(gpu_block(), a.across), e = gpu_quotient(rest, a.down);
    const int first_word = (int)(gpu_block() - rest * a.across.value) * QUANT_SF_TILE;
    const int64_t first = (rest - e * a.down.value) * QUANT_SF_TILE;
    const char *const scales = a.scales + e * a.expert;
    GPU_UNROLL for (int i = 0; i < QUANT_SF_ROWS; i++) {
        const int r = gpu_team() + i * CALL_TEAMS, word = first_word + gpu_lane();
        const int64_t n = first + r;
        uint32_t bytes = 0;
        if (n < a.n && word < a.words)
            bytes = quant_sf_word<BYTES, WIDE>(scales + (n >> a.shift) * a.row, word, a.groups);
        tile[r][gpu_lane()] = bytes;
    }
    gpu_barrier();
    uint32_t *const out = (uint32_t *)(a.out + e * a.out_expert);
    GPU_UNROLL for (int i = 0; i < QUANT_SF_ROWS; i++) {
        const int w = gpu_team() + i * CALL_TEAMS;
        const int64_t n = first + gpu_lane();
        if (n < a.padded && first_word + w < a.words)
            out[(first_word + w) * a.padded + n] = tile[gpu_lane()][w];
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    const int64_t per_rows = dsv4_int(call, "per_rows", 1);
    if (!call_has(dsv4_find(call, "scales"), DSV4_E8M0, 3))
        CALL_NEED(call, "scales", DSV4_F32, 3, why);
    CALL_NEED(call, "out", DSV4_I32, 3, why);
    if (per_rows != 1 && per_rows != 128)
        return call_unsupported(why, "per_rows: %lld; 1 or 128", (long long)per_rows);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const scales = dsv4_find(call, "scales"), *const out =
                                                                     dsv4_find(call, "out");
    const gpu_stream stream = (gpu_stream)call->stream;
    const bool bytes = scales->dtype == DSV4_E8M0;
    struct quant_sf_args a = {};
    dim3 grid;
    a.scales = (const char *)scales->data;
    a.expert = scales->stride[0];
    a.row = scales->stride[1];
    a.out = (char *)out->data;
    a.out_expert = out->stride[0];
    a.n = dsv4_int(call, "n", 0);
    a.padded = out->shape[2];
    a.groups = (int)scales->shape[2];
    a.words = (int)out->shape[1];
    a.shift = dsv4_int(call, "per_rows", 1) == 128 ? 7 : 0;
    a.across = call_divisor(call_ceil(a.words, QUANT_SF_TILE));
    a.down = call_divisor(call_ceil(a.padded, QUANT_SF_TILE));
    if (a.padded == 0) return DSV4_OK;
    const int64_t blocks = out->shape[0] * a.across.value * a.down.value;
    const int status = call_grid(&grid, blocks, why);
    if (status != DSV4_OK) return status;
    const bool wide = call_aligned(scales, bytes ? 4 : 16);
    if (bytes && wide)
        GPU_LAUNCH((quant_sf_kernel<true, true>), grid, CALL_THREADS, stream, a);
    else if (bytes)
        GPU_LAUNCH((quant_sf_kernel<true, false>), grid, CALL_THREADS, stream, a);
    else if (wide)
        GPU_LAUNCH((quant_sf_kernel<false, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((quant_sf_kernel<false, false>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(quant_scale_layout)
