/* SPDX-License-Identifier: Apache-2.0 */
#include "statement.h"

#include <stdio.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "fields.h"
#include "hash.h"
#include "npz.h"
#include "verbs.h"

#define FORMAT "dsv4cts-statement-1"

enum { LIMIT = 1 << 28 }; /* bytes of an entry */

static const char json_name[] = "statement.json", text_name[] = "STATEMENT.txt",
                  report_name[] = "report.json", sums_name[] = "SHA256SUMS";

/* What does not follow from the report. */
#define FIELD(kind, key, member) DSV4_FIELD(dsv4_statement, kind, key, member)
static const struct dsv4_field claims[] = {
    FIELD(TEXT, "version", version),
    FIELD(TEXT, "made", made),
    FIELD(SHA256, "manifest_sha256", manifest_sha256),
    FIELD(TEXT, "commit", tree.commit),
    FIELD(BOOL, "clean", tree.clean),
    FIELD(INT64, "tracked_files", tree.files),
    FIELD(SHA256, "tracked_sha256", tree.sha256),
};
#undef FIELD
enum { N_CLAIMS = sizeof claims / sizeof *claims };

/* ---- what follows from the report ---- */

struct tier {
    int64_t cases, results; /* of MANIFEST; of those, that the report has */
};

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "op/case" of every result, sorted. */
static char **result_names(const struct dsv4_report *report) {
    char **const names = dsv4_alloc((report->n_results + 1) * sizeof *names);
    for (size_t i = 0; i < report->n_results; i++) {
        char both[2 * DSV4_NAME_SIZE];
        snprintf(both, sizeof both, "%.90s/%s", report->results[i].op, report->results[i].name);
        names[i] = dsv4_copy_text(both);
    }
    qsort(names, report->n_results, sizeof *names, by_name);
    return names;
}

static void count_tiers(const struct dsv4_report *report, const struct dsv4_manifest *manifest,
                        struct tier tiers[DSV4_N_TIERS]) {
    char **const names = result_names(report);
    memset(tiers, 0, DSV4_N_TIERS * sizeof *tiers);
    for (size_t i = 0; i < manifest->n; i++) {
        const char *const name = manifest->entries[i].name;
        struct tier *const tier = &tiers[manifest->entries[i].tier];
        tier->cases++;
        tier->results += bsearch(&name, names, report->n_results, sizeof *names, by_name) != NULL;
    }
    for (size_t i = 0; i < report->n_results; i++) dsv4_free(names[i]);
    dsv4_free(names);
}

bool dsv4_statement_complete(const struct dsv4_statement *s, const struct dsv4_manifest *manifest) {
    struct tier tiers[DSV4_N_TIERS];
    char gaps[8];
    bool any = false;
    count_tiers(&s->report, manifest, tiers);
    for (int t = 0; t < DSV4_N_TIERS; t++) {
        if (tiers[t].results == 0) continue;
        if (tiers[t].results < tiers[t].cases) return false;
        any = true;
    }
    return any && !dsv4_report_gaps(&s->report, gaps, sizeof gaps);
}

static const char *verdict(const struct dsv4_report *report) {
    switch (dsv4_report_exit(report)) {
    case DSV4_EXIT_PASS:
        return dsv4_report_graded(report, DSV4_CONFORMANT) > 0 ? "conformant" : "exact";
    case DSV4_EXIT_DIFFERENT: return "failed";
    case DSV4_EXIT_NOTHING: return "nothing ran";
    default: return "not judged";
    }
}

static json_t *tiers_json(const struct tier tiers[DSV4_N_TIERS]) {
    json_t *const list = json_array();
    for (int t = 0; t < DSV4_N_TIERS; t++)
        if (tiers[t].results > 0)
            json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "tier", dsv4_tier_names[t],
                                                  "cases", (json_int_t)tiers[t].cases, "results",
                                                  (json_int_t)tiers[t].results));
    return list;
}

