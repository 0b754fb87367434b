/* SPDX-License-Identifier: Apache-2.0 */
/* JSON out and in. reports/README.md explains the form, harness/schema/report.json defines it. */
#include <stdlib.h>

#include "../reference/memory.h"
#include "fields.h"
#include "file.h"
#include "options.h"
#include "report.h"

#define FORMAT "dsv4cts-report-3"

enum { LIMIT = 1 << 30, MOST_SHARDS = 1000000 }; /* LIMIT: bytes of a report */

#define FIELD(kind, key, member) DSV4_FIELD(dsv4_report, kind, key, member)
static const struct dsv4_field root_fields[] = {
    FIELD(TEXT, "version", version),
    FIELD(TEXT, "impl", impl),
    FIELD(TEXT, "path", path),
    FIELD(TEXT, "plugin", info.name),
    FIELD(TEXT, "plugin_version", info.version),
    FIELD(SHA256, "plugin_sha256", plugin_sha256),
    FIELD(TEXT, "device", info.device),
    FIELD(TEXT, "device_text", info.describe),
    FIELD(TEXT, "canary_text", info.canary_line),
    FIELD(TEXT, "arithmetic", arithmetic),
    FIELD(BOOL, "emulated", info.emulated),
    FIELD(TEXT, "system", system),
    FIELD(TEXT, "started", started),
    FIELD(SHA256, "manifest_sha256", manifest_sha256),
    FIELD(TEXT, "selection", selection),
    FIELD(INT64, "n_shards", n_shards),
};
#undef FIELD

#define FIELD(kind, key, member) DSV4_FIELD(dsv4_part, kind, key, member)
static const struct dsv4_field part_fields[] = {
    FIELD(INT64, "shard", shard),     FIELD(INT64, "planned", planned),
    FIELD(INT64, "results", results), FIELD(BOOL, "complete", complete),
    FIELD(REAL, "seconds", seconds),
};
#undef FIELD

#define FIELD(kind, key, member) DSV4_FIELD(dsv4_result, kind, key, member)
static const struct dsv4_field result_fields[] = {
    {"verdict", DSV4_FIELD_WORD, offsetof(struct dsv4_result, verdict), 0, dsv4_verdict_names},
    {"grade",   DSV4_FIELD_WORD, offsetof(struct dsv4_result, grade),   0, dsv4_grade_names  },
    FIELD(TEXT, "op", op),
    FIELD(TEXT, "case", name),
    FIELD(TEXT, "tier", tier),
    FIELD(OWNED, "dialects", dialects),
    FIELD(INT64, "index", index),
    FIELD(INT, "device", device),
    FIELD(OWNED, "file", file),
    FIELD(INT, "line", line),
    FIELD(OWNED, "tags", tags),
    FIELD(INT, "steps", steps),
    FIELD(REAL, "seconds", seconds),
    FIELD(OWNED, "message", message),
};
#undef FIELD

#define FIELD(kind, key, member) DSV4_FIELD(dsv4_output, kind, key, member)
static const struct dsv4_field output_fields[] = {
    FIELD(TEXT, "tensor", tensor),
    FIELD(INT64, "elements", elements),
    FIELD(INT64, "differ", differ),
    FIELD(REAL, "slack", slack),
};
#undef FIELD

#define FIELD(kind, key, member) DSV4_FIELD(dsv4_figure, kind, key, member)
static const struct dsv4_field figure_fields[] = {
    FIELD(TEXT, "impl", impl),
    FIELD(TEXT, "device", device),
    FIELD(BOOL, "emulated", emulated),
    FIELD(TEXT, "case", name),
    FIELD(REAL, "seconds_median", median),
    FIELD(REAL, "seconds_low", low),
    FIELD(REAL, "seconds_high", high),
    FIELD(INT, "samples", samples),
    FIELD(INT, "input_sets", input_sets),
    FIELD(BOOL, "graph", graph),
    FIELD(REAL, "bytes_read", bytes_read),
    FIELD(REAL, "bytes_written", bytes_written),
    FIELD(REAL, "exponentials", exponentials),
    FIELD(REAL, "fmas", fmas),
    FIELD(REAL, "copy_bytes_per_second", copy_rate),
    FIELD(REAL, "exps_per_second", exp_rate),
    FIELD(REAL, "fmas_per_second", fma_rate),
    FIELD(REAL, "empty_seconds", empty),
    FIELD(TEXT, "verified", verified),
};
#undef FIELD

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* ---- writing ---- */

