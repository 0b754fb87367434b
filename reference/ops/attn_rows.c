/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of cache rows, and the rows as fp32. */
#include <math.h>
#include <stdio.h>

#include "../memory.h"
#include "../num/e8m0.h"
#include "attn_family.h"

static const dsv4_tensor *find(const dsv4_call *call, const char *prefix, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return dsv4_find(call, full);
}

static bool is(const dsv4_call *call, const char *prefix, const char *name, const char *word) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return dsv4_is(call, full, word);
}

void attn_source_open(struct attn_source *source, const dsv4_call *call, const char *prefix,
                      const char *rows, enum attn_wrong wrong) {
    char name[64];
    memset(source, 0, sizeof *source);
    source->rows = find(call, prefix, rows);
    source->indices = find(call, prefix, "indices");
    source->lens = find(call, prefix, wrong == ATTN_LEN_SHARED && prefix[0] != '\0' ? "" : "lens");
    if (wrong == ATTN_LEN_SHARED) source->lens = dsv4_find(call, "lens");
    source->indptr = find(call, prefix, "indptr");
    source->paged = strcmp(rows, "cache") == 0;
    source->scrub = dsv4_int(call, "scrub", 0) != 0 && wrong != ATTN_NAN_KEPT;
    source->wrong = wrong;
    const char *const fp8 = wrong == ATTN_FP8_SHARED ? "" : prefix;
    const char *const layout = wrong == ATTN_LAYOUT_SHARED ? "" : prefix;
    source->fp8 = is(call, fp8, "fp8", "fnuz224")   ? DSV4_FNUZ224
                  : is(call, fp8, "fp8", "fnuz240") ? DSV4_FNUZ240
                                                    : DSV4_OCP;
    source->interleaved = is(call, layout, "layout", "interleaved");
    if (wrong == ATTN_LAYOUT_MIXED) source->interleaved = !source->interleaved;
    snprintf(name, sizeof name, "%sblock_size", wrong == ATTN_BLOCK_SIZE_SHARED ? "" : prefix);
    source->block_size = source->paged ? dsv4_int(call, name, 64) : 1;
    if (!attn_has(source)) return;
    source->n_rows = source->rows->shape[0] * source->block_size;
    source->page_stride = source->rows->stride[0];
    if (wrong == ATTN_PAGE_STRIDE_SHARED) source->page_stride = dsv4_find(call, "cache")->stride[0];
    if (wrong == ATTN_PAGE_DENSE)
        source->page_stride =
            source->paged ? kv_page_bytes(source->interleaved, source->block_size) : 2 * KV_HEAD;
}

static int64_t i32_at(const dsv4_tensor *t, int64_t i) { return ((const int32_t *)t->data)[i]; }

struct attn_list attn_list_of(const struct attn_source *source, int64_t token) {
    struct attn_list list = {0};
    if (!attn_has(source)) return list;
    const int32_t *const entries = source->indices->data;
    if (!attn_absent(source->indptr)) {
        const int64_t tokens = source->indptr->shape[0] - 1;
        int64_t begin = i32_at(source->indptr, token), end = i32_at(source->indptr, token + 1);
        if (source->wrong == ATTN_INDPTR_UNIFORM) {
            const int64_t each = i32_at(source->indptr, tokens) / tokens;
            begin = token * each;
            end = begin + each;
        }
        if (source->wrong == ATTN_LEN_IGNORED && token == tokens - 1)
            end = source->indices->shape[0];
        if (source->wrong == ATTN_LEN_UNSIGNED && end < begin) {
            const int64_t first = end;
            end = begin;
            begin = first;
        }
        list = (struct attn_list){entries + begin, end - begin};
    } else {
        const int64_t width = source->indices->shape[1];
        const bool dense = source->wrong == ATTN_INDEX_ROW_DENSE;
        const int64_t row =
            attn_token_offset(source->indices, token, source->wrong == ATTN_INDEX_WRAPS);
        const bool all = attn_absent(source->lens) || source->wrong == ATTN_LEN_IGNORED;
        list.entries = entries + (dense ? token * width : row / 4);
        list.n = all ? width : i32_at(source->lens, token);
        if (source->wrong == ATTN_LEN_UNSIGNED && list.n < 0) list.n = width;
        if (list.n > width) list.n = width + (source->wrong == ATTN_LEN_UNCLAMPED);
    }
    if (source->wrong == ATTN_TAIL_DROPPED) list.n -= list.n % 4;
    for (int64_t i = 0; source->wrong == ATTN_MINUS_ONE_ENDS && i < list.n; i++)
        if (list.entries[i] < 0) list.n = i;
    return list;
}

