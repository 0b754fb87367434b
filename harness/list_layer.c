/* SPDX-License-Identifier: Apache-2.0 */
/* list --layer: the steps of a layer in execution order, what covers them, and who has it. */
#include "list_layer.h"

#include <glob.h>
#include <stdio.h>

#include "../reference/memory.h"
#include "layer.h"
#include "plugin.h"
#include "runner.h"
#include "verbs.h"

enum { MAX_IMPLS = 12, CELL = 14 };

struct column {
    char label[64]; /* "gfx942/hip" */
    struct dsv4_runner runner;
    bool open;
};

struct table {
    struct dsv4_suite suite;
    struct dsv4_layers layers;
    struct dsv4_layer_table table;
    struct column columns[MAX_IMPLS];
    size_t n_columns, n_missing;
};

/* ---- implementations ---- */

/* .../build/gfx942/hip.so -> gfx942/hip */
static void set_label(struct column *column, const char *path) {
    const char *at = path + strlen(path);
    for (int slashes = 0; at > path && slashes < 2; at--) slashes += at[-1] == '/';
    snprintf(column->label, sizeof column->label, "%.60s", at + (*at == '/'));
    char *const dot = strrchr(column->label, '.');
    if (dot != NULL && strcmp(dot, ".so") == 0) *dot = '\0';
}

static void open_column(struct table *t, const char *path) {
    struct dsv4_err err = {0};
    if (t->n_columns == MAX_IMPLS) return;
    struct column *const column = &t->columns[t->n_columns++];
    set_label(column, path);
    dsv4_runner_init(&column->runner, "/proc/self/exe", path);
    column->runner.device = DSV4_NO_DEVICE;
    column->open = dsv4_runner_start(&column->runner, &err) == DSV4_OK;
    if (!column->open)
        fprintf(stderr, "dsv4cts: %s cannot be asked: %s\n", column->label, err.text);
}

