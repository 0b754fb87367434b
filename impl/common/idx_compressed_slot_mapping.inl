/* SPDX-License-Identifier: Apache-2.0 */
/* idx_compressed_slot_mapping: a thread writes pairs of entries, after a binary search for their request, in shared memory
 * where the requests' starts fit. It searches again only where it has left the request. */
#include "idx_common.inl"

struct mapping_args {
    const int32_t *query_start, *seq_lens;
    int64_t *slots;
    struct idx_pages pages;
    int64_t n;
    struct gpu_divisor ratio;
    int requests;
    bool wide; /* slots lie on 16 bytes */
};

/* The request that has entries first .. end - 1, and what turns an entry's number into its position. */
struct mapping_request {
    int64_t first, end, shift;
    const int32_t *table;
};

GPU_DEVICE void mapping_find(struct mapping_request &request, const struct mapping_args &a,
                             const int32_t *starts, int64_t t) {
    if (t >= request.first && t < request.end) return;
    const int r = idx_find(starts, a.requests, t);
    request.first = starts[r];
    request.end = starts[r + 1];
    request.shift = a.seq_lens[r] - request.end;
    request.table = idx_pages_row(a.pages, r);
}

GPU_DEVICE int64_t mapping_slot(struct mapping_request &request, const struct mapping_args &a,
                                const int32_t *starts, int64_t t) {
    if (t < starts[0] || t >= starts[a.requests]) return -1;
    mapping_find(request, a, starts, t);
    const int64_t pos = request.shift + t, row = gpu_quotient(pos, a.ratio);
    if (pos < 0 || pos + 1 != (row + 1) * a.ratio.value) return -1;
    return idx_slot(a.pages, request.table, row);
}

template <int SIDE>
GPU_DEVICE void mapping_store(const struct mapping_args &a, int64_t t, const int64_t *slot) {
    if (SIDE == 2 && a.wide && t + 2 <= a.n) {
        gpu_u4 words;
        words.x = (uint32_t)slot[0];
        words.y = (uint32_t)((uint64_t)slot[0] >> 32);
        words.z = (uint32_t)slot[SIDE - 1];
        words.w = (uint32_t)((uint64_t)slot[SIDE - 1] >> 32);
        *(gpu_u4 *)(a.slots + t) = words;
        return;
    }
    GPU_UNROLL
    for (int i = 0; i < SIDE; i++)
        if (t + i < a.n) a.slots[t + i] = slot[i];
}

/* SIDE: neighbouring entries of a lane, 2 or 1. */
template <int EACH, int SIDE>
__global__ void __launch_bounds__(CALL_THREADS) mapping_kernel(const struct mapping_args a) {
    __shared__ int32_t kept[IDX_KEPT];
    const int32_t *const starts = idx_keep(kept, a.query_start, a.requests + 1);
    const int64_t first = SIDE * (gpu_block() * CALL_THREADS * EACH + gpu_thread());
    struct mapping_request request;
    int64_t slots[EACH][SIDE];
    request.first = request.end = request.shift = 0;
    request.table = NULL;
    GPU_UNROLL
    for (int i = 0; i < EACH; i++) {
        GPU_UNROLL
        for (int j = 0; j < SIDE; j++)
            slots[i][j] = mapping_slot(request, a, starts, first + SIDE * CALL_THREADS * i + j);
    }
    GPU_UNROLL
    for (int i = 0; i < EACH; i++)
        mapping_store<SIDE>(a, first + SIDE * CALL_THREADS * i, slots[i]);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "query_start_loc", DSV4_I32, 1, why);
    CALL_NEED(call, "seq_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED(call, "slots", DSV4_I64, 1, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const slots = dsv4_find(call, "slots");
    struct mapping_args a;
    dim3 grid;
    a.query_start = idx_i32(call, "query_start_loc");
    a.seq_lens = idx_i32(call, "seq_lens");
    a.slots = (int64_t *)slots->data;
    a.pages = idx_pages_of(dsv4_find(call, "block_table"), dsv4_int(call, "block_size", 64));
    a.n = slots->shape[0];
    a.ratio = call_divisor(dsv4_int(call, "ratio", 4));
    a.requests = (int)dsv4_find(call, "seq_lens")->shape[0];
    if (a.n == 0) return DSV4_OK;
    a.wide = (uintptr_t)slots->data % 16 == 0;
    const bool many = a.n >= 16 * CALL_THREADS * (int64_t)GPU_BUSY_BLOCKS;
    const int status = call_grid(&grid, call_ceil(a.n, (many ? 8 : 1) * CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    if (many)
        GPU_LAUNCH((mapping_kernel<4, 2>), grid, CALL_THREADS, (gpu_stream)call->stream, a);
    else
        GPU_LAUNCH((mapping_kernel<1, 1>), grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_compressed_slot_mapping)
