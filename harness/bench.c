/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `bench`: how fast, against what this very machine can do. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "file.h"
#include "judge.h"
#include "options.h"
#include "plugin.h"
#include "verbs.h"

struct bench {
    struct dsv4_filter filter;
    struct dsv4_texts names;
    const char *format, *directory;
    bool json; /* standard output is JSON */
    int64_t device, milliseconds, timeout;
    bool verify;
    struct dsv4_suite suite;
    json_t *rows;
    size_t n_measured, n_declined, n_failed;
    struct dsv4_timing last; /* of the last case: holds the yardsticks */
};

static int read_options(struct bench *b, int argc, char **argv) {
    const struct dsv4_option options[] = {
        {"--impl",    DSV4_OPTION_TEXTS,  &b->names,        "IMPL",
         "ref, cuda, hip or a plug-in's path; may be repeated"                                            },
        {"--format",  DSV4_OPTION_TEXT,   &b->format,       "FORM", "text or json"                        },
        {"--report",  DSV4_OPTION_TEXT,   &b->directory,    "DIR",
         "also write DIR/<impl>.bench.json, which `report` shows beside the results"                      },
        {"--device",  DSV4_OPTION_NUMBER, &b->device,       "N",    "which device"                        },
        {"--time",    DSV4_OPTION_NUMBER, &b->milliseconds, "MS",
         "milliseconds to measure each case (1000)"                                                       },
        {"--timeout", DSV4_OPTION_NUMBER, &b->timeout,      "S",    "seconds that one case may take (600)"},
        {"--verify",  DSV4_OPTION_FLAG,   &b->verify,       NULL,
         "also compare with the reference, bit for bit"                                                   },
    };
    struct dsv4_command command = {.usage = "bench [OPTIONS]",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .filter = &b->filter};
    const int status = dsv4_command_start(&command, argc, argv);
    struct dsv4_err err = {0};
    if (status >= 0) return status;
    if (strcmp(b->format, "text") != 0 && strcmp(b->format, "json") != 0)
        dsv4_fail(&err, "--format: '%.40s' is not text or json", b->format);
    else if (b->timeout < 1)
        dsv4_fail(&err, "--timeout: at least one second");
    if (err.text[0] != '\0') return dsv4_err_print(&err);
    if (b->filter.tiers == 0) b->filter.tiers = 1U << DSV4_BENCH;
    if (b->names.n == 0) b->names.at[b->names.n++] = "ref";
    return -1;
}

static void print_row(const struct dsv4_plugin_info *info, const char *name,
                      const struct dsv4_work *work, const struct dsv4_timing *t,
                      const char *verified) {
    const double bytes = work->bytes_read + work->bytes_written;
    const double rate = bytes / t->median;
    const double arithmetic =
        t->exps_per_second > 0 && t->fmas_per_second > 0
            ? work->exponentials / t->exps_per_second + work->fmas / t->fmas_per_second
            : 0;
    char share[16] = "-", bound[16] = "-", empty[24] = "-";
    if (t->copy_bytes_per_second > 0)
        snprintf(share, sizeof share, "%.1f%%", 100 * rate / t->copy_bytes_per_second);
    if (arithmetic > 0) snprintf(bound, sizeof bound, "%.1f%%", 100 * arithmetic / t->median);
    if (t->empty_seconds > 0) snprintf(empty, sizeof empty, "%.2f us", 1e6 * t->empty_seconds);
    printf("%s%-44s %11.2f us %5.1f%% %10.2f MB %9.2f GB/s %7s %8s %9s %4d %s%s\n",
           info->emulated ? "emulated " : "", name, 1e6 * t->median,
           100 * (t->high - t->low) / t->median, bytes / 1e6, rate / 1e9, share, bound, empty,
           t->inputs, t->graph ? "graph" : "calls", verified);
}

static void add_row(struct bench *b, const struct dsv4_plugin_info *info, const char *impl,
                    const char *name, const struct dsv4_work *work, const struct dsv4_timing *t,
                    const char *verified) {
    json_array_append_new(
        b->rows,
        json_pack("{s:s, s:s, s:b, s:s, s:f, s:f, s:f, s:i, s:i, s:b, s:f, s:f, s:f, s:f, s:f, "
                  "s:f, s:f, s:f, s:s}",
                  "impl", impl, "device", info->describe, "emulated", (int)info->emulated, "case",
                  name, "seconds_median", t->median, "seconds_low", t->low, "seconds_high", t->high,
                  "samples", t->n, "input_sets", t->inputs, "graph", (int)t->graph, "bytes_read",
                  work->bytes_read, "bytes_written", work->bytes_written, "exponentials",
                  work->exponentials, "fmas", work->fmas, "copy_bytes_per_second",
                  t->copy_bytes_per_second, "exps_per_second", t->exps_per_second,
                  "fmas_per_second", t->fmas_per_second, "empty_seconds", t->empty_seconds,
                  "verified", verified));
}

