/* SPDX-License-Identifier: Apache-2.0 */
#include "sequence.h"

#include "../reference/memory.h"
#include "options.h"

/* A sequence's arena is one segment: holes would have to be the same in every step. */
static const int64_t max_bytes = INT64_C(256) << 20;

bool dsv4_tensors_alike(const struct dsv4_case_tensor *a, const struct dsv4_case_tensor *b) {
    if (a->t.ndim != b->t.ndim || a->span != b->span || a->offset != b->offset ||
        a->role != b->role || dsv4_dtype_bytes(a->t.dtype) != dsv4_dtype_bytes(b->t.dtype))
        return false;
    for (int d = 0; d < a->t.ndim; d++)
        if (a->t.shape[d] != b->t.shape[d] || a->t.stride[d] != b->t.stride[d]) return false;
    return true;
}

/* What a graph was captured with stays: parameters of the call, shapes, addresses. */
static int compare_step(const struct dsv4_case *first, const struct dsv4_case *c,
                        struct dsv4_err *err) {
    char one[DSV4_WORD_SIZE], other[DSV4_WORD_SIZE];
    for (size_t p = 0; p < c->op->n_params; p++) {
        dsv4_case_text(first, p, one, sizeof one);
        dsv4_case_text(c, p, other, sizeof other);
        if (c->op->params[p].use != DSV4_USE_INPUT && strcmp(one, other) != 0)
            return dsv4_fail(err, "steps %.90s and %.90s differ in %s: %.60s and %.60s",
                             first->name, c->name, c->op->params[p].name, one, other);
    }
    for (size_t s = 0; s < c->op->n_slots; s++)
        if (!dsv4_tensors_alike(&first->tensors[s], &c->tensors[s]) ||
            first->tensors[s].t.dtype != c->tensors[s].t.dtype)
            return dsv4_fail(err,
                             "steps %.90s and %.90s differ in the shape or place of `%s`; give "
                             "them the same `room`",
                             first->name, c->name, c->op->slots[s].name);
    if (c->refused) return dsv4_fail(err, "the step %.90s is refused by the contract", c->name);
    if (c->arena_bytes > max_bytes)
        return dsv4_fail(err, "the tensors of %.90s take %lld bytes; a sequence has at most %lld",
                         c->name, (long long)c->arena_bytes, (long long)max_bytes);
    return 0;
}

static int check_alike(const struct dsv4_case *first, const struct dsv4_case *c,
                       const struct dsv4_suite_sequence *s, struct dsv4_err *err) {
    return compare_step(first, c, err) == 0 ? 0 : dsv4_err_at(err, s->head.file, s->head.line);
}

int dsv4_sequence_check(const struct dsv4_suite *suite, const struct dsv4_suite_sequence *s,
                        struct dsv4_err *err) {
    struct dsv4_case *const made = dsv4_alloc(s->n_steps * sizeof *made);
    int status = 0;
    size_t n = 0;
    for (; status == 0 && n < s->n_steps; n++) {
        status = dsv4_suite_case_make(&suite->cases[s->steps[n]], &made[n], err);
        if (status != 0) continue;
        dsv4_case_place(&made[n], dsv4_case_is_skewed(&made[n]));
        status = check_alike(&made[0], &made[n], s, err);
    }
    for (size_t i = 0; i < n; i++) dsv4_case_free(&made[i]);
    dsv4_free(made);
    return status;
}

/* The vector of an earlier step of the same case, or NULL. */
static const struct dsv4_vector *seen(const struct dsv4_sequence *q,
                                      const struct dsv4_suite_sequence *s) {
    for (size_t i = 0; i < q->n_steps; i++)
        if (s->steps[i] == s->steps[q->n_steps]) return q->steps[i];
    return NULL;
}

int dsv4_sequence_get(struct dsv4_sequence *q, const struct dsv4_answers *answers,
                      const struct dsv4_suite *suite, const struct dsv4_suite_sequence *s,
                      struct dsv4_err *err) {
    *q = (struct dsv4_sequence){0};
    q->steps = dsv4_alloc(s->n_steps * sizeof *q->steps);
    q->vectors = dsv4_alloc(s->n_steps * sizeof *q->vectors);
    for (; q->n_steps < s->n_steps; q->n_steps++) {
        const struct dsv4_vector *step = seen(q, s);
        if (step == NULL) {
            struct dsv4_vector *const v = &q->vectors[q->n_vectors++];
            const struct dsv4_suite_case *const c = &suite->cases[s->steps[q->n_steps]];
            if (dsv4_answers_get(answers, v, c, err) != 0 ||
                check_alike(&q->vectors[0].c, &v->c, s, err) != 0)
                return -1;
            step = v;
        }
        q->steps[q->n_steps] = step;
    }
    return 0;
}

void dsv4_sequence_free(struct dsv4_sequence *q) {
    for (size_t i = 0; i < q->n_vectors; i++) dsv4_vector_free(&q->vectors[i]);
    dsv4_free(q->vectors);
    dsv4_free(q->steps);
    *q = (struct dsv4_sequence){0};
}
