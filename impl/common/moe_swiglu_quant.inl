/* SPDX-License-Identifier: Apache-2.0 */
/* moe_swiglu_quant: see moe_activation.inl; a group is that of 32 columns (mega, aiter) or 128, in neighbouring lanes. */
#include "moe_activation.inl"

enum { SWIGLU_REF, SWIGLU_MEGA, SWIGLU_AITER, SWIGLU_AITER_F32, SWIGLU_DSPARK };
#define SWIGLU_GROUP(RECIPE) ((RECIPE) == SWIGLU_MEGA || (RECIPE) == SWIGLU_AITER ? 32 : 128)

struct swiglu_quant_args {
    struct activation_args x;
    char *codes, *scales;
    int64_t codes_row, scales_row;
    int fp8;
};

/* Greatest magnitude over the lanes of a group. */
template <int COLUMNS, int GROUP> GPU_DEVICE float swiglu_amax(const float *values) {
    uint32_t most = 0;
    GPU_UNROLL for (int i = 0; i < COLUMNS; i++) {
        const uint32_t magnitude = gpu_bits(values[i]) & 0x7FFFFFFFu;
        most = magnitude > most ? magnitude : most;
    }
    constexpr int lanes = GROUP / COLUMNS;
    float amax = gpu_float(most);
    if (lanes > 16) amax = gpu_max(amax, team_xor_float(amax, 16));
    if (lanes > 8) amax = gpu_max(amax, team_xor_float(amax, 8));
    if (lanes > 4) amax = gpu_max(amax, team_xor_float(amax, 4));
    amax = gpu_max(amax, team_xor_float(amax, 2));
    return gpu_max(amax, team_xor_float(amax, 1));
}

/* The scale is the power of two from this on. */
template <int RECIPE> GPU_DEVICE float swiglu_quotient(float amax, int fp8) {
    const float inverse_most = fp8 == NUM_OCP       ? 1.0f / 448.0f
                               : fp8 == NUM_FNUZ224 ? 1.0f / 224.0f
                                                    : 1.0f / 240.0f;
    if (RECIPE == SWIGLU_REF) amax = gpu_max(amax, 1e-4f);
    if (RECIPE == SWIGLU_DSPARK) amax = gpu_max(amax, 1e-10f);
    if (RECIPE == SWIGLU_AITER) return gpu_divide_float(amax, num_fp8_max(fp8));
    return amax * inverse_most;
}

GPU_DEVICE uint32_t swiglu_four(const float *values, float inverse, int fp8) {
    return num_fp8_x2(values[0] * inverse, values[1] * inverse, fp8) |
           num_fp8_x2(values[2] * inverse, values[3] * inverse, fp8) << 16;
}

/* A group's scale and what its values are multiplied by. */
struct swiglu_scale {
    float scale, inverse;
    uint32_t byte;
};

template <int RECIPE> GPU_DEVICE struct swiglu_scale swiglu_scale_of(float amax, int fp8) {
    struct swiglu_scale s;
    if (RECIPE == SWIGLU_AITER_F32) {
        s.scale = gpu_divide_float(gpu_max(amax, 1e-10f), num_fp8_max(fp8));
        s.inverse = gpu_divide_float(1.0f, s.scale);
        return s;
    }
    s.byte = num_e8m0_ceil(swiglu_quotient<RECIPE>(amax, fp8));
    s.scale = num_e8m0_value(s.byte);
    s.inverse = num_e8m0_inverse(s.byte);
    return s;
}

GPU_DEVICE void swiglu_store(char *to, const float (&values)[8], float inverse, int fp8) {
    gpu_u2 codes;
    codes.x = swiglu_four(values, inverse, fp8);
    codes.y = swiglu_four(values + 4, inverse, fp8);
    *(gpu_u2 *)to = codes;
}
GPU_DEVICE void swiglu_store(char *to, const float (&values)[4], float inverse, int fp8) {
    *(uint32_t *)to = swiglu_four(values, inverse, fp8);
}

