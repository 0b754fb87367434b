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

/* What whoever takes a weighed product rounds to bf16: nothing, the product, or silu on the way to it. ABOUT: an estimate will
 * do. */
enum activation_rounding {
    ACTIVATION_UNROUNDED,
    ACTIVATION_ONCE,
    ACTIVATION_SILU,
    ACTIVATION_ABOUT
};

/* A clamped pair. */
struct activation_pair {
    float gate, up;
};

GPU_DEVICE struct activation_pair activation_clamp(float gate, float up, float limit) {
    struct activation_pair pair;
    pair.gate = gate > limit ? limit : gate;
    up = up > limit ? limit : up;
    pair.up = up < -limit ? -limit : up;
    return pair;
}

template <int ROUNDING> GPU_DEVICE float activation_of(struct activation_pair pair) {
    float silu = gpu_divide_float(pair.gate, 1.0f + elementary_exp(-pair.gate));
    if (ROUNDING == ACTIVATION_SILU) silu = num_bf16_low(num_bf16x2(silu, 0.0f));
    return silu * pair.up;
}

#define ACTIVATION_ESTIMATES (GPU_CUDA || GPU_EMULATED)
#if ACTIVATION_ESTIMATES
/*
 * silu within 16 units in the last place for gates of activation_far: exp2's estimate errs by 2, the reciprocal's by 1, and
 * the canon's own roundings on the way to a weighed product count here too. What is rounded to the same number 32 units up
 * and down is therefore what the canon's is rounded to; the rest, of bf16 one in 1024, is computed as it says.
 */
GPU_DEVICE float activation_silu_about(float gate) {
    const float shifted = gpu_fma(gate, -0x1.715476p+0f, 0x1.8p23f), n = shifted - 0x1.8p23f;
    float rest = gpu_fma(gate, -0x1.715476p+0f, -n);
    rest = gpu_fma(gate, -0x1.4ae0c0p-26f, rest);
    const uint32_t power = gpu_bits(num_exp2_about(rest)) + (gpu_bits(shifted) << 23);
    return gate * num_reciprocal_about(1.0f + gpu_float(power));
}

/* How far a magnitude is above 2^-40: up to 2^5 less than ACTIVATION_FAR, below and NaN more. Nothing that comes of two such
 * numbers and such a weight is subnormal. */
#define ACTIVATION_FAR (2u * (45u << 23))
GPU_DEVICE uint32_t activation_far(float x) { return 2u * gpu_bits(x) - 2u * (87u << 23); }
GPU_DEVICE uint32_t activation_farther(uint32_t far, float x) {
    const uint32_t own = activation_far(x);
    return far > own ? far : own;
}

/* Whether all within 32 units lies between the same two neighbours of a row of numbers 2^BITS units apart, one of them `one`. */
template <int BITS> GPU_DEVICE bool activation_is_sure(float x, uint32_t one) {
    return ((gpu_bits(x) - one + 32u) & ((1u << BITS) - 1u)) >= 64u;
}

/* Whether a significand without its last BITS bits is the same. */
template <int BITS> GPU_DEVICE bool activation_rounds(float x) {
    return activation_is_sure<BITS>(x, 1u << (BITS - 1));
}

/* Clamped numbers; of NaN any. */
GPU_DEVICE struct activation_pair activation_clamp_numbers(float gate, float up, float limit) {
    struct activation_pair pair;
    pair.gate = gpu_min(gate, limit);
    pair.up = gpu_max(gpu_min(up, limit), -limit);
    return pair;
}

/* As activation_of times the weight where numbers are `near`. */
template <int ROUNDING>
GPU_DEVICE float activation_weighed(float gate, float up, float limit, float weight, bool near) {
    const struct activation_pair pair = activation_clamp_numbers(gate, up, limit);
    float silu = activation_silu_about(pair.gate);
    if (ROUNDING == ACTIVATION_SILU) {
        near = near && activation_rounds<16>(silu);
        silu = num_bf16_low(num_bf16x2_of_numbers(silu, 0.0f));
    }
    const float product = silu * pair.up * weight;
    if (ROUNDING == ACTIVATION_ONCE) near = near && activation_rounds<16>(product);
    if (ROUNDING == ACTIVATION_ABOUT || near) return product;
    return activation_of<ROUNDING>(activation_clamp(gate, up, limit)) * weight;
}

/* Returns whether values are within 32 units of the canon's (ABOUT); else they will be rounded as these. */
template <int ROUNDING>
GPU_DEVICE bool activation_weigh(float *out, const float *gates, const float *ups, float limit,
                                 float weight) {
    uint32_t far = activation_far(weight);
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        far = activation_farther(activation_farther(far, gates[i]), ups[i]);
    }
    const bool near = far < ACTIVATION_FAR && limit >= 0x1p-40f;
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        out[i] = activation_weighed<ROUNDING>(gates[i], ups[i], limit, weight, near);
    }
    return near;
}
#endif

template <int ROUNDING>
GPU_DEVICE bool activation_weigh_exactly(float *out, const float *gates, const float *ups,
                                         float limit, float weight) {
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        out[i] = activation_of<ROUNDING>(activation_clamp(gates[i], ups[i], limit)) * weight;
    }
    return true;
}

/* Eight products, times the row's weight; 0 outside of the row. Returns as activation_weigh. */
template <int ROUNDING>
GPU_DEVICE bool activation_eight(const struct activation_args &a,
                                 const struct activation_place &place, float *out) {
    const char *const at = a.x + place.row * a.stride + 2 * place.column;
    if (!place.inside) {
        GPU_UNROLL for (int i = 0; i < 8; i++) out[i] = 0.0f;
        return true;
    }
    const gpu_u4 gate = *(const gpu_u4 *)at, up = *(const gpu_u4 *)(at + 2 * (int64_t)a.width);
    const float weight = a.weights == NULL ? 1.0f : a.weights[place.row];
    const uint32_t gates[4] = {gate.x, gate.y, gate.z, gate.w}, ups[4] = {up.x, up.y, up.z, up.w};
    float g[8], u[8];
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        g[2 * i] = num_bf16_low(gates[i]);
        g[2 * i + 1] = num_bf16_high(gates[i]);
        u[2 * i] = num_bf16_low(ups[i]);
        u[2 * i + 1] = num_bf16_high(ups[i]);
    }
#if ACTIVATION_ESTIMATES
    if constexpr (ROUNDING != ACTIVATION_UNROUNDED)
        return activation_weigh<ROUNDING>(out, g, u, a.limit, weight);
#endif
    return activation_weigh_exactly<ROUNDING>(out, g, u, a.limit, weight);
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
