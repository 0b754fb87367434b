/* SPDX-License-Identifier: Apache-2.0 */
/* JUnit XML for CI servers. harness/schema/junit.xsd defines the form. */
#include <stdlib.h>

#include "report.h"

/* The bytes of one UTF-8 character that XML allows; 0: not one. */
static int utf8_bytes(const unsigned char *at) {
    if (at[0] < 0x80) return at[0] >= 0x20 || at[0] == '\n' || at[0] == '\t' ? 1 : 0;
    const int n = at[0] >= 0xC2 && at[0] <= 0xDF ? 2 : (at[0] & 0xF0) == 0xE0 ? 3 : 4;
    if (at[0] < 0xC2 || at[0] > 0xF4) return 0;
    for (int i = 1; i < n; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F)) return 0;
    if ((at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F)) return 0;
    if (at[0] == 0xEF && at[1] == 0xBF && at[2] >= 0xBE) return 0;
    return n;
}

void dsv4_markup_text(FILE *out, const char *text) {
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0') {
        const int n = utf8_bytes(at);
        if (*at == 0x7F || n == 0)
            fprintf(out, "\\x%02x", *at);
        else if (*at == '<')
            fputs("&lt;", out);
        else if (*at == '>')
            fputs("&gt;", out);
        else if (*at == '&')
            fputs("&amp;", out);
        else if (*at == '"')
            fputs("&quot;", out);
        else if (*at == '\n')
            fputs("&#10;", out);
        else
            fwrite(at, 1, (size_t)n, out);
        at += n > 0 ? n : 1;
    }
}

static void print_notes(FILE *out, const struct dsv4_result *result) {
    for (size_t i = 0; i < result->notes.n; i++) {
        fprintf(out, "%-9s", result->notes.at[i].key);
        dsv4_markup_text(out, result->notes.at[i].text);
        fputc('\n', out);
    }
}

static void junit_case(const struct dsv4_report *report, const struct dsv4_result *result,
                       FILE *out) {
    fputs("  <testcase classname=\"", out);
    dsv4_markup_text(out, report->impl);
    fputc('.', out);
    dsv4_markup_text(out, result->op);
    fputs("\" name=\"", out);
    dsv4_markup_text(out, result->name);
    fprintf(out, "\" time=\"%.6f\">", result->seconds);
    const char *element = NULL;
    switch (result->verdict) {
    case DSV4_PASS:
    case DSV4_XFAIL: break;
    case DSV4_DECLINED:
    case DSV4_SKIP: element = "skipped"; break;
    case DSV4_CRASH:
    case DSV4_TIMEOUT:
    case DSV4_BROKEN: element = "error"; break;
    default: element = "failure";
    }
    if (element != NULL) {
        fprintf(out, "<%s message=\"%s: ", element, dsv4_verdict_names[result->verdict]);
        if (result->message != NULL) dsv4_markup_text(out, result->message);
        fputs("\">", out);
        print_notes(out, result);
        fprintf(out, "</%s>", element);
    } else if (result->verdict == DSV4_XFAIL) {
        fputs("<system-out>", out);
        print_notes(out, result);
        fputs("</system-out>", out);
    }
    fputs("</testcase>\n", out);
}

static void property(FILE *out, const char *name, const char *value) {
    fprintf(out, "   <property name=\"%s\" value=\"", name);
    dsv4_markup_text(out, value);
    fputs("\"/>\n", out);
}

/* Shards that are missing are an error of their own: what they would have said is not known. */
static void junit_gaps(const struct dsv4_report *report, const char *gaps, FILE *out) {
    fputs("  <testcase classname=\"", out);
    dsv4_markup_text(out, report->impl);
    fputs("\" name=\"shards\" time=\"0\"><error message=\"", out);
    dsv4_markup_text(out, gaps);
    fputs("\"/></testcase>\n", out);
}

static void junit_properties(const struct dsv4_report *report, FILE *out) {
    char number[32];
    fputs("  <properties>\n", out);
    property(out, "version", report->version);
    property(out, "plugin", report->info.name);
    property(out, "plugin-version", report->info.version);
    property(out, "plugin-sha256", report->plugin_sha256);
    property(out, "device", report->info.describe);
    property(out, "canary", report->info.has_canary ? report->info.canary_line : "none");
    property(out, "graded-by", report->arithmetic);
    property(out, "mode", report->graph ? "graph" : "eager");
    property(out, "emulated", report->info.emulated ? "true" : "false");
    property(out, "manifest-sha256", report->manifest_sha256);
    snprintf(number, sizeof number, "%zu", dsv4_report_graded(report, DSV4_EXACT));
    property(out, "exact", number);
    snprintf(number, sizeof number, "%zu", dsv4_report_graded(report, DSV4_CONFORMANT));
    property(out, "conformant", number);
    fputs("  </properties>\n", out);
}

void dsv4_report_junit(const struct dsv4_report *reports, size_t n, FILE *out) {
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n", out);
    for (size_t r = 0; r < n; r++) {
        const struct dsv4_report *const report = &reports[r];
        size_t counts[DSV4_N_VERDICTS];
        double seconds = 0;
        char gaps[1024];
        const bool has_gaps = dsv4_report_gaps(report, gaps, sizeof gaps);
        dsv4_report_count(report, counts);
        for (size_t i = 0; i < report->n_results; i++) seconds += report->results[i].seconds;
        fputs(" <testsuite name=\"", out);
        dsv4_markup_text(out, report->impl);
        fprintf(out,
                "\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%.6f\">\n",
                report->n_results + has_gaps, counts[DSV4_FAILED] + counts[DSV4_XPASS],
                counts[DSV4_CRASH] + counts[DSV4_TIMEOUT] + counts[DSV4_BROKEN] + has_gaps,
                counts[DSV4_DECLINED] + counts[DSV4_SKIP], seconds);
        junit_properties(report, out);
        if (has_gaps) junit_gaps(report, gaps, out);
        for (size_t i = 0; i < report->n_results; i++) junit_case(report, &report->results[i], out);
        fputs(" </testsuite>\n", out);
    }
    fputs("</testsuites>\n", out);
}
