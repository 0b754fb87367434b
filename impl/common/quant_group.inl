/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantisation in groups, for any kernel that has eight neighbouring columns of a row in a lane: 4, 8 or 16 lanes share
 * a scale of 32, 64 or 128 columns.
 *
 *   struct quant_rule rule     what a recipe does with amax (host: quant_rule_of)
 *   quant_amax_codes/_floats   greatest magnitude of a lane's eight columns
 *   quant_amax_group           of the group, in each of its lanes
 *   quant_byte, quant_factor   scale byte; what columns are multiplied by
 *   quant_fp8_four, quant_fp4_ codes of four and of eight columns
 *   struct quant_scales        where scales lie; quant_put_scale stores one
 */
#ifndef DSV4_QUANT_GROUP_INL
#define DSV4_QUANT_GROUP_INL

#include "call.h"
#include "num.inl"

struct quant_rule {
    float floor, scale_floor; /* least amax, least unrounded scale */
    float most, inverse_most;
    int divides, zero_kept, fp8;
    int strict; /* FP4: ties go down, zeros have no sign */
};

GPU_DEVICE gpu_u4 quant_four(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
    gpu_u4 v;
    v.x = x;
    v.y = y;
    v.z = z;
    v.w = w;
    return v;
}

GPU_DEVICE uint32_t quant_max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* Magnitudes of floats are in the order of their bits. */
#if GPU_HIP
GPU_DEVICE float quant_amax_codes(gpu_u4 v) {
    const uint32_t high = quant_max_u32(quant_max_u32(v.x & 0x7FFF0000u, v.y & 0x7FFF0000u),
                                        quant_max_u32(v.z & 0x7FFF0000u, v.w & 0x7FFF0000u));
    const uint32_t low =
        quant_max_u32(quant_max_u32(v.x << 16 & 0x7FFF0000u, v.y << 16 & 0x7FFF0000u),
                      quant_max_u32(v.z << 16 & 0x7FFF0000u, v.w << 16 & 0x7FFF0000u));
    return gpu_float(quant_max_u32(high, low));
}
#else
GPU_DEVICE float quant_amax_codes(gpu_u4 v) {
    const uint32_t most = gpu_max_u16x2(gpu_max_u16x2(v.x & 0x7FFF7FFFu, v.y & 0x7FFF7FFFu),
                                        gpu_max_u16x2(v.z & 0x7FFF7FFFu, v.w & 0x7FFF7FFFu));
    return gpu_float(quant_max_u32(most & 0xFFFF0000u, most << 16));
}
#endif

GPU_DEVICE float quant_amax_floats(const float *x) {
    uint32_t most = 0;
    GPU_UNROLL for (int i = 0; i < 8; i++) most = quant_max_u32(most, gpu_bits(x[i]) & 0x7FFFFFFFu);
    return gpu_float(most);
}

/* `lanes` is 4, 8 or 16, the same for the whole team, all of which must come here. */
GPU_DEVICE float quant_amax_group(float amax, int lanes) {
    amax = gpu_max(amax, team_xor_float(amax, 1));
    amax = gpu_max(amax, team_xor_float(amax, 2));
    if (lanes > 4) amax = gpu_max(amax, team_xor_float(amax, 4));
    if (lanes > 8) amax = gpu_max(amax, team_xor_float(amax, 8));
    return amax;
}

GPU_DEVICE uint32_t quant_byte(const struct quant_rule &rule, float amax) {
    const float held = gpu_max(amax, rule.floor);
    const float s = rule.divides ? gpu_divide_float(held, rule.most) : held * rule.inverse_most;
    return num_e8m0_ceil(gpu_max(s, rule.scale_floor));
}

/* The same of FP4, whether it divides by 6 or not: up to 6 * 2^k the quotient is rounded to 2^k at most, above it is not. */
GPU_DEVICE uint32_t quant_fp4_byte(const struct quant_rule &rule, float amax) {
    return ((gpu_bits(gpu_max(amax, rule.floor)) + 0x3FFFFFu) >> 23) - 2u;
}

GPU_DEVICE float quant_factor(const struct quant_rule &rule, uint32_t byte) {
    return byte == 0 && rule.zero_kept ? 0.0f : num_e8m0_inverse(byte);
}

