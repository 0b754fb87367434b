/* SPDX-License-Identifier: Apache-2.0 */
/* The new streams: a block per piece of a row, a thread per unit: five loads, then one new stream after the other. */
#ifndef DSV4_MHC_POST_ROW_INL
#define DSV4_MHC_POST_ROW_INL

#include "mhc_row.inl"

struct mhc_post_args {
    struct mhc_tensor x, residual, post, comb, out;
    struct mhc_pieces pieces;
};

/* WIDE: post and comb of a row are contiguous and aligned. */
template <bool WIDE>
GPU_DEVICE void mhc_post_weights(float *post, float *comb, const struct mhc_post_args &a,
                                 int64_t row) {
    if (WIDE) {
        mhc_load4(post, a.post.data + row * a.post.row);
        GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++)
            mhc_load4(comb + 4 * j, a.comb.data + row * a.comb.row + 16 * j);
    } else {
        GPU_UNROLL for (int i = 0; i < 16; i++) comb[i] =
            *(const float *)(a.comb.data + row * a.comb.row + i / 4 * a.comb.stream + i % 4 * 4);
        GPU_UNROLL for (int k = 0; k < MHC_STREAMS; k++) post[k] =
            *(const float *)(a.post.data + row * a.post.row + k * a.post.stream);
    }
}

template <bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) mhc_post_kernel(const struct mhc_post_args a) {
    const int64_t row = gpu_quotient(gpu_block(), a.pieces.per_row);
    const int piece = (int)(gpu_block() - row * a.pieces.per_row.value);
    const int unit = piece * CALL_THREADS + (int)gpu_thread();
    float x[MHC_UNIT], r[MHC_STREAMS * MHC_UNIT], post[4], comb[16];
    gpu_u4 streams[MHC_STREAMS];
    if (unit >= a.pieces.units) return;
    const gpu_u4 codes = mhc_load(a.x, row, 0, unit);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) streams[j] =
        mhc_load(a.residual, row, j, unit);
    mhc_post_weights<WIDE>(post, comb, a, row);
    mhc_unpack(x, codes);
    GPU_UNROLL for (int j = 0; j < MHC_STREAMS; j++) mhc_unpack(r + j * MHC_UNIT, streams[j]);
    GPU_UNROLL for (int k = 0; k < MHC_STREAMS; k++) {
        const float column[4] = {comb[k], comb[4 + k], comb[8 + k], comb[12 + k]};
        float o[MHC_UNIT];
        mhc_post_values<MHC_UNIT>(o, x, r, post[k], column);
        mhc_store(a.out, row, k, unit, mhc_pack(o));
    }
}

/* ---- host ---- */

template <bool WIDE>
static int mhc_post_run(struct mhc_post_args a, int64_t tokens, const dsv4_call *call,
                        struct call_why why) {
    dim3 grid;
    a.pieces = mhc_pieces_of(dsv4_int(call, "hidden", 0), CALL_THREADS);
    const int status = call_grid(&grid, tokens * a.pieces.per_row.value, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(mhc_post_kernel<WIDE>, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

#endif
