/* SPDX-License-Identifier: Apache-2.0 */
/* The verb `check`: every selected case against every implementation. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "answers.h"
#include "deal.h"
#include "file.h"
#include "judge.h"
#include "known.h"
#include "options.h"
#include "plugin.h"
#include "sequence.h"
#include "session.h"
#include "travel.h"
#include "verbs.h"

enum { MAX_IMPLS = 16 };

/* One implementation under test. */
struct impl {
    struct dsv4_runner runner;
    struct dsv4_report report;
    int start; /* DSV4_OK, DSV4_UNSUPPORTED, DSV4_ERROR */
    size_t failures;
};

/* What is run, in order. A unit is a case, a sequence or a layer, and has one or more results. */
struct plan {
    const struct dsv4_suite_case **cases;
    const struct dsv4_suite_sequence **sequences;
    size_t n_cases, n_sequences, n_layers;
    int64_t all_cases; /* of the whole run; the others follow them */
};

struct check {
    struct dsv4_filter filter;
    struct dsv4_texts names; /* --impl */
    const char *format, *directory, *vectors, *mode, *layer, *devices, *class;
    dsv4_arithmetic arithmetic; /* of --class */
    int64_t first, device, timeout, poison, seeds;
    bool do_dump, verbose, fresh;
    struct dsv4_judge judge;
    struct dsv4_suite suite;
    struct dsv4_layers layers;
    struct dsv4_known known;
    struct dsv4_answers answers;
    struct impl *impls;
    struct dsv4_runner suspects;
    size_t n_impls;
    struct plan plan;
    size_t done;    /* units that have come back from other processes */
    double started; /* when the first case was begun */
    time_t saved;   /* when reports were last written, on the monotonic clock */
    FILE *log;      /* text for people: standard output, or standard error beside JSON and JUnit */
};

/* What no option says by itself. */
static int check_options(struct check *k, struct dsv4_err *err) {
    if (strcmp(k->format, "text") != 0 && strcmp(k->format, "json") != 0 &&
        strcmp(k->format, "junit") != 0)
        dsv4_fail(err, "--format: '%.40s' is not text, json or junit", k->format);
    else if (strcmp(k->mode, "eager") != 0 && strcmp(k->mode, "graph") != 0)
        dsv4_fail(err, "--mode: '%.40s' is not eager or graph", k->mode);
    else if (k->layer != NULL && dsv4_filter_narrows(&k->filter))
        dsv4_fail(err, "--layer runs all calls of a layer; leave --op, --case, --tag, --tier, "
                       "--dialect and --shard out");
    else if (k->judge.repeat < 1)
        dsv4_fail(err, "--repeat: each case runs at least once");
    else if (k->timeout < 1)
        dsv4_fail(err, "--timeout: at least one second");
    else if (k->devices != NULL && k->device != 0)
        dsv4_fail(err, "--device and --devices exclude each other");
    else if (k->names.n > MAX_IMPLS)
        dsv4_fail(err, "--impl: at most %d", MAX_IMPLS);
    else if (k->seeds < 0 || (k->seeds > 0 && k->layer != NULL))
        dsv4_fail(err, "--seeds: at least one; of cases, not of layers");
    else if (k->class != NULL && dsv4_arithmetic_parse(&k->arithmetic, k->class, err) == 0)
        k->judge.arithmetic = &k->arithmetic;
    return err->text[0] != '\0' ? -1 : 0;
}

