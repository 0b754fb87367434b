/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_topk: a team per token. Lane l holds experts l, l + 32, ...; their values are keys whose order as integers is that
 * of the floats. The greatest key of the team, then the smallest expert that has it, slot by slot.
 *
 * Correctly rounded scores of all experts are most of the work. So they are estimated first, with a bound of the error:
 * who can be among the chosen, a lane each, is scored and chosen from. Where that says too little (more than 32, or
 * numbers that are not finite), all are.
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

/* What lanes 0 .. topk - 1 store: a slot each. */
struct moe_topk_slots {
    float weight, sum;
    int id;
};

GPU_DEVICE void moe_topk_slot(struct moe_topk_slots &slots, const struct moe_topk_args &a, int k,
                              int id, float score) {
    if (a.recovered) {
        const float b = a.bias[id];
        score = (score + b) - b;
    }
    slots.sum = slots.sum + score;
    slots.weight = gpu_lane() == k ? score : slots.weight;
    slots.id = gpu_lane() == k ? id : slots.id;
}

/* All experts, scored exactly. */
template <int SLOTS, int SOFTPLUS>
GPU_DEVICE void moe_topk_all(struct moe_topk_slots &slots, const struct moe_topk_args &a,
                             const float *row) {
    float x[SLOTS], bias[SLOTS];
    uint32_t keys[SLOTS];
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        const int e = TEAM * j + gpu_lane();
        x[j] = e < a.r.experts ? row[e] : 0.0f;
        bias[j] = e < a.r.experts ? a.bias[e] : 0.0f;
    }
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        x[j] = router_score<SOFTPLUS>(x[j]);
        keys[j] = TEAM * j + gpu_lane() < a.r.experts ? moe_topk_key(x[j] + bias[j]) : 0;
    }
    for (int k = 0; k < a.r.topk; k++) {
        float score;
        const int id = moe_topk_take<SLOTS>(keys, x, &score);
        moe_topk_slot(slots, a, k, id, score);
    }
}

#if !GPU_HIP
#if GPU_CUDA
GPU_DEVICE float moe_topk_exp(float x) { return __expf(x); }
GPU_DEVICE float moe_topk_log(float x) { return __logf(x); }
GPU_DEVICE float moe_topk_root(float x) {
    float y;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
GPU_DEVICE int moe_topk_count(uint32_t mask) { return __popc(mask); }
#else
GPU_DEVICE float moe_topk_exp(float x) { return expf(x); }
GPU_DEVICE float moe_topk_log(float x) { return logf(x); }
GPU_DEVICE float moe_topk_root(float x) { return sqrtf(x); }
GPU_DEVICE int moe_topk_count(uint32_t mask) { return __builtin_popcount(mask); }
#endif

/*
 * The score within 4e-4 * (1 + score), of any softplus, for x below 80. What counts: where 1 + e is rounded, a softplus is
 * off by up to 2^-24 and its root by up to 2^-12; the estimates here by less than 1e-4 of it.
 */
GPU_DEVICE float moe_topk_estimate(float x) {
    const float e = moe_topk_exp(-gpu_float(gpu_bits(x) & 0x7FFFFFFFu));
    const float series = e * (1.0f - e * (0.5f - e * 0.33333f)), log = moe_topk_log(1.0f + e);
    return moe_topk_root((x > 0.0f ? x : 0.0f) + (e < 0.03f ? series : log));
}

/* Bit mask of the lanes whose expert of slot j can be among the chosen; false: it cannot be said. */
template <int SLOTS>
GPU_DEVICE bool moe_topk_likely(uint32_t *masks, const struct moe_topk_args &a, const float *row) {
    float x[SLOTS], bias[SLOTS];
    uint32_t upper[SLOTS], best = 0, least = 0;
    bool odd = false;
    int n = 0;
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        const int e = TEAM * j + gpu_lane();
        x[j] = e < a.r.experts ? row[e] : 0.0f;
        bias[j] = e < a.r.experts ? a.bias[e] : 0.0f;
    }
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        const float score = moe_topk_estimate(x[j]), value = score + bias[j];
        const float magnitude = gpu_float(gpu_bits(value) & 0x7FFFFFFFu);
        const float error = 4e-4f * (1.0f + score) + 1e-6f * magnitude;
        const uint32_t lower = moe_topk_key(value - error);
        const bool there = TEAM * j + gpu_lane() < a.r.experts;
        odd = odd || !(x[j] < 80.0f) || !(magnitude < 1e30f);
        upper[j] = there ? moe_topk_key(value + error) : 0;
        best = there && lower > best ? lower : best;
    }
    if (team_ballot(odd) != 0) return false;
    /* As many lanes as there are slots reach `least`. */
    for (int k = 0; k < a.r.topk; k++) {
        least = team_max_u32(best);
        best = best == least ? 0 : best;
    }
    least = least > 1 ? least : 1;
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        masks[j] = team_ballot(upper[j] >= least);
        n += moe_topk_count(masks[j]);
    }
    return n <= TEAM;
}

/* The likely ones, a lane each, experts ascending. */
template <int SLOTS, int SOFTPLUS>
GPU_DEVICE void moe_topk_some(struct moe_topk_slots &slots, const struct moe_topk_args &a,
                              const float *row, const uint32_t *masks) {
    int before = 0, expert = -1;
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        const int n = moe_topk_count(masks[j]), i = gpu_lane() - before;
        if (i >= 0 && i < n) expert = TEAM * j + gpu_nth_bit(masks[j], i);
        before += n;
    }
    float score = 0.0f;
    uint32_t key = 0;
    if (expert >= 0) {
        score = router_score<SOFTPLUS>(row[expert]);
        key = moe_topk_key(score + a.bias[expert]);
    }
    for (int k = 0; k < a.r.topk; k++) {
        const uint32_t most = team_max_u32(key);
        const int lane = gpu_lowest_bit(team_ballot(key == most));
        const int id = (int)team_read_u32((uint32_t)expert, lane);
        const float taken = gpu_float(team_read_u32(gpu_bits(score), lane));
        key = gpu_lane() == lane ? 0 : key;
        moe_topk_slot(slots, a, k, id, taken);
    }
}
#endif

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
    struct moe_topk_slots slots = {0.0f, a.r.denominator == ROUTER_START ? 1e-20f : 0.0f, 0};
#if !GPU_HIP
    uint32_t masks[SLOTS];
    if (moe_topk_likely<SLOTS>(masks, a, row))
        moe_topk_some<SLOTS, SOFTPLUS>(slots, a, row, masks);
    else
#endif
        moe_topk_all<SLOTS, SOFTPLUS>(slots, a, row);
    if (lane < topk)
        router_store(a.r, t, lane, slots.id, router_weight(a.r, slots.weight, slots.sum));
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
