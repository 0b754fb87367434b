/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_k_gather: eight lanes per row, 16 bytes each; a team has STEPS times four rows under way at once, fewer where there are
 * few rows. Without the alignment for that, lanes move words.
 */
#include "../../reference/layout/indexer_page.h"
#include "call.h"

enum { GATHER_ROWS = TEAM / INDEXER_CHUNKS };

struct k_gather_args {
    const char *cache, *table;
    const int32_t *starts, *requests;
    char *k;
    float *scale;
    int64_t page_stride, table_row, k_row, rows, n_requests, n_blocks;
    struct gpu_divisor block;
    int shuffled;
};

/* Where row i lies: its page, NULL when that is none, and its token there. */
struct k_gather_place {
    const char *page;
    int64_t token;
};

GPU_DEVICE struct k_gather_place k_gather_find(const struct k_gather_args &a, int64_t i,
                                               int64_t request) {
    const int64_t j = i - a.starts[request];
    const int64_t entry = gpu_quotient(j, a.block);
    const int64_t block = ((const int32_t *)(a.table + request * a.table_row))[entry];
    struct k_gather_place place;
    place.page = block >= 0 && block < a.n_blocks ? a.cache + block * a.page_stride : NULL;
    place.token = j - entry * a.block.value;
    return place;
}

template <bool WIDE> GPU_DEVICE gpu_u4 gather_load(const char *at) {
    if (WIDE) return *(const gpu_u4 *)at;
    gpu_u4 v;
    v.x = ((const uint32_t *)at)[0];
    v.y = ((const uint32_t *)at)[1];
    v.z = ((const uint32_t *)at)[2];
    v.w = ((const uint32_t *)at)[3];
    return v;
}

template <bool WIDE> GPU_DEVICE void gather_store(char *at, gpu_u4 v) {
    if (WIDE) {
        *(gpu_u4 *)at = v;
        return;
    }
    ((uint32_t *)at)[0] = v.x;
    ((uint32_t *)at)[1] = v.y;
    ((uint32_t *)at)[2] = v.z;
    ((uint32_t *)at)[3] = v.w;
}

template <bool WIDE, int STEPS>
__global__ void __launch_bounds__(CALL_THREADS) k_gather_kernel(const struct k_gather_args a) {
    const int64_t first = (gpu_block() * CALL_TEAMS + gpu_team()) * (STEPS * GATHER_ROWS);
    const int chunk = gpu_lane() % INDEXER_CHUNKS, row = gpu_lane() / INDEXER_CHUNKS;
    struct k_gather_place place[STEPS];
    int32_t request[STEPS];
    gpu_u4 codes[STEPS];
    float scale[STEPS];
    /* What is read for rows beyond the end is not used, but need not wait for it. */
    GPU_UNROLL for (int i = 0; i < STEPS; i++) {
        const int64_t at = first + GATHER_ROWS * i + row;
        request[i] = a.requests[at < a.rows ? at : a.rows - 1];
    }
    const int64_t last = a.starts[a.n_requests], end = last < a.rows ? last : a.rows;
    if (first >= end) return;
    GPU_UNROLL for (int i = 0; i < STEPS; i++) {
        const int64_t at = first + GATHER_ROWS * i + row;
        place[i].page = NULL;
        if (at < end) place[i] = k_gather_find(a, at, request[i]);
    }
    GPU_UNROLL for (int i = 0; i < STEPS; i++) {
        scale[i] = 0.0f;
        codes[i] = gpu_u4();
        if (place[i].page == NULL) continue;
        const int64_t offset = indexer_chunk_offset(a.shuffled, place[i].token, chunk);
        codes[i] = gather_load<WIDE>(place[i].page + offset);
        if (chunk == 0)
            scale[i] = *(const float *)(place[i].page +
                                        indexer_scale_offset(a.block.value, place[i].token));
    }
    GPU_UNROLL for (int i = 0; i < STEPS; i++) {
        const int64_t at = first + GATHER_ROWS * i + row;
        if (at >= end) continue;
        if (place[i].page != NULL)
            gather_store<WIDE>(a.k + at * a.k_row + INDEXER_TILE * chunk, codes[i]);
        if (chunk == 0) a.scale[at] = scale[i];
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "cache", DSV4_U8, 2, why);
    CALL_NEED_ALIGNED(call, "cache", 4, why);
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED_ALIGNED(call, "block_table", 4, why);
    CALL_NEED(call, "cu_seq_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "token_to_seq", DSV4_I32, 1, why);
    CALL_NEED(call, "k", DSV4_U8, 2, why);
    CALL_NEED_ALIGNED(call, "k", 4, why);
    CALL_NEED(call, "scale", DSV4_F32, 1, why);
    if (dsv4_find(call, "k")->shape[1] != INDEXER_HEAD)
        return call_unsupported(why, "k: rows of %lld; these kernels take 128",
                                (long long)dsv4_find(call, "k")->shape[1]);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const cache = dsv4_find(call, "cache"), *const k = dsv4_find(call, "k");
    const dsv4_tensor *const table = dsv4_find(call, "block_table");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct k_gather_args a;
    dim3 grid;
    a.cache = (const char *)cache->data;
    a.page_stride = cache->stride[0];
    a.n_blocks = cache->shape[0];
    a.table = (const char *)table->data;
    a.table_row = table->stride[0];
    a.n_requests = table->shape[0];
    a.starts = (const int32_t *)dsv4_find(call, "cu_seq_lens")->data;
    a.requests = (const int32_t *)dsv4_find(call, "token_to_seq")->data;
    a.k = (char *)k->data;
    a.k_row = k->stride[0];
    a.rows = k->shape[0];
    a.scale = (float *)dsv4_find(call, "scale")->data;
    a.block = call_divisor(dsv4_int(call, "block_size", 64));
    a.shuffled = dsv4_is(call, "layout", "shuffled");
    if (a.shuffled && a.block.value % INDEXER_TILE != 0) return DSV4_REFUSED;
    if (a.rows == 0) return DSV4_OK;
    const bool wide = call_aligned(cache, 16) && call_aligned(k, 16);
    const bool few = a.rows < 4 * CALL_TEAMS * GATHER_ROWS * (int64_t)GPU_BUSY_BLOCKS;
    const int status =
        call_grid(&grid, call_ceil(a.rows, CALL_TEAMS * GATHER_ROWS * (few ? 1 : 4)), why);
    if (status != DSV4_OK) return status;
    if (wide && few)
        GPU_LAUNCH((k_gather_kernel<true, 1>), grid, CALL_THREADS, stream, a);
    else if (wide)
        GPU_LAUNCH((k_gather_kernel<true, 4>), grid, CALL_THREADS, stream, a);
    else if (few)
        GPU_LAUNCH((k_gather_kernel<false, 1>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((k_gather_kernel<false, 4>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_k_gather)
