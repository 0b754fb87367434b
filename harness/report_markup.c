/* SPDX-License-Identifier: Apache-2.0 */
/* JUnit XML for CI servers, and one HTML page for people. */
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

void dsv4_report_junit(const struct dsv4_report *reports, size_t n, FILE *out) {
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n", out);
    for (size_t r = 0; r < n; r++) {
        const struct dsv4_report *const report = &reports[r];
        size_t counts[DSV4_N_VERDICTS];
        double seconds = 0;
        dsv4_report_count(report, counts);
        for (size_t i = 0; i < report->n_results; i++) seconds += report->results[i].seconds;
        fputs(" <testsuite name=\"", out);
        dsv4_markup_text(out, report->impl);
        fprintf(out,
                "\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%.6f\">\n",
                report->n_results, counts[DSV4_FAILED] + counts[DSV4_XPASS],
                counts[DSV4_CRASH] + counts[DSV4_TIMEOUT] + counts[DSV4_BROKEN],
                counts[DSV4_DECLINED] + counts[DSV4_SKIP], seconds);
        fputs("  <properties>\n", out);
        property(out, "version", report->version);
        property(out, "plugin", report->info.name);
        property(out, "plugin-version", report->info.version);
        property(out, "device", report->info.describe);
        property(out, "canary", report->info.has_canary ? report->info.canary_line : "none");
        property(out, "mode", report->graph ? "graph" : "eager");
        property(out, "emulated", report->info.emulated ? "true" : "false");
        fputs("  </properties>\n", out);
        for (size_t i = 0; i < report->n_results; i++) junit_case(report, &report->results[i], out);
        fputs(" </testsuite>\n", out);
    }
    fputs("</testsuites>\n", out);
}

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>dsv4-cts</title>\n"
    "<style>body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2em .6em;"
    "border-bottom:1px solid #ddd;vertical-align:top}pre{background:#f6f6f6;padding:.6em;"
    "overflow:auto;margin:.3em 0}.PASS,.XFAIL{color:#176b2c}.FAIL,.CRASH,.TIMEOUT,.XPASS,.ERROR"
    "{color:#b00020;font-weight:600}.UNSUPPORTED,.SKIP{color:#666}</style></head><body>\n";

static void html_result(const struct dsv4_result *result, FILE *out) {
    const char *const verdict = dsv4_verdict_names[result->verdict];
    fprintf(out, "<tr><td class=\"%s\">%s</td><td>", verdict, verdict);
    dsv4_markup_text(out, result->op);
    fputc('/', out);
    dsv4_markup_text(out, result->name);
    fprintf(out, "</td><td>%.1f ms</td><td>", result->seconds * 1e3);
    if (result->message != NULL) dsv4_markup_text(out, result->message);
    if (result->notes.n > 0) {
        fputs("<pre>", out);
        print_notes(out, result);
        fputs("</pre>", out);
    }
    fputs("</td></tr>\n", out);
}

void dsv4_report_html(const struct dsv4_report *reports, size_t n, FILE *out) {
    fputs(head, out);
    for (size_t r = 0; r < n; r++) {
        const struct dsv4_report *const report = &reports[r];
        char summary[256];
        dsv4_report_summary(report, summary, sizeof summary);
        fputs("<h1>", out);
        dsv4_markup_text(out, report->impl);
        fprintf(out, ": %s%s</h1>\n<pre>", report->info.emulated ? "emulated, " : "", summary);
        char *text = NULL;
        size_t size = 0;
        FILE *const memory = open_memstream(&text, &size);
        if (memory != NULL) {
            dsv4_report_head(report, memory);
            fclose(memory);
            dsv4_markup_text(out, text);
            free(text);
        }
        fputs("</pre>\n<table><tr><th>result</th><th>case</th><th>time</th><th></th></tr>\n", out);
        /* What needs a look comes first. */
        for (int pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < report->n_results; i++)
                if ((report->results[i].verdict == DSV4_PASS) == (pass == 1))
                    html_result(&report->results[i], out);
        fputs("</table>\n", out);
    }
    fputs("</body></html>\n", out);
}
