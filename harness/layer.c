/* SPDX-License-Identifier: Apache-2.0 */
/* YAML layers to calls. */
#include "layer.h"

#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "file.h"
#include "plain_yaml.h"

enum {
    MAX_FILE_BYTES = 1 << 20,
    MAX_STEPS = 8,
    MAX_NODES = 200,
    MAX_VALUES = 32,
    MAX_ELEMENTS = 1 << 28
};

struct reader {
    struct dsv4_layer *layer;
    struct dsv4_yaml yaml;
    /* Names and values that `set` gives each step: name, value, name, value, ... */
    const char *set[MAX_STEPS][2 * MAX_VALUES];
    size_t n_set[MAX_STEPS];
};

#define FAIL_NODE(r, node, ...)                                                                    \
    dsv4_yaml_fail((r)->yaml.err, (r)->yaml.file, (node)->start_mark.line, __VA_ARGS__)

/* ---- steps ---- */

/* A name that becomes part of a case's. */
static int read_name(const struct reader *r, const yaml_node_t *node, const char *what,
                     char name[DSV4_NAME_SIZE]) {
    enum { LONGEST = 28 };
    if (dsv4_yaml_want(&r->yaml, node, YAML_SCALAR_NODE, what) != 0) return -1;
    if (!dsv4_is_kebab(dsv4_yaml_text(node)) || strlen(dsv4_yaml_text(node)) > LONGEST)
        return FAIL_NODE(r, node, "%s '%.60s' is not kebab-case of at most %d characters", what,
                         dsv4_yaml_text(node), LONGEST);
    snprintf(name, DSV4_NAME_SIZE, "%s", dsv4_yaml_text(node));
    return 0;
}

static int read_set(struct reader *r, const yaml_node_t *node, size_t step) {
    const char *name;
    const yaml_node_t *key, *value;
    if (dsv4_yaml_want(&r->yaml, node, YAML_MAPPING_NODE, "set") != 0) return -1;
    if (dsv4_yaml_pairs(node) > MAX_VALUES)
        return FAIL_NODE(r, node, "more than %d values", MAX_VALUES);
    for (size_t i = 0; i < dsv4_yaml_pairs(node); i++) {
        if (dsv4_yaml_pair(&r->yaml, node, i, &name, &key, &value) != 0 ||
            dsv4_yaml_want(&r->yaml, value, YAML_SCALAR_NODE, name) != 0)
            return -1;
        r->set[step][2 * i] = name;
        r->set[step][2 * i + 1] = dsv4_yaml_text(value);
        r->n_set[step]++;
    }
    return 0;
}

static int read_steps(struct reader *r, const yaml_node_t *node) {
    static const char *const keys[] = {"name", "set"};
    struct dsv4_layer *const layer = r->layer;
    const yaml_node_t *values[2];
    if (dsv4_yaml_want(&r->yaml, node, YAML_SEQUENCE_NODE, "steps") != 0) return -1;
    const size_t n = dsv4_yaml_items(node);
    if (n == 0 || n > MAX_STEPS) return FAIL_NODE(r, node, "a layer has 1 to %d steps", MAX_STEPS);
    layer->steps = dsv4_alloc(n * sizeof *layer->steps);
    for (; layer->n_steps < n; layer->n_steps++) {
        const size_t step = layer->n_steps;
        const yaml_node_t *const entry = dsv4_yaml_item(&r->yaml, node, step);
        if (dsv4_yaml_map(&r->yaml, entry, "a step", keys, 2, 1, values) != 0 ||
            read_name(r, values[0], "a step's name", layer->steps[step]) != 0 ||
            (values[1] != NULL && read_set(r, values[1], step) != 0))
            return -1;
        for (size_t i = 0; i < step; i++)
            if (strcmp(layer->steps[i], layer->steps[step]) == 0)
                return FAIL_NODE(r, values[0], "the step '%s' exists already", layer->steps[step]);
    }
    return 0;
}

/* The text itself, or what the step sets for a `$name`. NULL with err. */
static const char *value_of(const struct reader *r, const yaml_node_t *node, const char *text,
                            size_t length, size_t step) {
    static const char *const unset = NULL;
    if (text[0] != '$') return text;
    for (size_t i = 0; i < r->n_set[step]; i++)
        if (strlen(r->set[step][2 * i]) == length - 1 &&
            strncmp(r->set[step][2 * i], text + 1, length - 1) == 0)
            return r->set[step][2 * i + 1];
    FAIL_NODE(r, node, "the step '%s' does not set '%.*s'", r->layer->steps[step],
              (int)(length < 60 ? length : 60), text);
    return unset;
}

