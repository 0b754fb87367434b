/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_unpermute: a team takes 256 channels of a token, a lane eight of them. Eight slots' rows are on their way before the
 * first is stored or added.
 */
#include "call.h"
#include "num.inl"

enum { UNPERMUTE_CHANNELS = 8 * TEAM, UNPERMUTE_EACH = 8 };
enum { UNPERMUTE_SLOTS, UNPERMUTE_SUM, UNPERMUTE_WEIGHTED };

struct unpermute_args {
    const char *x;
    const int32_t *inverse;
    const float *weights;
    char *y;
    int64_t x_row, y_token, y_slot, tasks;
    struct gpu_divisor teams;
    int hidden, topk;
};

template <bool WEIGHTED> GPU_DEVICE void unpermute_add(float *acc, gpu_u4 v, float w) {
    const uint32_t codes[4] = {v.x, v.y, v.z, v.w};
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const float low = num_bf16_low(codes[i]), high = num_bf16_high(codes[i]);
        acc[2 * i] = acc[2 * i] + (WEIGHTED ? w * low : low);
        acc[2 * i + 1] = acc[2 * i + 1] + (WEIGHTED ? w * high : high);
    }
}

template <int FORM>
__global__ void __launch_bounds__(CALL_THREADS) unpermute_kernel(const struct unpermute_args a) {
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    if (task >= a.tasks) return;
    const int64_t t = gpu_quotient(task, a.teams);
    const int channel = (int)(task - t * a.teams.value) * UNPERMUTE_CHANNELS + 8 * gpu_lane();
    const bool inside = channel < a.hidden, listed = gpu_lane() < a.topk;
    const int32_t mine = listed ? a.inverse[t * a.topk + gpu_lane()] : -1;
    const float weight =
        FORM == UNPERMUTE_WEIGHTED && listed ? a.weights[t * a.topk + gpu_lane()] : 0.0f;
    float acc[8];
    GPU_UNROLL for (int i = 0; i < 8; i++) acc[i] = 0.0f;
    GPU_NO_UNROLL for (int first = 0; first < a.topk; first += UNPERMUTE_EACH) {
        gpu_u4 rows[UNPERMUTE_EACH];
        int32_t places[UNPERMUTE_EACH];
        float weights[UNPERMUTE_EACH];
        GPU_UNROLL for (int k = 0; k < UNPERMUTE_EACH; k++) {
            places[k] = (int32_t)team_read_u32((uint32_t)mine, first + k);
            weights[k] = gpu_float(team_read_u32(gpu_bits(weight), first + k));
            rows[k].x = rows[k].y = rows[k].z = rows[k].w = 0;
            if (places[k] >= 0 && inside)
                rows[k] = *(const gpu_u4 *)(a.x + places[k] * a.x_row + 2 * channel);
        }
        GPU_UNROLL for (int k = 0; k < UNPERMUTE_EACH; k++) {
            if (places[k] < 0 || !inside) continue;
            if (FORM == UNPERMUTE_SLOTS)
                *(gpu_u4 *)(a.y + t * a.y_token + (first + k) * a.y_slot + 2 * channel) = rows[k];
            else
                unpermute_add<FORM == UNPERMUTE_WEIGHTED>(acc, rows[k], weights[k]);
        }
    }
    if (FORM == UNPERMUTE_SLOTS || !inside) return;
    gpu_u4 codes;
    codes.x = num_bf16x2_of_numbers(acc[0], acc[1]);
    codes.y = num_bf16x2_of_numbers(acc[2], acc[3]);
    codes.z = num_bf16x2_of_numbers(acc[4], acc[5]);
    codes.w = num_bf16x2_of_numbers(acc[6], acc[7]);
    *(gpu_u4 *)(a.y + t * a.y_token + 2 * channel) = codes;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const bool split = dsv4_is(call, "form", "slots");
    CALL_NEED(call, "x", DSV4_BF16, 2, why);
    CALL_NEED_ALIGNED(call, "x", 16, why);
    CALL_NEED(call, "inverse", DSV4_I32, 2, why);
    if (dsv4_is(call, "form", "weighted")) CALL_NEED(call, "weights", DSV4_F32, 2, why);
    CALL_NEED(call, "y", DSV4_BF16, split ? 3 : 2, why);
    CALL_NEED_ALIGNED(call, "y", 16, why);
    if (dsv4_find(call, "inverse")->shape[1] > TEAM || dsv4_find(call, "x")->shape[1] % 8 != 0)
        return call_unsupported(why,
                                "these kernels take up to 32 slots, and multiples of 8 channels");
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const y = dsv4_find(call, "y");
    const dsv4_tensor *const inverse = dsv4_find(call, "inverse");
    const gpu_stream stream = (gpu_stream)call->stream;
    const bool split = dsv4_is(call, "form", "slots"), weighted = dsv4_is(call, "form", "weighted");
    struct unpermute_args a;
    dim3 grid;
    a.x = (const char *)x->data;
    a.x_row = x->stride[0];
    a.inverse = (const int32_t *)inverse->data;
    a.weights = weighted ? (const float *)dsv4_find(call, "weights")->data : NULL;
    a.y = (char *)y->data;
    a.y_token = y->stride[0];
    a.y_slot = split ? y->stride[1] : 0;
    a.topk = (int)inverse->shape[1];
    a.hidden = (int)x->shape[1];
    a.teams = call_divisor(call_ceil(a.hidden, UNPERMUTE_CHANNELS));
    a.tasks = inverse->shape[0] * a.teams.value;
    if (a.tasks == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.tasks, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (split)
        GPU_LAUNCH(unpermute_kernel<UNPERMUTE_SLOTS>, grid, CALL_THREADS, stream, a);
    else if (weighted)
        GPU_LAUNCH(unpermute_kernel<UNPERMUTE_WEIGHTED>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(unpermute_kernel<UNPERMUTE_SUM>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_unpermute)
