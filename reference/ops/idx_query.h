/* SPDX-License-Identifier: Apache-2.0 */
/* What the ops that quantise the indexer's queries share: rows of 128 channels, RoPE on the last 64 (V3.2: first). */
#ifndef DSV4_IDX_QUERY_H
#define DSV4_IDX_QUERY_H

#include "../layout/indexer_page.h"
#include "kv_family.h"

enum { IDX_Q, IDX_POSITIONS, IDX_ROPE_TABLE };

enum idx_query_wrong {
    IDX_QUERY_RIGHT,
    IDX_ROPE_NEOX,
    IDX_ROPE_FIRST,
    IDX_ROPE_INVERSE,
    IDX_ROPE_OTHER,
    IDX_ROPE_UNROUNDED,
    IDX_ROPE_BY_ROW,
    IDX_TABLE_AS_F32,
    IDX_SCALE_FLOOR,
    IDX_SCALE_OF_OCP,
    IDX_FLOOR_LOST,
    IDX_SCALE_UNUSED,
    IDX_SCALE_FOLDED,
    IDX_WEIGHT_ROUNDED,
    IDX_FACTORS_FIRST,
    IDX_NIBBLES_SWAPPED,
    IDX_TIES_AWAY,
    IDX_GROUP_OF_16,
    IDX_SUBNORMALS_FLUSHED,
    IDX_HADAMARD,
    IDX_HADAMARD_NONE,
    IDX_HADAMARD_DESCENDING,
    IDX_HADAMARD_UNSCALED,
    IDX_HADAMARD_UNROUNDED,
    IDX_SCALE_POW2,
    IDX_SCALE_DIVIDES,
    IDX_HEADS_DENSE,
    IDX_FORM_OTHER,
    IDX_ZEROS_SKIPPED,
    IDX_LAYOUT_OTHER,
    IDX_TILES_UNPADDED,
    IDX_PADDING_KEPT,
};

#define IDX_QUERY_PARAMS                                                                           \
    DSV4_PARAM_NAME("format", DIALECT, "fp8", "fp8 mxfp4",                                         \
                    "e4m3 under one scale per row, or e2m1 under a scale byte per 32 channels"),   \
        KV_FP8_PARAM,                                                                              \
        DSV4_PARAM_NAME("rope", DIALECT, "plain", "plain fma",                                     \
                        "plain: products rounded; fma: one of each pair of products is fused"),    \
        DSV4_PARAM_INT("heads", INPUT, 64, 1, 128, "heads"), DSV4_BATCH_PARAMS("3@0"),             \
        KV_MAX_POSITION_PARAM, KV_VIEW_PARAM,                                                      \
        DSV4_PARAM_NAME("values", INPUT, "normal", DSV4_VALUE_WORDS, "rows of q"),                 \
        DSV4_PARAM_NAME("peaks", INPUT, "none", "none fp4 fusible",                                \
                        "fp4: groups of 32 whose amax is 6 * 2^k, or the bf16 next above it; "     \
                        "fusible: rows of one pair that shows whether a product was fused")

#define IDX_MUTANTS_OF_ROPE                                                                        \
    {"rope-neox", "pairs are channels i and i + 32; they are neighbours", IDX_ROPE_NEOX},          \
        {"rope-first", "the other 64 channels rotated", IDX_ROPE_FIRST},                           \
        {"rope-inverse", "rotated backwards", IDX_ROPE_INVERSE},                                   \
        {"rope-other", "fused where products are rounded, or the reverse", IDX_ROPE_OTHER},        \
        {"rope-unrounded", "quantised from fp32; rotated rows are rounded to bf16 first",          \
         IDX_ROPE_UNROUNDED},                                                                      \
        {"rope-by-row", "angle taken by the row of the step; positions names it",                  \
         IDX_ROPE_BY_ROW},                                                                         \
    {                                                                                              \
        "heads-dense", "heads of q taken as contiguous; they have a stride", IDX_HEADS_DENSE       \
    }

#define IDX_MUTANTS_OF_CODES                                                                       \
    {"nibbles-swapped", "even channel in the high nibble; it is the low one",                      \
     IDX_NIBBLES_SWAPPED},                                                                         \
        {"ties-away", "codes half way between two rounded away; ties go to even", IDX_TIES_AWAY},  \
        {"group-of-16", "a scale byte per 16 channels where 32 share one", IDX_GROUP_OF_16},       \
        {"subnormals-flushed", "FP8 subnormals flushed to zero; they are kept",                    \
         IDX_SUBNORMALS_FLUSHED},                                                                  \
    {                                                                                              \
        "scale-of-ocp", "amax scaled to 448 in every dialect; fnuz scales to 224 or 240",          \
            IDX_SCALE_OF_OCP                                                                       \
    }

/* Dialect and switches of one call. */
struct idx_query {
    const dsv4_tensor *q, *positions, *table;
    bool mxfp4, fused, hadamard;
    bool v32; /* the first 64 channels rotate, amax >= 1e-10 */
    enum dsv4_fp8 fp8;
    enum idx_query_wrong wrong;
};

/* A quantised row: 128 or 64 bytes of codes; one scale, or four scale bytes. */
struct idx_query_row {
    uint8_t codes[INDEXER_HEAD], bytes[INDEXER_MXFP4_GROUPS];
    float scale;
};

enum idx_query_wrong idx_query_wrong_of(const struct dsv4_op *op, int mutant);

/* q, positions, rope_table of dtype `table`; the case's plan becomes its step. */
int idx_query_shape(struct dsv4_case *c, uint32_t table, struct dsv4_err *err);
void idx_query_fill(struct dsv4_case *c, bool hadamard);
void idx_query_shape_codes(struct dsv4_case *c, size_t slot);

void idx_query_open(struct idx_query *query, const dsv4_call *call, enum idx_query_wrong wrong);
void idx_query_make(const struct idx_query *query, struct idx_query_row *row, int64_t t,
                    int64_t head);

/* x [128] becomes its Walsh-Hadamard transform, unscaled. */
void idx_query_butterflies(float *x);

/* "row 3 (position 203), head 5: amax 3.5 at channel 17" */
void idx_query_trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line,
                     size_t size);
void idx_query_work(const struct dsv4_case *c, struct dsv4_work *work);

#endif
