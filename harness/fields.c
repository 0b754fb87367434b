/* SPDX-License-Identifier: Apache-2.0 */
#include "fields.h"

#include <math.h>
#include <stdio.h>

#include "../reference/memory.h"
#include "options.h"

json_t *dsv4_json_text(const char *text) {
    json_t *const value = json_string(text != NULL ? text : "");
    if (value != NULL) return value;
    /* Text from a plug-in may be any bytes; JSON wants UTF-8. */
    char *const clean = dsv4_copy_text(text);
    for (char *at = clean; *at != '\0'; at++)
        if ((unsigned char)*at >= 0x80) *at = '?';
    json_t *const ascii = json_string(clean);
    dsv4_free(clean);
    return ascii;
}

static json_t *value_of(const struct dsv4_field *f, const void *at) {
    switch (f->kind) {
    case DSV4_FIELD_TEXT:
    case DSV4_FIELD_SHA256: return dsv4_json_text(at);
    case DSV4_FIELD_OWNED: return dsv4_json_text(*(char *const *)at);
    case DSV4_FIELD_INT: return json_integer(*(const int *)at);
    case DSV4_FIELD_INT64: return json_integer(*(const int64_t *)at);
    case DSV4_FIELD_REAL:
        return isfinite(*(const double *)at) ? json_real(*(const double *)at) : json_null();
    case DSV4_FIELD_BOOL: return json_boolean(*(const bool *)at);
    case DSV4_FIELD_WORD: return json_string(f->words[*(const int *)at]);
    }
    return NULL;
}

void dsv4_fields_write(json_t *object, const struct dsv4_field *fields, size_t n,
                       const void *from) {
    for (size_t i = 0; i < n; i++)
        json_object_set_new(object, fields[i].key,
                            value_of(&fields[i], (const char *)from + fields[i].offset));
}

static int read_text(void *to, const struct dsv4_field *f, const json_t *value,
                     struct dsv4_err *err) {
    if (!json_is_string(value)) return dsv4_fail(err, "'%s' is missing or not a text", f->key);
    const char *const text = json_string_value(value);
    const size_t n = strlen(text);
    if (n != json_string_length(value)) return dsv4_fail(err, "'%s' has a zero character", f->key);
    if (f->kind == DSV4_FIELD_OWNED) {
        *(char **)to = n > 0 ? dsv4_copy_text(text) : NULL;
        return 0;
    }
    if (f->kind == DSV4_FIELD_SHA256 && n > 0 && (n != 64 || strspn(text, "0123456789abcdef") != n))
        return dsv4_fail(err, "'%s' is no SHA-256", f->key);
    if (n >= f->size)
        return dsv4_fail(err, "'%s' has %zu bytes; at most %zu are read", f->key, n, f->size - 1);
    memcpy(to, text, n + 1);
    return 0;
}

static int read_number(void *to, const struct dsv4_field *f, const json_t *value,
                       struct dsv4_err *err) {
    if (f->kind == DSV4_FIELD_REAL) {
        const double number = json_is_null(value) ? INFINITY : json_number_value(value);
        if ((!json_is_number(value) && !json_is_null(value)) || number < 0)
            return dsv4_fail(err, "'%s' is missing or not a number of at least 0", f->key);
        *(double *)to = number;
        return 0;
    }
    const json_int_t most = f->kind == DSV4_FIELD_INT ? INT32_MAX : INT64_MAX;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > most)
        return dsv4_fail(err, "'%s' is missing or not a whole number from 0 to %lld", f->key, most);
    if (f->kind == DSV4_FIELD_INT)
        *(int *)to = (int)json_integer_value(value);
    else
        *(int64_t *)to = json_integer_value(value);
    return 0;
}

static int read_word(int *to, const struct dsv4_field *f, const json_t *value,
                     struct dsv4_err *err) {
    const char *const text = json_string_value(value);
    if (text == NULL) return dsv4_fail(err, "'%s' is missing or not a text", f->key);
    for (int i = 0; f->words[i] != NULL; i++)
        if (strcmp(f->words[i], text) == 0) {
            *to = i;
            return 0;
        }
    return dsv4_fail(err, "'%.40s' is no %s", text, f->key);
}

static int read_field(void *to, const struct dsv4_field *f, const json_t *value,
                      struct dsv4_err *err) {
    switch (f->kind) {
    case DSV4_FIELD_TEXT:
    case DSV4_FIELD_SHA256:
    case DSV4_FIELD_OWNED: return read_text(to, f, value, err);
    case DSV4_FIELD_INT:
    case DSV4_FIELD_INT64:
    case DSV4_FIELD_REAL: return read_number(to, f, value, err);
    case DSV4_FIELD_WORD: return read_word(to, f, value, err);
    case DSV4_FIELD_BOOL:
        if (!json_is_boolean(value))
            return dsv4_fail(err, "'%s' is missing or not true or false", f->key);
        *(bool *)to = json_is_true(value);
    }
    return 0;
}

int dsv4_fields_read(void *to, const json_t *object, const struct dsv4_field *fields, size_t n,
                     size_t n_others, struct dsv4_err *err) {
    if (!json_is_object(object)) return dsv4_fail(err, "not an object, but a report has one here");
    for (size_t i = 0; i < n; i++)
        if (read_field((char *)to + fields[i].offset, &fields[i],
                       json_object_get(object, fields[i].key), err) != 0)
            return -1;
    if (json_object_size(object) > n + n_others)
        return dsv4_fail(err, "%zu keys where %zu belong: there are some that nobody knows",
                         json_object_size(object), n + n_others);
    return 0;
}

const json_t *dsv4_json_list(const json_t *object, const char *key, struct dsv4_err *err) {
    const json_t *const list = json_object_get(object, key);
    if (json_is_array(list)) return list;
    dsv4_fail(err, "'%s' is missing or not a list", key);
    return NULL;
}

json_t *dsv4_json_parse(const char *text, size_t size, const char *path, const char *what,
                        struct dsv4_err *err) {
    json_error_t problem;
    json_t *const root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL) {
        dsv4_fail(err, "not %s: %s", what, problem.text);
        dsv4_err_at(err, path, problem.line > 0 ? problem.line : 0);
    }
    return root;
}
