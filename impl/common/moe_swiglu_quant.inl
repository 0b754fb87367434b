/* SPDX-License-Identifier: Apache-2.0 */
/* moe_swiglu_quant: see moe_activation.inl; a group is 4 lanes (mega, aiter) or 16. */
#include "moe_activation.inl"

enum { SWIGLU_REF, SWIGLU_MEGA, SWIGLU_AITER, SWIGLU_AITER_F32, SWIGLU_DSPARK };
#define SWIGLU_LANES(RECIPE) ((RECIPE) == SWIGLU_MEGA || (RECIPE) == SWIGLU_AITER ? 4 : 16)

struct swiglu_quant_args {
    struct activation_args x;
    char *codes, *scales;
    int64_t codes_row, scales_row;
    int fp8;
};

/* Greatest magnitude over the lanes of a group. */
template <int LANES> GPU_DEVICE float swiglu_amax(const float *values) {
    uint32_t most = 0;
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        const uint32_t magnitude = gpu_bits(values[i]) & 0x7FFFFFFFu;
        most = magnitude > most ? magnitude : most;
    }
    float amax = gpu_float(most);
    if (LANES == 16) {
        amax = gpu_max(amax, team_xor_float(amax, 8));
        amax = gpu_max(amax, team_xor_float(amax, 4));
    }
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

/* A group's values, those of eight columns here, its scale and what its values are multiplied by. */
struct swiglu_group {
    float values[8], scale, inverse;
    uint32_t byte;
};

template <int RECIPE>
GPU_DEVICE void swiglu_scale(struct swiglu_group &group, float amax, int fp8) {
    if (RECIPE == SWIGLU_AITER_F32) {
        group.scale = gpu_divide_float(gpu_max(amax, 1e-10f), num_fp8_max(fp8));
        group.inverse = gpu_divide_float(1.0f, group.scale);
        return;
    }
    group.byte = num_e8m0_ceil(swiglu_quotient<RECIPE>(amax, fp8));
    group.scale = num_e8m0_value(group.byte);
    group.inverse = num_e8m0_inverse(group.byte);
}

template <int RECIPE>
GPU_DEVICE void swiglu_open(const struct swiglu_quant_args &a, const struct activation_place &place,
                            struct swiglu_group &group) {
    float *const values = group.values;
    if (RECIPE == SWIGLU_DSPARK)
        activation_eight<ACTIVATION_SILU>(a.x, place, values);
    else if (RECIPE == SWIGLU_REF)
        activation_eight<ACTIVATION_ONCE>(a.x, place, values);
    else
        activation_eight<ACTIVATION_UNROUNDED>(a.x, place, values);
    if (RECIPE == SWIGLU_REF || RECIPE == SWIGLU_DSPARK) {
        GPU_UNROLL for (int i = 0; i < 8; i += 2) {
            const uint32_t codes = num_bf16x2_of_numbers(values[i], values[i + 1]);
            values[i] = num_bf16_low(codes);
            values[i + 1] = num_bf16_high(codes);
        }
    }
    swiglu_scale<RECIPE>(group, swiglu_amax<SWIGLU_LANES(RECIPE)>(values), a.fp8);
}

#if ACTIVATION_ESTIMATES
/* By estimates; false where some of the team's codes or scales are not sure to be the canon's. */
template <int RECIPE>
GPU_DEVICE bool swiglu_guess(const struct swiglu_quant_args &a,
                             const struct activation_place &place, struct swiglu_group &group) {
    bool sure = activation_eight<ACTIVATION_ABOUT>(a.x, place, group.values);
    const float amax = swiglu_amax<SWIGLU_LANES(RECIPE)>(group.values);
    swiglu_scale<RECIPE>(group, amax, a.fp8);
    sure = sure && activation_is_sure<23>(swiglu_quotient<RECIPE>(amax, a.fp8), 0);
    /* Below the least normal number codes are as far apart as just above it. */
    const float least = a.fp8 == NUM_OCP ? 0x1p-6f : 0x1p-7f;
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        const float x = gpu_float(gpu_bits(group.values[i] * group.inverse) & 0x7FFFFFFFu);
        sure = sure && activation_rounds<20>(x < least ? x + least : x);
    }
    return team_ballot(!sure && place.inside) == 0;
}
#endif

template <int RECIPE>
__global__ void __launch_bounds__(CALL_THREADS)
    swiglu_quant_kernel(const struct swiglu_quant_args a) {
    constexpr int lanes = SWIGLU_LANES(RECIPE);
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    if (task >= a.x.tasks) return;
    const struct activation_place place = activation_open(a.x, task);
    struct swiglu_group group;
#if ACTIVATION_ESTIMATES
    constexpr bool guesses = RECIPE == SWIGLU_MEGA || RECIPE == SWIGLU_AITER;
    if (!guesses || !swiglu_guess<RECIPE>(a, place, group)) swiglu_open<RECIPE>(a, place, group);
#else
    swiglu_open<RECIPE>(a, place, group);
#endif
    if (!place.stored) return;
    gpu_u2 codes;
    codes.x = swiglu_four(group.values, group.inverse, a.fp8);
    codes.y = swiglu_four(group.values + 4, group.inverse, a.fp8);
    *(gpu_u2 *)(a.codes + place.row * a.codes_row + place.column) = codes;
    if (gpu_lane() % lanes != 0) return;
    char *const scales = a.scales + place.row * a.scales_row;
    const int column = place.column / (8 * lanes);
    if (RECIPE == SWIGLU_DSPARK || RECIPE == SWIGLU_AITER_F32)
        ((float *)scales)[column] = group.scale;
    else
        scales[column] = (char)group.byte;
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
    activation_args_of(call, a.x, !dspark, mega || dspark);
    a.codes = (char *)codes->data;
    a.codes_row = codes->stride[0];
    a.scales = (char *)scales->data;
    a.scales_row = scales->stride[0];
    a.fp8 = dsv4_is(call, "fp8", "fnuz224")   ? NUM_FNUZ224
            : dsv4_is(call, "fp8", "fnuz240") ? NUM_FNUZ240
                                              : NUM_OCP;
    if (a.x.tasks == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.x.tasks, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (mega)
        GPU_LAUNCH(swiglu_quant_kernel<SWIGLU_MEGA>, grid, CALL_THREADS, stream, a);
    else if (dspark)
        GPU_LAUNCH(swiglu_quant_kernel<SWIGLU_DSPARK>, grid, CALL_THREADS, stream, a);
    else if (dsv4_is(call, "recipe", "aiter_f32"))
        GPU_LAUNCH(swiglu_quant_kernel<SWIGLU_AITER_F32>, grid, CALL_THREADS, stream, a);
    else if (dsv4_is(call, "recipe", "aiter"))
        GPU_LAUNCH(swiglu_quant_kernel<SWIGLU_AITER>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(swiglu_quant_kernel<SWIGLU_REF>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_swiglu_quant)
