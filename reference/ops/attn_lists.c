/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of cache rows as inputs: how long, in which order, with which holes, over which pages. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "attn_family.h"

enum { STREAM_LENS = 10, STREAM_ORDER = 20, STREAM_CODES = 30 /* plus the source's stream */ };

static const char *word_of(const struct dsv4_case *c, const char *prefix, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return dsv4_case_word(c, full);
}

static int64_t int_of(const struct dsv4_case *c, const char *prefix, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return dsv4_case_int(c, full);
}

int64_t *attn_lengths(struct dsv4_case *c, const char *name, int64_t n, uint64_t stream,
                      struct dsv4_err *err) {
    const char *const text = dsv4_case_word(c, name);
    int64_t *const lengths = dsv4_case_alloc(c, (size_t)(n + 1) * sizeof *lengths);
    const char *at = text;
    for (int64_t i = 0; i < n || *at != '\0'; i++) {
        char *end = NULL;
        const bool draw = *at == '~';
        at += draw;
        const int64_t length = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
        if (length < 0 || length > 1 << 20 || (*end != ',' && *end != '\0')) {
            dsv4_fail(err,
                      "%s: '%s' is not a list of lengths (numbers up to %d with commas between; ~ "
                      "before one draws up to it)",
                      name, text, 1 << 20);
            return NULL;
        }
        if (i < n)
            lengths[i] =
                draw ? dsv4_below(dsv4_random(c->seed, stream, (uint64_t)i), length + 1) : length;
        if (*end == ',')
            at = end + 1;
        else if (i + 1 < n)
            at = text;
        else
            at = end;
    }
    return lengths;
}

/* Live blocks: all of a small cache, or a few around the places where 32-bit offsets break. */
static int choose_blocks(struct dsv4_case *c, struct attn_lists *lists, int64_t block_bytes,
                         struct dsv4_err *err) {
    const int64_t needed = (lists->n_pool + lists->block_size - 1) / lists->block_size + 1;
    if (dsv4_case_is(c, "address", "low")) {
        lists->n_live = lists->n_blocks = needed;
    } else {
        const int64_t limits[] = {INT64_C(1) << 31, INT64_C(1) << 32};
        lists->live = dsv4_case_alloc(c, 7 * sizeof *lists->live);
        lists->n_live = 1;
        for (int l = 0; l < 2; l++)
            for (int64_t d = -1; d <= 1; d++)
                lists->live[lists->n_live++] = limits[l] / block_bytes + d;
        lists->n_blocks = lists->live[lists->n_live - 1] + 1;
        if (needed > lists->n_live)
            return dsv4_fail(err, "address: high has %lld pages; a pool of %lld rows needs %lld",
                             (long long)lists->n_live, (long long)lists->n_pool, (long long)needed);
    }
    lists->n_rows = lists->n_blocks * lists->block_size;
    return lists->n_rows <= INT32_MAX ? 0
                                      : dsv4_fail(err, "pool: more rows than an int32 can name");
}

static int64_t row_in_live_order(const struct attn_lists *lists, int64_t i) {
    const int64_t block = i / lists->block_size;
    return (lists->live != NULL ? lists->live[block] : block) * lists->block_size +
           i % lists->block_size;
}

