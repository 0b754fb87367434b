/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_fn_broadcast: a thread adds four streams of four channels. */
#include "mhc_row.inl"

struct fn_args {
    struct mhc_tensor fn, out;
    struct mhc_pieces pieces;
};

__global__ void __launch_bounds__(CALL_THREADS) mhc_fn_kernel(const struct fn_args a) {
    const int64_t row = gpu_quotient(gpu_block(), a.pieces.per_row);
    const int piece = (int)(gpu_block() - row * a.pieces.per_row.value);
    const int unit = piece * CALL_THREADS + (int)gpu_thread();
    if (unit >= a.pieces.units) return;
    gpu_f4 sum = {};
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) {
        const gpu_f4 x = *(const gpu_f4 *)(a.fn.data + row * a.fn.row +
                                           ((int64_t)j * a.pieces.units + unit) * 16);
        sum.x = j == 0 ? x.x : sum.x + x.x;
        sum.y = j == 0 ? x.y : sum.y + x.y;
        sum.z = j == 0 ? x.z : sum.z + x.z;
        sum.w = j == 0 ? x.w : sum.w + x.w;
    }
    *(gpu_f4 *)(a.out.data + row * a.out.row + (int64_t)unit * 16) = sum;
}

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "fn", DSV4_F32, 2, why);
    MHC_NEED(call, "fn_bc", DSV4_F32, 2, why);
    return mhc_supports_hidden(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const out = dsv4_find(call, "fn_bc");
    struct fn_args a;
    dim3 grid;
    a.fn = mhc_tensor_of(dsv4_find(call, "fn"));
    a.out = mhc_tensor_of(out);
    a.pieces.units = (int)(out->shape[1] / 4);
    a.pieces.per_row = call_divisor(call_ceil(a.pieces.units, CALL_THREADS));
    if (out->shape[0] == 0) return DSV4_OK;
    const int status = call_grid(&grid, out->shape[0] * a.pieces.per_row.value, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(mhc_fn_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mhc_fn_broadcast)