/* ---- pieces: node.tensor, node.tensor[rows], node.tensor[rows, columns], node.tensor' (turned) ---- */

/* A bound of a range, up to one of `ends`. */
static int read_bound(const struct reader *r, const yaml_node_t *node, const char **at,
                      const char *ends, size_t step, int64_t *bound) {
    char *end = NULL;
    *at += strspn(*at, " ");
    const size_t length = strcspn(*at, ends);
    size_t used = length;
    while (used > 0 && (*at)[used - 1] == ' ') used--;
    if (used > 0) {
        const char *const text = value_of(r, node, *at, used, step);
        if (text == NULL) return -1;
        *bound = strtoll(text, &end, 10);
        if (end == text || *bound < 0 || *bound > INT32_MAX || (text == *at && end != *at + used) ||
            (text != *at && *end != '\0'))
            return FAIL_NODE(r, node, "'%.60s': '%.*s' is not a bound", dsv4_yaml_text(node),
                             (int)(used < 40 ? used : 40), *at);
    }
    *at += length;
    return 0;
}

static int read_range(const struct reader *r, const yaml_node_t *node, const char **at, size_t step,
                      int64_t range[2]) {
    if (read_bound(r, node, at, ":,]", step, &range[0]) != 0) return -1;
    if (**at != ':')
        return FAIL_NODE(r, node, "'%.80s': a range is written from:to", dsv4_yaml_text(node));
    ++*at;
    return read_bound(r, node, at, ",]", step, &range[1]);
}

static int read_slice(const struct reader *r, const yaml_node_t *node, const char *at, size_t step,
                      struct dsv4_piece *piece) {
    if (*at == '\0') return 0;
    piece->turned = strcmp(at, "'") == 0;
    if (piece->turned) return 0;
    if (*at++ != '[')
        return FAIL_NODE(r, node, "'%.80s': nothing may follow the '", dsv4_yaml_text(node));
    if (read_range(r, node, &at, step, piece->rows) != 0) return -1;
    if (*at == ',') {
        at++;
        if (read_range(r, node, &at, step, piece->columns) != 0) return -1;
    }
    if (strcmp(at, "]") == 0) return 0;
    return FAIL_NODE(r, node, "'%.80s' is not node.tensor[rows, columns]", dsv4_yaml_text(node));
}

/* The call of a node in a step; n_calls: it does not run there, or not yet. */
static size_t call_of(const struct dsv4_layer *layer, const char *name, size_t length,
                      size_t step) {
    size_t i = 0;
    while (i < layer->n_calls &&
           (layer->calls[i].step != step || strlen(layer->calls[i].node) != length ||
            strncmp(layer->calls[i].node, name, length) != 0))
        i++;
    return i;
}

static size_t slot_of(const struct dsv4_op *op, const char *name, size_t length) {
    size_t s = 0;
    while (s < op->n_slots &&
           (strlen(op->slots[s].name) != length || strncmp(op->slots[s].name, name, length) != 0))
        s++;
    return s;
}

/* Whether any node of the file has this name: one that runs in other steps is no slip of the pen. */
static bool is_node(const struct reader *r, const char *name, size_t length) {
    const yaml_node_t *const root = yaml_document_get_root_node(r->yaml.document);
    for (size_t i = 0; i < dsv4_yaml_pairs(root); i++) {
        const yaml_node_t *const nodes =
            dsv4_yaml_node(&r->yaml, root->data.mapping.pairs.start[i].value);
        if (nodes->type != YAML_SEQUENCE_NODE) continue;
        for (size_t k = 0; k < dsv4_yaml_items(nodes); k++) {
            const yaml_node_t *const node = dsv4_yaml_item(&r->yaml, nodes, k);
            for (size_t p = 0; node->type == YAML_MAPPING_NODE && p < dsv4_yaml_pairs(node); p++) {
                const yaml_node_pair_t *const pair = &node->data.mapping.pairs.start[p];
                const yaml_node_t *const key = dsv4_yaml_node(&r->yaml, pair->key);
                const yaml_node_t *const value = dsv4_yaml_node(&r->yaml, pair->value);
                if (key->type == YAML_SCALAR_NODE && value->type == YAML_SCALAR_NODE &&
                    strcmp(dsv4_yaml_text(key), "name") == 0 &&
                    strlen(dsv4_yaml_text(value)) == length &&
                    strncmp(dsv4_yaml_text(value), name, length) == 0)
                    return true;
            }
        }
    }
    return false;
}

