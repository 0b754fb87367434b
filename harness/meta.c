/* SPDX-License-Identifier: Apache-2.0 */
/* A reader of meta.json takes op, case, tier, seed, parameters and tags from it; all the rest
 * follows from these and is held against a document made anew, so that no field can say anything
 * else. */
#include "meta.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "options.h"

static const char *const role_names[] = {"in", "out", "inout"};

static json_t *tensor_json(const struct dsv4_case *c, size_t slot) {
    const struct dsv4_case_tensor *tensor = &c->tensors[slot];
    if (tensor->t.ndim == 0) return json_null();
    json_t *shape = json_array(), *strides = json_array();
    for (int d = 0; d < tensor->t.ndim; d++) {
        json_array_append_new(shape, json_integer(tensor->t.shape[d]));
        json_array_append_new(strides, json_integer(tensor->t.stride[d]));
    }
    json_t *rows = tensor->rows != NULL ? json_integer(tensor->n_rows) : json_null();
    return json_pack("{s:s, s:s, s:o, s:o, s:s, s:o}", "role", role_names[tensor->role], "dtype",
                     dsv4_dtype_name(tensor->t.dtype), "shape", shape, "strides", strides, "layout",
                     tensor->t.layout, "rows", rows);
}

static json_t *params_json(const struct dsv4_case *c, bool only_dialects) {
    char text[DSV4_WORD_SIZE];
    json_t *params = json_object();
    for (size_t p = 0; p < c->op->n_params; p++) {
        if (only_dialects && c->op->params[p].use != DSV4_USE_DIALECT) continue;
        dsv4_case_text(c, p, text, sizeof text);
        json_object_set_new(params, c->op->params[p].name, json_string(text));
    }
    return params;
}

static json_t *to_json(const struct dsv4_vector *v) {
    char seed[32];
    json_t *tags = json_array(), *tensors = json_object();
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)v->c.seed);
    for (size_t i = 0; i < v->n_tags; i++) json_array_append_new(tags, json_string(v->tags[i]));
    for (size_t s = 0; s < v->c.op->n_slots; s++)
        json_object_set_new(tensors, v->c.op->slots[s].name, tensor_json(&v->c, s));
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:o}", "version",
                     DSV4_VECTOR_VERSION, "generator", DSV4_GENERATOR, "op", v->c.op->name, "case",
                     v->c.name, "tier", dsv4_tier_names[v->tier], "seed", seed, "params",
                     params_json(&v->c, false), "dialects", params_json(&v->c, true), "tags", tags,
                     "refused", (int)v->c.refused, "tensors", tensors);
}

char *dsv4_meta_text(const struct dsv4_vector *v) {
    json_t *json = to_json(v);
    char *const dumped = json_dumps(json, JSON_INDENT(1));
    char *const text = dsv4_copy_text(dumped != NULL ? dumped : "");
    free(dumped); /* jansson's own memory */
    json_decref(json);
    return text;
}

/* ---- reading ---- */

static void show_json(char *text, size_t size, const json_t *json) {
    const size_t n = json_dumpb(json, text, size - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    text[n < size ? n : size - 1] = '\0';
    if (n >= size - 1) memcpy(text + size - 4, "...", 4);
}

/* Finds the first place where `found` is not `wanted` and names it. */
static int compare(const char *path, const json_t *wanted, json_t *found, struct dsv4_err *err) {
    char below[200], a[100], b[100];
    const char *key;
    json_t *value;
    if (json_equal(wanted, found)) return 0;
    if (json_is_object(wanted) && json_is_object(found)) {
        json_object_foreach((json_t *)(uintptr_t)wanted, key, value) {
            json_t *other = json_object_get(found, key);
            snprintf(below, sizeof below, "%.120s%s%.60s", path, path[0] != '\0' ? "." : "", key);
            if (other == NULL) return dsv4_fail(err, "meta.json: %s is missing", below);
            if (compare(below, value, other, err) != 0) return -1;
        }
        json_object_foreach(
            found, key, value) if (json_object_get(wanted, key) ==
                                   NULL) return dsv4_fail(err,
                                                          "meta.json: %.120s%s%.60s is surplus",
                                                          path, path[0] != '\0' ? "." : "", key);
    }
    show_json(a, sizeof a, found);
    show_json(b, sizeof b, wanted);
    return dsv4_fail(err, "meta.json: %s is %s; it must be %s", path, a, b);
}

static const char *need_text(const json_t *root, const char *key, struct dsv4_err *err) {
    const char *text = json_string_value(json_object_get(root, key));
    if (text == NULL) dsv4_fail(err, "meta.json: %s is missing or not a string", key);
    return text;
}

static bool is_file_name(const char *text) {
    const size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.");
    return n > 0 && text[0] != '.' && strstr(text, "..") == NULL && text[n] == '\0' &&
           n < DSV4_NAME_SIZE;
}

static int read_params(struct dsv4_vector *v, const json_t *root, struct dsv4_err *err) {
    const char *key;
    json_t *value, *params = json_object_get(root, "params");
    if (!json_is_object(params))
        return dsv4_fail(err, "meta.json: params is missing or not an object");
    json_object_foreach(params, key, value) {
        if (!json_is_string(value))
            return dsv4_fail(err, "meta.json: params.%.60s is not a string", key);
        if (dsv4_case_set(&v->c, key, json_string_value(value), err) != 0) return -1;
    }
    return 0;
}

static int read_tags(struct dsv4_vector *v, const json_t *root, struct dsv4_err *err) {
    json_t *tags = json_object_get(root, "tags");
    if (!json_is_array(tags)) return dsv4_fail(err, "meta.json: tags is missing or not an array");
    v->tags = dsv4_alloc(json_array_size(tags) * sizeof *v->tags);
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const char *tag = json_string_value(json_array_get(tags, i));
        if (tag == NULL || !is_file_name(tag))
            return dsv4_fail(err, "meta.json: tags[%zu] is not a tag", i);
        v->tags[v->n_tags++] = dsv4_copy_text(tag);
    }
    return 0;
}

