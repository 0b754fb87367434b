/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Number formats, through the hardware's conversions where they exist. Shares nothing with reference/num.
 *
 *                    sm_89 and up         gfx942 (fnuz)               gfx950 (OCP)            others
 *   encode e4m3fn    cvt e4m3x2           fnuz code of x/2, fixed up  v_cvt_pk_fp8_f32        integers
 *   encode e4m3fnuz  e4m3fn code of 2x,   v_cvt_pk_fp8_f32            e4m3fn code of 2x,      integers
 *                    fixed up                                         fixed up
 *   decode e4m3fn    cvt e4m3x2 -> f16x2  through f16                 v_cvt_pk_f32_fp8        through f16
 *   decode e4m3fnuz  through f16          v_cvt_pk_f32_fp8            through f16             through f16
 *
 * A fnuz code means half of what the same OCP code means; they differ in zeros, NaN and the largest codes. AMD's
 * conversions do not saturate: values are clamped first. e2m1 is integer code everywhere: cvt e2m1x2 exists on
 * sm_100a alone.
 */
#ifndef DSV4_NUM_INL
#define DSV4_NUM_INL

#include "elementary.inl"

enum num_fp8 { NUM_OCP, NUM_FNUZ224, NUM_FNUZ240 };

GPU_HOST_DEVICE float num_fp8_max(int fp8) {
    return fp8 == NUM_OCP ? 448.0f : fp8 == NUM_FNUZ224 ? 224.0f : 240.0f;
}

/* ---- bf16 ---- */

/* Two values to two codes, `low` in the lower half; ties to even. Not for NaN. */
GPU_DEVICE uint32_t num_bf16x2_of_numbers(float low, float high) {
#if GPU_CUDA
    uint32_t codes;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(codes) : "f"(high), "f"(low));
    return codes;
#else
    const uint32_t a = gpu_bits(low), b = gpu_bits(high);
    return (a + 0x7FFFu + (a >> 16 & 1u)) >> 16 | ((b + 0x7FFFu + (b >> 16 & 1u)) & 0xFFFF0000u);
#endif
}

/* The same with NaN, which gives 0x7FC0. NVIDIA's has 0x7FFF, the only code that is greater as a signed half. */
GPU_DEVICE uint32_t num_bf16x2(float low, float high) {
    uint32_t codes = num_bf16x2_of_numbers(low, high);
#if GPU_CUDA
    return __vmins2(codes, 0x7FC07FC0u);
#else
    if (low != low) codes = (codes & 0xFFFF0000u) | 0x7FC0u;
    if (high != high) codes = (codes & 0xFFFFu) | 0x7FC00000u;
    return codes;
#endif
}

GPU_DEVICE bool num_any_nan(float a, float b) { return !(a < b) && !(a >= b); }

GPU_DEVICE float num_bf16_low(uint32_t codes) { return gpu_float(codes << 16); }
GPU_DEVICE float num_bf16_high(uint32_t codes) { return gpu_float(codes & 0xFFFF0000u); }

/* a * b + c of two pairs, rounded once; where CUDA's units or a model of them are. */
#if GPU_CUDA
GPU_DEVICE uint32_t num_bf16x2_fma(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t sum;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
    return sum;
}
#elif GPU_EMULATED
/* Exact in binary64 but for what is far below half of c's last place. */
GPU_DEVICE uint32_t num_bf16_fma(float a, float b, float c) {
    const uint64_t bits = __builtin_bit_cast(uint64_t, (double)a * (double)b + (double)c);
    const uint64_t half = UINT64_C(1) << 44; /* of 53 - 8 bits that are rounded off */
    const uint64_t kept = bits + (half - 1) + (bits >> 45 & 1);
    return gpu_bits((float)__builtin_bit_cast(double, kept >> 45 << 45)) >> 16;
}
GPU_DEVICE uint32_t num_bf16x2_fma(uint32_t a, uint32_t b, uint32_t c) {
    return num_bf16_fma(num_bf16_low(a), num_bf16_low(b), num_bf16_low(c)) |
           num_bf16_fma(num_bf16_high(a), num_bf16_high(b), num_bf16_high(c)) << 16;
}
#endif

