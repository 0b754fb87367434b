/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_split_sinkhorn: a team has two tokens, 16 lanes each. */
#include "mhc_mix.inl"

struct sinkhorn_args {
    struct mhc_mix mix;
    struct mhc_tensor pre, post, comb;
    int64_t tokens;
};

__global__ void __launch_bounds__(CALL_THREADS) mhc_sinkhorn_kernel(const struct sinkhorn_args a) {
    const int64_t team = gpu_block() * CALL_TEAMS + gpu_team();
    const int64_t row = 2 * team + gpu_lane() / 16;
    const int i = gpu_lane() % 16;
    float weight;
    if (2 * team >= a.tokens) return;
    const float comb = mhc_mix_token(&weight, a.mix, row < a.tokens ? row : a.tokens - 1);
    if (row >= a.tokens) return;
    *(float *)(a.comb.data + row * a.comb.row + i / 4 * a.comb.stream + 4 * (i % 4)) = comb;
    if (i < 4)
        *(float *)(a.pre.data + row * a.pre.row + 4 * i) = weight;
    else if (i < 8)
        *(float *)(a.post.data + row * a.post.row + (i - 4) * a.post.stream) = weight;
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "mixes_raw", DSV4_F32, 3, why);
    CALL_NEED(call, "sqrsum", DSV4_F32, 2, why);
    CALL_NEED(call, "scale", DSV4_F32, 1, why);
    CALL_NEED(call, "base", DSV4_F32, 1, why);
    CALL_NEED(call, "pre", DSV4_F32, 2, why);
    CALL_NEED(call, "post", DSV4_F32, 3, why);
    CALL_NEED(call, "comb", DSV4_F32, 3, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    struct sinkhorn_args a;
    dim3 grid;
    mhc_mix_of(&a.mix, call, MHC_STREAMS * dsv4_int(call, "hidden", 0));
    mhc_raw_of(&a.mix, call);
    a.pre = mhc_tensor_of(dsv4_find(call, "pre"));
    a.post = mhc_tensor_of(dsv4_find(call, "post"));
    a.comb = mhc_tensor_of(dsv4_find(call, "comb"));
    a.tokens = dsv4_int(call, "tokens", 0);
    if (a.tokens == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.tokens, 2 * CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(mhc_sinkhorn_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mhc_split_sinkhorn)
