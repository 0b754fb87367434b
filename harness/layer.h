/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers: suites/layers/<name>.yaml. A layer is a list of calls of ops, several engine steps of them, in which inputs of
 * a call are stretches of what earlier calls were given or left.
 */
#ifndef DSV4_LAYER_H
#define DSV4_LAYER_H

#include "options.h"

/* What `layer/<name>.<step>` stands for in MANIFEST, and results under. */
#define DSV4_LAYER_FAMILY "layer"

/* Rows and columns of a tensor of an earlier call. Columns count over all dimensions but the first. */
struct dsv4_piece {
    size_t call, slot;
    int64_t rows[2], columns[2]; /* from, to; to -1: to the end */
    bool turned;                 /* the first two dimensions change places */
};

/* What a tensor holds before the call: pieces end to end, or zeros. */
struct dsv4_binding {
    size_t slot;
    struct dsv4_piece *pieces;
    size_t n_pieces; /* 0: zeros */
    int line;
};

struct dsv4_layer_call {
    struct dsv4_suite_case s; /* its name is <layer>.<step>.<node> */
    char node[DSV4_NAME_SIZE];
    size_t step;
    int row; /* of the table */
    struct dsv4_binding *bindings;
    size_t n_bindings;
};

struct dsv4_layer {
    char name[DSV4_NAME_SIZE];
    char *what;
    char *file;
    int line;
    char (*steps)[DSV4_NAME_SIZE];
    size_t n_steps;
    struct dsv4_layer_call *calls; /* in the order in which they run */
    size_t n_calls;
};

struct dsv4_layers {
    struct dsv4_layer *at;
    size_t n;
};

/* Reads the layers under `suites`/layers whose names match the glob, in order of names, and checks that every binding
 * fits. No such directory: no layers. -1 with err (file, line). Free in either outcome. */
int dsv4_layers_load(struct dsv4_layers *layers, const char *suites, const char *glob,
                     struct dsv4_err *err);
void dsv4_layers_free(struct dsv4_layers *layers);

/* One layer from text in memory; `path` is what errors name. Free it in either outcome. */
int dsv4_layer_parse(struct dsv4_layer *layer, const unsigned char *text, size_t size,
                     const char *path, struct dsv4_err *err);
void dsv4_layer_free(struct dsv4_layer *layer);

/* Whether gen and verify-vectors remake the layer for these filters: its ops are chosen, and nothing leaves it out. */
bool dsv4_layer_is_chosen(const struct dsv4_layer *layer, const struct dsv4_filter *filter);

/* The shaped case of a call. Its seed is the node's, the same in every step, so that weights stay. Free it in either
 * outcome. */
int dsv4_layer_case(const struct dsv4_layer *layer, size_t call, struct dsv4_case *c,
                    struct dsv4_err *err);

/* Whether a binding's pieces, of shaped cases `made[call]`, fit its tensor. */
int dsv4_binding_check(const struct dsv4_layer *layer, size_t call,
                       const struct dsv4_binding *binding, const struct dsv4_case *const *made,
                       struct dsv4_err *err);

/* Elements of a bound tensor, rows that nobody reads included. */
int64_t dsv4_binding_elements(const dsv4_tensor *t);

/* The table of a layer's steps in execution order: suites/layers/table.yaml. */
struct dsv4_layer_row {
    char number[8];
    char *what;
    const struct dsv4_op **ops;
    size_t n_ops; /* 0: no op covers this row */
};

struct dsv4_layer_table {
    struct dsv4_layer_row *rows;
    size_t n;
};

int dsv4_layer_table_read(struct dsv4_layer_table *table, const char *suites, struct dsv4_err *err);
void dsv4_layer_table_free(struct dsv4_layer_table *table);

#endif
