/* SPDX-License-Identifier: Apache-2.0 */
/* idx_prefill_gather_lens: a thread per request. */
#include "idx_common.inl"

struct gather_lens_args {
    const int32_t *query_start, *seq_lens;
    int32_t *gather_lens;
    int64_t n;
    int window;
};

__global__ void __launch_bounds__(CALL_THREADS)
    gather_lens_kernel(const struct gather_lens_args a) {
    const int64_t i = gpu_block() * CALL_THREADS + gpu_thread();
    if (i >= a.n) return;
    const int query = a.query_start[i + 1] - a.query_start[i], context = a.seq_lens[i] - query;
    a.gather_lens[i] = query + (context < a.window - 1 ? context : a.window - 1);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "query_start_loc", DSV4_I32, 1, why);
    CALL_NEED(call, "seq_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "gather_lens", DSV4_I32, 1, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const gather_lens = dsv4_find(call, "gather_lens");
    const int64_t first = dsv4_int(call, "first_request", 0);
    struct gather_lens_args a;
    dim3 grid;
    a.n = gather_lens->shape[0];
    if (first + a.n > dsv4_find(call, "seq_lens")->shape[0])
        return idx_refused(why, "gather_lens has more entries than there are requests");
    if (a.n == 0) return DSV4_OK;
    a.query_start = idx_i32(call, "query_start_loc") + first;
    a.seq_lens = idx_i32(call, "seq_lens") + first;
    a.gather_lens = (int32_t *)gather_lens->data;
    a.window = (int)dsv4_int(call, "window", 128);
    const int status = call_grid(&grid, call_ceil(a.n, CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(gather_lens_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_prefill_gather_lens)
