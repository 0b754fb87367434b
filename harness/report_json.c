/* SPDX-License-Identifier: Apache-2.0 */
/* JSON out and in. reports/README.md explains the form. */
#include <jansson.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "report.h"

#define FORMAT "dsv4cts-report-1"

/* Text from a plug-in may be any bytes; JSON wants UTF-8. */
static json_t *text_json(const char *text) {
    json_t *const value = json_string(text != NULL ? text : "");
    if (value != NULL) return value;
    char *const clean = dsv4_copy_text(text);
    for (char *at = clean; *at != '\0'; at++)
        if ((unsigned char)*at >= 0x80) *at = '?';
    json_t *const ascii = json_string(clean);
    dsv4_free(clean);
    return ascii;
}

static json_t *result_json(const struct dsv4_result *result) {
    json_t *const notes = json_object();
    for (size_t i = 0; i < result->notes.n; i++)
        json_object_set_new(notes, result->notes.at[i].key, text_json(result->notes.at[i].text));
    json_t *const object = json_object();
    json_object_set_new(object, "verdict", json_string(dsv4_verdict_names[result->verdict]));
    json_object_set_new(object, "op", text_json(result->op));
    json_object_set_new(object, "case", text_json(result->name));
    json_object_set_new(object, "tier", text_json(result->tier));
    json_object_set_new(object, "file", text_json(result->file));
    json_object_set_new(object, "line", json_integer(result->line));
    json_object_set_new(object, "tags", text_json(result->tags));
    json_object_set_new(object, "steps", json_integer(result->steps));
    json_object_set_new(object, "seconds", json_real(result->seconds));
    json_object_set_new(object, "message", text_json(result->message));
    json_object_set_new(object, "notes", notes);
    return object;
}

void dsv4_report_json(const struct dsv4_report *report, FILE *out) {
    size_t counts[DSV4_N_VERDICTS];
    json_t *const root = json_object(), *const results = json_array(), *const sums = json_object();
    dsv4_report_count(report, counts);
    json_object_set_new(root, "format", json_string(FORMAT));
    json_object_set_new(root, "version", text_json(report->version));
    json_object_set_new(root, "impl", text_json(report->impl));
    json_object_set_new(root, "path", text_json(report->path));
    json_object_set_new(root, "plugin", text_json(report->info.name));
    json_object_set_new(root, "plugin_version", text_json(report->info.version));
    json_object_set_new(root, "device", text_json(report->info.device));
    json_object_set_new(root, "device_text", text_json(report->info.describe));
    json_object_set_new(root, "canary",
                        text_json(!report->info.has_canary         ? "none"
                                  : report->info.canary == DSV4_OK ? "passed"
                                                                   : "failed"));
    json_object_set_new(root, "canary_text", text_json(report->info.canary_line));
    json_object_set_new(root, "mode", json_string(report->graph ? "graph" : "eager"));
    json_object_set_new(root, "emulated", json_boolean(report->info.emulated));
    for (int i = 0; i < DSV4_N_VERDICTS; i++)
        json_object_set_new(sums, dsv4_verdict_names[i], json_integer((json_int_t)counts[i]));
    json_object_set_new(root, "counts", sums);
    for (size_t i = 0; i < report->n_results; i++)
        json_array_append_new(results, result_json(&report->results[i]));
    json_object_set_new(root, "results", results);
    json_dumpf(root, out, JSON_INDENT(1));
    fputc('\n', out);
    json_decref(root);
}

/* ---- reading ---- */

static int copy_text(char *to, size_t size, const json_t *object, const char *key,
                     struct dsv4_err *err) {
    const char *const text = json_string_value(json_object_get(object, key));
    if (text == NULL) return dsv4_fail(err, "'%s' is missing or not a text", key);
    snprintf(to, size, "%s", text);
    return 0;
}

static char *own_text(const json_t *object, const char *key) {
    const char *const text = json_string_value(json_object_get(object, key));
    return text != NULL && text[0] != '\0' ? dsv4_copy_text(text) : NULL;
}