static json_t *counts_json(const struct dsv4_report *report) {
    size_t counts[DSV4_N_VERDICTS];
    json_t *const object = json_object();
    dsv4_report_count(report, counts);
    for (int i = 0; i < DSV4_N_VERDICTS; i++)
        json_object_set_new(object, dsv4_verdict_names[i], json_integer((json_int_t)counts[i]));
    json_object_set_new(object, "exact",
                        json_integer((json_int_t)dsv4_report_graded(report, DSV4_EXACT)));
    json_object_set_new(object, "conformant",
                        json_integer((json_int_t)dsv4_report_graded(report, DSV4_CONFORMANT)));
    return object;
}

static const char *canary(const struct dsv4_plugin_info *info) {
    return !info->has_canary ? "none" : info->canary == DSV4_OK ? "passed" : "failed";
}

char *dsv4_statement_json(const struct dsv4_statement *s, const struct dsv4_manifest *manifest) {
    const struct dsv4_report *const r = &s->report;
    struct tier tiers[DSV4_N_TIERS];
    json_t *const root = json_object();
    json_object_set_new(root, "format", json_string(FORMAT));
    dsv4_fields_write(root, claims, N_CLAIMS, s);
    json_object_set_new(root, "verdict", json_string(verdict(r)));
    json_object_set_new(root, "complete", json_boolean(dsv4_statement_complete(s, manifest)));
    json_object_set_new(root, "emulated", json_boolean(r->info.emulated));
    const struct {
        const char *key, *text;
    } rows[] = {
        {"impl",           r->impl                     },
        {"plugin",         r->info.name                },
        {"plugin_version", r->info.version             },
        {"plugin_sha256",  r->plugin_sha256            },
        {"device",         r->info.device              },
        {"device_text",    r->info.describe            },
        {"system",         r->system                   },
        {"canary",         canary(&r->info)            },
        {"arithmetic",     r->arithmetic               },
        {"mode",           r->graph ? "graph" : "eager"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        json_object_set_new(root, rows[i].key, dsv4_json_text(rows[i].text));
    count_tiers(r, manifest, tiers);
    json_object_set_new(root, "tiers", tiers_json(tiers));
    json_object_set_new(root, "counts", counts_json(r));
    char *const text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    char *const copy = dsv4_copy_text(text);
    free(text);
    return copy;
}

/* Whoever made the statement chose these words; they must not look like lines of ours. */
static void print_clean(const char *text, FILE *out) { dsv4_text_clean(out, text, "          "); }

static bool is_plain(const char *text) {
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~') return false;
    return true;
}

static void print_text(const struct dsv4_statement *s, const struct dsv4_manifest *manifest,
                       FILE *out) {
    const struct dsv4_report *const r = &s->report;
    struct tier tiers[DSV4_N_TIERS];
    char summary[256], gaps[1024];
    count_tiers(r, manifest, tiers);
    dsv4_report_summary(r, summary, sizeof summary);
    fprintf(out, "verdict   %s%s%s\n", r->info.emulated ? "emulated, " : "", verdict(r),
            dsv4_statement_complete(s, manifest) ? "" : ", but incomplete");
    fprintf(out, "results   %s\n", summary);
    for (int t = 0; t < DSV4_N_TIERS; t++)
        if (tiers[t].results > 0)
            fprintf(out, "tier      %s: %lld of %lld cases\n", dsv4_tier_names[t],
                    (long long)tiers[t].results, (long long)tiers[t].cases);
    if (dsv4_report_gaps(r, gaps, sizeof gaps)) fprintf(out, "gaps      %s\n", gaps);
    fputs("plug-in   ", out);
    print_clean(r->info.name, out);
    fputc(' ', out);
    print_clean(r->info.version, out);
    fprintf(out, "   sha256 %s\ndevice    ", r->plugin_sha256);
    print_clean(r->info.device, out);
    fputs(": ", out);
    print_clean(r->info.describe, out);
    fputs("\ncanary    ", out);
    print_clean(r->info.has_canary ? r->info.canary_line : "none", out);
    fputs("\ngraded    ", out);
    print_clean(r->arithmetic, out);
    fprintf(out, "\nmode      %s\nsuite     %s, MANIFEST sha256 %s\n", r->graph ? "graph" : "eager",
            s->version, s->manifest_sha256);
    if (s->tree.commit[0] == '\0')
        fputs("tree      unknown: git was not there\n", out);
    else
        fprintf(out, "tree      commit %s, %s, %lld files, sha256 %s\n", s->tree.commit,
                s->tree.clean ? "clean" : "CHANGED since", (long long)s->tree.files,
                s->tree.sha256);
    fprintf(out, "made      %s\n", s->made);
}

char *dsv4_statement_text(const struct dsv4_statement *s, const struct dsv4_manifest *manifest) {
    char *text = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&text, &size);
    if (out == NULL) return dsv4_copy_text("");
    print_text(s, manifest, out);
    fclose(out);
    char *const copy = dsv4_copy_text(text);
    free(text);
    return copy;
}

static char *report_text(const struct dsv4_report *report) {
    char *text = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&text, &size);
    if (out == NULL) return dsv4_copy_text("");
    dsv4_report_json(report, out);
    fclose(out);
    char *const copy = dsv4_copy_text(text);
    free(text);
    return copy;
}

