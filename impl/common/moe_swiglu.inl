/* SPDX-License-Identifier: Apache-2.0 */
/* moe_swiglu: see moe_activation.inl; rows that are not aligned to 16 bytes go column by column. */
#include "moe_activation.inl"

struct swiglu_args {
    struct activation_args x;
    char *y;
    int64_t y_row;
};

GPU_DEVICE uint32_t swiglu_two(const float *values) {
    return num_any_nan(values[0], values[1]) ? num_bf16x2(values[0], values[1])
                                             : num_bf16x2_of_numbers(values[0], values[1]);
}

template <int ROUNDING>
__global__ void __launch_bounds__(CALL_THREADS) swiglu_kernel(const struct swiglu_args a) {
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    if (task >= a.x.tasks) return;
    const struct activation_place place = activation_open(a.x, task);
    float values[8];
    activation_eight<ROUNDING>(a.x, place, values);
    if (!place.stored) return;
    gpu_u4 codes;
    codes.x = swiglu_two(values);
    codes.y = swiglu_two(values + 2);
    codes.z = swiglu_two(values + 4);
    codes.w = swiglu_two(values + 6);
    *(gpu_u4 *)(a.y + place.row * a.y_row + 2 * place.column) = codes;
}

template <int ROUNDING>
__global__ void __launch_bounds__(CALL_THREADS) swiglu_narrow_kernel(const struct swiglu_args a) {
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    if (task >= a.x.tasks) return;
    const struct activation_place place = activation_open(a.x, task);
    const uint16_t *const row = (const uint16_t *)(a.x.x + place.row * a.x.stride);
    uint16_t *const to = (uint16_t *)(a.y + place.row * a.y_row);
    if (!place.stored) return;
    for (int i = place.column; i < place.column + 8 && i < a.x.width; i++) {
        const float gate = num_bf16_low(row[i]), up = num_bf16_low(row[a.x.width + i]);
        float value = activation_of<ROUNDING>(activation_clamp(gate, up, a.x.limit));
        if (a.x.weights != NULL) value = value * a.x.weights[place.row];
        to[i] = (uint16_t)num_bf16x2(value, 0.0f);
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "y", DSV4_BF16, 2, why);
    return activation_supports(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "gate_up"), *const y = dsv4_find(call, "y");
    const bool two = dsv4_is(call, "recipe", "two_rounding");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct swiglu_args a;
    dim3 grid;
    activation_args_of(call, a.x, !two, two);
    a.y = (char *)y->data;
    a.y_row = y->stride[0];
    if (a.x.tasks == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.x.tasks, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    const bool wide = a.x.width % 8 == 0 && call_aligned(x, 16) && call_aligned(y, 16);
    if (wide && two)
        GPU_LAUNCH(swiglu_kernel<ACTIVATION_SILU>, grid, CALL_THREADS, stream, a);
    else if (wide)
        GPU_LAUNCH(swiglu_kernel<ACTIVATION_ONCE>, grid, CALL_THREADS, stream, a);
    else if (two)
        GPU_LAUNCH(swiglu_narrow_kernel<ACTIVATION_SILU>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(swiglu_narrow_kernel<ACTIVATION_ONCE>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_swiglu)
