/* SPDX-License-Identifier: Apache-2.0 */
/* moe_normalize_weight: a lane per token. */
#include "call.h"

struct normalize_args {
    const float *weights;
    float *denominators, *normalized;
    int64_t tokens;
    int topk;
};

/* TOPK 0: any number of slots. */
template <int TOPK>
__global__ void __launch_bounds__(CALL_THREADS) normalize_kernel(const struct normalize_args a) {
    enum { EACH = TOPK > 0 ? TOPK : 1 };
    const int64_t t = gpu_block() * CALL_THREADS + gpu_thread();
    if (t >= a.tokens) return;
    const int topk = TOPK > 0 ? TOPK : a.topk;
    const float *const w = a.weights + t * topk;
    float *const y = a.normalized + t * topk, some[EACH];
    float sum = 1e-20f;
    GPU_UNROLL
    for (int k = 0; TOPK > 0 && k < EACH; k++) some[k] = w[k];
    GPU_UNROLL
    for (int k = 0; k < topk; k++) sum += TOPK > 0 ? some[TOPK > 0 ? k : 0] : w[k];
    a.denominators[t] = sum;
    GPU_UNROLL
    for (int k = 0; k < topk; k++)
        y[k] = gpu_divide_float(TOPK > 0 ? some[TOPK > 0 ? k : 0] : w[k], sum);
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const w = dsv4_find(call, "weights");
    CALL_NEED(call, "weights", DSV4_F32, 2, why);
    CALL_NEED(call, "denominators", DSV4_F32, 1, why);
    CALL_NEED(call, "normalized", DSV4_F32, 2, why);
    if (w->shape[0] > 1 && w->stride[0] != 4 * w->shape[1])
        return call_unsupported(why, "weights: not contiguous");
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const w = dsv4_find(call, "weights");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct normalize_args a;
    dim3 grid;
    a.weights = (const float *)w->data;
    a.denominators = (float *)dsv4_find(call, "denominators")->data;
    a.normalized = (float *)dsv4_find(call, "normalized")->data;
    a.tokens = w->shape[0];
    a.topk = (int)w->shape[1];
    if (a.tokens == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.tokens, CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    if (a.topk == 6)
        GPU_LAUNCH(normalize_kernel<6>, grid, CALL_THREADS, stream, a);
    else if (a.topk == 8)
        GPU_LAUNCH(normalize_kernel<8>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(normalize_kernel<0>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_normalize_weight)
