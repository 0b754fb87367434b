/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <stdarg.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "file.h"
#include "verbs.h"

const char *const dsv4_verdict_names[DSV4_N_VERDICTS] = {
    "PASS", "FAIL", "CRASH", "TIMEOUT", "UNSUPPORTED", "SKIP", "XFAIL", "XPASS", "ERROR"};

const char *const dsv4_grade_names[] = {"", "exact", "conformant"};

struct dsv4_result *dsv4_report_add(struct dsv4_report *report, enum dsv4_verdict verdict,
                                    const char *op, const char *name) {
    report->results =
        dsv4_resize(report->results, (report->n_results + 1) * sizeof *report->results);
    struct dsv4_result *const result = &report->results[report->n_results++];
    memset(result, 0, sizeof *result);
    result->verdict = verdict;
    snprintf(result->op, sizeof result->op, "%s", op);
    snprintf(result->name, sizeof result->name, "%s", name);
    return result;
}

void dsv4_result_say(struct dsv4_result *result, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *at = text; *at != '\0'; at++)
        if (*at == '\n' || *at == '\r') *at = ' ';
    dsv4_free(result->message);
    result->message = dsv4_copy_text(text);
}

void dsv4_result_free(struct dsv4_result *result) {
    dsv4_free(result->file);
    dsv4_free(result->tags);
    dsv4_free(result->message);
    dsv4_notes_free(&result->notes);
    dsv4_free(result->outputs);
}

void dsv4_report_free(struct dsv4_report *report) {
    for (size_t i = 0; i < report->n_results; i++) dsv4_result_free(&report->results[i]);
    dsv4_free(report->results);
    memset(report, 0, sizeof *report);
}

void dsv4_report_count(const struct dsv4_report *report, size_t counts[DSV4_N_VERDICTS]) {
    memset(counts, 0, DSV4_N_VERDICTS * sizeof *counts);
    for (size_t i = 0; i < report->n_results; i++) counts[report->results[i].verdict]++;
}

int dsv4_report_exit(const struct dsv4_report *report) {
    size_t n[DSV4_N_VERDICTS];
    dsv4_report_count(report, n);
    if (n[DSV4_BROKEN] > 0) return DSV4_EXIT_ERROR;
    if (n[DSV4_FAILED] + n[DSV4_CRASH] + n[DSV4_TIMEOUT] + n[DSV4_XPASS] > 0)
        return DSV4_EXIT_DIFFERENT;
    return n[DSV4_PASS] + n[DSV4_XFAIL] > 0 ? DSV4_EXIT_PASS : DSV4_EXIT_NOTHING;
}

void dsv4_report_summary(const struct dsv4_report *report, char *text, size_t size) {
    static const char *const words[DSV4_N_VERDICTS] = {"passed",
                                                       "failed",
                                                       "crashed",
                                                       "timed out",
                                                       "unsupported",
                                                       "skipped",
                                                       "failed as expected",
                                                       "passed unexpectedly",
                                                       "without an answer"};
    size_t counts[DSV4_N_VERDICTS], n = 0;
    dsv4_report_count(report, counts);
    snprintf(text, size, "nothing ran");
    for (size_t i = 0; i < DSV4_N_VERDICTS && n < size; i++)
        if (counts[i] > 0)
            n += (size_t)snprintf(text + n, size - n, "%s%zu %s", n > 0 ? ", " : "", counts[i],
                                  words[i]);
}

static int save_one(const struct dsv4_report *report, const char *directory, const char *suffix,
                    struct dsv4_err *err) {
    char path[4600];
    char *bytes = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&bytes, &size);
    if (out == NULL) return dsv4_fail(err, "cannot write a report: out of memory");
    if (strcmp(suffix, "txt") == 0)
        dsv4_report_text(report, out);
    else if (strcmp(suffix, "json") == 0)
        dsv4_report_json(report, out);
    else if (strcmp(suffix, "xml") == 0)
        dsv4_report_junit(report, 1, out);
    else
        dsv4_report_html(report, 1, out);
    snprintf(path, sizeof path, "%s/%s.%s", directory, report->impl, suffix);
    const int status = fclose(out) == 0 ? dsv4_file_write(path, bytes, size, err)
                                        : dsv4_fail(err, "%s: cannot be written", path);
    free(bytes);
    return status;
}

int dsv4_report_save(const struct dsv4_report *report, const char *directory,
                     struct dsv4_err *err) {
    static const char *const suffixes[] = {"txt", "json", "xml", "html"};
    if (dsv4_directory_make(directory, err) != 0) return -1;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (save_one(report, directory, suffixes[i], err) != 0) return -1;
    return 0;
}