int64_t attn_row_of(const struct attn_source *source, int32_t entry) {
    if (entry >= 0 && entry < source->n_rows) return entry;
    if (source->wrong == ATTN_MINUS_ONE_WRAPS && entry < 0) return source->n_rows - 1;
    if (source->wrong == ATTN_RANGE_CLAMPED && entry != -1)
        return entry < 0 ? 0 : source->n_rows - 1;
    return -1;
}

/* One group of codes. Two loops through fp32, since compilers vectorise these and not their fusion. */
static void read_group(float *values, const uint8_t *codes, float scale, enum dsv4_fp8 fp8) {
    if (fp8 == DSV4_OCP) {
#pragma omp simd
        for (int i = 0; i < KV_GROUP; i++) values[i] = dsv4_e4m3fn_to_f32(codes[i]) * scale;
    } else {
#pragma omp simd
        for (int i = 0; i < KV_GROUP; i++) values[i] = dsv4_e4m3fnuz_to_f32(codes[i]) * scale;
    }
}

/* Four significant bits times a power of two are a bf16 already, unless it is subnormal or overflows. */
static void round_group(float *values, float scale) {
    if (scale >= 0x1p-100f && scale <= 0x1p100f) return;
#pragma omp simd
    for (int i = 0; i < KV_GROUP; i++) values[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(values[i]));
}

/* Where a page begins, or where its scale bytes count from. */
static const uint8_t *page_at(const struct attn_source *source, int64_t block, bool wraps) {
    int64_t offset = block * source->page_stride;
    if (wraps) offset &= INT64_C(0xFFFFFFFF);
    /* A mutant must not crash. */
    if (offset > (source->rows->shape[0] - 1) * source->rows->stride[0]) offset = 0;
    return (const uint8_t *)source->rows->data + offset;
}

/* fp16 as to its range and its precision where it is subnormal; the bits of bf16 are enough elsewhere. */
static void through_fp16(float *values) {
    for (int i = 0; i < KV_HEAD; i++) {
        if (fabsf(values[i]) < 0x1p-14f) values[i] = (values[i] + 1.0f) - 1.0f;
        if (fabsf(values[i]) > 65504.0f) values[i] = copysignf(INFINITY, values[i]);
    }
}

/* NaN by what is NaN in e4m3fn. */
static void scrub_codes(float *values, const uint8_t *codes, const struct attn_source *source) {
    for (int i = 0; source->fp8 != DSV4_OCP && source->scrub && i < KV_GROUP; i++)
        if ((codes[i] & 0x7F) == 0x7F) values[i] = 0.0f;
}

