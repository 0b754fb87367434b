/* SPDX-License-Identifier: Apache-2.0 */
#include "travel.h"

#include <math.h>
#include <stdio.h>

#include "../reference/memory.h"
#include "../reference/num/bf16.h"
#include "suspect.h"

enum { MAX_LINES = 24 };

struct walk {
    struct dsv4_travel *travel;
    struct dsv4_result *results;
    struct dsv4_runner *r, *reference;
    const struct dsv4_chain *golden;
    const struct dsv4_judge *judge;
    struct dsv4_vector *own; /* as the golden vectors, with the plug-in's bytes where they differ */
    const struct dsv4_vector **feeds;
    size_t call; /* the one that runs */
    bool taken;  /* its outputs are in own[call] */
    size_t n_lines, n_hidden;
};

/* ---- how much ---- */

/* The value of an element that is a number as it stands; false: its dtype is counted only. */
static bool value_at(uint32_t dtype, const unsigned char *bytes, double *value) {
    float f;
    uint16_t half;
    if (dtype == DSV4_F32) {
        memcpy(&f, bytes, sizeof f);
    } else if (dtype == DSV4_BF16) {
        memcpy(&half, bytes, sizeof half);
        f = dsv4_bf16_to_f32(half);
    } else {
        return false;
    }
    *value = (double)f;
    return true;
}

bool dsv4_travel_extent(char *text, size_t size, const struct dsv4_case_tensor *tensor,
                        const unsigned char *got, const unsigned char *want) {
    const size_t bytes = (size_t)dsv4_dtype_bytes(tensor->t.dtype);
    const int64_t n = dsv4_packed_bytes(tensor) / (int64_t)bytes;
    int64_t wrong = 0;
    double largest = 0, a = 0, b = 0;
    bool is_number = false, is_nan = false;
    for (int64_t i = 0; i < n; i++) {
        const size_t at = (size_t)i * bytes;
        if (memcmp(got + at, want + at, bytes) == 0) continue;
        wrong++;
        is_number =
            value_at(tensor->t.dtype, got + at, &a) && value_at(tensor->t.dtype, want + at, &b);
        if (isnan(a) != isnan(b)) is_nan = true;
        if (fabs(a - b) > largest) largest = fabs(a - b);
    }
    if (wrong == 0) return false;
    int used = snprintf(text, size, "%lld of %lld %s", (long long)wrong, (long long)n,
                        tensor->t.dtype == DSV4_U8 ? "bytes" : "values");
    if (is_number && (size_t)used < size)
        used += snprintf(text + used, size - (size_t)used, ", largest difference %.6g", largest);
    if (is_nan && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, ", NaN among them");
    return true;
}

/* ---- what the plug-in left ---- */

/* Keeps the outputs where they differ from the golden ones. */
static void take(void *context, const struct dsv4_arena *got) {
    struct walk *const w = context;
    const struct dsv4_vector *const golden = &w->golden->vectors[w->call];
    for (size_t s = 0; s < golden->c.op->n_slots; s++) {
        const struct dsv4_case_tensor *const tensor = &golden->c.tensors[s];
        const struct dsv4_vector_tensor *const want = &golden->tensors[s];
        const int64_t bytes = dsv4_packed_bytes(tensor);
        if (want->out == NULL) continue;
        unsigned char *const out = dsv4_alloc((size_t)bytes);
        dsv4_pack(out, tensor, got->base + tensor->offset);
        for (int64_t i = 0; i < bytes && want->keep != NULL && want->in == NULL; i++)
            if (want->keep[i] != 0) out[i] = 0;
        unsigned char **const own = &w->own[w->call].tensors[s].out;
        if (*own != want->out) dsv4_free(*own);
        *own = want->out;
        if (bytes > 0 && memcmp(out, want->out, (size_t)bytes) != 0)
            *own = out;
        else
            dsv4_free(out);
    }
    w->taken = true;
}

static void release(struct walk *w) {
    for (size_t i = 0; i < w->golden->n; i++)
        for (size_t s = 0; s < DSV4_MAX_TENSORS; s++) {
            const struct dsv4_vector_tensor *const golden = &w->golden->vectors[i].tensors[s];
            struct dsv4_vector_tensor *const own = &w->own[i].tensors[s];
            if (own->in != golden->in) dsv4_free(own->in);
            if (own->out != golden->out) dsv4_free(own->out);
        }
    dsv4_free(w->own);
    dsv4_free(w->feeds);
}

/* Gives the call what earlier ones left. true: that differs from the golden inputs. */
static bool feed(struct walk *w) {
    const struct dsv4_vector *const golden = &w->golden->vectors[w->call];
    struct dsv4_vector_tensor given[DSV4_MAX_TENSORS] = {0};
    bool tainted = false;
    dsv4_chain_given(given, w->golden->layer, w->call, &golden->c, w->feeds);
    for (size_t s = 0; s < golden->c.op->n_slots; s++) {
        const size_t bytes = (size_t)dsv4_packed_bytes(&golden->c.tensors[s]);
        if (given[s].in == NULL) continue;
        if (bytes == 0 || memcmp(given[s].in, golden->tensors[s].in, bytes) == 0) {
            dsv4_free(given[s].in);
            continue;
        }
        w->own[w->call].tensors[s].in = given[s].in;
        tainted = true;
    }
    return tainted;
}

/* ---- runs ---- */

/* The reference on what the plug-in left before: as far as an error travels through an op that the plug-in lacks. It
 * runs where a crash costs nothing. */
static void bridge(struct walk *w, const struct dsv4_vector *given) {
    struct dsv4_arena a;
    struct dsv4_err err = {0};
    if (dsv4_arena_open(&a, &given->c, &err) != 0) return;
    if (dsv4_suspect_run(w->reference, &a, given, w->judge->poison, 0) == DSV4_OK) take(w, &a);
    dsv4_arena_close(&a);
}

