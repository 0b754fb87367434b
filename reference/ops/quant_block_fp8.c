/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_block_fp8: a weight to FP8 with one power-of-two scale per block of 128 x 128.
 *
 * Steps and rounding points are those of quant_group_fp8, with amax over a block. Blocks at the lower and right edge are
 * padded with zeros, which change nothing: amax is over what is there. Scales as e8m0 bytes or as fp32.
 * Domain: finite w.
 *
 * Source: DeepGEMM per_block_cast_to_fp8; DeepSeek inference/kernel.py for the rule of the scale.
 * Latitude: as quant_group_fp8, none for a division that is high by an ulp where amax is M * 2^k included.
 */
#include <stdio.h>

#include "quant_family.h"

enum { W, Q, SCALES };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("recipe", DIALECT, "deepgemm", "ref deepgemm tilekernels",
                    "whose quotient: amax * fl(1/M), or amax / M"),
    QUANT_FP8_PARAM,
    DSV4_PARAM_NAME("scale_layout", DIALECT, "bytes", "bytes f32_row", "e8m0 or f32"),
    QUANT_ROWS_PARAMS(130, 256, 1),
};

static const struct dsv4_slot slots[] = {
    {"w",      DSV4_IN,  "[N, K] bf16 or f32, rows strided",                      "what is quantised"},
    {"q",      DSV4_OUT, "[N, K] e4m3, rows strided",                             "codes"            },
    {"scales", DSV4_OUT, "[N up to 128, K up to 128] / 128 e8m0 or f32, strided", "one per block"    },
};

static const struct dsv4_mutant mutants[] = {
    QUANT_MUTANTS_OF_SCALE,
    QUANT_MUTANTS_OF_FP8,
    QUANT_MUTANTS_OF_GROUPS,
    QUANT_MUTANTS_OF_FP8_SCALE,
    {"amax-of-row",    "amax over one row of the block",                             QUANT_AMAX_OF_ROW   },
    {"amax-of-column", "amax over one column of the block",                          QUANT_AMAX_OF_COLUMN},
    {"edge-lost",      "blocks at the edge that are not whole take no part in amax", QUANT_TAIL_LOST     },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), columns = dsv4_case_int(c, "columns");
    (void)err;
    quant_shape_input(c, W, rows, columns);
    DSV4_SHAPE(c, Q, dsv4_case_is(c, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ, rows, columns);
    quant_widen(c, Q);
    quant_shape_scales(c, SCALES, quant_ceil(rows, QUANT_BLOCK), quant_ceil(columns, QUANT_BLOCK));
    return 0;
}

/* Blocks differ in magnitude: a row's recipe counts within its block of rows. */
static void fill(struct dsv4_case *c) { quant_fill(c, W, QUANT_BLOCK, quant_case_most(c)); }

struct block {
    int64_t row, column, rows, columns;
};

/* The block at a row and column: less than 128 x 128 at the edges. */
static struct block block_at(const dsv4_tensor *w, int64_t row, int64_t column) {
    const struct block b = {row, column, quant_min(QUANT_BLOCK, w->shape[0] - row),
                            quant_min(QUANT_BLOCK, w->shape[1] - column)};
    return b;
}

static float part_amax(const dsv4_tensor *w, const struct block *b, enum quant_wrong wrong) {
    float most = 0.0f;
    for (int64_t i = 0; i < b->rows; i++) {
        float room[QUANT_BLOCK];
        const float *const values = quant_load(room, w, b->row + i, b->column, b->columns, wrong);
        const float one = quant_amax(values, b->columns, wrong);
        most = one > most ? one : most;
    }
    return most;
}

static float block_amax(const dsv4_tensor *w, const struct block *b, enum quant_wrong wrong) {
    struct block of = *b;
    if (wrong == QUANT_TAIL_LOST && (b->rows < QUANT_BLOCK || b->columns < QUANT_BLOCK)) return 0;
    if (wrong == QUANT_AMAX_OF_ROW) of.rows = 1;
    if (wrong == QUANT_AMAX_OF_COLUMN) of.columns = 1;
    if (wrong == QUANT_AMAX_OF_NEIGHBOUR && b->column > 0) {
        of.column -= QUANT_BLOCK;
        of.columns = QUANT_BLOCK;
    }
    return part_amax(w, &of, wrong);
}

