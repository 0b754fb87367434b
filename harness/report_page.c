/* SPDX-License-Identifier: Apache-2.0 */
/* One HTML page for people: whole in one file, without anything from a network. */
#include <stdlib.h>

#include "page.h"
#include "verbs.h"

/* Made from harness/page/ by the Makefile. */
static const unsigned char style[] = {
#include "harness/page/page.css.inc"
};
static const unsigned char script[] = {
#include "harness/page/page.js.inc"
};

const struct dsv4_kind_look dsv4_kinds[DSV4_N_KINDS] = {
    {"exact",       "exact",                    "&#10003;"},
    {"conformant",  "conformant",               "&asymp;" },
    {"fail",        "failed",                   "&#10007;"},
    {"unsupported", "unsupported",              "&ndash;" },
    {"other",       "skipped or known to fail", "&#9675;" },
};

enum dsv4_kind dsv4_kind_of(const struct dsv4_result *result) {
    switch (result->verdict) {
    case DSV4_PASS:
        return result->grade == DSV4_CONFORMANT ? DSV4_KIND_CONFORMANT : DSV4_KIND_EXACT;
    case DSV4_DECLINED: return DSV4_KIND_UNSUPPORTED;
    case DSV4_SKIP:
    case DSV4_XFAIL: return DSV4_KIND_OTHER;
    default: return DSV4_KIND_FAIL;
    }
}

static void count_kinds(const struct dsv4_report *report, size_t counts[DSV4_N_KINDS]) {
    memset(counts, 0, DSV4_N_KINDS * sizeof *counts);
    for (size_t i = 0; i < report->n_results; i++) counts[dsv4_kind_of(&report->results[i])]++;
}

/* ---- failures ---- */

static const char *note(const struct dsv4_result *result, const char *key) {
    for (size_t i = 0; i < result->notes.n; i++)
        if (strcmp(result->notes.at[i].key, key) == 0) return result->notes.at[i].text;
    return NULL;
}

static void print_notes(const struct dsv4_result *result, FILE *out) {
    PAGE("<dl class=\"notes\">");
    if (result->message != NULL) {
        PAGE("<dt>what</dt><dd class=\"mono\">");
        dsv4_markup_text(out, result->message);
        PAGE("</dd>");
    }
    for (size_t i = 0; i < result->notes.n; i++) {
        PAGE("<dt>");
        dsv4_markup_text(out, result->notes.at[i].key);
        PAGE("</dt><dd class=\"mono\">");
        dsv4_markup_text(out, result->notes.at[i].text);
        PAGE("</dd>");
    }
    if (result->file != NULL) {
        PAGE("<dt>suite</dt><dd class=\"mono\">");
        dsv4_markup_text(out, result->file);
        PAGE(":%d</dd>", result->line);
    }
    if (result->device != 0) PAGE("<dt>device</dt><dd class=\"mono\">%d</dd>", result->device);
    PAGE("</dl>");
}

static void print_failure(const struct dsv4_result *result, bool open, FILE *out) {
    const enum dsv4_kind kind = dsv4_kind_of(result);
    const char *const where = note(result, "where");
    PAGE("<details class=\"failure %s\"%s><summary><span class=\"badge %s\">%s</span><b>",
         dsv4_kinds[kind].class, open ? " open" : "", dsv4_kinds[kind].class,
         dsv4_verdict_names[result->verdict]);
    dsv4_markup_text(out, result->op);
    PAGE("/");
    dsv4_markup_text(out, result->name);
    PAGE("</b><span class=\"where\">");
    if (where != NULL)
        dsv4_markup_text(out, where);
    else if (result->message != NULL)
        dsv4_markup_text(out, result->message);
    PAGE("</span></summary>");
    print_notes(result, out);
    PAGE("</details>\n");
}