/* Reads one source. 1: the node does not run in this step. */
static int read_piece(const struct reader *r, const yaml_node_t *node, size_t step,
                      struct dsv4_piece *piece) {
    if (dsv4_yaml_want(&r->yaml, node, YAML_SCALAR_NODE, "a source") != 0) return -1;
    const char *const text = dsv4_yaml_text(node);
    const size_t length = strcspn(text, "."), end = strcspn(text, "['");
    *piece = (struct dsv4_piece){
        .rows = {0, -1},
          .columns = {0, -1}
    };
    if (text[length] != '.' || end < length)
        return FAIL_NODE(r, node, "'%.80s' is not node.tensor", text);
    piece->call = call_of(r->layer, text, length, step);
    if (piece->call == r->layer->n_calls) {
        if (!is_node(r, text, length))
            return FAIL_NODE(r, node, "there is no node '%.*s'", (int)(length < 60 ? length : 60),
                             text);
        return 1;
    }
    const struct dsv4_op *const op = r->layer->calls[piece->call].s.op;
    piece->slot = slot_of(op, text + length + 1, end - length - 1);
    if (piece->slot == op->n_slots)
        return FAIL_NODE(r, node, "%s has no tensor '%.*s'; `dsv4cts list %s` shows them", op->name,
                         (int)(end - length - 1 < 60 ? end - length - 1 : 60), text + length + 1,
                         op->name);
    return read_slice(r, node, text + end, step, piece);
}

/* ---- bindings ---- */

static struct dsv4_binding *add_binding(const struct reader *r, struct dsv4_layer_call *call,
                                        const yaml_node_t *name) {
    const struct dsv4_op *const op = call->s.op;
    if (dsv4_yaml_want(&r->yaml, name, YAML_SCALAR_NODE, "a tensor's name") != 0) return NULL;
    const size_t slot = slot_of(op, dsv4_yaml_text(name), strlen(dsv4_yaml_text(name)));
    if (slot == op->n_slots) {
        FAIL_NODE(r, name, "%s has no tensor '%.60s'; `dsv4cts list %s` shows them", op->name,
                  dsv4_yaml_text(name), op->name);
        return NULL;
    }
    for (size_t i = 0; i < call->n_bindings; i++)
        if (call->bindings[i].slot == slot) {
            FAIL_NODE(r, name, "`%s` is bound twice", op->slots[slot].name);
            return NULL;
        }
    struct dsv4_binding *const b = &call->bindings[call->n_bindings++];
    *b = (struct dsv4_binding){.slot = slot, .line = (int)name->start_mark.line + 1};
    return b;
}

static int read_binding(const struct reader *r, struct dsv4_layer_call *call,
                        const yaml_node_t *name, const yaml_node_t *value) {
    struct dsv4_binding *const b = add_binding(r, call, name);
    if (b == NULL) return -1;
    const bool list = value->type == YAML_SEQUENCE_NODE;
    const size_t n = list ? dsv4_yaml_items(value) : 1;
    b->pieces = dsv4_alloc((n + 1) * sizeof *b->pieces);
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *const source = list ? dsv4_yaml_item(&r->yaml, value, i) : value;
        const int status = read_piece(r, source, call->step, &b->pieces[b->n_pieces]);
        if (status < 0) return -1;
        if (status == 0) b->n_pieces++;
    }
    if (b->n_pieces > 0) return 0;
    return FAIL_NODE(r, value,
                     "in step '%s' none of these nodes has run before this one; a layer runs from "
                     "top to bottom",
                     r->layer->steps[call->step]);
}

/* A tensor that starts from what the same node left in the step before, and from zeros in the first. */
static int read_carry(const struct reader *r, struct dsv4_layer_call *call,
                      const yaml_node_t *node) {
    if (dsv4_yaml_want(&r->yaml, node, YAML_SEQUENCE_NODE, "carry") != 0) return -1;
    for (size_t i = 0; i < dsv4_yaml_items(node); i++) {
        struct dsv4_binding *const b = add_binding(r, call, dsv4_yaml_item(&r->yaml, node, i));
        if (b == NULL) return -1;
        for (size_t step = call->step; step > 0 && b->n_pieces == 0; step--) {
            const size_t before = call_of(r->layer, call->node, strlen(call->node), step - 1);
            if (before == r->layer->n_calls) continue;
            b->pieces = dsv4_alloc(sizeof *b->pieces);
            b->pieces[b->n_pieces++] = (struct dsv4_piece){
                .call = before, .slot = b->slot, .rows = {0, -1},
                        .columns = {0, -1}
            };
        }
    }
    return 0;
}

