/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_scale_layout: a tile of 128 rows and 32 words of four groups per block of threads. Lanes read along a row, words of
 * four rows each or, of bytes, four words of a row at once, and through shared memory write four rows' words at once along
 * an MN-major array.
 */
#include "call.h"
#include "num.inl"

enum {
    QUANT_SF_ROWS = 128, /* as many as may share a scale */
    QUANT_SF_QUADS = QUANT_SF_ROWS / 4,
    QUANT_SF_WORDS = TEAM,
    QUANT_SF_EACH = QUANT_SF_QUADS / CALL_TEAMS, /* quads of a lane, and words */
    QUANT_SF_VECTORS = QUANT_SF_ROWS * QUANT_SF_WORDS / 4 / CALL_THREADS /* four words of a lane */
};

/* How scales are loaded: one by one, a word's four at once, or 16 bytes. */
enum { QUANT_SF_SINGLE, QUANT_SF_WORD, QUANT_SF_VECTOR };

struct quant_sf_args {
    const char *scales;
    char *out;
    int64_t expert, row, out_expert, n, padded;
    int64_t step;                    /* from a row of a tile to the next; 0 if they share a scale */
    struct gpu_divisor across, down; /* tiles of words, tiles of rows */
    int groups, words, shift;        /* 2^shift rows share a scale */
    bool quads;                      /* 16 bytes of `out` may be stored at once */
};

GPU_DEVICE int quant_sf_least(int64_t n, int most) { return n < most ? (int)n : most; }

