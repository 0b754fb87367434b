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
GPU_DEVICE int moe_topk_count(uint32_t mask) { return __popc(mask); }
#else
GPU_DEVICE int moe_topk_count(uint32_t mask) { return __builtin_popcount(mask); }
#endif

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
        const float score = router_estimate(x[j]), value = score + bias[j];
        const float magnitude = gpu_float(gpu_bits(value) & 0x7FFFFFFFu);
        const float error = 4e-4f * (1.0f + score) + 1e-6f * magnitude;
        const uint32_t lower = moe_topk_key(value - error);
        const bool there = TEAM * j + gpu_lane() < a.r.experts;
        odd = odd || !(x[j] < ROUTER_ESTIMATED) || !(magnitude < 1e30f);
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
    const int lane = gpu_lane(), n_slots = a.r.topk + a.r.shared;
    if (t >= a.r.tokens) return;
    if (a.r.padding != NULL && a.r.padding[t] != 0) {
        if (lane < n_slots) router_store(a.r, t, lane, -1, 0.0f);
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
    if (lane < n_slots)
        router_store_slot(a.r, t, lane, slots.id, router_weight(a.r, slots.weight, slots.sum));
}

#if !GPU_HIP
/*
 * Many tokens: a team estimates the values of four, one after the other, and leaves who can be among the chosen in a
 * list, an eighth of which is seldom more than what a token needs. Then eight lanes score and order what is in it of each
 * token, so that exact scores, most of the work of a token, are worked out for four at once. Tokens of more than eight
 * likely experts get the whole team, those of which estimates say too little are scored expert by expert.
 */
enum { MANY_TOKENS = 4, MANY_EACH = TEAM / MANY_TOKENS, MANY_LISTED = 2 * TEAM - MANY_EACH };
/* Blocks on a multiprocessor that registers leave room for: five are the fastest as measured on an H100. */
enum { MANY_RESIDENT = 5 };

struct moe_topk_team {
    int likely[MANY_LISTED]; /* experts; a token's begin at MANY_EACH times its number */
    float scores[TEAM];
    int ids[TEAM];
};

/*
 * Estimates that a token's chosen ones cannot be below: E = 4e-3 bounds the errors of scores below 9, 1e-6 of a value those of
 * sums. As many experts as are chosen have estimates of at least `least`, so values of at least least - E - 1e-6 |least|;
 * who has such a value has an estimate within as much of that again. NaN: it cannot be said.
 */
GPU_DEVICE float moe_topk_threshold(float best, int topk) {
    uint32_t key = moe_topk_key(best), least = 0;
    for (int k = 0; k < topk; k++) {
        least = team_max_u32(key);
        key = key == least ? 0 : key;
    }
    const float x = gpu_float((least >> 31) != 0 ? least & 0x7FFFFFFFu : ~least);
    return x - (8.1e-3f + 4e-6f * gpu_float(gpu_bits(x) & 0x7FFFFFFFu));
}

/* Bits of the team's masks, seldom more than one in a mask, and those of the lanes before this one. */
GPU_DEVICE int moe_topk_before(uint32_t bits, int *before) {
    const uint32_t lower = (1u << gpu_lane()) - 1, some = team_ballot(bits != 0);
    *before = moe_topk_count(some & lower);
    if (team_ballot((bits & (bits - 1)) != 0) == 0) return moe_topk_count(some);
    const int n = moe_topk_count(bits);
    int all = 0;
    *before = 0;
    GPU_UNROLL for (int bit = 0; bit < 4; bit++) {
        const uint32_t mask = team_ballot((n >> bit & 1) != 0);
        *before += moe_topk_count(mask & lower) << bit;
        all += moe_topk_count(mask) << bit;
    }
    return all;
}

/* Lists the likely experts of a row; returns how many there are, 0 if it cannot be said. Lane l has experts 4 l .. 4 l + 3
 * of each 128. */