/* ---- nodes ---- */

enum { NAME, OP, ROW, WITH, IN, CARRY, STEPS, SEED, N_KEYS };

static int read_with(const struct reader *r, struct dsv4_layer_call *call,
                     const yaml_node_t *node) {
    const char *name;
    const yaml_node_t *key, *value;
    struct dsv4_case scratch;
    int status = 0;
    if (dsv4_yaml_want(&r->yaml, node, YAML_MAPPING_NODE, "with") != 0) return -1;
    call->s.params = dsv4_alloc((2 * dsv4_yaml_pairs(node) + 1) * sizeof *call->s.params);
    dsv4_case_init(&scratch, call->s.op, "scratch");
    for (size_t i = 0; status == 0 && i < dsv4_yaml_pairs(node); i++) {
        status = dsv4_yaml_pair(&r->yaml, node, i, &name, &key, &value);
        if (status != 0 || (status = dsv4_yaml_want(&r->yaml, value, YAML_SCALAR_NODE,
                                                    "the value of a parameter")) != 0)
            break;
        const char *const text = dsv4_yaml_text(value);
        const char *const set = value_of(r, value, text, strlen(text), call->step);
        if (set == NULL) {
            status = -1;
            break;
        }
        status = dsv4_case_set(&scratch, name, set, r->yaml.err);
        if (status != 0) dsv4_err_at(r->yaml.err, r->yaml.file, (int)value->start_mark.line + 1);
        call->s.params[2 * call->s.n_params] = dsv4_copy_text(name);
        call->s.params[2 * call->s.n_params++ + 1] = dsv4_copy_text(set);
    }
    dsv4_case_free(&scratch);
    return status;
}

/* Whether a node runs in a step. -1: its list names a step that the layer lacks. */
static int runs_in(const struct reader *r, const yaml_node_t *list, size_t step) {
    int found = 0;
    if (list == NULL) return 1;
    if (dsv4_yaml_want(&r->yaml, list, YAML_SEQUENCE_NODE, "steps") != 0) return -1;
    for (size_t i = 0; i < dsv4_yaml_items(list); i++) {
        const yaml_node_t *const word = dsv4_yaml_item(&r->yaml, list, i);
        size_t s = 0;
        if (dsv4_yaml_want(&r->yaml, word, YAML_SCALAR_NODE, "a step") != 0) return -1;
        while (s < r->layer->n_steps && strcmp(r->layer->steps[s], dsv4_yaml_text(word)) != 0) s++;
        if (s == r->layer->n_steps)
            return FAIL_NODE(r, word, "there is no step '%.60s'", dsv4_yaml_text(word));
        if (s == step) found = 1;
    }
    return found;
}

/* The node's own seed, or one that the step changes as well. */
static uint64_t seed_of(const struct dsv4_layer *layer, const struct dsv4_layer_call *call,
                        bool by_step) {
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    const char *const words[] = {layer->name, call->node, by_step ? layer->steps[call->step] : ""};
    for (size_t w = 0; w < 3; w++) {
        for (const char *at = words[w]; *at != '\0'; at++)
            hash = (hash ^ (uint64_t)(unsigned char)*at) * UINT64_C(0x100000001B3);
        hash = (hash ^ '.') * UINT64_C(0x100000001B3);
    }
    return hash | 1;
}

static struct dsv4_layer_call *add_call(struct reader *r, const yaml_node_t *node,
                                        const struct dsv4_op *op, size_t step) {
    struct dsv4_layer *const layer = r->layer;
    layer->calls = dsv4_resize(layer->calls, (layer->n_calls + 1) * sizeof *layer->calls);
    struct dsv4_layer_call *const call = &layer->calls[layer->n_calls];
    memset(call, 0, sizeof *call);
    call->step = step;
    call->s = (struct dsv4_suite_case){
        .op = op,
        .tier = DSV4_FULL,
        .file = layer->file,
        .line = (int)node->start_mark.line + 1,
    };
    return call;
}