/* QUANT_OCP: rule.fp8 is known to be it. */
enum quant_format { QUANT_OCP, QUANT_FNUZ, QUANT_FP4 };

template <int FORMAT> GPU_DEVICE uint32_t quant_fp8_four(const float *x, float factor, int fp8) {
    const int format = FORMAT == QUANT_OCP ? (int)NUM_OCP : fp8;
    return num_fp8_x2(x[0] * factor, x[1] * factor, format) |
           num_fp8_x2(x[2] * factor, x[3] * factor, format) << 16;
}

#if NUM_HARDWARE_CUDA
/* Eight fnuz codes as those of twice the values. Up to 232 nothing but the sign of zero is to be mended. */
GPU_DEVICE gpu_u2 quant_fnuz_eight(const float *x, float factor, int fp8) {
    gpu_u2 codes;
    if (!(quant_amax_floats(x) * factor <= 232.0f)) {
        codes.x = quant_fp8_four<QUANT_FNUZ>(x, factor, fp8);
        codes.y = quant_fp8_four<QUANT_FNUZ>(x + 4, factor, fp8);
        return codes;
    }
    float y[8];
    GPU_UNROLL for (int i = 0; i < 8; i++) y[i] = (x[i] * factor) * 2.0f;
    codes.x = num_e4m3fn_x2(y[0], y[1]) | num_e4m3fn_x2(y[2], y[3]) << 16;
    codes.y = num_e4m3fn_x2(y[4], y[5]) | num_e4m3fn_x2(y[6], y[7]) << 16;
    codes.x &= ((codes.x & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | 0x7F7F7F7Fu;
    codes.y &= ((codes.y & 0x7F7F7F7Fu) + 0x7F7F7F7Fu) | 0x7F7F7F7Fu;
    return codes;
}
#endif

/* The lowest bits of 1.5 * 2^22 plus a number are those of its double, rounded once. */
#define QUANT_FP4_SHIFT 0x1.8p22f

/*
 * Code of a number whose product with `once` is up to 6, in the lowest bits above those of QUANT_FP4_SHIFT: the least of three
 * roundings, each of which is the code where e2m1's numbers are as far apart, and above it elsewhere: doubles to integers;
 * the number, plus 2; half of it, plus 4. Ties go to even codes, as 2 and 4 are even. Where `once` is the last number below a
 * power of two, exact products are just below halfway points, and none but those of halfway points move across.
 */
GPU_DEVICE uint32_t quant_fp4_of(float x, float once) {
    const uint32_t low = gpu_bits(gpu_fma(gpu_abs(x), once, QUANT_FP4_SHIFT));
    const uint32_t middle = gpu_bits(gpu_fma(gpu_abs(x), once * 0.5f, QUANT_FP4_SHIFT + 1.0f));
    const uint32_t high = gpu_bits(gpu_fma(gpu_abs(x), once * 0.25f, QUANT_FP4_SHIFT + 2.0f));
    const uint32_t least = low < middle ? low : middle;
    return least < high ? least : high;
}

/* Of eight numbers without their signs. */
GPU_DEVICE uint32_t quant_fp4_magnitudes(const float *x, float once) {
    uint32_t codes = 0, shift = 0;
    GPU_UNROLL for (int i = 7; i >= 0; i--) {
        codes = (codes << 4) + quant_fp4_of(x[i], once);
        shift = (shift << 4) + gpu_bits(QUANT_FP4_SHIFT);
    }
    return codes - shift;
}

/* Signs where codes have them. */
GPU_DEVICE uint32_t quant_fp4_signs(const float *x) {
    uint32_t signs = 0;
    GPU_UNROLL for (int i = 7; i >= 0; i--) signs = signs << 4 | gpu_bits(x[i]) >> 28;
    return signs & 0x88888888u;
}

/* Codes of eight fp32 values, `factor` a power of two; strict: ties go down, zeros have no sign. */
GPU_DEVICE uint32_t quant_fp4_floats(const float *x, float factor, int strict) {
    const uint32_t signs = quant_fp4_signs(x);
    if (!strict) return quant_fp4_magnitudes(x, factor) | signs;
    float y[8];
    GPU_UNROLL for (int i = 0; i < 8; i++) y[i] = x[i];
    /* A quarter of the last number below the factor shall be exact. */
    if (factor < 0x1p-120f) {
        GPU_UNROLL for (int i = 0; i < 8; i++) y[i] *= 0x1p-16f;
        factor *= 0x1p16f;
    }
    const uint32_t codes = quant_fp4_magnitudes(y, gpu_float(gpu_bits(factor) - 1u));
    return codes | (signs & (codes + 0x77777777u));
}

#if GPU_HIP
/*
 * Eight FP4 codes of bf16 values, by rounding integers: y * 2^-126 has e2m1's exponents where binary32 has its own
 * lowest ones, subnormals included, so that the code is what bits 22..24 round to. Exact: where that product loses bits
 * of a bf16 value, the code is 0. |y| is at most 6.
 */
GPU_DEVICE uint32_t quant_fp4_bf16(gpu_u4 v, float factor, int strict) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    uint32_t codes = 0;
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        const float x = (i & 1) != 0 ? num_bf16_high(words[i / 2]) : num_bf16_low(words[i / 2]);
        const uint32_t bits = gpu_bits((x * factor) * 0x1p-126f), a = bits & 0x7FFFFFFFu;
        const uint32_t odd = strict ? 0 : a >> 22 & 1u;
        const uint32_t code = (a + 0x1FFFFFu + odd) >> 22;
        const uint32_t sign = strict && code == 0 ? 0 : bits >> 28 & 8u;
        codes |= (code | sign) << 4 * i;
    }
    return codes;
}
#else
/* Codes of two bf16 numbers in the lowest bits of halves, as quant_fp4_of does it: what is added is 1.5 * 2^6. */
GPU_DEVICE uint32_t quant_fp4_two(uint32_t x, const uint32_t *factors) {
    const uint32_t a = x & 0x7FFF7FFFu;
    const uint32_t low = num_bf16x2_fma(a, factors[0], 0x42C042C0u);
    const uint32_t middle = num_bf16x2_fma(a, factors[1], 0x42C242C2u);
    const uint32_t high = num_bf16x2_fma(a, factors[2], 0x42C442C4u);
    return gpu_min_u16x2(gpu_min_u16x2(low, middle), high);
}