static int read_options(struct check *k, int argc, char **argv) {
    const struct dsv4_option options[] = {
        {"--impl",    DSV4_OPTION_TEXTS,  &k->names,        "IMPL",
         "ref, cuda, hip or the path of a plug-in, .so or .py; may be repeated"                           },
        {"--layer",   DSV4_OPTION_TEXT,   &k->layer,        "GLOB",
         "whole layers in place of cases: suites/layers/GLOB.yaml"                                        },
        {"--format",  DSV4_OPTION_TEXT,   &k->format,       "FORM",
         "standard output as text, json or junit"                                                         },
        {"--report",  DSV4_OPTION_TEXT,   &k->directory,    "DIR",
         "also write DIR/<impl>.{txt,json,xml,html}"                                                      },
        {"--mode",    DSV4_OPTION_TEXT,   &k->mode,         "MODE",
         "eager, or graph: capture each call once and replay it"                                          },
        {"--class",   DSV4_OPTION_TEXT,   &k->class,        "CLASS",
         "judge by bounds: F32-ANY, TC25-RZ, ..., perhaps with exp=ULP rsqrt=ULP ..."                     },
        {"--first",   DSV4_OPTION_NUMBER, &k->first,        "N",     "stop after N failures"              },
        {"--repeat",  DSV4_OPTION_NUMBER, &k->judge.repeat, "N",
         "run each case N times; every run must give the same bytes"                                      },
        {"--dump",    DSV4_OPTION_FLAG,   &k->do_dump,      NULL,
         "write wrong outputs as .npz beside the report"                                                  },
        {"--device",  DSV4_OPTION_NUMBER, &k->device,       "N",     "which device"                       },
        {"--devices", DSV4_OPTION_TEXT,   &k->devices,      "LIST",
         "deal the cases out to 'all' devices of this machine, or to 0,1,..."                             },
        {"--timeout", DSV4_OPTION_NUMBER, &k->timeout,      "S",     "seconds that one case may take (60)"},
        {"--poison",  DSV4_OPTION_NUMBER, &k->poison,       "SEED",  "what untouched bytes hold"          },
        {"--vectors", DSV4_OPTION_TEXT,   &k->vectors,      "DIR",
         "where the golden vectors are (vectors, or those installed)"                                     },
        {"--seeds",   DSV4_OPTION_NUMBER, &k->seeds,        "N",
         "run each case with N inputs of its recipe, all made now; no sequences"                          },
        {"--fresh",   DSV4_OPTION_FLAG,   &k->fresh,        NULL,
         "make all answers now; read neither vectors nor MANIFEST"                                        },
        {"--verbose", DSV4_OPTION_FLAG,   &k->verbose,      NULL,    "a line for every case"              },
    };
    struct dsv4_command command = {.usage = "check [OPTIONS]",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .filter = &k->filter};
    const int status = dsv4_command_start(&command, argc, argv);
    struct dsv4_err err = {0};
    if (status >= 0) return status;
    if (check_options(k, &err) != 0) return dsv4_err_print(&err);
    k->fresh |= k->seeds > 0;
    if (k->filter.tiers == 0) k->filter.tiers = 1U << DSV4_SMOKE;
    if (k->names.n == 0) k->names.at[k->names.n++] = "ref";
    if (k->do_dump) k->judge.dump = k->directory != NULL ? k->directory : "reports/dump";
    k->judge.poison = (uint64_t)k->poison;
    k->judge.graph = strcmp(k->mode, "graph") == 0;
    k->log = strcmp(k->format, "text") == 0 ? stdout : stderr;
    return -1;
}

/* acme.so, acme.py -> acme */
static void set_stem(struct dsv4_report *report) {
    const char *const slash = strrchr(report->path, '/');
    snprintf(report->impl, sizeof report->impl, "%.120s", slash != NULL ? slash + 1 : report->path);
    char *const dot = strrchr(report->impl, '.');
    if (dot != NULL && dot != report->impl && (strcmp(dot, ".so") == 0 || strcmp(dot, ".py") == 0))
        *dot = '\0';
}

