/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SwiGLU with a clamp: a team takes 256 columns of a row, a lane eight neighbours of either half in one 16-byte load
 * each. Rows from n_rows[0] on are loaded in vain, so that nothing waits for their number.
 */
#ifndef DSV4_MOE_ACTIVATION_INL
#define DSV4_MOE_ACTIVATION_INL

#include "call.h"
#include "num.inl"

enum { ACTIVATION_COLUMNS = 8 * TEAM };

struct activation_args {
    const char *x;
    const float *weights;
    const int32_t *n_rows;
    int64_t stride, tasks;
    struct gpu_divisor teams; /* teams per row */
    int width;
    float limit; /* infinity: none */
};

/* Where this lane works; `inside`: on columns that there are. */
struct activation_place {
    int64_t row;
    int column;
    bool inside, stored;
};

GPU_DEVICE struct activation_place activation_open(const struct activation_args &a, int64_t task) {
    struct activation_place place;
    place.row = gpu_quotient(task, a.teams);
    place.column = (int)(task - place.row * a.teams.value) * ACTIVATION_COLUMNS + 8 * gpu_lane();
    place.inside = place.column < a.width;
    place.stored = place.inside && (a.n_rows == NULL || place.row < a.n_rows[0]);
    return place;
}

template <bool ROUNDED> GPU_DEVICE float activation_of(float gate, float up, float limit) {
    gate = gate > limit ? limit : gate;
    up = up > limit ? limit : up;
    up = up < -limit ? -limit : up;
    float silu = gpu_divide_float(gate, 1.0f + elementary_exp(-gate));
    if (ROUNDED) silu = num_bf16_low(num_bf16x2(silu, 0.0f));
    return silu * up;
}

template <bool ROUNDED>
GPU_DEVICE void activation_two(float *out, uint32_t gate, uint32_t up, float limit) {
    out[0] = activation_of<ROUNDED>(num_bf16_low(gate), num_bf16_low(up), limit);
    out[1] = activation_of<ROUNDED>(num_bf16_high(gate), num_bf16_high(up), limit);
}

GPU_DEVICE gpu_u4 activation_zeros(void) {
    gpu_u4 zeros;
    zeros.x = zeros.y = zeros.z = zeros.w = 0;
    return zeros;
}

/* Eight products, times the row's weight; 0 outside of the row. */
template <bool ROUNDED>
GPU_DEVICE void activation_eight(const struct activation_args &a,
                                 const struct activation_place &place, float *out) {
    const char *const at = a.x + place.row * a.stride + 2 * place.column;
    gpu_u4 gate = activation_zeros(), up = gate;
    if (place.inside) {
        gate = *(const gpu_u4 *)at;
        up = *(const gpu_u4 *)(at + 2 * (int64_t)a.width);
    }
    activation_two<ROUNDED>(out, gate.x, up.x, a.limit);
    activation_two<ROUNDED>(out + 2, gate.y, up.y, a.limit);
    activation_two<ROUNDED>(out + 4, gate.z, up.z, a.limit);
    activation_two<ROUNDED>(out + 6, gate.w, up.w, a.limit);
    if (a.weights == NULL) return;
    const float weight = a.weights[place.row];
    GPU_UNROLL for (int i = 0; i < 8; i++) out[i] = out[i] * weight;
}

/* ---- host ---- */

static inline float activation_bf16(float x) {
    const uint32_t bits = gpu_bits(x);
    return gpu_float((bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u);
}

static inline int activation_supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "gate_up", DSV4_BF16, 2, why);
    if (!call_absent(dsv4_find(call, "weights"))) CALL_NEED(call, "weights", DSV4_F32, 1, why);
    if (!call_absent(dsv4_find(call, "n_rows"))) CALL_NEED(call, "n_rows", DSV4_I32, 1, why);
    return DSV4_OK;
}

static inline void activation_args_of(const dsv4_call *call, struct activation_args &a,
                                      bool weighted, bool limit_rounded) {
    const dsv4_tensor *const x = dsv4_find(call, "gate_up"), *const n_rows =
                                                                 dsv4_find(call, "n_rows");
    const dsv4_tensor *const weights = dsv4_find(call, "weights");
    const float limit = dsv4_float(call, "limit", 10.0f);
    a.x = (const char *)x->data;
    a.stride = x->stride[0];
    a.width = (int)(x->shape[1] / 2);
    a.weights = !weighted || call_absent(weights) ? NULL : (const float *)weights->data;
    a.n_rows = call_absent(n_rows) ? NULL : (const int32_t *)n_rows->data;
    a.limit = limit <= 0.0f   ? gpu_float(0x7F800000u)
              : limit_rounded ? activation_bf16(limit)
                              : limit;
    a.teams = call_divisor(call_ceil(a.width, ACTIVATION_COLUMNS));
    a.tasks = x->shape[0] * a.teams.value;
}

#endif
