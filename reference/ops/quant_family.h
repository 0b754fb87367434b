/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the quantisation ops share: how a scale follows from a group's greatest magnitude, how codes follow from the
 * scale, and where scales lie.
 */
#ifndef DSV4_QUANT_FAMILY_H
#define DSV4_QUANT_FAMILY_H

#include "../input/values.h"
#include "../num/bf16.h"
#include "../num/e2m1.h"
#include "../num/e8m0.h"
#include "../num/fp8.h"
#include "../op.h"

/* QUANT_SPAN: columns of a row that are quantised at a time, whole groups. */
enum { QUANT_MAX_GROUP = 128, QUANT_BLOCK = 128, QUANT_MN_ALIGN = 4, QUANT_SPAN = 2048 };
enum { QUANT_SPAN_GROUPS = QUANT_SPAN / 32, QUANT_MOST_COLUMNS = 65536 };

/* The ways in which ports of this family go wrong; each op's table picks those that it can have. */
enum quant_wrong {
    QUANT_RIGHT,
    /* from amax to the scale */
    QUANT_SCALE_FLOOR,
    QUANT_SCALE_LOG2,
    QUANT_SCALE_INVERTED,
    QUANT_SCALE_UNROUNDED,
    QUANT_SCALE_OF_OCP,
    QUANT_SCALE_OF_FP8,
    QUANT_SCALE_POW2,
    QUANT_FLOOR_LOST,
    QUANT_FLOOR_RAISED,
    QUANT_FLOOR_ON_SCALE,
    QUANT_AMAX_SIGNED,
    QUANT_AMAX_OF_ROW,
    QUANT_AMAX_OF_COLUMN,
    QUANT_AMAX_OF_NEIGHBOUR,
    QUANT_GROUP_OF_128,
    QUANT_TAIL_LOST,
    /* from the scale to codes */
    QUANT_SATURATES_EARLY,
    QUANT_TIES_AWAY,
    QUANT_TIES_OTHER,
    QUANT_SUBNORMALS_FLUSHED,
    QUANT_ZERO_UNSIGNED,
    QUANT_ZERO_SIGNED,
    QUANT_CODES_OF_OCP,
    QUANT_CODES_OF_FNUZ,
    QUANT_NIBBLES_SWAPPED,
    /* where things lie */
    QUANT_ROWS_DENSE,
    QUANT_INPUT_ROUNDED,
    QUANT_SCALES_TRANSPOSED,
    QUANT_SCALES_UNPADDED,
    QUANT_PAD_ROWS,
    QUANT_PAD_BYTES,
    QUANT_BIG_ENDIAN,
    /* reading back */
    QUANT_SCALE_NEIGHBOUR,
    QUANT_SCALE_AS_NUMBER,
    QUANT_SCALE_BF16,
    QUANT_SCALE_OTHER_END,
    QUANT_SCALE_TABLE_TRANSPOSED,
    QUANT_TRUNCATED,
    QUANT_NAN_LOST,
    /* rotating first */
    QUANT_ROPE_NEOX,
    QUANT_ROPE_FIRST,
    QUANT_ROPE_INVERSE,
    QUANT_ROPE_BY_ROW,
    QUANT_ROPE_FUSED,
    QUANT_ROTATED_ROUNDED,
    QUANT_NORM_ROUNDED,
    QUANT_EPS_LOST,
    QUANT_WEIGHT_LOST,
    QUANT_HADAMARD_SWITCHED,
    QUANT_HADAMARD_DESCENDING,
    QUANT_HADAMARD_UNSCALED,
    QUANT_HADAMARD_OF_128,
    QUANT_DIVIDES,
    QUANT_ROW_SCALED,
    QUANT_OUT_TRUNCATED,
    QUANT_SLOT_WRAPS,
    QUANT_TILES_LINEAR,
    QUANT_SCALES_IN_ORDER,
};

#define QUANT_MUTANTS_OF_SCALE                                                                     \
    {"scale-floor", "the exponent rounded down; the scale is the power of two above",              \
     QUANT_SCALE_FLOOR},                                                                           \
        {"scale-log2",                                                                             \
         "ceil(log2f(scale)): a few ulp above a power of two the logarithm rounds "                \
         "down to it; the bits do not",                                                            \
         QUANT_SCALE_LOG2},                                                                        \
        {"amax-signed", "the greatest value taken; it is the greatest magnitude",                  \
         QUANT_AMAX_SIGNED},                                                                       \
    {                                                                                              \
        "input-rounded", "fp32 input rounded to bf16 first; it is quantised as it is",             \
            QUANT_INPUT_ROUNDED                                                                    \
    }

