/* SPDX-License-Identifier: Apache-2.0 */
/* One value of a vector, for people. */
#ifndef DSV4_PEEK_H
#define DSV4_PEEK_H

#include "../reference/layout/layout.h"
#include "vector.h"

/* What lies at a storage offset of a tensor. */
void dsv4_peek_site(const struct dsv4_vector *v, size_t slot, int64_t offset,
                    struct dsv4_site *site);

/* The value of the site's unit before (`after` false) or after the call: "0x79 e8m0 2^-6", "never
 * written". */
void dsv4_peek_value(const struct dsv4_vector *v, size_t slot, bool after,
                     const struct dsv4_site *site, char *text, size_t size);

#endif
