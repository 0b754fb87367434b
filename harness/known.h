/* SPDX-License-Identifier: Apache-2.0 */
/* suites/known.yaml: failures that are expected, each with a reason and a link. */
#ifndef DSV4_KNOWN_H
#define DSV4_KNOWN_H

#include "../reference/op.h"

struct dsv4_known_failure {
    char *impl; /* glob over the plug-in's file stem and its name */
    char *name; /* glob over op/case */
    char *reason, *link;
    int line;
    bool used;
};

struct dsv4_known {
    struct dsv4_known_failure *at;
    size_t n;
    char file[256];
};

/* A file that does not exist is an empty list. -1 with err (file, line). Free in either outcome. */
int dsv4_known_read(struct dsv4_known *known, const char *path, struct dsv4_err *err);
void dsv4_known_free(struct dsv4_known *known);

/* The entry for this case and implementation, or NULL; marks it used. */
const struct dsv4_known_failure *dsv4_known_find(struct dsv4_known *known, const char *impl,
                                                 const char *plugin, const char *op,
                                                 const char *name);

#endif
