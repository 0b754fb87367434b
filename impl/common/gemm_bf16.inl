/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_bf16: many rows of A in tiles (gemm_chain.inl), some by parts of k (gemm_parts.inl). */
#include "gemm_parts.inl"

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

typedef struct parts_shape<1, 1, 1, 32> parts_1;
typedef struct parts_shape<1, 1, 1, 8> parts_1_narrow;
typedef struct parts_shape<4, 2, 1, 16> parts_8;
typedef struct parts_shape<4, 2, 2, 16> parts_8_wide;
typedef struct parts_shape<2, 4, 1, 8> parts_8_narrow;
typedef struct parts_shape<4, 4, 2, 8> parts_16;
typedef struct parts_shape<8, 4, 2, 8> parts_32;
typedef struct parts_shape<8, 8, 4, 4> parts_64;
typedef struct parts_shape<8, 8, 8, 4> parts_64_wide;

template <bool A_F32, bool B_F32>
static int launch(struct chain_args &args, int64_t groups, gpu_stream stream, struct call_why why) {
    /* An eighth of what keeps the GPU busy: a block per multiprocessor. */
    enum { FEW = GPU_BUSY_BLOCKS / 8 };
    const int64_t columns = groups * args.n;
    if (args.m > 64) {
        dim3 grid;
        const int status = chain_grid(&grid, args, groups, CHAIN_TILE, CHAIN_TILE, why);
        if (status != DSV4_OK) return status;
        GPU_LAUNCH(chain_large_kernel<B_F32>, grid, CALL_THREADS, stream, args);
        return call_launched(why);
    }
    if (args.m == 1)
        return columns < 32 * 2 * FEW
                   ? parts_launch<parts_1_narrow, parts_1_narrow, A_F32, B_F32>(args, groups,
                                                                                stream, why)
                   : parts_launch<parts_1, parts_1_narrow, A_F32, B_F32>(args, groups, stream, why);
    if (args.m <= 8) {
        if (columns < 16 * FEW / 2)
            return parts_launch<parts_8_narrow, parts_8_narrow, A_F32, B_F32>(args, groups, stream,
                                                                              why);
        return columns >= 32 * 4 * FEW
                   ? parts_launch<parts_8_wide, parts_8, A_F32, B_F32>(args, groups, stream, why)
                   : parts_launch<parts_8, parts_8, A_F32, B_F32>(args, groups, stream, why);
    }
    if (args.m <= 16)
        return parts_launch<parts_16, parts_16, A_F32, B_F32>(args, groups, stream, why);
    if (args.m <= 32)
        return parts_launch<parts_32, parts_16, A_F32, B_F32>(args, groups, stream, why);
    if constexpr (!A_F32) { /* there are not registers enough for both */
        if (columns >= 32 * 4 * FEW)
            return parts_launch<parts_64_wide, parts_16, A_F32, B_F32>(args, groups, stream, why);
    }
    return parts_launch<parts_64, parts_16, A_F32, B_F32>(args, groups, stream, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct chain_args args = args_of(call);
    const dsv4_tensor *const a = dsv4_find(call, "a"), *const b = dsv4_find(call, "b");
    const gpu_stream stream = (gpu_stream)call->stream;
    const int64_t groups = a->ndim == 3 ? a->shape[1] : 1;
    if (args.m == 0 || groups == 0) return DSV4_OK;
    if (b->dtype == DSV4_F32)
        return args.a_f32 ? launch<true, true>(args, groups, stream, why)
                          : launch<false, true>(args, groups, stream, why);
    return args.a_f32 ? launch<true, false>(args, groups, stream, why)
                      : launch<false, false>(args, groups, stream, why);
}

CALL_ENTRY_POINTS(gemm_bf16)