/* What a report says about the run besides its results. */
static void describe_run(struct check *k, struct dsv4_report *report) {
    struct utsname name;
    struct dsv4_err err = {0};
    char path[4200];
    const time_t now = time(NULL);
    struct tm utc;
    snprintf(report->version, sizeof report->version, "%s", DSV4_GENERATOR);
    if (k->class != NULL)
        dsv4_arithmetic_text(report->arithmetic, sizeof report->arithmetic, &k->arithmetic);
    else
        snprintf(report->arithmetic, sizeof report->arithmetic,
                 report->info.declares ? "as the plug-in declares for each call" : "BITS");
    report->graph = k->judge.graph;
    if (uname(&name) == 0)
        snprintf(report->system, sizeof report->system, "%.60s %.60s %.60s", name.sysname,
                 name.release, name.machine);
    if (gmtime_r(&now, &utc) != NULL)
        strftime(report->started, sizeof report->started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (k->layer != NULL)
        snprintf(report->selection, sizeof report->selection, "layer=%.200s", k->layer);
    else
        dsv4_filter_text(&k->filter, report->selection, sizeof report->selection);
    dsv4_file_hash(report->path, report->plugin_sha256, &err);
    snprintf(path, sizeof path, "%.4000s/MANIFEST", k->vectors);
    if (!k->fresh) dsv4_file_hash(path, report->manifest_sha256, &err);
    dsv4_report_part(report, k->filter.n_shards > 0 ? k->filter.shard_index : 1,
                     k->filter.n_shards > 0 ? k->filter.n_shards : 1);
}

static void judge_canary(struct check *k, struct impl *impl) {
    struct dsv4_report *const report = &impl->report;
    if (!report->info.has_canary || report->info.canary == DSV4_OK) return;
    struct dsv4_result *const result = dsv4_report_add(report, DSV4_FAILED, "plugin", "canary");
    result->device = impl->runner.device;
    dsv4_result_say(result,
                    "canary() says that this build does not keep the canon's arithmetic: %s",
                    report->info.canary_line);
    dsv4_result_text(report, result, k->log);
    impl->failures++;
}

static int start_impl(struct check *k, struct impl *impl, const char *name, int device) {
    char directory[4000], path[4200];
    struct dsv4_err err = {0};
    dsv4_build_directory(directory, sizeof directory);
    if (dsv4_plugin_path(path, sizeof path, name, directory, &err) != 0) {
        impl->start = DSV4_ERROR;
    } else {
        dsv4_runner_init(&impl->runner, "/proc/self/exe", path);
        impl->runner.timeout = (double)k->timeout;
        impl->runner.device = device;
        impl->start = dsv4_runner_start(&impl->runner, &err);
    }
    if (impl->start != DSV4_OK) {
        fprintf(stderr, "dsv4cts: ");
        dsv4_text_clean(stderr, err.text, " ");
        fputc('\n', stderr);
        return -1;
    }
    struct dsv4_report *const report = &impl->report;
    snprintf(report->path, sizeof report->path, "%s", path);
    report->info = impl->runner.info;
    set_stem(report);
    describe_run(k, report);
    dsv4_report_head(report, k->log);
    judge_canary(k, impl);
    return 0;
}

static char *tags_text(const struct dsv4_suite_case *s) {
    char text[512] = "";
    size_t n = 0;
    for (size_t i = 0; i < s->n_tags && n + 1 < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i > 0 ? ", " : "",
                              s->tags[i]->name);
    return dsv4_copy_text(text);
}

/* `like` has the parameters: the case itself, or the first step of a sequence. */
static struct dsv4_result *add_result(struct impl *impl, const struct dsv4_suite_case *s,
                                      const struct dsv4_suite_case *like, int64_t index) {
    char dialects[1024];
    struct dsv4_result *const result =
        dsv4_report_add(&impl->report, DSV4_SKIP, s->op->name, s->name);
    dsv4_case_dialects(like, dialects, sizeof dialects);
    result->dialects = dsv4_copy_text(dialects);
    result->index = index;
    result->device = impl->runner.device;
    snprintf(result->tier, sizeof result->tier, "%s", dsv4_tier_names[s->tier]);
    result->file = dsv4_copy_text(s->file != NULL ? s->file : "");
    result->line = s->line;
    result->tags = tags_text(s);
    return result;
}

static bool is_bad(enum dsv4_verdict verdict) {
    return verdict == DSV4_FAILED || verdict == DSV4_CRASH || verdict == DSV4_TIMEOUT ||
           verdict == DSV4_XPASS || verdict == DSV4_BROKEN;
}

/* Turns a failure that suites/known.yaml expects into XFAIL, and a pass that it does not into XPASS. */
static void apply_known(struct check *k, struct impl *impl, struct dsv4_result *result) {
    const enum dsv4_verdict v = result->verdict;
    const bool failed = v == DSV4_FAILED || v == DSV4_CRASH || v == DSV4_TIMEOUT;
    if (!failed && v != DSV4_PASS) return;
    const struct dsv4_known_failure *const entry = dsv4_known_find(
        &k->known, impl->report.impl, impl->report.info.name, result->op, result->name);
    if (entry == NULL) return;
    result->verdict = failed ? DSV4_XFAIL : DSV4_XPASS;
    dsv4_notes_add(&result->notes, "known", "%s:%d: %s %s", k->known.file, entry->line,
                   entry->reason, entry->link);
    if (!failed)
        dsv4_result_say(result,
                        "passes although it is listed as a known failure; remove the entry");
}

/* A result is complete: it is counted, and shown if it is worth it. */
static void tell(struct check *k, struct impl *impl, struct dsv4_result *result) {
    if (result->verdict == DSV4_PASS && result->grade == DSV4_UNGRADED) result->grade = DSV4_EXACT;
    apply_known(k, impl, result);
    if (is_bad(result->verdict)) impl->failures++;
    const bool quiet = result->verdict == DSV4_PASS || result->verdict == DSV4_DECLINED;
    if (!quiet || k->verbose) {
        if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
        dsv4_result_text(&impl->report, result, k->log);
        fflush(k->log);
    }
}

/* What is run: a case, or the steps of a sequence. */
struct subject {
    const struct dsv4_suite_case *s, *like; /* like: has the parameters */
    int64_t index;                          /* in the whole run */
    const struct dsv4_vector *vector;       /* a case's; NULL: there is none */
    const struct dsv4_sequence *sequence;   /* NULL: a case */
    const struct dsv4_err *broken;          /* why there are no answers; NULL: there are */
};

static void judge(struct check *k, struct impl *impl, const struct subject *subject,
                  struct dsv4_result *result) {
    if (subject->sequence != NULL) {
        const struct dsv4_sequence *const q = subject->sequence;
        dsv4_judge_steps(result, &impl->runner, q->steps, q->n_steps, subject->s, &k->judge);
    } else {
        dsv4_judge_call(result, &impl->runner, subject->vector, subject->s, &k->judge);
    }
}

static void run_subject(struct check *k, struct impl *impl, const struct subject *subject) {
    struct dsv4_result *const result = add_result(impl, subject->s, subject->like, subject->index);
    const struct dsv4_err *const broken = subject->broken;
    if (subject->sequence != NULL) result->steps = (int)subject->sequence->n_steps;
    if (k->first > 0 && impl->failures >= (size_t)k->first) {
        dsv4_result_say(result, "not run: stopped after %zu failures", impl->failures);
        return;
    }
    if (broken != NULL) {
        result->verdict = DSV4_BROKEN;
        dsv4_result_say(result, "%s%s%s", broken->file, broken->file[0] != '\0' ? ": " : "",
                        broken->text);
    } else {
        judge(k, impl, subject, result);
    }
    tell(k, impl, result);
}

/* A run that is stopped from outside leaves what it has found so far. */
static void save_now_and_then(struct check *k) {
    enum { SECONDS = 30 };
    struct dsv4_err err;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (k->saved == 0) k->saved = now.tv_sec;
    if (k->directory == NULL || now.tv_sec - k->saved < SECONDS) return;
    k->saved = now.tv_sec;
    for (size_t i = 0; i < k->n_impls; i++) {
        struct dsv4_report *const report = &k->impls[i].report;
        if (k->impls[i].start != DSV4_OK) continue;
        report->parts[0].results = (int64_t)report->n_results;
        report->parts[0].seconds = dsv4_session_now() - k->started;
        dsv4_report_save(report, k->directory, &err); /* the last one tells of errors */
    }
}

/* Answers that come again find what the first one's bounds were. */
static void keep_bounds(const struct check *k, struct dsv4_vector *v) {
    if (k->n_impls > 1 || k->judge.graph) v->memo = dsv4_memo_open();
}

static void run_everywhere(struct check *k, const struct subject *subject) {
    for (size_t j = 0; j < k->n_impls; j++)
        if (k->impls[j].start == DSV4_OK) run_subject(k, &k->impls[j], subject);
}

static void run_seed(struct check *k, const struct dsv4_suite_case *s, uint64_t seed,
                     struct dsv4_result **results) {
    struct dsv4_suite_case one = *s;
    struct dsv4_vector v = {0};
    struct dsv4_err err = {0};
    if (seed > 0) one.seed = s->seed + seed * UINT64_C(0x9E3779B97F4A7C15);
    const int status = dsv4_answers_get(&k->answers, &v, &one, &err);
    keep_bounds(k, &v);
    for (size_t j = 0; j < k->n_impls; j++) {
        if (results[j] == NULL || (seed > 0 && results[j]->verdict != DSV4_PASS)) continue;
        if (status == 0)
            dsv4_judge_call(results[j], &k->impls[j].runner, &v, &one, &k->judge);
        else
            results[j]->verdict = DSV4_BROKEN;
        if (status != 0) dsv4_result_say(results[j], "%s: %s", err.file, err.text);
        if (is_bad(results[j]->verdict))
            dsv4_notes_add(&results[j]->notes, "seed", "%llu", (unsigned long long)v.c.seed);
    }
    dsv4_vector_free(&v);
}

/* One case with many inputs is one result: that of the first input that fails. */
static void run_seeds(struct check *k, const struct dsv4_suite_case *s, int64_t index) {
    struct dsv4_result *results[MAX_IMPLS] = {0};
    for (size_t j = 0; j < k->n_impls; j++)
        if (k->impls[j].start == DSV4_OK) results[j] = add_result(&k->impls[j], s, s, index);
    for (int64_t seed = 0; seed < k->seeds; seed++) run_seed(k, s, (uint64_t)seed, results);
    for (size_t j = 0; j < k->n_impls; j++)
        if (results[j] != NULL) tell(k, &k->impls[j], results[j]);
}

static void run_one_case(struct check *k, const struct dsv4_suite_case *s, int64_t index) {
    struct dsv4_vector v = {0};
    struct dsv4_err err = {0};
    const int status = dsv4_answers_get(&k->answers, &v, s, &err);
    keep_bounds(k, &v);
    const struct subject subject = {
        .s = s, .like = s, .index = index, .vector = &v, .broken = status != 0 ? &err : NULL};
    run_everywhere(k, &subject);
    dsv4_vector_free(&v);
}

static void run_one_sequence(struct check *k, const struct dsv4_suite_sequence *s, int64_t index) {
    struct dsv4_sequence q = {0};
    struct dsv4_err err = {0};
    const int status = dsv4_sequence_get(&q, &k->answers, &k->suite, s, &err);
    for (size_t i = 0; i < q.n_vectors; i++) keep_bounds(k, &q.vectors[i]);
    const struct subject subject = {.s = &s->head,
                                    .like = &k->suite.cases[s->steps[0]],
                                    .index = index,
                                    .sequence = &q,
                                    .broken = status != 0 ? &err : NULL};
    run_everywhere(k, &subject);
    dsv4_sequence_free(&q);
}

/* ---- layers ---- */

/* What a layer came to, in a line or two. */
static void print_travel(struct check *k, const struct impl *impl, const struct dsv4_layer *layer,
                         const struct dsv4_travel *t) {
    const char *const mark = impl->report.info.emulated ? "emulated " : "";
    fprintf(k->log, "%slayer %s: %zu calls in %zu steps, ", mark, layer->name, layer->n_calls,
            layer->n_steps);
    if (t->first < layer->n_calls)
        fprintf(k->log, "%zu wrong by themselves, first %s/%s in step %s; %zu inherit", t->n_wrong,
                layer->calls[t->first].s.op->name, layer->calls[t->first].node,
                layer->steps[layer->calls[t->first].step], t->n_inherit);
    else
        fputs(t->n_bridged < layer->n_calls ? "none goes wrong" : "none was run", k->log);
    if (t->n_bridged > 0) fprintf(k->log, "; %zu bridged by the reference's answers", t->n_bridged);
    fputc('\n', k->log);
}

static void judge_layer(struct check *k, struct impl *impl, const struct dsv4_chain *golden,
                        int64_t index) {
    const struct dsv4_layer *const layer = golden->layer;
    const size_t first = impl->report.n_results;
    char again[DSV4_NAME_SIZE + 16];
    struct dsv4_judge judge = k->judge;
    struct dsv4_travel travel;
    snprintf(again, sizeof again, "--layer %s", layer->name);
    judge.again = again;
    for (size_t i = 0; i < layer->n_calls; i++)
        add_result(impl, &layer->calls[i].s, &layer->calls[i].s, index + (int64_t)i);
    struct dsv4_result *const results = &impl->report.results[first];
    if (k->first > 0 && impl->failures >= (size_t)k->first) {
        dsv4_result_say(&results[0], "not run: stopped after %zu failures", impl->failures);
        return;
    }
    dsv4_travel_judge(&travel, results, &impl->runner, &k->suspects, golden, &judge);
    for (size_t i = 0; i < layer->n_calls; i++) tell(k, impl, &results[i]);
    print_travel(k, impl, layer, &travel);
}

static void run_one_layer(struct check *k, const struct dsv4_layer *layer, int64_t index) {
    struct dsv4_chain golden;
    struct dsv4_err err = {0};
    const int status = dsv4_answers_layer(&k->answers, &golden, layer, &err);
    for (size_t j = 0; j < k->n_impls; j++) {
        if (k->impls[j].start != DSV4_OK) continue;
        if (status == 0) {
            judge_layer(k, &k->impls[j], &golden, index);
            continue;
        }
        struct dsv4_result *const result =
            dsv4_report_add(&k->impls[j].report, DSV4_BROKEN, DSV4_LAYER_FAMILY, layer->name);
        result->index = index;
        dsv4_result_say(result, "%s:%d: %s", err.file, err.line, err.text);
        tell(k, &k->impls[j], result);
    }
    dsv4_chain_free(&golden);
}

/* ---- the plan ---- */

static void make_plan(struct check *k) {
    struct plan *const plan = &k->plan;
    struct dsv4_filter whole = k->filter;
    size_t all = 0;
    if (k->layer != NULL) {
        plan->n_layers = k->layers.n;
        return;
    }
    whole.n_shards = 0;
    dsv4_free(dsv4_filter_select(&whole, &k->suite, &all));
    plan->all_cases = (int64_t)all;
    plan->cases = dsv4_filter_select(&k->filter, &k->suite, &plan->n_cases);
    if (k->seeds == 0)
        plan->sequences = dsv4_filter_sequences(&k->filter, &k->suite, &plan->n_sequences);
}

static size_t plan_units(const struct plan *plan) {
    return plan->n_cases + plan->n_sequences + plan->n_layers;
}

/* Where the n-th case or sequence of this shard stands in the whole. */
static int64_t whole_index(const struct check *k, size_t n) {
    return k->filter.n_shards == 0 ? (int64_t)n
                                   : (int64_t)n * k->filter.n_shards + k->filter.shard_index - 1;
}

/* Where the results of a unit begin; of the unit after the last, where they end. */
static int64_t unit_index(const struct check *k, size_t unit) {
    const struct plan *const plan = &k->plan;
    int64_t index = 0;
    if (unit < plan->n_cases) return whole_index(k, unit);
    if (plan->n_layers == 0) return plan->all_cases + whole_index(k, unit - plan->n_cases);
    for (size_t i = 0; i < unit; i++) index += (int64_t)k->layers.at[i].n_calls;
    return index;
}

static int64_t planned_results(const struct check *k) {
    return k->plan.n_layers > 0 ? unit_index(k, k->plan.n_layers) : (int64_t)plan_units(&k->plan);
}

static void run_unit(struct check *k, size_t unit) {
    const struct plan *const plan = &k->plan;
    const int64_t index = unit_index(k, unit);
    if (plan->n_layers > 0)
        run_one_layer(k, &k->layers.at[unit], index);
    else if (k->seeds > 0)
        run_seeds(k, plan->cases[unit], index);
    else if (unit < plan->n_cases)
        run_one_case(k, plan->cases[unit], index);
    else
        run_one_sequence(k, plan->sequences[unit - plan->n_cases], index);
}

/* ---- several devices: a process for each, in which the implementations are started again ---- */

enum { LOG = -1 };

static int open_here(void *context, int device, struct dsv4_err *err) {
    struct check *const k = context;
    k->directory = NULL;
    for (size_t i = 0; i < k->n_impls; i++) {
        struct impl *const impl = &k->impls[i];
        if (impl->start != DSV4_OK) continue;
        impl->runner.device = device;
        if (dsv4_runner_start(&impl->runner, err) != DSV4_OK) return -1;
        if (strcmp(impl->runner.info.describe, impl->report.info.describe) != 0)
            return dsv4_fail(err,
                             "is '%.150s', not '%.150s' as the first one: run unlike devices "
                             "one by one, with --device",
                             impl->runner.info.describe, impl->report.info.describe);
        if (impl->runner.info.canary != impl->report.info.canary)
            return dsv4_fail(err, "the canary says otherwise here: %.300s",
                             impl->runner.info.canary_line);
    }
    return 0;
}

static void run_here(void *context, size_t unit, const uint64_t state[DSV4_DEAL_STATE],
                     struct dsv4_pieces *pieces) {
    struct check *const k = context;
    char *text = NULL;
    size_t size = 0;
    k->log = open_memstream(&text, &size);
    if (k->log == NULL) return;
    for (size_t i = 0; i < k->n_impls; i++) {
        k->impls[i].failures = (size_t)state[i];
        for (size_t r = 0; r < k->impls[i].report.n_results; r++)
            dsv4_result_free(&k->impls[i].report.results[r]);
        k->impls[i].report.n_results = 0;
    }
    run_unit(k, unit);
    fclose(k->log);
    dsv4_pieces_add(pieces, LOG, text);
    free(text);
    for (size_t i = 0; i < k->n_impls; i++)
        for (size_t r = 0; r < k->impls[i].report.n_results; r++) {
            char *const packed = dsv4_result_pack(&k->impls[i].report.results[r]);
            dsv4_pieces_add(pieces, (int32_t)i, packed);
            free(packed);
        }
}

static void close_here(void *context) {
    struct check *const k = context;
    dsv4_runner_stop(&k->suspects);
    for (size_t i = 0; i < k->n_impls; i++) dsv4_runner_stop(&k->impls[i].runner);
}

static void tell_state(void *context, uint64_t state[DSV4_DEAL_STATE]) {
    const struct check *const k = context;
    for (size_t i = 0; i < k->n_impls; i++) state[i] = k->impls[i].failures;
}

static void take_unit(void *context, size_t unit, const struct dsv4_pieces *pieces) {
    struct check *const k = context;
    struct dsv4_err err = {0};
    size_t at = 0;
    int32_t kind = LOG;
    const char *text;
    (void)unit;
    while ((text = dsv4_pieces_next(pieces, &at, &kind)) != NULL) {
        if (kind == LOG) {
            if (text[0] != '\0' && isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
            fputs(text, k->log);
            fflush(k->log);
        } else if (kind >= 0 && (size_t)kind < k->n_impls) {
            struct impl *const impl = &k->impls[kind];
            if (dsv4_result_unpack(&impl->report, text, &err) == 0)
                impl->failures += is_bad(impl->report.results[impl->report.n_results - 1].verdict);
            else
                dsv4_err_print(&err);
        }
    }
    save_now_and_then(k);
    if (!k->verbose) dsv4_progress("case", ++k->done, plan_units(&k->plan));
}

/* A unit whose process died: its results are there, and say so. */
static void lose_unit(void *context, size_t unit, const char *why) {
    struct check *const k = context;
    const struct dsv4_err err = {.text = ""};
    struct subject subject = {.index = unit_index(k, unit), .broken = &err};
    k->done++;
    for (size_t j = 0; j < k->n_impls; j++) {
        struct impl *const impl = &k->impls[j];
        if (impl->start != DSV4_OK) continue;
        struct dsv4_result *result;
        if (k->plan.n_layers > 0) {
            result = dsv4_report_add(&impl->report, DSV4_BROKEN, DSV4_LAYER_FAMILY,
                                     k->layers.at[unit].name);
            result->index = subject.index;
        } else if (unit < k->plan.n_cases) {
            subject.s = k->plan.cases[unit];
            result = add_result(impl, subject.s, subject.s, subject.index);
        } else {
            const struct dsv4_suite_sequence *const q = k->plan.sequences[unit - k->plan.n_cases];
            result = add_result(impl, &q->head, &k->suite.cases[q->steps[0]], subject.index);
        }
        result->verdict = DSV4_BROKEN;
        dsv4_result_say(result, "%s", why);
        tell(k, impl, result);
    }
}

static int by_index(const void *a, const void *b) {
    const struct dsv4_result *const x = a, *const y = b;
    return x->index < y->index ? -1 : x->index > y->index ? 1 : 0;
}

/* How many processes failed. */
static size_t run_devices(struct check *k) {
    struct dsv4_err err = {0};
    struct dsv4_deal deal = {.context = k,
                             .n_units = plan_units(&k->plan),
                             .open = open_here,
                             .run = run_here,
                             .close = close_here,
                             .state = tell_state,
                             .take = take_unit,
                             .lost = lose_unit};
    int n_all = 0;
    for (size_t i = 0; i < k->n_impls; i++) {
        const int n = k->impls[i].report.info.n_devices;
        if (k->impls[i].start == DSV4_OK && (n_all == 0 || n < n_all)) n_all = n;
        dsv4_runner_stop(&k->impls[i].runner);
    }
    if (dsv4_deal_devices(&deal, k->devices, n_all, &err) != 0) {
        dsv4_err_print(&err);
        return 1;
    }
    fprintf(k->log, "%sdevices  %zu, the cases are dealt out\n",
            k->impls[0].report.info.emulated ? "emulated " : "", deal.n_devices);
    const size_t failed = dsv4_deal(&deal);
    for (size_t i = 0; i < k->n_impls; i++) {
        struct dsv4_report *const report = &k->impls[i].report;
        const bool canary = report->n_results > 0 && strcmp(report->results[0].op, "plugin") == 0;
        qsort(report->results + canary, report->n_results - canary, sizeof *report->results,
              by_index);
    }
    return failed;
}

static size_t run_all(struct check *k) {
    const size_t all = plan_units(&k->plan);
    if (all == 0 && k->layer != NULL)
        fprintf(stderr, "dsv4cts: no layer of %s/layers matches '%s'\n", k->filter.suites,
                k->layer);
    else if (all == 0)
        fprintf(stderr, "dsv4cts: no case matches these filters\n");
    for (size_t i = 0; i < k->n_impls; i++)
        if (k->impls[i].start == DSV4_OK) k->impls[i].report.parts[0].planned = planned_results(k);
    if (k->devices != NULL && all > 0) return run_devices(k);
    for (size_t i = 0; i < all; i++) {
        run_unit(k, i);
        save_now_and_then(k);
        if (!k->verbose && k->layer == NULL) dsv4_progress("case", i + 1, all);
    }
    return 0;
}

/* Exit codes in the order of what a reader must hear first. */
static int worse(int a, int b) {
    static const int rank[] = {0, 2, 3, 1}; /* by exit code: error, mismatch, nothing, pass */
    return rank[a] >= rank[b] ? a : b;
}

/* An entry that this run did not use may wait for another selection or implementation; one that fits no case of the
 * suites is a slip of the pen. */
static void report_unmatched(const struct check *k) {
    char both[2 * DSV4_NAME_SIZE];
    for (size_t i = 0; i < k->known.n; i++) {
        const struct dsv4_known_failure *const entry = &k->known.at[i];
        bool fits = entry->used;
        for (size_t j = 0; j < k->suite.n_cases && !fits; j++) {
            const struct dsv4_suite_case *const s = &k->suite.cases[j];
            snprintf(both, sizeof both, "%.90s/%s", s->op->name, s->name);
            fits = fnmatch(entry->name, both, FNM_EXTMATCH) == 0;
        }
        for (size_t j = 0; j < k->suite.n_sequences && !fits; j++) {
            const struct dsv4_suite_case *const s = &k->suite.sequences[j].head;
            snprintf(both, sizeof both, "%.90s/%s", s->op->name, s->name);
            fits = fnmatch(entry->name, both, FNM_EXTMATCH) == 0;
        }
        if (!fits)
            fprintf(stderr, "%s:%d: this known failure fits no case of the suites\n", k->known.file,
                    entry->line);
    }
}

static int finish(struct check *k, bool complete) {
    int code = DSV4_EXIT_PASS;
    struct dsv4_err err = {0};
    struct dsv4_report *const reports = dsv4_alloc((k->n_impls + 1) * sizeof *reports);
    size_t n = 0;
    for (size_t i = 0; i < k->n_impls; i++) {
        struct impl *const impl = &k->impls[i];
        char summary[256], spent[64];
        code = worse(code, impl->start == DSV4_OK            ? dsv4_report_exit(&impl->report)
                           : impl->start == DSV4_UNSUPPORTED ? DSV4_EXIT_NOTHING
                                                             : DSV4_EXIT_ERROR);
        if (impl->start != DSV4_OK) continue;
        impl->report.parts[0].results = (int64_t)impl->report.n_results;
        impl->report.parts[0].complete = true;
        impl->report.parts[0].seconds = dsv4_session_now() - k->started;
        dsv4_report_time(&impl->report, spent, sizeof spent);
        if (k->verbose)
            fprintf(k->log, "%stime     %s\n", impl->report.info.emulated ? "emulated " : "",
                    spent);
        reports[n++] = impl->report;
        dsv4_report_summary(&impl->report, summary, sizeof summary);
        fprintf(k->log, "%s%s: %s\n", impl->report.info.emulated ? "emulated " : "",
                impl->report.impl, summary);
        if (k->directory != NULL && dsv4_report_save(&impl->report, k->directory, &err) != 0)
            code = worse(code, dsv4_err_print(&err));
    }
    if (complete) report_unmatched(k);
    if (strcmp(k->format, "json") == 0)
        for (size_t i = 0; i < n; i++) dsv4_report_json(&reports[i], stdout);
    else if (strcmp(k->format, "junit") == 0)
        dsv4_report_junit(reports, n, stdout);
    dsv4_free(reports);
    return code;
}

int dsv4_verb_check(int argc, char **argv) {
    struct check k = {
        .filter = DSV4_FILTER,
        .format = "text",
        .vectors = dsv4_vectors_home(),
        .mode = "eager",
        .timeout = 60,
        .poison = 1,
        .judge = {.repeat = 1, .hint_seconds = 10}
    };
    struct dsv4_err err = {0};
    char path[4200];
    int code = read_options(&k, argc, argv);
    if (code >= 0) return code;
    snprintf(path, sizeof path, "%s/known.yaml", k.filter.suites);
    if (dsv4_suite_load(&k.suite, k.filter.suites, &err) != 0 ||
        (k.layer != NULL && dsv4_layers_load(&k.layers, k.filter.suites, k.layer, &err) != 0) ||
        dsv4_known_read(&k.known, path, &err) != 0 ||
        dsv4_answers_open(&k.answers, k.vectors, k.fresh, &err) != 0) {
        code = dsv4_err_print(&err);
        goto done;
    }
    dsv4_runner_init(&k.suspects, "/proc/self/exe", "");
    k.judge.suspects = &k.suspects;
    k.impls = dsv4_alloc(k.names.n * sizeof *k.impls);
    size_t started = 0, failed = 0;
    for (; k.n_impls < k.names.n; k.n_impls++)
        started += start_impl(&k, &k.impls[k.n_impls], k.names.at[k.n_impls], (int)k.device) == 0;
    make_plan(&k);
    k.started = dsv4_session_now();
    if (started > 0) failed = run_all(&k);
    dsv4_runner_stop(&k.suspects);
    /* Known failures of cases are not tried by layers. */
    code = finish(&k, started > 0 && plan_units(&k.plan) > 0 && k.layer == NULL);
    if (failed > 0) code = DSV4_EXIT_ERROR;
    for (size_t i = 0; i < k.n_impls; i++) {
        dsv4_runner_stop(&k.impls[i].runner);
        dsv4_report_free(&k.impls[i].report);
    }
done:
    dsv4_free(k.plan.cases);
    dsv4_free(k.plan.sequences);
    dsv4_free(k.impls);
    dsv4_answers_close(&k.answers);
    dsv4_known_free(&k.known);
    dsv4_layers_free(&k.layers);
    dsv4_suite_free(&k.suite);
    return code;
}