static int fill_call(struct reader *r, struct dsv4_layer_call *call, const yaml_node_t **values) {
    const struct dsv4_layer *const layer = r->layer;
    char *end = NULL;
    snprintf(call->s.name, sizeof call->s.name, "%.28s.%.28s.%.28s", layer->name,
             layer->steps[call->step], call->node);
    if (dsv4_yaml_want(&r->yaml, values[ROW], YAML_SCALAR_NODE, "row") != 0) return -1;
    call->row = (int)strtol(dsv4_yaml_text(values[ROW]), &end, 10);
    if (end == dsv4_yaml_text(values[ROW]) || *end != '\0' || call->row < 0)
        return FAIL_NODE(r, values[ROW], "row: '%.40s' is not the number of a row of the table",
                         dsv4_yaml_text(values[ROW]));
    if (values[WITH] != NULL && read_with(r, call, values[WITH]) != 0) return -1;
    const bool by_step = values[SEED] != NULL;
    if (by_step && (dsv4_yaml_want(&r->yaml, values[SEED], YAML_SCALAR_NODE, "seed") != 0 ||
                    strcmp(dsv4_yaml_text(values[SEED]), "step") != 0))
        return FAIL_NODE(r, values[SEED],
                         "seed: only `step` is known: other contents in each step");
    call->s.seed = seed_of(layer, call, by_step);
    call->bindings = dsv4_alloc(2 * DSV4_MAX_TENSORS * sizeof *call->bindings);
    const yaml_node_t *const in = values[IN];
    if (in != NULL && dsv4_yaml_want(&r->yaml, in, YAML_MAPPING_NODE, "in") != 0) return -1;
    for (size_t i = 0; in != NULL && i < dsv4_yaml_pairs(in); i++) {
        const yaml_node_pair_t *const pair = &in->data.mapping.pairs.start[i];
        if (read_binding(r, call, dsv4_yaml_node(&r->yaml, pair->key),
                         dsv4_yaml_node(&r->yaml, pair->value)) != 0)
            return -1;
    }
    return values[CARRY] != NULL ? read_carry(r, call, values[CARRY]) : 0;
}

static int read_node(struct reader *r, const yaml_node_t *node, size_t step) {
    static const char *const keys[N_KEYS] = {"name", "op",    "row",   "with",
                                             "in",   "carry", "steps", "seed"};
    const yaml_node_t *values[N_KEYS];
    if (dsv4_yaml_map(&r->yaml, node, "a node", keys, N_KEYS, 3, values) != 0) return -1;
    const int runs = runs_in(r, values[STEPS], step);
    if (runs <= 0) return runs;
    if (dsv4_yaml_want(&r->yaml, values[OP], YAML_SCALAR_NODE, "op") != 0) return -1;
    const struct dsv4_op *const op = dsv4_op_find(dsv4_yaml_text(values[OP]));
    if (op == NULL)
        return FAIL_NODE(r, values[OP], "there is no op '%.60s'; `dsv4cts list` shows them",
                         dsv4_yaml_text(values[OP]));
    struct dsv4_layer_call *const call = add_call(r, node, op, step);
    int status = read_name(r, values[NAME], "a node's name", call->node);
    if (status == 0 && call_of(r->layer, call->node, strlen(call->node), step) != r->layer->n_calls)
        status = FAIL_NODE(r, values[NAME], "the node '%s' exists already", call->node);
    if (status == 0) status = fill_call(r, call, values);
    r->layer->n_calls++; /* now, so that a node cannot read itself */
    return status;
}

static int read_layer(struct reader *r) {
    static const char *const keys[] = {"layer", "what", "steps", "nodes"};
    const yaml_node_t *values[4], *root = yaml_document_get_root_node(r->yaml.document);
    struct dsv4_layer *const layer = r->layer;
    if (dsv4_yaml_map(&r->yaml, root, "a layer", keys, 4, 4, values) != 0 ||
        read_name(r, values[0], "layer", layer->name) != 0 ||
        dsv4_yaml_want(&r->yaml, values[1], YAML_SCALAR_NODE, "what") != 0 ||
        read_steps(r, values[2]) != 0 ||
        dsv4_yaml_want(&r->yaml, values[3], YAML_SEQUENCE_NODE, "nodes") != 0)
        return -1;
    layer->what = dsv4_copy_text(dsv4_yaml_text(values[1]));
    layer->line = (int)root->start_mark.line + 1;
    const size_t n = dsv4_yaml_items(values[3]);
    if (n == 0 || n > MAX_NODES)
        return FAIL_NODE(r, values[3], "a layer has 1 to %d nodes", MAX_NODES);
    for (size_t step = 0; step < layer->n_steps; step++)
        for (size_t i = 0; i < n; i++)
            if (read_node(r, dsv4_yaml_item(&r->yaml, values[3], i), step) != 0) return -1;
    return 0;
}

