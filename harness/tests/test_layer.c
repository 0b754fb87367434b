/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <omp.h>
#include <stdio.h>

#include "../../reference/memory.h"
#include "../chain.h"
#include "../travel.h"

/* A small layer of three calls: slots, a cache that is carried, rows read back from it. */
#define STEPS                                                                                      \
    "layer: l\nwhat: w\nsteps:\n  - {name: one, set: {batch: \"9@0^12\", n: 9}}\n"                 \
    "  - {name: two, set: {batch: \"3@9^12\", n: 12}}\nnodes:\n"
#define SLOTS                                                                                      \
    "  - {name: slots, row: 12, op: idx_compressed_slot_mapping, with: {ratio: 1, block_size: 8, " \
    "batch: $batch}}\n"
#define INSERT                                                                                     \
    "  - {name: insert, row: 8, op: kv_quantize_insert, seed: step, with: {block_size: 8, "        \
    "batch: $batch}, in: {slot_mapping: slots.slots}, carry: [cache]}\n"
#define GATHER                                                                                     \
    "  - {name: gather, row: 14, op: kv_dequantize_gather, with: {gather: all, block_size: 8, "    \
    "spare_rows: 0, batch: $batch}, in: {cache: insert.cache, block_table: slots.block_table}}\n"
#define NODE "  - {name: x, row: 1, op: kv_quantize_insert, "

static int parse(struct dsv4_layer *layer, const char *text, struct dsv4_err *err) {
    memset(err, 0, sizeof *err);
    return dsv4_layer_parse(layer, (const unsigned char *)text, strlen(text), "l.yaml", err);
}

Test(layer, reads_calls_of_every_step) {
    struct dsv4_layer layer;
    struct dsv4_err err;
    cr_assert_eq(parse(&layer, STEPS SLOTS INSERT GATHER, &err), 0, "%s", err.text);
    cr_assert_eq(layer.n_steps, 2);
    cr_assert_eq(layer.n_calls, 6);
    cr_assert_str_eq(layer.calls[4].s.name, "l.two.insert");
    cr_assert_eq(layer.calls[4].row, 8);
    cr_assert_eq(layer.calls[4].n_bindings, 2);
    const struct dsv4_binding *const first = &layer.calls[1].bindings[1], *const carried =
                                                                              &layer.calls[4]
                                                                                   .bindings[1];
    cr_assert_eq(first->n_pieces, 0, "zeros in the first step");
    cr_assert_eq(carried->n_pieces, 1);
    cr_assert_eq(carried->pieces[0].call, 1, "and what the step before left in the second");
    cr_assert_neq(layer.calls[1].s.seed, layer.calls[4].s.seed, "seed: step");
    cr_assert_eq(layer.calls[2].s.seed, layer.calls[5].s.seed, "weights stay");
    dsv4_layer_free(&layer);
}

