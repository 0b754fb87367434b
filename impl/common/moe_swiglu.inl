/* SPDX-License-Identifier: Apache-2.0 */
/* moe_swiglu: see moe_activation.inl; rows that are not aligned to 16 bytes go a column to a lane. */
#include "moe_activation.inl"

struct swiglu_args {
    struct activation_args x;
    char *y;
    int64_t y_row;
};

GPU_DEVICE void swiglu_store(char *to, const float (&values)[8]) {
    gpu_u4 codes;
    codes.x = num_bf16x2(values[0], values[1]);
    codes.y = num_bf16x2(values[2], values[3]);
    codes.z = num_bf16x2(values[4], values[5]);
    codes.w = num_bf16x2(values[6], values[7]);
    *(gpu_u4 *)to = codes;
}
GPU_DEVICE void swiglu_store(char *to, const float (&values)[4]) {
    gpu_u2 codes;
    codes.x = num_bf16x2(values[0], values[1]);
    codes.y = num_bf16x2(values[2], values[3]);
    *(gpu_u2 *)to = codes;
}

template <bool ROUNDED, bool MANY>
ACTIVATION_KERNEL(MANY)
swiglu_kernel(const struct swiglu_args a) {
    __shared__ float table[MANY ? (int)ACTIVATION_ENTRIES : 1];
    constexpr int columns = ACTIVATION_COLUMNS(MANY);
    const struct activation_place place = activation_open(a.x, ACTIVATION_THREADS(MANY), columns);
    struct activation_words<columns> x, ahead;
    activation_read(x, a.x, place, place.row);
    if (MANY) activation_fill<ROUNDED>(table, a.x.limit);
    for (int row = place.row; row < a.x.rows; row += a.x.step) {
        float values[columns];
        if (MANY) activation_read(ahead, a.x, place, row + a.x.step);
        activation_products<ROUNDED, MANY>(values, x, a.x.limit, table);
        if (place.inside && row < place.in_use)
            swiglu_store(a.y + row * a.y_row + 2 * place.column, values);
        if (MANY) x = ahead;
    }
}

/* A column for each lane. */
template <bool ROUNDED> ACTIVATION_KERNEL(false) swiglu_narrow_kernel(const struct swiglu_args a) {
    const struct activation_place place = activation_open(a.x, CALL_THREADS, 1);
    if (!place.inside || place.row >= a.x.rows || place.row >= place.in_use) return;
    const uint16_t *const x = (const uint16_t *)(a.x.x + place.row * a.x.stride) + place.column;
    const float silu = activation_silu<ROUNDED>(num_bf16_low(x[0]), a.x.limit);
    float value = silu * activation_up(num_bf16_low(x[a.x.width]), a.x.limit);
    if (a.x.weights != NULL) value = value * a.x.weights[place.row];
    ((uint16_t *)(a.y + place.row * a.y_row))[place.column] = (uint16_t)num_bf16x2(value, 0.0f);
}

template <bool ROUNDED>
static void swiglu_launch(const struct swiglu_args &a, dim3 grid, gpu_stream stream) {
    if (a.x.many)
        GPU_LAUNCH((swiglu_kernel<ROUNDED, true>), grid, ACTIVATION_THREADS(true), stream, a);
    else if (a.x.columns > 1)
        GPU_LAUNCH((swiglu_kernel<ROUNDED, false>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(swiglu_narrow_kernel<ROUNDED>, grid, CALL_THREADS, stream, a);
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
    const bool wide = y->shape[1] % 8 == 0 && call_aligned(x, 16) && call_aligned(y, 16);
    activation_args_of(call, a.x, !two, two, wide ? 0 : 1);
    a.y = (char *)y->data;
    a.y_row = y->stride[0];
    if (a.x.rows == 0) return DSV4_OK;
    const int status = activation_grid(&grid, a.x, why);
    if (status != DSV4_OK) return status;
    if (two)
        swiglu_launch<true>(a, grid, stream);
    else
        swiglu_launch<false>(a, grid, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_swiglu)