/* Bytes 0 and 2 of four words: of the halves' lower bytes the first, then the second halves'. */
GPU_DEVICE gpu_u2 quant_fp4_bytes(const uint32_t *x, uint32_t which) {
    const uint32_t a = gpu_bytes(x[0], x[1], which), b = gpu_bytes(x[2], x[3], which);
    gpu_u2 bytes;
    bytes.x = gpu_bytes(a, b, 0x5410);
    bytes.y = gpu_bytes(a, b, 0x7632);
    return bytes;
}

/* Eight FP4 codes of bf16 numbers; `factor` is a power of two. */
GPU_DEVICE uint32_t quant_fp4_bf16(gpu_u4 v, float factor, int strict) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    uint32_t numbers[4] = {v.x, v.y, v.z, v.w};
    /* A quarter of the last number below the factor shall be exact. */
    if (strict && factor < 0x1p-120f) {
        GPU_UNROLL for (int i = 0; i < 4; i++) numbers[i] =
            num_bf16x2_fma(words[i], 0x37803780u /* 2^-16 */, 0x80008000u);
        factor *= 0x1p16f;
    }
    const uint32_t once = (gpu_bits(factor) >> 16) - (strict ? 1u : 0u);
    const uint32_t half = gpu_bits(gpu_float(once << 16) * 0.5f) >> 16;
    const uint32_t quarter = gpu_bits(gpu_float(once << 16) * 0.25f) >> 16;
    const uint32_t factors[3] = {once * 0x10001u, half * 0x10001u, quarter * 0x10001u};
    uint32_t pairs[4];
    GPU_UNROLL for (int i = 0; i < 4; i++) pairs[i] = quant_fp4_two(numbers[i], factors);
    const gpu_u2 low = quant_fp4_bytes(pairs, 0x6240), high = quant_fp4_bytes(words, 0x7351);
    const uint32_t codes = (low.x & 0x07070707u) | (low.y & 0x07070707u) << 4;
    uint32_t signs = (high.x >> 4 & 0x08080808u) | (high.y & 0x80808080u);
    if (strict) signs &= codes + 0x77777777u;
    return codes | signs;
}
#endif

