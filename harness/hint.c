/* SPDX-License-Identifier: Apache-2.0 */
#include "hint.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "../reference/memory.h"
#include "bounds.h"
#include "suspect.h"
#include "undo.h"
#include "value.h"

/* Of evidence: what makes a coincidence of one in 16 million, and how much is looked at. */
enum { LEAST_BITS = 24, LEAST_BYTES = 16, MOST_VALUES = 1 << 20 };

struct search {
    struct dsv4_notes *notes;
    const struct dsv4_inquiry *inquiry;
    const struct dsv4_comparison *judged; /* elements within their bounds have given way */
    struct dsv4_comparison raw;           /* as the plug-in left it */
    struct dsv4_arena arena;              /* where suspects run */
    struct dsv4_arena before, scratch;
    double limit;
    bool found, stopped;
    const struct dsv4_mutant *best; /* covers every wrong byte, and `least` right ones besides */
    int64_t least, extra;
    char class[64]; /* " within F32-ANY"; as bits: "" */
    const char *verb, *degree;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void dsv4_note_trace(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     const struct dsv4_mismatch *mismatch) {
    char line[400] = "";
    struct dsv4_case bound = compare->v->c;
    if (bound.op->trace == NULL) return;
    dsv4_case_bind(&bound, compare->want->base);
    bound.op->trace(&bound, mismatch->slot, mismatch->offset, line, sizeof line);
    if (line[0] != '\0') dsv4_notes_add(notes, "from", "%s", line);
}

static bool out_of_time(struct search *search) {
    if (now() > search->limit) search->stopped = true;
    return search->stopped;
}

/* ---- suspects ---- */

/* Runs the reference on what the call found; `variant`: as another case; `given`: with this input in slot `slot`, which
 * the suspect alone sees. */
static bool run_suspect(struct search *search, const struct dsv4_case *variant, int mutant,
                        size_t slot, const unsigned char *given) {
    const struct dsv4_vector *const v = search->raw.v;
    const struct dsv4_case_tensor *const tensor = &v->c.tensors[slot];
    unsigned char *const data = search->arena.base + tensor->offset;
    if (search->inquiry->before != NULL)
        dsv4_arena_copy(&search->arena, search->inquiry->before);
    else
        dsv4_arena_fill(&search->arena, v, search->inquiry->poison, DSV4_BEFORE);
    if (given != NULL) dsv4_unpack(data, tensor, given);
    const int status = dsv4_suspect_ask(search->inquiry->suspects, &search->arena,
                                        variant != NULL ? variant : &v->c, mutant);
    if (given != NULL) dsv4_unpack(data, tensor, v->tensors[slot].in);
    return status == DSV4_OK;
}

/* How a suspect's bytes stand to what was got: -1 they do not explain it, 0 the same everywhere, n > 0: all that is
 * wrong is explained, and n bytes would be wrong besides. */
static int64_t explains(const struct search *search) {
    const struct dsv4_comparison *const compare = &search->raw;
    const struct dsv4_comparison to_got = {compare->v, compare->got, &search->arena, NULL};
    int64_t extra = 0, at = -1;
    while ((at = dsv4_compare_at(&to_got, at + 1)) >= 0) {
        if (compare->got->base[at] != compare->want->base[at]) return -1;
        if (++extra > 1 << 20) return -1;
    }
    return dsv4_compare_at(compare, 0) >= 0 ? extra : -1;
}

/* How much a value that the suspect has wrong speaks for it, in bits: how much nearer to its value than to the right one is
 * what was got. Below 1: it speaks against it. */
static double bits_of_evidence(const struct search *search, const struct dsv4_site *site,
                               int64_t at) {
    const unsigned char *const got = search->raw.got->base + at;
    const unsigned char *const suspect = search->arena.base + at;
    const double most = site->unit_bytes > 1 ? 8 : 4;
    if (memcmp(got, suspect, (size_t)site->unit_bytes) == 0) return most;
    if (site->dtype != DSV4_F32 && site->dtype != DSV4_BF16) return 0;
    const double x = dsv4_value_of(site->dtype, got), y = dsv4_value_of(site->dtype, suspect);
    const double right = dsv4_value_of(site->dtype, search->raw.want->base + at);
    return fmin(log2(fabs(right - y) / fabs(x - y)),
                most); /* `most` where the right one is no number */
}

/* Whether chance is ruled out: most values that the suspect has wrong speak for it. */
static bool is_evident(const struct search *search) {
    const struct dsv4_comparison wrong = {search->raw.v, &search->arena, search->raw.want, NULL};
    struct dsv4_mismatch m;
    struct dsv4_site site;
    double sum = 0;
    int64_t near = 0, far = 0;
    for (int64_t from = 0; near + far < MOST_VALUES && dsv4_compare_next(&wrong, from, &m);) {
        const struct dsv4_case_tensor *const tensor = &wrong.v->c.tensors[m.slot];
        from = m.at + 1;
        if (m.fault != DSV4_FAULT_VALUE) continue;
        dsv4_layout_find(tensor->t.layout)->locate(&wrong.v->c, m.slot, m.offset, &site);
        const double bits = bits_of_evidence(search, &site, tensor->offset + site.unit);
        if (bits >= 1)
            near++, sum += bits;
        else
            far++;
        from = tensor->offset + site.unit + site.unit_bytes;
    }
    return sum >= LEAST_BITS && 8 * far <= near;
}

/* The values in `scratch` become `want` as far as the arithmetic that was declared admits it. */
static bool admits(struct search *search, const struct dsv4_arena *want, bool of_mistake) {
    const dsv4_arithmetic *const arithmetic = search->inquiry->arithmetic;
    const struct dsv4_comparison compare = {search->raw.v, &search->scratch, want, NULL};
    const struct dsv4_bounds bounds = {search->raw.v, arithmetic, &search->before, &search->scratch,
                                       want};
    if (arithmetic == NULL) return dsv4_compare_at(&compare, 0) < 0;
    return dsv4_bounds_admit(&bounds, of_mistake);
}

/* Where other bits are allowed: whether what was got is what the arithmetic makes of the suspect's mistake. */
static bool is_alike(struct search *search) {
    if (search->inquiry->arithmetic == NULL || !is_evident(search)) return false;
    dsv4_arena_copy(&search->scratch, search->raw.got);
    return admits(search, &search->arena, true);
}

/* The same, as words around the suspect's name; false: neither. */
static bool likeness(struct search *search) {
    search->extra = explains(search);
    const bool equals = search->extra == 0;
    search->verb = equals ? "equals" : "agrees with";
    search->degree = equals ? " bit for bit" : search->class;
    return equals || is_alike(search);
}

/* The same bits everywhere is an explanation. A mutant that only covers every wrong byte is kept for later: it is weaker
 * evidence than a dialect that fits, and is worded as what it is. */
static void try_mutants(struct search *search) {
    const struct dsv4_op *const op = search->raw.v->c.op;
    search->least = INT64_MAX;
    for (size_t m = 1; m <= op->n_mutants && !search->found && !out_of_time(search); m++) {
        if (!run_suspect(search, NULL, (int)m, 0, NULL)) continue;
        if (likeness(search)) {
            search->found = true;
            dsv4_notes_add(search->notes, "hint", "output %s mutant %s%s: %s", search->verb,
                           op->mutants[m - 1].name, search->degree, op->mutants[m - 1].why);
        } else if (search->extra > 0 && search->extra < search->least) {
            search->least = search->extra;
            search->best = &op->mutants[m - 1];
        }
    }
}

static void name_partial(struct search *search) {
    if (search->best == NULL) return;
    search->found = true;
    dsv4_notes_add(search->notes, "hint",
                   "mutant %s gives every wrong byte here, and %lld more that are right: %s",
                   search->best->name, (long long)search->least, search->best->why);
}

static void try_dialect(struct search *search, size_t param, const char *word) {
    const struct dsv4_case *const c = &search->raw.v->c;
    struct dsv4_case variant;
    if (dsv4_suspect_dialect(&variant, c, param, word) &&
        run_suspect(search, &variant, 0, 0, NULL) && likeness(search)) {
        dsv4_notes_add(search->notes, "hint", "output %s dialect %s=%s%s", search->verb,
                       c->op->params[param].name, word, search->degree);
        search->found = true;
    }
    dsv4_case_free(&variant);
}

static void try_dialects(struct search *search) {
    const struct dsv4_case *const c = &search->raw.v->c;
    for (size_t p = 0; p < c->op->n_params; p++) {
        const struct dsv4_param_def *const def = &c->op->params[p];
        const char *list = def->names;
        char word[DSV4_WORD_SIZE];
        if (def->use != DSV4_USE_DIALECT || def->kind != DSV4_NAME) continue;
        while ((list = dsv4_next_word(word, sizeof word, list)) != NULL && !out_of_time(search))
            if (strcmp(word, c->words[p]) != 0) try_dialect(search, p, word);
    }
}

/* ---- inputs taken for others ---- */

/* The packed input as a reader finds it that makes a mistake with places. false: it finds the same, or something outside. */
static bool misread(unsigned char *to, const struct dsv4_vector *v, size_t slot,
                    const struct dsv4_mistake *mistake) {
    const struct dsv4_case_tensor *const tensor = &v->c.tensors[slot];
    const unsigned char *const in = v->tensors[slot].in;
    const int64_t bytes = dsv4_packed_bytes(tensor);
    for (int64_t i = 0; i < bytes; i++) {
        const int64_t offset = dsv4_storage_offset(tensor, i);
        const int64_t other = dsv4_misplaced(&v->c, slot, mistake, offset);
        const int64_t from = other < 0 ? i : dsv4_packed_offset(tensor, other);
        if (from < 0) return false;
        to[i] = in[from];
    }
    return memcmp(to, in, (size_t)bytes) != 0;
}

static void try_arrangement(struct search *search, size_t slot, const struct dsv4_pages *pages,
                            enum dsv4_arrangement arrangement) {
    const struct dsv4_vector *const v = search->raw.v;
    const struct dsv4_mistake mistake = {.kind = DSV4_REARRANGED, .arrangement = arrangement};
    unsigned char *const given = dsv4_alloc((size_t)dsv4_packed_bytes(&v->c.tensors[slot]));
    if (misread(given, v, slot, &mistake) && run_suspect(search, NULL, 0, slot, given) &&
        likeness(search)) {
        search->found = true;
        dsv4_notes_add(search->notes, "hint",
                       "output %s%s what is right where the pages of `%s` are read %s; they have "
                       "them %s",
                       search->verb, search->degree, v->c.tensors[slot].t.name,
                       dsv4_arrangement_names[arrangement],
                       dsv4_arrangement_names[pages->arrangement]);
    }
    dsv4_free(given);
}

static void try_readers(struct search *search) {
    const struct dsv4_vector *const v = search->raw.v;
    for (size_t slot = 0; slot < v->c.op->n_slots; slot++) {
        struct dsv4_pages pages, other;
        if (v->c.tensors[slot].role != DSV4_IN || v->tensors[slot].in == NULL ||
            !dsv4_pages_of(&v->c, slot, &pages))
            continue;
        other = pages;
        for (int a = 0; a < DSV4_N_ARRANGEMENTS && !out_of_time(search); a++) {
            other.arrangement = (enum dsv4_arrangement)a;
            if (other.arrangement != pages.arrangement && dsv4_pages_fit(&other))
                try_arrangement(search, slot, &pages, other.arrangement);
        }
    }
}

static void try_stale(struct search *search, size_t slot, size_t step) {
    const struct dsv4_vector *const v = search->raw.v, *const old = search->inquiry->steps[step];
    const struct dsv4_case_tensor *const tensor = &v->c.tensors[slot];
    const int64_t bytes = dsv4_packed_bytes(tensor);
    const unsigned char *const now_in = v->tensors[slot].in, *const old_in = old->tensors[slot].in;
    if (tensor->role != DSV4_IN || now_in == NULL || old_in == NULL || bytes == 0 ||
        bytes != dsv4_packed_bytes(&old->c.tensors[slot]) ||
        memcmp(now_in, old_in, (size_t)bytes) == 0)
        return;
    if (!run_suspect(search, NULL, 0, slot, old_in) || !likeness(search)) return;
    search->found = true;
    dsv4_notes_add(search->notes, "hint",
                   "output %s%s what is right where `%s` is still that of step %zu, %s",
                   search->verb, search->degree, tensor->t.name, step + 1, old->c.name);
}

/* One input of an earlier step: of that before, or of the first, which is what a graph was captured with. */
static void try_steps(struct search *search) {
    const struct dsv4_inquiry *const inquiry = search->inquiry;
    if (inquiry->steps == NULL || inquiry->step == 0) return;
    const size_t steps[] = {inquiry->step - 1, 0};
    for (int i = 0; i < (inquiry->step > 1 ? 2 : 1); i++)
        for (size_t slot = 0; slot < search->raw.v->c.op->n_slots && !out_of_time(search); slot++)
            try_stale(search, slot, steps[i]);
}

/* Wrong bytes that all hold what they held before the call were not written. */
static void try_unwritten(struct search *search) {
    const struct dsv4_comparison *const compare = search->judged;
    int64_t at = -1, n = 0;
    while ((at = dsv4_compare_at(compare, at + 1)) >= 0 && n < 1 << 20) {
        if (compare->got->base[at] != search->before.base[at]) return;
        n++;
    }
    if (n == 0) return;
    search->found = true;
    dsv4_notes_add(search->notes, "hint",
                   "every wrong byte holds what it held before the call: it was never written");
}

/* What needs nothing but the bytes. */
static bool try_mistake(struct search *search, size_t slot, const struct dsv4_mistake *mistake) {
    const struct dsv4_case *const c = &search->raw.v->c;
    char text[200];
    if (dsv4_undo(&search->scratch, search->judged, slot, mistake) < LEAST_BYTES ||
        !admits(search, search->raw.want, false))
        return false;
    dsv4_mistake_text(text, sizeof text, c, slot, mistake);
    dsv4_notes_add(search->notes, "hint", "`%s` is right%s but for one thing: %s",
                   c->tensors[slot].t.name, search->class, text);
    return search->found = true;
}

static void try_mistakes(struct search *search) {
    struct dsv4_mistake list[DSV4_MAX_MISTAKES];
    for (size_t slot = 0; slot < search->raw.v->c.op->n_slots; slot++) {
        if (search->raw.v->tensors[slot].out == NULL) continue;
        const size_t n = dsv4_mistakes(list, search->judged, slot);
        for (size_t i = 0; i < n && !out_of_time(search); i++)
            if (try_mistake(search, slot, &list[i])) break;
    }
}

static int open_search(struct search *search, const struct dsv4_comparison *compare) {
    const struct dsv4_case *const c = &compare->v->c;
    const struct dsv4_inquiry *const inquiry = search->inquiry;
    struct dsv4_err err;
    if (dsv4_arena_open(&search->arena, c, &err) != 0) return -1;
    dsv4_arena_private(&search->before, c);
    dsv4_arena_private(&search->scratch, c);
    if (compare->want->n_segments == 1) { /* the steps of a sequence share all of it */
        dsv4_arena_dense(&search->arena);
        dsv4_arena_dense(&search->before);
        dsv4_arena_dense(&search->scratch);
    }
    if (inquiry->before != NULL)
        dsv4_arena_copy(&search->before, inquiry->before);
    else
        dsv4_arena_fill(&search->before, compare->v, inquiry->poison, DSV4_BEFORE);
    if (inquiry->arithmetic != NULL)
        snprintf(search->class, sizeof search->class, " within %s",
                 dsv4_class_names[inquiry->arithmetic->accumulation]);
    return 0;
}

void dsv4_note_hints(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     const struct dsv4_inquiry *inquiry) {
    struct search search = {
        .notes = notes,
        .inquiry = inquiry,
        .judged = compare,
        .raw = {compare->v, compare->raw != NULL ? compare->raw : compare->got, compare->want,
                NULL},
        .limit = now() + inquiry->seconds
    };
    static void (*const tries[])(struct search *) = {try_unwritten, try_mutants, try_dialects,
                                                     try_readers,   try_steps,   try_mistakes,
                                                     name_partial};
    if (inquiry->suspects == NULL || compare->v->c.refused || open_search(&search, compare) != 0)
        return;
    for (size_t i = 0; i < sizeof tries / sizeof *tries && !search.found; i++) tries[i](&search);
    if (search.stopped && !search.found)
        dsv4_notes_add(notes, "hint",
                       "none yet: the search among known mistakes stopped after %g s",
                       inquiry->seconds);
    dsv4_arena_close(&search.scratch);
    dsv4_arena_close(&search.before);
    dsv4_arena_close(&search.arena);
}
