/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the HTML page. Each writes one block of a report's section. */
#ifndef DSV4_PAGE_H
#define DSV4_PAGE_H

#include "report.h"

/* How the page counts and colours results. */
enum dsv4_kind {
    DSV4_KIND_EXACT,
    DSV4_KIND_CONFORMANT,
    DSV4_KIND_FAIL,
    DSV4_KIND_UNSUPPORTED,
    DSV4_KIND_OTHER, /* SKIP, XFAIL */
    DSV4_N_KINDS
};

struct dsv4_kind_look {
    const char *class, *word, *mark; /* mark: HTML, so that colour is never all that tells */
};
extern const struct dsv4_kind_look dsv4_kinds[DSV4_N_KINDS];

enum dsv4_kind dsv4_kind_of(const struct dsv4_result *result);

/* printf for the page, whose texts are not escaped: markup and numbers only. */
#define PAGE(...) fprintf(out, __VA_ARGS__)

void dsv4_page_matrix(const struct dsv4_report *report, FILE *out);
void dsv4_page_errors(const struct dsv4_report *report, FILE *out);
void dsv4_page_figures(const struct dsv4_report *report, FILE *out);
void dsv4_page_failures(const struct dsv4_report *report, FILE *out);
void dsv4_page_results(const struct dsv4_report *report, FILE *out);

#endif