template <int SLOTS>
GPU_DEVICE int moe_topk_list(int *list, const float *row, const float *bias, int topk) {
    const int lane = gpu_lane();
    float value[SLOTS], best = -1e38f;
    bool odd = false;
    uint32_t mine = 0;
    int before;
    GPU_UNROLL for (int j = 0; j < SLOTS; j += 4) {
        const gpu_f4 x = *(const gpu_f4 *)(row + TEAM * j + 4 * lane);
        value[j] = x.x, value[j + 1] = x.y, value[j + 2] = x.z, value[j + 3] = x.w;
    }
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        odd = odd || !(value[j] < ROUTER_ESTIMATED);
        value[j] = router_estimate(value[j]) + bias[j];
        best = gpu_max(best, value[j]);
    }
    if (team_ballot(odd) != 0) return 0;
    const float threshold = moe_topk_threshold(best, topk);
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) mine |= value[j] >= threshold ? 1u << j : 0u;
    const int n = moe_topk_before(mine, &before);
    if (n < topk || n > TEAM) return 0;
    for (int *to = list + before; mine != 0; mine &= mine - 1) {
        const int j = gpu_lowest_bit(mine);
        *to++ = TEAM * (j & ~3) + 4 * lane + (j & 3);
    }
    return n;
}

/* Stores a token's slots, lane by lane of its WIDTH lanes, given each lane's slot. */
template <int WIDTH>
GPU_DEVICE void moe_topk_finish(const struct moe_topk_args &a, int64_t t, bool live, int id,
                                float score) {
    const int k = gpu_lane() % WIDTH, first = gpu_lane() - k;
    float sum = a.r.denominator == ROUTER_START ? 1e-20f : 0.0f;
    for (int i = 0; i < a.r.topk; i++) sum = sum + team_read_float(score, first + i);
    if (live && k < a.r.topk + a.r.shared)
        router_store_slot(a.r, t, k, id, router_weight(a.r, score, sum));
}

/* Scores, orders and stores the likely experts of a token per WIDTH lanes, n of them. */
template <int WIDTH, int SOFTPLUS>
GPU_DEVICE void moe_topk_order(const struct moe_topk_args &a, struct moe_topk_team &team,
                               const int *list, int64_t t, int n) {
    const int k = gpu_lane() % WIDTH, first = gpu_lane() - k;
    const int expert = k < n ? list[gpu_lane()] : 0x7FFFFFFF;
    float score = 0.0f;
    uint32_t key = 0;
    int rank = 0;
    if (k < n) {
        const float b = a.bias[expert];
        score = router_score<SOFTPLUS>(((const float *)(a.r.logits + t * a.r.logits_row))[expert]);
        const float value = score + b;
        key = moe_topk_key(value);
        score = a.recovered ? value - b : score;
    }
    GPU_UNROLL for (int i = 0; i < WIDTH; i++) {
        const uint32_t other = team_read_u32(key, first + i);
        const int id = (int)team_read_u32((uint32_t)expert, first + i);
        rank += other > key || (other == key && id < expert);
    }
    team_barrier();
    if (k < n) {
        team.scores[first + rank] = score;
        team.ids[first + rank] = expert;
    }
    team_barrier();
    moe_topk_finish<WIDTH>(a, t, n > 0, team.ids[gpu_lane()], team.scores[gpu_lane()]);
    team_barrier();
}

/* All experts of a token, scored exactly. */
template <int SOFTPLUS>
GPU_DEVICE void moe_topk_every(const struct moe_topk_args &a, int64_t t, uint32_t *keys) {
    const float *const row = (const float *)(a.r.logits + t * a.r.logits_row);
    const int lane = gpu_lane();
    struct moe_topk_slots slots = {0.0f, 0.0f, 0};
    GPU_NO_UNROLL for (int e = lane; e < a.r.experts; e += TEAM) keys[e] =
        moe_topk_key(router_score<SOFTPLUS>(row[e]) + a.bias[e]);
    GPU_NO_UNROLL for (int k = 0; k < a.r.topk; k++) {
        uint32_t best = 0;
        int at = 0;
        GPU_NO_UNROLL for (int e = lane; e < a.r.experts; e += TEAM) {
            at = keys[e] > best ? e : at;
            best = keys[e] > best ? keys[e] : best;
        }
        const uint32_t most = team_max_u32(best);
        const int id = (int)~team_max_u32(best == most ? ~(uint32_t)at : 0u);
        if (id % TEAM == lane) keys[id] = 0;
        moe_topk_slot(slots, a, k, id, router_score<SOFTPLUS>(row[id]));
    }
    moe_topk_finish<TEAM>(a, t, true, slots.id, slots.weight);
}

