/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_markov_bias: a thread per token of the vocabulary, with one chain per row of the step, eight rows at a time. The
 * embeddings of these rows lie in shared memory, where all lanes read the same place; w2's row is the thread's own.
 */
#include "call.h"
#include "num.inl"

enum { MARKOV_ROWS = 8, MARKOV_BLOCK = 128, MARKOV_RANK = 1024, MARKOV_STEP = 8 };

struct markov_args {
    const char *prev, *w1, *w2, *base;
    char *out;
    int64_t base_row, out_row, vocab, tiles;
    int rows, rank, wide_ids;
};

/* Eight elements of a row of weights from element k on. */
template <bool F32> GPU_DEVICE void markov_load(float *x, const char *row, int k) {
    if (F32) {
        const gpu_f4 low = *(const gpu_f4 *)(row + k * 4),
                     high = *(const gpu_f4 *)(row + k * 4 + 16);
        x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
        x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
        return;
    }
    const gpu_u4 v = *(const gpu_u4 *)(row + k * 2);
    const uint32_t codes[4] = {v.x, v.y, v.z, v.w};
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        x[2 * i] = num_bf16_low(codes[i]);
        x[2 * i + 1] = num_bf16_high(codes[i]);
    }
}

/* The embeddings of rows first .. first + MARKOV_ROWS - 1; beyond the last row, that of the last. */
template <bool F32>
GPU_DEVICE void markov_embed(float embed[MARKOV_ROWS][MARKOV_RANK], const struct markov_args &a,
                             int first) {
    const int size = F32 ? 4 : 2, vectors = a.rank / MARKOV_STEP;
    for (int i = (int)gpu_thread(); i < MARKOV_ROWS * vectors; i += CALL_THREADS) {
        const int r = i / vectors, k = (i - r * vectors) * MARKOV_STEP;
        const int t = first + r < a.rows ? first + r : a.rows - 1;
        const int64_t id =
            a.wide_ids ? ((const int64_t *)a.prev)[t] : (int64_t)((const int32_t *)a.prev)[t];
        float x[MARKOV_STEP];
        markov_load<F32>(x, a.w1 + id * a.rank * size, k);
        GPU_UNROLL for (int e = 0; e < MARKOV_STEP; e++) embed[r][k + e] = x[e];
    }
}

/* Sums of one block of the rank for eight rows. */
template <bool F32>
GPU_DEVICE void markov_block(float *sums, const float embed[MARKOV_ROWS][MARKOV_RANK],
                             const char *row, int first, int end) {
    GPU_UNROLL for (int r = 0; r < MARKOV_ROWS; r++) sums[r] = 0.0f;
    GPU_NO_UNROLL for (int k = first; k < end; k += MARKOV_STEP) {
        float w[MARKOV_STEP];
        markov_load<F32>(w, row, k);
        GPU_UNROLL for (int r = 0; r < MARKOV_ROWS; r++) {
            GPU_UNROLL for (int e = 0; e < MARKOV_STEP; e++) sums[r] =
                gpu_fma(w[e], embed[r][k + e], sums[r]);
        }
    }
}

template <bool F32>
__global__ void __launch_bounds__(CALL_THREADS) markov_kernel(const struct markov_args a) {
    __shared__ __attribute__((aligned(16))) float embed[MARKOV_ROWS][MARKOV_RANK];
    const int group = (int)(gpu_block() / a.tiles), first = group * MARKOV_ROWS;
    const int64_t v = (gpu_block() - group * a.tiles) * CALL_THREADS + gpu_thread();
    markov_embed<F32>(embed, a, first);
    gpu_barrier();
    if (v >= a.vocab) return;
    const char *const row = a.w2 + v * a.rank * (F32 ? 4 : 2);
    float total[MARKOV_ROWS], sums[MARKOV_ROWS];
    for (int k = 0; k < a.rank; k += MARKOV_BLOCK) {
        const int end = k + MARKOV_BLOCK < a.rank ? k + MARKOV_BLOCK : a.rank;
        markov_block<F32>(sums, embed, row, k, end);
        GPU_UNROLL for (int r = 0; r < MARKOV_ROWS; r++) total[r] =
            k == 0 ? sums[r] : total[r] + sums[r];
    }
    GPU_UNROLL for (int r = 0; r < MARKOV_ROWS; r++) {
        const int t = first + r;
        if (t >= a.rows) continue;
        const float base = ((const float *)(a.base + t * a.base_row))[v];
        ((float *)(a.out + t * a.out_row))[v] = base + total[r];
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const prev = dsv4_find(call, "prev"), *const w1 = dsv4_find(call, "w1");
    const bool i32 = !call_absent(prev) && prev->dtype == DSV4_I32;
    const uint32_t dtype = !call_absent(w1) && w1->dtype == DSV4_BF16 ? DSV4_BF16 : DSV4_F32;
    CALL_NEED(call, "prev", i32 ? DSV4_I32 : DSV4_I64, 1, why);
    CALL_NEED(call, "w1", dtype, 2, why);
    CALL_NEED(call, "w2", dtype, 2, why);
    CALL_NEED(call, "base", DSV4_F32, 2, why);
    CALL_NEED(call, "out", DSV4_F32, 2, why);
    CALL_NEED_ALIGNED(call, "w1", 16, why);
    CALL_NEED_ALIGNED(call, "w2", 16, why);
    const int64_t bytes = w1->shape[1] * (dtype == DSV4_F32 ? 4 : 2);
    if (w1->shape[1] > MARKOV_RANK || w1->shape[1] % MARKOV_STEP != 0 || w1->stride[0] != bytes ||
        dsv4_find(call, "w2")->stride[0] != bytes)
        return call_unsupported(why, "w1, w2: these kernels take contiguous rows of up to %d",
                                (int)MARKOV_RANK);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const prev = dsv4_find(call, "prev"), *const w2 = dsv4_find(call, "w2");
    const dsv4_tensor *const base = dsv4_find(call, "base"), *const out = dsv4_find(call, "out");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct markov_args a;
    dim3 grid;
    a.prev = (const char *)prev->data;
    a.wide_ids = prev->dtype == DSV4_I64;
    a.w1 = (const char *)dsv4_find(call, "w1")->data;
    a.w2 = (const char *)w2->data;
    a.base = (const char *)base->data;
    a.base_row = base->stride[0];
    a.out = (char *)out->data;
    a.out_row = out->stride[0];
    a.rows = (int)out->shape[0];
    a.vocab = w2->shape[0];
    a.rank = (int)w2->shape[1];
    a.tiles = call_ceil(a.vocab, CALL_THREADS);
    if (a.rows == 0) return DSV4_OK;
    const int status = call_grid(&grid, a.tiles * call_ceil(a.rows, MARKOV_ROWS), why);
    if (status != DSV4_OK) return status;
    if (w2->dtype == DSV4_F32)
        GPU_LAUNCH(markov_kernel<true>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(markov_kernel<false>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mtp_markov_bias)
