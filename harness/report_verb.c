/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `report`: reads JSON reports, of several implementations or shards, and renders them as one. */
#include <stdlib.h>

#include "../reference/memory.h"
#include "file.h"
#include "options.h"
#include "report.h"
#include "verbs.h"

/* Shards of one run are one report. */
static bool same_run(const struct dsv4_report *a, const struct dsv4_report *b) {
    return strcmp(a->impl, b->impl) == 0 && strcmp(a->info.name, b->info.name) == 0 &&
           strcmp(a->info.version, b->info.version) == 0 &&
           strcmp(a->info.describe, b->info.describe) == 0 && strcmp(a->version, b->version) == 0 &&
           a->graph == b->graph;
}

static void merge(struct dsv4_report *into, struct dsv4_report *from) {
    into->results =
        dsv4_resize(into->results, (into->n_results + from->n_results + 1) * sizeof *into->results);
    for (size_t i = 0; i < from->n_results; i++)
        into->results[into->n_results++] = from->results[i];
    dsv4_free(from->results);
    memset(from, 0, sizeof *from);
}

static int read_all(struct dsv4_report *reports, size_t *n, const struct dsv4_texts *paths,
                    struct dsv4_err *err) {
    for (size_t i = 0; i < paths->n; i++) {
        struct dsv4_report *const report = &reports[*n];
        const int status = dsv4_report_read(report, paths->at[i], err);
        (*n)++;
        if (status != 0) return -1;
        for (size_t j = 0; j + 1 < *n; j++)
            if (same_run(&reports[j], report)) {
                merge(&reports[j], report);
                (*n)--;
                break;
            }
    }
    return 0;
}

static void render(const struct dsv4_report *reports, size_t n, const char *format, FILE *out) {
    if (strcmp(format, "junit") == 0)
        dsv4_report_junit(reports, n, out);
    else if (strcmp(format, "html") == 0)
        dsv4_report_html(reports, n, out);
    else
        for (size_t i = 0; i < n; i++)
            if (strcmp(format, "json") == 0)
                dsv4_report_json(&reports[i], out);
            else
                dsv4_report_text(&reports[i], out);
}

static int write_out(const struct dsv4_report *reports, size_t n, const char *format,
                     const char *path, struct dsv4_err *err) {
    char *bytes = NULL;
    size_t size = 0;
    FILE *const out = path != NULL ? open_memstream(&bytes, &size) : stdout;
    if (out == NULL) return dsv4_fail(err, "out of memory");
    render(reports, n, format, out);
    if (path == NULL) return 0;
    fclose(out);
    const int status = dsv4_file_write(path, bytes, size, err);
    free(bytes);
    return status;
}

int dsv4_verb_report(int argc, char **argv) {
    const char *format = "text", *output = NULL;
    const struct dsv4_option options[] = {
        {"--format", DSV4_OPTION_TEXT, &format, "FORM", "text, json, junit or html" },
        {"--output", DSV4_OPTION_TEXT, &output, "FILE", "instead of standard output"},
    };
    struct dsv4_command command = {.usage = "report [OPTIONS] REPORT.json...",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .min_positional = 1,
                                   .max_positional = DSV4_MAX_TEXTS};
    struct dsv4_err err = {0};
    size_t n = 0;
    int code = dsv4_command_start(&command, argc, argv);
    if (code >= 0) return code;
    if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0 &&
        strcmp(format, "junit") != 0 && strcmp(format, "html") != 0) {
        dsv4_fail(&err, "--format: '%.40s' is not text, json, junit or html", format);
        return dsv4_err_print(&err);
    }
    struct dsv4_report *const reports = dsv4_alloc(DSV4_MAX_TEXTS * sizeof *reports);
    code = DSV4_EXIT_PASS;
    if (read_all(reports, &n, &command.positional, &err) != 0 ||
        write_out(reports, n, format, output, &err) != 0)
        code = dsv4_err_print(&err);
    for (size_t i = 0; i < n; i++) {
        /* Error, mismatch, nothing ran, passed: what is worst speaks for all. */
        static const int rank[] = {0, 2, 3, 1};
        const int one = dsv4_report_exit(&reports[i]);
        if (rank[one] > rank[code]) code = one;
        dsv4_report_free(&reports[i]);
    }
    dsv4_free(reports);
    return code;
}
