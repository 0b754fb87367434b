/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantising and storing one row.
 *
 * ds_mla         channels 0..447 to bf16, then per 64: s = max(amax, 1e-4) * fl(1/M), scale byte = exponent of s,
 *                plus one unless s is a power of two; codes = fp8(clamp(x * 2^(127 - byte), +-M)). Channels 448..511
 *                to bf16. Eighth scale byte 0.
 * indexer_fp8    all 128 to bf16, one group, scale stored as fp32
 * indexer_mxfp4  all 128 to bf16, per 32: s = max(amax, 6 * 2^-126) * fl(1/6), codes e2m1
 * full_bf16      all 512 to bf16
 * full_fp8       [to bf16,] then fp8(clamp(x * fl(1/scale), +-M))
 *
 * Latitude: none on finite input. After a rounded-up power of two |x| * 2^-e <= M, so the clamp never acts; scaling
 * by a power of two is exact, so multiplying and dividing agree. NaN and infinities are outside the domain.
 */
#include "../num/e2m1.h"
#include "../num/e8m0.h"
#include "kv_family.h"

const char *const kv_store_words[KV_STORE_FORMS] = {"ds_mla", "indexer_fp8", "indexer_mxfp4",
                                                    "full_bf16", "full_fp8"};

void kv_store_open(struct kv_store *store, const dsv4_call *call, const dsv4_tensor *cache,
                   enum kv_wrong wrong) {
    memset(store, 0, sizeof *store);
    for (int form = 0; form < KV_STORE_FORMS; form++)
        if (dsv4_is(call, "store", kv_store_words[form])) store->form = (enum kv_store_form)form;
    store->fp8 = dsv4_is(call, "fp8", "fnuz224")   ? DSV4_FNUZ224
                 : dsv4_is(call, "fp8", "fnuz240") ? DSV4_FNUZ240
                                                   : DSV4_OCP;
    store->interleaved = dsv4_is(call, "layout", "interleaved");
    store->floor_on_scale = dsv4_is(call, "scale_floor", "scale");
    store->block_size = dsv4_int(call, "block_size", 64);
    store->n_blocks = cache->shape[0];
    store->scale = dsv4_float(call, "fp8_scale", 1.0f);
    store->inverse_scale = 1.0f / store->scale;
    store->round_before_scale = true;
    store->cache = cache;
    store->wrong = wrong;
}

enum {
    CHUNK = 32
}; /* loops of constant length vectorise without remainders; every group is a multiple */

/* Magnitudes of floats order like their bits, and integer maxima vectorise. */
static float amax_of(const float *x, int n) {
    uint32_t most[CHUNK] = {0}, all = 0;
    for (int at = 0; at < n; at += CHUNK)
#pragma omp simd
        for (int i = 0; i < CHUNK; i++) {
            const uint32_t magnitude = dsv4_bits(x[at + i]) & 0x7FFFFFFFu;
            most[i] = magnitude > most[i] ? magnitude : most[i];
        }
#pragma omp simd reduction(max : all)
    for (int i = 0; i < CHUNK; i++) all = most[i] > all ? most[i] : all;
    return dsv4_from_bits(all);
}

/* The scale byte of a group, and 2^(127 - byte). */
static uint8_t scale_of(const struct kv_store *store, float amax, float inverse_max, float floor,
                        float *inverse) {
    float s = (amax > floor ? amax : floor) * inverse_max;
    if (store->floor_on_scale && store->form != KV_INDEXER_MXFP4) {
        s = amax * inverse_max;
        s = s > floor ? s : floor;
    }
    if (store->wrong == KV_SCALE_UNFLOORED) s = amax * inverse_max;
    if (store->wrong == KV_FLOOR_OF_FP8 && store->form == KV_INDEXER_MXFP4)
        s = (amax > 1e-4f ? amax : 1e-4f) * inverse_max;
    uint32_t byte = dsv4_e8m0_ceil(s);
    if (store->wrong == KV_SCALE_FLOOR) byte = dsv4_bits(s) >> 23;
    *inverse = dsv4_from_bits((254u - byte) << 23);
    return (uint8_t)(store->wrong == KV_SCALE_BIAS ? byte + 1u : byte);
}

