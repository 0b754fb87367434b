/* SPDX-License-Identifier: Apache-2.0 */
#include "chain.h"

#include <stdio.h>

#include "../reference/memory.h"
#include "hash.h"
#include "options.h"

/* [a, b, ...] as [b, a, ...]; `width` is the bytes of a row of dimension 0. */
static unsigned char *put_turned(unsigned char *to, const dsv4_tensor *t,
                                 const unsigned char *bytes, int64_t width) {
    const int64_t n = t->shape[1] > 0 ? width / t->shape[1] : 0;
    for (int64_t j = 0; j < t->shape[1]; j++)
        for (int64_t i = 0; i < t->shape[0]; i++, to += n)
            memcpy(to, bytes + i * width + j * n, (size_t)n);
    return to;
}

/* Appends a piece of a tensor's packed bytes. */
static unsigned char *put_piece(unsigned char *to, const struct dsv4_piece *p,
                                const struct dsv4_vector *from) {
    const dsv4_tensor *const t = &from->c.tensors[p->slot].t;
    const struct dsv4_vector_tensor *const golden = &from->tensors[p->slot];
    const unsigned char *const bytes = golden->out != NULL ? golden->out : golden->in;
    const int64_t size = dsv4_dtype_bytes(t->dtype);
    int64_t width = size;
    for (int d = 1; d < t->ndim; d++) width *= t->shape[d];
    const int64_t rows = p->rows[1] < 0 ? t->shape[0] : p->rows[1];
    const int64_t end = p->columns[1] < 0 ? width : p->columns[1] * size;
    const size_t n = (size_t)(end - p->columns[0] * size);
    if (p->turned) return put_turned(to, t, bytes, width);
    for (int64_t row = p->rows[0]; row < rows && n > 0; row++, to += n)
        memcpy(to, bytes + row * width + p->columns[0] * size, n);
    return to;
}

/* Keeps the live rows of a tensor that has others too. */
static void keep_live(unsigned char *bytes, const struct dsv4_case_tensor *tensor) {
    const size_t row = (size_t)(dsv4_binding_elements(&tensor->t) / tensor->t.shape[0] *
                                dsv4_dtype_bytes(tensor->t.dtype));
    for (int64_t i = 0; i < tensor->n_rows; i++) /* ascending, so that none is overwritten before */
        memmove(bytes + (size_t)i * row, bytes + (size_t)tensor->rows[i] * row, row);
}

void dsv4_chain_given(struct dsv4_vector_tensor *given, const struct dsv4_layer *layer, size_t call,
                      const struct dsv4_case *c, const struct dsv4_vector *const *feeds) {
    const struct dsv4_layer_call *const of = &layer->calls[call];
    for (size_t i = 0; i < of->n_bindings; i++) {
        const struct dsv4_binding *const b = &of->bindings[i];
        const struct dsv4_case_tensor *const tensor = &c->tensors[b->slot];
        unsigned char *at = dsv4_alloc(
            (size_t)(dsv4_binding_elements(&tensor->t) * dsv4_dtype_bytes(tensor->t.dtype)));
        given[b->slot].in = at;
        for (size_t p = 0; p < b->n_pieces; p++)
            at = put_piece(at, &b->pieces[p], feeds[b->pieces[p].call]);
        if (tensor->rows != NULL && tensor->n_rows > 0) keep_live(given[b->slot].in, tensor);
    }
}

static int make_call(struct dsv4_chain *chain, const struct dsv4_case **made,
                     const struct dsv4_vector **feeds, struct dsv4_err *err) {
    const size_t call = chain->n;
    const struct dsv4_layer_call *const of = &chain->layer->calls[call];
    struct dsv4_vector *const v = &chain->vectors[chain->n++];
    struct dsv4_vector_tensor given[DSV4_MAX_TENSORS] = {0};
    v->tier = of->s.tier;
    made[call] = &v->c;
    feeds[call] = v;
    if (dsv4_layer_case(chain->layer, call, &v->c, err) != 0) return -1;
    for (size_t i = 0; i < of->n_bindings; i++)
        if (dsv4_binding_check(chain->layer, call, &of->bindings[i], made, err) != 0) return -1;
    dsv4_chain_given(given, chain->layer, call, &v->c, feeds);
    const int status = dsv4_golden_make_given(v->tensors, &v->c, given, err);
    dsv4_golden_free(given);
    if (status != 0) return dsv4_err_at(err, of->s.file, of->s.line);
    dsv4_case_place(&v->c, dsv4_case_is_skewed(&v->c));
    return 0;
}

