/* SPDX-License-Identifier: Apache-2.0 */
#include "kv_compressor.h"

#include <stdio.h>

enum { STATE, APE, TOKEN_TO_REQ, POSITIONS, SLOT_MAPPING, BLOCK_TABLE };

int kv_shape_pool(struct dsv4_case *c, int64_t head, struct dsv4_err *err) {
    const int64_t ratio = dsv4_case_int(c, "ratio"), width = kv_state_width(ratio, head);
    char why[DSV4_TEXT_SIZE];
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL || kv_check_ratio(ratio, head, err) != 0) return -1;
    c->refused = kv_block_size_refused(dsv4_case_is(c, "state", "bf16"),
                                       dsv4_case_is(c, "scale_floor", "scale"), ratio,
                                       dsv4_case_int(c, "state_block_size"), why, sizeof why);
    kv_shape_state(c, STATE, width);
    if (dsv4_case_is(c, "state", "bf16"))
        kv_shape_ape(c, APE, ratio, width);
    else
        dsv4_absent(c, APE);
    kv_shape_rows(c, TOKEN_TO_REQ, DSV4_I32, step->batch.n_rows);
    kv_shape_rows(c, POSITIONS, DSV4_I64, step->batch.n_rows);
    kv_shape_rows(c, SLOT_MAPPING, DSV4_I64, step->n_slots);
    kv_shape_table(c, BLOCK_TABLE, &step->state);
    return 0;
}

void kv_fill_pool(struct dsv4_case *c, int64_t head) {
    const struct kv_step *const step = kv_step_of(c);
    kv_fill_state(c, STATE, kv_state_width(dsv4_case_int(c, "ratio"), head));
    kv_fill_ape(c, APE);
    kv_fill_requests(c, TOKEN_TO_REQ);
    kv_fill_positions(c, POSITIONS);
    kv_fill_slots(c, SLOT_MAPPING, &step->state);
    dsv4_paging_fill(&step->state, &c->tensors[BLOCK_TABLE].t);
}

/* One state row of a request: which compressed row each half goes into follows from the token's position. */
static void overlay_row(struct dsv4_case *c, char *row, int64_t position, int64_t head,
                        int rope_table) {
    const int64_t ratio = dsv4_case_int(c, "ratio"), width = kv_state_width(ratio, head);
    const bool f32 = c->tensors[STATE].t.dtype == DSV4_F32;
    float wide[KV_ROPE_TABLE_ROW];
    for (int64_t d = 0; d < width; d++) {
        const int64_t i = d % head, rope = i - (head - KV_ROPE);
        const int64_t window = position / ratio * ratio + (d < head && width > head ? ratio : 0);
        float x;
        if (rope_table >= 0) {
            const dsv4_tensor *const table = &c->tensors[rope_table].t;
            if (rope < 0 || !kv_rope_is_live(c, (size_t)rope_table, window)) continue;
            x = kv_rope_angle(table, window, wide)[rope / 2 + (rope % 2 == 0 ? KV_ROPE / 2 : 0)];
        } else {
            if (position % ratio != 0 && position % ratio != ratio - 1) continue;
            x = (float)(1 + i % 5) * (position % ratio == 0 ? 0x1p24f : -0x1p24f);
        }
        if (f32)
            ((float *)(void *)row)[d] = x;
        else
            ((uint16_t *)(void *)row)[d] = dsv4_bf16_from_f32(x);
    }
}

void kv_fill_overlay(struct dsv4_case *c, int64_t head, int rope_table) {
    const struct kv_step *const step = kv_step_of(c);
    const dsv4_tensor *const state = &c->tensors[STATE].t;
    const int64_t window = kv_pool_rows(dsv4_case_int(c, "ratio"));
    if (dsv4_case_is(c, "overlay", "none")) return;
    if (dsv4_case_is(c, "overlay", "cancel")) rope_table = -1;
    for (int64_t r = 0; r < step->batch.n_requests; r++) {
        const struct dsv4_request *const request = &step->batch.requests[r];
        int64_t q = request->context - window + 1;
        for (q = q < 0 ? 0 : q; q < request->context + request->query; q++) {
            const int64_t slot = dsv4_paging_slot(&step->state, r, q);
            overlay_row(c,
                        (char *)state->data + slot / state->shape[1] * state->stride[0] +
                            slot % state->shape[1] * state->stride[1],
                        q, head, rope_table);
        }
    }
}

bool kv_refuse(const dsv4_call *call, struct dsv4_err *err) {
    const dsv4_tensor *const state = dsv4_find(call, "state");
    return kv_block_size_refused(state->dtype == DSV4_BF16, dsv4_is(call, "scale_floor", "scale"),
                                 dsv4_int(call, "ratio", 4), state->shape[1], err->text,
                                 sizeof err->text);
}

