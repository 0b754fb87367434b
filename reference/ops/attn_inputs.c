/* SPDX-License-Identifier: Apache-2.0 */
/* Queries, sinks, and what reports and benchmarks say about a token. */
#include <math.h>
#include <stdio.h>

#include "attn_family.h"

enum { STREAM_QUERY = 1, STREAM_SINK = 2 };

int64_t attn_padded_heads(const struct dsv4_case *c) {
    const int64_t heads = dsv4_case_int(c, "heads"), padded = dsv4_case_int(c, "padded_heads");
    return padded > heads ? padded : heads;
}

void attn_shape_query(struct dsv4_case *c, size_t slot) {
    DSV4_SHAPE(c, slot, DSV4_BF16, dsv4_case_int(c, "tokens"), attn_padded_heads(c), KV_HEAD);
    attn_widen(c, slot, 1, 64);
    attn_widen(c, slot, 0, 128);
    attn_spread(c, slot);
}

void attn_spread(struct dsv4_case *c, size_t slot) {
    const int64_t gap = dsv4_case_int(c, "token_gap"), tokens = c->tensors[slot].t.shape[0];
    int64_t *const live = dsv4_case_alloc(c, (size_t)(tokens + 1) * sizeof *live);
    if (gap == 0) return;
    for (int64_t t = 0; t < tokens; t++) live[t] = t;
    dsv4_widen(c, slot, 0, gap * dsv4_dtype_bytes(c->tensors[slot].t.dtype));
    dsv4_live_rows(c, slot, live, tokens);
}

static float query_value(const struct dsv4_case *c, int64_t row, int64_t channel) {
    const uint64_t bits =
        dsv4_random(c->seed, STREAM_QUERY, (uint64_t)row << 10 | (uint64_t)channel);
    switch (dsv4_case_word(c, "scores")[0]) {
    case 'c': return (float)((int)(bits >> 40 & 31) - 16) / 8.0f;
    case 's': return 64.0f * dsv4_normal(bits);
    case 'e': return 0.0f;
    default: return dsv4_normal(bits);
    }
}

void attn_fill_query(const struct dsv4_case *c, size_t slot) {
    const dsv4_tensor *const q = &c->tensors[slot].t;
    const int64_t heads = dsv4_case_int(c, "heads"), zero = dsv4_case_int(c, "zero_heads");
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h < q->shape[1]; h++) {
            uint16_t *const row = (void *)((char *)q->data + t * q->stride[0] + h * q->stride[1]);
            for (int64_t d = 0; d < KV_HEAD; d++) {
                const float value = query_value(c, t * q->shape[1] + h, d);
                row[d] = h >= heads          ? 0xFFFF /* padding: nobody's business */
                         : h >= heads - zero ? 0
                                             : dsv4_bf16_from_f32(value);
            }
        }
}

void attn_shape_sink(struct dsv4_case *c, size_t slot) {
    if (dsv4_case_is(c, "sink", "absent"))
        dsv4_absent(c, slot);
    else
        DSV4_SHAPE(c, slot, DSV4_F32, attn_padded_heads(c));
}

static float sink_value(const struct dsv4_case *c, int64_t h) {
    const float some[] = {-INFINITY, INFINITY, 0.0f, 88.0f, -80.0f, 1e4f};
    const float normal = dsv4_normal(dsv4_random(c->seed, STREAM_SINK, (uint64_t)h));
    const char *const word = dsv4_case_word(c, "sink");
    if (strcmp(word, "mixed") == 0) return h % 7 < 6 ? some[h % 7] : normal;
    return word[0] == 'z' ? 0.0f : word[0] == 'm' ? -INFINITY : word[0] == 'p' ? INFINITY : normal;
}

void attn_fill_sink(const struct dsv4_case *c, size_t slot) {
    const dsv4_tensor *const sink = &c->tensors[slot].t;
    const int64_t heads = dsv4_case_int(c, "heads"), zero = dsv4_case_int(c, "zero_heads");
    if (sink->ndim == 0) return;
    for (int64_t h = 0; h < sink->shape[0]; h++)
        ((float *)sink->data)[h] = h >= heads          ? NAN
                                   : h >= heads - zero ? -INFINITY
                                                       : sink_value(c, h);
}

static void work_of(const struct dsv4_case *c, const struct attn_lists *lists,
                    struct dsv4_work *work) {
    const double heads = (double)dsv4_case_int(c, "heads");
    double keys = 0, rows = 0;
    if (!lists->present) return;
    for (int64_t t = 0; t < lists->tokens; t++) keys += (double)attn_valid(lists, t);
    for (int64_t i = 0; i < lists->n_live * lists->block_size; i++) rows += lists->attended[i] != 0;
    work->bytes_read += 4.0 * (double)lists->starts[lists->tokens] +
                        rows * (lists->paged ? KV_TOKEN_BYTES : 2 * KV_HEAD);
    work->exponentials += keys * heads;
    work->fmas += keys * heads * (double)(2 * KV_HEAD);
}

void attn_work(const struct dsv4_case *c, const struct attn_plan *plan, struct dsv4_work *work) {
    const double rows = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "heads"));
    work->bytes_read += rows * (double)(2 * KV_HEAD);
    work_of(c, &plan->main, work);
    work_of(c, &plan->extra, work);
}

void attn_trace(const struct dsv4_case *c, size_t slot, int64_t offset, size_t sink, char *line,
                size_t size) {
    const struct attn_plan *const plan = attn_plan_of(c);
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const dsv4_tensor *const bias = &c->tensors[sink].t;
    const int64_t t = offset / out->stride[0], h = offset % out->stride[0] / out->stride[1];
    const int64_t listed = (plan->main.present ? plan->main.lens[t] : 0) +
                           (plan->extra.present ? plan->extra.lens[t] : 0);
    const int64_t main = attn_valid(&plan->main, t), extra = attn_valid(&plan->extra, t);
    int n = snprintf(line, size, "token %lld, head %lld: %lld main and %lld extra rows",
                     (long long)t, (long long)h, (long long)main, (long long)extra);
    if (listed > main + extra && n > 0 && (size_t)n < size)
        n += snprintf(line + n, size - (size_t)n, ", %lld entries dropped",
                      (long long)(listed - main - extra));
    if (bias->ndim > 0 && n > 0 && (size_t)n < size)
        snprintf(line + n, size - (size_t)n, "; sink %.9g", (double)((const float *)bias->data)[h]);
}
