/* SPDX-License-Identifier: Apache-2.0 */
/* How near to their bounds the outputs came that a bound judged, and how fast the cases were. */
#include <math.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "page.h"

/* One output of one op, over all of its cases. */
struct sum {
    const char *op, *tensor;
    struct dsv4_output all;
    const struct dsv4_result *worst;
    size_t cases;
};

static struct sum *sum_of(struct sum **sums, size_t *n, const char *op, const char *tensor) {
    for (size_t i = 0; i < *n; i++)
        if (strcmp((*sums)[i].op, op) == 0 && strcmp((*sums)[i].tensor, tensor) == 0)
            return &(*sums)[i];
    *sums = dsv4_resize(*sums, (*n + 1) * sizeof **sums);
    struct sum *const sum = &(*sums)[(*n)++];
    memset(sum, 0, sizeof *sum);
    sum->op = op;
    sum->tensor = tensor;
    return sum;
}

static struct sum *add_up(const struct dsv4_report *report, size_t *n) {
    struct sum *sums = NULL;
    for (size_t i = 0; i < report->n_results; i++) {
        const struct dsv4_result *const result = &report->results[i];
        for (size_t o = 0; o < result->n_outputs; o++) {
            const struct dsv4_output *const output = &result->outputs[o];
            struct sum *const sum = sum_of(&sums, n, result->op, output->tensor);
            sum->cases++;
            sum->all.elements += output->elements;
            sum->all.differ += output->differ;
            if (sum->worst == NULL || output->slack > sum->all.slack) {
                sum->all.slack = output->slack;
                sum->worst = result;
            }
            for (int b = 0; b < DSV4_ERROR_BINS; b++) sum->all.bins[b] += output->bins[b];
        }
    }
    return sums;
}

/* Columns on a logarithmic scale: one wrong element among a million must be seen. */
static void print_bins(const int64_t bins[DSV4_ERROR_BINS], FILE *out) {
    double most = 1;
    for (int b = 0; b < DSV4_ERROR_BINS; b++) most = fmax(most, log2(1 + (double)bins[b]));
    PAGE("<div class=\"bins\" role=\"img\" aria-label=\"differing elements by error\">");
    for (int b = DSV4_ERROR_BINS - 1; b >= 0; b--)
        PAGE("<i style=\"height:%.1f%%\" title=\"%lld elements with %s 2^-%d of the bound\"></i>",
             100 * log2(1 + (double)bins[b]) / most, (long long)bins[b],
             b == DSV4_ERROR_BINS - 1 ? "at most" : "more than half of and at most", b);
    PAGE("</div><div class=\"axis\"><span>2<sup>-%d</sup></span><span>error / bound</span>"
         "<span>bound</span></div>",
         DSV4_ERROR_BINS - 1);
}

static void print_sum(const struct sum *sum, FILE *out) {
    PAGE("<div class=\"hist\"><h4>");
    dsv4_markup_text(out, sum->op);
    PAGE(" <span class=\"soft mono\">");
    dsv4_markup_text(out, sum->tensor);
    PAGE("</span></h4><p>%lld of %lld elements differ over %zu case%s; ",
         (long long)sum->all.differ, (long long)sum->all.elements, sum->cases,
         sum->cases == 1 ? "" : "s");
    if (isfinite(sum->all.slack))
        PAGE("at most <b class=\"%s\">%.3g</b> of the bound",
             sum->all.slack > 1 ? "fail" : "conformant", sum->all.slack);
    else
        PAGE("<b class=\"fail\">no bound holds</b>");
    PAGE(", in <span class=\"mono\">");
    dsv4_markup_text(out, sum->worst->name);
    PAGE("</span></p>");
    print_bins(sum->all.bins, out);
    PAGE("</div>\n");
}

void dsv4_page_errors(const struct dsv4_report *report, FILE *out) {
    size_t n = 0;
    struct sum *const sums = add_up(report, &n);
    if (n > 0) {
        PAGE("<div class=\"card\"><h3>Errors against their bounds</h3><p>Elements that differ from "
             "the golden ones, by the size of their error as a part of what the declared "
             "arithmetic allows. Columns grow with the logarithm of the count; the red line is the "
             "bound.</p><div class=\"hists\">\n");
        for (size_t i = 0; i < n; i++) print_sum(&sums[i], out);
        PAGE("</div></div>\n");
    }
    dsv4_free(sums);
}

/* ---- bench ---- */

static void print_share(double share, FILE *out) {
    if (!(share > 0) || !isfinite(share)) {
        PAGE("<td class=\"num soft\">&ndash;</td>");
        return;
    }
    PAGE(
        "<td class=\"num\">%.0f %%<span class=\"share\"><i style=\"width:%.0f%%\"></i></span></td>",
        100 * share, 100 * fmin(share, 1));
}

static void print_figure(const struct dsv4_figure *f, FILE *out) {
    const double bytes = f->bytes_read + f->bytes_written, rate = bytes / f->median;
    const double arithmetic = f->exp_rate > 0 && f->fma_rate > 0
                                  ? f->exponentials / f->exp_rate + f->fmas / f->fma_rate
                                  : 0;
    const bool micro = f->median < 1e-3;
    PAGE("<tr><td class=\"case\">");
    dsv4_markup_text(out, f->name);
    PAGE("</td><td class=\"num\">%.2f %s</td><td class=\"num opt\">%.1f %%</td>"
         "<td class=\"num opt\">%.2f MB</td><td class=\"num\">%.1f GB/s</td>",
         f->median * (micro ? 1e6 : 1e3), micro ? "&micro;s" : "ms",
         100 * (f->high - f->low) / f->median, bytes / 1e6, rate / 1e9);
    print_share(f->copy_rate > 0 ? rate / f->copy_rate : 0, out);
    if (arithmetic > 0)
        PAGE("<td class=\"num opt\">%.0f %%</td>", 100 * arithmetic / f->median);
    else
        PAGE("<td class=\"num soft opt\">&ndash;</td>");
    if (strcmp(f->verified, "no") == 0)
        PAGE("<td class=\"opt soft\">not compared</td></tr>\n");
    else
        PAGE("<td class=\"opt %s\">%s</td></tr>\n",
             strcmp(f->verified, "exact") == 0 ? "exact" : "fail",
             strcmp(f->verified, "exact") == 0 ? "exact" : "wrong");
}

void dsv4_page_figures(const struct dsv4_report *report, FILE *out) {
    const struct dsv4_figure *const first = report->figures;
    if (report->n_figures == 0) return;
    PAGE("<div class=\"card\"><h3>Speed</h3><p>Medians%s. Shares are of what this device itself "
         "reached in the same run",
         first->emulated ? " of an emulated device, which say nothing about hardware" : "");
    if (first->copy_rate > 0)
        PAGE(": %.0f GB/s read and written by copies", first->copy_rate / 1e9);
    if (first->empty > 0) PAGE(", %.2f &micro;s for an empty kernel", 1e6 * first->empty);
    PAGE(".</p><div class=\"wide\"><table><thead><tr><th>case</th><th class=\"num\">median</th>"
         "<th class=\"num opt\">spread</th><th class=\"num opt\">traffic</th>"
         "<th class=\"num\">rate</th><th class=\"num\">of copy</th>"
         "<th class=\"num opt\">of exp, fma</th><th class=\"opt\">answer</th></tr></thead>"
         "<tbody>\n");
    for (size_t i = 0; i < report->n_figures; i++) print_figure(&report->figures[i], out);
    PAGE("</tbody></table></div></div>\n");
}