/* ---- the archive ---- */

/* The entries but for SHA256SUMS, and that as the last one. */
struct entry {
    const char *name;
    char *text;
};
enum { N_ENTRIES = 4, SUMS = 3 };

static void make_entries(struct entry entries[N_ENTRIES], const struct dsv4_statement *s,
                         const struct dsv4_manifest *manifest) {
    char sums[1024];
    size_t n = 0;
    entries[0] = (struct entry){text_name, dsv4_statement_text(s, manifest)};
    entries[1] = (struct entry){json_name, dsv4_statement_json(s, manifest)};
    entries[2] = (struct entry){report_name, report_text(&s->report)};
    for (size_t i = 0; i < SUMS; i++) {
        char hex[65];
        struct dsv4_hash *const hash = dsv4_hash_start();
        dsv4_hash_add(hash, entries[i].text, strlen(entries[i].text));
        dsv4_hash_finish(hash, hex);
        n += (size_t)snprintf(sums + n, sizeof sums - n, "%s  %s\n", hex, entries[i].name);
    }
    entries[SUMS] = (struct entry){sums_name, dsv4_copy_text(sums)};
}

static void free_entries(struct entry entries[N_ENTRIES]) {
    for (size_t i = 0; i < N_ENTRIES; i++) dsv4_free(entries[i].text);
}

int dsv4_statement_pack(const struct dsv4_statement *s, const struct dsv4_manifest *manifest,
                        const struct dsv4_key *key, unsigned char **bytes, size_t *size,
                        struct dsv4_err *err) {
    struct entry entries[N_ENTRIES];
    struct dsv4_npz_writer *const w = dsv4_npz_start();
    make_entries(entries, s, manifest);
    for (size_t i = 0; i < N_ENTRIES; i++)
        dsv4_npz_add_bytes(w, entries[i].name, entries[i].text, strlen(entries[i].text));
    free_entries(entries);
    dsv4_npz_comment(w, dsv4_seal_blank(key));
    if (dsv4_npz_finish(w, bytes, size, err) != 0) return -1;
    return dsv4_seal_set(*bytes, *size, key, err);
}

/* Names the first key that is not as it follows from the report. */
static int compare_json(const char *got, const char *want, struct dsv4_err *err) {
    json_t *const is = json_loads(got, 0, NULL), *const should = json_loads(want, 0, NULL);
    const char *key, *wrong = NULL;
    json_t *value;
    json_object_foreach(should, key,
                        value) if (wrong == NULL && !json_equal(value, json_object_get(is, key)))
        wrong = key;
    dsv4_fail(err, "%s: '%s' is not what the results come to", json_name,
              wrong != NULL ? wrong : "its form");
    json_decref(is);
    json_decref(should);
    return -1;
}

