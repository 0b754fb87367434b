/* SPDX-License-Identifier: Apache-2.0 */
/* Several report files become as few reports as there were runs. */
#include <stdlib.h>

#include "../reference/memory.h"
#include "options.h"
#include "report.h"

/* What parts of one run have in common. Unsharded runs of other cases are parts of one as well. */
static bool same_run(const struct dsv4_report *a, const struct dsv4_report *b) {
    return strcmp(a->impl, b->impl) == 0 && strcmp(a->info.name, b->info.name) == 0 &&
           strcmp(a->info.version, b->info.version) == 0 &&
           strcmp(a->plugin_sha256, b->plugin_sha256) == 0 &&
           strcmp(a->info.describe, b->info.describe) == 0 && strcmp(a->version, b->version) == 0 &&
           strcmp(a->manifest_sha256, b->manifest_sha256) == 0 &&
           strcmp(a->arithmetic, b->arithmetic) == 0 && a->info.emulated == b->info.emulated &&
           a->graph == b->graph && a->n_shards == b->n_shards &&
           (a->n_shards == 1 || strcmp(a->selection, b->selection) == 0);
}

/* The canary's result, which every shard has. */
static bool is_canary(const struct dsv4_result *result) {
    return strcmp(result->op, "plugin") == 0;
}

static void move_results(struct dsv4_report *into, struct dsv4_report *from) {
    into->results =
        dsv4_resize(into->results, (into->n_results + from->n_results + 1) * sizeof *into->results);
    memcpy(into->results + into->n_results, from->results, from->n_results * sizeof *from->results);
    into->n_results += from->n_results;
    from->n_results = 0;
    into->parts = dsv4_resize(into->parts, (into->n_parts + from->n_parts) * sizeof *into->parts);
    memcpy(into->parts + into->n_parts, from->parts, from->n_parts * sizeof *from->parts);
    into->n_parts += from->n_parts;
}

static void move_figures(struct dsv4_figure **into, size_t *n, const struct dsv4_figure *from,
                         size_t more) {
    *into = dsv4_resize(*into, (*n + more + 1) * sizeof **into);
    if (more > 0) memcpy(*into + *n, from, more * sizeof *from);
    *n += more;
}

static void merge(struct dsv4_report *into, struct dsv4_report *from) {
    const size_t n = strlen(into->selection);
    if (strcmp(into->selection, from->selection) != 0)
        snprintf(into->selection + n, sizeof into->selection - n, "; %s", from->selection);
    if (strcmp(from->started, into->started) < 0)
        memcpy(into->started, from->started, sizeof into->started);
    move_results(into, from);
    move_figures(&into->figures, &into->n_figures, from->figures, from->n_figures);
}

static void append(struct dsv4_reports *all, const struct dsv4_report *report, const char *path) {
    all->at = dsv4_resize(all->at, (all->n + 1) * sizeof *all->at);
    all->paths = dsv4_resize(all->paths, (all->n + 1) * sizeof *all->paths);
    all->at[all->n] = *report;
    all->paths[all->n++] = dsv4_copy_text(path);
}

int dsv4_reports_read(struct dsv4_reports *all, const char *path, struct dsv4_err *err) {
    struct dsv4_report report;
    const int status = dsv4_report_read(&report, path, err);
    if (status == 0 && report.n_parts == 0) { /* rows of `bench` alone */
        move_figures(&all->figures, &all->n_figures, report.figures, report.n_figures);
    } else if (status == 0) {
        for (size_t i = 0; i < all->n; i++) {
            if (!same_run(&all->at[i], &report)) continue;
            merge(&all->at[i], &report);
            dsv4_report_free(&report);
            return 0;
        }
        append(all, &report, path);
        return 0;
    }
    dsv4_report_free(&report);
    return status;
}

static int by_index(const void *a, const void *b) {
    const struct dsv4_result *const x = a, *const y = b;
    if (is_canary(x) != is_canary(y)) return is_canary(x) ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index ? 1 : 0;
}