static json_t *output_json(const struct dsv4_output *output) {
    json_t *const object = json_object(), *const bins = json_array();
    dsv4_fields_write(object, output_fields, COUNT(output_fields), output);
    for (int b = 0; b < DSV4_ERROR_BINS; b++)
        json_array_append_new(bins, json_integer(output->bins[b]));
    json_object_set_new(object, "bins", bins);
    return object;
}

static json_t *result_json(const struct dsv4_result *result) {
    json_t *const object = json_object(), *const notes = json_object(),
                  *const outputs = json_array();
    dsv4_fields_write(object, result_fields, COUNT(result_fields), result);
    for (size_t i = 0; i < result->notes.n; i++)
        json_object_set_new(notes, result->notes.at[i].key,
                            dsv4_json_text(result->notes.at[i].text));
    for (size_t i = 0; i < result->n_outputs; i++)
        json_array_append_new(outputs, output_json(&result->outputs[i]));
    json_object_set_new(object, "notes", notes);
    json_object_set_new(object, "outputs", outputs);
    return object;
}

static json_t *counts_json(const struct dsv4_report *report) {
    size_t counts[DSV4_N_VERDICTS];
    json_t *const object = json_object();
    dsv4_report_count(report, counts);
    for (int i = 0; i < DSV4_N_VERDICTS; i++)
        json_object_set_new(object, dsv4_verdict_names[i], json_integer((json_int_t)counts[i]));
    return object;
}

static const char *canary_word(const struct dsv4_plugin_info *info) {
    return !info->has_canary ? "none" : info->canary == DSV4_OK ? "passed" : "failed";
}

static json_t *root_json(const struct dsv4_report *report) {
    json_t *const root = json_object(), *const results = json_array(), *const parts = json_array(),
                  *const bench = json_array();
    json_object_set_new(root, "format", json_string(FORMAT));
    dsv4_fields_write(root, root_fields, COUNT(root_fields), report);
    json_object_set_new(root, "canary", json_string(canary_word(&report->info)));
    json_object_set_new(root, "mode", json_string(report->graph ? "graph" : "eager"));
    for (size_t i = 0; i < report->n_parts; i++) {
        json_t *const part = json_object();
        dsv4_fields_write(part, part_fields, COUNT(part_fields), &report->parts[i]);
        json_array_append_new(parts, part);
    }
    json_object_set_new(root, "parts", parts);
    json_object_set_new(root, "counts", counts_json(report));
    for (size_t i = 0; i < report->n_results; i++)
        json_array_append_new(results, result_json(&report->results[i]));
    json_object_set_new(root, "results", results);
    for (size_t i = 0; i < report->n_figures; i++) {
        json_t *const figure = json_object();
        dsv4_fields_write(figure, figure_fields, COUNT(figure_fields), &report->figures[i]);
        json_array_append_new(bench, figure);
    }
    json_object_set_new(root, "bench", bench);
    return root;
}

void dsv4_report_json(const struct dsv4_report *report, FILE *out) {
    json_t *const root = root_json(report);
    json_dumpf(root, out, JSON_INDENT(1));
    fputc('\n', out);
    json_decref(root);
}

