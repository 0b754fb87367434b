/* SPDX-License-Identifier: Apache-2.0 */
/* moe_mask_indices_by_tp: a lane takes four ids. */
#include "moe_dispatch.inl"

struct mask_args {
    struct dispatch_ids d; /* without a limit */
    char *masked;
    struct gpu_divisor each, ranks; /* experts of a rank; tensor-parallel ranks */
    int mine;
};

GPU_DEVICE int mask_one(const struct mask_args &a, int id) {
    if (id < 0) return -1;
    const int rank = (int)gpu_quotient(id, a.each), place = id - rank * (int)a.each.value;
    const int other = (int)gpu_quotient(rank, a.ranks);
    if (rank - other * (int)a.ranks.value != a.mine) return -1;
    return other * (int)a.each.value + place;
}

__global__ void __launch_bounds__(CALL_THREADS) mask_kernel(const struct mask_args a) {
    const int first = 4 * CALL_THREADS * (int)gpu_block();
    struct idx_four x = dispatch_load(a.d, first);
    GPU_UNROLL
    for (int k = 0; k < 4; k++) x.x[k] = mask_one(a, x.x[k]);
    dispatch_store(a.masked, a.d, first, x);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "masked", dsv4_find(call, "ids")->dtype, 2, why);
    if ((uintptr_t)dsv4_find(call, "masked")->data % 16 != 0)
        return call_unsupported(why, "masked: these kernels write it in pieces of 16 bytes");
    return dispatch_supports(call, 1, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const int64_t experts = dsv4_int(call, "experts", 1);
    struct mask_args a;
    dim3 grid;
    a.d = dispatch_ids_of(call, experts);
    a.masked = (char *)dsv4_find(call, "masked")->data;
    a.each = call_divisor(experts / dsv4_int(call, "ep_ranks", 1));
    a.ranks = call_divisor(dsv4_int(call, "tp_ranks", 1));
    a.mine = (int)dsv4_int(call, "tp_rank", 0);
    if (a.d.n == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.d.n, 4 * CALL_THREADS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(mask_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_mask_indices_by_tp)
