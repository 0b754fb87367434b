/* SPDX-License-Identifier: Apache-2.0 */
/* The step that an index op runs in. */
#include "idx_family.h"

#include <stdlib.h>

enum { FAR_BYTES = (1 << 30) + 64 };

int idx_step_make(struct dsv4_case *c, struct dsv4_err *err) {
    struct idx_step *const step = dsv4_case_alloc(c, sizeof *step);
    c->plan = step;
    step->first = dsv4_case_int(c, "first_token");
    return dsv4_batch_make(c, &step->batch, err);
}

void idx_step_page(struct dsv4_case *c, int64_t block_size, int64_t ratio, int64_t window,
                   int64_t page_bytes) {
    struct idx_step *const step = idx_step_of(c);
    const struct dsv4_paging_rule rule = {.stream = 1,
                                          .block_size = block_size,
                                          .ratio = ratio,
                                          .window = window,
                                          .page_bytes = page_bytes,
                                          .element_bytes = 1};
    dsv4_paging_make(c, &step->paging, &step->batch, &rule);
}

void idx_shape_rows(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t n) {
    DSV4_SHAPE(c, slot, dtype, n);
    c->tensors[slot].align = dsv4_dtype_bytes(dtype);
}

void idx_shape_matrix(struct dsv4_case *c, size_t slot, int64_t rows, int64_t width,
                      int64_t extra) {
    DSV4_SHAPE(c, slot, DSV4_I32, rows, width);
    c->tensors[slot].align = width % 4 == 0 ? 16 : 4;
    if (dsv4_case_is(c, "view", "far") && c->tensors[slot].role == DSV4_OUT) {
        int64_t *const live = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *live);
        for (int64_t i = 0; i < rows; i++) live[i] = i;
        dsv4_widen(c, slot, 0, FAR_BYTES);
        dsv4_live_rows(c, slot, live, rows);
    }
    if (!dsv4_case_is(c, "view", "wide")) return;
    dsv4_widen(c, slot, 0, extra * 4);
    c->tensors[slot].align = (width + extra) % 4 == 0 ? 16 : 4;
}

void idx_shape_table(struct dsv4_case *c, size_t slot) {
    const struct dsv4_paging *const paging = &idx_step_of(c)->paging;
    idx_shape_matrix(c, slot, paging->n_requests, paging->width, 5);
    c->tensors[slot].align = 4;
}

void idx_fill_query_start(const struct dsv4_case *c, size_t slot) {
    const struct idx_step *const step = idx_step_of(c);
    int32_t *const starts = c->tensors[slot].t.data;
    int64_t t = step->first;
    starts[0] = (int32_t)t;
    for (int64_t r = 0; r < step->batch.n_requests; r++) {
        t += step->batch.requests[r].query;
        starts[r + 1] = (int32_t)t;
    }
}

void idx_fill_seq_lens(const struct dsv4_case *c, size_t slot) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    memcpy(c->tensors[slot].t.data, batch->seq_lens,
           (size_t)batch->n_requests * sizeof *batch->seq_lens);
}

void idx_fill_short_seq_lens(const struct dsv4_case *c, size_t slot) {
    int32_t *const lens = c->tensors[slot].t.data;
    const int64_t less = dsv4_case_int(c, "short_by");
    idx_fill_seq_lens(c, slot);
    for (int64_t r = 0; r < c->tensors[slot].t.shape[0]; r++)
        lens[r] = (int32_t)idx_max(lens[r] - less, 0);
}

/* What an earlier step left in a token's row: a request that exists. */
static int32_t stale_request(const struct dsv4_case *c, int64_t t) {
    const int64_t requests = idx_step_of(c)->batch.n_requests;
    const uint64_t bits = dsv4_random(c->seed, IDX_STREAM_STALE, (uint64_t)t);
    return (int32_t)dsv4_below(bits, idx_max(requests, 1));
}

void idx_fill_token_to_req(const struct dsv4_case *c, size_t slot) {
    const struct idx_step *const step = idx_step_of(c);
    const dsv4_tensor *const t = &c->tensors[slot].t;
    for (int64_t i = 0; i < t->shape[0]; i++) {
        const int64_t token = i - step->first;
        const bool real = token >= 0 && token < step->batch.n_tokens;
        ((int32_t *)t->data)[i] = real ? step->batch.token_to_req[token] : stale_request(c, i);
    }
}

bool idx_token_is_valid(const struct dsv4_case *c, int64_t t) {
    const struct idx_step *const step = idx_step_of(c);
    const int64_t every = dsv4_case_int(c, "invalid_every"), token = t - step->first;
    return token >= 0 && token < step->batch.n_tokens && (every == 0 || token % every != every - 1);
}

