/* SPDX-License-Identifier: Apache-2.0 */
/* YAML for lists of facts: one document, no anchors, aliases or type tags, every scalar printable
 * ASCII on one line, bounded in size, number and depth. What loads is safe to walk. */
#ifndef DSV4_PLAIN_YAML_H
#define DSV4_PLAIN_YAML_H

#include <yaml.h>

#include "../reference/op.h"

/* Loads a document that has a root. -1 with err (file, line); else yaml_document_delete() it. */
int dsv4_yaml_load(yaml_document_t *document, const char *file, const unsigned char *text,
                   size_t size, struct dsv4_err *err);

/* Fails at a line, counted from 0 as libyaml's marks do. */
int dsv4_yaml_fail(struct dsv4_err *err, const char *file, size_t line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A loaded document on its way into something else: what the walkers below need to say where a fault is. */
struct dsv4_yaml {
    yaml_document_t *document;
    const char *file;
    struct dsv4_err *err;
};

const yaml_node_t *dsv4_yaml_node(const struct dsv4_yaml *y, int index);
const char *dsv4_yaml_text(const yaml_node_t *node); /* of a scalar */

/* 0 when the node is of this type; else -1, and `what` is in the error. */
int dsv4_yaml_want(const struct dsv4_yaml *y, const yaml_node_t *node, yaml_node_type_t type,
                   const char *what);

/* Items of a list, pairs of a map. The key of a pair is checked to be a scalar. */
size_t dsv4_yaml_items(const yaml_node_t *node);
const yaml_node_t *dsv4_yaml_item(const struct dsv4_yaml *y, const yaml_node_t *node, size_t i);
size_t dsv4_yaml_pairs(const yaml_node_t *node);
int dsv4_yaml_pair(const struct dsv4_yaml *y, const yaml_node_t *node, size_t i, const char **key,
                   const yaml_node_t **key_node, const yaml_node_t **value);

/* Sorts a map's values by `keys`; keys[0 .. n_required) must be there, others may, further ones may not. */
int dsv4_yaml_map(const struct dsv4_yaml *y, const yaml_node_t *node, const char *what,
                  const char *const *keys, size_t n_keys, size_t n_required,
                  const yaml_node_t **values);

/* kebab-case: lower-case letters and digits, single hyphens between them. */
bool dsv4_is_kebab(const char *name);

#endif
