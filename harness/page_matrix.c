/* SPDX-License-Identifier: Apache-2.0 */
/* Op by dialects by layout: a row per op, which opens to a row per combination of dialects; a column per layout. */
#include <stdlib.h>

#include "../reference/memory.h"
#include "page.h"

static const char layout_dialect[] = "layout="; /* what makes a column; all others make rows */

struct row {
    const struct dsv4_result *result;
    char layout[DSV4_WORD_SIZE]; /* "": the op has none */
    char dialects[1024];         /* the others */
    size_t family, order;        /* of the first result of its family, and of its op */
};

struct table {
    struct row *rows;
    size_t n;
    char (*layouts)[DSV4_WORD_SIZE];
    size_t n_layouts;
};

static void split_dialects(struct row *row) {
    const char *at = row->result->dialects != NULL ? row->result->dialects : "";
    size_t n = 0;
    while (*at != '\0') {
        const size_t length = strcspn(at, " ");
        if (strncmp(at, layout_dialect, sizeof layout_dialect - 1) == 0)
            snprintf(row->layout, sizeof row->layout, "%.*s",
                     (int)(length - (sizeof layout_dialect - 1)), at + sizeof layout_dialect - 1);
        else if (n < sizeof row->dialects)
            n += (size_t)snprintf(row->dialects + n, sizeof row->dialects - n, "%s%.*s",
                                  n > 0 ? " " : "", (int)length, at);
        at += length + (at[length] == ' ');
    }
}

static void note_layout(struct table *table, const char *layout) {
    for (size_t i = 0; i < table->n_layouts; i++)
        if (strcmp(table->layouts[i], layout) == 0) return;
    table->layouts = dsv4_resize(table->layouts, (table->n_layouts + 1) * sizeof *table->layouts);
    snprintf(table->layouts[table->n_layouts++], sizeof *table->layouts, "%s", layout);
}