#define QUANT_MUTANTS_OF_FP8                                                                       \
    {"scale-of-ocp", "amax scaled to 448 in every dialect; fnuz scales to 224 or 240",             \
     QUANT_SCALE_OF_OCP},                                                                          \
        {"codes-of-ocp", "OCP codes in a fnuz tensor: half the value, and -0 is NaN",              \
         QUANT_CODES_OF_OCP},                                                                      \
        {"codes-of-fnuz", "fnuz codes in an OCP tensor: twice the value, and -0 is lost",          \
         QUANT_CODES_OF_FNUZ},                                                                     \
        {"saturates-early", "everything in the last binade becomes the greatest code",             \
         QUANT_SATURATES_EARLY},                                                                   \
        {"ties-away", "codes half way between two rounded away; ties go to even",                  \
         QUANT_TIES_AWAY},                                                                         \
        {"subnormals-flushed", "FP8 subnormals flushed to zero; they are kept",                    \
         QUANT_SUBNORMALS_FLUSHED},                                                                \
    {                                                                                              \
        "zero-unsigned", "OCP codes of -0, and of what rounds to it, lose their sign",             \
            QUANT_ZERO_UNSIGNED                                                                    \
    }

/* Of scales that lie beside rows of codes. */
#define QUANT_MUTANTS_OF_GROUPS                                                                    \
    {"floor-lost", "no floor: a group, or block, of zeros gets byte 0", QUANT_FLOOR_LOST},         \
        {"amax-of-neighbour", "scale of the group, or block, before this one",                     \
         QUANT_AMAX_OF_NEIGHBOUR},                                                                 \
        {"rows-dense", "rows taken as contiguous; they have a stride", QUANT_ROWS_DENSE}, {        \
        "scales-transposed", "scales row by row where they lie column by column, or the reverse",  \
            QUANT_SCALES_TRANSPOSED                                                                \
    }

#define QUANT_MUTANTS_OF_FP8_SCALE                                                                 \
    {"scale-inverted", "2^(127 - byte) stored; the scale is what codes are multiplied by",         \
     QUANT_SCALE_INVERTED},                                                                        \
        {"scale-unrounded", "fp32 scale left as it comes; it is rounded up to a power of two",     \
         QUANT_SCALE_UNROUNDED},                                                                   \
    {                                                                                              \
        "floor-on-scale", "the floor put on the scale; it belongs on amax", QUANT_FLOOR_ON_SCALE   \
    }

/* Of QUANT_LAYOUT_PARAM. */
#define QUANT_MUTANTS_OF_LAYOUT                                                                    \
    {"pad-rows", "padding rows left as they were, or cleared where nobody owns them",              \
     QUANT_PAD_ROWS},                                                                              \
        {"pad-bytes", "bytes of groups behind the last left as they were; they are zero",          \
         QUANT_PAD_BYTES},                                                                         \
    {                                                                                              \
        "packed-big-endian", "the first group's byte is the highest; it is the lowest",            \
            QUANT_BIG_ENDIAN                                                                       \
    }

/* The shape and the values of what is quantised. */
#define QUANT_ROWS_PARAMS(rows, columns, least_columns)                                            \
    DSV4_PARAM_INT("rows", INPUT, rows, 0, 1 << 24, "rows"),                                       \
        DSV4_PARAM_INT("columns", INPUT, columns, least_columns, QUANT_MOST_COLUMNS, "columns"),   \
        QUANT_INPUT_PARAM, QUANT_VIEW_PARAM, QUANT_VALUES_PARAM
#define QUANT_INPUT_PARAM DSV4_PARAM_NAME("input", INPUT, "bf16", "bf16 f32", "what is quantised")
#define QUANT_FP8_PARAM                                                                            \
    DSV4_PARAM_NAME("fp8", DIALECT, "ocp", "ocp fnuz224 fnuz240",                                  \
                    "ocp: e4m3fn, 448; fnuz224, fnuz240: e4m3fnuz, scaled to 224 or 240")
#define QUANT_VIEW_PARAM                                                                           \
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide odd",                                      \
                    "wide: rows are views into wider buffers; odd: by no multiple of 16 bytes")
#define QUANT_VALUES_PARAM                                                                         \
    DSV4_PARAM_NAME("values", INPUT, "normal", DSV4_VALUE_WORDS " boundary fours halves",          \
                    "boundary: amax at, just below and just above a power of two times the "       \
                    "format's greatest value; fours: FP4 values and ties under scale 1; halves: "  \
                    "multiples of 1/8 up to 6, times a power of two per 128 columns")

/* ---- from amax to the scale ---- */