/* ---- e4m3: two values to two codes, `low` in the lower byte ---- */

#if defined(__gfx942__) || defined(__gfx940__) || defined(__gfx941__)
#define NUM_HARDWARE_FNUZ 1
#elif defined(__gfx950__)
#define NUM_HARDWARE_AMD_OCP 1
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#define NUM_HARDWARE_CUDA 1
#endif

GPU_DEVICE float num_clamp(float x, float max) {
    x = x > max ? max : x;
    return x < -max ? -max : x;
}

/* Magnitude code of a finite |x| within the format's range; bias 7 or 8. */
GPU_DEVICE uint32_t num_e4m3_integer(float x, uint32_t bias) {
    const uint32_t a = gpu_bits(x) & 0x7FFFFFFFu;
    const int exponent = (int)(a >> 23) - 127, least = 1 - (int)bias;
    /* Bits to drop: 20 of a normal code's 23, more below; beyond 25 nothing is left. */
    const int drop = exponent >= least ? 20 : 20 + least - exponent;
    if (drop > 25 || a < 0x00800000u) return 0;
    const uint32_t significand = (a & 0x7FFFFFu) | 0x800000u;
    const uint32_t kept = significand >> drop, rest = significand & ((1u << drop) - 1u);
    const uint32_t half = 1u << (drop - 1);
    const uint32_t rounded = kept + (rest > half || (rest == half && (kept & 1u)) ? 1u : 0u);
    /* A normal significand 8..16 carries its hidden bit; adding lets a carry reach the exponent. */
    return exponent >= least ? ((uint32_t)(exponent - least) << 3) + rounded : rounded;
}

/* One OCP code by integers: x within +-448 or NaN. */
GPU_DEVICE uint32_t num_e4m3fn_integer(float x) {
    return x != x ? 0x7Fu : num_e4m3_integer(x, 7) | (gpu_bits(x) >> 24 & 0x80u);
}

GPU_DEVICE uint32_t num_e4m3fnuz_integer(float x) {
    const uint32_t code = num_e4m3_integer(x, 8);
    return x != x ? 0x80u : code == 0 ? 0 : code | (gpu_bits(x) >> 24 & 0x80u);
}

/* x within +-448 or NaN. */
GPU_DEVICE uint32_t num_e4m3fn_x2(float low, float high) {
#if NUM_HARDWARE_CUDA
    uint16_t codes;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(high), "f"(low));
    return codes;
#elif NUM_HARDWARE_FNUZ
    const uint32_t raw =
        (uint32_t)__builtin_amdgcn_cvt_pk_fp8_f32(low * 0.5f, high * 0.5f, 0, false);
    const uint32_t a = low != low ? 0x7Fu : (raw & 0xFFu) | (gpu_bits(low) >> 24 & 0x80u);
    const uint32_t b = high != high ? 0x7Fu : (raw >> 8 & 0xFFu) | (gpu_bits(high) >> 24 & 0x80u);
    return a | b << 8;
#elif NUM_HARDWARE_AMD_OCP
    const uint32_t raw = (uint32_t)__builtin_amdgcn_cvt_pk_fp8_f32(low, high, 0, false);
    return (low != low ? 0x7Fu : raw & 0xFFu) | (high != high ? 0x7F00u : raw & 0xFF00u);
#else
    return num_e4m3fn_integer(low) | num_e4m3fn_integer(high) << 8;
#endif
}

/* What of an OCP code of 2x has to change for it to be the fnuz code of x. */
GPU_DEVICE uint32_t num_fnuz_fixed(uint32_t code, float x) {
    const float magnitude = gpu_float(gpu_bits(x) & 0x7FFFFFFFu);
    if (magnitude > 232.0f) code |= 0x7Fu;
    if (code == 0x80u) code = 0;
    return x != x ? 0x80u : code;
}

