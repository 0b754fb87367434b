/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

void dsv4_text_clean(FILE *out, const char *text, const char *indent) {
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++)
        if (*at == '\n')
            fprintf(out, "\n%s", indent);
        else if (*at == '\t')
            fputs("    ", out);
        else if (*at < 0x20 || *at == 0x7F)
            fprintf(out, "\\x%02x", *at);
        else
            fputc(*at, out);
}

static const char *emulated(const struct dsv4_report *report) {
    return report->info.emulated ? "emulated " : "";
}

void dsv4_report_head(const struct dsv4_report *report, FILE *out) {
    const struct dsv4_plugin_info *const info = &report->info;
    const char *const mark = emulated(report);
    fprintf(out, "%s%s\n%splug-in  ", mark, report->version, mark);
    dsv4_text_clean(out, info->name, "");
    fputc(' ', out);
    dsv4_text_clean(out, info->version, "");
    fprintf(out, "   %s\n%sdevice   %s: ", report->path, mark, info->device);
    dsv4_text_clean(out, info->describe, "");
    fprintf(out, "\n%scanary   ", mark);
    if (!info->has_canary)
        fputs("none: the plug-in does not check its arithmetic", out);
    else if (info->canary == DSV4_OK)
        dsv4_text_clean(out, info->canary_line, "");
    else {
        fputs("FAILED: ", out);
        dsv4_text_clean(out, info->canary_line, "");
    }
    fputs("\n", out);
    if (report->graph) {
        const bool host = strcmp(info->device, "cpu") == 0;
        fprintf(out, "%smode      graph: %s\n", mark,
                host ? "there are none on the CPU, sequences are called step by step"
                     : "each call is captured once and replayed");
    }
    if (report->arithmetic[0] != '\0' && strcmp(report->arithmetic, "BITS") != 0) {
        fprintf(out, "%sgraded   ", mark);
        dsv4_text_clean(out, report->arithmetic, "");
        fputc('\n', out);
    }
    if (report->n_shards > 1 && report->n_parts == 1)
        fprintf(out, "%sshard    %lld of %lld\n", mark, (long long)report->parts[0].shard,
                (long long)report->n_shards);
}

double dsv4_result_slack(const struct dsv4_result *result) {
    double slack = 0;
    for (size_t i = 0; i < result->n_outputs; i++)
        if (result->outputs[i].slack > slack) slack = result->outputs[i].slack;
    return slack;
}

/* Whether the notes say all that the one-line message says. */
static bool has_details(const struct dsv4_result *result) {
    for (size_t i = 0; i < result->notes.n; i++)
        if (strcmp(result->notes.at[i].key, "tensor") == 0 ||
            strcmp(result->notes.at[i].key, "outside") == 0)
            return true;
    return false;
}

void dsv4_result_text(const struct dsv4_report *report, const struct dsv4_result *result,
                      FILE *out) {
    char name[2 * DSV4_NAME_SIZE];
    snprintf(name, sizeof name, "%s/%s", result->op, result->name);
    fprintf(out, "%s%-11s %-48s", emulated(report), dsv4_verdict_names[result->verdict], name);
    if (result->verdict == DSV4_PASS) {
        fprintf(out, " %.1f ms", result->seconds * 1e3);
        if (result->steps > 0) fprintf(out, ", %d steps", result->steps);
        if (result->grade == DSV4_CONFORMANT)
            fprintf(out, ", conformant: %.2g of the bound", dsv4_result_slack(result));
        fputc('\n', out);
        return;
    }
    if (result->file != NULL) fprintf(out, " %s:%d", result->file, result->line);
    if (result->tags != NULL && result->tags[0] != '\0') fprintf(out, "   tags: %s", result->tags);
    fputc('\n', out);
    if (result->message != NULL && !has_details(result)) {
        fprintf(out, "  %-9s", "what");
        dsv4_text_clean(out, result->message, "           ");
        fputc('\n', out);
    }
    for (size_t i = 0; i < result->notes.n; i++) {
        fprintf(out, "  %-9s", result->notes.at[i].key);
        dsv4_text_clean(out, result->notes.at[i].text, "           ");
        fputc('\n', out);
    }
}

void dsv4_report_text(const struct dsv4_report *report, FILE *out) {
    char summary[256], gaps[1024], spent[64];
    dsv4_report_head(report, out);
    for (size_t i = 0; i < report->n_results; i++)
        dsv4_result_text(report, &report->results[i], out);
    if (dsv4_report_gaps(report, gaps, sizeof gaps))
        fprintf(out, "%sINCOMPLETE  %s\n", emulated(report), gaps);
    dsv4_report_time(report, spent, sizeof spent);
    fprintf(out, "%stime     %s\n", emulated(report), spent);
    dsv4_report_summary(report, summary, sizeof summary);
    fprintf(out, "%s%s: %s\n", emulated(report), report->impl, summary);
}
