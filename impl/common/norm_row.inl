/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RMSNorm of bf16 rows: by a team, with the row in registers, for rows of 64 J channels up to J = 24; by a block for
 * others. Vectors of 16 bytes where base and strides allow, else one element at a time.
 */
#ifndef DSV4_NORM_ROW_INL
#define DSV4_NORM_ROW_INL

#include "row.inl"

struct norm_weight {
    const char *data;
    int bf16;
};

/* r of a row of n: divided, not multiplied by 1/n, because n need not be a power of two. */
GPU_DEVICE float norm_factor(float sum, int n, float eps) {
    return elementary_rsqrt(gpu_divide_float(sum, (float)n) + eps);
}

/* bf16((x * r) * w) of two neighbours. */
GPU_DEVICE uint32_t norm_pair(uint32_t codes, float r, float a, float b) {
    return num_bf16x2((num_bf16_low(codes) * r) * a, (num_bf16_high(codes) * r) * b);
}

/* ---- a team per row ---- */

template <int J>
GPU_DEVICE void norm_team_row(char *out, const char *x, struct norm_weight weight, float eps) {
    uint32_t words[J];
    const int lane = gpu_lane();
    GPU_UNROLL for (int j = 0; j < J; j++) words[j] = ((const uint32_t *)x)[TEAM * j + lane];
    const float r = norm_factor(team_squares<J>(words), ROW_PARTIALS * J, eps);
    GPU_UNROLL for (int j = 0; j < J; j++) {
        float a, b;
        if (weight.bf16) {
            const uint32_t codes = ((const uint32_t *)weight.data)[TEAM * j + lane];
            a = num_bf16_low(codes);
            b = num_bf16_high(codes);
        } else {
            const gpu_f2 pair = ((const gpu_f2 *)weight.data)[TEAM * j + lane];
            a = pair.x;
            b = pair.y;
        }
        ((uint32_t *)out)[TEAM * j + lane] = norm_pair(words[j], r, a, b);
    }
}

/* Whether norm_team_row has a J for rows of n. */
static inline bool norm_team_width(int64_t n) { return n == 512 || n == 1024 || n == 1536; }

/* ---- a block per row ---- */

/* Eight weights from 16-byte aligned memory. */
GPU_DEVICE void norm_load_weights(float *w, struct norm_weight weight, int vector) {
    if (weight.bf16) {
        const gpu_u4 v = ((const gpu_u4 *)weight.data)[vector];
        const uint32_t codes[4] = {v.x, v.y, v.z, v.w};
        GPU_UNROLL for (int i = 0; i < 4; i++) {
            w[2 * i] = num_bf16_low(codes[i]);
            w[2 * i + 1] = num_bf16_high(codes[i]);
        }
        return;
    }
    const gpu_f4 low = ((const gpu_f4 *)weight.data)[2 * vector];
    const gpu_f4 high = ((const gpu_f4 *)weight.data)[2 * vector + 1];
    w[0] = low.x, w[1] = low.y, w[2] = low.z, w[3] = low.w;
    w[4] = high.x, w[5] = high.y, w[6] = high.z, w[7] = high.w;
}

GPU_DEVICE gpu_u4 norm_vector(gpu_u4 x, float r, const float *w) {
    gpu_u4 y;
    y.x = norm_pair(x.x, r, w[0], w[1]);
    y.y = norm_pair(x.y, r, w[2], w[3]);
    y.z = norm_pair(x.z, r, w[4], w[5]);
    y.w = norm_pair(x.w, r, w[6], w[7]);
    return y;
}

/* One row of n channels, n a multiple of 8 and at most 8 V CALL_THREADS; everything 16-byte aligned. ZERO: x counts as
 * +0 everywhere. */
template <int V>
GPU_DEVICE void norm_block_row(struct row_block &block, char *out, const char *x,
                               struct norm_weight weight, int n, float eps, bool zero) {
    const int vectors = n / ROW_VECTOR, first = (int)gpu_thread();
    gpu_u4 v[V];
    GPU_UNROLL for (int i = 0; i < V; i++) {
        const int at = first + i * CALL_THREADS;
        if (at < vectors) v[i] = ((const gpu_u4 *)x)[at];
    }
    GPU_UNROLL for (int i = 0; i < V; i++) {
        const int at = first + i * CALL_THREADS;
        if (zero) v[i].x = v[i].y = v[i].z = v[i].w = 0;
        if (at < vectors) block.words[at] = v[i];
    }
    row_pad(block, n);
    gpu_barrier();
    const float r = norm_factor(row_block_squares(block, n), n, eps);
    GPU_UNROLL for (int i = 0; i < V; i++) {
        const int at = first + i * CALL_THREADS;
        float w[ROW_VECTOR];
        if (at >= vectors) continue;
        norm_load_weights(w, weight, at);
        ((gpu_u4 *)out)[at] = norm_vector(v[i], r, w);
    }
}

/* The same for any n up to ROW_MAX and any alignment. */
GPU_DEVICE void norm_block_row_any(struct row_block &block, char *out, const char *x,
                                   struct norm_weight weight, int n, float eps, bool zero) {
    uint16_t *const kept = (uint16_t *)block.words;
    for (int i = (int)gpu_thread(); i < n; i += CALL_THREADS)
        kept[i] = zero ? (uint16_t)0 : ((const uint16_t *)x)[i];
    row_pad(block, n);
    gpu_barrier();
    const float r = norm_factor(row_block_squares(block, n), n, eps);
    for (int i = (int)gpu_thread(); i < n; i += CALL_THREADS) {
        const float w = weight.bf16 ? num_bf16_low(((const uint16_t *)weight.data)[i])
                                    : ((const float *)weight.data)[i];
        ((uint16_t *)out)[i] = (uint16_t)norm_pair(kept[i], r, w, w);
    }
}

/* Vectors per thread of a block: 1, 2 or 4. */
static inline int norm_vectors(int64_t n) {
    const int64_t each = call_ceil(n, ROW_VECTOR * CALL_THREADS);
    return each <= 1 ? 1 : each <= 2 ? 2 : 4;
}

static inline struct norm_weight norm_weight_of(const dsv4_tensor *t) {
    return {(const char *)t->data, t->dtype == DSV4_BF16};
}

static inline int norm_supports_weight(const dsv4_call *call, const char *name, int64_t n,
                                       struct call_why why) {
    const dsv4_tensor *const t = dsv4_find(call, name);
    const bool bf16 = !call_absent(t) && t->dtype == DSV4_BF16;
    CALL_NEED(call, name, bf16 ? DSV4_BF16 : DSV4_F32, 1, why);
    if (t->shape[0] != n)
        return call_unsupported(why, "%s: %lld weights for rows of %lld", name,
                                (long long)t->shape[0], (long long)n);
    return DSV4_OK;
}

#endif