/* ---- what fits ---- */

int dsv4_layer_case(const struct dsv4_layer *layer, size_t call, struct dsv4_case *c,
                    struct dsv4_err *err) {
    const struct dsv4_suite_case *const s = &layer->calls[call].s;
    if (dsv4_suite_case_make(s, c, err) != 0) return -1;
    if (!c->refused) return 0;
    dsv4_fail(err, "%s: the contract refuses this call, so that nothing could follow it", s->name);
    return dsv4_err_at(err, s->file, s->line);
}

/* "[3, 512] bf16" */
static void shape_text(char *text, size_t size, const dsv4_tensor *t) {
    size_t n = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < t->ndim && n < size; d++)
        n += (size_t)snprintf(text + n, size - n, "%s%lld", d > 0 ? ", " : "",
                              (long long)t->shape[d]);
    if (n < size) snprintf(text + n, size - n, "] %s", dsv4_dtype_name(t->dtype));
}

/* Codes may come as plain bytes: some ops call an FP8 row u8. */
static bool same_dtype(uint32_t a, uint32_t b) {
    return a == b ||
           ((a == DSV4_U8 || b == DSV4_U8) && dsv4_dtype_bytes(a) == 1 && dsv4_dtype_bytes(b) == 1);
}

static int64_t columns_of(const dsv4_tensor *t) {
    int64_t n = 1;
    for (int d = 1; d < t->ndim; d++) n *= t->shape[d];
    return n;
}

int64_t dsv4_binding_elements(const dsv4_tensor *t) {
    return t->ndim > 0 ? t->shape[0] * columns_of(t) : 0;
}

static int check_piece(const struct dsv4_piece *p, const struct dsv4_case *from,
                       const dsv4_tensor *to, int64_t *elements, struct dsv4_err *err) {
    const struct dsv4_case_tensor *const tensor = &from->tensors[p->slot];
    const dsv4_tensor *const t = &tensor->t;
    char shape[120];
    shape_text(shape, sizeof shape, t);
    if (t->ndim == 0) return dsv4_fail(err, "%s.%s is absent", from->name, t->name);
    if (tensor->rows != NULL)
        return dsv4_fail(err, "%s.%s has rows far apart", from->name, t->name);
    if (!same_dtype(t->dtype, to->dtype))
        return dsv4_fail(err, "%s.%s is %s; `%s` is %s", from->name, t->name, shape, to->name,
                         dsv4_dtype_name(to->dtype));
    if (p->turned && t->ndim < 2)
        return dsv4_fail(err, "%s.%s is %s; there are no two dimensions to turn", from->name,
                         t->name, shape);
    const int64_t rows = p->rows[1] < 0 ? t->shape[0] : p->rows[1];
    const int64_t columns = p->columns[1] < 0 ? columns_of(t) : p->columns[1];
    if (rows > t->shape[0] || p->rows[0] > rows || columns > columns_of(t) ||
        p->columns[0] > columns)
        return dsv4_fail(err, "%s.%s is %s; rows %lld:%lld and columns %lld:%lld do not lie in it",
                         from->name, t->name, shape, (long long)p->rows[0], (long long)rows,
                         (long long)p->columns[0], (long long)columns);
    *elements += (rows - p->rows[0]) * (columns - p->columns[0]);
    return 0;
}

int dsv4_binding_check(const struct dsv4_layer *layer, size_t call,
                       const struct dsv4_binding *binding, const struct dsv4_case *const *made,
                       struct dsv4_err *err) {
    const struct dsv4_case_tensor *const tensor = &made[call]->tensors[binding->slot];
    const int64_t all = dsv4_binding_elements(&tensor->t);
    int64_t elements = 0;
    char shape[120];
    int status = 0;
    if (tensor->t.ndim == 0 || all > MAX_ELEMENTS)
        status = dsv4_fail(err, "`%s` is %s here", tensor->t.name,
                           tensor->t.ndim == 0 ? "absent" : "too large to be bound");
    for (size_t i = 0; status == 0 && i < binding->n_pieces; i++)
        status = check_piece(&binding->pieces[i], made[binding->pieces[i].call], &tensor->t,
                             &elements, err);
    if (status == 0 && binding->n_pieces > 0 && elements != all) {
        shape_text(shape, sizeof shape, &tensor->t);
        status =
            dsv4_fail(err, "`%s` of %s is %s, %lld elements; its sources have %lld", tensor->t.name,
                      made[call]->name, shape, (long long)all, (long long)elements);
    }
    return status == 0 ? 0 : dsv4_err_at(err, layer->file, binding->line);
}