static int by_op(const void *a, const void *b) {
    const struct row *const x = a, *const y = b;
    if (x->family != y->family) return x->family < y->family ? -1 : 1;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return strcmp(x->dialects, y->dialects);
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

/* "kv" of "kv_insert" */
static size_t family_bytes(const char *op) { return strcspn(op, "_"); }

static bool same_family(const char *a, const char *b) {
    const size_t n = family_bytes(a);
    return family_bytes(b) == n && strncmp(a, b, n) == 0;
}

static void find_order(const struct table *table, struct row *row) {
    row->family = row->order = table->n;
    for (size_t j = 0; j < table->n; j++) {
        const struct row *const before = &table->rows[j];
        if (row->family == table->n && same_family(before->result->op, row->result->op))
            row->family = before->family;
        if (strcmp(before->result->op, row->result->op) == 0) {
            row->order = before->order;
            return;
        }
    }
}

static void make_table(struct table *table, const struct dsv4_report *report) {
    table->rows = dsv4_alloc((report->n_results + 1) * sizeof *table->rows);
    for (size_t i = 0; i < report->n_results; i++) {
        struct row *const row = &table->rows[table->n];
        row->result = &report->results[i];
        if (strcmp(row->result->op, "plugin") == 0) continue; /* the canary's, no op's */
        split_dialects(row);
        note_layout(table, row->layout);
        find_order(table, row);
        table->n++;
    }
    qsort(table->rows, table->n, sizeof *table->rows, by_op);
    qsort(table->layouts, table->n_layouts, sizeof *table->layouts, by_text);
}

static void print_cell(const struct table *table, size_t from, size_t to, size_t layout,
                       FILE *out) {
    static const enum dsv4_kind worst_first[] = {DSV4_KIND_FAIL, DSV4_KIND_OTHER,
                                                 DSV4_KIND_CONFORMANT, DSV4_KIND_EXACT,
                                                 DSV4_KIND_UNSUPPORTED};
    size_t counts[DSV4_N_KINDS] = {0}, all = 0;
    for (size_t i = from; i < to; i++)
        if (strcmp(table->rows[i].layout, table->layouts[layout]) == 0) {
            counts[dsv4_kind_of(table->rows[i].result)]++;
            all++;
        }
    if (all == 0) {
        PAGE("<span class=\"cell empty\">&middot;</span>");
        return;
    }
    size_t w = 0;
    while (counts[worst_first[w]] == 0) w++;
    PAGE("<span class=\"cell %s\"", dsv4_kinds[worst_first[w]].class);
    if (table->layouts[layout][0] != '\0') {
        PAGE(" data-layout=\"");
        dsv4_markup_text(out, table->layouts[layout]);
        PAGE("\"");
    }
    PAGE(">");
    for (size_t k = 0; k < DSV4_N_KINDS; k++)
        if (counts[k] > 0)
            PAGE("<span class=\"%s\" title=\"%zu %s\">%s&nbsp;%zu</span>", dsv4_kinds[k].class,
                 counts[k], dsv4_kinds[k].word, dsv4_kinds[k].mark, counts[k]);
    PAGE("</span>");
}

static void print_cells(const struct table *table, size_t from, size_t to, FILE *out) {
    for (size_t layout = 0; layout < table->n_layouts; layout++)
        print_cell(table, from, to, layout, out);
}

/* "fp8=ocp form=ml" as labels */
static void print_dialects(const char *text, FILE *out) {
    if (*text == '\0') PAGE("<span class=\"soft\">no dialects</span>");
    for (const char *at = text; *at != '\0';) {
        char word[2 * DSV4_WORD_SIZE];
        const size_t length = strcspn(at, " ");
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        char *const value = strchr(word, '=');
        if (value != NULL) *value = '\0';
        PAGE("<span class=\"dialect\"><em>");
        dsv4_markup_text(out, word);
        PAGE("</em> ");
        dsv4_markup_text(out, value != NULL ? value + 1 : "");
        PAGE("</span>");
        at += length + (at[length] == ' ');
    }
}

static void print_op(const struct table *table, size_t from, size_t to, FILE *out) {
    bool failed = false;
    for (size_t i = from; i < to; i++)
        failed |= dsv4_kind_of(table->rows[i].result) == DSV4_KIND_FAIL;
    PAGE("<details%s><summary class=\"mrow\"><span class=\"name\">", failed ? " open" : "");
    dsv4_markup_text(out, table->rows[from].result->op);
    PAGE("</span>");
    print_cells(table, from, to, out);
    PAGE("</summary>");
    for (size_t i = from, j = from; i < to; i = j) {
        while (j < to && strcmp(table->rows[i].dialects, table->rows[j].dialects) == 0) j++;
        PAGE("<div class=\"mrow sub\"><span class=\"name\">");
        print_dialects(table->rows[i].dialects, out);
        PAGE("</span>");
        print_cells(table, i, j, out);
        PAGE("</div>");
    }
    PAGE("</details>\n");
}

static void print_family(const struct table *table, size_t i, FILE *out) {
    const char *const op = table->rows[i].result->op;
    char family[64];
    if (i > 0 && table->rows[i - 1].family == table->rows[i].family) return;
    snprintf(family, sizeof family, "%.*s", (int)family_bytes(op), op);
    PAGE("<div class=\"family\">");
    dsv4_markup_text(out, family);
    PAGE("</div>");
}

static void print_head(const struct table *table, FILE *out) {
    PAGE("<div class=\"card\"><div class=\"cardhead\"><h3>Ops, dialects, layouts</h3>"
         "<button data-open hidden>Open all</button></div>\n<div class=\"legend\">");
    for (size_t k = 0; k < DSV4_N_KINDS; k++)
        PAGE("<span><b class=\"%s\">%s</b> %s</span>", dsv4_kinds[k].class, dsv4_kinds[k].mark,
             dsv4_kinds[k].word);
    PAGE("</div>\n<div class=\"matrix\" style=\"--n:%zu\"><div class=\"mrow mhead\">"
         "<span>op</span>",
         table->n_layouts);
    for (size_t i = 0; i < table->n_layouts; i++) {
        PAGE("<span>");
        dsv4_markup_text(out, table->layouts[i][0] != '\0' ? table->layouts[i] : "no layout");
        PAGE("</span>");
    }
    PAGE("</div>\n");
}

void dsv4_page_matrix(const struct dsv4_report *report, FILE *out) {
    struct table table = {0};
    make_table(&table, report);
    if (table.n > 0) {
        print_head(&table, out);
        for (size_t i = 0, j = 0; i < table.n; i = j) {
            while (j < table.n && table.rows[j].order == table.rows[i].order) j++;
            print_family(&table, i, out);
            print_op(&table, i, j, out);
        }
        PAGE("</div></div>\n");
    }
    dsv4_free(table.rows);
    dsv4_free(table.layouts);
}