/* The failures of one kind; known ones are another card. */
static void print_failures(const struct dsv4_report *report, bool known, const char *title,
                           FILE *out) {
    enum { OPEN = 1, MOST = 200 };
    size_t n = 0;
    for (size_t i = 0; i < report->n_results; i++) {
        const struct dsv4_result *const result = &report->results[i];
        if (known ? result->verdict != DSV4_XFAIL : dsv4_kind_of(result) != DSV4_KIND_FAIL)
            continue;
        if (n == 0) PAGE("<div class=\"card\"><h3>%s</p>\n", title);
        if (n < MOST) print_failure(result, n < OPEN && !known, out);
        n++;
    }
    if (n > MOST) PAGE("<p>%zu more are in the list of all results.</p>", n - MOST);
    if (n > 0) PAGE("</div>\n");
}

void dsv4_page_failures(const struct dsv4_report *report, FILE *out) {
    print_failures(report, false,
                   "Failures</h3><p>In the order of the run. Of each, the first wrong element with "
                   "its coordinates, causes before effects.",
                   out);
    print_failures(report, true,
                   "Known failures</h3><p>suites/known.yaml expects them, each with a reason.",
                   out);
}

/* ---- all results ---- */

static void print_row(const struct dsv4_result *result, bool devices, FILE *out) {
    const struct dsv4_kind_look *const look = &dsv4_kinds[dsv4_kind_of(result)];
    PAGE("<tr><td class=\"%s\" title=\"%s\">%s&nbsp;%s</td><td class=\"case\">", look->class,
         look->word, look->mark,
         result->verdict == DSV4_PASS ? dsv4_grade_names[result->grade]
                                      : dsv4_verdict_names[result->verdict]);
    dsv4_markup_text(out, result->op);
    PAGE("/<wbr>");
    dsv4_markup_text(out, result->name);
    PAGE("</td><td class=\"opt\">");
    dsv4_markup_text(out, result->tier);
    PAGE("</td><td class=\"opt soft\">");
    if (result->dialects != NULL) dsv4_markup_text(out, result->dialects);
    if (devices) PAGE("</td><td class=\"num opt\">%d", result->device);
    PAGE("</td><td class=\"num\">%.1f&nbsp;ms</td></tr>\n", result->seconds * 1e3);
}

void dsv4_page_results(const struct dsv4_report *report, FILE *out) {
    bool devices = false;
    for (size_t i = 1; i < report->n_results; i++)
        devices |= report->results[i].device != report->results[0].device;
    PAGE("<details class=\"card results\"><summary>All %zu results</summary>"
         "<div class=\"wide\"><table><thead><tr><th>result</th><th>case</th>"
         "<th class=\"opt\">tier</th><th class=\"opt\">dialects</th>%s<th class=\"num\">time</th>"
         "</tr></thead><tbody>\n",
         report->n_results, devices ? "<th class=\"num opt\">device</th>" : "");
    for (size_t i = 0; i < report->n_results; i++) print_row(&report->results[i], devices, out);
    PAGE("</tbody></table></div></details>\n");
}

/* ---- the head of a report ---- */

/* The verdict on a whole report, in a word. */
static enum dsv4_kind judge(const struct dsv4_report *report, const char **word) {
    char gaps[8];
    const int code = dsv4_report_exit(report);
    enum dsv4_kind kind = DSV4_KIND_EXACT;
    *word = "passed, every bit exact";
    if (dsv4_report_graded(report, DSV4_CONFORMANT) > 0) {
        kind = DSV4_KIND_CONFORMANT;
        *word = "passed, conformant";
    }
    if (code == DSV4_EXIT_DIFFERENT || code == DSV4_EXIT_ERROR) {
        *word = code == DSV4_EXIT_ERROR ? "not judged: no answers" : "failed";
        return DSV4_KIND_FAIL;
    }
    if (code == DSV4_EXIT_NOTHING) {
        *word = "nothing ran";
        return DSV4_KIND_OTHER;
    }
    if (dsv4_report_gaps(report, gaps, sizeof gaps)) {
        *word = "incomplete";
        return DSV4_KIND_OTHER;
    }
    return kind;
}

