/* SPDX-License-Identifier: Apache-2.0 */
/* idx_indexer_decode_lens: a thread writes four entries in a row, and EACH such fours. */
#include "idx_common.inl"

struct lens_args {
    const int32_t *seq_lens;
    char *lens;
    int64_t stride, n, total; /* entries of the requests, and of lens */
    struct gpu_divisor next_n, columns, ratio;
    bool packed; /* lens lies without gaps, 16-byte aligned */
};

/* Entries first .. first + 3: one division finds the request, the rest is counting. */
GPU_DEVICE struct idx_four lens_of(const struct lens_args &a, int64_t first) {
    struct idx_four four;
    int64_t b = gpu_quotient(first, a.next_n), j = first - b * a.next_n.value;
    GPU_UNROLL
    for (int i = 0; i < 4; i++) {
        const int64_t len = first + i < a.n ? a.seq_lens[b] - a.next_n.value + j + 1 : 0;
        four.x[i] = len <= 0 ? 0 : (int32_t)gpu_quotient(len, a.ratio);
        j++;
        b += j == a.next_n.value;
        j = j == a.next_n.value ? 0 : j;
    }
    return four;
}

GPU_DEVICE void lens_store(const struct lens_args &a, int64_t first, const struct idx_four &four) {
    if (a.packed && first + 4 <= a.total) {
        idx_store<true>((int32_t *)a.lens + first, 0, 4, four);
        return;
    }
    GPU_UNROLL
    for (int i = 0; i < 4; i++) {
        if (first + i >= a.total) return;
        const int64_t row = gpu_quotient(first + i, a.columns);
        ((int32_t *)(a.lens + row * a.stride))[first + i - row * a.columns.value] = four.x[i];
    }
}

template <int EACH>
__global__ void __launch_bounds__(CALL_THREADS) lens_kernel(const struct lens_args a) {
    const int64_t first = (gpu_block() * EACH * CALL_THREADS + gpu_thread()) * 4;
    struct idx_four four[EACH];
    GPU_UNROLL
    for (int i = 0; i < EACH; i++) four[i] = lens_of(a, first + i * 4 * CALL_THREADS);
    GPU_UNROLL
    for (int i = 0; i < EACH; i++)
        if (first + i * 4 * CALL_THREADS < a.total)
            lens_store(a, first + i * 4 * CALL_THREADS, four[i]);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "seq_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "lens", DSV4_I32, 2, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const lens = dsv4_find(call, "lens");
    const int64_t next_n = dsv4_int(call, "next_n", 1);
    const int64_t columns = dsv4_is(call, "form", "native") ? next_n : 1;
    struct lens_args a;
    dim3 grid;
    a.seq_lens = idx_i32(call, "seq_lens");
    a.lens = (char *)lens->data;
    a.stride = lens->stride[0];
    a.n = dsv4_find(call, "seq_lens")->shape[0] * next_n;
    a.total = lens->shape[0] * columns;
    a.next_n = call_divisor(next_n);
    a.columns = call_divisor(columns);
    a.ratio = call_divisor(dsv4_int(call, "ratio", 4));
    a.packed = (a.stride == columns * 4 || lens->shape[0] <= 1) && (uintptr_t)lens->data % 16 == 0;
    if (lens->shape[1] != columns || a.total < a.n)
        return idx_refused(why, "lens does not have the rows of the requests");
    if (a.total == 0) return DSV4_OK;
    const int each = a.total >= 64 * CALL_THREADS * (int64_t)GPU_BUSY_BLOCKS ? 4 : 1;
    const int status = call_grid(&grid, call_ceil(a.total, 4 * CALL_THREADS * each), why);
    if (status != DSV4_OK) return status;
    if (each == 4)
        GPU_LAUNCH(lens_kernel<4>, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    else
        GPU_LAUNCH(lens_kernel<1>, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_indexer_decode_lens)