static int by_name(const void *a, const void *b) {
    const struct dsv4_result *const x = *(const struct dsv4_result *const *)a,
                                    *const y = *(const struct dsv4_result *const *)b;
    const int order = strcmp(x->op, y->op);
    return order != 0 ? order : strcmp(x->name, y->name);
}

/* A case that two shards ran was dealt wrongly, or one file was given twice. */
static int find_twice(const struct dsv4_report *report, struct dsv4_err *err) {
    const size_t n = report->n_results;
    const struct dsv4_result **const sorted = dsv4_alloc((n + 1) * sizeof *sorted);
    int status = 0;
    for (size_t i = 0; i < n; i++) sorted[i] = &report->results[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 1; i < n && status == 0; i++)
        if (by_name(&sorted[i - 1], &sorted[i]) == 0 && !is_canary(sorted[i]))
            status = dsv4_fail(err,
                               "%s: the case %s/%s is in two of the reports: give each shard once, "
                               "and leave out what another run left",
                               report->impl, sorted[i]->op, sorted[i]->name);
    dsv4_free(sorted);
    return status;
}

static void keep_one_canary(struct dsv4_report *report) {
    size_t n = 0;
    bool seen = false;
    for (size_t i = 0; i < report->n_results; i++) {
        struct dsv4_result *const result = &report->results[i];
        if (is_canary(result) && seen)
            dsv4_result_free(result);
        else
            report->results[n++] = *result;
        seen |= is_canary(result);
    }
    report->n_results = n;
}

static int by_shard(const void *a, const void *b) {
    const struct dsv4_part *const x = a, *const y = b;
    return x->shard < y->shard ? -1 : x->shard > y->shard ? 1 : 0;
}

static int join(struct dsv4_report *report, struct dsv4_err *err) {
    if (report->n_parts == 1) return 0;
    keep_one_canary(report);
    if (find_twice(report, err) != 0) return -1;
    for (size_t i = 1; i < report->n_parts && report->n_shards > 1; i++)
        for (size_t j = 0; j < i; j++)
            if (report->parts[i].shard == report->parts[j].shard)
                return dsv4_fail(err, "%s: shard %lld of %lld is there twice", report->impl,
                                 (long long)report->parts[i].shard, (long long)report->n_shards);
    if (report->n_shards > 1) {
        qsort(report->results, report->n_results, sizeof *report->results, by_index);
        qsort(report->parts, report->n_parts, sizeof *report->parts, by_shard);
    }
    return 0;
}

/* build/sm_90/cuda.so and cuda: cuda */
static bool is_of(const struct dsv4_figure *figure, const struct dsv4_report *report) {
    const char *const slash = strrchr(figure->impl, '/');
    const char *const stem = slash != NULL ? slash + 1 : figure->impl;
    const size_t n = strlen(report->impl);
    return strncmp(stem, report->impl, n) == 0 &&
           (stem[n] == '\0' || strcmp(stem + n, ".so") == 0) &&
           strcmp(figure->device, report->info.describe) == 0 &&
           figure->emulated == report->info.emulated;
}

int dsv4_reports_join(struct dsv4_reports *all, struct dsv4_err *err) {
    size_t left = 0;
    for (size_t i = 0; i < all->n; i++)
        if (join(&all->at[i], err) != 0) return -1;
    for (size_t f = 0; f < all->n_figures; f++) {
        size_t i = 0;
        while (i < all->n && !is_of(&all->figures[f], &all->at[i])) i++;
        if (i < all->n)
            move_figures(&all->at[i].figures, &all->at[i].n_figures, &all->figures[f], 1);
        else
            all->figures[left++] = all->figures[f];
    }
    all->n_figures = left;
    return 0;
}

void dsv4_reports_free(struct dsv4_reports *all) {
    for (size_t i = 0; i < all->n; i++) {
        dsv4_report_free(&all->at[i]);
        dsv4_free(all->paths[i]);
    }
    dsv4_free(all->at);
    dsv4_free(all->paths);
    dsv4_free(all->figures);
    memset(all, 0, sizeof *all);
}
