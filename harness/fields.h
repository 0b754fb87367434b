/* SPDX-License-Identifier: Apache-2.0 */
/* Structs as JSON objects, out and in, by one table: what is written is what is read, and nothing else is. */
#ifndef DSV4_FIELDS_H
#define DSV4_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "../reference/op.h"

enum dsv4_field_kind {
    DSV4_FIELD_TEXT,   /* char[size] */
    DSV4_FIELD_SHA256, /* char[65]: 64 hexadecimal digits, or none */
    DSV4_FIELD_OWNED,  /* char *, NULL for an empty text */
    DSV4_FIELD_INT,    /* int, not negative */
    DSV4_FIELD_INT64,  /* int64_t, not negative */
    DSV4_FIELD_REAL,   /* double, not negative; null: infinite */
    DSV4_FIELD_BOOL,   /* bool */
    DSV4_FIELD_WORD,   /* an enum, by its names */
};

struct dsv4_field {
    const char *key;
    enum dsv4_field_kind kind;
    size_t offset, size;      /* in the struct; size: of a TEXT */
    const char *const *words; /* of a WORD; ends with NULL */
};

#define DSV4_FIELD(type, kind, key, member)                                                        \
    {                                                                                              \
        key, DSV4_FIELD_##kind, offsetof(struct type, member), sizeof(((struct type *)0)->member), \
            NULL                                                                                   \
    }

json_t *dsv4_json_text(const char *text); /* any bytes; NULL is "" */
void dsv4_fields_write(json_t *object, const struct dsv4_field *fields, size_t n, const void *from);

/* Every field must be there, of its kind, and `n_others` more keys that the caller reads. */
int dsv4_fields_read(void *to, const json_t *object, const struct dsv4_field *fields, size_t n,
                     size_t n_others, struct dsv4_err *err);

/* The list under a key, or NULL with err. */
const json_t *dsv4_json_list(const json_t *object, const char *key, struct dsv4_err *err);

/* Parses text that is not trusted; NULL with err (file, line). */
json_t *dsv4_json_parse(const char *text, size_t size, const char *path, const char *what,
                        struct dsv4_err *err);

#endif