template <int SLOTS, int SOFTPLUS>
__global__ void __launch_bounds__(CALL_THREADS, MANY_RESIDENT)
    moe_topk_many_kernel(const struct moe_topk_args a) {
    __shared__ struct moe_topk_team teams[CALL_TEAMS];
    __shared__ uint32_t keys[CALL_TEAMS][TEAM * SLOTS];
    struct moe_topk_team &team = teams[gpu_team()];
    const int64_t first = (gpu_block() * CALL_TEAMS + gpu_team()) * MANY_TOKENS;
    const int lane = gpu_lane();
    float bias[SLOTS];
    bool odd = false;
    int mine = 0;
    GPU_UNROLL for (int j = 0; j < SLOTS; j++) {
        bias[j] = a.bias[TEAM * (j & ~3) + 4 * lane + (j & 3)];
        odd = odd || !(gpu_float(gpu_bits(bias[j]) & 0x7FFFFFFFu) < 1e30f);
    }
    odd = team_ballot(odd) != 0;
    GPU_NO_UNROLL for (int i = 0; i < MANY_TOKENS; i++) {
        const int64_t t = first + i;
        int *const list = team.likely + MANY_EACH * i;
        if (t >= a.r.tokens) break;
        if (a.r.padding != NULL && a.r.padding[t] != 0) {
            if (lane < a.r.topk + a.r.shared) router_store(a.r, t, lane, -1, 0.0f);
            continue;
        }
        const float *const row = (const float *)(a.r.logits + t * a.r.logits_row);
        const int n = odd ? 0 : moe_topk_list<SLOTS>(list, row, bias, a.r.topk);
        mine = n <= MANY_EACH && lane / MANY_EACH == i ? n : mine;
        if (n > 0 && n <= MANY_EACH) continue;
        team_barrier();
        if (n > 0 && n <= TEAM)
            moe_topk_order<TEAM, SOFTPLUS>(a, team, list, t, n);
        else
            moe_topk_every<SOFTPLUS>(a, t, keys[gpu_team()]);
    }
    team_barrier();
    moe_topk_order<MANY_EACH, SOFTPLUS>(a, team, team.likely, first + lane / MANY_EACH, mine);
}
#endif

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
    else if (softplus == ROUTER_BASE_TWO)
        GPU_LAUNCH((moe_topk_kernel<SLOTS, ROUTER_BASE_TWO>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((moe_topk_kernel<SLOTS, ROUTER_NO_THRESHOLD>), grid, CALL_THREADS, stream, a);
}

#if !GPU_HIP
template <int SLOTS>
static void moe_topk_launch_many(const struct moe_topk_args a, dim3 grid, int softplus,
                                 gpu_stream stream) {
    if (softplus == ROUTER_LOG1P)
        GPU_LAUNCH((moe_topk_many_kernel<SLOTS, ROUTER_LOG1P>), grid, CALL_THREADS, stream, a);
    else if (softplus == ROUTER_LOG_ONE_PLUS)
        GPU_LAUNCH((moe_topk_many_kernel<SLOTS, ROUTER_LOG_ONE_PLUS>), grid, CALL_THREADS, stream,
                   a);
    else if (softplus == ROUTER_MAX_FORM)
        GPU_LAUNCH((moe_topk_many_kernel<SLOTS, ROUTER_MAX_FORM>), grid, CALL_THREADS, stream, a);
    else if (softplus == ROUTER_BASE_TWO)
        GPU_LAUNCH((moe_topk_many_kernel<SLOTS, ROUTER_BASE_TWO>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((moe_topk_many_kernel<SLOTS, ROUTER_NO_THRESHOLD>), grid, CALL_THREADS, stream,
                   a);
}

static int moe_topk_many(const struct moe_topk_args &a, int softplus, gpu_stream stream,
                         struct call_why why) {
    dim3 grid;
    const int status = call_grid(&grid, call_ceil(a.r.tokens, CALL_TEAMS * MANY_TOKENS), why);
    if (status != DSV4_OK) return status;
    if (a.r.experts == 256)
        moe_topk_launch_many<8>(a, grid, softplus, stream);
    else
        moe_topk_launch_many<12>(a, grid, softplus, stream);
    return call_launched(why);
}

/* Whether there are enough tokens to give a team four, and the experts of a model. */
static bool moe_topk_is_many(const dsv4_call *call, const struct moe_topk_args &a) {
    return a.r.tokens >= (int64_t)GPU_BUSY_BLOCKS * CALL_TEAMS &&
           a.r.topk + a.r.shared <= MANY_EACH && (a.r.experts == 256 || a.r.experts == 384) &&
           call_aligned(dsv4_find(call, "logits"), 16);
}
#endif

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
#if !GPU_HIP
    if (moe_topk_is_many(call, a)) return moe_topk_many(a, softplus, stream, why);
#endif
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