static int64_t coprime_step(int64_t n) {
    int64_t step = n > 2 ? (int64_t)((double)n * 0.618) | 1 : 1;
    for (;; step += 2) {
        int64_t a = step, b = n;
        while (b != 0) {
            const int64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return step;
    }
}

/* Rows that lists may name: spread over all live pages, and always the cache's very last. */
static void choose_pool(struct dsv4_case *c, struct attn_lists *lists) {
    const int64_t n = lists->n_live * lists->block_size, step = coprime_step(n);
    lists->attended = dsv4_case_alloc(c, (size_t)n * sizeof *lists->attended);
    lists->pool = dsv4_case_alloc(c, (size_t)lists->n_pool * sizeof *lists->pool);
    for (int64_t i = 0; i < lists->n_pool; i++) lists->pool[i] = n - 1 - i * step % n;
}

/* What a hole holds. */
static int32_t hole(const struct dsv4_case *c, const struct attn_lists *lists, int64_t i) {
    const int64_t beyond[] = {-1, INT32_MIN, lists->n_rows, INT32_MAX, -123456, lists->n_rows + 7};
    if (dsv4_case_is(c, "invalid", "minus_one")) return -1;
    const int64_t value = beyond[i % (int64_t)(sizeof beyond / sizeof *beyond)];
    return (int32_t)(value > INT32_MAX ? INT32_MAX : value);
}

static bool is_hole(const struct dsv4_case *c, int64_t i, int64_t n) {
    switch (dsv4_case_word(c, "holes")[0]) {
    case 'h': return i == 0;
    case 'm': return i == n / 2;
    case 't': return i == n - 1;
    case 'f': return i < 64;
    case 's': return i % 3 == 1;
    case 'a': return true;
    default: return false;
    }
}

/* Which row of the pool is entry i of a list that starts with row `first`. */
static int64_t pool_at(const struct dsv4_case *c, const struct attn_lists *lists, int64_t first,
                       int64_t i) {
    const int64_t n = lists->n_pool, step = lists->step;
    const char *const order = dsv4_case_word(c, "order");
    if (strcmp(order, "alternating") == 0)
        return (2 * (i % (n > 1 ? n / 2 : 1)) + i / ATTN_BLOCK % 2) % n;
    const int64_t turn = order[0] == 'd' ? i / 2 : i;
    return (first + turn * (order[0] == 'm' ? step : 1)) % n;
}

static void choose_entries(struct dsv4_case *c, struct attn_lists *lists) {
    lists->step = coprime_step(lists->n_pool);
    for (int64_t t = 0; t < lists->tokens; t++) {
        const uint64_t bits = dsv4_random(c->seed, STREAM_ORDER + lists->stream, (uint64_t)t);
        const int64_t first = dsv4_below(bits, lists->n_pool);
        for (int64_t i = 0; i < lists->lens[t]; i++) {
            const int64_t at = pool_at(c, lists, first, i);
            int32_t *const entry = &lists->entries[lists->starts[t] + i];
            if (is_hole(c, i, lists->lens[t])) {
                *entry = hole(c, lists, i + t);
                continue;
            }
            *entry = (int32_t)row_in_live_order(lists, lists->pool[at]);
            lists->attended[lists->pool[at]] = (int32_t)at + 1;
        }
    }
}

/* Ragged lists end to end; `odd`: what an empty list parts lies the other way round, so that indptr descends there. */
static void choose_places(struct dsv4_case *c, struct attn_lists *lists) {
    const int64_t tokens = lists->tokens;
    const bool odd = dsv4_case_is(c, "lens_given", "odd");
    int64_t end = lists->starts[tokens], first = 0;
    lists->indptr = dsv4_case_alloc(c, (size_t)(tokens + 1) * sizeof *lists->indptr);
    for (int64_t t = 0; t <= tokens; t++) lists->indptr[t] = (int32_t)lists->starts[t];
    for (int64_t t = 0; odd && t < tokens; t++) {
        if (t + 1 < tokens && lists->lens[t] > 0) continue;
        const int64_t base = end - (lists->starts[t + 1] - lists->starts[first]);
        for (int64_t i = first; i <= t; i++)
            lists->indptr[i] = (int32_t)(base + lists->starts[i] - lists->starts[first]);
        if (t + 1 == tokens)
            lists->indptr[tokens] = lists->lens[t] > 0 ? (int32_t)end : (int32_t)base;
        end = base;
        first = t + 1;
    }
}

/* Bytes between the pages, or rows, of wide views: other ones in each cache. */
static int64_t page_gap(const struct attn_lists *lists, const char *prefix) {
    return !lists->paged ? 64 : prefix[0] == '\0' ? 576 : 1152;
}

int attn_lists_make(struct dsv4_case *c, struct attn_lists *lists, const char *prefix,
                    struct dsv4_err *err) {
    char name[64];
    snprintf(name, sizeof name, "%slens", prefix);
    lists->present = strcmp(dsv4_case_word(c, name), "none") != 0;
    if (!lists->present) return 0;
    lists->stream = prefix[0] == '\0' ? 0 : 1;
    lists->tokens = dsv4_case_int(c, "tokens");
    lists->n_pool = int_of(c, prefix, "pool");
    lists->width = lists->room = int_of(c, prefix, "room");
    lists->block_size = lists->paged ? int_of(c, prefix, "block_size") : 1;
    lists->lens = attn_lengths(c, name, lists->tokens, STREAM_LENS + lists->stream, err);
    if (lists->lens == NULL) return -1;
    lists->starts = dsv4_case_alloc(c, (size_t)(lists->tokens + 1) * sizeof *lists->starts);
    for (int64_t t = 0; t < lists->tokens; t++) {
        lists->starts[t + 1] = lists->starts[t] + lists->lens[t];
        lists->width = lists->lens[t] > lists->width ? lists->lens[t] : lists->width;
    }
    lists->entries =
        dsv4_case_alloc(c, (size_t)(lists->starts[lists->tokens] + 1) * sizeof *lists->entries);
    const bool interleaved =
        lists->paged && strcmp(word_of(c, prefix, "layout"), "interleaved") == 0;
    const int64_t bytes =
        lists->paged ? kv_page_bytes(interleaved, lists->block_size) : 2 * KV_HEAD;
    const int64_t gap = dsv4_case_is(c, "view", "wide") ? page_gap(lists, prefix) : 0;
    if (choose_blocks(c, lists, bytes + gap, err) != 0) return -1;
    choose_pool(c, lists);
    choose_entries(c, lists);
    choose_places(c, lists);
    return 0;
}

int64_t attn_valid(const struct attn_lists *lists, int64_t token) {
    int64_t n = 0;
    for (int64_t i = 0; lists->present && i < lists->lens[token]; i++) {
        const int32_t entry = lists->entries[lists->starts[token] + i];
        n += entry >= 0 && entry < lists->n_rows;
    }
    return n;
}

/* ---- tensors ---- */

void attn_widen(struct dsv4_case *c, size_t slot, int dim, int64_t bytes) {
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, slot, dim, bytes);
}

