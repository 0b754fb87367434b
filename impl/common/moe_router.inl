/* SPDX-License-Identifier: Apache-2.0 */
/* What the routing kernels share: the score of a logit, the weights of a token's experts, and their stores. */
#ifndef DSV4_MOE_ROUTER_INL
#define DSV4_MOE_ROUTER_INL

#include "call.h"
#include "elementary.inl"

enum { ROUTER_LOG1P, ROUTER_LOG_ONE_PLUS, ROUTER_MAX_FORM, ROUTER_NO_THRESHOLD, ROUTER_BASE_TWO };
enum { ROUTER_DIVIDE_FIRST, ROUTER_FACTOR_FIRST, ROUTER_MULTIPLY_FIRST };
enum { ROUTER_PLAIN, ROUTER_ONE_IF_ZERO, ROUTER_FLOOR, ROUTER_START };
enum { ROUTER_MOST = 8 };

struct router_args {
    const char *logits;
    const uint8_t *padding;
    char *weights, *ids, *source;
    int64_t tokens, logits_row, weights_row, ids_row, source_row;
    float factor;
    int experts, topk, shared, ids_wide, order, denominator;
};

template <int SOFTPLUS> GPU_DEVICE float router_score(float x) {
    float y;
    if (SOFTPLUS == ROUTER_MAX_FORM) {
        const float magnitude = gpu_float(gpu_bits(x) & 0x7FFFFFFFu);
        y = (x > 0.0f ? x : 0.0f) + elementary_log(1.0f + elementary_exp(-magnitude));
    } else if (SOFTPLUS == ROUTER_BASE_TWO) {
        y = elementary_log2(1.0f + elementary_exp2(x * 0x1.715476p+0f)) * 0x1.62e43p-1f;
        if (x > 20.0f) y = x;
    } else {
        const float e = elementary_exp(x);
        y = SOFTPLUS == ROUTER_LOG_ONE_PLUS ? elementary_log(1.0f + e) : elementary_log1p(e);
        if (SOFTPLUS != ROUTER_NO_THRESHOLD && x > 20.0f) y = x;
    }
    return x != x ? 0.0f : elementary_sqrt(y);
}