static const struct {
    const char *text, *message;
    int line;
} faults[] = {
    {"layer: l\nwhat: w\nsteps: []\nnodes: []\n",                                             "1 to 8 steps",                              3},
    {"layer: L\nwhat: w\nsteps: [{name: a}]\nnodes: []\n",                                    "layer 'L' is not kebab-case",               1},
    {"layer: l\nwhat: w\nsteps: [{name: a}, {name: a}]\nnodes: []\n",                         "the step 'a' exists already",
     3                                                                                                                                      },
    {"layer: l\nwhat: w\nsteps: [{name: a}]\nnodes: []\n",                                    "1 to 200 nodes",                            4},
    {STEPS "  - {name: x, row: 1, op: kv_forget}\n",                                          "there is no op 'kv_forget'",                7},
    {STEPS "  - {name: x, op: kv_quantize_insert}\n",                                         "lacks the key 'row'",                       7},
    {STEPS "  - {name: x, row: one, op: kv_quantize_insert}\n",                               "'one' is not the number of a row",
     7                                                                                                                                      },
    {STEPS NODE "with: {batch: $size}}\n",                                                    "the step 'one' does not set '$size'",       7},
    {STEPS NODE "with: {colour: 3}}\n",                                                       "has no parameter 'colour'",                 7},
    {STEPS NODE "with: {block_size: many}}\n",                                                "'many' is not an integer",                  7},
    {STEPS NODE "steps: [three]}\n",                                                          "there is no step 'three'",                  7},
    {STEPS NODE "seed: 7}\n",                                                                 "only `step` is known",                      7},
    {STEPS NODE "in: {k: y.out}}\n",                                                          "there is no node 'y'",                      7},
    {STEPS NODE "in: {k: y}}\n",                                                              "'y' is not node.tensor",                    7},
    {STEPS NODE "in: {colour: x.k}}\n",                                                       "kv_quantize_insert has no tensor 'colour'", 7},
    {STEPS NODE "carry: [colour]}\n",                                                         "has no tensor 'colour'",                    7},
 /* a cycle of one, and of two */
    {STEPS NODE "in: {k: x.k}}\n",                                                            "none of these nodes has run before",        7},
    {STEPS NODE "in: {k: gather.out}}\n" SLOTS INSERT GATHER,                                 "none of these nodes has run before",
     7                                                                                                                                      },
    {STEPS SLOTS SLOTS,                                                                       "the node 'slots' exists already",           8},
    {STEPS SLOTS NODE "in: {slot_mapping: slots.colour}}\n",                                  "has no tensor 'colour'",                    8},
    {STEPS SLOTS NODE "in: {slot_mapping: \"slots.slots[0:4\"}}\n",
     "is not node.tensor[rows, columns]",                                                                                                  8},
    {STEPS SLOTS NODE "in: {slot_mapping: \"slots.slots[4]\"}}\n",                            "a range is written from:to",                8},
    {STEPS SLOTS NODE "in: {slot_mapping: \"slots.slots'[0:4]\"}}\n",                         "nothing may follow the '",
     8                                                                                                                                      },
    {STEPS SLOTS NODE "with: {batch: $batch}, in: {slot_mapping: \"slots.slots'\"}}\n",
     "there are no two dimensions to turn",                                                                                                8},
    {STEPS SLOTS NODE "in: {slot_mapping: \"slots.slots[a:4]\"}}\n",                          "'a' is not a bound",                        8},
    {STEPS SLOTS NODE "in: {slot_mapping: \"slots.slots[-1:4]\"}}\n",                         "'-1' is not a bound",                       8},
    {STEPS SLOTS NODE "in: {slot_mapping: \"slots.slots[0:$m]\"}}\n",                         "does not set '$m'",                         8},
    {STEPS SLOTS NODE "with: {batch: $batch}, in: {slot_mapping: slots.seq_lens}}\n",
     "is [1] i32; `slot_mapping` is i64",                                                                                                  8},
    {STEPS SLOTS NODE "with: {batch: $batch}, in: {slot_mapping: \"slots.slots[0:4]\"}}\n",
     "`slot_mapping` of l.one.x is [9] i64, 9 elements; its sources have 4",                                                               8},
    {STEPS SLOTS NODE "with: {batch: $batch}, in: {slot_mapping: \"slots.slots[0:99]\"}}\n",
     "rows 0:99 and columns 0:1 do not lie in it",                                                                                         8},
    {STEPS SLOTS NODE
     "with: {batch: $batch}, in: {slot_mapping: slots.slots}, carry: [slot_mapping]}\n", "`slot_mapping` is bound twice",             8},
    {STEPS SLOTS "  - {name: x, row: 1, op: idx_compressed_slot_mapping, in: {slots: "
                 "[slots.slots]}, nodes: 1}\n",                                          "unknown key 'nodes'",                       8},
};

Test(layer, faults_name_the_line) {
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct dsv4_layer layer;
        struct dsv4_err err;
        cr_expect_eq(parse(&layer, faults[i].text, &err), -1, "%s passes", faults[i].text);
        cr_expect(strstr(err.text, faults[i].message) != NULL, "%zu: '%s', wanted '%s'", i,
                  err.text, faults[i].message);
        cr_expect_eq(err.line, faults[i].line, "%zu: line %d, wanted %d: %s", i, err.line,
                     faults[i].line, err.text);
        dsv4_layer_free(&layer);
    }
}

