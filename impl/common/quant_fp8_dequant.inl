/* SPDX-License-Identifier: Apache-2.0 */
/* quant_fp8_dequant: FP8 codes times the scale of their block; see quant_dequant.inl. */
#include "quant_dequant_rows.inl"

struct quant_fp8_args {
    struct quant_dequant_rows rows;
    const char *scales;
    int64_t scales_stride;
    int bytes, fp8;
};

GPU_DEVICE uint32_t quant_dequant_scale(const struct quant_fp8_args &a, int64_t row, int column) {
    const char *const from = a.scales + (row >> 7) * a.scales_stride;
    return a.bytes ? gpu_bits(num_e8m0_value(((const uint8_t *)from)[column >> 7]))
                   : ((const uint32_t *)from)[column >> 7];
}

GPU_DEVICE void quant_dequant_four(const struct quant_fp8_args &a, gpu_u2 codes, uint32_t bits,
                                   uint32_t *words) {
    const float scale = gpu_float(bits);
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const uint32_t two = (i < 2 ? codes.x : codes.y) >> 16 * (i & 1);
        const gpu_f2 x = num_fp8_x2_decode(two & 0xFFFFu, a.fp8);
        words[i] = num_bf16x2(x.x * scale, x.y * scale);
    }
}

#define QUANT_DEQUANT_ARGS quant_fp8_args
#define QUANT_DEQUANT_KERNEL quant_fp8_dequant_kernel
#define QUANT_DEQUANT_BITS 8
#include "quant_dequant.inl"

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "q", dsv4_is(call, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ, 2, why);
    CALL_NEED(call, "y", DSV4_BF16, 2, why);
    if (!call_has(dsv4_find(call, "scales"), DSV4_E8M0, 2))
        CALL_NEED(call, "scales", DSV4_F32, 2, why);
    if (dsv4_find(call, "y")->shape[1] > INT32_MAX / 8)
        return call_unsupported(why, "y: rows of %lld", (long long)dsv4_find(call, "y")->shape[1]);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const scales = dsv4_find(call, "scales");
    struct quant_fp8_args a = {};
    a.scales = (const char *)scales->data;
    a.scales_stride = scales->stride[0];
    a.bytes = scales->dtype == DSV4_E8M0;
    a.fp8 = dsv4_is(call, "fp8", "ocp") ? NUM_OCP : NUM_FNUZ240;
    return quant_dequant_launch(call, a, why);
}

CALL_ENTRY_POINTS(quant_fp8_dequant)
