/* SPDX-License-Identifier: Apache-2.0 */
#include "suspect.h"

#include <stdio.h>

#include "sequence.h"

int dsv4_suspect_ask(struct dsv4_runner *r, struct dsv4_arena *a, const struct dsv4_case *c,
                     int mutant) {
    struct dsv4_request request;
    struct dsv4_reply reply;
    dsv4_request_set(&request, DSV4_REQUEST_SUSPECT, c);
    request.mutant = mutant;
    return dsv4_runner_ask(r, &request, a->fd, &reply) == DSV4_ANSWERED ? reply.status : -1;
}

int dsv4_suspect_run(struct dsv4_runner *r, struct dsv4_arena *a, const struct dsv4_vector *v,
                     uint64_t poison, int mutant) {
    dsv4_arena_fill(a, v, poison, DSV4_BEFORE);
    return dsv4_suspect_ask(r, a, &v->c, mutant);
}

static bool same_rows(const struct dsv4_case_tensor *a, const struct dsv4_case_tensor *b) {
    if (a->n_rows != b->n_rows || (a->rows == NULL) != (b->rows == NULL)) return false;
    return a->rows == NULL || memcmp(a->rows, b->rows, (size_t)a->n_rows * sizeof *a->rows) == 0;
}

bool dsv4_suspect_dialect(struct dsv4_case *variant, const struct dsv4_case *c, size_t param,
                          const char *word) {
    struct dsv4_err err = {0};
    char text[DSV4_WORD_SIZE];
    dsv4_case_init(variant, c->op, c->name);
    variant->seed = c->seed;
    for (size_t p = 0; p < c->op->n_params; p++) {
        dsv4_case_text(c, p, text, sizeof text);
        if (dsv4_case_set(variant, c->op->params[p].name, p == param ? word : text, &err) != 0)
            return false;
    }
    if (dsv4_case_shape(variant, &err) != 0 || variant->refused) return false;
    dsv4_case_place(variant, dsv4_case_is_skewed(variant));
    for (size_t s = 0; s < c->op->n_slots; s++)
        if (!dsv4_tensors_alike(&c->tensors[s], &variant->tensors[s]) ||
            !same_rows(&c->tensors[s], &variant->tensors[s]))
            return false;
    return variant->arena_bytes == c->arena_bytes;
}

const char *dsv4_next_word(char *word, size_t size, const char *list) {
    if (list == NULL) return NULL;
    list += strspn(list, " ");
    const size_t length = strcspn(list, " ");
    if (length == 0 || length >= size) return NULL;
    memcpy(word, list, length);
    word[length] = '\0';
    return list + length;
}

bool dsv4_has_word(const char *list, const char *word) {
    char one[DSV4_WORD_SIZE];
    while ((list = dsv4_next_word(one, sizeof one, list)) != NULL)
        if (strcmp(one, word) == 0) return true;
    return false;
}