static int read_tier(struct dsv4_vector *v, const json_t *root, struct dsv4_err *err) {
    const char *text = need_text(root, "tier", err);
    if (text == NULL) return -1;
    for (int t = 0; t < DSV4_N_TIERS; t++)
        if (strcmp(dsv4_tier_names[t], text) == 0) {
            v->tier = (enum dsv4_tier)t;
            return 0;
        }
    return dsv4_fail(err, "meta.json: tier '%.60s' is none", text);
}

/* An output that is INOUT in the file was given its earlier contents: a call of a layer, as --dump writes it. */
static void read_given(struct dsv4_vector *v, const json_t *root) {
    const json_t *const tensors = json_object_get(root, "tensors");
    for (size_t s = 0; s < v->c.op->n_slots; s++) {
        const json_t *const tensor = json_object_get(tensors, v->c.op->slots[s].name);
        const char *const role = json_string_value(json_object_get(tensor, "role"));
        if (v->c.tensors[s].role == DSV4_OUT && role != NULL &&
            strcmp(role, role_names[DSV4_INOUT]) == 0)
            v->c.tensors[s].role = DSV4_INOUT;
    }
}

static int read_case(struct dsv4_vector *v, const json_t *root, struct dsv4_err *err) {
    const char *op_name = need_text(root, "op", err);
    const struct dsv4_op *op = op_name != NULL ? dsv4_op_find(op_name) : NULL;
    if (op_name == NULL) return -1;
    if (op == NULL) return dsv4_fail(err, "meta.json: there is no op '%.60s'", op_name);
    const char *name = need_text(root, "case", err);
    if (name == NULL) return -1;
    if (!is_file_name(name))
        return dsv4_fail(err, "meta.json: '%.60s' is no name for a case", name);
    dsv4_case_init(&v->c, op, name);
    const char *seed = need_text(root, "seed", err);
    if (seed == NULL) return -1;
    char *end = NULL;
    errno = 0;
    v->c.seed = strtoull(seed, &end, 10);
    if (seed[0] < '0' || seed[0] > '9' || *end != '\0' || errno != 0 || v->c.seed == 0)
        return dsv4_fail(err, "meta.json: seed '%.60s' is not a number from 1 to 2^64 - 1", seed);
    if (read_params(v, root, err) != 0 || read_tier(v, root, err) != 0 ||
        read_tags(v, root, err) != 0)
        return -1;
    if (dsv4_case_shape(&v->c, err) != 0) return -1;
    read_given(v, root);
    dsv4_case_place(&v->c, false);
    return 0;
}

/* Everything but the generator, which may be an older one. */
static int check_rest(const struct dsv4_vector *v, json_t *root, struct dsv4_err *err) {
    json_t *wanted = to_json(v);
    if (json_is_string(json_object_get(root, "generator")))
        json_object_set(wanted, "generator", json_object_get(root, "generator"));
    const int status = compare("", wanted, root, err);
    json_decref(wanted);
    return status;
}

int dsv4_meta_parse(struct dsv4_vector *v, const char *text, size_t size, struct dsv4_err *err) {
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) return dsv4_fail(err, "meta.json, line %d: %s", error.line, error.text);
    int status = -1;
    if (!json_is_object(root)) {
        dsv4_fail(err, "meta.json is not an object");
    } else if (!json_is_integer(json_object_get(root, "version")) ||
               json_integer_value(json_object_get(root, "version")) != DSV4_VECTOR_VERSION) {
        dsv4_fail(err, "meta.json: version is missing or not %d; regenerate the vector",
                  DSV4_VECTOR_VERSION);
    } else if (read_case(v, root, err) == 0) {
        status = check_rest(v, root, err);
    }
    json_decref(root);
    return status;
}
