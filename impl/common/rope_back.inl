/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of eight bf16 channels, and turning the four pairs of one back. */
#ifndef DSV4_ROPE_BACK_INL
#define DSV4_ROPE_BACK_INL

#include "call.h"
#include "num.inl"

enum {
    ROPE_VECTORS = KV_HEAD / 8,           /* of a head */
    ROPE_TURNED = (KV_HEAD - KV_ROPE) / 8 /* the first one that rotates */
};

/* 16 bytes where WIDE, else four times 4. */
template <bool WIDE> GPU_DEVICE gpu_u4 rope_load(const char *at) {
    gpu_u4 v;
    if (WIDE) return *(const gpu_u4 *)at;
    const uint32_t *const words = (const uint32_t *)at;
    v.x = words[0];
    v.y = words[1];
    v.z = words[2];
    v.w = words[3];
    return v;
}

template <bool WIDE> GPU_DEVICE void rope_store(char *at, gpu_u4 v) {
    if (WIDE) {
        *(gpu_u4 *)at = v;
        return;
    }
    uint32_t *const words = (uint32_t *)at;
    words[0] = v.x;
    words[1] = v.y;
    words[2] = v.z;
    words[3] = v.w;
}

/* cos and sin of four pairs. */
struct rope_angles {
    float c[4], s[4];
};

GPU_DEVICE struct rope_angles rope_load_angles(const char *table_row, int first_pair) {
    const float *const row = (const float *)table_row + first_pair;
    struct rope_angles a;
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        a.c[i] = row[i];
        a.s[i] = row[KV_ROPE / 2 + i];
    }
    return a;
}

/* Turns eight channels back, in fp32. */
GPU_DEVICE void rope_turn_back(float *x, const struct rope_angles &angle, int fused) {
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const float e = x[2 * i], o = x[2 * i + 1], c = angle.c[i], s = angle.s[i];
        const float os = o * s, es = e * s;
        x[2 * i] = fused ? gpu_fma(e, c, os) : e * c + os;
        x[2 * i + 1] = fused ? gpu_fma(o, c, -es) : o * c - es;
    }
}

GPU_DEVICE void rope_values(float *x, gpu_u4 v) {
    const uint32_t codes[4] = {v.x, v.y, v.z, v.w};
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        x[2 * i] = num_bf16_low(codes[i]);
        x[2 * i + 1] = num_bf16_high(codes[i]);
    }
}

GPU_DEVICE gpu_u4 rope_codes(const float *x) {
    gpu_u4 v;
    v.x = num_bf16x2(x[0], x[1]);
    v.y = num_bf16x2(x[2], x[3]);
    v.z = num_bf16x2(x[4], x[5]);
    v.w = num_bf16x2(x[6], x[7]);
    return v;
}

/* Positions in either dtype. */
struct rope_positions {
    const char *data;
    int wide; /* i64 */
};

GPU_DEVICE int64_t rope_position(const struct rope_positions &positions, int64_t t) {
    return positions.wide ? ((const int64_t *)positions.data)[t]
                          : (int64_t)((const int32_t *)positions.data)[t];
}

static inline struct rope_positions rope_positions_of(const dsv4_tensor *t) {
    return {(const char *)t->data, t->dtype == DSV4_I64};
}

static inline int rope_supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const o = dsv4_find(call, "o");
    const dsv4_tensor *const positions = dsv4_find(call, "positions");
    const bool i32 = !call_absent(positions) && positions->dtype == DSV4_I32;
    CALL_NEED(call, "o", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "o", 4, why);
    CALL_NEED(call, "positions", i32 ? DSV4_I32 : DSV4_I64, 1, why);
    CALL_NEED(call, "rope_table", DSV4_F32, 2, why);
    if (o->shape[2] != KV_HEAD)
        return call_unsupported(why, "o: heads of %lld; these kernels take heads of 512",
                                (long long)o->shape[2]);
    return DSV4_OK;
}

#endif
