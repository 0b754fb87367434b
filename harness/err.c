/* SPDX-License-Identifier: Apache-2.0 */
/* What a user sees on standard error. */
#include <stdio.h>
#include <unistd.h>

#include "options.h"
#include "verbs.h"

int dsv4_err_print(const struct dsv4_err *err) {
    if (err->file[0] == '\0')
        fprintf(stderr, "dsv4cts: %s\n", err->text);
    else if (err->line > 0)
        fprintf(stderr, "%s:%d: %s\n", err->file, err->line, err->text);
    else
        fprintf(stderr, "%s: %s\n", err->file, err->text);
    return DSV4_EXIT_ERROR;
}

int dsv4_err_at(struct dsv4_err *err, const char *file, int line) {
    if (err->file[0] == '\0') {
        snprintf(err->file, sizeof err->file, "%s", file);
        err->line = line;
    }
    return -1;
}

void dsv4_progress(const char *what, size_t done, size_t all) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r%s %zu of %zu%s", what, done, all, done == all ? "\n" : "");
        return;
    }
    const size_t step = all / 10 + 1;
    if (done == all || (done > 0 && done % step == 0))
        fprintf(stderr, "%s %zu of %zu\n", what, done, all);
}
