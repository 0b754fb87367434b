/* SPDX-License-Identifier: Apache-2.0 */
/* meta.json of a vector. */
#ifndef DSV4_META_H
#define DSV4_META_H

#include "vector.h"

/* The text; dsv4_free() it. */
char *dsv4_meta_text(const struct dsv4_vector *v);

/* Builds v's shaped case, tier and tags from the text, which must say about them what
 * dsv4_meta_text would. */
int dsv4_meta_parse(struct dsv4_vector *v, const char *text, size_t size, struct dsv4_err *err);

#endif