void attn_shape_source(struct dsv4_case *c, size_t first_slot, const struct attn_lists *lists,
                       const char *prefix) {
    const size_t rows = first_slot, indices = first_slot + 1, lens = first_slot + 2,
                 indptr = first_slot + 3;
    const int64_t spare = dsv4_case_int(c, "spare");
    for (size_t slot = rows; slot <= indptr; slot++) dsv4_absent(c, slot);
    if (!lists->present) return;
    if (lists->paged) {
        const char *const layout = word_of(c, prefix, "layout");
        const bool interleaved = strcmp(layout, "interleaved") == 0;
        DSV4_SHAPE(c, rows, DSV4_U8, lists->n_blocks,
                   kv_page_bytes(interleaved, lists->block_size));
        c->tensors[rows].t.layout = interleaved ? "interleaved" : "planar";
        attn_widen(c, rows, 0, page_gap(lists, prefix));
    } else {
        DSV4_SHAPE(c, rows, DSV4_BF16, lists->n_rows, KV_HEAD);
        attn_widen(c, rows, 0, page_gap(lists, prefix));
    }
    if (lists->live != NULL) dsv4_live_rows(c, rows, lists->live, lists->n_live);
    if (dsv4_case_is(c, "form", "ragged")) {
        const int64_t used = lists->starts[lists->tokens];
        DSV4_SHAPE(c, indices, DSV4_I32, (used > lists->room ? used : lists->room) + spare);
        DSV4_SHAPE(c, indptr, DSV4_I32, lists->tokens + 1);
    } else {
        DSV4_SHAPE(c, indices, DSV4_I32, lists->tokens, lists->width + spare);
        attn_widen(c, indices, 0, 16);
        attn_spread(c, indices);
        if (!dsv4_case_is(c, "lens_given", "no")) DSV4_SHAPE(c, lens, DSV4_I32, lists->tokens);
    }
}

/* What rows are made of: 448 codes under 7 scale bytes, or 512 values. */
struct recipe {
    uint64_t key, stream;
    char codes;
    bool ocp;
};

/* One row. `id` picks its contents; opposite rows have one id and different signs. */
struct row {
    int64_t id;
    bool attended, negative, nan;
};