static void read_page_row(const struct attn_source *source, float *values, int64_t row) {
    const int64_t block = row / source->block_size, j = row % source->block_size;
    const bool wraps = source->wrong == ATTN_ADDRESS_WRAPS;
    const uint8_t *const data =
        page_at(source, block, wraps) + kv_data_offset(source->interleaved, j);
    const uint8_t *const scales =
        page_at(source, block, wraps || source->wrong == ATTN_SCALES_WRAP) +
        kv_scale_offset(source->interleaved, source->block_size, j);
    float scale = 1.0f;
    for (int g = 0; g < KV_GROUPS; g++) {
        scale =
            source->wrong == ATTN_SCALE_AS_NUMBER ? (float)scales[g] : dsv4_e8m0_to_f32(scales[g]);
        read_group(values + g * KV_GROUP, data + g * KV_GROUP, scale, source->fp8);
        round_group(values + g * KV_GROUP, scale);
        if (source->wrong == ATTN_SCRUB_BY_OCP_CODE)
            scrub_codes(values + g * KV_GROUP, data + g * KV_GROUP, source);
    }
    for (int i = 0; i < KV_ROPE; i++) {
        uint16_t code;
        memcpy(&code, data + KV_NOPE + 2 * i, sizeof code);
        values[KV_NOPE + i] = dsv4_bf16_to_f32(code);
        if (source->wrong == ATTN_ROPE_SCALED) values[KV_NOPE + i] *= scale;
        if (source->wrong == ATTN_ROPE_MISSING) values[KV_NOPE + i] = 0.0f;
    }
}

static void read_bf16_row(const struct attn_source *source, float *values, int64_t row) {
    const uint16_t *const codes =
        (const void *)page_at(source, row, source->wrong == ATTN_ADDRESS_WRAPS);
#pragma omp simd
    for (int i = 0; i < KV_HEAD; i++) values[i] = dsv4_bf16_to_f32(codes[i]);
}

static void read_row(const struct attn_source *source, float *values, int64_t row) {
    if (source->paged)
        read_page_row(source, values, row);
    else
        read_bf16_row(source, values, row);
    if (source->wrong == ATTN_ROW_FP16) through_fp16(values);
    for (int i = 0; source->scrub && i < KV_HEAD; i++)
        if (values[i] != values[i]) values[i] = 0.0f;
}

/* Keys are computed in tiles of up to 16: scratch has room for the rest of one. */
static void reserve(struct attn_token *token, int64_t n) {
    const int64_t rows = token->n + n + 16, old = token->n_blocks;
    const int64_t blocks = old + n / ATTN_BLOCK + 1;
    token->blocks = dsv4_resize(token->blocks, (size_t)blocks * sizeof *token->blocks);
    if (rows <= token->capacity) return;
    token->capacity = rows + rows / 2;
    const size_t capacity = (size_t)token->capacity;
    token->k = dsv4_resize(token->k, capacity * ATTN_STRIDE * sizeof *token->k);
    token->s = dsv4_resize(token->s, capacity * (size_t)token->heads * sizeof *token->s);
    token->p = dsv4_resize(token->p, capacity * (size_t)token->heads * sizeof *token->p);
    token->valid = dsv4_resize(token->valid, capacity);
}

static bool seen_before(const struct attn_source *source, struct attn_list list, int64_t i) {
    for (int64_t j = 0; source->wrong == ATTN_DUPLICATES_DROPPED && j < i; j++)
        if (list.entries[j] == list.entries[i]) return true;
    return false;
}

void attn_token_append(struct attn_token *token, const struct attn_source *source,
                       struct attn_list list) {
    if (list.n <= 0) return;
    reserve(token, list.n);
    for (int64_t first = 0; first < list.n; first += ATTN_BLOCK) {
        const int64_t left = list.n - first;
        token->blocks[token->n_blocks++] =
            (struct attn_span){token->n + first, left < ATTN_BLOCK ? left : ATTN_BLOCK};
    }
    for (int64_t i = 0; i < list.n; i++) {
        float *const values = token->k + (token->n + i) * ATTN_STRIDE;
        const int64_t row = attn_row_of(source, list.entries[i]);
        const bool valid = row >= 0 && !seen_before(source, list, i);
        token->valid[token->n + i] =
            valid || (source->wrong == ATTN_MINUS_ONE_ATTENDED && list.entries[i] < 0);
        if (valid)
            read_row(source, values, row);
        else
            memset(values, 0, KV_HEAD * sizeof *values);
    }
    token->n += list.n;
    memset(token->k + token->n * ATTN_STRIDE, 0, 16 * ATTN_STRIDE * sizeof *token->k);
}
