/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row of the KV family in a team: lane t holds channels 64j + 2t and 64j + 2t + 1 as x[2j] and x[2j + 1].
 *
 * Why so: the canon's 64 partials of a sum stay in their lanes, a scale's 64 channels are one j of all lanes, a RoPE
 * pair is one lane's, and each j is one contiguous access of the team.
 */
#ifndef DSV4_KV_ROW_INL
#define DSV4_KV_ROW_INL

#include "call.h"
#include "num.inl"

enum { ROW_STEP = 2 * TEAM /* channels that a team takes at once */ };

enum kv_form { KV_DS_MLA, KV_INDEXER_FP8, KV_INDEXER_MXFP4, KV_FULL_BF16, KV_FULL_FP8 };

/* A KV cache and its dialect. */
struct kv_cache {
    char *data;
    int64_t page_stride, row_stride; /* row_stride: full forms only */
    struct gpu_divisor block;
    int form, fp8, interleaved;
    int floor_on_scale, round_first; /* round_first: full_fp8 rounds to bf16 before it scales */
    float inverse_scale;
};

/* ---- norm and RoPE ---- */

/* The canon's sum of squares: 64 strided partials, then strides 32 .. 2 across lanes and 1 inside one. */
template <int J> GPU_DEVICE float row_sum_of_squares(const float *x) {
    float a = 0.0f, b = 0.0f;
    GPU_UNROLL for (int j = 0; j < J; j++) {
        a = gpu_fma(x[2 * j], x[2 * j], a);
        b = gpu_fma(x[2 * j + 1], x[2 * j + 1], b);
    }
    a += team_xor_float(a, 16);
    b += team_xor_float(b, 16);
    a += team_xor_float(a, 8);
    b += team_xor_float(b, 8);
    a += team_xor_float(a, 4);
    b += team_xor_float(b, 4);
    a += team_xor_float(a, 2);
    b += team_xor_float(b, 2);
    a += team_xor_float(a, 1);
    b += team_xor_float(b, 1);
    return a + b;
}

/* 1 / sqrt(mean of squares + eps). */
template <int J> GPU_DEVICE float row_rsqrt(const float *x, float eps) {
    return elementary_rsqrt(row_sum_of_squares<J>(x) * (1.0f / (ROW_STEP * J)) + eps);
}

GPU_DEVICE gpu_f2 row_load_f32(const char *row, int j) {
    return *(const gpu_f2 *)(row + (ROW_STEP * j + 2 * gpu_lane()) * 4);
}

GPU_DEVICE uint32_t row_load_bf16(const char *row, int j) {
    return *(const uint32_t *)(row + (ROW_STEP * j + 2 * gpu_lane()) * 2);
}

/* x = (x * r) * weight. */
template <int J>
GPU_DEVICE void row_weigh(float *x, float r, const char *weight, int weight_is_bf16) {
    GPU_UNROLL for (int j = 0; j < J; j++) {
        float a, b;
        if (weight_is_bf16) {
            const uint32_t codes = row_load_bf16(weight, j);
            a = num_bf16_low(codes);
            b = num_bf16_high(codes);
        } else {
            const gpu_f2 pair = row_load_f32(weight, j);
            a = pair.x;
            b = pair.y;
        }
        x[2 * j] = (x[2 * j] * r) * a;
        x[2 * j + 1] = (x[2 * j + 1] * r) * b;
    }
}

/* This lane's cos and sin. Loaded apart, so that a kernel can have them under way before it needs them. */
struct row_angle {
    float c, s;
};

GPU_DEVICE struct row_angle row_load_angle(const char *table_row) {
    const float *const table = (const float *)table_row;
    struct row_angle angle;
    angle.c = table[gpu_lane()];
    angle.s = table[KV_ROPE / 2 + gpu_lane()];
    return angle;
}

/* Rotates the last 64 channels: each product rounded, then one add. */
template <int J> GPU_DEVICE void row_rope(float *x, struct row_angle angle) {
    const float e = x[2 * J - 2], o = x[2 * J - 1];
    const float ec = e * angle.c, os = o * angle.s, oc = o * angle.c, es = e * angle.s;
    x[2 * J - 2] = ec - os;
    x[2 * J - 1] = oc + es;
}

/* ---- scales ---- */

/* Magnitude bits of the larger of two bf16 codes, as those of a float. */
GPU_DEVICE uint32_t row_magnitude(uint32_t codes) {
    const uint32_t low = (codes & 0x7FFFu) << 16, high = codes & 0x7FFF0000u;
    return low > high ? low : high;
}