static struct row row_at(const struct attn_lists *lists, const struct recipe *recipe, int64_t row) {
    const int64_t number = lists->attended[row] - 1;
    const bool pair = recipe->codes == 'x';
    return (struct row){
        .id = pair && number >= 0 ? number & ~INT64_C(1) : row,
        .attended = number >= 0,
        .negative = pair && number % 2 != 0,
        .nan = recipe->codes == '?' && row % 2 == 0,
    };
}

static float plain_value(const struct recipe *recipe, const struct row *row, int i) {
    const uint64_t id = (uint64_t)row->id << 10 | (uint64_t)i;
    const uint64_t bits = dsv4_random(recipe->key, recipe->stream, id);
    if (recipe->codes == 'c') return (float)((int)(bits >> 40 & 15) - 8) / 4.0f;
    if (recipe->codes == 'l') return ldexpf(dsv4_normal(bits), (int)(bits >> 32 & 63) - 16);
    if (recipe->codes != 'x') return dsv4_normal(bits);
    const float value = dsv4_normal(bits) * (1.0f / (float)(1 << (bits % 23)));
    return row->negative ? -value : value;
}

static uint16_t bf16_of(const struct recipe *recipe, const struct row *row, int i) {
    if (!row->attended || (row->nan && i % 29 == 3)) return 0xFFFF;
    return dsv4_bf16_from_f32(plain_value(recipe, row, i));
}

static uint8_t code_of(const struct recipe *recipe, const struct row *row, int i) {
    const uint64_t id = (uint64_t)row->id << 10 | (uint64_t)i;
    const uint64_t bits = dsv4_random(recipe->key, recipe->stream + 1, id);
    /* coarse: codes of magnitude 64 .. 176 and both signs, which a scale of 2^-7 makes 0.5 .. 1.4 */
    uint8_t code =
        recipe->codes == 'c' ? (uint8_t)(0x68 | (bits >> 40 & 0x87)) : (uint8_t)(bits >> 30);
    if (!row->attended || (row->nan && i % 29 == 3)) return recipe->ocp ? 0x7F : 0x80;
    if (recipe->ocp && (code & 0x7F) == 0x7F) code ^= 1;
    if (row->negative) code ^= 0x80;
    return !recipe->ocp && (code & 0x7F) == 0 ? 0 : code;
}

static uint8_t scale_of(const struct recipe *recipe, const struct row *row, int g) {
    const uint64_t id = (uint64_t)row->id << 10 | (uint64_t)g;
    const uint64_t bits = dsv4_random(recipe->key, recipe->stream + 2, id);
    if (!row->attended) return 0xFF;
    switch (recipe->codes) {
    case 'c': return 120;
    case 'w': return (uint8_t)(115 + dsv4_below(bits, 10));
    case 'l': return (uint8_t)(105 + dsv4_below(bits, 81));
    case 'x': return (uint8_t)(103 + dsv4_below(bits, 23));
    default: return (uint8_t)(118 + dsv4_below(bits, 3) + !recipe->ocp);
    }
}

static void fill_page_row(const struct recipe *recipe, const struct row *row, unsigned char *data,
                          unsigned char *scales) {
    for (int i = 0; i < KV_NOPE; i++) data[i] = code_of(recipe, row, i);
    for (int i = 0; i < KV_ROPE; i++) {
        const uint16_t value = bf16_of(recipe, row, i);
        memcpy(data + KV_NOPE + 2 * i, &value, sizeof value);
    }
    for (int g = 0; g < KV_GROUPS; g++) scales[g] = scale_of(recipe, row, g);
    scales[KV_GROUPS] = row->attended ? 0 : 0xFF;
}

static struct recipe recipe_of(const struct dsv4_case *c, const struct attn_lists *lists,
                               const char *prefix) {
    const char *const codes = dsv4_case_word(c, "codes");
    return (struct recipe){
        .key = c->seed,
        .stream = STREAM_CODES + 5 * lists->stream,
        .codes = strcmp(codes, "cancel") == 0 ? 'x'
                 : strcmp(codes, "nan") == 0  ? '?'
                                              : codes[0],
        .ocp = lists->paged && strcmp(word_of(c, prefix, "fp8"), "ocp") == 0,
    };
}