static int check_layer(const struct dsv4_layer *layer, struct dsv4_err *err) {
    struct dsv4_case *const cases = dsv4_alloc((layer->n_calls + 1) * sizeof *cases);
    const struct dsv4_case **const made = dsv4_alloc((layer->n_calls + 1) * sizeof *made);
    int status = 0;
    size_t n = 0;
    for (; status == 0 && n < layer->n_calls; n++) {
        made[n] = &cases[n];
        status = dsv4_layer_case(layer, n, &cases[n], err);
        for (size_t b = 0; status == 0 && b < layer->calls[n].n_bindings; b++)
            status = dsv4_binding_check(layer, n, &layer->calls[n].bindings[b], made, err);
    }
    for (size_t i = 0; i < n; i++) dsv4_case_free(&cases[i]);
    dsv4_free(made);
    dsv4_free(cases);
    return status;
}

/* ---- files ---- */

int dsv4_layer_parse(struct dsv4_layer *layer, const unsigned char *text, size_t size,
                     const char *path, struct dsv4_err *err) {
    yaml_document_t document;
    memset(layer, 0, sizeof *layer);
    layer->file = dsv4_copy_text(path);
    struct reader *const r = dsv4_alloc(sizeof *r);
    r->layer = layer;
    r->yaml = (struct dsv4_yaml){&document, layer->file, err};
    int status = dsv4_yaml_load(&document, path, text, size, err);
    if (status == 0) {
        status = read_layer(r);
        yaml_document_delete(&document);
    }
    dsv4_free(r);
    return status == 0 ? check_layer(layer, err) : -1;
}

void dsv4_layer_free(struct dsv4_layer *layer) {
    for (size_t i = 0; i < layer->n_calls; i++) {
        struct dsv4_layer_call *const call = &layer->calls[i];
        for (size_t p = 0; p < 2 * call->s.n_params; p++) dsv4_free(call->s.params[p]);
        for (size_t b = 0; b < call->n_bindings; b++) dsv4_free(call->bindings[b].pieces);
        dsv4_free(call->s.params);
        dsv4_free(call->bindings);
    }
    dsv4_free(layer->calls);
    dsv4_free(layer->steps);
    dsv4_free(layer->what);
    dsv4_free(layer->file);
    memset(layer, 0, sizeof *layer);
}

/* The name must be the file's, which is what --layer chooses by. */
static int read_file(struct dsv4_layers *layers, const char *path, const char *stem,
                     struct dsv4_err *err) {
    unsigned char *bytes;
    size_t size;
    if (dsv4_file_read(&bytes, &size, path, MAX_FILE_BYTES, err) != 0) return -1;
    layers->at = dsv4_resize(layers->at, (layers->n + 1) * sizeof *layers->at);
    struct dsv4_layer *const layer = &layers->at[layers->n++];
    int status = dsv4_layer_parse(layer, bytes, size, path, err);
    dsv4_free(bytes);
    if (status == 0 && strcmp(layer->name, stem) != 0) {
        dsv4_fail(err, "layer: '%s', but this is the file of %s", layer->name, stem);
        status = dsv4_err_at(err, path, layer->line);
    }
    return status;
}

int dsv4_layers_load(struct dsv4_layers *layers, const char *suites, const char *name,
                     struct dsv4_err *err) {
    char pattern[4200], stem[256];
    glob_t found = {0};
    int status = 0;
    memset(layers, 0, sizeof *layers);
    snprintf(pattern, sizeof pattern, "%.4000s/layers/*.yaml", suites);
    if (glob(pattern, 0, NULL, &found) != 0) {
        globfree(&found);
        return 0;
    }
    for (size_t i = 0; status == 0 && i < found.gl_pathc; i++) {
        const char *const slash = strrchr(found.gl_pathv[i], '/');
        snprintf(stem, sizeof stem, "%.*s", (int)(strlen(slash + 1) - strlen(".yaml")), slash + 1);
        if (strcmp(stem, "table") != 0 && fnmatch(name, stem, FNM_EXTMATCH) == 0)
            status = read_file(layers, found.gl_pathv[i], stem, err);
    }
    globfree(&found);
    return status;
}

