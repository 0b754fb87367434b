/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_expert_count: counters in shared memory. Few slots: one block, which stores them. Many: counts are cleared by a
 * launch of their own, and blocks add theirs.
 */
#include "moe_dispatch.inl"

enum { COUNT_DIRECT = 16 * CALL_THREADS, COUNT_LEAST = 4096 };

struct count_args {
    struct dispatch_ids d;
    int32_t *counts;
    int64_t per_block;
};

__global__ void __launch_bounds__(CALL_THREADS) count_clear_kernel(const struct count_args a) {
    for (int e = (int)gpu_thread(); e < a.d.experts; e += CALL_THREADS) a.counts[e] = 0;
}

template <bool DIRECT>
__global__ void __launch_bounds__(CALL_THREADS) count_kernel(const struct count_args a) {
    __shared__ int counters[DISPATCH_MOST_EXPERTS];
    const int64_t begin = gpu_block() * a.per_block, last = begin + a.per_block;
    for (int e = (int)gpu_thread(); e < a.d.experts; e += CALL_THREADS) counters[e] = 0;
    gpu_barrier();
    dispatch_histogram(a.d, begin, last < a.d.n ? last : a.d.n, counters);
    gpu_barrier();
    for (int e = (int)gpu_thread(); e < a.d.experts; e += CALL_THREADS) {
        if (DIRECT)
            a.counts[e] = counters[e];
        else if (counters[e] != 0)
            dispatch_add_global(&a.counts[e], counters[e]);
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "counts", DSV4_I32, 1, why);
    return dispatch_supports(call, dsv4_find(call, "counts")->shape[0], why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const counts = dsv4_find(call, "counts");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct count_args a;
    a.d = dispatch_ids_of(call, counts->shape[0]);
    a.counts = (int32_t *)counts->data;
    a.per_block = a.d.n;
    if (a.d.n <= COUNT_DIRECT) {
        GPU_LAUNCH(count_kernel<true>, dim3(1), CALL_THREADS, stream, a);
        return call_launched(why);
    }
    a.per_block = 4 * call_ceil(a.d.n, 16 * (GPU_BUSY_BLOCKS + 1));
    if (a.per_block < COUNT_LEAST) a.per_block = COUNT_LEAST;
    GPU_LAUNCH(count_clear_kernel, dim3(1), CALL_THREADS, stream, a);
    GPU_LAUNCH(count_kernel<false>, dim3((uint32_t)call_ceil(a.d.n, a.per_block)), CALL_THREADS,
               stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_expert_count)
