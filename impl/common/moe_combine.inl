/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_combine: a team takes 256 channels of a token, a lane eight of them. Lane k knows at which place slot k is added;
 * all rows of a token are on their way before the first is added.
 */
#include "call.h"
#include "num.inl"

enum { COMBINE_CHANNELS = 8 * TEAM, COMBINE_MOST = 8 };
enum { COMBINE_SLOT, COMBINE_ASCENDING, COMBINE_WEIGHTED };

struct moe_combine_args {
    const char *x, *shared;
    const int32_t *ids;
    const float *weights;
    char *y;
    int64_t x_token, x_slot, shared_row, y_row, tasks;
    struct gpu_divisor teams;
    int hidden, topk;
};

/* The place of this lane's slot in the sum; -1: nowhere. */
template <int ORDER>
GPU_DEVICE int moe_combine_place(const struct moe_combine_args &a, int32_t id) {
    int place = 0;
    for (int k = 0; k < a.topk; k++) {
        const int32_t other = (int32_t)team_read_u32((uint32_t)id, k);
        const bool first = ORDER == COMBINE_ASCENDING
                               ? other < id || (other == id && k < gpu_lane())
                               : k < gpu_lane();
        place += other >= 0 && first;
    }
    return gpu_lane() < a.topk && id >= 0 ? place : -1;
}

template <bool WEIGHTED> GPU_DEVICE void moe_combine_add(float *acc, gpu_u4 v, float w) {
    const uint32_t codes[4] = {v.x, v.y, v.z, v.w};
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const float low = num_bf16_low(codes[i]), high = num_bf16_high(codes[i]);
        acc[2 * i] = acc[2 * i] + (WEIGHTED ? w * low : low);
        acc[2 * i + 1] = acc[2 * i + 1] + (WEIGHTED ? w * high : high);
    }
}

GPU_DEVICE gpu_u4 moe_combine_round(const float *acc) {
    gpu_u4 codes;
    codes.x = num_bf16x2_of_numbers(acc[0], acc[1]);
    codes.y = num_bf16x2_of_numbers(acc[2], acc[3]);
    codes.z = num_bf16x2_of_numbers(acc[4], acc[5]);
    codes.w = num_bf16x2_of_numbers(acc[6], acc[7]);
    return codes;
}

template <int ORDER>
__global__ void __launch_bounds__(CALL_THREADS)
    moe_combine_kernel(const struct moe_combine_args a) {
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    if (task >= a.tasks) return;
    const int64_t t = gpu_quotient(task, a.teams);
    const int channel = (int)(task - t * a.teams.value) * COMBINE_CHANNELS + 8 * gpu_lane();
    const bool inside = channel < a.hidden, routed = gpu_lane() < a.topk;
    const int32_t id = routed ? a.ids[t * a.topk + gpu_lane()] : -1;
    const float weight =
        ORDER == COMBINE_WEIGHTED && routed ? a.weights[t * a.topk + gpu_lane()] : 0.0f;
    gpu_u4 rows[COMBINE_MOST], shared;
    float weights[COMBINE_MOST], acc[8];
    uint32_t slots = 0; /* of the sum: bit n if there is an n-th */
    shared.x = shared.y = shared.z = shared.w = 0;
    if (a.shared != NULL && inside)
        shared = *(const gpu_u4 *)(a.shared + t * a.shared_row + 2 * channel);
    const int place = moe_combine_place<ORDER>(a, id);
    GPU_UNROLL for (int n = 0; n < COMBINE_MOST; n++) {
        const int slot = gpu_lowest_bit(team_ballot(place == n));
        rows[n].x = rows[n].y = rows[n].z = rows[n].w = 0;
        weights[n] = gpu_float(team_read_u32(gpu_bits(weight), slot & (TEAM - 1)));
        if (slot < 0) continue;
        slots |= 1u << n;
        if (inside)
            rows[n] = *(const gpu_u4 *)(a.x + t * a.x_token + slot * a.x_slot + 2 * channel);
    }
    if (!inside) return;
    GPU_UNROLL for (int i = 0; i < 8; i++) acc[i] = 0.0f;
    GPU_UNROLL for (int n = 0; n < COMBINE_MOST; n++) if ((slots >> n & 1u) != 0)
        moe_combine_add<ORDER == COMBINE_WEIGHTED>(acc, rows[n], weights[n]);
    if (a.shared != NULL) {
        if (ORDER != COMBINE_ASCENDING) {
            const gpu_u4 rounded = moe_combine_round(acc);
            GPU_UNROLL for (int i = 0; i < 8; i++) acc[i] = -0.0f;
            moe_combine_add<false>(acc, rounded, 0.0f);
        }
        moe_combine_add<false>(acc, shared, 0.0f);
    }
    *(gpu_u4 *)(a.y + t * a.y_row + 2 * channel) = moe_combine_round(acc);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "x", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "x", 16, why);
    CALL_NEED(call, "ids", DSV4_I32, 2, why);
    if (dsv4_is(call, "order", "weighted")) CALL_NEED(call, "weights", DSV4_F32, 2, why);
    if (!call_absent(dsv4_find(call, "shared"))) {
        CALL_NEED(call, "shared", DSV4_BF16, 2, why);
        CALL_NEED_ALIGNED(call, "shared", 16, why);
    }
    CALL_NEED(call, "y", DSV4_BF16, 2, why);
    CALL_NEED_ALIGNED(call, "y", 16, why);
    if (dsv4_find(call, "x")->shape[1] > COMBINE_MOST || dsv4_find(call, "x")->shape[2] % 8 != 0)
        return call_unsupported(why,
                                "these kernels take up to 8 slots, and multiples of 8 channels");
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const y = dsv4_find(call, "y");
    const dsv4_tensor *const shared = dsv4_find(call, "shared");
    const gpu_stream stream = (gpu_stream)call->stream;
    const bool weighted = dsv4_is(call, "order", "weighted");
    struct moe_combine_args a;
    dim3 grid;
    a.x = (const char *)x->data;
    a.x_token = x->stride[0];
    a.x_slot = x->stride[1];
    a.ids = (const int32_t *)dsv4_find(call, "ids")->data;
    a.weights = weighted ? (const float *)dsv4_find(call, "weights")->data : NULL;
    a.shared = call_absent(shared) ? NULL : (const char *)shared->data;
    a.shared_row = call_absent(shared) ? 0 : shared->stride[0];
    a.y = (char *)y->data;
    a.y_row = y->stride[0];
    a.topk = (int)x->shape[1];
    a.hidden = (int)x->shape[2];
    a.teams = call_divisor(call_ceil(a.hidden, COMBINE_CHANNELS));
    a.tasks = x->shape[0] * a.teams.value;
    if (a.tasks == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.tasks, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (weighted)
        GPU_LAUNCH(moe_combine_kernel<COMBINE_WEIGHTED>, grid, CALL_THREADS, stream, a);
    else if (dsv4_is(call, "order", "expert_ascending"))
        GPU_LAUNCH(moe_combine_kernel<COMBINE_ASCENDING>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(moe_combine_kernel<COMBINE_SLOT>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_combine)