/* Four scale bytes of a row; those behind the last are zero. WHOLE: there are four, aligned. */
template <bool BYTES, bool WHOLE>
GPU_DEVICE uint32_t quant_sf_word(const char *row, int word, int groups) {
    if (WHOLE && BYTES) return ((const uint32_t *)row)[word];
    if (WHOLE) {
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

/* This lane's quads of a word, those of rows from `rows` on zero; WHOLE: all rows are there too, so that no branch parts the
 * loads. */
template <bool BYTES, bool WHOLE>
GPU_DEVICE void quant_sf_fill(gpu_u4 *quads, const struct quant_sf_args &a, const char *scales,
                              int word, int rows) {
    GPU_UNROLL for (int i = 0; i < QUANT_SF_EACH; i++) {
        const int quad = gpu_team() + i * CALL_TEAMS;
        uint32_t x[4];
        GPU_UNROLL for (int j = 0; j < 4; j++) {
            const int r = 4 * quad + j;
            x[j] = 0;
            if (WHOLE || r < rows)
                x[j] = quant_sf_word<BYTES, WHOLE>(scales + r * a.step, word, a.groups);
        }
        quads[quad].x = x[0];
        quads[quad].y = x[1];
        quads[quad].z = x[2];
        quads[quad].w = x[3];
    }
}

/* A tile whose rows are all there and have `vectors` pieces of 16 bytes each. */
GPU_DEVICE void quant_sf_fill_vectors(gpu_u4 (*tile)[QUANT_SF_QUADS + 1], const char *scales,
                                      int64_t step, int vectors) {
    gpu_u4 x[QUANT_SF_VECTORS];
    GPU_UNROLL for (int i = 0; i < QUANT_SF_VECTORS; i++) {
        const uint32_t at = gpu_thread() + i * CALL_THREADS, r = at / (uint32_t)vectors;
        if (r < QUANT_SF_ROWS) x[i] = ((const gpu_u4 *)(scales + r * step))[at - r * vectors];
    }
    GPU_UNROLL for (int i = 0; i < QUANT_SF_VECTORS; i++) {
        const uint32_t at = gpu_thread() + i * CALL_THREADS, r = at / (uint32_t)vectors;
        const uint32_t word = 4 * (at - r * vectors);
        if (r >= QUANT_SF_ROWS) continue;
        ((uint32_t *)tile[word])[r] = x[i].x;
        ((uint32_t *)tile[word + 1])[r] = x[i].y;
        ((uint32_t *)tile[word + 2])[r] = x[i].z;
        ((uint32_t *)tile[word + 3])[r] = x[i].w;
    }
}

/* The first `end` words of `rows` rows, at `out` the tile's first. */
GPU_DEVICE void quant_sf_store(uint32_t *out, const struct quant_sf_args &a,
                               const gpu_u4 (*tile)[QUANT_SF_QUADS + 1], int end, int rows) {
    if (a.quads) {
        char *const to = (char *)(out + gpu_team() * a.padded + 4 * gpu_lane());
        GPU_UNROLL for (int i = 0; i < QUANT_SF_EACH; i++) {
            const int w = gpu_team() + i * CALL_TEAMS;
            if (w < end && 4 * gpu_lane() < rows)
                *(gpu_u4 *)(to + i * CALL_TEAMS * a.padded * 4) = tile[w][gpu_lane()];
        }
        return;
    }
    for (int w = gpu_team(); w < end; w += CALL_TEAMS)
        for (int r = gpu_lane(); r < rows; r += TEAM)
            out[w * a.padded + r] = ((const uint32_t *)tile[w])[r];
}

template <bool BYTES, int LOAD>
__global__ void __launch_bounds__(CALL_THREADS) quant_sf_kernel(const struct quant_sf_args a) {
    /* A word's rows are 33 quads apart, so that lanes which store the same quad of other words meet other banks. */
    __shared__ gpu_u4 tile[QUANT_SF_WORDS][QUANT_SF_QUADS + 1];
    const int64_t rest = gpu_quotient(gpu_block(), a.across), e = gpu_quotient(rest, a.down);
    const int first_word = (int)(gpu_block() - rest * a.across.value) * QUANT_SF_WORDS;
    const int64_t first = (rest - e * a.down.value) * QUANT_SF_ROWS;
    const int rows = quant_sf_least(a.n - first, QUANT_SF_ROWS);
    const char *const scales = a.scales + e * a.expert + (first >> a.shift) * a.row;
    const int word = first_word + gpu_lane();
    if (LOAD == QUANT_SF_VECTOR && rows == QUANT_SF_ROWS)
        quant_sf_fill_vectors(tile, scales + 4 * first_word, a.step,
                              quant_sf_least(a.words - first_word, QUANT_SF_WORDS) / 4);
    else if (LOAD != QUANT_SF_SINGLE && rows == QUANT_SF_ROWS && 4 * word + 4 <= a.groups)
        quant_sf_fill<BYTES, true>(tile[gpu_lane()], a, scales, word, rows);
    else if (word < a.words)
        quant_sf_fill<BYTES, false>(tile[gpu_lane()], a, scales, word, rows);
    gpu_barrier();
    quant_sf_store((uint32_t *)(a.out + e * a.out_expert) + first_word * a.padded + first, a, tile,
                   quant_sf_least(a.words - first_word, QUANT_SF_WORDS),
                   quant_sf_least(a.padded - first, QUANT_SF_ROWS));
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
    a.step = a.shift == 0 ? a.row : 0;
    a.quads = a.padded % 4 == 0 && call_aligned(out, 16);
    a.across = call_divisor(call_ceil(a.words, QUANT_SF_WORDS));
    a.down = call_divisor(call_ceil(a.padded, QUANT_SF_ROWS));
    if (a.padded == 0) return DSV4_OK;
    const int64_t blocks = out->shape[0] * a.across.value * a.down.value;
    const int status = call_grid(&grid, blocks, why);
    if (status != DSV4_OK) return status;
    const bool word = call_aligned(scales, bytes ? 4 : 16);
    if (bytes && call_aligned(scales, 16) && a.groups % 16 == 0 && a.words == a.groups / 4)
        GPU_LAUNCH((quant_sf_kernel<true, QUANT_SF_VECTOR>), grid, CALL_THREADS, stream, a);
    else if (bytes && word)
        GPU_LAUNCH((quant_sf_kernel<true, QUANT_SF_WORD>), grid, CALL_THREADS, stream, a);
    else if (bytes)
        GPU_LAUNCH((quant_sf_kernel<true, QUANT_SF_SINGLE>), grid, CALL_THREADS, stream, a);
    else if (word)
        GPU_LAUNCH((quant_sf_kernel<false, QUANT_SF_WORD>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((quant_sf_kernel<false, QUANT_SF_SINGLE>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(quant_scale_layout)