/* The same case once through `check`: a fast wrong kernel is no news. */
static const char *verify(struct bench *b, struct dsv4_runner *r, const struct dsv4_suite_case *s) {
    const struct dsv4_judge judge = {.poison = 1, .repeat = 1, .hint_seconds = 0};
    struct dsv4_result result = {0};
    struct dsv4_vector v = {0};
    struct dsv4_err err = {0};
    if (dsv4_vector_make(&v, s, &err) != 0) {
        result.verdict = DSV4_BROKEN;
        dsv4_result_say(&result, "%s", err.text);
    } else {
        dsv4_case_place(&v.c, dsv4_case_is_skewed(&v.c));
        dsv4_judge_case(&result, r, &v, s, &judge);
    }
    if (result.verdict != DSV4_PASS) {
        b->n_failed++;
        fprintf(stderr, "%s/%s: %s: %s\n", s->op->name, s->name, dsv4_verdict_names[result.verdict],
                result.message != NULL ? result.message : "");
    }
    const char *const word = result.verdict == DSV4_PASS ? " exact" : " WRONG";
    dsv4_vector_free(&v);
    dsv4_result_free(&result);
    return word;
}

/* What a call moves can depend on its inputs: padded rows cost nothing. */
static void find_work(struct dsv4_case *c, struct dsv4_work *work) {
    void *const memory = dsv4_map((size_t)c->arena_bytes);
    dsv4_case_bind(c, memory);
    c->op->fill(c);
    if (c->op->work != NULL) c->op->work(c, work);
    dsv4_unmap(memory, (size_t)c->arena_bytes);
}

static void bench_case(struct bench *b, struct dsv4_runner *r, const char *impl,
                       const struct dsv4_suite_case *s) {
    struct dsv4_request request;
    struct dsv4_reply reply;
    struct dsv4_case c = {0};
    struct dsv4_err err = {0};
    struct dsv4_work work = {0};
    char name[2 * DSV4_NAME_SIZE];
    snprintf(name, sizeof name, "%.90s/%s", s->op->name, s->name);
    if (dsv4_suite_case_make(s, &c, &err) != 0) {
        dsv4_err_print(&err);
        b->n_failed++;
        goto done;
    }
    dsv4_case_place(&c, false);
    find_work(&c, &work);
    dsv4_request_set(&request, DSV4_REQUEST_BENCH, &c);
    request.bench_seconds = 1e-3 * (double)b->milliseconds;
    const enum dsv4_outcome outcome = dsv4_runner_ask(r, &request, -1, &reply);
    if (outcome != DSV4_ANSWERED || reply.status != DSV4_OK) {
        const bool declined = outcome == DSV4_ANSWERED && reply.stage == DSV4_STAGE_SUPPORTS &&
                              reply.status == DSV4_UNSUPPORTED;
        fprintf(stderr, "%s: %s: ", name,
                declined                    ? "UNSUPPORTED"
                : outcome == DSV4_TIMED_OUT ? "TIMEOUT"
                                            : "FAIL");
        dsv4_text_clean(stderr, outcome == DSV4_ANSWERED ? reply.text : r->death, " ");
        fputc('\n', stderr);
        if (declined)
            b->n_declined++;
        else
            b->n_failed++;
        goto done;
    }
    b->n_measured++;
    b->last = reply.timing;
    const char *const verified = b->verify ? verify(b, r, s) : "";
    add_row(b, &r->info, impl, name, &work, &reply.timing, b->verify ? verified + 1 : "no");
    if (!b->json) print_row(&r->info, name, &work, &reply.timing, verified);
    fflush(stdout);
done:
    dsv4_case_free(&c);
}

static void print_head(const struct dsv4_runner *r, FILE *out) {
    struct dsv4_report *const report = dsv4_alloc(sizeof *report);
    snprintf(report->version, sizeof report->version, "%s", DSV4_GENERATOR);
    snprintf(report->path, sizeof report->path, "%s", r->path);
    report->info = r->info;
    dsv4_report_head(report, out);
    dsv4_free(report);
}

/* What the percentages are of, as measured in this run. */
static void print_yardsticks(const struct bench *b, const struct dsv4_runner *r) {
    const struct dsv4_timing *const t = &b->last;
    const char *const mark = r->info.emulated ? "emulated " : "";
    if (t->copy_bytes_per_second > 0)
        printf("%scopy: %.1f GB/s read and written\n", mark, t->copy_bytes_per_second / 1e9);
    if (t->exps_per_second > 0)
        printf("%sexp: %.2f G/s   fma: %.1f G/s\n", mark, t->exps_per_second / 1e9,
               t->fmas_per_second / 1e9);
}

