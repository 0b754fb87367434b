/* SPDX-License-Identifier: Apache-2.0 */
/* idx_compressed_slot_mapping: a thread writes entries of the buffer, after a binary search for their requests, in shared
 * memory where their starts fit. */
#include "idx_common.inl"

enum { MAPPING_KEPT = 2048 };

struct mapping_args {
    const int32_t *query_start, *seq_lens;
    int64_t *slots;
    struct idx_pages pages;
    int64_t n;
    struct gpu_divisor ratio;
    int requests;
};

GPU_DEVICE int64_t mapping_slot(const struct mapping_args &a, const int32_t *starts, int64_t t) {
    if (t < starts[0] || t >= starts[a.requests]) return -1;
    int low = 0, high = a.requests;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        const bool before = starts[middle] <= t;
        low = before ? middle : low;
        high = before ? high : middle;
    }
    const int first = starts[low], end = starts[low + 1];
    const int64_t pos = (int64_t)a.seq_lens[low] - (end - first) + t - first;
    const int64_t row = gpu_quotient(pos, a.ratio);
    if (pos + 1 != (row + 1) * a.ratio.value) return -1;
    return idx_slot(a.pages, idx_pages_row(a.pages, low), row);
}

/* Entries of a team lie side by side, and so do those of one lane's turns. */
template <int EACH>
__global__ void __launch_bounds__(CALL_THREADS) mapping_kernel(const struct mapping_args a) {
    __shared__ int32_t kept[MAPPING_KEPT];
    int64_t t = gpu_block() * CALL_THREADS * EACH + gpu_thread();
    int64_t slot[EACH];
    const int32_t *starts = a.query_start;
    if (a.requests < MAPPING_KEPT) {
        for (int i = (int)gpu_thread(); i <= a.requests; i += CALL_THREADS)
            kept[i] = a.query_start[i];
        starts = kept;
    }
    gpu_barrier();
    GPU_UNROLL
    for (int i = 0; i < EACH; i++)
        slot[i] = t + i * CALL_THREADS < a.n ? mapping_slot(a, starts, t + i * CALL_THREADS) : -1;
    GPU_UNROLL
    for (int i = 0; i < EACH; i++, t += CALL_THREADS)
        if (t < a.n) a.slots[t] = slot[i];
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
    const bool many = a.n >= 16 * CALL_THREADS * (int64_t)GPU_BUSY_BLOCKS;
    const int status = call_grid(&grid, call_ceil(a.n, (many ? 8 : 1) * CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    if (many)
        GPU_LAUNCH(mapping_kernel<8>, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    else
        GPU_LAUNCH(mapping_kernel<1>, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_compressed_slot_mapping)