#if !GPU_HIP
#if GPU_CUDA
GPU_DEVICE float router_exp2_about(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
GPU_DEVICE float router_root_about(float x) {
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#else
GPU_DEVICE float router_exp2_about(float x) { return exp2f(x); }
GPU_DEVICE float router_root_about(float x) { return sqrtf(x); }
#endif

/*
 * The score within 4e-4 * (1 + score), of any softplus, for x below ROUTER_ESTIMATED. What counts: where 1 + e is rounded,
 * a softplus is off by up to 2^-24 and its root by up to 2^-12; the estimates here by less than 1e-4 of it, of which the
 * polynomial, log1p(e) / e for e up to 1, has 6e-5 and the root half. In base two a rounded product adds 2^-18 of e.
 */
#define ROUTER_ESTIMATED 80.0f
GPU_DEVICE float router_estimate(float x) {
    const float e = router_exp2_about(__builtin_fabsf(x) * -0x1.715476p+0f);
    float p = gpu_fma(0.0413470604f, e, -0.1574267f);
    p = gpu_fma(p, e, 0.306300581f);
    p = gpu_fma(p, e, -0.496977717f);
    p = gpu_fma(p, e, 0.999943256f);
    return router_root_about(gpu_fma(p, e, gpu_max(x, 0.0f)));
}
#endif

/* This slot's weight, given the sum over the slots. */
GPU_DEVICE float router_weight(const struct router_args &a, float w, float sum) {
    if (a.denominator == ROUTER_ONE_IF_ZERO) sum = sum > 0.0f ? sum : 1.0f;
    if (a.denominator == ROUTER_FLOOR) sum = sum > 1e-20f ? sum : 1e-20f;
    float y;
    if (a.order == ROUTER_DIVIDE_FIRST)
        y = gpu_divide_float(w, sum) * a.factor;
    else if (a.order == ROUTER_FACTOR_FIRST)
        y = w * gpu_divide_float(a.factor, sum);
    else
        y = gpu_divide_float(w * a.factor, sum);
    return y != y ? ELEMENTARY_NAN : y;
}

GPU_DEVICE void router_store(const struct router_args &a, int64_t t, int k, int id, float weight) {
    *(float *)(a.weights + t * a.weights_row + 4 * k) = weight;
    if (a.ids_wide)
        *(int64_t *)(a.ids + t * a.ids_row + 8 * k) = id;
    else
        *(int32_t *)(a.ids + t * a.ids_row + 4 * k) = id;
    if (a.source != NULL)
        *(int32_t *)(a.source + t * a.source_row + 4 * k) = (int32_t)(k * a.tokens + t);
}

/* Slot k of a token that is no padding: the routed expert that it was given, or a shared one, whose weight is 1. */
GPU_DEVICE void router_store_slot(const struct router_args &a, int64_t t, int k, int id,
                                  float weight) {
    const bool shared = k >= a.topk;
    router_store(a, t, k, shared ? a.experts + k - a.topk : id, shared ? 1.0f : weight);
}

/* ---- host ---- */

static inline int router_supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const ids = dsv4_find(call, "ids"), *const source =
                                                               dsv4_find(call, "source_rows");
    CALL_NEED(call, "logits", DSV4_F32, 2, why);
    CALL_NEED(call, "weights", DSV4_F32, 2, why);
    if (!call_has(ids, DSV4_I64, 2)) CALL_NEED(call, "ids", DSV4_I32, 2, why);
    if (!call_absent(source)) CALL_NEED(call, "source_rows", DSV4_I32, 2, why);
    if (!call_absent(dsv4_find(call, "is_padding"))) CALL_NEED(call, "is_padding", DSV4_U8, 1, why);
    if (ids->shape[1] > ROUTER_MOST)
        return call_unsupported(why, "ids: %lld slots; these kernels take up to 8",
                                (long long)ids->shape[1]);
    return DSV4_OK;
}

static inline int router_softplus_of(const dsv4_call *call) {
    return dsv4_is(call, "softplus", "log_one_plus")   ? ROUTER_LOG_ONE_PLUS
           : dsv4_is(call, "softplus", "max_form")     ? ROUTER_MAX_FORM
           : dsv4_is(call, "softplus", "no_threshold") ? ROUTER_NO_THRESHOLD
           : dsv4_is(call, "softplus", "base_two")     ? ROUTER_BASE_TWO
                                                       : ROUTER_LOG1P;
}

static inline void router_open(const dsv4_call *call, struct router_args &a) {
    const dsv4_tensor *const logits = dsv4_find(call, "logits"), *const ids =
                                                                     dsv4_find(call, "ids");
    const dsv4_tensor *const weights = dsv4_find(call, "weights");
    const dsv4_tensor *const padding = dsv4_find(call, "is_padding");
    const dsv4_tensor *const source = dsv4_find(call, "source_rows");
    a.logits = (const char *)logits->data;
    a.logits_row = logits->stride[0];
    a.padding = call_absent(padding) ? NULL : (const uint8_t *)padding->data;
    a.weights = (char *)weights->data;
    a.weights_row = weights->stride[0];
    a.ids = (char *)ids->data;
    a.ids_row = ids->stride[0];
    a.ids_wide = ids->dtype == DSV4_I64;
    a.source = call_absent(source) ? NULL : (char *)source->data;
    a.source_row = call_absent(source) ? 0 : source->stride[0];
    a.tokens = logits->shape[0];
    a.experts = (int)logits->shape[1];
    a.shared = (int)dsv4_int(call, "shared", 0);
    a.topk = (int)ids->shape[1] - a.shared;
    a.factor = dsv4_float(call, "factor", 1.5f);
    a.order = dsv4_is(call, "order", "factor_first")     ? ROUTER_FACTOR_FIRST
              : dsv4_is(call, "order", "multiply_first") ? ROUTER_MULTIPLY_FIRST
                                                         : ROUTER_DIVIDE_FIRST;
    a.denominator = dsv4_is(call, "denominator", "one_if_zero") ? ROUTER_ONE_IF_ZERO
                    : dsv4_is(call, "denominator", "floor")     ? ROUTER_FLOOR
                    : dsv4_is(call, "denominator", "start")     ? ROUTER_START
                                                                : ROUTER_PLAIN;
}

#endif
