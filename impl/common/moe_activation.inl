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

/* What whoever takes a weighed product rounds to bf16: nothing, the product, or silu on the way to it. ABOUT: nothing, and an
 * estimate will do. */
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

/* Gate number i of eight, or up. */
GPU_DEVICE float activation_number(const uint32_t *codes, int i) {
    return (i & 1) != 0 ? num_bf16_high(codes[i / 2]) : num_bf16_low(codes[i / 2]);
}

/* What a lane has of a row, and how it is weighed. */
struct activation_eights {
    uint32_t gates[4], ups[4];
    float limit, weight;
};

template <int ROUNDING>
GPU_DEVICE float activation_product(const struct activation_eights &x, float gate, float up) {
    return activation_of<ROUNDING>(activation_clamp(gate, up, x.limit)) * x.weight;
}

#define ACTIVATION_ESTIMATES (GPU_CUDA || GPU_EMULATED)
#if ACTIVATION_ESTIMATES
/*
 * silu within 8 * 2^-23 of itself for gates that are near (activation_near), by a test for each of them: the product with
 * log2(e) is up to 16 where it matters, and errs by 4 of these units; exp2's estimate by 2, the reciprocal's by 1. The
 * canon's own roundings on the way to a weighed product add less than 3. What is rounded to the same number 32 units in the
 * last place up and down is therefore what the canon's is rounded to; the rest, of bf16 one in 1024, is computed as it says.
 */
GPU_DEVICE float activation_silu_about(float gate) {
    return gate * num_reciprocal_about(1.0f + num_exp2_about(gate * -0x1.715476p+0f));
}

/* Whether magnitudes are 2^-40 and more, gates up to 11 and ups up to 32, and so is the weight: nothing that comes of them is
 * subnormal. Clamps the codes, whose limit is a bf16 number. */
#define ACTIVATION_LEAST 0x2B802B80u
#define ACTIVATION_MOST_GATE 0x41304130u
#define ACTIVATION_MOST_UP 0x42004200u
GPU_DEVICE bool activation_near(const struct activation_eights &x, uint32_t *gates, uint32_t *ups) {
    const uint32_t limit = gpu_bits(x.limit) | gpu_bits(x.limit) >> 16;
    uint32_t least = ACTIVATION_LEAST, most_gate = ACTIVATION_MOST_GATE,
             most_up = ACTIVATION_MOST_UP;
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        gates[i] = num_bf16x2_min(x.gates[i], limit);
        ups[i] = num_bf16x2_max(num_bf16x2_min(x.ups[i], limit), limit | 0x80008000u);
        const uint32_t gate = gates[i] & 0x7FFF7FFFu, up = ups[i] & 0x7FFF7FFFu;
        least = gpu_min_u16x2(least, gpu_min_u16x2(gate, up));
        most_gate = gpu_max_u16x2(most_gate, gate);
        most_up = gpu_max_u16x2(most_up, up);
    }
    const float weight = gpu_abs(x.weight);
    return least == ACTIVATION_LEAST && most_gate == ACTIVATION_MOST_GATE &&
           most_up == ACTIVATION_MOST_UP && weight >= 0x1p-40f && weight <= 32.0f &&
           (gpu_bits(x.limit) & 0xFFFFu) == 0;
}

/* Whether all within 32 units lies between the same two neighbours of a row of numbers 2^BITS units apart, one of them `one`. */
template <int BITS> GPU_DEVICE bool activation_is_sure(float x, uint32_t one) {
    return ((gpu_bits(x) - one + 32u) & ((1u << BITS) - 1u)) >= 64u;
}

/* Whether its bf16 code is the same. */
GPU_DEVICE bool activation_rounds(float x) { return activation_is_sure<16>(x, 0x8000u); }

/* The same of two at once: the least of what such bits are, 64 and more where sure. */
GPU_DEVICE uint32_t activation_surest(uint32_t sure, float a, float b) {
    return gpu_add_min_u16x2(gpu_low_halves(gpu_bits(a), gpu_bits(b)), 0x80208020u, sure);
}
GPU_DEVICE bool activation_all_sure(uint32_t sure) {
    return gpu_min_u16x2(sure, 0x00400040u) == 0x00400040u;
}