/* Runs the call on tainted inputs; its answer, if there is one, is taken. */
static void run_tainted(struct walk *w) {
    const struct dsv4_layer_call *const call = &w->golden->layer->calls[w->call];
    struct dsv4_result scratch = {0};
    struct dsv4_judge judge = *w->judge;
    const struct dsv4_vector given = w->own[w->call];
    judge.suspects = NULL;
    judge.dump = NULL;
    judge.repeat = 1;
    judge.take = take;
    judge.context = w;
    dsv4_judge_call(&scratch, w->r, &given, &call->s, &judge);
    if (!w->taken && scratch.verdict == DSV4_DECLINED) bridge(w, &given);
    if (!w->taken)
        dsv4_notes_add(&w->results[w->call].notes, "inherits", "on what the ops before it left: %s",
                       scratch.message);
    dsv4_result_free(&scratch);
}

static void judge_golden(struct walk *w, bool is_own) {
    const struct dsv4_layer_call *const call = &w->golden->layer->calls[w->call];
    struct dsv4_judge judge = *w->judge;
    judge.take = is_own ? take : NULL;
    judge.context = w;
    if (w->travel->first < w->golden->n) judge.suspects = NULL; /* the first failure explains */
    dsv4_judge_call(&w->results[w->call], w->r, &w->golden->vectors[w->call], &call->s, &judge);
}

/* ---- words ---- */

/* A line for each tensor of the call that differs: where the error has travelled to. */
static void note_damage(struct walk *w, const char *remark) {
    const struct dsv4_layer *const layer = w->golden->layer;
    const struct dsv4_layer_call *const call = &layer->calls[w->call];
    const struct dsv4_vector *const golden = &w->golden->vectors[w->call];
    char extent[160];
    for (size_t s = 0; s < golden->c.op->n_slots; s++) {
        const unsigned char *const got = w->own[w->call].tensors[s].out;
        const unsigned char *const want = golden->tensors[s].out;
        const char *const name = golden->c.tensors[s].t.name;
        if (got == want ||
            !dsv4_travel_extent(extent, sizeof extent, &golden->c.tensors[s], got, want))
            continue;
        dsv4_notes_add(&w->results[w->call].notes, "inherits",
                       "on what the ops before it left, `%s` differs in %s", name, extent);
        if (w->n_lines++ < MAX_LINES)
            dsv4_notes_add(&w->results[w->travel->first].notes, "travels",
                           "to step %s, %s: %s/%s: %s%s", layer->steps[call->step], call->node,
                           call->s.op->name, name, extent, remark);
        else
            w->n_hidden++;
    }
}

static bool differs(const struct walk *w) {
    for (size_t s = 0; s < DSV4_MAX_TENSORS; s++)
        if (w->own[w->call].tensors[s].out != w->golden->vectors[w->call].tensors[s].out)
            return true;
    return false;
}

static void note_first(struct walk *w) {
    const struct dsv4_layer *const layer = w->golden->layer;
    const struct dsv4_layer_call *const call = &layer->calls[w->call];
    w->travel->first = w->call;
    dsv4_notes_add(&w->results[w->call].notes, "layer",
                   "the first op of %s that goes wrong: step %s, node %s, row %d of the table",
                   layer->name, layer->steps[call->step], call->node, call->row);
}

/* What the two runs, or the one, say about the call. */
static void conclude(struct walk *w, bool tainted) {
    struct dsv4_result *const result = &w->results[w->call];
    const bool declined = result->verdict == DSV4_DECLINED;
    const bool wrong = result->verdict != DSV4_PASS && !declined;
    if (wrong) w->travel->n_wrong++;
    if (wrong && w->travel->first == w->golden->n) {
        note_first(w);
    } else if (wrong) {
        dsv4_notes_add(&result->notes, "layer",
                       "wrong on golden inputs too, so it is wrong by itself");
        note_damage(w, ", and this op is wrong by itself");
    }
    if (!wrong && tainted && (differs(w) || !w->taken)) {
        w->travel->n_inherit++;
        note_damage(w, declined ? ", through the reference" : "");
    }
    if (declined || !w->taken) {
        w->travel->n_bridged++;
        dsv4_notes_add(&result->notes, "bridged", "the ops after it get %s",
                       w->taken ? "the reference's answer to what the ops before it left"
                                : "the golden answer");
    }
}

static void run_call(struct walk *w) {
    w->taken = false;
    w->feeds[w->call] = &w->own[w->call];
    const bool tainted = feed(w);
    judge_golden(w, !tainted);
    if (tainted) run_tainted(w);
    conclude(w, tainted);
}

void dsv4_travel_judge(struct dsv4_travel *travel, struct dsv4_result *results,
                       struct dsv4_runner *r, struct dsv4_runner *reference,
                       const struct dsv4_chain *golden, const struct dsv4_judge *judge) {
    struct walk w = {.travel = travel,
                     .results = results,
                     .r = r,
                     .reference = reference,
                     .golden = golden,
                     .judge = judge};
    *travel = (struct dsv4_travel){.first = golden->n};
    w.own = dsv4_alloc(golden->n * sizeof *w.own);
    w.feeds = dsv4_alloc(golden->n * sizeof *w.feeds);
    memcpy(w.own, golden->vectors, golden->n * sizeof *w.own);
    for (w.call = 0; w.call < golden->n; w.call++) run_call(&w);
    if (w.n_hidden > 0)
        dsv4_notes_add(&results[travel->first].notes, "travels", "and to %zu more tensors",
                       w.n_hidden);
    release(&w);
}