/* ---- where scales lie ---- */

enum quant_layout { QUANT_BYTES, QUANT_F32_ROW, QUANT_F32_MN, QUANT_PACKED };

struct quant_scales {
    char *data;
    int64_t stride; /* of rows, or of MN-major arrays */
    int layout, groups;
    int pads_rows; /* rows behind the last, up to 4, are zero */
};

/* For one lane of a group. `byte` is 0 for a row of padding. */
GPU_DEVICE void quant_put_scale(const struct quant_scales &s, int64_t row, int group,
                                uint32_t byte) {
    if (s.layout == QUANT_BYTES)
        *(uint8_t *)(s.data + row * s.stride + group) = (uint8_t)byte;
    else if (s.layout == QUANT_F32_ROW)
        *(uint32_t *)(s.data + row * s.stride + 4 * group) = byte << 23;
    else
        *(uint32_t *)(s.data + group * s.stride + 4 * row) = byte << 23;
}

/* ---- host ---- */

static inline int quant_fp8_of(const dsv4_call *call) {
    return dsv4_is(call, "fp8", "fnuz224")   ? NUM_FNUZ224
           : dsv4_is(call, "fp8", "fnuz240") ? NUM_FNUZ240
                                             : NUM_OCP;
}

static inline uint32_t quant_fp8_dtype(const dsv4_call *call) {
    return quant_fp8_of(call) == NUM_OCP ? DSV4_E4M3FN : DSV4_E4M3FNUZ;
}

static inline struct quant_rule quant_rule_of(const dsv4_call *call) {
    struct quant_rule rule = {};
    const bool vllm = dsv4_is(call, "recipe", "vllm") || dsv4_is(call, "recipe", "vllm_packed");
    const bool aiter = dsv4_is(call, "recipe", "aiter");
    const bool floorless = aiter || dsv4_is(call, "recipe", "mega");
    const bool low = vllm || dsv4_is(call, "recipe", "inv_rope");
    rule.fp8 = quant_fp8_of(call);
    rule.most = num_fp8_max(rule.fp8);
    rule.inverse_most = 1.0f / rule.most;
    rule.floor = floorless ? 0.0f : low ? 1e-10f : 1e-4f;
    rule.scale_floor = vllm ? 1e-10f : 0.0f;
    rule.divides = vllm || aiter || dsv4_is(call, "recipe", "deepgemm") ||
                   dsv4_is(call, "recipe", "tilekernels");
    rule.zero_kept = aiter;
    return rule;
}

static inline struct quant_scales quant_scales_of(const dsv4_call *call, int64_t groups) {
    const dsv4_tensor *const t = dsv4_find(call, "scales");
    struct quant_scales s = {};
    s.data = (char *)t->data;
    s.stride = t->stride[0];
    s.groups = (int)groups;
    s.layout = dsv4_is(call, "scale_layout", "f32_row")  ? QUANT_F32_ROW
               : dsv4_is(call, "scale_layout", "f32_mn") ? QUANT_F32_MN
               : dsv4_is(call, "scale_layout", "packed") ? QUANT_PACKED
                                                         : QUANT_BYTES;
    s.pads_rows = s.layout == QUANT_PACKED ||
                  (s.layout == QUANT_F32_MN && dsv4_is(call, "recipe", "inv_rope"));
    return s;
}

static inline int quant_supports_scales(const dsv4_call *call, struct call_why why) {
    const bool bytes = dsv4_is(call, "scale_layout", "bytes");
    CALL_NEED(call, "scales",
              bytes                                     ? DSV4_E8M0
              : dsv4_is(call, "scale_layout", "packed") ? DSV4_I32
                                                        : DSV4_F32,
              2, why);
    if (!bytes) CALL_NEED_ALIGNED(call, "scales", 4, why);
    return DSV4_OK;
}

#endif