static void print_bar(const size_t counts[DSV4_N_KINDS], const char *class, FILE *out) {
    PAGE("<div class=\"%s\" aria-hidden=\"true\">", class);
    for (size_t k = 0; k < DSV4_N_KINDS; k++)
        if (counts[k] > 0)
            PAGE("<i class=\"%s\" style=\"flex:%zu\"></i>", dsv4_kinds[k].class, counts[k]);
    PAGE("</div>\n");
}

static void print_tiles(const size_t counts[DSV4_N_KINDS], FILE *out) {
    PAGE("<div class=\"tiles\">");
    for (size_t k = 0; k < DSV4_N_KINDS; k++)
        PAGE("<div class=\"tile%s\"><b class=\"%s\">%zu</b><span>%s %s</span></div>",
             counts[k] == 0 ? " none" : "", dsv4_kinds[k].class, counts[k], dsv4_kinds[k].mark,
             dsv4_kinds[k].word);
    PAGE("</div>\n");
    print_bar(counts, "bar", out);
}

static void fact(const char *name, const char *text, const char *class, FILE *out) {
    if (text[0] == '\0') return;
    PAGE("<div><dt>%s</dt><dd class=\"%s\"", name, class);
    if (strstr(class, "hash") != NULL) {
        PAGE(" title=\"");
        dsv4_markup_text(out, text);
        PAGE("\"");
    }
    PAGE(">");
    dsv4_markup_text(out, text);
    PAGE("</dd></div>\n");
}

static void print_shards(const struct dsv4_report *report, FILE *out) {
    char text[200];
    int64_t results = 0;
    for (size_t i = 0; i < report->n_parts; i++) results += report->parts[i].results;
    if (report->n_shards <= 1) return;
    snprintf(text, sizeof text, "%zu of %lld, %lld results", report->n_parts,
             (long long)report->n_shards, (long long)results);
    fact("Shards", text, "", out);
}

static void print_facts(const struct dsv4_report *report, FILE *out) {
    const struct dsv4_plugin_info *const info = &report->info;
    char text[4400];
    const char *const canary = !info->has_canary         ? "none: the plug-in does not check its "
                                                           "arithmetic"
                               : info->canary == DSV4_OK ? "passed: "
                                                         : "FAILED: ";
    PAGE("<div class=\"card\"><h3>Environment</h3><dl class=\"facts\">\n");
    snprintf(text, sizeof text, "%s: %s", info->device, info->describe);
    fact("Device", text, "", out);
    fact("Ran on",
         info->emulated                     ? "an emulator; no hardware was involved"
         : strcmp(info->device, "cpu") == 0 ? "the CPU itself"
                                            : "hardware",
         info->emulated ? "other" : "", out);
    snprintf(text, sizeof text, "%s%s", canary, info->has_canary ? info->canary_line : "");
    fact("Canary", text, info->has_canary && info->canary != DSV4_OK ? "fail" : "", out);
    fact("Graded by",
         strcmp(report->arithmetic, "BITS") == 0 ? "BITS: every byte as the reference"
                                                 : report->arithmetic,
         "", out);
    snprintf(text, sizeof text, "%s %s", info->name, info->version);
    fact("Plug-in", text, "", out);
    fact("File", report->path, "mono", out);
    fact("Its SHA-256", report->plugin_sha256, "mono hash", out);
    fact("Suite", report->version, "", out);
    fact("MANIFEST SHA-256", report->manifest_sha256, "mono hash", out);
    fact("Cases", report->selection[0] != '\0' ? report->selection : "the smoke tier", "", out);
    fact("Mode",
         report->graph ? "graph: calls captured once and replayed" : "eager: each call by itself",
         "", out);
    print_shards(report, out);
    fact("System", report->system, "", out);
    fact("Started", report->started, "", out);
    PAGE("</dl></div>\n");
}

