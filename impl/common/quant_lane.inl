/* SPDX-License-Identifier: Apache-2.0 */
/* Eight neighbouring columns of a row in a lane: loaded, made numbers, encoded, stored. */
#ifndef DSV4_QUANT_LANE_INL
#define DSV4_QUANT_LANE_INL

#include "quant_group.inl"

/* Eight columns as they lie: `a` alone for bf16. */
struct quant_raw {
    gpu_u4 a, b;
};

template <bool F32, bool WIDE>
GPU_DEVICE struct quant_raw quant_load(const char *row, int column, int columns) {
    struct quant_raw raw = {};
    if (WIDE) {
        const gpu_u4 *const from = (const gpu_u4 *)(row + (F32 ? 4 : 2) * column);
        if (column < columns) raw.a = from[0];
        if (F32 && column < columns) raw.b = from[1];
    } else {
        uint32_t words[8];
        GPU_UNROLL for (int i = 0; i < 8; i++) {
            words[i] = 0;
            if (column + i >= columns) continue;
            words[i] =
                F32 ? ((const uint32_t *)row)[column + i] : ((const uint16_t *)row)[column + i];
        }
        GPU_UNROLL for (int i = 0; i < (F32 ? 0 : 4); i++) words[i] =
            words[2 * i] | words[2 * i + 1] << 16;
        raw.a = quant_four(words[0], words[1], words[2], words[3]);
        raw.b = quant_four(words[4], words[5], words[6], words[7]);
    }
    return raw;
}

template <bool F32> GPU_DEVICE void quant_floats(float *x, const struct quant_raw &raw) {
    const uint32_t words[8] = {raw.a.x, raw.a.y, raw.a.z, raw.a.w,
                               raw.b.x, raw.b.y, raw.b.z, raw.b.w};
    GPU_UNROLL for (int i = 0; i < 8; i++) x[i] = F32            ? gpu_float(words[i])
                                                  : (i & 1) != 0 ? num_bf16_high(words[i / 2])
                                                                 : num_bf16_low(words[i / 2]);
}

/* Codes of eight columns, which are x as numbers, in the lower word alone for FP4. */
template <bool F32, int FORMAT>
GPU_DEVICE gpu_u2 quant_encode(const struct quant_rule &rule, const struct quant_raw &raw,
                               const float *x, float factor) {
    gpu_u2 codes;
    if (FORMAT == QUANT_FP4) {
        codes.x = F32 ? quant_fp4_floats(x, factor, rule.strict)
                      : quant_fp4_bf16(raw.a, factor, rule.strict);
        codes.y = 0;
#if NUM_HARDWARE_CUDA
    } else if (FORMAT == QUANT_FNUZ) {
        codes = quant_fnuz_eight(x, factor, rule.fp8);
#endif
    } else {
        codes.x = quant_fp8_four<FORMAT>(x, factor, rule.fp8);
        codes.y = quant_fp8_four<FORMAT>(x + 4, factor, rule.fp8);
    }
    return codes;
}

template <int FORMAT, bool WIDE>
GPU_DEVICE void quant_store(char *row, int column, int columns, gpu_u2 codes) {
    if (FORMAT == QUANT_FP4 && WIDE) {
        if (column < columns) *(uint32_t *)(row + column / 2) = codes.x;
    } else if (FORMAT == QUANT_FP4) {
        GPU_UNROLL for (int i = 0; i < 8; i += 2) if (column + i < columns) row[(column + i) / 2] =
            (char)(codes.x >> 4 * i);
    } else if (WIDE) {
        if (column < columns) *(gpu_u2 *)(row + column) = codes;
    } else {
        GPU_UNROLL for (int i = 0; i < 8; i++) {
            const uint32_t word = i < 4 ? codes.x : codes.y;
            if (column + i < columns) row[column + i] = (char)(word >> 8 * (i % 4));
        }
    }
}

#endif