/* Computes what the mask names as the canon says. Few lanes come here, one by one with what they have. */
template <int ROUNDING>
GPU_DEVICE void activation_mend(float *out, const struct activation_eights &x, uint32_t mask) {
    GPU_NO_UNROLL while (mask != 0) {
        const int at = gpu_lowest_bit(mask);
        const bool upper = (at & 4) != 0, second = (at & 2) != 0;
        const uint32_t gates =
            upper ? (second ? x.gates[3] : x.gates[2]) : (second ? x.gates[1] : x.gates[0]);
        const uint32_t ups =
            upper ? (second ? x.ups[3] : x.ups[2]) : (second ? x.ups[1] : x.ups[0]);
        const bool odd = (at & 1) != 0;
        const float gate = odd ? num_bf16_high(gates) : num_bf16_low(gates);
        const float up = odd ? num_bf16_high(ups) : num_bf16_low(ups);
        const float product = activation_product<ROUNDING>(x, gate, up);
        GPU_UNROLL for (int i = 0; i < 8; i++) out[i] = at == i ? product : out[i];
        mask &= mask - 1;
    }
}

/* Products, where numbers are near. Returns the products that are not sure to be rounded as the canon's; ABOUT: all, or none. */
template <int ROUNDING>
GPU_DEVICE uint32_t activation_about(float *out, const struct activation_eights &x) {
    uint32_t gates[4], ups[4], sure = 0xFFFFFFFFu, mask = 0;
    if (!activation_near(x, gates, ups)) sure = 0;
    float check[8];
    GPU_UNROLL for (int i = 0; i < 8; i += 2) {
        float a = activation_silu_about(activation_number(gates, i));
        float b = activation_silu_about(activation_number(gates, i + 1));
        check[i] = a;
        check[i + 1] = b;
        if (ROUNDING == ACTIVATION_SILU) {
            const uint32_t codes = num_bf16x2_of_numbers(a, b);
            a = num_bf16_low(codes);
            b = num_bf16_high(codes);
        }
        out[i] = a * activation_number(ups, i) * x.weight;
        out[i + 1] = b * activation_number(ups, i + 1) * x.weight;
        if (ROUNDING == ACTIVATION_ONCE) {
            check[i] = out[i];
            check[i + 1] = out[i + 1];
        }
        if (ROUNDING != ACTIVATION_ABOUT) sure = activation_surest(sure, check[i], check[i + 1]);
    }
    if (activation_all_sure(sure)) return 0;
    if (sure == 0 || ROUNDING == ACTIVATION_ABOUT) return 0xFFu;
    GPU_UNROLL for (int i = 0; i < 8; i++) mask |= activation_rounds(check[i]) ? 0 : 1u << i;
    return mask;
}
#endif

/* Reads eight columns; outside of the row any numbers. */
GPU_DEVICE struct activation_eights activation_read(const struct activation_args &a,
                                                    const struct activation_place &place) {
    struct activation_eights x;
    gpu_u4 gate, up;
    gate.x = gate.y = gate.z = gate.w = 0x3F803F80u;
    up = gate;
    x.limit = a.limit;
    x.weight = 1.0f;
    if (place.inside) {
        const char *const at = a.x + place.row * a.stride + 2 * place.column;
        gate = *(const gpu_u4 *)at;
        up = *(const gpu_u4 *)(at + 2 * (int64_t)a.width);
        if (a.weights != NULL) x.weight = a.weights[place.row];
    }
    x.gates[0] = gate.x;
    x.gates[1] = gate.y;
    x.gates[2] = gate.z;
    x.gates[3] = gate.w;
    x.ups[0] = up.x;
    x.ups[1] = up.y;
    x.ups[2] = up.z;
    x.ups[3] = up.w;
    return x;
}

template <int ROUNDING>
GPU_DEVICE void activation_exactly(float *out, const struct activation_eights &x) {
    GPU_UNROLL for (int i = 0; i < 8; i++) out[i] =
        activation_product<ROUNDING>(x, activation_number(x.gates, i), activation_number(x.ups, i));
}

/* Eight products, times the row's weight, which will be rounded as the canon's. Returns whether all are sure to be numbers. */
template <int ROUNDING>
GPU_DEVICE bool activation_eight(float *out, const struct activation_eights &x) {
#if ACTIVATION_ESTIMATES
    const uint32_t mask = activation_about<ROUNDING>(out, x);
    activation_mend<ROUNDING>(out, x, mask);
    return mask == 0;
#else
    activation_exactly<ROUNDING>(out, x);
    return false;
#endif
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