static void print_report(const struct dsv4_report *report, size_t i, FILE *out) {
    size_t counts[DSV4_N_KINDS];
    const char *word, *const device = report->info.device;
    char text[1024];
    const enum dsv4_kind kind = judge(report, &word);
    count_kinds(report, counts);
    PAGE("<section class=\"run\" id=\"r%zu\"><header><div class=\"title\"><h2>", i);
    dsv4_markup_text(out, report->impl);
    PAGE("</h2><span class=\"badge %s\">%s %s</span><span class=\"badge %s\">%s</span>"
         "<span class=\"badge\">%s</span></div>\n<p class=\"lead\">",
         dsv4_kinds[kind].class, dsv4_kinds[kind].mark, word, report->info.emulated ? "other" : "",
         report->info.emulated        ? "emulated"
         : strcmp(device, "cpu") == 0 ? "CPU"
                                      : "hardware",
         report->graph ? "graph" : "eager");
    dsv4_markup_text(out, report->info.describe);
    PAGE(" &middot; ");
    dsv4_report_summary(report, text, sizeof text);
    dsv4_markup_text(out, text);
    PAGE("</p></header>\n");
    if (dsv4_report_gaps(report, text, sizeof text)) {
        PAGE("<div class=\"notice\"><b>Incomplete.</b> ");
        dsv4_markup_text(out, text);
        PAGE("</div>\n");
    }
    if (report->info.has_canary && report->info.canary != DSV4_OK)
        PAGE("<div class=\"notice fail\"><b>The canary failed:</b> this build does not keep the "
             "canon's arithmetic.</div>\n");
    print_tiles(counts, out);
    dsv4_page_failures(report, out);
    print_facts(report, out);
    dsv4_page_matrix(report, out);
    dsv4_page_errors(report, out);
    dsv4_page_figures(report, out);
    dsv4_page_results(report, out);
    PAGE("</section>\n");
}

/* Several reports: a line for each, above them. */
static void print_overview(const struct dsv4_report *reports, size_t n, FILE *out) {
    PAGE("<div class=\"card\"><h3>%zu reports</h3><div class=\"wide\"><table><thead><tr>"
         "<th>implementation</th><th>verdict</th><th class=\"opt\">results</th>"
         "<th class=\"opt\">device</th></tr></thead><tbody>\n",
         n);
    for (size_t i = 0; i < n; i++) {
        size_t counts[DSV4_N_KINDS];
        const char *word;
        const enum dsv4_kind kind = judge(&reports[i], &word);
        count_kinds(&reports[i], counts);
        PAGE("<tr><td><a href=\"#r%zu\">", i);
        dsv4_markup_text(out, reports[i].impl);
        PAGE("</a>%s</td><td><span class=\"badge %s\">%s %s</span></td><td class=\"opt\">",
             reports[i].graph ? ", graph" : "", dsv4_kinds[kind].class, dsv4_kinds[kind].mark,
             word);
        print_bar(counts, "bar small", out);
        PAGE("</td><td class=\"opt soft\">%s", reports[i].info.emulated ? "emulated " : "");
        dsv4_markup_text(out, reports[i].info.describe);
        PAGE("</td></tr>\n");
    }
    PAGE("</tbody></table></div></div>\n");
}

void dsv4_report_html(const struct dsv4_report *reports, size_t n, FILE *out) {
    PAGE(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        "<link rel=\"icon\" href=\"data:,\"><title>");
    if (n > 0) dsv4_markup_text(out, reports[0].impl);
    PAGE("%s: dsv4-cts report</title>\n<style>\n", n > 1 ? " and others" : "");
    fwrite(style, 1, sizeof style, out);
    PAGE("</style></head><body><main>\n<div class=\"top\"><h1>DeepSeek-V4 kernel conformance</h1>"
         "<span class=\"soft\">");
    if (n > 0) dsv4_markup_text(out, reports[0].version);
    PAGE("</span></div>\n");
    if (n > 1) print_overview(reports, n, out);
    for (size_t r = 0; r < n; r++) print_report(&reports[r], r, out);
    PAGE("</main>\n<script>\n");
    fwrite(script, 1, sizeof script, out);
    PAGE("</script></body></html>\n");
}
