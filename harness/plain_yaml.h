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

#endif
