/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_collapse: a block per piece of a row; a thread loads four streams of two units before it sums. */
#include "mhc_row.inl"

enum { COLLAPSE_UNITS = 2 };

struct collapse_args {
    struct mhc_tensor pre, residual, out;
    struct mhc_pieces pieces;
};

template <bool PRODUCTS>
__global__ void __launch_bounds__(CALL_THREADS) mhc_collapse_kernel(const struct collapse_args a) {
    const int64_t row = gpu_quotient(gpu_block(), a.pieces.per_row);
    const int piece = (int)(gpu_block() - row * a.pieces.per_row.value);
    const int first = piece * CALL_THREADS * COLLAPSE_UNITS + (int)gpu_thread();
    gpu_u4 streams[COLLAPSE_UNITS][MHC_STREAMS];
    float pre[MHC_STREAMS];
    GPU_UNROLL for (int i = 0; i < COLLAPSE_UNITS; i++) {
        const int unit = first + i * CALL_THREADS;
        if (unit >= a.pieces.units) continue;
        GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) streams[i][j] =
            mhc_load(a.residual, row, j, unit);
    }
    mhc_load4(pre, a.pre.data + row * a.pre.row);
    GPU_UNROLL for (int i = 0; i < COLLAPSE_UNITS; i++) {
        const int unit = first + i * CALL_THREADS;
        float o[MHC_UNIT];
        if (unit >= a.pieces.units) continue;
        mhc_collapse_unit<PRODUCTS>(o, streams[i], pre);
        mhc_store(a.out, row, 0, unit, mhc_pack(o));
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "pre", DSV4_F32, 2, why);
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    MHC_NEED(call, "layer_input", DSV4_BF16, 2, why);
    return mhc_supports_hidden(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const int64_t tokens = dsv4_int(call, "tokens", 0);
    const gpu_stream stream = (gpu_stream)call->stream;
    struct collapse_args a;
    dim3 grid;
    a.pre = mhc_tensor_of(dsv4_find(call, "pre"));
    a.residual = mhc_tensor_of(dsv4_find(call, "residual"));
    a.out = mhc_tensor_of(dsv4_find(call, "layer_input"));
    a.pieces = mhc_pieces_of(dsv4_int(call, "hidden", 0), CALL_THREADS * COLLAPSE_UNITS);
    if (tokens == 0) return DSV4_OK;
    const int status = call_grid(&grid, tokens * a.pieces.per_row.value, why);
    if (status != DSV4_OK) return status;
    if (dsv4_is(call, "sum", "products"))
        GPU_LAUNCH(mhc_collapse_kernel<true>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(mhc_collapse_kernel<false>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mhc_collapse)