void idx_fill_valid(const struct dsv4_case *c, size_t slot) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    for (int64_t i = 0; i < t->shape[0]; i++)
        ((uint8_t *)t->data)[i] = idx_token_is_valid(c, i) ? 1 : 0;
}

void idx_fill_positions(const struct dsv4_case *c, size_t slot) {
    const struct idx_step *const step = idx_step_of(c);
    const dsv4_tensor *const t = &c->tensors[slot].t;
    for (int64_t i = 0; i < t->shape[0]; i++) {
        const int64_t token = i - step->first;
        ((int64_t *)t->data)[i] =
            token >= 0 && token < step->batch.n_rows ? step->batch.positions[token] : 127;
    }
}

void idx_fill_stale_positions(const struct dsv4_case *c, size_t slot, size_t requests) {
    const struct idx_step *const step = idx_step_of(c);
    int64_t *const positions = c->tensors[slot].t.data;
    idx_fill_positions(c, slot);
    for (int64_t t = 0; t < c->tensors[slot].t.shape[0]; t++) {
        const int64_t token = t - step->first, r = idx_at(&c->tensors[requests].t, t);
        if (token < 0 || token >= step->batch.n_tokens)
            positions[t] = r < step->batch.n_requests ? step->batch.seq_lens[r] - 1 : -1;
    }
}

void idx_fill_positions_before(const struct dsv4_case *c, size_t slot) {
    const struct idx_step *const step = idx_step_of(c);
    int64_t *const positions = c->tensors[slot].t.data;
    for (int64_t t = 0; dsv4_case_int(c, "before") != 0 && t < c->tensors[slot].t.shape[0]; t++)
        if (t < step->first || t >= step->first + step->batch.n_tokens)
            positions[t] = -1 - t % 3 * 129;
}

void idx_fill_table(const struct dsv4_case *c, size_t slot) {
    dsv4_paging_fill(&idx_step_of(c)->paging, &c->tensors[slot].t);
}

int64_t idx_slot(const dsv4_tensor *table, int64_t request, int64_t row, int64_t block_size) {
    const int64_t page = row / block_size;
    if (request < 0 || request >= table->shape[0] || row < 0 || page >= table->shape[1]) return -1;
    return idx_at2(table, request, page) * block_size + row % block_size;
}

int64_t idx_request_of(const dsv4_tensor *query_start_loc, int64_t t) {
    int64_t low = 0, high = query_start_loc->shape[0] - 1;
    if (t < idx_at(query_start_loc, 0) || t >= idx_at(query_start_loc, high)) return -1;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (idx_at(query_start_loc, middle) <= t)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int32_t *idx_lengths(struct dsv4_case *c, const char *name, int64_t n, struct dsv4_err *err) {
    const char *const text = dsv4_case_word(c, name);
    int32_t *const lengths = dsv4_case_alloc(c, (size_t)(n + 1) * sizeof *lengths);
    const char *at = text;
    for (int64_t i = 0; i < n; i++) {
        const bool draw = *at == '~';
        char *end = NULL;
        const int64_t value = strtoll(at + draw, &end, 10);
        if (end == at + draw || (*end != ',' && *end != '\0') || value != (int32_t)value) {
            dsv4_fail(err, "%s: '%s' is not a list of lengths like 128,0,~64", name, text);
            return NULL;
        }
        const uint64_t bits = dsv4_random(c->seed, IDX_STREAM_STALE + 1, (uint64_t)i);
        lengths[i] = (int32_t)(draw ? dsv4_below(bits, value + 1) : value);
        at = *end == ',' ? end + 1 : text;
    }
    return lengths;
}

void idx_fill_topk(const struct dsv4_case *c, int32_t *row, int64_t t, int64_t request,
                   int64_t width, int64_t ratio, bool holes) {
    const struct idx_step *const step = idx_step_of(c);
    const int64_t token = t - step->first, requests = step->batch.n_requests;
    const bool real = token >= 0 && token < step->batch.n_tokens;
    const int64_t last = request < requests ? step->batch.seq_lens[request] : 0;
    const int64_t n = (real ? step->batch.positions[token] + 1 : last) / ratio;
    for (int64_t k = 0; k < width; k++) {
        const uint64_t bits = dsv4_random(c->seed, IDX_STREAM_TOPK, (uint64_t)(t * width + k));
        row[k] = (int32_t)(n > width ? dsv4_below(bits, n) : k < n ? k : -1);
        if (holes && k % 5 == 3) row[k] = -1;
    }
}
