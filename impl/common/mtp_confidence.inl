/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_confidence: a block takes some rows by turns. The weight lies in shared memory as fp32, once per block, and so do
 * the rows; a thread of each then runs block b of 128, and one adds the blocks up. Places are skewed by one per block, so that
 * chains that walk in step meet different banks.
 */
#include "call.h"
#include "num.inl"

enum { CONFIDENCE_BLOCK = 128, CONFIDENCE_MAX = 59 * CONFIDENCE_BLOCK, CONFIDENCE_GRID = 1024 };
enum { CONFIDENCE_SUMS = 64 /* of a row */ };
/* Rows of a block at a time: where shared memory is small, one. */
#if GPU_HIP
enum { CONFIDENCE_MANY = 1 };
#define CONFIDENCE_SHARED(name)                                                                    \
    __shared__ __attribute__((aligned(16))) char name[confidence_bytes(CONFIDENCE_MAX, 1)]
#define CONFIDENCE_LAUNCH(kernel, grid, bytes, stream, a)                                          \
    GPU_LAUNCH(kernel, grid, CALL_THREADS, stream, a)
#else
enum { CONFIDENCE_MANY = CALL_THREADS / CONFIDENCE_SUMS };
#define CONFIDENCE_SHARED(name) GPU_SHARED(name)
#define CONFIDENCE_LAUNCH(kernel, grid, bytes, stream, a)                                          \
    GPU_LAUNCH_SHARED(kernel, grid, CALL_THREADS, bytes, stream, a)
#endif
#if GPU_EMULATED
#define CONFIDENCE_UNROLL
#else
#define CONFIDENCE_UNROLL _Pragma("unroll 8")
#endif

struct confidence_args {
    const char *hidden, *embed, *weight;
    float *out;
    int64_t hidden_row, embed_row, rows, grid;
    int width, n, weight_bf16;
};

struct confidence_shared {
    float *weight, *sums;
    uint16_t *row;
    int pitch; /* elements between rows */
};

/* Places of n elements that are skewed by `skew` per block, a multiple of 4. */
GPU_HOST_DEVICE constexpr int confidence_places(int n, int skew) {
    return (n + skew * (n / CONFIDENCE_BLOCK) + 3) & ~3;
}
GPU_HOST_DEVICE constexpr int confidence_bytes(int n, int rows) {
    return 4 * confidence_places(n, 1) + rows * (4 * CONFIDENCE_SUMS + 2 * confidence_places(n, 2));
}

