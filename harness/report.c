/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <stdarg.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "file.h"
#include "verbs.h"

const char *const dsv4_verdict_names[] = {"PASS", "FAIL",  "CRASH", "TIMEOUT", "UNSUPPORTED",
                                          "SKIP", "XFAIL", "XPASS", "ERROR",   NULL};

const char *const dsv4_grade_names[] = {"", "exact", "conformant", NULL};

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
    dsv4_free(result->dialects);
    dsv4_free(result->file);
    dsv4_free(result->tags);
    dsv4_free(result->message);
    dsv4_notes_free(&result->notes);
    dsv4_free(result->outputs);
}

void dsv4_report_free(struct dsv4_report *report) {
    for (size_t i = 0; i < report->n_results; i++) dsv4_result_free(&report->results[i]);
    dsv4_free(report->results);
    dsv4_free(report->parts);
    dsv4_free(report->figures);
    memset(report, 0, sizeof *report);
}

void dsv4_report_part(struct dsv4_report *report, int64_t shard, int64_t n_shards) {
    report->n_shards = n_shards;
    report->parts = dsv4_resize(report->parts, (report->n_parts + 1) * sizeof *report->parts);
    report->parts[report->n_parts++] = (struct dsv4_part){.shard = shard};
}

void dsv4_report_count(const struct dsv4_report *report, size_t counts[DSV4_N_VERDICTS]) {
    memset(counts, 0, DSV4_N_VERDICTS * sizeof *counts);
    for (size_t i = 0; i < report->n_results; i++) counts[report->results[i].verdict]++;
}

static bool has_shard(const struct dsv4_report *report, int64_t shard) {
    for (size_t i = 0; i < report->n_parts; i++)
        if (report->parts[i].shard == shard) return true;
    return false;
}

bool dsv4_report_gaps(const struct dsv4_report *report, char *text, size_t size) {
    enum { NAMED = 12 };
    const long long all = report->n_shards;
    int64_t missing = 0;
    size_t n = 0;
    if (size > 0) text[0] = '\0';
    if (report->n_parts == 0) return false;
    /* As many as are named: a report may claim any number of shards. */
    for (int64_t shard = 1; shard <= report->n_shards && missing <= NAMED; shard++) {
        if (has_shard(report, shard)) continue;
        if (missing++ < NAMED && n < size)
            n += (size_t)snprintf(text + n, size - n, "%s%lld",
                                  missing == 1 ? "missing: shard " : ", ", (long long)shard);
    }
    if (missing > 0 && n < size)
        n +=
            (size_t)snprintf(text + n, size - n, "%s of %lld", missing > NAMED ? ", ..." : "", all);
    for (size_t i = 0; i < report->n_parts; i++) {
        const struct dsv4_part *const part = &report->parts[i];
        if (part->complete) continue;
        if (n < size) n += (size_t)snprintf(text + n, size - n, "%s", n > 0 ? "; " : "");
        if (all > 1 && n < size)
            n += (size_t)snprintf(text + n, size - n, "shard %lld ", (long long)part->shard);
        if (n < size)
            n += (size_t)snprintf(text + n, size - n, "stopped after %lld of %lld results",
                                  (long long)part->results, (long long)part->planned);
    }
    return n > 0;
}

size_t dsv4_report_graded(const struct dsv4_report *report, enum dsv4_grade grade) {
    size_t n = 0;
    for (size_t i = 0; i < report->n_results; i++)
        n += report->results[i].verdict == DSV4_PASS && report->results[i].grade == grade;
    return n;
}

int dsv4_report_exit(const struct dsv4_report *report) {
    size_t n[DSV4_N_VERDICTS];
    dsv4_report_count(report, n);
    if (n[DSV4_BROKEN] > 0) return DSV4_EXIT_ERROR;
    if (n[DSV4_FAILED] + n[DSV4_CRASH] + n[DSV4_TIMEOUT] + n[DSV4_XPASS] > 0)
        return DSV4_EXIT_DIFFERENT;
    return n[DSV4_PASS] + n[DSV4_XFAIL] > 0 ? DSV4_EXIT_PASS : DSV4_EXIT_NOTHING;
}

void dsv4_report_time(const struct dsv4_report *report, char *text, size_t size) {
    double all = 0, calls = 0;
    for (size_t i = 0; i < report->n_parts; i++) all += report->parts[i].seconds;
    for (size_t i = 0; i < report->n_results; i++) calls += report->results[i].seconds;
    snprintf(text, size, "%.1f s, %.1f s of them in calls", all, calls);
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
    const size_t conformant = dsv4_report_graded(report, DSV4_CONFORMANT);
    dsv4_report_count(report, counts);
    snprintf(text, size, "nothing ran");
    for (size_t i = 0; i < DSV4_N_VERDICTS && n < size; i++) {
        if (counts[i] == 0) continue;
        n += (size_t)snprintf(text + n, size - n, "%s%zu %s", n > 0 ? ", " : "", counts[i],
                              words[i]);
        if (i == DSV4_PASS && conformant > 0 && n < size)
            n += (size_t)snprintf(text + n, size - n, " (%zu exact, %zu conformant)",
                                  counts[i] - conformant, conformant);
    }
}

/* "acme", or of a shard "acme.2-of-4": shards may write into one directory. */
static void file_stem(const struct dsv4_report *report, char *text, size_t size) {
    if (report->n_shards > 1 && report->n_parts == 1)
        snprintf(text, size, "%s.%lld-of-%lld", report->impl, (long long)report->parts[0].shard,
                 (long long)report->n_shards);
    else
        snprintf(text, size, "%s", report->impl);
}

static int save_one(const struct dsv4_report *report, const char *directory, const char *suffix,
                    struct dsv4_err *err) {
    char path[4600], stem[200];
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
    file_stem(report, stem, sizeof stem);
    snprintf(path, sizeof path, "%s/%s.%s", directory, stem, suffix);
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
