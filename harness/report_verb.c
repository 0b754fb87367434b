/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `report`: reads JSON reports, of several implementations or shards, and renders them as one. */
#include <stdlib.h>

#include "../reference/memory.h"
#include "file.h"
#include "options.h"
#include "report.h"
#include "verbs.h"

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

static bool is_form(const char *format) {
    static const char *const forms[] = {"text", "json", "junit", "html"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i], format) == 0) return true;
    return false;
}

static int collect(struct dsv4_reports *all, const struct dsv4_texts *paths, struct dsv4_err *err) {
    for (size_t i = 0; i < paths->n; i++)
        if (dsv4_reports_read(all, paths->at[i], err) != 0) return -1;
    if (dsv4_reports_join(all, err) != 0) return -1;
    return all->n > 0 ? 0 : dsv4_fail(err, "bench figures alone are no report; name a report too");
}

/* Error, mismatch, nothing ran, passed: what is worst speaks for all. */
static int conclude(const struct dsv4_reports *all, bool may_lack) {
    static const int rank[] = {0, 2, 3, 1};
    int code = DSV4_EXIT_PASS;
    for (size_t i = 0; i < all->n; i++) {
        char gaps[1024];
        int one = dsv4_report_exit(&all->at[i]);
        if (dsv4_report_gaps(&all->at[i], gaps, sizeof gaps)) {
            fprintf(stderr, "dsv4cts: %s: %s\n", all->at[i].impl, gaps);
            if (!may_lack) one = DSV4_EXIT_ERROR;
        }
        if (rank[one] > rank[code]) code = one;
    }
    for (size_t i = 0; i < all->n_figures; i++) {
        const struct dsv4_figure *const figure = &all->figures[i];
        if (i == 0 || strcmp(figure->impl, all->figures[i - 1].impl) != 0)
            fprintf(stderr,
                    "dsv4cts: bench figures of %s on %s are left out: no report is of both\n",
                    figure->impl, figure->device);
    }
    return code;
}

int dsv4_verb_report(int argc, char **argv) {
    const char *format = "text", *output = NULL;
    bool may_lack = false;
    const struct dsv4_option options[] = {
        {"--format",  DSV4_OPTION_TEXT, &format,   "FORM", "text, json, junit or html" },
        {"--output",  DSV4_OPTION_TEXT, &output,   "FILE", "instead of standard output"},
        {"--partial", DSV4_OPTION_FLAG, &may_lack, NULL,
         "shards that are missing or stopped halfway are no error"                     },
    };
    struct dsv4_command command = {.usage = "report [OPTIONS] REPORT.json|BENCH.json...",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .min_positional = 1,
                                   .max_positional = DSV4_MAX_TEXTS};
    struct dsv4_err err = {0};
    struct dsv4_reports all = {0};
    int code = dsv4_command_start(&command, argc, argv);
    if (code >= 0) return code;
    if (!is_form(format))
        dsv4_fail(&err, "--format: '%.40s' is not text, json, junit or html", format);
    if (err.text[0] != '\0' || collect(&all, &command.positional, &err) != 0 ||
        write_out(all.at, all.n, format, output, &err) != 0)
        code = dsv4_err_print(&err);
    else
        code = conclude(&all, may_lack);
    dsv4_reports_free(&all);
    return code;
}
