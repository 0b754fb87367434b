/* SPDX-License-Identifier: Apache-2.0 */
/* quant_mxfp4_dequant: FP4 codes times 2^(byte - 127); see quant_dequant.inl. */
#include "quant_dequant_rows.inl"

struct quant_fours_args {
    struct quant_dequant_rows rows;
    const uint8_t *scales;
    int64_t scales_stride;
    int shifted;
};

GPU_DEVICE uint32_t quant_dequant_scale(const struct quant_fours_args &a, int64_t row, int column) {
    return a.scales[row * a.scales_stride + column / 32];
}

/* The code's magnitude as bits 22..24 is its value times 2^-126, subnormals included. */
GPU_DEVICE float quant_fours_value(uint32_t code, float scale) {
    return gpu_float((code & 7u) << 22 | (code & 8u) << 28) * 0x1p126f * scale;
}

GPU_DEVICE void quant_dequant_four(const struct quant_fours_args &a, gpu_u2 codes, uint32_t byte,
                                   uint32_t *words) {
    const float scale = a.shifted ? gpu_float(byte << 23) : num_e8m0_value(byte);
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const float low = quant_fours_value(codes.x >> 8 * i, scale);
        const float high = quant_fours_value(codes.x >> (8 * i + 4), scale);
        words[i] = byte == 255u ? num_bf16x2(low, high) : num_bf16x2_of_numbers(low, high);
    }
}

#define QUANT_DEQUANT_ARGS quant_fours_args
#define QUANT_DEQUANT_KERNEL quant_mxfp4_dequant_kernel
#define QUANT_DEQUANT_BITS 4
#include "quant_dequant.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "q", DSV4_U8, 2, why);
    CALL_NEED(call, "scales", DSV4_E8M0, 2, why);
    CALL_NEED(call, "y", DSV4_BF16, 2, why);
    if (dsv4_find(call, "y")->shape[1] > INT32_MAX / 8)
        return call_unsupported(why, "y: rows of %lld", (long long)dsv4_find(call, "y")->shape[1]);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const scales = dsv4_find(call, "scales");
    struct quant_fours_args a = {};
    a.scales = (const uint8_t *)scales->data;
    a.scales_stride = scales->stride[0];
    a.shifted = dsv4_is(call, "ends", "shifted");
    return quant_dequant_launch(call, a, why);
}

CALL_ENTRY_POINTS(quant_mxfp4_dequant)
