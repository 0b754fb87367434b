/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_normalize_weight: a lane per token. Rows of six or eight weights go through shared memory, a team's together, so that
 * lanes load and store 16 bytes next to each other.
 */
#include "call.h"

struct normalize_args {
    const float *weights;
    float *denominators, *normalized;
    int64_t tokens;
    int topk;
};

/* Of a team: their rows are whole pieces of 16 bytes for each lane. */
enum { NORMALIZE_TOKENS = 2 * TEAM };

/* n floats by a team; MOST, a multiple of 128, bounds them. */
template <int MOST> GPU_DEVICE void normalize_copy(float *to, const float *from, int n) {
    GPU_UNROLL
    for (int i = 0; i < MOST / (4 * TEAM); i++) {
        const int at = 4 * (i * TEAM + gpu_lane());
        if (at + 4 <= n) *(gpu_f4 *)(to + at) = *(const gpu_f4 *)(from + at);
    }
    const int at = n / 4 * 4 + gpu_lane();
    if (at < n) to[at] = from[at];
}

/* The sum of a row in shared memory, in the place of which its quotients are left. */
template <int TOPK> GPU_DEVICE float normalize_row(float *row) {
    gpu_f2 w[TOPK / 2];
    float sum = 1e-20f;
    GPU_UNROLL
    for (int k = 0; k < TOPK / 2; k++) {
        w[k] = ((const gpu_f2 *)row)[k];
        sum += w[k].x;
        sum += w[k].y;
    }
    GPU_UNROLL
    for (int k = 0; k < TOPK / 2; k++) {
        w[k].x = gpu_divide_float(w[k].x, sum);
        w[k].y = gpu_divide_float(w[k].y, sum);
        ((gpu_f2 *)row)[k] = w[k];
    }
    return sum;
}

/* Of 16-byte aligned weights. */
template <int TOPK>
__global__ void __launch_bounds__(CALL_THREADS, 8) normalize_kernel(const struct normalize_args a) {
    enum { MOST = NORMALIZE_TOKENS * TOPK };
    __shared__ gpu_f4 tiles[CALL_TEAMS][MOST / 4];
    float *const tile = (float *)tiles[gpu_team()];
    const int64_t first = (gpu_block() * CALL_TEAMS + gpu_team()) * NORMALIZE_TOKENS;
    if (first >= a.tokens) return;
    const int64_t left = a.tokens - first;
    const int tokens = left < NORMALIZE_TOKENS ? (int)left : (int)NORMALIZE_TOKENS;
    normalize_copy<MOST>(tile, a.weights + first * TOPK, tokens * TOPK);
    team_barrier();
    GPU_NO_UNROLL
    for (int t = gpu_lane(); t < tokens; t += TEAM)
        a.denominators[first + t] = normalize_row<TOPK>(tile + t * TOPK);
    team_barrier();
    normalize_copy<MOST>(a.normalized + first * TOPK, tile, tokens * TOPK);
}

/* Any number of slots, anywhere. */
__global__ void __launch_bounds__(CALL_THREADS)
    normalize_any_kernel(const struct normalize_args a) {
    const int64_t t = gpu_block() * CALL_THREADS + gpu_thread();
    if (t >= a.tokens) return;
    const float *const w = a.weights + t * a.topk;
    float *const y = a.normalized + t * a.topk;
    float sum = 1e-20f;
    for (int k = 0; k < a.topk; k++) sum += w[k];
    a.denominators[t] = sum;
    for (int k = 0; k < a.topk; k++) y[k] = gpu_divide_float(w[k], sum);
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
    const bool staged = (a.topk == 6 || a.topk == 8) && (uintptr_t)a.weights % 16 == 0 &&
                        (uintptr_t)a.normalized % 16 == 0;
    const int per_block = staged ? CALL_TEAMS * NORMALIZE_TOKENS : CALL_THREADS;
    const int status = call_grid(&grid, call_ceil(a.tokens, per_block), why);
    if (status != DSV4_OK) return status;
    if (!staged)
        GPU_LAUNCH(normalize_any_kernel, grid, CALL_THREADS, stream, a);
    else if (a.topk == 6)
        GPU_LAUNCH(normalize_kernel<6>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(normalize_kernel<8>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_normalize_weight)
