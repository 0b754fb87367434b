/* SPDX-License-Identifier: Apache-2.0 */
/* What a user sees on standard error. */
#include <stdio.h>
#include <unistd.h>

#include "options.h"
#include "verbs.h"

/* Sentences quote hostile files: what is not printable ASCII must neither break the line nor reach
 * a terminal. */
static void clean(char *text) {
    for (; *text != '\0'; text++)
        if (*text < 0x20 || *text > 0x7E) *text = '?';
}

int dsv4_err_print(const struct dsv4_err *err) {
    struct dsv4_err shown = *err;
    clean(shown.text);
    fputs(err->file[0] != '\0' ? err->file : "dsv4cts", stderr);
    if (err->line > 0) fprintf(stderr, ":%d", err->line);
    fprintf(stderr, ": %s\n", shown.text);
    return DSV4_EXIT_ERROR;
}

int dsv4_err_at(struct dsv4_err *err, const char *file, int line) {
    clean(err->text);
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
