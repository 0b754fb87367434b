/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

#include "../reference/layout/layout.h"
#include "../reference/memory.h"
#include "bounds.h"
#include "diagnose.h"
#include "file.h"

/* What one case, or one step of a sequence, needs while it is judged. */
struct trial {
    struct dsv4_result *result;
    struct dsv4_runner *r;
    const struct dsv4_vector *v;
    const struct dsv4_judge *judge;
    struct dsv4_arena want, first;  /* first: what run 1 left, kept when there are more runs */
    int64_t run;                    /* from 1 */
    dsv4_arithmetic arithmetic;     /* what the call is judged by */
    const struct dsv4_arena *stale; /* what earlier steps should have left; NULL: no steps */
    const struct dsv4_vector *const *vectors; /* of all steps */
    struct dsv4_request steps;                /* step, last_step, graph of the request */
};

/* What the plug-in printed last, when that may explain an end without words. */
static void note_printed(struct dsv4_notes *notes, const struct dsv4_runner *r) {
    enum { LINES = 16 };
    size_t start = r->tail_bytes, lines = 0;
    char text[sizeof r->tail + 1];
    while (start > 0 && !(r->tail[start - 1] == '\n' && start < r->tail_bytes && ++lines == LINES))
        start--;
    const size_t n = r->tail_bytes - start;
    memcpy(text, r->tail + start, n);
    text[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\0') text[i] = '?';
    for (size_t i = n; i > 0 && text[i - 1] == '\n'; i--) text[i - 1] = '\0';
    if (text[0] != '\0') dsv4_notes_add(notes, "printed", "%s", text);
}

static void set(struct trial *t, enum dsv4_verdict verdict) {
    if (t->result->verdict == DSV4_PASS) t->result->verdict = verdict;
}

static const char *status_name(int status) {
    static const char *const names[] = {"DSV4_OK", "DSV4_REFUSED", "DSV4_UNSUPPORTED",
                                        "DSV4_ERROR"};
    return status >= 0 && status <= 3 ? names[status] : "an unknown status";
}

/* Judges what the plug-in returned. true: the arena is worth a look. */
static bool judge_status(struct trial *t, const struct dsv4_reply *reply) {
    struct dsv4_result *const result = t->result;
    const bool refused = t->v->c.refused;
    const char *const why = reply->text[0] != '\0' ? reply->text : "it gave no reason";
    const enum dsv4_verdict failed = DSV4_FAILED;
    if (reply->stage == DSV4_STAGE_PREPARE) {
        set(t, DSV4_BROKEN);
        dsv4_result_say(result, "%s", why);
    } else if (reply->fatal) {
        set(t, DSV4_CRASH);
        dsv4_result_say(result, "%s", why);
    } else if (reply->stage == DSV4_STAGE_SUPPORTS && reply->status == DSV4_UNSUPPORTED) {
        set(t, DSV4_DECLINED);
        dsv4_result_say(result, "%s", why);
    } else if (reply->stage == DSV4_STAGE_SUPPORTS) {
        set(t, failed);
        dsv4_result_say(
            result, "supports() returned %d (%s); it must return DSV4_OK or DSV4_UNSUPPORTED: %s",
            reply->status, status_name(reply->status), why);
    } else if (reply->stage == DSV4_STAGE_CAPTURE && reply->status != DSV4_OK) {
        set(t, failed);
        dsv4_result_say(result,
                        "run() cannot be captured into a graph, where it must neither synchronise "
                        "nor allocate nor leave its stream: %s",
                        why);
    } else if (refused && reply->status == DSV4_OK) {
        set(t, failed);
        dsv4_result_say(result, "the contract refuses this input; run() returned DSV4_OK");
        return true;
    } else if (reply->status == DSV4_UNSUPPORTED) {
        set(t, failed);
        dsv4_result_say(
            result, "run() returned DSV4_UNSUPPORTED for a case that supports() accepted: %s", why);
    } else if (!refused && reply->status == DSV4_REFUSED) {
        set(t, failed);
        dsv4_result_say(result, "run() refused an input that the contract computes: %s", why);
    } else if (reply->status != DSV4_OK && reply->status != DSV4_REFUSED) {
        set(t, failed);
        dsv4_result_say(result, "run() returned %d (%s): %s", reply->status,
                        status_name(reply->status), why);
    } else {
        return true;
    }
    return false;
}

static bool same_as_first(struct trial *t, const struct dsv4_arena *got) {
    const struct dsv4_comparison compare = {t->v, got, &t->first, NULL};
    struct dsv4_mismatch m;
    struct dsv4_site site;
    if (!dsv4_compare_next(&compare, 0, &m)) return true;
    set(t, DSV4_FAILED);
    snprintf(site.where, sizeof site.where, "byte %lld", (long long)m.offset);
    const dsv4_tensor *const tensor = &t->v->c.tensors[m.slot].t;
    if (m.fault != DSV4_FAULT_GUARD && m.fault != DSV4_FAULT_GAP)
        dsv4_layout_find(tensor->layout)->locate(&t->v->c, m.slot, m.offset, &site);
    dsv4_result_say(t->result,
                    "not repeatable: run %lld of %lld differs from run 1, first at `%s` %s",
                    (long long)t->run, (long long)t->judge->repeat, tensor->name, site.where);
    return false;
}

/* A vector with the plug-in's bytes as its answers, so that `dsv4cts diff` can be used on it. */
static void dump(struct trial *t, const struct dsv4_arena *got) {
    struct dsv4_vector copy = *t->v;
    struct dsv4_err err = {0};
    char path[4600];
    if (copy.c.refused) return;
    for (size_t s = 0; s < copy.c.op->n_slots; s++) {
        const struct dsv4_case_tensor *const tensor = &copy.c.tensors[s];
        const int64_t bytes = dsv4_packed_bytes(tensor);
        if (copy.tensors[s].out == NULL) continue;
        unsigned char *const out = dsv4_alloc((size_t)bytes);
        dsv4_pack(out, tensor, got->base + tensor->offset);
        const bool gone = copy.tensors[s].keep != NULL && copy.tensors[s].in == NULL;
        for (int64_t i = 0; i < bytes && gone; i++)
            if (copy.tensors[s].keep[i] != 0) out[i] = 0;
        copy.tensors[s].out = out;
    }
    snprintf(path, sizeof path, "%s/%s.%s.got.npz", t->judge->dump, copy.c.op->name, copy.c.name);
    if (dsv4_directory_make(t->judge->dump, &err) == 0 && dsv4_vector_write(&copy, path, &err) == 0)
        dsv4_notes_add(&t->result->notes, "dump", "%s", path);
    else
        dsv4_notes_add(&t->result->notes, "dump", "could not be written: %s", err.text);
    for (size_t s = 0; s < copy.c.op->n_slots; s++)
        if (copy.tensors[s].out != NULL) dsv4_free(copy.tensors[s].out);
}

/* Says so when every wrong byte of an answer holds what was there before the step: in an output, an earlier answer. */
static void note_stale(struct trial *t, const struct dsv4_arena *got) {
    const struct dsv4_comparison compare = {t->v, got, &t->want, NULL};
    struct dsv4_mismatch m;
    int64_t n = 0, stale = 0;
    for (int64_t at = 0; dsv4_compare_next(&compare, at, &m); at = m.at + 1) {
        if (m.fault != DSV4_FAULT_VALUE) continue;
        n++;
        stale += got->base[m.at] == t->stale->base[m.at];
    }
    if (n > 0 && stale == n)
        dsv4_notes_add(&t->result->notes, "stale",
                       "all %lld wrong bytes hold what was there before this step", (long long)n);
}

static struct dsv4_inquiry inquiry_of(const struct trial *t, bool by_bounds) {
    return (struct dsv4_inquiry){.poison = t->judge->poison,
                                 .suspects = t->judge->suspects,
                                 .seconds = t->judge->hint_seconds,
                                 .arithmetic = by_bounds ? &t->arithmetic : NULL,
                                 .before = t->stale,
                                 .steps = t->vectors,
                                 .step = (size_t)t->steps.step};
}

/* Says what is wrong with an arena that is not as expected. */
static void explain(struct trial *t, const struct dsv4_arena *got, const struct dsv4_arena *raw) {
    const struct dsv4_comparison compare = {t->v, got, &t->want, raw};
    char summary[1024];
    const bool first_fault = t->result->verdict == DSV4_PASS;
    set(t, DSV4_FAILED);
    const struct dsv4_inquiry inquiry = inquiry_of(t, got != raw);
    dsv4_diagnose(&t->result->notes, summary, sizeof summary, &compare, &inquiry);
    if (t->result->message != NULL)
        dsv4_notes_add(&t->result->notes, "status", "%s", t->result->message);
    if (first_fault) dsv4_result_say(t->result, "%s", summary);
    if (t->stale != NULL && t->steps.step > 0) note_stale(t, raw);
    if (t->judge->dump != NULL) dump(t, raw);
}

/* Other bits than the canon's, where the kernel claims another arithmetic: elements within their bounds give way to the
 * expected ones, in a copy, for the arena may be compared with other runs'. The next step of a sequence starts from it. */
static void judge_bounds(struct trial *t, struct dsv4_arena *got) {
    struct dsv4_arena judged, before;
    const struct dsv4_comparison compare = {t->v, &judged, &t->want, got};
    dsv4_arena_private(&judged, &t->v->c);
    dsv4_arena_private(&before, &t->v->c);
    if (t->steps.dense) dsv4_arena_dense(&judged);
    dsv4_arena_copy(&judged, got);
    if (t->stale == NULL) dsv4_arena_fill(&before, t->v, t->judge->poison, DSV4_BEFORE);
    const struct dsv4_bounds bounds = {t->v, &t->arithmetic, t->stale != NULL ? t->stale : &before,
                                       &judged, &t->want};
    const struct dsv4_inquiry inquiry = inquiry_of(t, true);
    const bool within = dsv4_bounds_judge(&bounds, t->result) != DSV4_WHOLE_WORSE;
    if (dsv4_compare_at(&compare, 0) >= 0) {
        explain(t, &judged, got);
    } else if (!within) {
        set(t, DSV4_FAILED);
        dsv4_note_hints(&t->result->notes, &compare, &inquiry);
    } else if (t->result->verdict == DSV4_PASS) {
        t->result->grade = DSV4_CONFORMANT;
    }
    if (t->stale != NULL) dsv4_arena_copy(got, &judged);
    dsv4_arena_close(&before);
    dsv4_arena_close(&judged);
}

static void judge_arena(struct trial *t, struct dsv4_arena *got) {
    const struct dsv4_comparison compare = {t->v, got, &t->want, NULL};
    if (t->judge->take != NULL) t->judge->take(t->judge->context, got);
    if (dsv4_compare_at(&compare, 0) < 0) return;
    if (dsv4_bounds_apply(t->v, &t->arithmetic))
        judge_bounds(t, got);
    else
        explain(t, got, got);
}

/* Sends a request about the trial's case and judges what happened. true: the arena is worth a look. */
static bool ask(struct trial *t, const struct dsv4_request *request, const struct dsv4_arena *got,
                struct dsv4_reply *reply) {
    const enum dsv4_outcome outcome = dsv4_runner_ask(t->r, request, got->fd, reply);
    if (outcome != DSV4_ANSWERED) {
        set(t, outcome == DSV4_CRASHED ? DSV4_CRASH : DSV4_TIMEOUT);
        dsv4_result_say(t->result, "%s", t->r->death);
        note_printed(&t->result->notes, t->r);
        return false;
    }
    /* The first step declares for all, as its parameters are those of all. */
    if (t->steps.step == 0)
        t->arithmetic = t->judge->arithmetic != NULL ? *t->judge->arithmetic : reply->arithmetic;
    const bool look = judge_status(t, reply);
    if (!look && t->result->verdict != DSV4_DECLINED) note_printed(&t->result->notes, t->r);
    return look;
}

/* One run. false: no use to run again. */
static bool run_once(struct trial *t, struct dsv4_arena *got) {
    struct dsv4_request request;
    struct dsv4_reply reply;
    dsv4_arena_fill(got, t->v, t->judge->poison, DSV4_BEFORE);
    dsv4_request_set(&request, DSV4_REQUEST_RUN, &t->v->c);
    if (!ask(t, &request, got, &reply)) return false;
    t->result->seconds = reply.seconds;
    if (t->run > 1 && !same_as_first(t, got)) {
        if (t->result->notes.n == 0) judge_arena(t, got);
        return false;
    }
    if (t->run == 1) judge_arena(t, got);
    return true;
}

static void note_end(struct trial *t, const struct dsv4_suite_case *s) {
    struct dsv4_notes *const notes = &t->result->notes;
    for (size_t i = 0; i < s->n_tags && i < 3; i++) {
        if (s->tags[i]->bug == NULL) continue;
        dsv4_notes_add(notes, "why", "tag %s: %s%s%s%s", s->tags[i]->name, s->tags[i]->bug,
                       s->tags[i]->link != NULL ? " (" : "",
                       s->tags[i]->link != NULL ? s->tags[i]->link : "",
                       s->tags[i]->link != NULL ? ")" : "");
    }
    const char *const mode = t->judge->graph ? " --mode graph" : "";
    if (t->judge->again != NULL)
        dsv4_notes_add(notes, "again", "dsv4cts check --impl %s %s%s --dump", t->r->path,
                       t->judge->again, mode);
    else
        dsv4_notes_add(notes, "again", "dsv4cts check --impl %s --case %s/%s%s%s%s --dump",
                       t->r->path, s->op->name, s->name, s->tier != DSV4_SMOKE ? " --tier " : "",
                       s->tier != DSV4_SMOKE ? dsv4_tier_names[s->tier] : "", mode);
}

/* One step: `got` and `want` hold what the step before left. */
static bool run_step(struct trial *t, struct dsv4_arena *got, struct dsv4_arena *stale,
                     bool repeats) {
    struct dsv4_request request;
    struct dsv4_reply reply;
    const bool first = t->steps.step == 0;
    if (first)
        dsv4_arena_fill(got, t->v, t->judge->poison, DSV4_BEFORE);
    else
        dsv4_arena_write(got, t->v, repeats ? DSV4_BEFORE : DSV4_NEXT);
    dsv4_arena_copy(stale, got);
    if (first)
        dsv4_arena_fill(&t->want, t->v, t->judge->poison, DSV4_AFTER);
    else
        dsv4_arena_write(&t->want, t->v, DSV4_AFTER);
    dsv4_request_set(&request, DSV4_REQUEST_STEP, &t->v->c);
    request.step = t->steps.step;
    request.last_step = t->steps.last_step;
    request.graph = t->steps.graph;
    request.dense = t->steps.dense;
    if (!ask(t, &request, got, &reply)) return false;
    t->result->seconds += reply.seconds;
    judge_arena(t, got);
    if (t->result->verdict != DSV4_PASS && reply.graph_nodes == 0)
        dsv4_notes_add(&t->result->notes, "graph",
                       "nothing was captured: run() put no work on the stream it was given");
    return t->result->verdict == DSV4_PASS;
}

void dsv4_judge_steps(struct dsv4_result *result, struct dsv4_runner *r,
                      const struct dsv4_vector *const *vectors, size_t n,
                      const struct dsv4_suite_case *s, const struct dsv4_judge *judge) {
    struct trial t = {.result = result, .r = r, .judge = judge, .run = 1};
    struct dsv4_arena got, stale;
    struct dsv4_err err = {0};
    result->verdict = DSV4_PASS;
    if (dsv4_arena_open(&got, &vectors[0]->c, &err) != 0) {
        result->verdict = DSV4_BROKEN;
        dsv4_result_say(result, "%s", err.text);
        return;
    }
    dsv4_arena_private(&t.want, &vectors[0]->c);
    dsv4_arena_private(&stale, &vectors[0]->c);
    for (size_t i = 1; i < n; i++) t.steps.dense |= vectors[i] != vectors[0];
    if (t.steps.dense) dsv4_arena_dense(&got);
    if (t.steps.dense) dsv4_arena_dense(&t.want);
    t.stale = &stale;
    t.vectors = vectors;
    for (size_t i = 0; i < n; i++) {
        t.v = vectors[i];
        t.steps.step = (int)i;
        t.steps.last_step = i + 1 == n;
        t.steps.graph = judge->graph;
        if (run_step(&t, &got, &stale, i > 0 && vectors[i] == vectors[i - 1])) continue;
        if (result->verdict != DSV4_DECLINED)
            dsv4_notes_add(&result->notes, "step", "%zu of %zu: %s", i + 1, n, vectors[i]->c.name);
        break;
    }
    dsv4_arena_close(&stale);
    dsv4_arena_close(&t.want);
    dsv4_arena_close(&got);
    if (result->verdict != DSV4_PASS && result->verdict != DSV4_DECLINED) note_end(&t, s);
}

void dsv4_judge_case(struct dsv4_result *result, struct dsv4_runner *r, const struct dsv4_vector *v,
                     const struct dsv4_suite_case *s, const struct dsv4_judge *judge) {
    struct trial t = {.result = result, .r = r, .v = v, .judge = judge};
    struct dsv4_err err = {0};
    t.first.fd = -1;
    result->verdict = DSV4_PASS;
    dsv4_arena_private(&t.want, &v->c);
    dsv4_arena_fill(&t.want, v, judge->poison, v->c.refused ? DSV4_BEFORE : DSV4_AFTER);
    for (t.run = 1; t.run <= judge->repeat; t.run++) {
        struct dsv4_arena got;
        if (dsv4_arena_open(&got, &v->c, &err) != 0) {
            result->verdict = DSV4_BROKEN;
            dsv4_result_say(result, "%s", err.text);
            break;
        }
        const bool more = run_once(&t, &got);
        if (t.run == 1 && judge->repeat > 1)
            t.first = got;
        else
            dsv4_arena_close(&got);
        if (!more) break;
    }
    if (t.first.base != NULL) dsv4_arena_close(&t.first);
    dsv4_arena_close(&t.want);
    if (result->verdict != DSV4_PASS && result->verdict != DSV4_DECLINED) note_end(&t, s);
}

void dsv4_judge_call(struct dsv4_result *result, struct dsv4_runner *r, const struct dsv4_vector *v,
                     const struct dsv4_suite_case *s, const struct dsv4_judge *judge) {
    const bool on_device = strcmp(r->info.device, "cpu") != 0;
    const struct dsv4_vector *const twice[] = {v, v};
    if (judge->graph && on_device && !v->c.refused)
        dsv4_judge_steps(result, r, twice, 2, s, judge);
    else
        dsv4_judge_case(result, r, v, s, judge);
}
