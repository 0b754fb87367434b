/* SPDX-License-Identifier: Apache-2.0 */
/* idx_indexer_decode_lens: a thread writes four entries in a row, and EACH such fours. */
#include "idx_common.inl"

struct lens_args {
    const int32_t *seq_lens;
    char *lens;
    int64_t stride, requests, total; /* total: entries of lens */
    struct gpu_divisor next_n, columns, ratio;
    bool packed; /* lens lies without gaps, 16-byte aligned */
};

/* Of a len of at most 2^31 - 1. */
GPU_DEVICE int32_t lens_rows(const struct lens_args &a, int32_t len) {
    if (len <= 0) return 0;
    return a.ratio.shift >= 0 ? len >> a.ratio.shift
                              : (int32_t)((uint32_t)len / (uint32_t)a.ratio.value);
}

GPU_DEVICE int32_t lens_seq(const struct lens_args &a, int64_t b) {
    const int32_t seq_len = b < a.requests ? a.seq_lens[b] : 0;
    return seq_len < 0 ? 0 : seq_len;
}

/* Entries first .. first + 3: one division finds the request, the rest is counting. FEW: fewer tokens than that to a
 * request, otherwise the next one is the last. */
template <bool FEW> GPU_DEVICE struct idx_four lens_of(const struct lens_args &a, int64_t first) {
    const int next_n = (int)a.next_n.value;
    struct idx_four four;
    int64_t b = gpu_quotient(first, a.next_n);
    int j = (int)(first - b * next_n);
    int32_t seq_len = lens_seq(a, b), next = FEW ? 0 : lens_seq(a, b + 1);
    GPU_UNROLL
    for (int i = 0; i < 4; i++) {
        four.x[i] = lens_rows(a, seq_len + (j + 1 - next_n));
        if (++j < next_n) continue;
        j = 0;
        if (FEW) next = lens_seq(a, ++b);
        seq_len = next;
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

template <int EACH, bool FEW>
__global__ void __launch_bounds__(CALL_THREADS) lens_kernel(const struct lens_args a) {
    const int64_t first = (gpu_block() * EACH * CALL_THREADS + gpu_thread()) * 4;
    struct idx_four four[EACH];
    GPU_UNROLL
    for (int i = 0; i < EACH; i++) four[i] = lens_of<FEW>(a, first + i * 4 * CALL_THREADS);
    GPU_UNROLL
    for (int i = 0; i < EACH; i++)
        if (first + i * 4 * CALL_THREADS < a.total)
            lens_store(a, first + i * 4 * CALL_THREADS, four[i]);
}

template <int EACH, bool FEW>
static void lens_launch(const struct lens_args &a, dim3 grid, gpu_stream stream) {
    GPU_LAUNCH((lens_kernel<EACH, FEW>), grid, CALL_THREADS, stream, a);
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
    a.requests = dsv4_find(call, "seq_lens")->shape[0];
    a.total = lens->shape[0] * columns;
    a.next_n = call_divisor(next_n);
    a.columns = call_divisor(columns);
    a.ratio = call_divisor(dsv4_int(call, "ratio", 4));
    a.packed = (a.stride == columns * 4 || lens->shape[0] <= 1) && (uintptr_t)lens->data % 16 == 0;
    if (lens->shape[1] != columns || a.total < a.requests * next_n)
        return idx_refused(why, "lens does not have the rows of the requests");
    if (a.total == 0) return DSV4_OK;
    const int each = a.total >= 64 * CALL_THREADS * (int64_t)GPU_BUSY_BLOCKS ? 4 : 1;
    const int status = call_grid(&grid, call_ceil(a.total, 4 * CALL_THREADS * each), why);
    if (status != DSV4_OK) return status;
    const gpu_stream stream = (gpu_stream)call->stream;
    if (next_n < 4)
        each == 4 ? lens_launch<4, true>(a, grid, stream) : lens_launch<1, true>(a, grid, stream);
    else
        each == 4 ? lens_launch<4, false>(a, grid, stream) : lens_launch<1, false>(a, grid, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_indexer_decode_lens)
