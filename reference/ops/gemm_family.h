/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the GEMM ops share: out[m, n] from rows of A [M, K] and rows of B [N, K], both with k innermost; an optional
 * group dimension (A [M, G, K], B [G, N, K], out [M, G, N]); tiles, scales, inputs.
 */
#ifndef DSV4_GEMM_FAMILY_H
#define DSV4_GEMM_FAMILY_H

#include "../input/input.h"
#include "../num/bf16.h"
#include "../num/e8m0.h"
#include "../num/fp8.h"
#include "../op.h"

enum {
    GEMM_BLOCK = 128,  /* of k: what one partial takes; of n: what one scale of a weight does */
    GEMM_GROUP = 32,   /* of k, under one scale of MXFP4 */
    GEMM_ROWS = 8,     /* a tile of sums */
    GEMM_COLUMNS = 24, /* of doubles */
    GEMM_CHAINS = 48,  /* of floats */
    GEMM_CHUNK = 256   /* rows of A that are converted at once */
};

enum gemm_wrong {
    GEMM_RIGHT,
    GEMM_A_SCALE_NEIGHBOUR,
    GEMM_B_SCALE_NEIGHBOUR,
    GEMM_B_SCALE_TAIL,
    GEMM_B_SCALE_FIRST_ROW,
    GEMM_A_SCALE_OTHER_LAYOUT,
    GEMM_B_SCALE_TRANSPOSED,
    GEMM_SCALE_LAST,
    GEMM_SCALE_AS_NUMBER,
    GEMM_SCALE_BYTE_ZERO,
    GEMM_SCALE_BYTES_REVERSED,
    GEMM_SCALES_IN_TURN,
    GEMM_ADDED,
    GEMM_ACC_BF16,
    GEMM_PARTIAL_FP32,
    GEMM_PARTIAL_14_BITS,
    GEMM_PARTIAL_BF16,
    GEMM_ONE_CHAIN,
    GEMM_UNPROMOTED,
    GEMM_BLOCKS_OF_64,
    GEMM_DESCENDING,
    GEMM_LAST_BLOCK_DROPPED,
    GEMM_TAIL_DROPPED,
    GEMM_FP8_MIXED,
    GEMM_B_TRANSPOSED,
    GEMM_B_DENSE,
    GEMM_A_DENSE,
    GEMM_OUT_DENSE,
    GEMM_GROUP_SHARED,
    GEMM_OUT_TRUNCATED,
    GEMM_ROUNDING_OTHER,
    GEMM_TF32,
    GEMM_SUMMED_EXACTLY,
    GEMM_PRODUCTS_ROUNDED,
    GEMM_A_ROUNDED,
    GEMM_NIBBLES_SWAPPED,
    GEMM_GROUP_128,
    GEMM_SCALED_SUMS,
    GEMM_A_GROUP_OTHER,
    GEMM_EXPERT_NEXT,
    GEMM_OFFSET_BY_ONE,
    GEMM_PADDING_WRITTEN,
    GEMM_PADDING_ENDS,
    GEMM_ACROSS_EXPERTS,
};

static inline enum gemm_wrong gemm_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum gemm_wrong)op->mutants[mutant - 1].id : GEMM_RIGHT;
}

/* ---- parameters ---- */

#define GEMM_FP8_PARAM                                                                             \
    DSV4_PARAM_NAME("fp8", DIALECT, "ocp", "ocp fnuz", "FP8 codes: e4m3fn or e4m3fnuz")
#define GEMM_CODES_PARAM                                                                           \
    DSV4_PARAM_NAME("codes", INPUT, "normal",                                                      \
                    "normal positive every few grains sparse cancel opposed heavy",                \
                    "about N(0, 96); its magnitudes; all finite codes; of 4 values; products of "  \
                    "2^-12 beside a subnormal factor's; 1 of 8 not zero; blocks that nearly "      \
                    "cancel; blocks that cancel blocks; the same of large and tiny codes")
#define GEMM_SCALES_PARAM                                                                          \
    DSV4_PARAM_NAME("scales", INPUT, "pow2", "pow2 free tiny one",                                 \
                    "powers of two; any fp32; bytes 0..3 against bytes 245..248; 1")
#define GEMM_VIEW_PARAM                                                                            \
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide",                                          \
                    "wide: rows lie apart, as slices of larger buffers do")
#define GEMM_SHAPE_PARAMS(most_groups)                                                             \
    DSV4_PARAM_INT("m", INPUT, 3, 0, 1 << 20, "rows of A"),                                        \
        DSV4_PARAM_INT("n", INPUT, 24, 1, 1 << 20, "rows of B"),                                   \
        DSV4_PARAM_INT("k", INPUT, 256, 1, 1 << 20, "columns of both"),                            \
        DSV4_PARAM_INT("groups", INPUT, 0, 0, most_groups,                                         \
                       "GEMMs side by side, [M, G, K] by [G, N, K]; 0: no such dimension")