static int open_columns(struct table *t, const struct dsv4_texts *impls, struct dsv4_err *err) {
    static const char *const built[] = {"ref", "cuda", "hip"};
    char directory[4000], path[4200];
    dsv4_build_directory(directory, sizeof directory);
    for (size_t i = 0; i < impls->n; i++) {
        if (dsv4_plugin_path(path, sizeof path, impls->at[i], directory, err) != 0) return -1;
        open_column(t, path);
    }
    for (size_t i = 0; impls->n == 0 && i < sizeof built / sizeof *built; i++) {
        glob_t found = {0};
        snprintf(path, sizeof path, "%s/*/%s.so", directory, built[i]);
        if (glob(path, 0, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc; k++) open_column(t, found.gl_pathv[k]);
        globfree(&found);
    }
    return 0;
}

/* Of how many of the op's smoke cases supports() says that it takes them: "all", "3 of 7", "-". */
static void ask(char *cell, size_t size, struct table *t, struct column *column,
                const struct dsv4_op *op) {
    size_t all = 0, yes = 0;
    for (size_t i = 0; column->open && i < t->suite.n_cases; i++) {
        const struct dsv4_suite_case *const s = &t->suite.cases[i];
        struct dsv4_request request;
        struct dsv4_reply reply;
        struct dsv4_case c;
        struct dsv4_err err = {0};
        if (s->op != op || s->tier != DSV4_SMOKE) continue;
        all++;
        if (dsv4_suite_case_make(s, &c, &err) == 0) {
            dsv4_request_set(&request, DSV4_REQUEST_SUPPORTS, &c);
            yes += dsv4_runner_ask(&column->runner, &request, -1, &reply) == DSV4_ANSWERED &&
                   reply.status == DSV4_OK;
        }
        dsv4_case_free(&c);
    }
    if (!column->open)
        snprintf(cell, size, "?");
    else if (yes == all && all > 0)
        snprintf(cell, size, "all");
    else if (yes > 0)
        snprintf(cell, size, "%zu of %zu", yes, all);
    else
        snprintf(cell, size, "-");
}

/* ---- rows ---- */

static size_t count_cases(const struct dsv4_suite *suite, const struct dsv4_op *op) {
    size_t n = 0;
    for (size_t i = 0; i < suite->n_cases; i++)
        n += suite->cases[i].op == op && suite->cases[i].tier != DSV4_BENCH;
    return n;
}

static bool is_called(const struct dsv4_layer *layer, const struct dsv4_op *op) {
    for (size_t i = 0; i < layer->n_calls; i++)
        if (layer->calls[i].s.op == op) return true;
    return false;
}

static void print_dialects(const struct dsv4_op *op) {
    size_t n = 0;
    for (size_t p = 0; p < op->n_params; p++) {
        const struct dsv4_param_def *const def = &op->params[p];
        if (def->use != DSV4_USE_DIALECT) continue;
        printf("%s%s: %s", n++ == 0 ? "       dialects  " : "; ", def->name,
               def->names != NULL ? def->names : "a number");
    }
    if (n > 0) fputc('\n', stdout);
}

static void print_op(struct table *t, const struct dsv4_op *op) {
    char cell[32];
    printf("     %-30s %5zu  ", op->name, count_cases(&t->suite, op));
    for (size_t i = 0; i < t->n_columns; i++) {
        ask(cell, sizeof cell, t, &t->columns[i], op);
        printf("%-*s", CELL, cell);
    }
    size_t n = 0;
    for (size_t i = 0; i < t->layers.n; i++)
        if (is_called(&t->layers.at[i], op))
            printf("%s%s", n++ > 0 ? ", " : "", t->layers.at[i].name);
    printf("\n");
    print_dialects(op);
}

static void print_table(struct table *t) {
    printf("%-4s %-30s %5s  ", "row", "op", "cases");
    for (size_t i = 0; i < t->n_columns; i++) printf("%-*s", CELL, t->columns[i].label);
    printf("called in layers\n");
    for (size_t i = 0; i < t->table.n; i++) {
        const struct dsv4_layer_row *const row = &t->table.rows[i];
        printf("%-4s %s\n", row->number, row->what);
        if (row->n_ops == 0) printf("     MISSING: no op covers this row\n");
        t->n_missing += row->n_ops == 0;
        for (size_t k = 0; k < row->n_ops; k++) print_op(t, row->ops[k]);
    }
    printf("%zu rows, %zu of them without an op; %zu layers\n", t->table.n, t->n_missing,
           t->layers.n);
}

static bool is_in_table(const struct dsv4_layer_table *table, const struct dsv4_op *op) {
    for (size_t i = 0; i < table->n; i++)
        for (size_t k = 0; k < table->rows[i].n_ops; k++)
            if (table->rows[i].ops[k] == op) return true;
    return false;
}

/* Ops that belong to no row: a row is to be found for them. */
static void print_others(const struct table *t) {
    size_t n = 0;
    for (size_t i = 0; i < dsv4_n_ops; i++)
        if (!is_in_table(&t->table, dsv4_ops[i]))
            printf("%s%s", n++ == 0 ? "in no row: " : ", ", dsv4_ops[i]->name);
    if (n > 0) fputc('\n', stdout);
}

int dsv4_list_layer(const char *suites, const struct dsv4_texts *impls) {
    struct dsv4_err err = {0};
    struct table *const t = dsv4_alloc(sizeof *t);
    int status = DSV4_EXIT_PASS;
    if (dsv4_suite_load(&t->suite, suites, &err) != 0 ||
        dsv4_layers_load(&t->layers, suites, "*", &err) != 0 ||
        dsv4_layer_table_read(&t->table, suites, &err) != 0 || open_columns(t, impls, &err) != 0)
        status = dsv4_err_print(&err);
    else {
        print_table(t);
        print_others(t);
    }
    for (size_t i = 0; i < t->n_columns; i++) dsv4_runner_stop(&t->columns[i].runner);
    dsv4_layer_table_free(&t->table);
    dsv4_layers_free(&t->layers);
    dsv4_suite_free(&t->suite);
    dsv4_free(t);
    return status;
}
