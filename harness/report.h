/* SPDX-License-Identifier: Apache-2.0 */
/* Results of one implementation, and the forms in which they are written. */
#ifndef DSV4_REPORT_H
#define DSV4_REPORT_H

#include <stdio.h>

#include "notes.h"
#include "worker.h"

enum dsv4_verdict {
    DSV4_PASS,
    DSV4_FAILED,
    DSV4_CRASH,
    DSV4_TIMEOUT,
    DSV4_DECLINED, /* printed as UNSUPPORTED: the plug-in's supports() said so */
    DSV4_SKIP,     /* not tried */
    DSV4_XFAIL,    /* fails as suites/known.yaml expects */
    DSV4_XPASS,    /* passes although suites/known.yaml expects a failure */
    DSV4_BROKEN,   /* printed as ERROR: the harness has no answer to hold the plug-in to */
    DSV4_N_VERDICTS
};
extern const char *const dsv4_verdict_names[DSV4_N_VERDICTS];

/* How a result passed. */
enum dsv4_grade {
    DSV4_UNGRADED,   /* it did not pass */
    DSV4_EXACT,      /* every byte is the golden one */
    DSV4_CONFORMANT, /* other bits, each within the bound of the declared arithmetic */
};
extern const char *const dsv4_grade_names[3]; /* "" "exact" "conformant" */

enum { DSV4_ERROR_BINS = 12 };

/* What became of one output that a bound judged. */
struct dsv4_output {
    char tensor[32];
    int64_t elements, differ; /* judged; of those, with other bits than the golden ones */
    double slack;             /* the largest |error| / bound; near 0 a bound says little */
    /* Differing elements by |error| / bound: bin b holds (2^-(b+1), 2^-b], the last all below. */
    int64_t bins[DSV4_ERROR_BINS];
};

struct dsv4_result {
    enum dsv4_verdict verdict;
    enum dsv4_grade grade;
    char op[64], name[DSV4_NAME_SIZE], tier[12];
    char *file; /* the suite's; NULL: none */
    int line;
    char *tags;    /* "scale-ceil, smoke" */
    int steps;     /* of a sequence; 0: a case */
    char *message; /* one line; NULL for PASS */
    double seconds;
    struct dsv4_notes notes;
    struct dsv4_output *outputs; /* those that a bound judged; NULL: none */
    size_t n_outputs;
};

struct dsv4_report {
    char version[64]; /* of the harness */
    char impl[128];   /* file stem of the plug-in */
    char path[4200];
    struct dsv4_plugin_info info;
    char
        arithmetic[128]; /* what the results were graded by: "BITS", or a class and its functions */
    bool graph;          /* calls were captured once and replayed */
    struct dsv4_result *results;
    size_t n_results;
};

/* Appends a result; the pointer holds until the next one. */
struct dsv4_result *dsv4_report_add(struct dsv4_report *report, enum dsv4_verdict verdict,
                                    const char *op, const char *name);
void dsv4_result_say(struct dsv4_result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void dsv4_result_free(struct dsv4_result *result);
void dsv4_report_free(struct dsv4_report *report);

void dsv4_report_count(const struct dsv4_report *report, size_t counts[DSV4_N_VERDICTS]);

/* What a run with these results returns: enum dsv4_exit. */
int dsv4_report_exit(const struct dsv4_report *report);

/* "41 passed, 2 failed, 1 unsupported" */
void dsv4_report_summary(const struct dsv4_report *report, char *text, size_t size);

/* The first lines of every text report. */
void dsv4_report_head(const struct dsv4_report *report, FILE *out);
void dsv4_result_text(const struct dsv4_report *report, const struct dsv4_result *result,
                      FILE *out);

void dsv4_report_text(const struct dsv4_report *report, FILE *out);
void dsv4_report_json(const struct dsv4_report *report, FILE *out);
void dsv4_report_junit(const struct dsv4_report *reports, size_t n, FILE *out);
void dsv4_report_html(const struct dsv4_report *reports, size_t n, FILE *out);

/* Reads what dsv4_report_json() wrote; the file is not trusted. Free the report in either outcome. */
int dsv4_report_read(struct dsv4_report *report, const char *path, struct dsv4_err *err);

/* DIR/<impl>.txt .json .xml .html, each under a temporary name first. */
int dsv4_report_save(const struct dsv4_report *report, const char *directory, struct dsv4_err *err);

/* Writes text for a terminal. What a plug-in says is not ours, and control characters could rewrite the reader's
 * screen: they are shown as \xNN. `indent` follows a newline. */
void dsv4_text_clean(FILE *out, const char *text, const char *indent);

/* Writes XML or HTML text: markup escaped, control characters shown as \xNN. */
void dsv4_markup_text(FILE *out, const char *text);

#endif