char *dsv4_result_pack(const struct dsv4_result *result) {
    json_t *const object = result_json(result);
    char *const text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

/* ---- reading ---- */

static int read_output(struct dsv4_output *output, const json_t *object, struct dsv4_err *err) {
    if (dsv4_fields_read(output, object, output_fields, COUNT(output_fields), 1, err) != 0)
        return -1;
    const json_t *const bins = dsv4_json_list(object, "bins", err);
    if (bins == NULL) return -1;
    if (json_array_size(bins) != DSV4_ERROR_BINS)
        return dsv4_fail(err, "'bins' has %zu entries, not %d", json_array_size(bins),
                         DSV4_ERROR_BINS);
    for (size_t b = 0; b < DSV4_ERROR_BINS; b++) {
        const json_t *const bin = json_array_get(bins, b);
        if (!json_is_integer(bin) || json_integer_value(bin) < 0)
            return dsv4_fail(err, "'bins' are not whole numbers of at least 0");
        output->bins[b] = json_integer_value(bin);
    }
    return 0;
}

static int read_outputs(struct dsv4_result *result, const json_t *object, struct dsv4_err *err) {
    const json_t *const outputs = dsv4_json_list(object, "outputs", err);
    if (outputs == NULL) return -1;
    const size_t n = json_array_size(outputs);
    if (n == 0) return 0;
    result->outputs = dsv4_alloc(n * sizeof *result->outputs);
    for (; result->n_outputs < n; result->n_outputs++)
        if (read_output(&result->outputs[result->n_outputs],
                        json_array_get(outputs, result->n_outputs), err) != 0)
            return -1;
    return 0;
}

static int read_notes(struct dsv4_result *result, json_t *object, struct dsv4_err *err) {
    const char *key;
    json_t *value, *const notes = json_object_get(object, "notes");
    if (!json_is_object(notes)) return dsv4_fail(err, "'notes' is missing or not an object");
    json_object_foreach(notes, key, value) {
        if (!json_is_string(value) || result->notes.n == DSV4_MAX_NOTES ||
            strlen(key) >= sizeof result->notes.at->key)
            return dsv4_fail(err, "notes of %s/%s are not at most %d texts", result->op,
                             result->name, DSV4_MAX_NOTES);
        dsv4_notes_put(&result->notes, key, json_string_value(value));
    }
    return 0;
}

static int read_result(struct dsv4_report *report, json_t *object, struct dsv4_err *err) {
    struct dsv4_result *const result = dsv4_report_add(report, DSV4_SKIP, "", "");
    if (dsv4_fields_read(result, object, result_fields, COUNT(result_fields), 2, err) != 0 ||
        read_notes(result, object, err) != 0 || read_outputs(result, object, err) != 0)
        return -1;
    if (result->verdict == DSV4_PASS && result->grade == DSV4_UNGRADED)
        return dsv4_fail(err, "%s/%s passed without a grade", result->op, result->name);
    return 0;
}

static int read_results(struct dsv4_report *report, const json_t *root, struct dsv4_err *err) {
    const json_t *const results = dsv4_json_list(root, "results", err);
    if (results == NULL) return -1;
    for (size_t i = 0; i < json_array_size(results); i++)
        if (read_result(report, json_array_get(results, i), err) != 0) return -1;
    json_t *const counted = counts_json(report);
    const bool same = json_equal(counted, json_object_get(root, "counts"));
    json_decref(counted);
    return same ? 0 : dsv4_fail(err, "'counts' is not what the results come to");
}

static int read_parts(struct dsv4_report *report, const json_t *root, struct dsv4_err *err) {
    const json_t *const parts = dsv4_json_list(root, "parts", err);
    if (parts == NULL) return -1;
    if (report->n_shards < 1 || report->n_shards > MOST_SHARDS)
        return dsv4_fail(err, "'n_shards' is not from 1 to %d", MOST_SHARDS);
    report->parts = dsv4_alloc((json_array_size(parts) + 1) * sizeof *report->parts);
    for (; report->n_parts < json_array_size(parts); report->n_parts++) {
        struct dsv4_part *const part = &report->parts[report->n_parts];
        if (dsv4_fields_read(part, json_array_get(parts, report->n_parts), part_fields,
                             COUNT(part_fields), 0, err) != 0)
            return -1;
        if (part->shard < 1 || part->shard > report->n_shards)
            return dsv4_fail(err, "shard %lld of %lld: there is none", (long long)part->shard,
                             (long long)report->n_shards);
    }
    return report->n_parts > 0 ? 0 : dsv4_fail(err, "'parts' is empty");
}

static int read_figures(struct dsv4_figure **figures, size_t *n, const json_t *rows,
                        struct dsv4_err *err) {
    *figures = dsv4_alloc((json_array_size(rows) + 1) * sizeof **figures);
    for (*n = 0; *n < json_array_size(rows); ++*n)
        if (dsv4_fields_read(&(*figures)[*n], json_array_get(rows, *n), figure_fields,
                             COUNT(figure_fields), 0, err) != 0)
            return -1;
    return 0;
}

static int read_canary_and_mode(struct dsv4_report *report, const json_t *root,
                                struct dsv4_err *err) {
    const char *const canary = json_string_value(json_object_get(root, "canary"));
    const char *const mode = json_string_value(json_object_get(root, "mode"));
    if (canary == NULL || (strcmp(canary, "none") != 0 && strcmp(canary, "passed") != 0 &&
                           strcmp(canary, "failed") != 0))
        return dsv4_fail(err, "'canary' is missing or not none, passed or failed");
    if (mode == NULL || (strcmp(mode, "eager") != 0 && strcmp(mode, "graph") != 0))
        return dsv4_fail(err, "'mode' is missing or not eager or graph");
    report->info.has_canary = strcmp(canary, "none") != 0;
    report->info.canary = strcmp(canary, "failed") == 0 ? DSV4_ERROR : DSV4_OK;
    report->graph = strcmp(mode, "graph") == 0;
    return 0;
}

static int read_root(struct dsv4_report *report, const json_t *root, struct dsv4_err *err) {
    enum { N_OTHERS = 7 }; /* format, canary, mode, parts, counts, results, bench */
    const char *const format = json_string_value(json_object_get(root, "format"));
    if (format == NULL) return dsv4_fail(err, "'format' is missing or not a text");
    if (strcmp(format, FORMAT) != 0)
        return dsv4_fail(err, "the format is '%.60s', not %s", format, FORMAT);
    if (dsv4_fields_read(report, root, root_fields, COUNT(root_fields), N_OTHERS, err) != 0 ||
        read_canary_and_mode(report, root, err) != 0 || read_parts(report, root, err) != 0 ||
        read_results(report, root, err) != 0)
        return -1;
    const json_t *const bench = dsv4_json_list(root, "bench", err);
    return bench != NULL ? read_figures(&report->figures, &report->n_figures, bench, err) : -1;
}

int dsv4_result_unpack(struct dsv4_report *report, const char *text, struct dsv4_err *err) {
    json_t *const object = dsv4_json_parse(text, strlen(text), "a worker", "a result", err);
    if (object == NULL) return -1;
    const int status = read_result(report, object, err);
    json_decref(object);
    return status;
}

int dsv4_report_parse(struct dsv4_report *report, const char *text, size_t size, const char *path,
                      struct dsv4_err *err) {
    memset(report, 0, sizeof *report);
    json_t *const root = dsv4_json_parse(text, size, path, "a report", err);
    if (root == NULL) return -1;
    int status;
    if (json_is_array(root)) { /* what `bench` prints */
        status = read_figures(&report->figures, &report->n_figures, root, err);
    } else {
        status = read_root(report, root, err);
    }
    json_decref(root);
    return status == 0 ? 0 : dsv4_err_at(err, path, 0);
}

int dsv4_report_read(struct dsv4_report *report, const char *path, struct dsv4_err *err) {
    unsigned char *text = NULL;
    size_t size = 0;
    memset(report, 0, sizeof *report);
    if (dsv4_file_read(&text, &size, path, LIMIT, err) != 0) return -1;
    const int status = dsv4_report_parse(report, (const char *)text, size, path, err);
    dsv4_free(text);
    return status;
}
