/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_expand: a block per piece of a row, which a thread loads once and stores stream by stream: stores that follow each
 * other lie side by side. */
#include "mhc_row.inl"

enum { EXPAND_UNITS = 2 };

struct expand_args {
    struct mhc_tensor embed, residual;
    struct mhc_pieces pieces;
};

__global__ void __launch_bounds__(CALL_THREADS) mhc_expand_kernel(const struct expand_args a) {
    const int64_t row = gpu_quotient(gpu_block(), a.pieces.per_row);
    const int piece = (int)(gpu_block() - row * a.pieces.per_row.value);
    const int first = piece * CALL_THREADS * EXPAND_UNITS + (int)gpu_thread();
    gpu_u4 x[EXPAND_UNITS];
    GPU_UNROLL for (int i = 0; i < EXPAND_UNITS; i++) {
        const int unit = first + i * CALL_THREADS;
        if (unit < a.pieces.units) x[i] = mhc_load(a.embed, row, 0, unit);
    }
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) {
        char *const to = a.residual.data + row * a.residual.row + j * a.residual.stream;
        GPU_UNROLL for (int i = 0; i < EXPAND_UNITS; i++) {
            const int unit = first + i * CALL_THREADS;
            if (unit < a.pieces.units) gpu_stream_u4(to + 16 * (int64_t)unit, x[i]);
        }
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "embed", DSV4_BF16, 2, why);
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    return mhc_supports_hidden(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const int64_t tokens = dsv4_int(call, "tokens", 0);
    struct expand_args a;
    dim3 grid;
    a.embed = mhc_tensor_of(dsv4_find(call, "embed"));
    a.residual = mhc_tensor_of(dsv4_find(call, "residual"));
    a.pieces = mhc_pieces_of(dsv4_int(call, "hidden", 0), CALL_THREADS * EXPAND_UNITS);
    if (tokens == 0) return DSV4_OK;
    const int status = call_grid(&grid, tokens * a.pieces.per_row.value, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(mhc_expand_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mhc_expand)
