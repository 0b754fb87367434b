/* SPDX-License-Identifier: Apache-2.0 */
/* Where the answers of a case come from: smoke vectors from disk, all others made now; both held to MANIFEST. */
#ifndef DSV4_ANSWERS_H
#define DSV4_ANSWERS_H

#include "manifest.h"
#include "vector.h"

struct dsv4_answers {
    const char *directory;
    bool fresh; /* make every answer now and trust it: for cases that are being written */
    struct dsv4_manifest manifest;
};

int dsv4_answers_open(struct dsv4_answers *a, const char *directory, bool fresh,
                      struct dsv4_err *err);
void dsv4_answers_close(struct dsv4_answers *a);

/* The vector of a case, placed to be judged. Free it in either outcome. */
int dsv4_answers_get(const struct dsv4_answers *a, struct dsv4_vector *v,
                     const struct dsv4_suite_case *s, struct dsv4_err *err);

#endif