enum quant_recipe {
    QUANT_REF,
    QUANT_DEEPGEMM,
    QUANT_TILEKERNELS,
    QUANT_VLLM,
    QUANT_VLLM_PACKED,
    QUANT_INV_ROPE,
    QUANT_MEGA,
    QUANT_AITER,
};
#define QUANT_RECIPE_WORDS "ref deepgemm tilekernels vllm vllm_packed inv_rope mega aiter"

/* A recipe as numbers. */
struct quant_rule {
    float floor, scale_floor; /* least amax, least unrounded scale */
    float most;               /* what amax is scaled to */
    bool divides;             /* by it; else times its reciprocal */
    bool zero_kept;           /* scale 0 has the reciprocal 0; else 2^127 */
    enum dsv4_fp8 fp8;
    enum quant_wrong wrong;
};

struct quant_scale {
    uint32_t byte;
    float factor, unrounded;
};

enum dsv4_fp8 quant_fp8_of(const dsv4_call *call);
struct quant_rule quant_rule_of(const dsv4_call *call, enum quant_wrong wrong);
enum quant_wrong quant_wrong_of(const struct dsv4_op *op, int mutant);

float quant_amax(const float *x, int64_t n, enum quant_wrong wrong);
/* A span's groups, the last of which may be shorter. Each step for all of them before the next one, so that no group waits
 * for another's scale. */
void quant_amaxes(float *amaxes, const float *x, int64_t n, int64_t group, enum quant_wrong wrong);
void quant_scales_of(const struct quant_rule *of, struct quant_scale *scales, const float *amaxes,
                     int64_t n);
/* y = x times its group's factor. */
void quant_apply(float *y, const float *x, int64_t n, int64_t group,
                 const struct quant_scale *scales);
void quant_codes(const struct quant_rule *rule, uint8_t *codes, const float *x, int64_t n);

/* ---- inputs ---- */

/* bf16 or f32 [rows, columns] as the case's `input` says; rows strided as its `view` says. */
void quant_shape_input(struct dsv4_case *c, size_t slot, int64_t rows, int64_t columns);
void quant_widen(struct dsv4_case *c, size_t slot);
/* The case's `values` for groups of `group` columns, `most` the greatest magnitude of a code. */
void quant_fill(const struct dsv4_case *c, size_t slot, int64_t group, float most);
float quant_case_most(const struct dsv4_case *c);

/* n elements of a row, from column `first` on, as fp32: in `room`, or where they lie. */
const float *quant_load(float *room, const dsv4_tensor *t, int64_t row, int64_t first, int64_t n,
                        enum quant_wrong wrong);

/* "x[209, 320..383]: amax 3.515625 (0x40610000) at column 331" */
void quant_trace_group(const struct dsv4_case *c, size_t slot, int64_t row, int64_t first,
                       int64_t n, char *line, size_t size);

/* ---- where scales lie ---- */

enum quant_layout { QUANT_BYTES, QUANT_F32_ROW, QUANT_F32_MN, QUANT_PACKED };
#define QUANT_LAYOUT_PARAM                                                                         \
    DSV4_PARAM_NAME(                                                                               \
        "scale_layout", DIALECT, "bytes", "bytes f32_row f32_mn packed",                           \
        "bytes: e8m0 [M, groups]; f32_row: f32 [M, groups]; f32_mn: f32 [groups, M "               \
        "up to 4]; packed: i32 [groups / 4, M up to 4], the first group's byte lowest")

struct quant_scales {
    enum quant_layout layout;
    char *data;
    int64_t stride, rows, groups;
    bool pads_rows; /* rows beyond `rows` are written as zero */
    enum quant_wrong wrong;
};

enum quant_layout quant_layout_of(const dsv4_call *call);
void quant_shape_scales(struct dsv4_case *c, size_t slot, int64_t rows, int64_t groups);
/* Those of n groups from `first` on. */
void quant_put_scales(const struct quant_scales *scales, int64_t row, int64_t first,
                      const struct quant_scale *of, int64_t n);
/* Rows whose scales are put together: those of a group are neighbours where rows are innermost. */
enum { QUANT_ROWS = 8, QUANT_MOST_GROUPS = QUANT_MOST_COLUMNS / 32 };
/* Those of `rows` rows from `row` on, row by row in `of`. */
void quant_put_rows(const struct quant_scales *scales, int64_t row, int64_t rows,
                    const struct quant_scale *of);
void quant_pad_scales(const struct quant_scales *scales);
/* Row and group of a byte of the scales; the group may lie behind the last. */
void quant_case_scale_at(const struct dsv4_case *c, size_t slot, int64_t offset, int64_t *row,
                         int64_t *group);

static inline int64_t quant_ceil(int64_t n, int64_t d) { return (n + d - 1) / d; }
static inline int64_t quant_min(int64_t a, int64_t b) { return a < b ? a : b; }

#endif
