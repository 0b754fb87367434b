/* SPDX-License-Identifier: Apache-2.0 */
/* graph_copy_ragged: both copies in one launch, whose size depends on R and N alone. 16 bytes at a time where source and
 * buffer lie alike: what comes before the first and after the last such piece is copied with indptr. */
#include "idx_common.inl"

struct copy_args {
    const int32_t *source, *indptr;
    int32_t *buffer, *indptr_buffer;
    int64_t n, n_indptr, blocks; /* blocks from here on copy indptr and ends */
    int64_t head, end;           /* what is copied by pieces */
};

/* EACH pieces of type T per lane, loaded before the first is stored. */
template <typename T, int EACH>
__global__ void __launch_bounds__(CALL_THREADS) copy_kernel(const struct copy_args a) {
    enum { WORDS = sizeof(T) / 4 };
    if (gpu_block() >= a.blocks) {
        const int64_t i = (gpu_block() - a.blocks) * CALL_THREADS + gpu_thread();
        const int64_t k = i < a.head ? i : i - a.head + a.end;
        if (k < a.n) a.buffer[k] = a.source[k];
        if (i < a.n_indptr) a.indptr_buffer[i] = a.indptr[i];
        return;
    }
    const int64_t first = a.head + gpu_block() * EACH * WORDS * CALL_THREADS;
    const T *const from = (const T *)(a.source + first) + gpu_thread();
    T *const to = (T *)(a.buffer + first) + gpu_thread();
    const int64_t left = (a.end - first) / WORDS - gpu_thread();
    T x[EACH];
    GPU_UNROLL
    for (int i = 0; i < EACH; i++)
        if (i * CALL_THREADS < left) x[i] = from[i * CALL_THREADS];
    GPU_UNROLL
    for (int i = 0; i < EACH; i++)
        if (i * CALL_THREADS < left) to[i * CALL_THREADS] = x[i];
}

template <typename T, int EACH>
static int copy_launch(struct copy_args &a, gpu_stream stream, struct call_why why) {
    const int64_t words = sizeof(T) / 4, ends = a.n - (a.end - a.head);
    dim3 grid;
    a.blocks = call_ceil(a.end - a.head, EACH * words * CALL_THREADS);
    const int64_t rest = a.n_indptr > ends ? a.n_indptr : ends;
    const int status = call_grid(&grid, a.blocks + call_ceil(rest, CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH((copy_kernel<T, EACH>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "source", DSV4_I32, 1, why);
    CALL_NEED(call, "indptr", DSV4_I32, 1, why);
    CALL_NEED(call, "buffer", DSV4_I32, 1, why);
    CALL_NEED(call, "indptr_buffer", DSV4_I32, 1, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const buffer = dsv4_find(call, "buffer");
    const dsv4_tensor *const indptr_buffer = dsv4_find(call, "indptr_buffer");
    struct copy_args a;
    a.source = idx_i32(call, "source");
    a.indptr = idx_i32(call, "indptr");
    a.buffer = (int32_t *)buffer->data;
    a.indptr_buffer = (int32_t *)indptr_buffer->data;
    a.n = dsv4_find(call, "source")->shape[0];
    a.n_indptr = dsv4_find(call, "indptr")->shape[0];
    const int64_t all = (a.n_indptr - 1) * dsv4_int(call, "per_row", 1), view = all > 1 ? all : 1;
    if (a.n > view || view > buffer->shape[0] || a.n_indptr > indptr_buffer->shape[0])
        return idx_refused(why, "source does not fit into the view, or the view into the buffer");
    const gpu_stream stream = (gpu_stream)call->stream;
    const bool many = a.n >= 64 * CALL_THREADS * (int64_t)GPU_BUSY_BLOCKS;
    if (((uintptr_t)a.source ^ (uintptr_t)a.buffer) % 16 != 0) {
        a.head = 0;
        a.end = a.n;
        return many ? copy_launch<int32_t, 8>(a, stream, why)
                    : copy_launch<int32_t, 1>(a, stream, why);
    }
    a.head = call_min(a.n, (int64_t)(-(uintptr_t)a.buffer % 16 / 4));
    a.end = a.head + (a.n - a.head) / 4 * 4;
    return many ? copy_launch<gpu_u4, 4>(a, stream, why) : copy_launch<gpu_u4, 1>(a, stream, why);
}

CALL_ENTRY_POINTS(graph_copy_ragged)
