/* SPDX-License-Identifier: Apache-2.0 */
/* idx_indexer_prefill_metadata: one block adds the requests' keys up; then a thread per key and per token searches for
 * its request. */
#include "idx_common.inl"

struct prefill_args {
    const int32_t *query_start, *seq_lens;
    int32_t *cu_rows, *token_to_seq, *ks, *ke;
    int64_t rows, room, offset;
    struct gpu_divisor ratio;
    int requests;
};

__global__ void __launch_bounds__(CALL_THREADS) prefill_rows_kernel(const struct prefill_args a) {
    __shared__ int sums[CALL_TEAMS];
    int base = 0;
    if (gpu_thread() == 0) a.cu_rows[0] = 0;
    for (int first = 0; first < a.requests; first += CALL_THREADS) {
        const int r = first + (int)gpu_thread();
        const int n = r < a.requests ? (int)gpu_quotient(a.seq_lens[r], a.ratio) : 0;
        int total;
        const int before = idx_block_scan(n, &total, sums);
        if (r < a.requests) a.cu_rows[r + 1] = base + before + n;
        base += total;
    }
}

/* The last r with starts[r] <= x; starts[n] > x. */
GPU_DEVICE int prefill_find(const int32_t *starts, int n, int64_t x) {
    int low = 0, high = n;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        const bool before = starts[middle] <= x;
        low = before ? middle : low;
        high = before ? high : middle;
    }
    return low;
}

GPU_DEVICE void prefill_token(const struct prefill_args &a, int64_t i) {
    const int64_t t = i + a.offset + a.query_start[0];
    a.ks[i] = a.ke[i] = 0;
    if (t >= a.query_start[a.requests]) return;
    const int r = prefill_find(a.query_start, a.requests, t);
    const int first = a.query_start[r], end = a.query_start[r + 1], start = a.cu_rows[r];
    const int64_t pos = (int64_t)a.seq_lens[r] - (end - first) + t - first;
    a.ks[i] = start;
    a.ke[i] = start + (int)gpu_quotient(pos + 1, a.ratio);
}

__global__ void __launch_bounds__(CALL_THREADS) prefill_kernel(const struct prefill_args a) {
    const int64_t i = gpu_block() * CALL_THREADS + gpu_thread();
    if (i < a.rows) prefill_token(a, i);
    if (i < a.room && i < a.cu_rows[a.requests])
        a.token_to_seq[i] = prefill_find(a.cu_rows, a.requests, i);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "query_start_loc", DSV4_I32, 1, why);
    CALL_NEED(call, "seq_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "cu_rows", DSV4_I32, 1, why);
    CALL_NEED(call, "token_to_seq", DSV4_I32, 1, why);
    CALL_NEED(call, "ks", DSV4_I32, 1, why);
    CALL_NEED(call, "ke", DSV4_I32, 1, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    struct prefill_args a;
    dim3 grid;
    a.query_start = idx_i32(call, "query_start_loc");
    a.seq_lens = idx_i32(call, "seq_lens");
    a.cu_rows = (int32_t *)dsv4_find(call, "cu_rows")->data;
    a.token_to_seq = (int32_t *)dsv4_find(call, "token_to_seq")->data;
    a.ks = (int32_t *)dsv4_find(call, "ks")->data;
    a.ke = (int32_t *)dsv4_find(call, "ke")->data;
    a.rows = dsv4_find(call, "ks")->shape[0];
    a.room = dsv4_find(call, "token_to_seq")->shape[0];
    a.offset = dsv4_int(call, "token_offset", 0);
    a.ratio = call_divisor(dsv4_int(call, "ratio", 4));
    a.requests = (int)dsv4_find(call, "seq_lens")->shape[0];
    if (dsv4_find(call, "ke")->shape[0] != a.rows)
        return idx_refused(why, "ks and ke have different lengths");
    const int64_t most = a.rows > a.room ? a.rows : a.room;
    const int status = call_grid(&grid, call_ceil(most, CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(prefill_rows_kernel, dim3(1), CALL_THREADS, stream, a);
    if (most > 0) GPU_LAUNCH(prefill_kernel, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_indexer_prefill_metadata)