/* x within +-240 or NaN. */
GPU_DEVICE uint32_t num_e4m3fnuz_x2(float low, float high) {
#if NUM_HARDWARE_FNUZ
    return (uint32_t)__builtin_amdgcn_cvt_pk_fp8_f32(low, high, 0, false) & 0xFFFFu;
#elif NUM_HARDWARE_CUDA || NUM_HARDWARE_AMD_OCP
    const uint32_t raw =
        num_e4m3fn_x2(num_clamp(low * 2.0f, 448.0f), num_clamp(high * 2.0f, 448.0f));
    return num_fnuz_fixed(raw & 0xFFu, low) | num_fnuz_fixed(raw >> 8, high) << 8;
#else
    return num_e4m3fnuz_integer(low) | num_e4m3fnuz_integer(high) << 8;
#endif
}

/* Clamps to the dialect's range and encodes. */
GPU_DEVICE uint32_t num_fp8_x2(float low, float high, int fp8) {
    const float max = num_fp8_max(fp8);
#if NUM_HARDWARE_CUDA
    /* satfinite is the clamp. */
    if (fp8 == NUM_OCP) return num_e4m3fn_x2(low, high);
#endif
    low = num_clamp(low, max);
    high = num_clamp(high, max);
    return fp8 == NUM_OCP ? num_e4m3fn_x2(low, high) : num_e4m3fnuz_x2(low, high);
}

/* ---- e4m3: two codes (bits 0..15) to two values ---- */

#if GPU_CUDA
GPU_DEVICE float num_f16_to_float(uint32_t bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"((uint16_t)bits));
    return x;
}
#elif GPU_EMULATED
GPU_DEVICE float num_f16_to_float(uint32_t bits) {
    const float magnitude = (bits & 0x7C00u) == 0
                                ? (float)(bits & 0x3FFu) * 0x1p-24f
                                : gpu_float(((bits & 0x7FFFu) << 13) + (112u << 23));
    return (bits & 0x8000u) != 0 ? -magnitude : magnitude;
}
#else
GPU_DEVICE float num_f16_to_float(uint32_t bits) {
    return (float)__builtin_bit_cast(_Float16, (uint16_t)bits);
}
#endif

/* f16 has the fields of e4m3 with one more exponent bit: moving the code there scales by a power of two. */
GPU_DEVICE float num_e4m3_through_f16(uint32_t code, float scale, uint32_t nan_mask,
                                      uint32_t nan_code) {
    const float x = num_f16_to_float((code & 0x80u) << 8 | (code & 0x7Fu) << 7) * scale;
    return (code & nan_mask) == nan_code ? ELEMENTARY_NAN : x;
}

GPU_DEVICE gpu_f2 num_fp8_x2_decode(uint32_t codes, int fp8) {
    gpu_f2 x;
#if NUM_HARDWARE_CUDA
    if (fp8 == NUM_OCP) {
        uint32_t halves;
        asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"((uint16_t)codes));
        x.x = num_f16_to_float(halves & 0xFFFFu);
        x.y = num_f16_to_float(halves >> 16);
        return x;
    }
#endif
#if NUM_HARDWARE_FNUZ || NUM_HARDWARE_AMD_OCP
#if NUM_HARDWARE_FNUZ
    if (fp8 != NUM_OCP) {
#else
    if (fp8 == NUM_OCP) {
#endif
        const auto pair = __builtin_amdgcn_cvt_pk_f32_fp8((int)codes, false);
        x.x = pair[0];
        x.y = pair[1];
        return x;
    }
#endif
    const float scale = fp8 == NUM_OCP ? 256.0f : 128.0f;
    const uint32_t nan_mask = fp8 == NUM_OCP ? 0x7Fu : 0xFFu;
    const uint32_t nan_code = fp8 == NUM_OCP ? 0x7Fu : 0x80u;
    x.x = num_e4m3_through_f16(codes & 0xFFu, scale, nan_mask, nan_code);
    x.y = num_e4m3_through_f16(codes >> 8 & 0xFFu, scale, nan_mask, nan_code);
    return x;
}

/* ---- e8m0 and e2m1 ---- */

/* Exponent field, plus one unless the mantissa is zero; s is positive. */
GPU_DEVICE uint32_t num_e8m0_ceil(float s) { return (gpu_bits(s) + 0x7FFFFFu) >> 23; }

/* 2^(byte - 127). */
GPU_DEVICE float num_e8m0_value(uint32_t byte) {
    const uint32_t bits = byte == 0 ? 0x00400000u : byte << 23;
    return gpu_float(byte == 255u ? 0x7FC00000u : bits);
}

/* 2^(127 - byte) for bytes that groups of finite values get. */
GPU_DEVICE float num_e8m0_inverse(uint32_t byte) { return gpu_float((254u - byte) << 23); }

/* 4-bit code; ties to even, saturates at 6, keeps the sign of zero. */
GPU_DEVICE uint32_t num_e2m1(float x) {
    const float a = gpu_float(gpu_bits(x) & 0x7FFFFFFFu);
    /* Each threshold is half way between two codes; a tie goes to the even one. */
    uint32_t code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) +
                    (a >= 3.5f) + (a > 5.0f);
    return x != x ? 7u : code | (gpu_bits(x) >> 28 & 8u);
}