static inline int64_t gemm_ceil(int64_t n, int64_t d) { return (n + d - 1) / d; }

/* Adds a gap in wide views. */
void gemm_widen(struct dsv4_case *c, size_t slot, int dim, int64_t bytes);

/* [rows, (groups,) columns] with gaps between rows, and between groups. */
void gemm_shape_rows(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t rows,
                     int64_t columns);
/* [(groups,) rows, columns]. */
void gemm_shape_weight(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t rows,
                       int64_t columns);

/* Row m of group g of [M, K] or [M, G, K]; of [N, K] or [G, N, K]. */
static inline char *gemm_row(const dsv4_tensor *t, int64_t m, int64_t g) {
    return (char *)t->data + m * t->stride[0] + (t->ndim == 3 ? g * t->stride[1] : 0);
}
static inline const char *gemm_weight(const dsv4_tensor *t, int64_t n, int64_t g) {
    const int at = t->ndim - 2;
    return (const char *)t->data + n * t->stride[at] + (at == 1 ? g * t->stride[0] : 0);
}

/* A copy of the descriptor with the strides that a contiguous tensor has. */
dsv4_tensor gemm_dense(const dsv4_tensor *t);

/* ---- scales: one per row (or 128 rows) and group of k ---- */

/*
 * f32     [rows, (G,) groups of k] f32
 * f32_mn  [(G,) groups of k, rows padded to 4] f32: what TMA loads on sm_90
 * packed  [(G,) ceil(groups of k / 4), rows padded to 4] i32: four exponent bytes, the first lowest (sm_100)
 * e8m0    [rows, (G,) groups of k] bytes
 * Weights have (G,) before their rows. What lies past the last row or group is anything.
 */
#define GEMM_SCALE_FORMS "f32 f32_mn packed e8m0"

struct gemm_scales {
    enum gemm_scale_form { GEMM_F32, GEMM_F32_MN, GEMM_PACKED, GEMM_E8M0 } form;
    const char *data;
    int64_t group, row, block; /* strides in bytes */
    enum gemm_wrong wrong;
};

enum gemm_scale_form gemm_scale_form(const char *word);
int gemm_shape_scales(struct dsv4_case *c, size_t slot, const char *form, int64_t rows,
                      int64_t blocks, bool weight, struct dsv4_err *err);
void gemm_fill_scales(const struct dsv4_case *c, size_t slot, const char *form, int64_t rows,
                      int64_t blocks, bool weight, uint64_t stream);
void gemm_scales_open(struct gemm_scales *scales, const dsv4_tensor *t, const char *form,
                      bool weight, enum gemm_wrong wrong);
float gemm_scale(const struct gemm_scales *scales, int64_t group, int64_t row, int64_t block);

/* ---- inputs ---- */

/* Element (row, k) of a stream of codes. */
uint8_t gemm_code(const struct dsv4_case *c, uint64_t stream, int64_t row, int64_t k);
/* Fills [rows, (G,) K] or [(G,) rows, K]. */
void gemm_fill_codes(const struct dsv4_case *c, size_t slot, uint64_t stream);

/* "row 3, column 130": where a byte of out lies. */
void gemm_trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size);

/* ---- tiles ---- */

/* Exact sums over n products: [8 rows][24 columns] of a [k][8] and b [k][24]. */
void gemm_exact(double *restrict sum, const double *restrict a, const double *restrict b,
                int64_t n);
/* Adds to acc [8][24] the exact sums of a block, rounded, times the product of two scales. */
void gemm_add_partials(float *restrict acc, const double *restrict a, const double *restrict b,
                       int64_t n, const float *restrict a_scale, const float *restrict b_scale);
/* The same of one row of values and one of codes, to one sum. */
float gemm_add_partial(float acc, const float *a, const uint8_t *codes, int64_t n, bool ocp,
                       float scale);
/* Adds chains of fma from +0, k ascending: to acc [8][48] those of a [k][8] and b [k][48]. */
void gemm_add_chains(float *restrict acc, const float *restrict a, const float *restrict b,
                     int64_t n);

/* to[k * columns + j] = rows[j * GEMM_BLOCK + k], k < n <= GEMM_BLOCK; columns is a multiple of 16. */
void gemm_turn(float *restrict to, const float *rows, int64_t columns, int64_t n);

/* The exact sum as wrong kernels have it. */
double gemm_wrong_sum(double exact, const double *a, const double *b, int64_t n, int i, int j,
                      enum gemm_wrong wrong);

#endif
