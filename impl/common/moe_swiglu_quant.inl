/* SPDX-License-Identifier: Apache-2.0 */
/* moe_swiglu_quant: see moe_activation.inl; a group is 4 lanes (mega, aiter) or 16. */
#include "moe_activation.inl"
#include "quant_group.inl"

enum { SWIGLU_REF, SWIGLU_MEGA, SWIGLU_AITER, SWIGLU_AITER_F32, SWIGLU_DSPARK };
#define SWIGLU_LANES(RECIPE) ((RECIPE) == SWIGLU_MEGA || (RECIPE) == SWIGLU_AITER ? 4 : 16)

struct swiglu_quant_args {
    struct activation_args x;
    char *codes, *scales;
    int64_t codes_row, scales_row;
    int fp8;
};

GPU_DEVICE float swiglu_most(const float *values) {
    uint32_t most = 0;
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        const uint32_t magnitude = gpu_bits(values[i]) & 0x7FFFFFFFu;
        most = magnitude > most ? magnitude : most;
    }
    return gpu_float(most);
}

/* Greatest magnitude over the lanes of a group. */
template <int LANES> GPU_DEVICE float swiglu_amax(const float *values) {
    return quant_amax_group(swiglu_most(values), LANES);
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

GPU_DEVICE gpu_u2 swiglu_codes(const float *values, float inverse, int fp8) {
#if NUM_HARDWARE_CUDA
    if (fp8 != NUM_OCP) return quant_fnuz_eight(values, inverse, fp8);
#endif
    gpu_u2 codes;
    codes.x = quant_fp8_four<QUANT_FNUZ>(values, inverse, fp8);
    codes.y = quant_fp8_four<QUANT_FNUZ>(values + 4, inverse, fp8);
    return codes;
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
GPU_DEVICE void swiglu_open(const struct swiglu_quant_args &a, const struct activation_eights &x,
                            struct swiglu_group &group) {
    float *const values = group.values;
    if (RECIPE == SWIGLU_DSPARK)
        activation_eight<ACTIVATION_SILU>(values, x);
    else if (RECIPE == SWIGLU_REF)
        activation_eight<ACTIVATION_ONCE>(values, x);
    else
        activation_exactly<ACTIVATION_UNROUNDED>(values, x);
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
/* The canon's amax by the values that may have it: estimates within 32 units, of which a power of two makes 64, either way. */
template <int LANES>
GPU_DEVICE float swiglu_true_amax(struct swiglu_group &group, const struct activation_eights &x) {
    float most = swiglu_most(group.values);
    const uint32_t from = gpu_bits(quant_amax_group(most, LANES)) - 128u;
    if (gpu_bits(most) >= from) {
        uint32_t mask = 0;
        GPU_UNROLL for (int i = 0; i < 8; i++) {
            mask |= (gpu_bits(group.values[i]) & 0x7FFFFFFFu) >= from ? 1u << i : 0;
        }
        activation_mend<ACTIVATION_UNROUNDED>(group.values, x, mask);
        most = swiglu_most(group.values);
    }
    return quant_amax_group(most, LANES);
}

/* The values whose codes are not those of all within 32 units, which are up to 32 * 2^-23 of a value. */
GPU_DEVICE uint32_t swiglu_doubtful(const struct swiglu_group &group, int fp8) {
    const gpu_u2 low = swiglu_codes(group.values, gpu_float(gpu_bits(group.inverse) - 80u), fp8);
    const gpu_u2 high = swiglu_codes(group.values, gpu_float(gpu_bits(group.inverse) + 80u), fp8);
    const uint32_t x = low.x ^ high.x, y = low.y ^ high.y;
    uint32_t mask = 0;
    if ((x | y) == 0) return 0;
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        mask |= (x >> 8 * i & 0xFFu) != 0 ? 1u << i : 0;
        mask |= (y >> 8 * i & 0xFFu) != 0 ? 16u << i : 0;
    }
    return mask;
}

/* By estimates; false where some of the team's numbers are not near, or scales not sure to be the canon's. */
template <int RECIPE>
GPU_DEVICE bool swiglu_guess(const struct swiglu_quant_args &a, const struct activation_eights &x,
                             struct swiglu_group &group) {
    constexpr int lanes = SWIGLU_LANES(RECIPE);
    const bool near = activation_about<ACTIVATION_ABOUT>(group.values, x) == 0;
    if (RECIPE == SWIGLU_AITER_F32) {
        if (team_ballot(!near) != 0) return false;
        swiglu_scale<RECIPE>(group, swiglu_true_amax<lanes>(group, x), a.fp8);
    } else {
        const float amax = swiglu_amax<lanes>(group.values);
        const bool sure = activation_is_sure<23>(swiglu_quotient<RECIPE>(amax, a.fp8), 0);
        if (team_ballot(!near || !sure) != 0) return false;
        swiglu_scale<RECIPE>(group, amax, a.fp8);
    }
    activation_mend<ACTIVATION_UNROUNDED>(group.values, x, swiglu_doubtful(group, a.fp8));
    return true;
}
#endif

template <int RECIPE>
__global__ void __launch_bounds__(CALL_THREADS)
    swiglu_quant_kernel(const struct swiglu_quant_args a) {
    constexpr int lanes = SWIGLU_LANES(RECIPE);
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    if (task >= a.x.tasks) return;
    const struct activation_place place = activation_open(a.x, task);
    const struct activation_eights x = activation_read(a.x, place);
    struct swiglu_group group;
#if ACTIVATION_ESTIMATES
    constexpr bool guesses = RECIPE != SWIGLU_REF && RECIPE != SWIGLU_DSPARK;
    if (!guesses || !swiglu_guess<RECIPE>(a, x, group)) swiglu_open<RECIPE>(a, x, group);
#else
    swiglu_open<RECIPE>(a, x, group);
#endif
    if (!place.stored) return;
    *(gpu_u2 *)(a.codes + place.row * a.codes_row + place.column) =
        swiglu_codes(group.values, group.inverse, a.fp8);
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
