/* SPDX-License-Identifier: Apache-2.0 */
/* idx_indexer_prefill_metadata: the requests' keys are added up, by one block, or with few requests by every block for itself;
 * then threads search for the requests of keys and tokens, four neighbours at a time. */
#include "idx_common.inl"

struct prefill_args {
    const int32_t *query_start, *seq_lens;
    int32_t *cu_rows, *token_to_seq, *ks, *ke;
    int64_t rows, room, offset;
    struct gpu_divisor ratio;
    int requests;
    bool wide; /* outputs lie on 16 bytes */
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

/* At most CALL_THREADS requests: all blocks add up, the first one writes. */
GPU_DEVICE void prefill_add_up(const struct prefill_args &a, int32_t *kept, int *sums) {
    const int r = (int)gpu_thread();
    const int n = r < a.requests ? (int)gpu_quotient(a.seq_lens[r], a.ratio) : 0;
    int total;
    const int before = idx_block_scan(n, &total, sums);
    if (r < a.requests) kept[r + 1] = before + n;
    if (r == 0) kept[0] = 0;
    if (gpu_block() == 0 && r < a.requests) a.cu_rows[r + 1] = before + n;
    if (gpu_block() == 0 && r == 0) a.cu_rows[0] = 0;
    gpu_barrier();
}

/* Requests of x .. x + 3; those from the end on get any. */
GPU_DEVICE struct idx_four prefill_find(const int32_t *starts, int n, int64_t x) {
    struct idx_four four;
    const int r = idx_find(starts, n, x);
    idx_set(four, r);
    if (x + 4 <= starts[r + 1]) return four;
    GPU_UNROLL
    for (int i = 1; i < 4; i++) four.x[i] = idx_find(starts, n, x + i);
    return four;
}

GPU_DEVICE void prefill_store(const struct prefill_args &a, int32_t *to, int64_t i, int64_t end,
                              const struct idx_four &four) {
    const int left = end - i < 4 ? (int)(end - i) : 4;
    if (a.wide)
        idx_store<true>(to + i, 0, left, four);
    else
        idx_store<false>(to + i, 0, left, four);
}

/* The keys of tokens i .. i + 3. */
GPU_DEVICE void prefill_tokens(const struct prefill_args &a, const int32_t *cu_rows, int64_t i) {
    const int64_t t = i + a.offset + a.query_start[0], end = a.query_start[a.requests];
    struct idx_four ks, ke;
    idx_set(ks, 0);
    idx_set(ke, 0);
    if (t < end) {
        const struct idx_four found = prefill_find(a.query_start, a.requests, t);
        GPU_UNROLL
        for (int j = 0; j < 4; j++) {
            if (t + j >= end) continue;
            const int r = found.x[j];
            const int64_t pos = (int64_t)a.seq_lens[r] - a.query_start[r + 1] + t + j;
            ks.x[j] = cu_rows[r];
            ke.x[j] = cu_rows[r] + (pos < 0 ? 0 : (int)gpu_quotient(pos + 1, a.ratio));
        }
    }
    prefill_store(a, a.ks, i, a.rows, ks);
    prefill_store(a, a.ke, i, a.rows, ke);
}

template <int EACH, bool ADDS>
__global__ void __launch_bounds__(CALL_THREADS) prefill_kernel(const struct prefill_args a) {
    __shared__ int32_t kept[IDX_KEPT];
    __shared__ int sums[CALL_TEAMS];
    const int32_t *cu_rows = kept;
    if (ADDS)
        prefill_add_up(a, kept, sums);
    else
        cu_rows = idx_keep(kept, a.cu_rows, a.requests + 1);
    const int64_t keys = cu_rows[a.requests], end = keys < a.room ? keys : a.room;
    int64_t i = 4 * (gpu_block() * CALL_THREADS * EACH + gpu_thread());
    GPU_UNROLL
    for (int e = 0; e < EACH; e++, i += 4 * CALL_THREADS) {
        if (i < a.rows) prefill_tokens(a, cu_rows, i);
        if (i < end) prefill_store(a, a.token_to_seq, i, end, prefill_find(cu_rows, a.requests, i));
    }
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
    a.wide = ((uintptr_t)a.token_to_seq | (uintptr_t)a.ks | (uintptr_t)a.ke) % 16 == 0;
    const int64_t most = a.rows > a.room ? a.rows : a.room;
    const bool adds = a.requests <= CALL_THREADS;
    const bool many = most >= 16 * CALL_THREADS * (int64_t)GPU_BUSY_BLOCKS;
    const int64_t blocks = call_ceil(most, (many ? 16 : 4) * CALL_THREADS);
    const int status = call_grid(&grid, blocks > 0 ? blocks : 1, why);
    if (status != DSV4_OK) return status;
    if (!adds) GPU_LAUNCH(prefill_rows_kernel, dim3(1), CALL_THREADS, stream, a);
    if (adds && many)
        GPU_LAUNCH((prefill_kernel<4, true>), grid, CALL_THREADS, stream, a);
    else if (adds)
        GPU_LAUNCH((prefill_kernel<1, true>), grid, CALL_THREADS, stream, a);
    else if (many)
        GPU_LAUNCH((prefill_kernel<4, false>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((prefill_kernel<1, false>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_indexer_prefill_metadata)
