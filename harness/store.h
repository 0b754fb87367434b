/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of committed vectors: DIR/<op>/<case>.npz. */
#ifndef DSV4_STORE_H
#define DSV4_STORE_H

#include "suite.h"

enum { DSV4_STORE_LIMIT = 8000000 }; /* bytes of all smoke vectors and MANIFEST together */

void dsv4_store_path(char *path, size_t size, const char *dir, const struct dsv4_suite_case *s);

/* Calls `each` for every .npz under `dir` that is no smoke case of the suite. 0, or what `each`
 * returned first. */
int dsv4_store_surplus(const char *dir, const struct dsv4_suite *suite,
                       int (*each)(void *context, const char *path, struct dsv4_err *err),
                       void *context, struct dsv4_err *err);

#endif
