/* SPDX-License-Identifier: Apache-2.0 */
/* mhc_split_sinkhorn: a team has two tokens, 16 lanes each; of very many tokens, a lane has one for itself. */
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

/* comb of one token in registers: rows, then columns. */
GPU_DEVICE void sinkhorn_divide(float *c, int apart, int next, float eps) {
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        float *const line = c + i * next;
        const float sum = ((line[0] + line[apart]) + line[2 * apart]) + line[3 * apart] + eps;
        GPU_UNROLL for (int j = 0; j < 4; j++) line[j * apart] =
            gpu_divide_float(line[j * apart], sum);
    }
}

GPU_DEVICE void sinkhorn_lane(float *c, float eps, int iterations) {
    GPU_UNROLL for (int j = 0; j < 16; j += 4) {
        const float most = gpu_max(gpu_max(c[j], c[j + 1]), gpu_max(c[j + 2], c[j + 3]));
        GPU_UNROLL for (int k = 0; k < 4; k++) c[j + k] = elementary_exp(c[j + k] - most);
        const float sum = ((c[j] + c[j + 1]) + c[j + 2]) + c[j + 3];
        GPU_UNROLL for (int k = 0; k < 4; k++) c[j + k] = gpu_divide_float(c[j + k], sum) + eps;
    }
    sinkhorn_divide(c, 4, 1, eps);
    GPU_NO_UNROLL for (int i = 1; i < iterations; i++) {
        sinkhorn_divide(c, 1, 4, eps);
        sinkhorn_divide(c, 4, 1, eps);
    }
}

__global__ void __launch_bounds__(CALL_THREADS)
    mhc_sinkhorn_lane_kernel(const struct sinkhorn_args a) {
    const struct mhc_mix &m = a.mix;
    const struct mhc_raw &raw = m.raw;
    const int64_t row = gpu_block() * CALL_THREADS + gpu_thread();
    if (row >= a.tokens) return;
    const char *const mixes = raw.mixes + row * raw.mixes_row;
    const float squares =
        mhc_sum_splits(raw.squares + row * raw.squares_row, raw.squares_split, m.splits);
    const float r = elementary_rsqrt(gpu_divide_float(squares, m.width) + m.rms_eps);
    float c[16];
    GPU_UNROLL for (int o = 0; o < 8; o++) {
        const float value = mhc_sum_splits(mixes + 4 * o, raw.mixes_split, m.splits) * r;
        const float sigmoid = mhc_sigmoid(value * m.scale[o < 4 ? 0 : 1] + m.base[o]);
        if (o < 4)
            *(float *)(a.pre.data + row * a.pre.row + 4 * o) = sigmoid + m.hc_eps;
        else
            *(float *)(a.post.data + row * a.post.row + (o - 4) * a.post.stream) =
                m.post_factor * sigmoid;
    }
    GPU_UNROLL for (int i = 0; i < 16; i++) c[i] =
        mhc_sum_splits(mixes + 4 * (8 + i), raw.mixes_split, m.splits) * r * m.scale[2] +
        m.base[8 + i];
    sinkhorn_lane(c, m.hc_eps, m.iterations);
    GPU_UNROLL for (int i = 0; i < 16; i++) *
        (float *)(a.comb.data + row * a.comb.row + i / 4 * a.comb.stream + 4 * (i % 4)) = c[i];
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
    const bool many = a.tokens > 64 * (int64_t)GPU_BUSY_BLOCKS;
    const int each = many ? CALL_THREADS : 2 * CALL_TEAMS;
    const int status = call_grid(&grid, call_ceil(a.tokens, each), why);
    if (status != DSV4_OK) return status;
    if (many)
        GPU_LAUNCH(mhc_sinkhorn_lane_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    else
        GPU_LAUNCH(mhc_sinkhorn_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mhc_split_sinkhorn)