/* amax, 0 before, of every block of 128 rows from `row` on. Memory is read row by row. */
static void blocks_amaxes(float *amaxes, const dsv4_tensor *w, int64_t row,
                          enum quant_wrong wrong) {
    const int64_t columns = w->shape[1], end = quant_min(row + QUANT_BLOCK, w->shape[0]);
    for (int64_t j = 0; wrong != QUANT_RIGHT && j * QUANT_BLOCK < columns; j++) {
        const struct block b = block_at(w, row, j * QUANT_BLOCK);
        amaxes[j] = block_amax(w, &b, wrong);
    }
    for (int64_t r = row; wrong == QUANT_RIGHT && r < end; r++)
        for (int64_t first = 0; first < columns; first += QUANT_SPAN) {
            const int64_t n = quant_min(QUANT_SPAN, columns - first);
            float room[QUANT_SPAN], own[QUANT_SPAN / QUANT_BLOCK];
            float *const most = amaxes + first / QUANT_BLOCK;
            const float *const values = quant_load(room, w, r, first, n, wrong);
            quant_amaxes(own, values, n, QUANT_BLOCK, wrong);
            for (int64_t j = 0; j < quant_ceil(n, QUANT_BLOCK); j++)
                most[j] = own[j] > most[j] ? own[j] : most[j];
        }
}

static void make_blocks(const struct quant_rule *rule, const dsv4_call *call,
                        const struct quant_scales *scales, int64_t row) {
    const dsv4_tensor *const w = &call->tensors[W], *const q = &call->tensors[Q];
    const int64_t columns = w->shape[1], end = quant_min(row + QUANT_BLOCK, w->shape[0]);
    float amaxes[QUANT_MOST_COLUMNS / QUANT_BLOCK] = {0};
    struct quant_scale of[QUANT_MOST_COLUMNS / QUANT_BLOCK];
    blocks_amaxes(amaxes, w, row, rule->wrong);
    quant_scales_of(rule, of, amaxes, scales->groups);
    for (int64_t r = row; r < end; r++)
        for (int64_t first = 0; first < columns; first += QUANT_SPAN) {
            const int64_t n = quant_min(QUANT_SPAN, columns - first);
            float room[QUANT_SPAN];
            const float *const values = quant_load(room, w, r, first, n, rule->wrong);
            quant_apply(room, values, n, QUANT_BLOCK, of + first / QUANT_BLOCK);
            quant_codes(rule, (uint8_t *)q->data + r * q->stride[0] + first, room, n);
        }
    quant_put_scales(scales, row / QUANT_BLOCK, 0, of, scales->groups);
}

const struct dsv4_op dsv4_op_quant_block_fp8;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum quant_wrong wrong = quant_wrong_of(&dsv4_op_quant_block_fp8, mutant);
    const struct quant_rule rule = quant_rule_of(call, wrong);
    const dsv4_tensor *const w = &call->tensors[W], *const to = &call->tensors[SCALES];
    const struct quant_scales scales = {
        quant_layout_of(call), to->data, to->stride[0], to->shape[0], to->shape[1], false, wrong};
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < w->shape[0]; row += QUANT_BLOCK)
        make_blocks(&rule, call, &scales, row);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t, *const w = &c->tensors[W].t;
    int64_t i = offset / out->stride[0], j = offset % out->stride[0];
    if (slot == Q) {
        i /= QUANT_BLOCK;
        j /= QUANT_BLOCK;
    } else {
        j /= dsv4_dtype_bytes(out->dtype);
    }
    const struct block b = block_at(w, i * QUANT_BLOCK, j * QUANT_BLOCK);
    const float amax = part_amax(w, &b, QUANT_RIGHT);
    snprintf(line, size, "block %lld, %lld of w: amax %.9g (0x%08x)", (long long)i, (long long)j,
             (double)amax, dsv4_bits(amax));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const w = &c->tensors[W].t, *const scales = &c->tensors[SCALES].t;
    const double elements = (double)(w->shape[0] * w->shape[1]);
    work->bytes_read = elements * (double)dsv4_dtype_bytes(w->dtype);
    work->bytes_written = elements + (double)(scales->shape[0] * scales->shape[1]) *
                                         (double)dsv4_dtype_bytes(scales->dtype);
}

const struct dsv4_op dsv4_op_quant_block_fp8 = {
    .name = "quant_block_fp8",
    .summary = "a weight to FP8 with a power-of-two scale per 128 x 128",
    .source = "DeepGEMM per_block_cast_to_fp8",
    .exact = "the greatest magnitude is an input and the quotient the recipe's own; a value over a "
             "power of two is exact",
    DSV4_OP_PARTS,
};
