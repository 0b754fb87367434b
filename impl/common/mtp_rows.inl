/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of bf16 that are copied, added or zeroed: a block per row of up to 8192 channels, all vectors of a thread under
 * way before the first is stored. An op's kernel says where a block's row comes from and goes to.
 */
#ifndef DSV4_MTP_ROWS_INL
#define DSV4_MTP_ROWS_INL

#include "call.h"
#include "num.inl"

enum { ROWS_VECTOR = 8, ROWS_MAX = 8192 };

struct rows_move {
    const char *from, *add; /* from NULL: zeros; add NULL: a copy of bits */
    char *to;
};

GPU_DEVICE uint32_t rows_sum(uint32_t a, uint32_t b) {
    return num_bf16x2(num_bf16_low(a) + num_bf16_low(b), num_bf16_high(a) + num_bf16_high(b));
}

/* n is a multiple of 8 and at most 8 V CALL_THREADS; all pointers are 16-byte aligned. */
template <int V, bool ADD> GPU_DEVICE void rows_vectors(const struct rows_move &row, int n) {
    const int vectors = n / ROWS_VECTOR, first = (int)gpu_thread();
    gpu_u4 x[V], y[V];
    GPU_UNROLL for (int i = 0; i < V; i++) {
        const int at = first + i * CALL_THREADS;
        x[i].x = x[i].y = x[i].z = x[i].w = 0;
        if (at < vectors && row.from != NULL) x[i] = ((const gpu_u4 *)row.from)[at];
        if (ADD && at < vectors) y[i] = ((const gpu_u4 *)row.add)[at];
    }
    GPU_UNROLL for (int i = 0; i < V; i++) {
        const int at = first + i * CALL_THREADS;
        if (at >= vectors) continue;
        if (ADD) {
            x[i].x = rows_sum(x[i].x, y[i].x);
            x[i].y = rows_sum(x[i].y, y[i].y);
            x[i].z = rows_sum(x[i].z, y[i].z);
            x[i].w = rows_sum(x[i].w, y[i].w);
        }
        ((gpu_u4 *)row.to)[at] = x[i];
    }
}

/* Any n and alignment. */
template <bool ADD> GPU_DEVICE void rows_elements(const struct rows_move &row, int n) {
    for (int i = (int)gpu_thread(); i < n; i += CALL_THREADS) {
        uint32_t x = row.from != NULL ? ((const uint16_t *)row.from)[i] : 0u;
        if (ADD) x = rows_sum(x, ((const uint16_t *)row.add)[i]);
        ((uint16_t *)row.to)[i] = (uint16_t)x;
    }
}

/* V 0: any row. */
template <int V, bool ADD> GPU_DEVICE void rows_move_row(const struct rows_move &row, int n) {
    if (V == 0)
        rows_elements<ADD>(row, n);
    else
        rows_vectors<(V > 0 ? V : 1), ADD>(row, n);
}

/* V for rows of n: 1, 2 or 4; 0 where they are not `wide`. */
static inline int rows_steps(int64_t n, bool wide) {
    const int64_t each = call_ceil(n, ROWS_VECTOR * CALL_THREADS);
    return !wide || n % ROWS_VECTOR != 0 ? 0 : each <= 1 ? 1 : each <= 2 ? 2 : 4;
}

#define ROWS_LAUNCH(kernel, n, wide, blocks, args)                                                 \
    do {                                                                                           \
        const gpu_stream stream = (gpu_stream)call->stream;                                        \
        const int steps = rows_steps(n, wide);                                                     \
        dim3 grid;                                                                                 \
        if ((blocks) == 0 || (n) == 0) return DSV4_OK;                                             \
        const int status = call_grid(&grid, blocks, why);                                          \
        if (status != DSV4_OK) return status;                                                      \
        if (steps == 0)                                                                            \
            GPU_LAUNCH(kernel<0>, grid, CALL_THREADS, stream, args);                               \
        else if (steps == 1)                                                                       \
            GPU_LAUNCH(kernel<1>, grid, CALL_THREADS, stream, args);                               \
        else if (steps == 2)                                                                       \
            GPU_LAUNCH(kernel<2>, grid, CALL_THREADS, stream, args);                               \
        else                                                                                       \
            GPU_LAUNCH(kernel<4>, grid, CALL_THREADS, stream, args);                               \
        return call_launched(why);                                                                 \
    } while (0)

static inline int rows_supports(int64_t n, struct call_why why) {
    if (n <= ROWS_MAX) return DSV4_OK;
    return call_unsupported(why, "rows of %lld; these kernels take up to %d", (long long)n,
                            (int)ROWS_MAX);
}

#endif
