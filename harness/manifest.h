/* SPDX-License-Identifier: Apache-2.0 */
/* vectors/MANIFEST: one line "<prompt sha256> <answer sha256> <tier> <op>/<case>" for every case of
 * smoke, full and stress, in registry and suite order. The answer of a case that the contract
 * refuses is the word "refused". */
#ifndef DSV4_MANIFEST_H
#define DSV4_MANIFEST_H

#include "suite.h"

struct dsv4_manifest_entry {
    char prompt[65], answer[65];
    enum dsv4_tier tier;
    char name[2 * DSV4_NAME_SIZE]; /* "op/case" */
    int line;
};

struct dsv4_manifest {
    struct dsv4_manifest_entry *entries;
    size_t n;
};

/* Reads DIR/MANIFEST. A missing file is an empty manifest when `may_lack` is set, else an error. */
int dsv4_manifest_read(struct dsv4_manifest *m, const char *dir, bool may_lack,
                       struct dsv4_err *err);
int dsv4_manifest_parse(struct dsv4_manifest *m, const char *text, const char *path,
                        struct dsv4_err *err);
size_t dsv4_manifest_size(const struct dsv4_manifest *m); /* of the file, in bytes */
int dsv4_manifest_write(const struct dsv4_manifest *m, const char *dir, struct dsv4_err *err);
void dsv4_manifest_free(struct dsv4_manifest *m);

void dsv4_manifest_add(struct dsv4_manifest *m, const struct dsv4_manifest_entry *entry);
const struct dsv4_manifest_entry *dsv4_manifest_find(const struct dsv4_manifest *m, const char *op,
                                                     const char *name);

#endif
