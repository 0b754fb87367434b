/* SPDX-License-Identifier: Apache-2.0 */
/* graph_copy_ragged: both copies in one launch, whose size depends on R and N alone. */
#include "idx_common.inl"

struct copy_args {
    const int32_t *source, *indptr;
    int32_t *buffer, *indptr_buffer;
    int64_t n, n_indptr, blocks; /* blocks from here on copy indptr */
    bool wide;
};

enum { COPY_EACH = 4, COPY_BLOCK = 4 * COPY_EACH * CALL_THREADS };

__global__ void __launch_bounds__(CALL_THREADS) copy_kernel(const struct copy_args a) {
    if (gpu_block() >= a.blocks) {
        const int64_t i = (gpu_block() - a.blocks) * CALL_THREADS + gpu_thread();
        if (i < a.n_indptr) a.indptr_buffer[i] = a.indptr[i];
        return;
    }
    const int64_t first = gpu_block() * COPY_BLOCK;
    if (a.wide && first + COPY_BLOCK <= a.n) {
        gpu_u4 x[COPY_EACH];
        const gpu_u4 *const from = (const gpu_u4 *)(a.source + first) + gpu_thread();
        gpu_u4 *const to = (gpu_u4 *)(a.buffer + first) + gpu_thread();
        GPU_UNROLL
        for (int i = 0; i < COPY_EACH; i++) x[i] = from[i * CALL_THREADS];
        GPU_UNROLL
        for (int i = 0; i < COPY_EACH; i++) to[i * CALL_THREADS] = x[i];
        return;
    }
    const int64_t last = first + COPY_BLOCK, end = last < a.n ? last : a.n;
    for (int64_t i = first + gpu_thread(); i < end; i += CALL_THREADS) a.buffer[i] = a.source[i];
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
    dim3 grid;
    a.source = idx_i32(call, "source");
    a.indptr = idx_i32(call, "indptr");
    a.buffer = (int32_t *)buffer->data;
    a.indptr_buffer = (int32_t *)indptr_buffer->data;
    a.n = dsv4_find(call, "source")->shape[0];
    a.n_indptr = dsv4_find(call, "indptr")->shape[0];
    const int64_t all = (a.n_indptr - 1) * dsv4_int(call, "per_row", 1), view = all > 1 ? all : 1;
    if (a.n > view || view > buffer->shape[0] || a.n_indptr > indptr_buffer->shape[0])
        return idx_refused(why, "source does not fit into the view, or the view into the buffer");
    a.wide = ((uintptr_t)a.source | (uintptr_t)a.buffer) % 16 == 0;
    a.blocks = call_ceil(a.n, COPY_BLOCK);
    const int status = call_grid(&grid, a.blocks + call_ceil(a.n_indptr, CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(copy_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(graph_copy_ragged)