void dsv4_layers_free(struct dsv4_layers *layers) {
    for (size_t i = 0; i < layers->n; i++) dsv4_layer_free(&layers->at[i]);
    dsv4_free(layers->at);
    memset(layers, 0, sizeof *layers);
}

bool dsv4_layer_is_chosen(const struct dsv4_layer *layer, const struct dsv4_filter *filter) {
    if (filter->name != NULL || filter->tag != NULL || filter->dialect != NULL ||
        filter->shard != NULL || (filter->tiers != 0 && (filter->tiers >> DSV4_FULL & 1U) == 0))
        return false;
    for (size_t i = 0; filter->op != NULL && i < layer->n_calls; i++)
        if (fnmatch(filter->op, layer->calls[i].s.op->name, FNM_EXTMATCH) == 0) return true;
    return filter->op == NULL;
}

/* ---- the table ---- */

static int read_ops(const struct dsv4_yaml *y, struct dsv4_layer_row *row,
                    const yaml_node_t *list) {
    if (dsv4_yaml_want(y, list, YAML_SEQUENCE_NODE, "ops") != 0) return -1;
    row->ops = dsv4_alloc((dsv4_yaml_items(list) + 1) * sizeof *row->ops);
    for (size_t i = 0; i < dsv4_yaml_items(list); i++) {
        const yaml_node_t *const word = dsv4_yaml_item(y, list, i);
        if (dsv4_yaml_want(y, word, YAML_SCALAR_NODE, "an op") != 0) return -1;
        const struct dsv4_op *const op = dsv4_op_find(dsv4_yaml_text(word));
        if (op == NULL)
            return dsv4_yaml_fail(y->err, y->file, word->start_mark.line,
                                  "there is no op '%.60s'; `dsv4cts list` shows them",
                                  dsv4_yaml_text(word));
        row->ops[row->n_ops++] = op;
    }
    return 0;
}

static int read_table(struct dsv4_layer_table *table, const struct dsv4_yaml *y) {
    static const char *const keys[] = {"row", "what", "ops"};
    const yaml_node_t *const list = yaml_document_get_root_node(y->document);
    if (dsv4_yaml_want(y, list, YAML_SEQUENCE_NODE, "the table") != 0) return -1;
    table->rows = dsv4_alloc((dsv4_yaml_items(list) + 1) * sizeof *table->rows);
    for (size_t i = 0; i < dsv4_yaml_items(list); i++) {
        const yaml_node_t *values[3];
        struct dsv4_layer_row *const row = &table->rows[table->n++];
        if (dsv4_yaml_map(y, dsv4_yaml_item(y, list, i), "a row", keys, 3, 3, values) != 0 ||
            dsv4_yaml_want(y, values[0], YAML_SCALAR_NODE, "row") != 0 ||
            dsv4_yaml_want(y, values[1], YAML_SCALAR_NODE, "what") != 0)
            return -1;
        snprintf(row->number, sizeof row->number, "%s", dsv4_yaml_text(values[0]));
        row->what = dsv4_copy_text(dsv4_yaml_text(values[1]));
        if (read_ops(y, row, values[2]) != 0) return -1;
    }
    return 0;
}

int dsv4_layer_table_read(struct dsv4_layer_table *table, const char *suites,
                          struct dsv4_err *err) {
    char path[4200];
    yaml_document_t document;
    unsigned char *bytes;
    size_t size;
    memset(table, 0, sizeof *table);
    snprintf(path, sizeof path, "%.4000s/layers/table.yaml", suites);
    if (dsv4_file_read(&bytes, &size, path, MAX_FILE_BYTES, err) != 0) return -1;
    int status = dsv4_yaml_load(&document, path, bytes, size, err);
    if (status == 0) {
        const struct dsv4_yaml y = {&document, path, err};
        status = read_table(table, &y);
        yaml_document_delete(&document);
    }
    dsv4_free(bytes);
    return status;
}

void dsv4_layer_table_free(struct dsv4_layer_table *table) {
    for (size_t i = 0; i < table->n; i++) {
        dsv4_free(table->rows[i].what);
        dsv4_free(table->rows[i].ops);
    }
    dsv4_free(table->rows);
    memset(table, 0, sizeof *table);
}
