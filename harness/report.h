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
extern const char *const dsv4_verdict_names[DSV4_N_VERDICTS + 1]; /* the last is NULL */

/* How a result passed. */
enum dsv4_grade {
    DSV4_UNGRADED,   /* it did not pass */
    DSV4_EXACT,      /* every byte is the golden one */
    DSV4_CONFORMANT, /* other bits, each within the bound of the declared arithmetic */
};
extern const char *const dsv4_grade_names[4]; /* "" "exact" "conformant" NULL */

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
    char *dialects; /* "fp8=ocp layout=planar"; NULL: none */
    int64_t index;  /* place in the whole run, before it was cut into shards */
    int device;     /* which one of the machine ran it */
    char *file;     /* the suite's; NULL: none */
    int line;
    char *tags;    /* "scale-ceil, smoke" */
    int steps;     /* of a sequence; 0: a case */
    char *message; /* one line; NULL for PASS */
    double seconds;
    struct dsv4_notes notes;
    struct dsv4_output *outputs; /* those that a bound judged; NULL: none */
    size_t n_outputs;
};

/* What one process ran: the whole, or a shard. */
struct dsv4_part {
    int64_t shard;            /* from 1 */
    int64_t planned, results; /* that it was to have, and has */
    bool complete;            /* it came to its end */
    double seconds;           /* from its first case to its last, calls and all else */
};

/* A row of `bench --format json`. */
struct dsv4_figure {
    char impl[4200], device[512], name[2 * DSV4_NAME_SIZE], verified[16];
    bool emulated, graph;
    int samples, input_sets;
    double median, low, high; /* seconds */
    double bytes_read, bytes_written, exponentials, fmas;
    double copy_rate, exp_rate, fma_rate, empty; /* yardsticks; 0: not measured */
};

struct dsv4_report {
    char version[64]; /* of the harness */
    char impl[128];   /* file stem of the plug-in */
    char path[4200];
    char plugin_sha256[65], manifest_sha256[65]; /* "": not read */
    struct dsv4_plugin_info info;
    char
        arithmetic[128]; /* what the results were graded by: "BITS", or a class and its functions */
    bool graph;          /* calls were captured once and replayed */
    char selection[512]; /* the options that chose the cases */
    char started[24];    /* "2026-01-31T12:00:00Z" */
    char system[200];    /* the operating system and machine, in words */
    int64_t n_shards;    /* 1: not cut */
    struct dsv4_part *parts;
    size_t n_parts;
    struct dsv4_result *results;
    size_t n_results;
    struct dsv4_figure *figures;
    size_t n_figures;
};

/* Appends a result; the pointer holds until the next one. */
struct dsv4_result *dsv4_report_add(struct dsv4_report *report, enum dsv4_verdict verdict,
                                    const char *op, const char *name);
void dsv4_result_say(struct dsv4_result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void dsv4_result_free(struct dsv4_result *result);
/* This report has what a process of its own ran: shard `shard` of `n_shards`. */
void dsv4_report_part(struct dsv4_report *report, int64_t shard, int64_t n_shards);
void dsv4_report_free(struct dsv4_report *report);

void dsv4_report_count(const struct dsv4_report *report, size_t counts[DSV4_N_VERDICTS]);

/* Passed results of this grade. */
size_t dsv4_report_graded(const struct dsv4_report *report, enum dsv4_grade grade);

/* "missing: shard 2, 4 of 4; shard 3 stopped after 31 of 120 results". false: nothing is. */
bool dsv4_report_gaps(const struct dsv4_report *report, char *text, size_t size);

/* What a run with these results returns: enum dsv4_exit. */
int dsv4_report_exit(const struct dsv4_report *report);

/* "41 passed, 2 failed, 1 unsupported" */
void dsv4_report_summary(const struct dsv4_report *report, char *text, size_t size);

/* "6.1 s, 5.0 s of them in calls": of all parts, and of all calls. */
void dsv4_report_time(const struct dsv4_report *report, char *text, size_t size);

/* The largest |error| / bound among the outputs of a result. */
double dsv4_result_slack(const struct dsv4_result *result);

/* The first lines of every text report. */
void dsv4_report_head(const struct dsv4_report *report, FILE *out);
void dsv4_result_text(const struct dsv4_report *report, const struct dsv4_result *result,
                      FILE *out);

void dsv4_report_text(const struct dsv4_report *report, FILE *out);
void dsv4_report_json(const struct dsv4_report *report, FILE *out);
void dsv4_report_junit(const struct dsv4_report *reports, size_t n, FILE *out);
void dsv4_report_html(const struct dsv4_report *reports, size_t n, FILE *out);

/* One result as a JSON object on one line, and back: what workers of one run tell each other. */
char *dsv4_result_pack(const struct dsv4_result *result); /* free() */
int dsv4_result_unpack(struct dsv4_report *report, const char *text, struct dsv4_err *err);

/* Reads what dsv4_report_json() wrote; the text is not trusted, and `path` is what errors name. Free the report in
 * either outcome. */
int dsv4_report_parse(struct dsv4_report *report, const char *text, size_t size, const char *path,
                      struct dsv4_err *err);
int dsv4_report_read(struct dsv4_report *report, const char *path, struct dsv4_err *err);

/* Reports of one or several runs; shards of one run are one of them. */
struct dsv4_reports {
    struct dsv4_report *at;
    char **paths; /* the file that each began with */
    size_t n;
    struct dsv4_figure *figures; /* that belong to none of them */
    size_t n_figures;
};

/* Reads a report, or the rows of `bench --format json`, and joins it with what it belongs to. */
int dsv4_reports_read(struct dsv4_reports *all, const char *path, struct dsv4_err *err);
/* After the last file: puts shards in the order of the run, and bench figures beside their reports. */
int dsv4_reports_join(struct dsv4_reports *all, struct dsv4_err *err);
void dsv4_reports_free(struct dsv4_reports *all);

/* DIR/<impl>.txt .json .xml .html, or of a shard <impl>.2-of-4.txt ..., each under a temporary name first. */
int dsv4_report_save(const struct dsv4_report *report, const char *directory, struct dsv4_err *err);

/* Writes text for a terminal. What a plug-in says is not ours, and control characters could rewrite the reader's
 * screen: they are shown as \xNN. `indent` follows a newline. */
void dsv4_text_clean(FILE *out, const char *text, const char *indent);

/* Writes XML or HTML text: markup escaped, control characters shown as \xNN. */
void dsv4_markup_text(FILE *out, const char *text);

#endif
