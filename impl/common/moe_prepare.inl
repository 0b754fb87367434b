/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_prepare: a team takes 256 channels of a token, a lane eight of them; four lanes are a group, sixteen a word of
 * scales. The first team of a token also copies its experts.
 */
#include "call.h"
#include "num.inl"

enum { PREPARE_CHANNELS = 8 * TEAM };

struct prepare_args {
    const char *x, *topk_ids;
    const float *topk_weights;
    const uint8_t *padding;
    char *codes, *scales, *shared;
    int64_t *ids;
    float *weights;
    int64_t x_row, codes_row, scales_row, shared_row, tasks;
    struct gpu_divisor teams, block; /* block: tokens per block of the shared scales */
    int hidden, topk, ids_wide, aligned;
};

GPU_DEVICE void prepare_route(const struct prepare_args &a, int64_t t) {
    if (gpu_lane() >= a.topk) return;
    const int64_t i = t * a.topk + gpu_lane();
    const bool padded = a.padding != NULL && a.padding[t] != 0;
    const int64_t id =
        a.ids_wide ? ((const int64_t *)a.topk_ids)[i] : ((const int32_t *)a.topk_ids)[i];
    const float weight = a.topk_weights[i];
    a.ids[i] = padded ? -1 : id;
    a.weights[i] = padded ? 0.0f : weight;
}

GPU_DEVICE uint32_t prepare_magnitude(uint32_t codes) {
    const uint32_t low = codes << 16 & 0x7FFF0000u, high = codes & 0x7FFF0000u;
    return low > high ? low : high;
}

GPU_DEVICE uint32_t prepare_byte(gpu_u4 v) {
    const uint32_t a = prepare_magnitude(v.x), b = prepare_magnitude(v.y);
    const uint32_t c = prepare_magnitude(v.z), d = prepare_magnitude(v.w);
    const uint32_t ab = a > b ? a : b, cd = c > d ? c : d;
    float amax = gpu_float(ab > cd ? ab : cd);
    amax = gpu_max(amax, team_xor_float(amax, 2));
    amax = gpu_max(amax, team_xor_float(amax, 1));
    return num_e8m0_ceil(gpu_divide_float(gpu_max(amax, 1e-4f), 448.0f));
}

GPU_DEVICE uint32_t prepare_two(uint32_t codes, float inverse) {
    return num_fp8_x2(num_bf16_low(codes) * inverse, num_bf16_high(codes) * inverse, NUM_OCP);
}

GPU_DEVICE int64_t prepare_shared_row(const struct prepare_args &a, int64_t t) {
    const int64_t block = gpu_quotient(t, a.block);
    const int m = (int)(t - block * a.block.value);
    return block * a.aligned + (m & ~127) + (m & 31) * 4 + (m >> 5 & 3);
}

__global__ void __launch_bounds__(CALL_THREADS) prepare_kernel(const struct prepare_args a) {
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    if (task >= a.tasks) return;
    const int64_t t = gpu_quotient(task, a.teams);
    const int chunk = (int)(task - t * a.teams.value);
    const int channel = chunk * PREPARE_CHANNELS + 8 * gpu_lane();
    const bool inside = channel < a.hidden;
    gpu_u4 v;
    v.x = v.y = v.z = v.w = 0;
    if (inside) v = *(const gpu_u4 *)(a.x + t * a.x_row + 2 * channel);
    if (chunk == 0) prepare_route(a, t);
    const uint32_t byte = prepare_byte(v);
    uint32_t word = byte << 8 * (gpu_lane() / 4 % 4);
    word |= team_xor_u32(word, 4);
    word |= team_xor_u32(word, 8);
    if (!inside) return;
    const float inverse = num_e8m0_inverse(byte);
    gpu_u2 codes;
    codes.x = prepare_two(v.x, inverse) | prepare_two(v.y, inverse) << 16;
    codes.y = prepare_two(v.z, inverse) | prepare_two(v.w, inverse) << 16;
    *(gpu_u2 *)(a.codes + t * a.codes_row + channel) = codes;
    if (gpu_lane() % 16 != 0) return;
    const int c = channel / 128;
    *(uint32_t *)(a.scales + t * a.scales_row + 4 * c) = word;
    if (a.shared != NULL)
        *(uint32_t *)(a.shared + c * a.shared_row + 4 * prepare_shared_row(a, t)) = word;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const ids = dsv4_find(call, "topk_ids");
    CALL_NEED(call, "x", DSV4_BF16, 2, why);
    CALL_NEED_ALIGNED(call, "x", 16, why);
    if (!call_has(ids, DSV4_I64, 2)) CALL_NEED(call, "topk_ids", DSV4_I32, 2, why);
    CALL_NEED(call, "topk_weights", DSV4_F32, 2, why);
    CALL_NEED(call, "codes", DSV4_E4M3FN, 2, why);
    CALL_NEED_ALIGNED(call, "codes", 8, why);
    CALL_NEED(call, "scales", DSV4_I32, 2, why);
    CALL_NEED(call, "ids", DSV4_I64, 2, why);
    CALL_NEED(call, "weights", DSV4_F32, 2, why);
    if (!call_absent(dsv4_find(call, "shared_scales")))
        CALL_NEED(call, "shared_scales", DSV4_I32, 2, why);
    if (ids->shape[1] > TEAM || dsv4_find(call, "x")->shape[1] % 128 != 0)
        return call_unsupported(why, "these kernels take multiples of 128 channels, 32 experts");
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const ids = dsv4_find(call, "topk_ids");
    const dsv4_tensor *const codes = dsv4_find(call, "codes"), *const scales =
                                                                   dsv4_find(call, "scales");
    const dsv4_tensor *const shared = dsv4_find(call, "shared_scales");
    const dsv4_tensor *const padding = dsv4_find(call, "is_padding");
    const int64_t block = dsv4_int(call, "shared_block_m", 0);
    struct prepare_args a;
    dim3 grid;
    a.x = (const char *)x->data;
    a.x_row = x->stride[0];
    a.topk_ids = (const char *)ids->data;
    a.ids_wide = ids->dtype == DSV4_I64;
    a.topk_weights = (const float *)dsv4_find(call, "topk_weights")->data;
    a.padding = call_absent(padding) ? NULL : (const uint8_t *)padding->data;
    a.codes = (char *)codes->data;
    a.codes_row = codes->stride[0];
    a.scales = (char *)scales->data;
    a.scales_row = scales->stride[0];
    a.shared = call_absent(shared) ? NULL : (char *)shared->data;
    a.shared_row = call_absent(shared) ? 0 : shared->stride[0];
    a.ids = (int64_t *)dsv4_find(call, "ids")->data;
    a.weights = (float *)dsv4_find(call, "weights")->data;
    a.hidden = (int)x->shape[1];
    a.topk = (int)ids->shape[1];
    a.block = call_divisor(block > 0 ? block : 1);
    a.aligned = (int)(call_ceil(block, 128) * 128);
    a.teams = call_divisor(call_ceil(a.hidden, PREPARE_CHANNELS));
    a.tasks = x->shape[0] * a.teams.value;
    if (a.tasks == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.tasks, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(prepare_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_prepare)
