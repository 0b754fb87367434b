/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_confidence: a block takes rows by turns. The weight lies in shared memory as fp32, once per block, and so does a
 * row; thread b then runs block b of 128, and one thread adds the blocks up. Places are skewed by one per block, so that
 * chains that walk in step meet different banks.
 */
#include "call.h"
#include "num.inl"

enum { CONFIDENCE_BLOCK = 128, CONFIDENCE_MAX = 59 * CONFIDENCE_BLOCK, CONFIDENCE_GRID = 1024 };

struct confidence_args {
    const char *hidden, *embed, *weight;
    float *out;
    int64_t hidden_row, embed_row, rows, grid;
    int width, n, weight_bf16;
};

struct confidence_shared {
    float weight[CONFIDENCE_MAX + CONFIDENCE_MAX / CONFIDENCE_BLOCK];
    uint16_t row[CONFIDENCE_MAX + 2 * (CONFIDENCE_MAX / CONFIDENCE_BLOCK)];
    float sums[CONFIDENCE_MAX / CONFIDENCE_BLOCK];
};

GPU_DEVICE void confidence_load_weight(struct confidence_shared &s,
                                       const struct confidence_args &a) {
    for (int i = (int)gpu_thread(); i < a.n; i += CALL_THREADS)
        s.weight[i + i / CONFIDENCE_BLOCK] = a.weight_bf16
                                                 ? num_bf16_low(((const uint16_t *)a.weight)[i])
                                                 : ((const float *)a.weight)[i];
}

/* Elements from `first` on; pairs where both are even. */
GPU_DEVICE void confidence_load_row(uint16_t *to, const char *from, int first, int n) {
    for (int i = (int)gpu_thread(); i < n; i += CALL_THREADS) {
        const int k = first + i;
        to[k + 2 * (k / CONFIDENCE_BLOCK)] = ((const uint16_t *)from)[i];
    }
}

/* The same, eight at a time from 16-byte aligned memory; `first` and n are multiples of 8. */
GPU_DEVICE void confidence_load_vectors(uint16_t *to, const char *from, int first, int n) {
    for (int i = (int)gpu_thread() * 8; i < n; i += CALL_THREADS * 8) {
        const gpu_u4 v = *(const gpu_u4 *)(from + i * 2);
        const int k = first + i;
        uint32_t *const words = (uint32_t *)(to + k + 2 * (k / CONFIDENCE_BLOCK));
        words[0] = v.x;
        words[1] = v.y;
        words[2] = v.z;
        words[3] = v.w;
    }
}

GPU_DEVICE void confidence_chain(struct confidence_shared &s, int n) {
    const int b = (int)gpu_thread(), first = b * CONFIDENCE_BLOCK;
    if (first >= n) return;
    const float *const w = s.weight + first + b;
    const uint16_t *const x = s.row + first + 2 * b;
    const int end = n - first < CONFIDENCE_BLOCK ? n - first : CONFIDENCE_BLOCK;
    float sum = 0.0f;
    int k = 0;
    for (; k + 8 <= end; k += 8) {
        float a[8], y[8];
        GPU_UNROLL for (int i = 0; i < 8; i++) {
            a[i] = w[k + i];
            y[i] = num_bf16_low(x[k + i]);
        }
        GPU_UNROLL for (int i = 0; i < 8; i++) sum = gpu_fma(y[i], a[i], sum);
    }
    for (; k < end; k++) sum = gpu_fma(num_bf16_low(x[k]), w[k], sum);
    s.sums[b] = sum;
}

template <bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) confidence_kernel(const struct confidence_args a) {
    __shared__ struct confidence_shared s;
    const int blocks = (a.n + CONFIDENCE_BLOCK - 1) / CONFIDENCE_BLOCK;
    confidence_load_weight(s, a);
    for (int64_t t = gpu_block(); t < a.rows; t += a.grid) {
        if (WIDE) {
            confidence_load_vectors(s.row, a.hidden + t * a.hidden_row, 0, a.width);
            confidence_load_vectors(s.row, a.embed + t * a.embed_row, a.width, a.n - a.width);
        } else {
            confidence_load_row(s.row, a.hidden + t * a.hidden_row, 0, a.width);
            confidence_load_row(s.row, a.embed + t * a.embed_row, a.width, a.n - a.width);
        }
        gpu_barrier();
        confidence_chain(s, a.n);
        gpu_barrier();
        /* The others go on to the next row, and wait for this thread before they change the sums. */
        if (gpu_thread() != 0) continue;
        float total = s.sums[0];
        for (int b = 1; b < blocks; b++) total += s.sums[b];
        a.out[t] = gpu_divide_float(1.0f, 1.0f + elementary_exp(-total));
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const weight = dsv4_find(call, "weight");
    const bool bf16 = !call_absent(weight) && weight->dtype == DSV4_BF16;
    CALL_NEED(call, "hidden", DSV4_BF16, 2, why);
    CALL_NEED(call, "embed", DSV4_BF16, 2, why);
    CALL_NEED(call, "weight", bf16 ? DSV4_BF16 : DSV4_F32, 1, why);
    CALL_NEED(call, "out", DSV4_F32, 1, why);
    const int64_t n = dsv4_find(call, "hidden")->shape[1] + dsv4_find(call, "embed")->shape[1];
    if (n > CONFIDENCE_MAX || weight->shape[0] != n)
        return call_unsupported(why, "rows of %lld with %lld weights; these kernels take up to %d",
                                (long long)n, (long long)weight->shape[0], (int)CONFIDENCE_MAX);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const hidden = dsv4_find(call, "hidden");
    const dsv4_tensor *const embed = dsv4_find(call, "embed");
    const dsv4_tensor *const weight = dsv4_find(call, "weight");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct confidence_args a;
    dim3 grid;
    a.hidden = (const char *)hidden->data;
    a.hidden_row = hidden->stride[0];
    a.embed = (const char *)embed->data;
    a.embed_row = embed->stride[0];
    a.weight = (const char *)weight->data;
    a.weight_bf16 = weight->dtype == DSV4_BF16;
    a.out = (float *)dsv4_find(call, "out")->data;
    a.rows = hidden->shape[0];
    a.width = (int)hidden->shape[1];
    a.n = a.width + (int)embed->shape[1];
    a.grid = call_min(a.rows, CONFIDENCE_GRID);
    if (a.rows == 0) return DSV4_OK;
    const int status = call_grid(&grid, a.grid, why);
    if (status != DSV4_OK) return status;
    if (call_aligned(hidden, 16) && call_aligned(embed, 16) && a.width % 8 == 0 && a.n % 8 == 0)
        GPU_LAUNCH(confidence_kernel<true>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(confidence_kernel<false>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mtp_confidence)