static void fill_rows(const struct dsv4_case *c, size_t slot, const struct attn_lists *lists,
                      const char *prefix) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const bool interleaved = strcmp(t->layout, "interleaved") == 0;
    const struct recipe recipe = recipe_of(c, lists, prefix);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < lists->n_live; b++) {
        const int64_t block = lists->live != NULL ? lists->live[b] : b;
        unsigned char *const page = (unsigned char *)t->data + block * t->stride[0];
        if (lists->paged) memset(page, 0xA5, (size_t)t->shape[1]);
        for (int64_t j = 0; j < lists->block_size; j++) {
            const struct row row = row_at(lists, &recipe, b * lists->block_size + j);
            if (lists->paged)
                fill_page_row(&recipe, &row, page + kv_data_offset(interleaved, j),
                              page + kv_scale_offset(interleaved, lists->block_size, j));
            for (int i = 0; !lists->paged && i < KV_HEAD; i++)
                ((uint16_t *)(void *)page)[i] = bf16_of(&recipe, &row, i);
        }
    }
}

/* Stale entries look valid, and lead to rows of NaN or out of the cache; of engines that test the range, just out of it. */
static int32_t stale_entry(const struct dsv4_case *c, const struct attn_lists *lists, int64_t i) {
    const int64_t n = lists->n_live * lists->block_size;
    const bool ranged = dsv4_case_is(c, "invalid", "range");
    const int32_t last = ranged ? (int32_t)lists->n_rows : -1;
    const int32_t beyond[] = {INT32_MIN, -123456, last, INT32_MAX};
    for (int64_t j = 0; i % 3 != 0 && j < n; j++) {
        const int64_t row =
            (dsv4_below(dsv4_random(c->seed, STREAM_ORDER + 5, (uint64_t)i), n) + j) % n;
        if (!lists->attended[row]) return (int32_t)row_in_live_order(lists, row);
    }
    return beyond[i / 3 % 4];
}

/* A length that counts as `n` where a row has `width` columns. */
static int32_t odd_length(int64_t n, int64_t width, int64_t t) {
    if (n == 0) return t % 2 == 0 ? -1 : INT32_MIN;
    return n < width ? (int32_t)n : t % 2 == 0 ? (int32_t)width + 1 : INT32_MAX;
}

static void fill_ragged(const struct dsv4_case *c, const dsv4_tensor *indices,
                        const dsv4_tensor *indptr, const struct attn_lists *lists) {
    int32_t *const flat = indices->data;
    memcpy(indptr->data, lists->indptr, (size_t)(lists->tokens + 1) * sizeof *lists->indptr);
    for (int64_t i = lists->starts[lists->tokens]; i < indices->shape[0]; i++)
        flat[i] = stale_entry(c, lists, i);
    for (int64_t t = 0; t < lists->tokens; t++)
        for (int64_t i = 0; i < lists->lens[t]; i++)
            flat[lists->indptr[t] + i] = lists->entries[lists->starts[t] + i];
}

static void fill_lists(const struct dsv4_case *c, size_t first_slot,
                       const struct attn_lists *lists) {
    const dsv4_tensor *const indices = &c->tensors[first_slot + 1].t;
    const dsv4_tensor *const lens = &c->tensors[first_slot + 2].t;
    const dsv4_tensor *const indptr = &c->tensors[first_slot + 3].t;
    const bool odd = dsv4_case_is(c, "lens_given", "odd");
    if (indptr->ndim > 0) {
        fill_ragged(c, indices, indptr, lists);
        return;
    }
    for (int64_t t = 0; t < lists->tokens; t++) {
        int32_t *const row = (void *)((char *)indices->data + t * indices->stride[0]);
        const int64_t n = lists->lens[t];
        if (lens->ndim > 0)
            ((int32_t *)lens->data)[t] = odd ? odd_length(n, indices->shape[1], t) : (int32_t)n;
        for (int64_t i = 0; i < indices->shape[1]; i++) {
            row[i] = i < n ? lists->entries[lists->starts[t] + i]
                           : stale_entry(c, lists, t * indices->shape[1] + i);
            if (i >= n && lens->ndim == 0) row[i] = -1;
        }
    }
}

void attn_fill_source(const struct dsv4_case *c, size_t first_slot, const struct attn_lists *lists,
                      const char *prefix) {
    if (!lists->present) return;
    fill_rows(c, first_slot, lists, prefix);
    fill_lists(c, first_slot, lists);
}
