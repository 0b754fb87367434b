/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the hyper-connections on a GPU: units of 8 channels, 16 bytes, one at a time and four streams of it. */
#ifndef DSV4_MHC_ROW_INL
#define DSV4_MHC_ROW_INL

#include "call.h"
#include "num.inl"

enum { MHC_UNIT = 8, MHC_STREAMS = 4, MHC_MIXES = 24, MHC_MOST_HIDDEN = 8192 };

/* A tensor of rows, of streams or not. Strides are in bytes. */
struct mhc_tensor {
    char *data;
    int64_t row, stream;
};

GPU_DEVICE gpu_u4 mhc_load(const struct mhc_tensor &t, int64_t row, int stream, int unit) {
    return *(const gpu_u4 *)(t.data + row * t.row + stream * t.stream + (int64_t)unit * 16);
}

GPU_DEVICE void mhc_store(const struct mhc_tensor &t, int64_t row, int stream, int unit, gpu_u4 x) {
    *(gpu_u4 *)(t.data + row * t.row + stream * t.stream + (int64_t)unit * 16) = x;
}

GPU_DEVICE void mhc_unpack(float *x, gpu_u4 codes) {
    x[0] = num_bf16_low(codes.x);
    x[1] = num_bf16_high(codes.x);
    x[2] = num_bf16_low(codes.y);
    x[3] = num_bf16_high(codes.y);
    x[4] = num_bf16_low(codes.z);
    x[5] = num_bf16_high(codes.z);
    x[6] = num_bf16_low(codes.w);
    x[7] = num_bf16_high(codes.w);
}

GPU_DEVICE gpu_u4 mhc_pack(const float *x) {
    gpu_u4 codes;
    codes.x = num_bf16x2(x[0], x[1]);
    codes.y = num_bf16x2(x[2], x[3]);
    codes.z = num_bf16x2(x[4], x[5]);
    codes.w = num_bf16x2(x[6], x[7]);
    return codes;
}

GPU_DEVICE void mhc_load4(float *x, const char *at) {
    const gpu_f4 v = *(const gpu_f4 *)at;
    x[0] = v.x;
    x[1] = v.y;
    x[2] = v.z;
    x[3] = v.w;
}

/* Chain of fma over the streams from +0; or rounded products, added to the first. */
template <bool PRODUCTS>
GPU_DEVICE void mhc_collapse_unit(float *o, const gpu_u4 *streams, const float *pre) {
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) {
        float x[MHC_UNIT];
        mhc_unpack(x, streams[j]);
        GPU_UNROLL for (int i = 0; i < MHC_UNIT; i++) {
            if (PRODUCTS)
                o[i] = j == 0 ? pre[0] * x[i] : o[i] + pre[j] * x[i];
            else
                o[i] = gpu_fma(pre[j], x[i], j == 0 ? 0.0f : o[i]);
        }
    }
}

/* Stream k of the new residual: post * x, then the streams of the old one. row: comb[0 .. 3, k]. */
template <int N>
GPU_DEVICE void mhc_post_values(float *o, const float *x, const float *r, float post,
                                const float *row) {
    GPU_UNROLL for (int i = 0; i < N; i++) o[i] = post * x[i];
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) GPU_UNROLL for (int i = 0; i < N; i++) o[i] =
        gpu_fma(row[j], r[j * N + i], o[i]);
}

/* ---- host ---- */

static inline struct mhc_tensor mhc_tensor_of(const dsv4_tensor *t) {
    struct mhc_tensor tensor = {(char *)t->data, t->stride[0], t->ndim == 3 ? t->stride[1] : 0};
    return tensor;
}

/* Blocks that each take a piece of a row, `units` in all. */
struct mhc_pieces {
    struct gpu_divisor per_row;
    int units;
};

static inline struct mhc_pieces mhc_pieces_of(int64_t hidden, int units_per_block) {
    struct mhc_pieces pieces;
    pieces.units = (int)(hidden / MHC_UNIT);
    pieces.per_row = call_divisor(call_ceil(pieces.units, units_per_block));
    return pieces;
}

#define MHC_NEED(call, name, dtype, ndim, why)                                                     \
    CALL_NEED(call, name, dtype, ndim, why);                                                       \
    CALL_NEED_ALIGNED(call, name, 16, why)

/* Weights of tokens as [rows, 4, n], each row contiguous and a multiple of 16 bytes apart. */
static inline int mhc_supports_weights(const dsv4_call *call, const char *name,
                                       struct call_why why) {
    const dsv4_tensor *const t = dsv4_find(call, name);
    CALL_NEED(call, name, DSV4_F32, 3, why);
    if (t->stride[1] == 4 * t->shape[2] && t->stride[0] % 16 == 0 && (uintptr_t)t->data % 16 == 0)
        return DSV4_OK;
    return call_unsupported(why, "%s: rows are not contiguous, or not 16-byte aligned", name);
}

static inline int mhc_supports_hidden(const dsv4_call *call, struct call_why why) {
    const int64_t hidden = dsv4_int(call, "hidden", 0);
    if (hidden % MHC_UNIT == 0 && hidden <= MHC_MOST_HIDDEN) return DSV4_OK;
    return call_unsupported(why, "hidden: %lld; these kernels take multiples of 8 up to 8192",
                            (long long)hidden);
}

#endif
