/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary directories, and suites with one case per op of the registry, for tests of whole verbs.
 */
#ifndef DSV4_TEMPORARY_H
#define DSV4_TEMPORARY_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../reference/op.h"
#include "../file.h"

enum { TEMPORARY_SIZE = 64 };

static inline void temporary_make(char dir[TEMPORARY_SIZE]) {
    snprintf(dir, TEMPORARY_SIZE, "/tmp/dsv4-test-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static inline void temporary_remove(const char *dir) {
    char path[512];
    DIR *const handle = opendir(dir);
    for (const struct dirent *e; handle != NULL && (e = readdir(handle)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%.200s/%s", dir, e->d_name);
        if (unlink(path) != 0) temporary_remove(path);
    }
    if (handle != NULL) closedir(handle);
    rmdir(dir);
}

/* `dir`/<op>.yaml with a smoke case "plain" and a full case "other" of default parameters. */
static inline void temporary_suites(const char *dir) {
    char path[512], text[512];
    struct dsv4_err err = {0};
    cr_assert_eq(dsv4_directory_make(dir, &err), 0, "%s", err.text);
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        snprintf(path, sizeof path, "%.200s/%s.yaml", dir, dsv4_ops[i]->name);
        const int n = snprintf(
            text, sizeof text,
            "op: %s\ntags: {t: {bug: x}}\ncases:\n  - {name: plain, tier: smoke, tags: [t]}\n"
            "  - {name: other, tier: full, tags: [t]}\n"
            "  - {name: timed, tier: bench, tags: [t]}\n",
            dsv4_ops[i]->name);
        cr_assert_eq(dsv4_file_write(path, text, (size_t)n, &err), 0, "%s", err.text);
    }
}

#endif
