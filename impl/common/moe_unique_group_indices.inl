/* SPDX-License-Identifier: Apache-2.0 */
/* moe_unique_group_indices: a lane per token, with a set of 128 bits. */
#include "call.h"

struct unique_args {
    int64_t *groups;
    int64_t tokens;
    int topk;
};

/* TOPK 0: any number of slots. */
template <int TOPK>
__global__ void __launch_bounds__(CALL_THREADS) unique_kernel(const struct unique_args a) {
    enum { EACH = TOPK > 0 ? TOPK : 1 };
    const int64_t t = gpu_block() * CALL_THREADS + gpu_thread();
    if (t >= a.tokens) return;
    const int topk = TOPK > 0 ? TOPK : a.topk;
    int64_t *const row = a.groups + t * topk, some[EACH];
    uint64_t low = 0, high = 0;
    GPU_UNROLL
    for (int k = 0; TOPK > 0 && k < EACH; k++) some[k] = row[k];
    GPU_UNROLL
    for (int k = 0; k < topk; k++) {
        const int64_t group = TOPK > 0 ? some[TOPK > 0 ? k : 0] : row[k];
        const uint64_t bit = group >= 0 ? (uint64_t)1 << (group & 63) : 0;
        const bool upper = group >= 64;
        if (((upper ? high : low) & bit) != 0) row[k] = -1;
        low |= upper ? 0 : bit;
        high |= upper ? bit : 0;
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const groups = dsv4_find(call, "groups");
    CALL_NEED(call, "groups", DSV4_I64, 2, why);
    if (groups->shape[0] > 1 && groups->stride[0] != 8 * groups->shape[1])
        return call_unsupported(why, "groups: not contiguous");
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const groups = dsv4_find(call, "groups");
    const gpu_stream stream = (gpu_stream)call->stream;
    const struct unique_args a = {(int64_t *)groups->data, groups->shape[0], (int)groups->shape[1]};
    dim3 grid;
    if (a.tokens == 0 || a.topk == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.tokens, CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    if (a.topk == 6)
        GPU_LAUNCH(unique_kernel<6>, grid, CALL_THREADS, stream, a);
    else if (a.topk == 8)
        GPU_LAUNCH(unique_kernel<8>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(unique_kernel<0>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_unique_group_indices)