GPU_DEVICE uint32_t row_scale_byte(float amax, int fp8, int floor_on_scale) {
    const float inverse_max = fp8 == NUM_OCP       ? 1.0f / 448.0f
                              : fp8 == NUM_FNUZ224 ? 1.0f / 224.0f
                                                   : 1.0f / 240.0f;
    const float s =
        floor_on_scale ? gpu_max(amax * inverse_max, 1e-4f) : gpu_max(amax, 1e-4f) * inverse_max;
    return num_e8m0_ceil(s);
}

/* ---- stores: x after RoPE, unrounded ---- */

GPU_DEVICE void row_store_ds_mla(const struct kv_cache &cache, char *page, int64_t at,
                                 const float *x) {
    char *const data = page + kv_data_offset(cache.interleaved, at);
    char *const scales = page + kv_scale_offset(cache.interleaved, cache.block.value, at);
    const int lane = gpu_lane();
    uint32_t words[2] = {0, 0};
    GPU_UNROLL for (int g = 0; g < KV_GROUPS; g++) {
        const uint32_t codes = num_bf16x2(x[2 * g], x[2 * g + 1]);
        const float amax = gpu_float(team_max_u32(row_magnitude(codes)));
        const uint32_t byte = row_scale_byte(amax, cache.fp8, cache.floor_on_scale);
        const float inverse = num_e8m0_inverse(byte);
        words[g / 4] |= byte << 8 * (g % 4);
        *(uint16_t *)(data + g * KV_GROUP + 2 * lane) = (uint16_t)num_fp8_x2(
            num_bf16_low(codes) * inverse, num_bf16_high(codes) * inverse, cache.fp8);
    }
    *(uint32_t *)(data + KV_NOPE + 4 * lane) = num_bf16x2(x[14], x[15]);
    if (lane < 2) ((uint32_t *)scales)[lane] = lane == 0 ? words[0] : words[1];
}

GPU_DEVICE void row_store_indexer_fp8(const struct kv_cache &cache, char *page, int64_t at,
                                      const float *x) {
    const int lane = gpu_lane();
    uint32_t codes[2], most = 0;
    GPU_UNROLL for (int j = 0; j < 2; j++) {
        codes[j] = num_bf16x2(x[2 * j], x[2 * j + 1]);
        const uint32_t magnitude = row_magnitude(codes[j]);
        most = magnitude > most ? magnitude : most;
    }
    const uint32_t byte =
        row_scale_byte(gpu_float(team_max_u32(most)), cache.fp8, cache.floor_on_scale);
    const float inverse = num_e8m0_inverse(byte);
    GPU_UNROLL for (int j = 0; j < 2; j++) *
        (uint16_t *)(page + at * INDEXER_HEAD + ROW_STEP * j + 2 * lane) = (uint16_t)num_fp8_x2(
        num_bf16_low(codes[j]) * inverse, num_bf16_high(codes[j]) * inverse, cache.fp8);
    if (lane == 0)
        *(float *)(page + cache.block.value * INDEXER_HEAD + 4 * at) = num_e8m0_value(byte);
}

GPU_DEVICE void row_store_indexer_mxfp4(const struct kv_cache &cache, char *page, int64_t at,
                                        const float *x) {
    char *const data = page + at * INDEXER_MXFP4_DATA_BYTES;
    char *const scales =
        page + cache.block.value * INDEXER_MXFP4_DATA_BYTES + at * INDEXER_MXFP4_GROUPS;
    const int lane = gpu_lane();
    GPU_UNROLL for (int j = 0; j < 2; j++) {
        const uint32_t codes = num_bf16x2(x[2 * j], x[2 * j + 1]);
        /* A group of 32 channels is half a team's. */
        float amax = gpu_float(row_magnitude(codes));
        amax = gpu_max(amax, team_xor_float(amax, 8));
        amax = gpu_max(amax, team_xor_float(amax, 4));
        amax = gpu_max(amax, team_xor_float(amax, 2));
        amax = gpu_max(amax, team_xor_float(amax, 1));
        const uint32_t byte = num_e8m0_ceil(gpu_max(amax, 6.0f * 0x1p-126f) * (1.0f / 6.0f));
        const float inverse = num_e8m0_inverse(byte);
        data[ROW_STEP / 2 * j + lane] = (char)(num_e2m1(num_bf16_low(codes) * inverse) |
                                               num_e2m1(num_bf16_high(codes) * inverse) << 4);
        if (lane % 16 == 0) scales[2 * j + lane / 16] = (char)byte;
    }
}