/* Codes are made in 32-bit lanes and narrowed in a loop of their own: one loop over both widths vectorises badly. */
static void encode(uint8_t *codes, const float *x, int n, float inverse, enum dsv4_fp8 fp8) {
    const float max = dsv4_fp8_max(fp8);
    uint32_t wide[KV_GROUP];
    uint8_t chunk[KV_GROUP];
    for (int at = 0; at < n; at += KV_GROUP) {
        if (fp8 == DSV4_OCP) { /* the encoder saturates where the dialect does */
#pragma omp simd
            for (int i = 0; i < KV_GROUP; i++) wide[i] = dsv4_e4m3fn_from_f32(x[at + i] * inverse);
        } else {
#pragma omp simd
            for (int i = 0; i < KV_GROUP; i++) {
                const float y = x[at + i] * inverse, below = y > max ? max : y;
                wide[i] = dsv4_e4m3fnuz_from_f32(below < -max ? -max : below);
            }
        }
#pragma omp simd
        for (int i = 0; i < KV_GROUP; i++) chunk[i] = (uint8_t)wide[i];
        memcpy(codes + at, chunk, sizeof chunk);
    }
}

/* Wrong codes: the value is bent before it is encoded, or the code after. */
static void bend(const struct kv_store *store, uint8_t *codes, const float *x, int n,
                 float inverse) {
    for (int i = 0; i < n; i++) {
        const float y = x[i] * inverse;
        if (store->wrong == KV_CLAMP_OF_FORMAT && store->fp8 != DSV4_OCP)
            codes[i] = dsv4_e4m3fnuz_from_f32(y);
        /* Moves exact ties alone: bf16 has 4 bits more than a code. */
        if (store->wrong == KV_TIES_AWAY)
            codes[i] = dsv4_fp8_from_f32(y * (1.0f + 0x1p-12f), store->fp8);
        if (store->wrong == KV_SUBNORMALS_FLUSHED && y < 0x1p-6f && y > -0x1p-6f) codes[i] = 0;
        if (store->wrong == KV_NEGATIVE_UNDERFLOW && (codes[i] & 0x7F) == 0 && dsv4_bits(y) >> 31)
            codes[i] = store->fp8 == DSV4_OCP ? 0x00 : 0x80;
    }
}

static void encode_group(const struct kv_store *store, uint8_t *codes, const float *x, int n,
                         float inverse) {
    encode(codes, x, n, inverse, store->fp8);
    if (store->wrong != KV_RIGHT) bend(store, codes, x, n, inverse);
}

static void round_row(const struct kv_store *store, float *rounded, const float *values, int n) {
    if (store->wrong == KV_ROUNDING_LOST) {
        memcpy(rounded, values, (size_t)n * sizeof *rounded);
        return;
    }
#pragma omp simd
    for (int i = 0; i < n; i++) rounded[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(values[i]));
}

static void store_ds_mla(const struct kv_store *store, uint8_t *page, int64_t j,
                         const float *values) {
    uint8_t *const data = page + kv_data_offset(store->interleaved, j);
    uint8_t *const scales = page + kv_scale_offset(store->interleaved, store->block_size, j);
    const float inverse_max = 1.0f / dsv4_fp8_max(store->fp8);
    float rounded[KV_NOPE], inverse[KV_GROUPS];
    if (!store->nope_is_bf16) round_row(store, rounded, values, KV_NOPE);
    const float *const x = store->nope_is_bf16 ? values : rounded;
    /* All scales, then all codes: neither waits for the other's latency. */
    for (int g = 0; g < KV_GROUPS; g++) {
        const float amax = amax_of(x + g * KV_GROUP, KV_GROUP);
        scales[g] = scale_of(store, amax, inverse_max, 1e-4f, &inverse[g]);
    }
    for (int g = 0; g < KV_GROUPS; g++)
        encode_group(store, data + g * KV_GROUP, x + g * KV_GROUP, KV_GROUP, inverse[g]);
    if (store->wrong != KV_PAD_BYTE) scales[KV_GROUPS] = 0;
    kv_store_bf16(data + KV_NOPE, values + KV_NOPE, KV_ROPE);
}

