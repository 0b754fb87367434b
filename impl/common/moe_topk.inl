/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_topk: a team per token. Lane l holds experts l, l + 32, ...; their values are keys whose order as integers is that
 * of the floats. The greatest key of the team, then the smallest expert that has it, slot by slot.
 */
#include "moe_router.inl"

struct moe_topk_args {
    struct router_args r;
    const float *bias;
    int recovered;
};

GPU_DEVICE uint32_t moe_topk_key(float x) {
    const uint32_t bits = gpu_bits(x);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

/* Takes the team's best expert out of the keys; *score: its score, in every lane. */
template <int SLOTS>
GPU_DEVICE int moe_topk_take(uint32_t *keys, const float *scores, float *score) {
    const int lane = gpu_lane();
    uint32_t best = 0;
    int at = 0;
    float mine = 0.0f;
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) if (keys[j] > best) {
        best = keys[j];
        at = TEAM * j + lane;
    }
    const uint32_t most = team_max_u32(best);
    const int id = (int)~team_max_u32(best == most ? ~(uint32_t)at : 0u);
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) if (id == TEAM * j + lane) {
        keys[j] = 0;
        mine = scores[j];
    }
    *score = gpu_float(team_read_u32(gpu_bits(mine), id % TEAM));
    return id;
}

template <int SLOTS, int SOFTPLUS>
__global__ void __launch_bounds__(CALL_THREADS) moe_topk_kernel(const struct moe_topk_args a) {
    const int64_t t = gpu_block() * CALL_TEAMS + gpu_team();
    const int lane = gpu_lane(), topk = a.r.topk;
    if (t >= a.r.tokens) return;
    if (a.r.padding != NULL && a.r.padding[t] != 0) {
        if (lane < topk) router_store(a.r, t, lane, -1, 0.0f);
        return;
    }
    const float *const row = (const float *)(a.r.logits + t * a.r.logits_row);
    float x[SLOTS], bias[SLOTS], weight = 0.0f;
    uint32_t keys[SLOTS];
    int mine = 0;
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        const int e = TEAM * j + lane;
        x[j] = e < a.r.experts ? row[e] : 0.0f;
        bias[j] = e < a.r.experts ? a.bias[e] : 0.0f;
    }
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        x[j] = router_score<SOFTPLUS>(x[j]);
        keys[j] = TEAM * j + lane < a.r.experts ? moe_topk_key(x[j] + bias[j]) : 0;
    }
    float sum = a.r.denominator == ROUTER_START ? 1e-20f : 0.0f;
    for (int k = 0; k < topk; k++) {
        float score;
        const int id = moe_topk_take<SLOTS>(keys, x, &score);
        if (a.recovered) {
            const float b = a.bias[id];
            score = (score + b) - b;
        }
        sum = sum + score;
        weight = lane == k ? score : weight;
        mine = lane == k ? id : mine;
    }
    if (lane < topk) router_store(a.r, t, lane, mine, router_weight(a.r, weight, sum));
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "bias", DSV4_F32, 1, why);
    const int status = router_supports(call, why);
    if (status != DSV4_OK) return status;
    if (dsv4_find(call, "logits")->shape[1] > 512)
        return call_unsupported(why, "logits: %lld experts; these kernels take up to 512",
                                (long long)dsv4_find(call, "logits")->shape[1]);
    return DSV4_OK;
}

template <int SLOTS>
static void moe_topk_launch(const struct moe_topk_args a, dim3 grid, int softplus,
                            gpu_stream stream) {
    if (softplus == ROUTER_LOG1P)
        GPU_LAUNCH((moe_topk_kernel<SLOTS, ROUTER_LOG1P>), grid, CALL_THREADS, stream, a);
    else if (softplus == ROUTER_LOG_ONE_PLUS)
        GPU_LAUNCH((moe_topk_kernel<SLOTS, ROUTER_LOG_ONE_PLUS>), grid, CALL_THREADS, stream, a);
    else if (softplus == ROUTER_MAX_FORM)
        GPU_LAUNCH((moe_topk_kernel<SLOTS, ROUTER_MAX_FORM>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((moe_topk_kernel<SLOTS, ROUTER_NO_THRESHOLD>), grid, CALL_THREADS, stream, a);
}

static int run(const dsv4_call *call, struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    const int softplus = router_softplus_of(call);
    struct moe_topk_args a;
    dim3 grid;
    router_open(call, a.r);
    a.bias = (const float *)dsv4_find(call, "bias")->data;
    a.recovered = dsv4_is(call, "weight", "recovered");
    if (a.r.tokens == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.r.tokens, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (a.r.experts <= 64)
        moe_topk_launch<2>(a, grid, softplus, stream);
    else if (a.r.experts <= 256)
        moe_topk_launch<8>(a, grid, softplus, stream);
    else if (a.r.experts <= 384)
        moe_topk_launch<12>(a, grid, softplus, stream);
    else
        moe_topk_launch<16>(a, grid, softplus, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_topk)
