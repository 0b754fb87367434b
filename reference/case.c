/* SPDX-License-Identifier: Apache-2.0 */
/* Cases: parameters with defaults and checks, and the call that an implementation sees. */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory.h"
#include "op.h"

int dsv4_fail(struct dsv4_err *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return -1;
}

void dsv4_case_init(struct dsv4_case *c, const struct dsv4_op *op, const char *name) {
    struct dsv4_err err = {0};
    memset(c, 0, sizeof *c);
    assert(op->n_params <= DSV4_MAX_PARAMS && op->n_slots <= DSV4_MAX_TENSORS);
    c->op = op;
    snprintf(c->name, sizeof c->name, "%s", name);
    for (size_t p = 0; p < op->n_params; p++)
        if (dsv4_case_set(c, op->params[p].name, op->params[p].initial, &err) != 0) {
            fprintf(stderr, "dsv4cts: op %s: bad default: %s\n", op->name, err.text);
            abort();
        }
}

void dsv4_case_free(struct dsv4_case *c) {
    for (size_t i = 0; i < c->n_blocks; i++) dsv4_free(c->blocks[i]);
    dsv4_free(c->blocks);
    memset(c, 0, sizeof *c);
}

void *dsv4_case_alloc(struct dsv4_case *c, size_t bytes) {
    c->blocks = dsv4_resize(c->blocks, (c->n_blocks + 1) * sizeof *c->blocks);
    return c->blocks[c->n_blocks++] = dsv4_alloc(bytes);
}

/* Finds `word` in the space-separated list; NULL when it is not there. */
static const char *find_word(const char *list, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = list; length > 0 && (at = strstr(at, word)) != NULL; at++)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return at;
    return NULL;
}

static int set_number(struct dsv4_value *value, const struct dsv4_param_def *def, const char *text,
                      struct dsv4_err *err) {
    char *end = NULL;
    errno = 0;
    if (def->kind == DSV4_INT) {
        value->i = strtoll(text, &end, 10);
        value->f = (double)value->i;
    } else {
        value->f = (double)strtof(text, &end);
    }
    if (end == text || *end != '\0' || (errno == ERANGE && def->kind == DSV4_INT))
        return dsv4_fail(err, "%s: '%s' is not %s", def->name, text,
                         def->kind == DSV4_INT ? "an integer" : "a number");
    if (!(value->f >= def->min && value->f <= def->max))
        return dsv4_fail(err, "%s: %s is outside %.17g .. %.17g", def->name, text, def->min,
                         def->max);
    return 0;
}

int dsv4_case_set(struct dsv4_case *c, const char *name, const char *text, struct dsv4_err *err) {
    size_t p = 0;
    while (p < c->op->n_params && strcmp(c->op->params[p].name, name) != 0) p++;
    if (p == c->op->n_params)
        return dsv4_fail(err, "op %s has no parameter '%s'; `dsv4cts list %s` shows them",
                         c->op->name, name, c->op->name);
    const struct dsv4_param_def *def = &c->op->params[p];
    if (def->kind != DSV4_NAME) return set_number(&c->values[p], def, text, err);
    if (strlen(text) >= sizeof c->words[p] || strchr(text, ' ') != NULL)
        return dsv4_fail(err, "%s: a word of under %d bytes without spaces is expected", name,
                         DSV4_WORD_SIZE);
    if (def->names != NULL && find_word(def->names, text) == NULL)
        return dsv4_fail(err, "%s: '%.60s' is not one of: %s", name, text, def->names);
    snprintf(c->words[p], sizeof c->words[p], "%s", text);
    c->values[p].s = c->words[p];
    return 0;
}

void dsv4_case_text(const struct dsv4_case *c, size_t param, char *text, size_t size) {
    const struct dsv4_value *value = &c->values[param];
    switch (c->op->params[param].kind) {
    case DSV4_INT: snprintf(text, size, "%lld", (long long)value->i); break;
    case DSV4_FLOAT: snprintf(text, size, "%.9g", value->f); break;
    case DSV4_NAME: snprintf(text, size, "%s", c->words[param]); break;
    }
}

/* Inputs ask for every element. Equal literals of a program mostly share an address, so no letter is read. */
static size_t param_index(const struct dsv4_case *c, const char *name) {
    size_t p = 0;
    while (p < c->op->n_params && c->op->params[p].name != name) p++;
    if (p < c->op->n_params) return p;
    for (p = 0; p < c->op->n_params && strcmp(c->op->params[p].name, name) != 0;) p++;
    assert(p < c->op->n_params);
    return p;
}

int64_t dsv4_case_int(const struct dsv4_case *c, const char *name) {
    return c->values[param_index(c, name)].i;
}

float dsv4_case_float(const struct dsv4_case *c, const char *name) {
    return (float)c->values[param_index(c, name)].f;
}

const char *dsv4_case_word(const struct dsv4_case *c, const char *name) {
    return c->words[param_index(c, name)];
}

bool dsv4_case_is(const struct dsv4_case *c, const char *name, const char *value) {
    return strcmp(dsv4_case_word(c, name), value) == 0;
}

void dsv4_case_call(const struct dsv4_case *c, dsv4_call *call, dsv4_tensor *tensors,
                    dsv4_param *params) {
    memset(call, 0, sizeof *call);
    call->size = sizeof *call;
    call->op = c->op->name;
    call->tensors = tensors;
    call->params = params;
    for (size_t s = 0; s < c->op->n_slots; s++) tensors[call->n_tensors++] = c->tensors[s].t;
    for (size_t p = 0; p < c->op->n_params; p++) {
        const struct dsv4_param_def *def = &c->op->params[p];
        if (def->use == DSV4_USE_INPUT) continue;
        dsv4_param *param = &params[call->n_params++];
        memset(param, 0, sizeof *param);
        param->name = def->name;
        param->kind = (uint32_t)def->kind;
        param->i = c->values[p].i;
        param->f = c->values[p].f;
        param->s = def->kind == DSV4_NAME ? c->words[p] : NULL;
    }
}