static int compare(struct dsv4_npz *z, const struct dsv4_statement *s,
                   const struct dsv4_manifest *manifest, struct dsv4_err *err) {
    struct entry entries[N_ENTRIES];
    int status = 0;
    make_entries(entries, s, manifest);
    for (size_t i = 0; i < N_ENTRIES && status == 0; i++) {
        char *text = NULL;
        size_t size = 0;
        status = dsv4_npz_text(z, entries[i].name, LIMIT, &text, &size, err);
        if (status != 0) break;
        if (size != strlen(entries[i].text) || memcmp(text, entries[i].text, size) != 0)
            status = entries[i].name == json_name
                         ? compare_json(text, entries[i].text, err)
                         : dsv4_fail(err, "%s does not follow from %s", entries[i].name,
                                     entries[i].name == sums_name ? "the entries" : report_name);
        dsv4_free(text);
    }
    free_entries(entries);
    return status;
}

static int read_claims(struct dsv4_statement *s, struct dsv4_npz *z, struct dsv4_err *err) {
    enum { N_OTHERS = 16 };
    char *text = NULL;
    size_t size = 0;
    if (dsv4_npz_text(z, json_name, LIMIT, &text, &size, err) != 0) return -1;
    json_t *const root = dsv4_json_parse(text, size, json_name, "a statement", err);
    dsv4_free(text);
    if (root == NULL) return -1;
    const char *const format = json_string_value(json_object_get(root, "format"));
    int status = -1;
    if (format == NULL || strcmp(format, FORMAT) != 0)
        dsv4_fail(err, "%s: the format is not %s", json_name, FORMAT);
    else
        status = dsv4_fields_read(s, root, claims, N_CLAIMS, N_OTHERS, err);
    json_decref(root);
    if (status == 0 && !(is_plain(s->version) && is_plain(s->made) && is_plain(s->tree.commit)))
        status = dsv4_fail(err, "%s: version, made or commit are not plain text", json_name);
    return status;
}

static int read_report(struct dsv4_statement *s, struct dsv4_npz *z, struct dsv4_err *err) {
    char *text = NULL;
    size_t size = 0;
    if (dsv4_npz_text(z, report_name, LIMIT, &text, &size, err) != 0) return -1;
    const int status = dsv4_report_parse(&s->report, text, size, report_name, err);
    dsv4_free(text);
    return status;
}

static int check_manifest(const struct dsv4_statement *s, const char *manifest_sha256,
                          struct dsv4_err *err) {
    if (strcmp(s->report.manifest_sha256, s->manifest_sha256) != 0)
        return dsv4_fail(err,
                         "the results were held to MANIFEST %.12s..., the statement says "
                         "%.12s...",
                         s->report.manifest_sha256, s->manifest_sha256);
    if (strcmp(s->manifest_sha256, manifest_sha256) != 0)
        return dsv4_fail(err,
                         "it was held to MANIFEST %.12s..., but this tree's is %.12s...: "
                         "verify it in a checkout of commit %.12s",
                         s->manifest_sha256, manifest_sha256,
                         s->tree.commit[0] != '\0' ? s->tree.commit : "(unknown)");
    return 0;
}

int dsv4_statement_unpack(struct dsv4_statement *s, const unsigned char *bytes, size_t size,
                          const struct dsv4_manifest *manifest, const char *manifest_sha256,
                          const struct dsv4_key *key, struct dsv4_err *err) {
    memset(s, 0, sizeof *s);
    if (dsv4_seal_check(bytes, size, key, err) != 0) return -1;
    struct dsv4_npz *const z = dsv4_npz_open(bytes, size, err);
    if (z == NULL) return dsv4_fail(err, "its archive is broken, under a seal that holds");
    int status = -1;
    if (read_claims(s, z, err) == 0 && read_report(s, z, err) == 0 &&
        check_manifest(s, manifest_sha256, err) == 0 && compare(z, s, manifest, err) == 0)
        status = dsv4_npz_all_read(z, err);
    dsv4_npz_close(z);
    return status;
}