template <int J> GPU_DEVICE void row_store_bf16(char *row, const float *x) {
    uint32_t codes[J];
    bool nan = false;
    GPU_UNROLL for (int j = 0; j < J; j++) {
        codes[j] = num_bf16x2_of_numbers(x[2 * j], x[2 * j + 1]);
        nan |= num_any_nan(x[2 * j], x[2 * j + 1]);
    }
    /* One look at the row instead of one at every value. */
    if (nan) {
        GPU_UNROLL for (int j = 0; j < J; j++) codes[j] = num_bf16x2(x[2 * j], x[2 * j + 1]);
    }
    GPU_UNROLL for (int j = 0; j < J; j++) {
        *(uint32_t *)(row + 2 * ROW_STEP * j + 4 * gpu_lane()) = codes[j];
    }
}

template <int J>
GPU_DEVICE void row_store_fp8(char *row, const float *x, float factor, int round_first, int fp8) {
    GPU_UNROLL for (int j = 0; j < J; j++) {
        float a = x[2 * j], b = x[2 * j + 1];
        if (round_first) {
            const uint32_t codes = num_bf16x2(a, b);
            a = num_bf16_low(codes);
            b = num_bf16_high(codes);
        }
        *(uint16_t *)(row + ROW_STEP * j + 2 * gpu_lane()) =
            (uint16_t)num_fp8_x2(a * factor, b * factor, fp8);
    }
}

/* Stores a row of 64 J channels at `slot`, which is not negative. */
template <int J>
GPU_DEVICE void row_store(const struct kv_cache &cache, int64_t slot, const float *x) {
    const int64_t block = gpu_quotient(slot, cache.block), at = slot - block * cache.block.value;
    char *const page = cache.data + block * cache.page_stride;
    if (J == 2) {
        if (cache.form == KV_INDEXER_FP8)
            row_store_indexer_fp8(cache, page, at, x);
        else
            row_store_indexer_mxfp4(cache, page, at, x);
    } else if (cache.form == KV_DS_MLA) {
        row_store_ds_mla(cache, page, at, x);
    } else if (cache.form == KV_FULL_BF16) {
        row_store_bf16<J>(page + at * cache.row_stride, x);
    } else {
        row_store_fp8<J>(page + at * cache.row_stride, x, cache.inverse_scale, cache.round_first,
                         cache.fp8);
    }
}

/* ---- host: reading the dialect of a call ---- */

static inline int kv_fp8_of(const dsv4_call *call) {
    return dsv4_is(call, "fp8", "fnuz224")   ? NUM_FNUZ224
           : dsv4_is(call, "fp8", "fnuz240") ? NUM_FNUZ240
                                             : NUM_OCP;
}

/* -1: not a form that is known here. */
static inline int kv_form_of(const dsv4_call *call) {
    static const char *const forms[] = {"ds_mla", "indexer_fp8", "indexer_mxfp4", "full_bf16",
                                        "full_fp8"};
    if (dsv4_find_param(call, "store") == NULL) return KV_DS_MLA;
    for (int form = 0; form < 5; form++)
        if (dsv4_is(call, "store", forms[form])) return form;
    return -1;
}

static inline struct kv_cache kv_cache_of(const dsv4_call *call, bool round_first) {
    const dsv4_tensor *const t = dsv4_find(call, "cache");
    struct kv_cache cache;
    cache.data = (char *)t->data;
    cache.page_stride = t->stride[0];
    cache.row_stride = t->ndim == 3 ? t->stride[1] : 0;
    cache.block = call_divisor(dsv4_int(call, "block_size", 64));
    cache.form = kv_form_of(call);
    cache.fp8 = kv_fp8_of(call);
    cache.interleaved = dsv4_is(call, "layout", "interleaved");
    cache.floor_on_scale = dsv4_is(call, "scale_floor", "scale");
    cache.round_first = round_first;
    cache.inverse_scale = 1.0f / dsv4_float(call, "fp8_scale", 1.0f);
    return cache;
}

static inline int kv_supports_cache(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const t = dsv4_find(call, "cache");
    const int form = kv_form_of(call);
    if (form < 0) return call_unsupported(why, "store: not a form that these kernels write");
    const uint32_t dtype = form == KV_FULL_BF16         ? DSV4_BF16
                           : form != KV_FULL_FP8        ? DSV4_U8
                           : kv_fp8_of(call) == NUM_OCP ? DSV4_E4M3FN
                                                        : DSV4_E4M3FNUZ;
    const int ndim = form == KV_FULL_BF16 || form == KV_FULL_FP8 ? 3 : 2;
    CALL_NEED(call, "cache", dtype, ndim, why);
    if (ndim == 3 && t->shape[2] != KV_HEAD)
        return call_unsupported(why, "cache: rows of %lld; these kernels write rows of 512",
                                (long long)t->shape[2]);
    CALL_NEED_ALIGNED(call, "cache", 4, why);
    return DSV4_OK;
}

#endif