double kv_pool_work(const struct dsv4_case *c, double head, struct dsv4_work *work) {
    const struct kv_step *const step = kv_step_of(c);
    const int64_t ratio = dsv4_case_int(c, "ratio");
    double pooled = 0, rows = 0;
    for (int64_t t = 0; t < step->n_slots && t < step->batch.n_tokens; t++) {
        const int64_t position = step->batch.positions[t];
        if ((position + 1) % ratio != 0) continue;
        const int64_t window = kv_pool_rows(ratio);
        pooled += 1;
        rows += (double)(position + 1 < window ? position + 1 : window);
    }
    work->bytes_read = rows * head * 2 * (double)dsv4_dtype_bytes(c->tensors[STATE].t.dtype) +
                       (double)step->n_slots * 16;
    work->exponentials = rows * head;
    work->fmas = rows * head * 2;
    return pooled;
}

int kv_trace_window(const struct dsv4_case *c, int64_t t, char *line, size_t size) {
    const struct dsv4_batch *const batch = &kv_step_of(c)->batch;
    line[0] = '\0';
    if (t < 0 || t >= batch->n_rows) return 0;
    const int64_t rows = kv_pool_rows(dsv4_case_int(c, "ratio")), position = batch->positions[t];
    const int64_t first = position - rows + 1;
    return snprintf(line, size, "row %lld (request %d, position %lld): window %lld..%lld",
                    (long long)t, (int)batch->token_to_req[t], (long long)position,
                    (long long)(first > 0 ? first : 0), (long long)position);
}

int kv_shape_store(struct dsv4_case *c, size_t first, int64_t head, struct dsv4_err *err) {
    const int64_t ratio = dsv4_case_int(c, "ratio");
    kv_shape_rows(c, first, DSV4_I64, kv_step_of(c)->batch.n_rows);
    kv_shape_weight(c, first + 1, head);
    if (kv_shape_rope(c, first + 2, kv_table_dtype(c), ratio, err) != 0) return -1;
    kv_shape_cache(c, first + 3, kv_form(c), ratio, 1);
    return 0;
}

void kv_fill_store(struct dsv4_case *c, size_t first) {
    kv_fill_compressed_slots(c, first, dsv4_case_int(c, "ratio"));
    kv_fill_weight(c, first + 1);
    dsv4_rope_fill(c, first + 2, DSV4_ROPE_COMPRESSED);
}

void kv_fill_active(const struct dsv4_case *c, size_t slot) {
    const struct kv_step *const step = kv_step_of(c);
    int64_t *const slots = c->tensors[slot].t.data;
    for (int64_t t = 0; t < step->n_slots; t++) slots[t] = t < step->batch.n_tokens ? 5 + t : -1;
}

void kv_finish_open(struct kv_finish *finish, const dsv4_call *call, enum kv_wrong wrong) {
    kv_store_open(&finish->store, call, dsv4_find(call, "cache"), wrong);
    finish->kv_slots = dsv4_find(call, "kv_slot_mapping");
    finish->rope_table = dsv4_find(call, "rope_table");
    kv_load_weight(finish->weight, dsv4_find(call, "weight"));
    finish->eps = dsv4_float(call, "eps", 1e-6f);
    finish->ratio = dsv4_int(call, "ratio", 4);
    finish->head = kv_store_head(finish->store.form);
    finish->wrong = wrong;
}

bool kv_finishes(const struct kv_finish *finish, int64_t slot, int64_t t, int64_t position) {
    if (finish->wrong == KV_EVERY_TOKEN) return slot >= 0;
    if (!kv_boundary(slot, position, finish->ratio, finish->wrong)) return false;
    return finish->wrong == KV_PADDING_WRITES || kv_i64(finish->kv_slots, t) >= 0;
}

/* Norm and RoPE: pooled values to the fp32 values that are quantised. */
static void finish_values(const struct kv_finish *finish, float *values, int64_t position) {
    const enum kv_wrong wrong = finish->wrong;
    const int64_t first = position / finish->ratio * finish->ratio;
    float wide[KV_ROPE_TABLE_ROW];
    kv_norm(values, finish->head, finish->eps, finish->weight, wrong);
    for (int64_t i = 0; wrong == KV_NORM_ROUNDED && i < finish->head; i++)
        values[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(values[i]));
    const int64_t turned = wrong == KV_ROPE_TOKEN_POSITION ? position : first;
    const float *const angle = wrong == KV_TABLE_AS_F32
                                   ? kv_rope_angle_as_f32(finish->rope_table, turned, wide)
                                   : kv_rope_angle(finish->rope_table, turned, wide);
    kv_rope(values, finish->head, angle, wrong);
}

void kv_finish_row(const struct kv_finish *finish, float *values, int64_t t, int64_t position) {
    const int64_t slot = kv_i64(finish->kv_slots, t);
    finish_values(finish, values, position);
    kv_store_row(&finish->store, values, slot >= 0 ? slot : 0);
}

void kv_trace_finish(const struct dsv4_case *c, size_t slot, int64_t offset, int64_t t,
                     float *pooled, char *line, size_t size) {
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param values[DSV4_MAX_PARAMS];
    struct kv_finish finish;
    dsv4_call call;
    dsv4_case_call(c, &call, tensors, values);
    kv_finish_open(&finish, &call, KV_RIGHT);
    finish_values(&finish, pooled, kv_step_of(c)->batch.positions[t]);
    kv_trace_group(c, slot, offset, pooled, line, size);
}