static void store_indexer_fp8(const struct kv_store *store, uint8_t *page, int64_t j,
                              const float *values) {
    uint8_t *const scales = page + store->block_size * INDEXER_HEAD;
    float rounded[INDEXER_HEAD], inverse;
    round_row(store, rounded, values, INDEXER_HEAD);
    const float inverse_max = 1.0f / dsv4_fp8_max(store->fp8);
    const float amax = amax_of(rounded, INDEXER_HEAD);
    const float scale = dsv4_e8m0_to_f32(scale_of(store, amax, inverse_max, 1e-4f, &inverse));
    encode_group(store, page + j * INDEXER_HEAD, rounded, INDEXER_HEAD, inverse);
    memcpy(scales + 4 * j, &scale, sizeof scale);
}

static uint8_t nibble(const struct kv_store *store, float y) {
    return dsv4_e2m1_from_f32(store->wrong == KV_TIES_AWAY ? y * (1.0f + 0x1p-12f) : y);
}

static void store_indexer_mxfp4(const struct kv_store *store, uint8_t *page, int64_t j,
                                const float *values) {
    uint8_t *const data = page + j * INDEXER_MXFP4_DATA_BYTES;
    uint8_t *const scales =
        page + store->block_size * INDEXER_MXFP4_DATA_BYTES + j * INDEXER_MXFP4_GROUPS;
    const int swap = store->wrong == KV_NIBBLES_SWAPPED;
    float rounded[INDEXER_HEAD], inverse;
    round_row(store, rounded, values, INDEXER_HEAD);
    for (int g = 0; g < INDEXER_MXFP4_GROUPS; g++) {
        const float *const x = rounded + g * INDEXER_MXFP4_GROUP;
        const float amax = amax_of(x, INDEXER_MXFP4_GROUP);
        scales[g] = scale_of(store, amax, 1.0f / 6.0f, 6.0f * 0x1p-126f, &inverse);
        for (int i = 0; i < INDEXER_MXFP4_GROUP; i += 2) {
            const uint8_t low = nibble(store, x[i + swap] * inverse);
            const uint8_t high = nibble(store, x[i + 1 - swap] * inverse);
            data[(g * INDEXER_MXFP4_GROUP + i) / 2] = (uint8_t)(low | high << 4);
        }
    }
}

static void store_full_fp8(const struct kv_store *store, uint8_t *row, const float *values) {
    float rounded[KV_HEAD];
    const float *x = values;
    if (store->round_before_scale) {
        round_row(store, rounded, values, KV_HEAD);
        x = rounded;
    }
    if (store->wrong != KV_SCALE_DIVIDES) {
        encode_group(store, row, x, KV_HEAD, store->inverse_scale);
        return;
    }
    for (int i = 0; i < KV_HEAD; i++) row[i] = dsv4_fp8_from_f32(x[i] / store->scale, store->fp8);
}

void kv_store_row(const struct kv_store *store, const float *values, int64_t slot) {
    const dsv4_tensor *const cache = store->cache;
    const int64_t block = slot / store->block_size, j = slot % store->block_size;
    int64_t offset = block * cache->stride[0];
    if (store->wrong == KV_ADDRESS_WRAPS) offset &= INT64_C(0xFFFFFFFF);
    uint8_t *const page = (uint8_t *)cache->data + offset;
    switch (store->form) {
    case KV_DS_MLA: store_ds_mla(store, page, j, values); break;
    case KV_INDEXER_FP8: store_indexer_fp8(store, page, j, values); break;
    case KV_INDEXER_MXFP4: store_indexer_mxfp4(store, page, j, values); break;
    case KV_FULL_BF16: kv_store_bf16(page + j * cache->stride[1], values, KV_HEAD); break;
    case KV_FULL_FP8: store_full_fp8(store, page + j * cache->stride[1], values); break;
    }
}
