/* SPDX-License-Identifier: Apache-2.0 */
#include "hint.h"

#include <time.h>

#include "suspect.h"

struct search {
    struct dsv4_notes *notes;
    const struct dsv4_comparison *compare;
    struct dsv4_runner *suspects;
    struct dsv4_arena arena;
    uint64_t poison;
    double limit;
    bool found, stopped;
    const struct dsv4_mutant *best; /* covers every wrong byte, and `least` right ones besides */
    int64_t least;
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

/* How a suspect's bytes stand to what was got: -1 they do not explain it, 0 the same everywhere, n > 0: all that is
 * wrong is explained, and n bytes would be wrong besides. */
static int64_t explains(const struct search *search) {
    const struct dsv4_comparison *const compare = search->compare;
    const struct dsv4_comparison to_got = {compare->v, compare->got, &search->arena, NULL};
    int64_t extra = 0, at = -1;
    while ((at = dsv4_compare_at(&to_got, at + 1)) >= 0) {
        if (compare->got->base[at] != compare->want->base[at]) return -1;
        if (++extra > 1 << 20) return -1;
    }
    return dsv4_compare_at(compare, 0) >= 0 ? extra : -1;
}

static bool out_of_time(struct search *search) {
    if (now() > search->limit) search->stopped = true;
    return search->stopped;
}

/* The same bits everywhere is an explanation. A mutant that only covers every wrong byte is kept for later: it is weaker
 * evidence than a dialect that fits, and is worded as what it is. */
static void try_mutants(struct search *search) {
    const struct dsv4_op *const op = search->compare->v->c.op;
    search->least = INT64_MAX;
    for (size_t m = 1; m <= op->n_mutants && !out_of_time(search); m++) {
        const int status = dsv4_suspect_run(search->suspects, &search->arena, search->compare->v,
                                            NULL, search->poison, (int)m);
        const int64_t extra = status == DSV4_OK ? explains(search) : -1;
        if (extra < 0 || extra >= search->least) continue;
        search->least = extra;
        search->best = &op->mutants[m - 1];
    }
    if (search->least != 0) return;
    search->found = true;
    dsv4_notes_add(search->notes, "hint", "output equals mutant %s bit for bit: %s",
                   search->best->name, search->best->why);
}

static void name_partial(struct search *search) {
    if (search->best == NULL) return;
    search->found = true;
    dsv4_notes_add(search->notes, "hint",
                   "mutant %s gives every wrong byte here, and %lld more that are right: %s",
                   search->best->name, (long long)search->least, search->best->why);
}

static void try_dialects(struct search *search) {
    const struct dsv4_case *const c = &search->compare->v->c;
    for (size_t p = 0; p < c->op->n_params; p++) {
        const struct dsv4_param_def *const def = &c->op->params[p];
        const char *list = def->names;
        char word[DSV4_WORD_SIZE];
        if (def->use != DSV4_USE_DIALECT || def->kind != DSV4_NAME) continue;
        while ((list = dsv4_next_word(word, sizeof word, list)) != NULL && !out_of_time(search)) {
            struct dsv4_case variant;
            if (strcmp(word, c->words[p]) == 0) continue;
            if (dsv4_suspect_dialect(&variant, c, p, word) &&
                dsv4_suspect_run(search->suspects, &search->arena, search->compare->v, &variant,
                                 search->poison, 0) == DSV4_OK &&
                explains(search) == 0) {
                dsv4_notes_add(search->notes, "hint", "output equals dialect %s=%s bit for bit",
                               def->name, word);
                search->found = true;
            }
            dsv4_case_free(&variant);
        }
    }
}

/* Wrong bytes that all hold what they held before the call were not written. */
static void try_unwritten(struct search *search) {
    const struct dsv4_comparison *const compare = search->compare;
    int64_t at = -1, n = 0;
    dsv4_arena_fill(&search->arena, compare->v, search->poison, DSV4_BEFORE);
    while ((at = dsv4_compare_at(compare, at + 1)) >= 0 && n < 1 << 20) {
        if (compare->got->base[at] != search->arena.base[at]) return;
        n++;
    }
    if (n == 0) return;
    search->found = true;
    dsv4_notes_add(search->notes, "hint",
                   "every wrong byte holds what it held before the call: it was never written");
}

void dsv4_note_hints(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     uint64_t poison, struct dsv4_runner *suspects, double seconds) {
    const struct dsv4_comparison raw = {
        compare->v, compare->raw != NULL ? compare->raw : compare->got, compare->want, NULL};
    struct search search = {.notes = notes,
                            .compare = &raw,
                            .suspects = suspects,
                            .poison = poison,
                            .limit = now() + seconds};
    struct dsv4_err err;
    if (suspects == NULL || compare->v->c.refused) return;
    if (dsv4_arena_open(&search.arena, &compare->v->c, &err) != 0) return;
    try_unwritten(&search);
    if (!search.found) try_mutants(&search);
    if (!search.found) try_dialects(&search);
    if (!search.found) name_partial(&search);
    if (search.stopped && !search.found)
        dsv4_notes_add(notes, "hint",
                       "none yet: the search among mutants and dialects stopped after %g s",
                       seconds);
    dsv4_arena_close(&search.arena);
}