int dsv4_chain_make(struct dsv4_chain *chain, const struct dsv4_layer *layer,
                    struct dsv4_err *err) {
    *chain = (struct dsv4_chain){.layer = layer};
    chain->vectors = dsv4_alloc(layer->n_calls * sizeof *chain->vectors);
    const struct dsv4_case **const made = dsv4_alloc(layer->n_calls * sizeof *made);
    const struct dsv4_vector **const feeds = dsv4_alloc(layer->n_calls * sizeof *feeds);
    int status = 0;
    while (status == 0 && chain->n < layer->n_calls) status = make_call(chain, made, feeds, err);
    dsv4_free(made);
    dsv4_free(feeds);
    return status;
}

void dsv4_chain_free(struct dsv4_chain *chain) {
    for (size_t i = 0; i < chain->n; i++) dsv4_vector_free(&chain->vectors[i]);
    dsv4_free(chain->vectors);
    *chain = (struct dsv4_chain){0};
}

void dsv4_chain_hash(const struct dsv4_chain *chain, size_t step, char prompt[65],
                     char answer[65]) {
    struct dsv4_hash *const prompts = dsv4_hash_start(), *const answers = dsv4_hash_start();
    for (size_t i = 0; i < chain->n; i++) {
        const struct dsv4_vector *const v = &chain->vectors[i];
        if (chain->layer->calls[i].step != step) continue;
        dsv4_hash_add(prompts, v->c.name, strlen(v->c.name) + 1);
        dsv4_golden_prompt(&v->c, v->tensors, dsv4_hash_add, prompts);
        dsv4_hash_add(answers, v->c.name, strlen(v->c.name) + 1);
        dsv4_golden_answer(&v->c, v->tensors, dsv4_hash_add, answers);
    }
    dsv4_hash_finish(prompts, prompt);
    dsv4_hash_finish(answers, answer);
}

static int check_step(const struct dsv4_answers *a, const struct dsv4_chain *chain, size_t step,
                      struct dsv4_err *err) {
    char name[2 * DSV4_NAME_SIZE], prompt[65], answer[65];
    snprintf(name, sizeof name, "%s.%s", chain->layer->name, chain->layer->steps[step]);
    const struct dsv4_manifest_entry *const entry =
        dsv4_manifest_find(&a->manifest, DSV4_LAYER_FAMILY, name);
    if (entry == NULL)
        return dsv4_fail(err,
                         "%.300s/MANIFEST does not list %s/%s; run `make vectors LAYER=%s`, or "
                         "`check --fresh` while writing it",
                         a->directory, DSV4_LAYER_FAMILY, name, chain->layer->name);
    dsv4_chain_hash(chain, step, prompt, answer);
    if (strcmp(prompt, entry->prompt) == 0 && strcmp(answer, entry->answer) == 0) return 0;
    return dsv4_fail(err, "the %s of step %s are not those of MANIFEST",
                     strcmp(prompt, entry->prompt) != 0 ? "inputs" : "answers",
                     chain->layer->steps[step]);
}

int dsv4_answers_layer(const struct dsv4_answers *a, struct dsv4_chain *chain,
                       const struct dsv4_layer *layer, struct dsv4_err *err) {
    if (dsv4_chain_make(chain, layer, err) != 0) return -1;
    for (size_t step = 0; !a->fresh && step < layer->n_steps; step++)
        if (check_step(a, chain, step, err) != 0) return dsv4_err_at(err, layer->file, layer->line);
    return 0;
}
