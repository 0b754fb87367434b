/* SPDX-License-Identifier: Apache-2.0 */
/* idx_prefill_chunks: one block. All lanes load the lengths of 256 requests at a time, the first one walks over them. */
#include "idx_common.inl"

struct chunks_args {
    const int32_t *seq_lens, *gather_lens;
    char *chunks;
    int32_t *count;
    int64_t stride, budget;
    struct gpu_divisor ratio;
    int requests;
};

struct chunks_walk {
    int64_t compressed, gathered;
    int begin, count;
};

GPU_DEVICE void chunks_finish(const struct chunks_args &a, struct chunks_walk &walk, int end) {
    int32_t *const row = (int32_t *)(a.chunks + walk.count * a.stride);
    row[0] = walk.begin;
    row[1] = end;
    row[2] = (int32_t)walk.compressed;
    row[3] = (int32_t)(walk.compressed + walk.gathered);
    walk.count++;
    walk.begin = end;
    walk.compressed = walk.gathered = 0;
}

__global__ void __launch_bounds__(CALL_THREADS) chunks_kernel(const struct chunks_args a) {
    __shared__ int rows[CALL_THREADS], gathers[CALL_THREADS];
    const int thread = (int)gpu_thread();
    struct chunks_walk walk;
    walk.begin = walk.count = 0;
    walk.compressed = walk.gathered = 0;
    for (int first = 0; first < a.requests; first += CALL_THREADS) {
        const int left = a.requests - first, n = left < CALL_THREADS ? left : CALL_THREADS;
        if (thread < n) {
            rows[thread] = (int)gpu_quotient(a.seq_lens[first + thread], a.ratio);
            gathers[thread] = a.gather_lens[first + thread];
        }
        gpu_barrier();
        for (int i = 0; thread == 0 && i < n; i++) {
            const int r = first + i;
            int64_t c = rows[i] > walk.compressed ? rows[i] : walk.compressed;
            int64_t g = gathers[i] > walk.gathered ? gathers[i] : walk.gathered;
            if (r > walk.begin && (r + 1 - walk.begin) * (c + g) > a.budget) {
                chunks_finish(a, walk, r);
                c = rows[i];
                g = gathers[i];
            }
            walk.compressed = c;
            walk.gathered = g;
        }
        gpu_barrier();
    }
    if (thread != 0) return;
    if (a.requests > 0) chunks_finish(a, walk, a.requests);
    a.count[0] = walk.count;
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "seq_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "gather_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "chunks", DSV4_I32, 2, why);
    CALL_NEED(call, "count", DSV4_I32, 1, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const chunks = dsv4_find(call, "chunks");
    const int64_t ratio = dsv4_int(call, "ratio", 4);
    struct chunks_args a;
    a.seq_lens = idx_i32(call, "seq_lens");
    a.gather_lens = idx_i32(call, "gather_lens");
    a.chunks = (char *)chunks->data;
    a.count = (int32_t *)dsv4_find(call, "count")->data;
    a.stride = chunks->stride[0];
    a.budget = 4 * (call_ceil(dsv4_int(call, "max_model_len", 0), ratio) +
                    dsv4_int(call, "window", 0) + dsv4_int(call, "max_batched_tokens", 0));
    a.ratio = call_divisor(ratio);
    a.requests = (int)dsv4_find(call, "seq_lens")->shape[0];
    if (chunks->shape[0] < a.requests)
        return idx_refused(why, "chunks has fewer rows than there are requests");
    GPU_LAUNCH(chunks_kernel, dim3(1), CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_prefill_chunks)