static int bench_impl(struct bench *b, const char *name, const struct dsv4_suite_case **cases,
                      size_t n) {
    char directory[4000], path[4200];
    struct dsv4_err err = {0};
    struct dsv4_runner *const r = dsv4_alloc(sizeof *r);
    int code = DSV4_EXIT_ERROR;
    dsv4_build_directory(directory, sizeof directory);
    if (dsv4_plugin_path(path, sizeof path, name, directory, &err) != 0) goto done;
    dsv4_runner_init(r, "/proc/self/exe", path);
    r->timeout = (double)b->timeout;
    r->device = (int)b->device;
    const int status = dsv4_runner_start(r, &err);
    if (status == DSV4_UNSUPPORTED) code = DSV4_EXIT_NOTHING;
    if (status != DSV4_OK) goto done;
    FILE *const out = b->json ? stderr : stdout;
    print_head(r, out);
    if (!b->json)
        printf("%-44s %14s %6s %13s %14s %7s %8s %9s %4s\n", "case", "median", "spread", "traffic",
               "rate", "of copy", "exp+fma", "empty", "sets");
    const size_t before = b->n_measured;
    for (size_t i = 0; i < n; i++) bench_case(b, r, name, cases[i]);
    if (!b->json) print_yardsticks(b, r);
    code = b->n_measured > before ? DSV4_EXIT_PASS : DSV4_EXIT_NOTHING;
    if (code == DSV4_EXIT_NOTHING) dsv4_fail(&err, "%s: nothing was measured", name);
done:
    if (code != DSV4_EXIT_PASS) fprintf(stderr, "dsv4cts: %s\n", err.text);
    dsv4_runner_stop(r);
    dsv4_free(r);
    return code;
}

/* DIR/<impl>.bench.json: the rows of one implementation. */
static int save_rows(const struct bench *b, const char *name, struct dsv4_err *err) {
    char path[4600];
    const char *const slash = strrchr(name, '/'), *const stem = slash != NULL ? slash + 1 : name;
    const size_t length = strlen(stem);
    const bool is_file = length > 3 && strcmp(stem + length - 3, ".so") == 0;
    json_t *const rows = json_array(), *row;
    size_t i;
    json_array_foreach(b->rows, i, row) if (strcmp(json_string_value(json_object_get(row, "impl")),
                                                   name) == 0) json_array_append(rows, row);
    char *const text = json_dumps(rows, JSON_INDENT(1));
    snprintf(path, sizeof path, "%s/%.*s.bench.json", b->directory,
             (int)(is_file ? length - 3 : length), stem);
    const int status = dsv4_directory_make(b->directory, err) == 0
                           ? dsv4_file_write(path, text, strlen(text), err)
                           : -1;
    free(text);
    json_decref(rows);
    return status;
}

int dsv4_verb_bench(int argc, char **argv) {
    struct bench b = {
        .filter = DSV4_FILTER, .format = "text", .milliseconds = 1000, .timeout = 600};
    struct dsv4_err err = {0};
    size_t n = 0;
    int code = read_options(&b, argc, argv);
    if (code >= 0) return code;
    if (dsv4_suite_load(&b.suite, b.filter.suites, &err) != 0) {
        dsv4_suite_free(&b.suite);
        return dsv4_err_print(&err);
    }
    b.json = strcmp(b.format, "json") == 0;
    b.rows = json_array();
    const struct dsv4_suite_case **const cases = dsv4_filter_select(&b.filter, &b.suite, &n);
    code = DSV4_EXIT_PASS;
    for (size_t i = 0; i < b.names.n; i++) {
        const int status = bench_impl(&b, b.names.at[i], cases, n);
        /* Error before mismatch before nothing: what is worst speaks for all. */
        static const int rank[] = {0, 2, 3, 1};
        if (rank[status] > rank[code]) code = status;
    }
    if (b.json) {
        json_dumpf(b.rows, stdout, JSON_INDENT(1));
        printf("\n");
    }
    for (size_t i = 0; i < b.names.n && b.directory != NULL; i++)
        if (save_rows(&b, b.names.at[i], &err) != 0) code = dsv4_err_print(&err);
    json_decref(b.rows);
    dsv4_free(cases);
    dsv4_suite_free(&b.suite);
    if (code != DSV4_EXIT_ERROR && b.n_failed > 0) code = DSV4_EXIT_DIFFERENT;
    return code;
}
