/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_bf16: see gemm_chain.inl. */
#include "gemm_chain.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const a = dsv4_find(call, "a"), *const b = dsv4_find(call, "b");
    const dsv4_tensor *const out = dsv4_find(call, "out");
    const int ndim = call_absent(a) ? 2 : a->ndim;
    CALL_NEED(call, "a", a->dtype == DSV4_F32 ? DSV4_F32 : DSV4_BF16, ndim, why);
    CALL_NEED(call, "b", b->dtype == DSV4_F32 ? DSV4_F32 : DSV4_BF16, ndim, why);
    CALL_NEED(call, "out", out->dtype == DSV4_F32 ? DSV4_F32 : DSV4_BF16, ndim, why);
    CALL_NEED_ALIGNED(call, "a", 16, why);
    CALL_NEED_ALIGNED(call, "b", 16, why);
    CALL_NEED_ALIGNED(call, "out", out->dtype == DSV4_F32 ? 4 : 2, why);
    if (a->shape[ndim - 1] % 8 != 0 || a->shape[ndim - 1] > INT32_MAX / 4)
        return call_unsupported(why, "a: %lld columns; these kernels take multiples of 8",
                                (long long)a->shape[ndim - 1]);
    return DSV4_OK;
}

static struct chain_args args_of(const dsv4_call *call) {
    const dsv4_tensor *const a = dsv4_find(call, "a"), *const b = dsv4_find(call, "b");
    const dsv4_tensor *const out = dsv4_find(call, "out");
    const bool grouped = a->ndim == 3;
    struct chain_args args;
    args = {};
    args.a = (const char *)a->data;
    args.b = (const char *)b->data;
    args.out = (char *)out->data;
    args.a_row = a->stride[0];
    args.out_row = out->stride[0];
    args.b_row = b->stride[grouped ? 1 : 0];
    args.a_group = grouped ? a->stride[1] : 0;
    args.b_group = grouped ? b->stride[0] : 0;
    args.out_group = grouped ? out->stride[1] : 0;
    args.m = a->shape[0];
    args.n = out->shape[out->ndim - 1];
    args.k = (int)a->shape[a->ndim - 1];
    args.blocks = (int)call_ceil(args.k, CHAIN_BLOCK);
    args.a_f32 = a->dtype == DSV4_F32;
    args.out_f32 = out->dtype == DSV4_F32;
    args.rounded = dsv4_is(call, "rounding", "bf16");
    return args;
}

template <int KIND, int ROWS, int TM>
static int launch_small(struct chain_args &args, int64_t groups, gpu_stream stream,
                        struct call_why why) {
    dim3 grid;
    const int status = chain_grid(&grid, args, groups, TM, ROWS, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH((chain_small_kernel<KIND, ROWS, TM>), grid, CALL_THREADS, stream, args);
    return call_launched(why);
}

template <int KIND>
static int launch(struct chain_args &args, int64_t groups, gpu_stream stream, struct call_why why) {
    const int64_t tiles = groups * call_ceil(args.n, TEAM);
    if (args.m > 64) {
        dim3 grid;
        const int status = chain_grid(&grid, args, groups, CHAIN_TILE, CHAIN_TILE, why);
        if (status != DSV4_OK) return status;
        GPU_LAUNCH(chain_large_kernel<KIND == CHAIN_F32>, grid, CALL_THREADS, stream, args);
        return call_launched(why);
    }
    /* An eighth of what keeps the GPU busy: a block per multiprocessor. */
    if (tiles * call_ceil(args.m, 8) < GPU_BUSY_BLOCKS / 8)
        return args.m == 1 ? launch_small<KIND, 8, 1>(args, groups, stream, why)
                           : launch_small<KIND, 8, 2>(args, groups, stream, why);
    if (args.m == 1) return launch_small<KIND, TEAM, 1>(args, groups, stream, why);
    if (args.m <= 4) return launch_small<KIND, TEAM, 4>(args, groups, stream, why);
    return launch_small<KIND, TEAM, 8>(args, groups, stream, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct chain_args args = args_of(call);
    const dsv4_tensor *const a = dsv4_find(call, "a"), *const b = dsv4_find(call, "b");
    const gpu_stream stream = (gpu_stream)call->stream;
    const int64_t groups = a->ndim == 3 ? a->shape[1] : 1;
    if (args.m == 0 || groups == 0) return DSV4_OK;
    return b->dtype == DSV4_F32 ? launch<CHAIN_F32>(args, groups, stream, why)
                                : launch<CHAIN_BF16>(args, groups, stream, why);
}

CALL_ENTRY_POINTS(gemm_bf16)