/*
 * Two codes, `low` in the lower nibble, of numbers with at most 11 significant bits, as a bf16 value times a power of two:
 * those that matter are exact in f16, where thresholds are compared with both at once.
 */
GPU_DEVICE uint32_t num_e2m1_x2_of_bf16(float low, float high) {
#if GPU_CUDA
    /* 0.25, 0.75, 1.25, 1.75, 2.5, 3.5 and 5 as f16; a tie with every second one goes up, NaN is beyond all. */
    const uint32_t above[4] = {0x34003400u, 0x3D003D00u, 0x41004100u, 0x45004500u};
    const uint32_t from[3] = {0x3A003A00u, 0x3F003F00u, 0x43004300u};
    uint32_t x, count = 0x64006400u; /* 1024: integers are its last bits */
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(high), "f"(low));
    const uint32_t a = x & 0x7FFF7FFFu;
    GPU_UNROLL
    for (int i = 0; i < 7; i++) {
        uint32_t one;
        if (i < 4)
            asm("set.gtu.f16x2.f16x2 %0, %1, %2;" : "=r"(one) : "r"(a), "r"(above[i]));
        else
            asm("set.geu.f16x2.f16x2 %0, %1, %2;" : "=r"(one) : "r"(a), "r"(from[i - 4]));
        asm("add.rn.f16x2 %0, %0, %1;" : "+r"(count) : "r"(one));
    }
    const uint32_t codes = (count & 0x00070007u) | (x >> 12 & 0x00080008u);
    return (codes | codes >> 12) & 0xFFu;
#else
    return num_e2m1(low) | num_e2m1(high) << 4;
#endif
}

/*
 * Eight codes of such numbers, each the product of x and a power of two, the first in the lowest nibble. Times 2^-14 the fields
 * of e2m1 are the upper ones of f16, subnormals included: codes are f16 with 9 bits rounded off, two at a time. What f16
 * cannot hold there is below half of the least code.
 */
GPU_DEVICE uint32_t num_e2m1_x8_of_bf16(const float *x, float power) {
    uint32_t codes = 0;
#if GPU_CUDA
    const float factor = power * 0x1p-14f;
    GPU_UNROLL
    for (int i = 0; i < 4; i++) {
        const uint32_t six = 0x0E000E00u;
        const float low = x[i] * factor, high = x[i + 4] * factor;
        uint32_t pair, least;
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
        asm("min.f16x2 %0, %1, %2;" : "=r"(least) : "r"(pair & 0x7FFF7FFFu), "r"(six));
        const uint32_t rounded = least + 0x00FF00FFu + (least >> 9 & 0x00010001u);
        const uint32_t both = (rounded & six) | (pair >> 3 & 0x10001000u);
        codes |= i == 3 ? both << 3 : both >> (9 - 4 * i);
    }
#else
    GPU_UNROLL
    for (int i = 0; i < 8; i++) codes |= num_e2m1(x[i] * power) << 4 * i;
#endif
    return codes;
}

#endif