Test(layer, outputs_feed_inputs_and_state_is_carried) {
    struct dsv4_layer layer;
    struct dsv4_err err;
    struct dsv4_chain chain;
    cr_assert_eq(parse(&layer, STEPS SLOTS INSERT GATHER, &err), 0, "%s", err.text);
    cr_assert_eq(dsv4_chain_make(&chain, &layer, &err), 0, "%s", err.text);
    const struct dsv4_vector *const v = chain.vectors;
    const struct dsv4_case_tensor *const cache = &v[1].c.tensors[2];
    const size_t bytes = (size_t)dsv4_packed_bytes(cache);
    cr_assert_eq(cache->role, DSV4_INOUT);
    cr_assert_eq(memcmp(v[4].tensors[2].in, v[1].tensors[2].out, bytes), 0);
    cr_assert_eq(memcmp(v[5].tensors[0].in, v[4].tensors[2].out, bytes), 0);
    cr_assert_neq(memcmp(v[4].tensors[2].out, v[1].tensors[2].out, bytes), 0);
    /* Rows of the first step come back the same in the second, before those that it adds. */
    cr_assert_eq(memcmp(v[2].tensors[4].out, v[5].tensors[4].out, 9 * 512 * 2), 0);
    cr_assert_eq(memcmp(v[1].tensors[1].in, v[0].tensors[3].out, 9 * 8), 0);
    dsv4_chain_free(&chain);
    dsv4_layer_free(&layer);
}

Test(layer, bytes_do_not_depend_on_threads) {
    char prompt[2][65], answer[2][65];
    struct dsv4_layer layer;
    struct dsv4_err err;
    cr_assert_eq(parse(&layer, STEPS SLOTS INSERT GATHER, &err), 0, "%s", err.text);
    for (int i = 0; i < 2; i++) {
        struct dsv4_chain chain;
        omp_set_num_threads(1 + 2 * i);
        cr_assert_eq(dsv4_chain_make(&chain, &layer, &err), 0, "%s", err.text);
        dsv4_chain_hash(&chain, 1, prompt[i], answer[i]);
        dsv4_chain_free(&chain);
    }
    cr_assert_str_eq(prompt[0], prompt[1]);
    cr_assert_str_eq(answer[0], answer[1]);
    dsv4_layer_free(&layer);
}

Test(layer, shipped_layers_read_and_their_rows_list_their_ops) {
    struct dsv4_layers layers;
    struct dsv4_layer_table table;
    struct dsv4_err err = {0};
    cr_assert_eq(dsv4_layers_load(&layers, "suites", "*", &err), 0, "%s:%d: %s", err.file, err.line,
                 err.text);
    cr_assert_eq(dsv4_layer_table_read(&table, "suites", &err), 0, "%s:%d: %s", err.file, err.line,
                 err.text);
    cr_assert_geq(layers.n, 5);
    for (size_t r = 0; r < table.n; r++)
        cr_expect_gt(table.rows[r].n_ops, 0, "row %s has no op", table.rows[r].number);
    for (size_t i = 0; i < layers.n; i++)
        for (size_t k = 0; k < layers.at[i].n_calls; k++) {
            const struct dsv4_layer_call *const call = &layers.at[i].calls[k];
            bool found = false;
            for (size_t r = 0; r < table.n; r++)
                for (size_t o = 0; o < table.rows[r].n_ops; o++)
                    found |= atoi(table.rows[r].number) == call->row &&
                             table.rows[r].ops[o] == call->s.op;
            cr_expect(found, "%s: row %d of the table does not list %s", call->s.name, call->row,
                      call->s.op->name);
        }
    dsv4_layer_table_free(&table);
    dsv4_layers_free(&layers);
}

Test(layer, extent_counts_elements_and_measures_floats) {
    const float want[4] = {1, 2, 3, 4}, got[4] = {1, 2.5f, 3, 2};
    struct dsv4_case_tensor t = {
        .t = {.dtype = DSV4_F32, .ndim = 1, .shape = {4}, .stride = {4}},
          .n_rows = 4
    };
    char text[160];
    cr_assert(dsv4_travel_extent(text, sizeof text, &t, (const unsigned char *)got,
                                 (const unsigned char *)want));
    cr_assert_str_eq(text, "2 of 4 values, largest difference 2");
    cr_assert_not(dsv4_travel_extent(text, sizeof text, &t, (const unsigned char *)want,
                                     (const unsigned char *)want));
    t.t.dtype = DSV4_I32;
    cr_assert(dsv4_travel_extent(text, sizeof text, &t, (const unsigned char *)got,
                                 (const unsigned char *)want));
    cr_assert_str_eq(text, "2 of 4 values");
}
