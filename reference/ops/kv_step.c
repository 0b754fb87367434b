/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes and fills that the family's ops share. */
#include "kv_family.h"

enum {
    STREAM_STATE = 1,
    STREAM_CACHE = 2,
    STREAM_KV = 10,
    STREAM_SCORE = 12,
    STREAM_WEIGHT = 14,
    STREAM_APE = 16
};

struct kv_step *kv_step_make(struct dsv4_case *c, struct dsv4_err *err) {
    struct kv_step *step = dsv4_case_alloc(c, sizeof *step);
    c->plan = step;
    if (dsv4_batch_make(c, &step->batch, err) != 0) return NULL;
    const int64_t missing = dsv4_case_int(c, "short_slots");
    step->n_slots = step->batch.n_rows > missing ? step->batch.n_rows - missing : 0;
    return step;
}

void kv_widen(struct dsv4_case *c, size_t slot, int dim, int64_t bytes) {
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, slot, dim, bytes);
}

void kv_shape_state(struct dsv4_case *c, size_t slot, int64_t width) {
    struct kv_step *step = kv_step_of(c);
    const uint32_t dtype = dsv4_case_is(c, "state", "f32") ? DSV4_F32 : DSV4_BF16;
    const int64_t rows = dsv4_case_int(c, "state_block_size");
    const int64_t bytes = rows * 2 * width * dsv4_dtype_bytes(dtype);
    const struct dsv4_paging_rule rule = {.stream = STREAM_STATE,
                                          .block_size = rows,
                                          .ratio = 1,
                                          .window = kv_pool_rows(dsv4_case_int(c, "ratio")),
                                          .page_bytes = bytes,
                                          .element_bytes = dsv4_dtype_bytes(dtype)};
    dsv4_paging_make(c, &step->state, &step->batch, &rule);
    DSV4_SHAPE(c, slot, dtype, step->state.n_blocks, rows, 2 * width);
    dsv4_paging_live(c, slot, &step->state);
    kv_widen(c, slot, 1, 64);
    kv_widen(c, slot, 0, 192);
}

enum kv_store_form kv_form(const struct dsv4_case *c) {
    int form = 0;
    while (!dsv4_case_is(c, "store", kv_store_words[form])) form++;
    return (enum kv_store_form)form;
}

static int64_t page_bytes(const struct dsv4_case *c, enum kv_store_form form, int64_t block_size) {
    switch (form) {
    case KV_DS_MLA: return kv_page_bytes(dsv4_case_is(c, "layout", "interleaved"), block_size);
    case KV_INDEXER_FP8: return block_size * INDEXER_FP8_TOKEN_BYTES;
    case KV_INDEXER_MXFP4: return block_size * INDEXER_MXFP4_TOKEN_BYTES;
    case KV_FULL_BF16: return block_size * KV_HEAD * 2;
    default: return block_size * KV_HEAD;
    }
}

void kv_shape_cache(struct dsv4_case *c, size_t slot, enum kv_store_form form, int64_t ratio,
                    int64_t window) {
    static const char *const layouts[] = {"planar", "indexer-fp8", "indexer-mxfp4", "linear",
                                          "linear"};
    struct kv_step *step = kv_step_of(c);
    const int64_t block_size = dsv4_case_int(c, "block_size");
    const int64_t bytes = page_bytes(c, form, block_size);
    const struct dsv4_paging_rule rule = {.stream = STREAM_CACHE,
                                          .block_size = block_size,
                                          .ratio = ratio,
                                          .window = window,
                                          .page_bytes = bytes,
                                          .element_bytes = 1};
    dsv4_paging_make(c, &step->cache, &step->batch, &rule);
    const int64_t blocks = step->cache.n_blocks;
    if (form == KV_FULL_BF16) {
        DSV4_SHAPE(c, slot, DSV4_BF16, blocks, block_size, KV_HEAD);
    } else if (form == KV_FULL_FP8) {
        const bool ocp = dsv4_case_is(c, "fp8", "ocp");
        DSV4_SHAPE(c, slot, ocp ? DSV4_E4M3FN : DSV4_E4M3FNUZ, blocks, block_size, KV_HEAD);
    } else {
        DSV4_SHAPE(c, slot, DSV4_U8, blocks, bytes);
    }
    dsv4_paging_live(c, slot, &step->cache);
    if (c->tensors[slot].t.ndim == 3) kv_widen(c, slot, 1, 32);
    kv_widen(c, slot, 0, KV_PAGE_ALIGN);
    c->tensors[slot].t.layout = layouts[form];
    if (form == KV_DS_MLA) c->tensors[slot].t.layout = dsv4_case_word(c, "layout");
}

