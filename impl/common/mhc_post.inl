/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_post: a block per piece of a row, a thread per unit: five loads, then one new stream after the other. */
#include "mhc_row.inl"

struct post_args {
    struct mhc_tensor x, residual, post, comb, out;
    struct mhc_pieces pieces;
};

__global__ void __launch_bounds__(CALL_THREADS) mhc_post_kernel(const struct post_args a) {
    const int64_t row = gpu_quotient(gpu_block(), a.pieces.per_row);
    const int piece = (int)(gpu_block() - row * a.pieces.per_row.value);
    const int unit = piece * CALL_THREADS + (int)gpu_thread();
    float x[MHC_UNIT], r[MHC_STREAMS * MHC_UNIT], post[4], comb[16];
    gpu_u4 streams[MHC_STREAMS];
    if (unit >= a.pieces.units) return;
    const gpu_u4 codes = mhc_load(a.x, row, 0, unit);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) streams[j] =
        mhc_load(a.residual, row, j, unit);
    mhc_load4(post, a.post.data + row * a.post.row);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++)
        mhc_load4(comb + 4 * j, a.comb.data + row * a.comb.row + 16 * j);
    mhc_unpack(x, codes);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) mhc_unpack(r + j * MHC_UNIT, streams[j]);
    GPU_UNROLL for (int k = 0; k < MHC_STREAMS; k++) {
        const float column[4] = {comb[k], comb[4 + k], comb[8 + k], comb[12 + k]};
        float o[MHC_UNIT];
        mhc_post_values<MHC_UNIT>(o, x, r, post[k], column);
        mhc_store(a.out, row, k, unit, mhc_pack(o));
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    MHC_NEED(call, "x", DSV4_BF16, 2, why);
    MHC_NEED(call, "residual", DSV4_BF16, 3, why);
    MHC_NEED(call, "out", DSV4_BF16, 3, why);
    int status = mhc_supports_weights(call, "post", why);
    if (status == DSV4_OK) status = mhc_supports_weights(call, "comb", why);
    return status == DSV4_OK ? mhc_supports_hidden(call, why) : status;
}

static int run(const dsv4_call *call, struct call_why why) {
    const int64_t tokens = dsv4_int(call, "tokens", 0);
    struct post_args a;
    dim3 grid;
    a.x = mhc_tensor_of(dsv4_find(call, "x"));
    a.residual = mhc_tensor_of(dsv4_find(call, "residual"));
    a.post = mhc_tensor_of(dsv4_find(call, "post"));
    a.comb = mhc_tensor_of(dsv4_find(call, "comb"));
    a.out = mhc_tensor_of(dsv4_find(call, "out"));
    a.pieces = mhc_pieces_of(dsv4_int(call, "hidden", 0), CALL_THREADS);
    if (tokens == 0) return DSV4_OK;
    const int status = call_grid(&grid, tokens * a.pieces.per_row.value, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(mhc_post_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mhc_post)