template <int RECIPE, bool MANY>
GPU_DEVICE void
swiglu_quantise(const struct swiglu_quant_args &a, const struct activation_place &place, int row,
                const struct activation_words<ACTIVATION_COLUMNS(MANY)> &x, const float *table) {
    constexpr int columns = ACTIVATION_COLUMNS(MANY), group = SWIGLU_GROUP(RECIPE);
    float values[columns];
    activation_products<RECIPE == SWIGLU_DSPARK, MANY>(values, x, a.x.limit, table);
    if (RECIPE == SWIGLU_REF || RECIPE == SWIGLU_DSPARK) {
        GPU_UNROLL for (int i = 0; i < columns; i += 2) {
            const uint32_t codes = num_bf16x2_of_numbers(values[i], values[i + 1]);
            values[i] = num_bf16_low(codes);
            values[i + 1] = num_bf16_high(codes);
        }
    }
    const float amax = swiglu_amax<columns, group>(values);
    const struct swiglu_scale s = swiglu_scale_of<RECIPE>(amax, a.fp8);
    if (!place.inside || row >= place.in_use) return;
    swiglu_store(a.codes + row * a.codes_row + place.column, values, s.inverse, a.fp8);
    if (place.column % group != 0) return;
    char *const scales = a.scales + row * a.scales_row;
    if (RECIPE == SWIGLU_DSPARK || RECIPE == SWIGLU_AITER_F32)
        ((float *)scales)[place.column / group] = s.scale;
    else
        scales[place.column / group] = (char)s.byte;
}

template <int RECIPE, bool MANY>
ACTIVATION_KERNEL(MANY)
swiglu_quant_kernel(const struct swiglu_quant_args a) {
    __shared__ float table[MANY ? (int)ACTIVATION_ENTRIES : 1];
    constexpr int columns = ACTIVATION_COLUMNS(MANY);
    const struct activation_place place = activation_open(a.x, ACTIVATION_THREADS(MANY), columns);
    struct activation_words<columns> x, ahead;
    activation_read(x, a.x, place, place.row);
    if (MANY) activation_fill<RECIPE == SWIGLU_DSPARK>(table, a.x.limit);
    for (int row = place.row; row < a.x.rows; row += a.x.step) {
        if (MANY) activation_read(ahead, a.x, place, row + a.x.step);
        swiglu_quantise<RECIPE, MANY>(a, place, row, x, table);
        if (MANY) x = ahead;
    }
}

template <int RECIPE>
static void swiglu_quant_launch(const struct swiglu_quant_args &a, dim3 grid, gpu_stream stream) {
    if (a.x.many)
        GPU_LAUNCH((swiglu_quant_kernel<RECIPE, true>), grid, ACTIVATION_THREADS(true), stream, a);
    else
        GPU_LAUNCH((swiglu_quant_kernel<RECIPE, false>), grid, CALL_THREADS, stream, a);
}

static int supports(const dsv4_call *call, struct call_why why) {
    const bool f32 = dsv4_is(call, "recipe", "dspark") || dsv4_is(call, "recipe", "aiter_f32");
    const bool ocp = dsv4_is(call, "fp8", "ocp");
    CALL_NEED(call, "codes", ocp ? DSV4_E4M3FN : DSV4_E4M3FNUZ, 2, why);
    CALL_NEED(call, "scales", f32 ? DSV4_F32 : DSV4_E8M0, 2, why);
    CALL_NEED_ALIGNED(call, "gate_up", 16, why);
    CALL_NEED_ALIGNED(call, "codes", 8, why);
    if (dsv4_find(call, "codes")->shape[1] % 128 != 0)
        return call_unsupported(why, "codes: %lld columns; these kernels take multiples of 128",
                                (long long)dsv4_find(call, "codes")->shape[1]);
    return activation_supports(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const codes = dsv4_find(call, "codes"), *const scales =
                                                                   dsv4_find(call, "scales");
    const bool mega = dsv4_is(call, "recipe", "mega"), dspark = dsv4_is(call, "recipe", "dspark");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct swiglu_quant_args a;
    dim3 grid;
    activation_args_of(call, a.x, !dspark, mega || dspark, 0);
    a.codes = (char *)codes->data;
    a.codes_row = codes->stride[0];
    a.scales = (char *)scales->data;
    a.scales_row = scales->stride[0];
    a.fp8 = dsv4_is(call, "fp8", "fnuz224")   ? NUM_FNUZ224
            : dsv4_is(call, "fp8", "fnuz240") ? NUM_FNUZ240
                                              : NUM_OCP;
    if (a.x.rows == 0) return DSV4_OK;
    const int status = activation_grid(&grid, a.x, why);
    if (status != DSV4_OK) return status;
    if (mega)
        swiglu_quant_launch<SWIGLU_MEGA>(a, grid, stream);
    else if (dspark)
        swiglu_quant_launch<SWIGLU_DSPARK>(a, grid, stream);
    else if (dsv4_is(call, "recipe", "aiter_f32"))
        swiglu_quant_launch<SWIGLU_AITER_F32>(a, grid, stream);
    else if (dsv4_is(call, "recipe", "aiter"))
        swiglu_quant_launch<SWIGLU_AITER>(a, grid, stream);
    else
        swiglu_quant_launch<SWIGLU_REF>(a, grid, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_swiglu_quant)