static int read_result(struct dsv4_report *report, const json_t *object, struct dsv4_err *err) {
    char verdict[16], op[64], name[DSV4_NAME_SIZE];
    int v = 0;
    if (copy_text(verdict, sizeof verdict, object, "verdict", err) != 0 ||
        copy_text(op, sizeof op, object, "op", err) != 0 ||
        copy_text(name, sizeof name, object, "case", err) != 0)
        return -1;
    while (v < DSV4_N_VERDICTS && strcmp(dsv4_verdict_names[v], verdict) != 0) v++;
    if (v == DSV4_N_VERDICTS) return dsv4_fail(err, "'%s' is not a verdict", verdict);
    struct dsv4_result *const result = dsv4_report_add(report, (enum dsv4_verdict)v, op, name);
    if (copy_text(result->tier, sizeof result->tier, object, "tier", err) != 0) return -1;
    result->file = own_text(object, "file");
    result->line = (int)json_integer_value(json_object_get(object, "line"));
    result->tags = own_text(object, "tags");
    result->steps = (int)json_integer_value(json_object_get(object, "steps"));
    result->message = own_text(object, "message");
    result->seconds = json_number_value(json_object_get(object, "seconds"));
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(object, "notes"), key, value) {
        if (!json_is_string(value) || result->notes.n == DSV4_MAX_NOTES)
            return dsv4_fail(err, "notes of %s/%s are not at most %d texts", op, name,
                             DSV4_MAX_NOTES);
        dsv4_notes_add(&result->notes, key, "%s", json_string_value(value));
    }
    return 0;
}

static int read_root(struct dsv4_report *report, const json_t *root, struct dsv4_err *err) {
    char format[64], canary[16], mode[8];
    if (copy_text(format, sizeof format, root, "format", err) != 0) return -1;
    if (strcmp(format, FORMAT) != 0)
        return dsv4_fail(err, "the format is '%s', not %s", format, FORMAT);
    const json_t *const results = json_object_get(root, "results");
    struct dsv4_plugin_info *const info = &report->info;
    if (!json_is_array(results)) return dsv4_fail(err, "'results' is missing or not a list");
    if (copy_text(report->version, sizeof report->version, root, "version", err) != 0 ||
        copy_text(report->impl, sizeof report->impl, root, "impl", err) != 0 ||
        copy_text(report->path, sizeof report->path, root, "path", err) != 0 ||
        copy_text(info->name, sizeof info->name, root, "plugin", err) != 0 ||
        copy_text(info->version, sizeof info->version, root, "plugin_version", err) != 0 ||
        copy_text(info->device, sizeof info->device, root, "device", err) != 0 ||
        copy_text(info->describe, sizeof info->describe, root, "device_text", err) != 0 ||
        copy_text(mode, sizeof mode, root, "mode", err) != 0 ||
        copy_text(canary, sizeof canary, root, "canary", err) != 0 ||
        copy_text(info->canary_line, sizeof info->canary_line, root, "canary_text", err) != 0)
        return -1;
    info->has_canary = strcmp(canary, "none") != 0;
    info->canary = strcmp(canary, "failed") == 0 ? DSV4_ERROR : DSV4_OK;
    report->graph = strcmp(mode, "graph") == 0;
    info->emulated = json_is_true(json_object_get(root, "emulated"));
    for (size_t i = 0; i < json_array_size(results); i++)
        if (read_result(report, json_array_get(results, i), err) != 0) return -1;
    return 0;
}

int dsv4_report_read(struct dsv4_report *report, const char *path, struct dsv4_err *err) {
    json_error_t problem;
    memset(report, 0, sizeof *report);
    json_t *const root = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    snprintf(err->file, sizeof err->file, "%s", path);
    err->line = 0;
    if (root == NULL) {
        err->line = problem.line > 0 ? problem.line : 0;
        return dsv4_fail(err, "not a report: %s", problem.text);
    }
    const int status = read_root(report, root, err);
    json_decref(root);
    return status;
}
