/* SPDX-License-Identifier: Apache-2.0 */
#include "answers.h"

#include <stdio.h>

#include "options.h"
#include "store.h"

int dsv4_answers_open(struct dsv4_answers *a, const char *directory, bool fresh,
                      struct dsv4_err *err) {
    memset(a, 0, sizeof *a);
    a->directory = directory;
    a->fresh = fresh;
    return fresh ? 0 : dsv4_manifest_read(&a->manifest, directory, true, err);
}

void dsv4_answers_close(struct dsv4_answers *a) { dsv4_manifest_free(&a->manifest); }

/* A vector made before its suite entry was changed must not pass for the case of today. */
static int check_params(const struct dsv4_vector *v, const struct dsv4_suite_case *s,
                        struct dsv4_err *err) {
    struct dsv4_case c = {0};
    char is[DSV4_WORD_SIZE], should[DSV4_WORD_SIZE];
    int status = dsv4_suite_case_make(s, &c, err);
    if (status == 0 && (v->c.op != c.op || strcmp(v->c.name, c.name) != 0 || v->c.seed != c.seed))
        status = dsv4_fail(err, "this vector is of another case or seed; run `make vectors`");
    for (size_t p = 0; status == 0 && p < c.op->n_params; p++) {
        dsv4_case_text(&v->c, p, is, sizeof is);
        dsv4_case_text(&c, p, should, sizeof should);
        if (strcmp(is, should) != 0)
            status = dsv4_fail(err, "made with %s = %s, but the suite says %s; run `make vectors`",
                               c.op->params[p].name, is, should);
    }
    dsv4_case_free(&c);
    return status;
}

static int check_manifest(const struct dsv4_answers *a, const struct dsv4_vector *v,
                          const struct dsv4_suite_case *s, struct dsv4_err *err) {
    char prompt[65], answer[65];
    const struct dsv4_manifest_entry *const entry =
        dsv4_manifest_find(&a->manifest, s->op->name, s->name);
    if (entry == NULL)
        return dsv4_fail(err,
                         "%.300s/MANIFEST does not list this case; run `make vectors`, or "
                         "`check --fresh` while writing it",
                         a->directory);
    dsv4_vector_hash(v, prompt, answer);
    if (strcmp(prompt, entry->prompt) != 0)
        return dsv4_fail(err,
                         "the inputs are not those of MANIFEST: sha256 %.12s..., listed %.12s...",
                         prompt, entry->prompt);
    if (strcmp(answer, entry->answer) != 0)
        return dsv4_fail(err,
                         "the answers are not those of MANIFEST: sha256 %.12s..., listed %.12s...",
                         answer, entry->answer);
    return 0;
}

int dsv4_answers_get(const struct dsv4_answers *a, struct dsv4_vector *v,
                     const struct dsv4_suite_case *s, struct dsv4_err *err) {
    char path[4200] = "";
    int status;
    memset(v, 0, sizeof *v);
    if (a->fresh || s->tier != DSV4_SMOKE) {
        status = dsv4_vector_make(v, s, err);
    } else {
        dsv4_store_path(path, sizeof path, a->directory, s);
        status = dsv4_vector_read(v, path, err);
        if (status == 0) status = check_params(v, s, err);
    }
    if (status == 0 && !a->fresh && s->tier != DSV4_BENCH) status = check_manifest(a, v, s, err);
    if (status != 0)
        return path[0] != '\0' ? dsv4_err_at(err, path, 0) : dsv4_err_at(err, s->file, s->line);
    dsv4_case_place(&v->c, dsv4_case_is_skewed(&v->c));
    return 0;
}
