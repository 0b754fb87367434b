/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "options.h"

void dsv4_store_path(char *path, size_t size, const char *dir, const struct dsv4_suite_case *s) {
    snprintf(path, size, "%.3800s/%s/%s.npz", dir, s->op->name, s->name);
}

static bool is_smoke(const struct dsv4_suite *suite, const char *op, const char *file) {
    const size_t length = strlen(file) - 4;
    for (size_t i = 0; i < suite->n_cases; i++) {
        const struct dsv4_suite_case *s = &suite->cases[i];
        if (s->tier == DSV4_SMOKE && strcmp(s->op->name, op) == 0 && strlen(s->name) == length &&
            strncmp(s->name, file, length) == 0)
            return true;
    }
    return false;
}

int dsv4_store_surplus(const char *dir, const struct dsv4_suite *suite,
                       int (*each)(void *context, const char *path, struct dsv4_err *err),
                       void *context, struct dsv4_err *err) {
    char path[4096];
    int status = 0;
    DIR *const top = opendir(dir);
    if (top == NULL && errno == ENOENT) return 0;
    if (top == NULL) {
        dsv4_fail(err, "cannot be read: %s", strerror(errno));
        return dsv4_err_at(err, dir, 0);
    }
    for (const struct dirent *op; status == 0 && (op = readdir(top)) != NULL;) {
        if (op->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%.3800s/%s", dir, op->d_name);
        DIR *const files = opendir(path);
        if (files == NULL) continue; /* MANIFEST and other plain files */
        for (const struct dirent *file; status == 0 && (file = readdir(files)) != NULL;) {
            const size_t length = strlen(file->d_name);
            if (length < 5 || strcmp(file->d_name + length - 4, ".npz") != 0) continue;
            if (is_smoke(suite, op->d_name, file->d_name)) continue;
            snprintf(path, sizeof path, "%.3500s/%s/%s", dir, op->d_name, file->d_name);
            status = each(context, path, err);
        }
        closedir(files);
    }
    closedir(top);
    return status;
}