void kv_shape_table(struct dsv4_case *c, size_t slot, const struct dsv4_paging *paging) {
    DSV4_SHAPE(c, slot, DSV4_I32, paging->n_requests, paging->width);
    kv_widen(c, slot, 0, 20);
    c->tensors[slot].align = 4;
}

void kv_shape_weight(struct dsv4_case *c, size_t slot, int64_t head) {
    DSV4_SHAPE(c, slot, dsv4_case_is(c, "weight_dtype", "f32") ? DSV4_F32 : DSV4_BF16, head);
}

void kv_shape_ape(struct dsv4_case *c, size_t slot, int64_t ratio, int64_t width) {
    DSV4_SHAPE(c, slot, DSV4_F32, ratio, width);
}

void kv_shape_rows(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t n) {
    DSV4_SHAPE(c, slot, dtype, n);
    c->tensors[slot].align = dsv4_dtype_bytes(dtype);
}

uint32_t kv_table_dtype(const struct dsv4_case *c) {
    return dsv4_case_is(c, "table", "bf16") ? DSV4_BF16 : DSV4_F32;
}

int kv_shape_rope(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t ratio,
                  struct dsv4_err *err) {
    const struct kv_step *step = kv_step_of(c);
    const int64_t rows = step->batch.n_rows;
    int64_t *positions = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *positions);
    int64_t most = dsv4_case_int(c, "max_position"), n = 0, last = 127;
    if (step->batch.room != NULL && dsv4_batch_longest(&step->batch) > last)
        last = dsv4_batch_longest(&step->batch);
    for (int64_t t = 0; t < rows; t++) {
        const int64_t p = step->batch.positions[t];
        last = p > last ? p : last;
        if ((p + 1) % ratio == 0 || ratio == 1) positions[n++] = p / ratio * ratio;
    }
    if (most == 0) most = last + 1;
    if (last >= most)
        return dsv4_fail(err, "max_position: position %lld lies beyond %lld", (long long)last,
                         (long long)most);
    dsv4_rope_shape(c, slot, dtype, positions, n, most);
    kv_widen(c, slot, 0, 64);
    return 0;
}

bool kv_rope_is_live(const struct dsv4_case *c, size_t slot, int64_t position) {
    const struct dsv4_case_tensor *const table = &c->tensors[slot];
    int64_t low = 0, high = table->n_rows;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (table->rows[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table->n_rows && table->rows[low] == position;
}

void kv_fill_state(const struct dsv4_case *c, size_t slot, int64_t width) {
    const struct dsv4_case_tensor *const tensor = &c->tensors[slot];
    const dsv4_tensor *const t = &tensor->t;
    const char *const values = dsv4_case_word(c, "values"), *const scores =
                                                                dsv4_case_word(c, "scores");
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t i = 0; i < tensor->n_rows; i++)
        for (int64_t j = 0; j < t->shape[1]; j++) {
            const int64_t block = tensor->rows != NULL ? tensor->rows[i] : i;
            char *const row = (char *)t->data + block * t->stride[0] + j * t->stride[1];
            const int64_t id = i * t->shape[1] + j;
            for (int64_t d = 0; d < 2 * width; d++) {
                const float x = d < width
                                    ? dsv4_state_value(values, c->seed, STREAM_KV, id, d)
                                    : dsv4_score(scores, c->seed, STREAM_SCORE, id, d - width);
                if (t->dtype == DSV4_F32)
                    ((float *)(void *)row)[d] = x;
                else
                    ((uint16_t *)(void *)row)[d] = dsv4_bf16_from_f32(x);
            }
        }
}

void kv_fill_weight(const struct dsv4_case *c, size_t slot) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t group = dsv4_case_int(c, "weight_group");
    for (int64_t i = 0; i < t->shape[0]; i++) {
        const float w = dsv4_weight(dsv4_case_word(c, "weights"), c->seed, STREAM_WEIGHT, i, group);
        if (t->dtype == DSV4_F32)
            ((float *)t->data)[i] = w;
        else
            ((uint16_t *)t->data)[i] = dsv4_bf16_from_f32(w);
    }
}