GPU_DEVICE void confidence_load_weight(const struct confidence_shared &s,
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

/* The same of ROWS rows, `apart` bytes from each other, eight elements of each at a time from 16-byte aligned memory;
 * `first` and n are multiples of 8. Of rows that are not there, the first is taken. */
template <int ROWS>
GPU_DEVICE void confidence_load_vectors(const struct confidence_shared &s, const char *from,
                                        int64_t apart, int rows, int first, int n) {
    for (int i = (int)gpu_thread() * 8; i < n; i += CALL_THREADS * 8) {
        const int k = first + i;
        gpu_u4 v[ROWS];
        GPU_UNROLL for (int r = 0; r < ROWS; r++) v[r] =
            *(const gpu_u4 *)(from + (r < rows ? r : 0) * apart + i * 2);
        GPU_UNROLL for (int r = 0; r < ROWS; r++) {
            uint32_t *const words =
                (uint32_t *)(s.row + r * s.pitch + k + 2 * (k / CONFIDENCE_BLOCK));
            words[0] = v[r].x;
            words[1] = v[r].y;
            words[2] = v[r].z;
            words[3] = v[r].w;
        }
    }
}

/* Block b of row r of those in shared memory. */
GPU_DEVICE void confidence_chain(const struct confidence_shared &s, int r, int b, int n) {
    const int first = b * CONFIDENCE_BLOCK;
    if (first >= n) return;
    const float *const w = s.weight + first + b;
    const uint16_t *const x = s.row + r * s.pitch + first + 2 * b;
    const int end = n - first < CONFIDENCE_BLOCK ? n - first : CONFIDENCE_BLOCK;
    float sum = 0.0f;
    int k = 0;
    for (; k + 8 <= end; k += 8) {
        float a[8], y[8];
        GPU_UNROLL for (int i = 0; i < 8; i += 2) {
            const uint32_t pair = *(const uint32_t *)(x + k + i);
            a[i] = w[k + i];
            a[i + 1] = w[k + i + 1];
            y[i] = num_bf16_low(pair);
            y[i + 1] = num_bf16_high(pair);
        }
        GPU_UNROLL for (int i = 0; i < 8; i++) sum = gpu_fma(y[i], a[i], sum);
    }
    for (; k < end; k++) sum = gpu_fma(num_bf16_low(x[k]), w[k], sum);
    s.sums[r * CONFIDENCE_SUMS + b] = sum;
}

GPU_DEVICE float confidence_total(const float *sums, int blocks) {
    float total = sums[0];
    CONFIDENCE_UNROLL for (int b = 1; b < blocks; b++) total += sums[b];
    return gpu_divide_float(1.0f, 1.0f + elementary_exp(-total));
}

template <int ROWS, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) confidence_kernel(const struct confidence_args a) {
    CONFIDENCE_SHARED(memory);
    const int blocks = (a.n + CONFIDENCE_BLOCK - 1) / CONFIDENCE_BLOCK;
    const int r = (int)gpu_thread() / CONFIDENCE_SUMS, b = (int)gpu_thread() % CONFIDENCE_SUMS;
    struct confidence_shared s;
    s.pitch = confidence_places(a.n, 2);
    s.weight = (float *)memory;
    s.sums = s.weight + confidence_places(a.n, 1);
    s.row = (uint16_t *)(s.sums + ROWS * CONFIDENCE_SUMS);
    confidence_load_weight(s, a);
    for (int64_t t = gpu_block() * ROWS; t < a.rows; t += a.grid * ROWS) {
        const int rows = a.rows - t < ROWS ? (int)(a.rows - t) : ROWS;
        const char *const hidden = a.hidden + t * a.hidden_row;
        const char *const embed = a.embed + t * a.embed_row;
        if (WIDE) {
            confidence_load_vectors<ROWS>(s, hidden, a.hidden_row, rows, 0, a.width);
            confidence_load_vectors<ROWS>(s, embed, a.embed_row, rows, a.width, a.n - a.width);
        } else {
            for (int i = 0; i < rows; i++) {
                uint16_t *const to = s.row + i * s.pitch;
                confidence_load_row(to, hidden + i * a.hidden_row, 0, a.width);
                confidence_load_row(to, embed + i * a.embed_row, a.width, a.n - a.width);
            }
        }
        gpu_barrier();
        if (r < rows) confidence_chain(s, r, b, a.n);
        gpu_barrier();
        /* The others go on to the next rows, and wait for this thread before they change the sums. */
        if (b == 0 && r < rows)
            a.out[t + r] = confidence_total(s.sums + r * CONFIDENCE_SUMS, blocks);
    }
}

template <int ROWS>
static int confidence_launch(struct confidence_args a, bool wide, gpu_stream stream,
                             struct call_why why) {
    const int bytes = confidence_bytes(a.n, ROWS);
    dim3 grid;
    (void)bytes;
    a.grid = call_min(call_ceil(a.rows, ROWS), CONFIDENCE_GRID);
    const int status = call_grid(&grid, a.grid, why);
    if (status != DSV4_OK) return status;
    if (wide)
        CONFIDENCE_LAUNCH((confidence_kernel<ROWS, true>), grid, bytes, stream, a);
    else
        CONFIDENCE_LAUNCH((confidence_kernel<ROWS, false>), grid, bytes, stream, a);
    return call_launched(why);
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
    if (a.rows == 0) return DSV4_OK;
    const bool wide =
        call_aligned(hidden, 16) && call_aligned(embed, 16) && a.width % 8 == 0 && a.n % 8 == 0;
    /* As many rows as a block has chains for, if the GPU is busy with that. */
    if (a.rows < CONFIDENCE_MANY * (int64_t)GPU_BUSY_BLOCKS ||
        gpu_shared_limit() < confidence_bytes(a.n, CONFIDENCE_MANY))
        return confidence_launch<1>(a, wide, stream, why);
    return confidence_launch<CONFIDENCE_MANY>(a, wide, stream, why);
}

CALL_ENTRY_POINTS(mtp_confidence)