void kv_fill_ape(const struct dsv4_case *c, size_t slot) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const float unit = dsv4_case_is(c, "ape", "large")  ? 8.0f
                       : dsv4_case_is(c, "ape", "zero") ? 0.0f
                                                        : 0.125f;
    const bool fine = dsv4_case_is(c, "ape", "fine");
    if (t->ndim == 0) return;
    for (int64_t r = 0; r < t->shape[0]; r++)
        for (int64_t d = 0; d < t->shape[1]; d++) {
            const uint64_t bits = dsv4_random(c->seed, STREAM_APE, (uint64_t)(r << 16 | d));
            /* few bits, so that vectors stay small */
            ((float *)(void *)((char *)t->data + r * t->stride[0]))[d] =
                fine ? dsv4_state_value("normal", c->seed, STREAM_APE, r, d)
                     : (float)(dsv4_below(bits, 32) - 16) * unit;
        }
}

void kv_fill_positions(const struct dsv4_case *c, size_t slot) {
    const struct dsv4_batch *const batch = &kv_step_of(c)->batch;
    memcpy(c->tensors[slot].t.data, batch->positions,
           (size_t)batch->n_rows * sizeof *batch->positions);
}

void kv_fill_requests(const struct dsv4_case *c, size_t slot) {
    const struct dsv4_batch *const batch = &kv_step_of(c)->batch;
    memcpy(c->tensors[slot].t.data, batch->token_to_req,
           (size_t)batch->n_rows * sizeof *batch->token_to_req);
}

void kv_fill_slots(const struct dsv4_case *c, size_t slot, const struct dsv4_paging *paging) {
    const struct kv_step *const step = kv_step_of(c);
    int64_t *const slots = c->tensors[slot].t.data;
    for (int64_t t = 0; t < step->n_slots; t++)
        slots[t] = t >= step->batch.n_tokens ? -1
                                             : dsv4_paging_slot(paging, step->batch.token_to_req[t],
                                                                step->batch.positions[t]);
}

void kv_fill_compressed_slots(const struct dsv4_case *c, size_t slot, int64_t ratio) {
    const struct kv_step *const step = kv_step_of(c);
    const int64_t elsewhere = dsv4_case_int(c, "stale_slots") != 0 ? 1 : -1;
    int64_t *const slots = c->tensors[slot].t.data;
    for (int64_t t = 0; t < step->batch.n_rows; t++) {
        const int64_t position = step->batch.positions[t];
        const bool boundary = t < step->batch.n_tokens && (position + 1) % ratio == 0;
        slots[t] =
            boundary ? dsv4_paging_slot(&step->cache, step->batch.token_to_req[t], position / ratio)
                     : elsewhere;
        /* Some compressed rows have no place of their own: the store is skipped there. */
        if (boundary && dsv4_case_int(c, "dropped_slots") != 0 && position / ratio % 3 == 1)
            slots[t] = -1;
    }
}

void kv_load_weight(float *weight, const dsv4_tensor *tensor) {
    for (int64_t i = 0; i < tensor->shape[0]; i++)
        weight[i] = tensor->dtype == DSV4_F32
                        ? ((const float *)tensor->data)[i]
                        : dsv4_bf16_to_f32(((const uint16_t *)tensor->data)[i]);
}

int64_t kv_writer_of(const dsv4_tensor *slots, int64_t cache_row) {
    for (int64_t t = 0; t < slots->shape[0]; t++)
        if (kv_i64(slots, t) == cache_row) return t;
    return -1;
}

int64_t kv_cache_row_at(const struct dsv4_case *c, size_t slot, int64_t offset) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t block_size = dsv4_case_int(c, "block_size");
    const int64_t block = offset / t->stride[0], at = offset % t->stride[0];
    int64_t j = 0;
    if (t->ndim == 3)
        j = at / t->stride[1];
    else if (strcmp(t->layout, "interleaved") == 0)
        j = at / KV_TOKEN_BYTES;
    else if (strcmp(t->layout, "planar") == 0)
        j = at < block_size * KV_DATA_BYTES ? at / KV_DATA_BYTES
                                            : (at - block_size * KV_DATA_BYTES) / KV_SCALE_BYTES;
    else {
        const int64_t row =
            strcmp(t->layout, "indexer-fp8") == 0 ? INDEXER_HEAD : INDEXER_MXFP4_DATA_BYTES;
        j = at < block_size * row ? at / row : (at - block_size * row) / 4;
    }
    return j < block_size ? block * block_size + j : -1;
}

int64_t kv_stored_bytes(enum kv_store_form form) {
    static const int64_t bytes[] = {KV_TOKEN_BYTES, INDEXER_FP8_TOKEN_BYTES,
                                    INDEXER_MXFP4_TOKEN_BYTES, KV_HEAD * 2, KV_HEAD};
    return bytes[form];
}
