/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_fp8_block: FP8 linear layers with a scale per 128 channels of an activation and per 128 x 128 of a weight.
 *   out[m, n] = bf16(acc)  where for blocks b of 128 k, ascending, from acc = +0:
 *   acc = fma(partial, a_scale[m, b] * b_scale[n / 128, b], acc)
 *   partial = the exact sum of a[m, k] * b[n, k] over the block
 * With groups, m and n are those of one group: out[m, g, n], "bhr,hdr->bhd" of the grouped o-projection.
 *
 * Rounding points: the partial, once to fp32; the product of the two scales; the fma; out, once to bf16. A last block of
 * fewer than 128 k is summed as far as it goes. Codes are numbers: NaN codes are not this op's business.
 *
 * Source: DeepSeek's fp8_gemm (inference/kernel.py), DeepGEMM fp8_gemm_nt and fp8_einsum "bhr,hdr->bhd" with recipes
 * (1, 128, 128) and (1, 1, 128).
 * Latitude: products are multiples of 2^-18 (fnuz 2^-20) and a block's sum is below 2^25, so that an exact partial takes
 * FP64 or integer units; kernels on FP8 matrix units keep fewer bits of it. Scales that are powers of two make the order
 * of the scaling irrelevant, subnormals aside.
 */
#include <math.h>
#include <stdio.h>

#include "../memory.h"
#include "gemm_bound.h"

enum { A, A_SCALE, B, B_SCALE, OUT };
enum { STREAM_A = 1, STREAM_B = 2, STREAM_A_SCALE = 3, STREAM_B_SCALE = 4 };

static const struct dsv4_param_def params[] = {
    GEMM_FP8_PARAM,
    DSV4_PARAM_NAME("a_scales", CALL, "f32", GEMM_SCALE_FORMS,
                    "scales of A: f32 [M, K/128]; f32 [K/128, M padded to 4]; i32 [K/512, M padded "
                    "to 4] of four bytes; bytes [M, K/128]"),
    DSV4_PARAM_NAME("b_scales", CALL, "f32", "f32 e8m0 packed",
                    "scales of B: f32 or bytes [N/128, K/128]; packed: i32 [K/512, N padded to 4], "
                    "every row with its own"),
    GEMM_SHAPE_PARAMS(64),
    GEMM_CODES_PARAM,
    GEMM_SCALES_PARAM,
    GEMM_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"a",       DSV4_IN,  "[M, K] or [M, G, K] e4m3, rows strided",    "activations" },
    {"a_scale", DSV4_IN,  "as a_scales says; [.., G, ..] with groups", "their scales"},
    {"b",       DSV4_IN,  "[N, K] or [G, N, K] e4m3, rows strided",    "weights"     },
    {"b_scale", DSV4_IN,  "as b_scales says; [G, ..] with groups",     "their scales"},
    {"out",     DSV4_OUT, "[M, N] or [M, G, N] bf16, rows strided",    "the product" },
};

static const struct dsv4_mutant mutants[] = {
    {"a-scale-neighbour",    "scale of the next 128 channels of A",                               GEMM_A_SCALE_NEIGHBOUR },
    {"b-scale-neighbour",    "scale of the next 128 rows of B",                                   GEMM_B_SCALE_NEIGHBOUR },
    {"b-scale-tail",         "rows after the last whole 128 take the scale before theirs",
     GEMM_B_SCALE_TAIL                                                                                                   },
    {"b-scale-first-row",    "every row of 128 scaled as the first; packed scales are per row",
     GEMM_B_SCALE_FIRST_ROW                                                                                              },
    {"a-scale-other-layout", "scales of A read row by row where they lie block by block, or so",
     GEMM_A_SCALE_OTHER_LAYOUT                                                                                           },
    {"b-scale-transposed",   "scales of B read as [K/128, N/128]",                                GEMM_B_SCALE_TRANSPOSED},
    {"scale-last",           "one scale after all of K; each block has its own",                  GEMM_SCALE_LAST        },
    {"scale-as-number",      "scale byte multiplied as an integer; it is an exponent",
     GEMM_SCALE_AS_NUMBER                                                                                                },
    {"scale-byte-zero",      "scale of 2^-127 flushed to 0",                                      GEMM_SCALE_BYTE_ZERO   },
    {"scale-bytes-reversed", "first block's byte highest in a packed word; it is lowest",
     GEMM_SCALE_BYTES_REVERSED                                                                                           },
    {"scales-in-turn",       "partial * a_scale rounded first; the scales are multiplied first",
     GEMM_SCALES_IN_TURN                                                                                                 },
    {"added",                "scaled partial rounded, then added; it is one fma",                 GEMM_ADDED             },
    {"acc-bf16",             "sum over blocks kept in bf16; it is fp32",                          GEMM_ACC_BF16          },
    {"partial-fp32",         "partial summed in fp32; it is exact, then rounded once",            GEMM_PARTIAL_FP32      },
    {"partial-14-bits",      "partial summed with 14 bits, as FP8 matrix units do",
     GEMM_PARTIAL_14_BITS                                                                                                },
    {"partial-bf16",         "partial rounded to bf16; it is fp32",                               GEMM_PARTIAL_BF16      },
    {"one-chain",            "products added to one sum over all of K; each block has a partial",
     GEMM_ONE_CHAIN                                                                                                      },
    {"unpromoted",           "sums kept to 14 bits over all of K, never promoted to fp32",        GEMM_UNPROMOTED        },
    {"descending",           "blocks added from the last to the first",                           GEMM_DESCENDING        },
    {"last-block-dropped",   "last block of k not added",                                         GEMM_LAST_BLOCK_DROPPED},
    {"tail-dropped",         "k after the last whole block not added",                            GEMM_TAIL_DROPPED      },
    {"fp8-mixed",            "codes of one dialect read as the other",                            GEMM_FP8_MIXED         },
    {"b-transposed",         "weight read as [K, N]",                                             GEMM_B_TRANSPOSED      },
    {"b-dense",              "rows of the weight taken as contiguous; they have a stride",        GEMM_B_DENSE           },
    {"a-dense",              "rows of A taken as contiguous; they have a stride",                 GEMM_A_DENSE           },
    {"out-dense",            "rows of out taken as contiguous; they have a stride",               GEMM_OUT_DENSE         },
    {"group-shared",         "all groups take the first group's weight",                          GEMM_GROUP_SHARED      },
    {"out-truncated",        "bf16 cut off; it is rounded to nearest even",                       GEMM_OUT_TRUNCATED     },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t m = dsv4_case_int(c, "m"), n = dsv4_case_int(c, "n"), k = dsv4_case_int(c, "k");
    const uint32_t fp8 = dsv4_case_is(c, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ;
    const int64_t blocks = gemm_ceil(k, GEMM_BLOCK);
    const bool rows = dsv4_case_is(c, "b_scales", "packed");
    if (k % 16 != 0) return dsv4_fail(err, "k: %lld; a multiple of 16", (long long)k);
    gemm_shape_rows(c, A, fp8, m, k);
    gemm_shape_weight(c, B, fp8, n, k);
    gemm_shape_rows(c, OUT, DSV4_BF16, m, n);
    c->tensors[OUT].align = 2;
    if (gemm_shape_scales(c, A_SCALE, dsv4_case_word(c, "a_scales"), m, blocks, false, err) != 0)
        return -1;
    return gemm_shape_scales(c, B_SCALE, dsv4_case_word(c, "b_scales"),
                             rows ? n : gemm_ceil(n, GEMM_BLOCK), blocks, true, err);
}

static void fill(struct dsv4_case *c) {
    const int64_t m = dsv4_case_int(c, "m"), n = dsv4_case_int(c, "n");
    const int64_t blocks = gemm_ceil(dsv4_case_int(c, "k"), GEMM_BLOCK);
    const bool rows = dsv4_case_is(c, "b_scales", "packed");
    gemm_fill_codes(c, A, STREAM_A);
    gemm_fill_codes(c, B, STREAM_B);
    gemm_fill_scales(c, A_SCALE, dsv4_case_word(c, "a_scales"), m, blocks, false, STREAM_A_SCALE);
    gemm_fill_scales(c, B_SCALE, dsv4_case_word(c, "b_scales"), rows ? n : gemm_ceil(n, GEMM_BLOCK),
                     blocks, true, STREAM_B_SCALE);
}

/* ---- one group ---- */

struct gemm {
    dsv4_tensor a, b, out;
    struct gemm_scales a_scale, b_scale;
    int64_t m, n, k, blocks, group;
    bool scale_per_row, ocp;
    enum gemm_wrong wrong;
    double values[256];
};

struct tile {
    double b[GEMM_BLOCK * GEMM_COLUMNS], sum[GEMM_ROWS * GEMM_COLUMNS];
    float b_scale[GEMM_COLUMNS], a_scale[GEMM_ROWS];
};

/* Rows first .. of A as [block][8 rows of a tile][k][row]; rows that are not there are 0. */
static void load_a(const struct gemm *g, double *to, int64_t first, int64_t tiles, int64_t block) {
    const int64_t begin = block * GEMM_BLOCK;
    const int64_t n = g->k - begin < GEMM_BLOCK ? g->k - begin : GEMM_BLOCK;
    for (int64_t r = 0; r < tiles * GEMM_ROWS; r++) {
        double *const row = to + (block * tiles + r / GEMM_ROWS) * GEMM_BLOCK * GEMM_ROWS;
        if (first + r >= g->m) continue;
        const uint8_t *const codes = (const uint8_t *)gemm_row(&g->a, first + r, g->group) + begin;
        for (int64_t k = 0; k < n; k++) row[k * GEMM_ROWS + r % GEMM_ROWS] = g->values[codes[k]];
    }
}

static int64_t b_scale_row(const struct gemm *g, int64_t n) {
    const int64_t all = g->scale_per_row ? g->n : gemm_ceil(g->n, GEMM_BLOCK);
    int64_t row = g->scale_per_row ? n : n / GEMM_BLOCK;
    if (g->wrong == GEMM_B_SCALE_FIRST_ROW && g->scale_per_row) row -= row % GEMM_BLOCK;
    if (g->wrong == GEMM_B_SCALE_TAIL && row > 0 && n >= g->n / GEMM_BLOCK * GEMM_BLOCK) row--;
    if (g->wrong == GEMM_B_SCALE_NEIGHBOUR) row = (row + 1) % all;
    return row;
}

static void load_b(const struct gemm *g, struct tile *t, int64_t column, int64_t block) {
    const int64_t begin = block * GEMM_BLOCK;
    const int64_t n = g->k - begin < GEMM_BLOCK ? g->k - begin : GEMM_BLOCK;
    const int64_t group = g->wrong == GEMM_GROUP_SHARED ? 0 : g->group;
    for (int64_t j = 0; j < GEMM_COLUMNS; j++) {
        const bool there = column + j < g->n;
        t->b_scale[j] =
            there ? gemm_scale(&g->b_scale, group, b_scale_row(g, column + j), block) : 0.0f;
        const uint8_t *codes = (const uint8_t *)gemm_weight(&g->b, there ? column + j : 0, group);
        for (int64_t k = 0; k < n; k++)
            t->b[k * GEMM_COLUMNS + j] = there ? g->values[codes[begin + k]] : 0.0;
        if (!there || g->wrong != GEMM_B_TRANSPOSED) continue;
        for (int64_t k = 0; k < n; k++) {
            const int64_t at = (begin + k) * g->n + column + j;
            codes = (const uint8_t *)gemm_weight(&g->b, at / g->k, group);
            t->b[k * GEMM_COLUMNS + j] = g->values[codes[at % g->k]];
        }
    }
}

static void load_a_scale(const struct gemm *g, struct tile *t, int64_t row, int64_t block) {
    if (g->wrong == GEMM_A_SCALE_NEIGHBOUR) block = (block + 1) % g->blocks;
    for (int64_t i = 0; i < GEMM_ROWS; i++)
        t->a_scale[i] = row + i < g->m ? gemm_scale(&g->a_scale, g->group, row + i, block) : 0.0f;
}

static float chained(const struct gemm *g, float sum, const double *a, const double *b, int64_t n,
                     float scale) {
    for (int64_t k = 0; k < n; k++) {
        sum = fmaf((float)(a[k * GEMM_ROWS] * b[k * GEMM_COLUMNS]), scale, sum);
        if (g->wrong == GEMM_UNPROMOTED) sum = dsv4_from_bits(dsv4_bits(sum) & ~UINT32_C(0x3FF));
    }
    return sum;
}

static void wrong_promote(const struct gemm *g, float *acc, const struct tile *t, const double *a,
                          int64_t n, bool last) {
    for (int i = 0; i < GEMM_ROWS; i++)
        for (int j = 0; j < GEMM_COLUMNS; j++) {
            float *const to = &acc[i * GEMM_COLUMNS + j];
            const float scale = t->a_scale[i] * t->b_scale[j];
            const double sum = t->sum[i * GEMM_COLUMNS + j];
            const float partial = (float)gemm_wrong_sum(sum, a, t->b, n, i, j, g->wrong);
            if (g->wrong == GEMM_SCALE_LAST)
                *to = last ? (*to + partial) * scale : *to + partial;
            else if (g->wrong == GEMM_SCALES_IN_TURN)
                *to = fmaf(partial * t->a_scale[i], t->b_scale[j], *to);
            else if (g->wrong == GEMM_ADDED)
                *to = *to + partial * scale;
            else if (g->wrong != GEMM_ONE_CHAIN && g->wrong != GEMM_UNPROMOTED)
                *to = fmaf(partial, scale, *to);
            else
                *to = chained(g, *to, a + i, t->b + j, n, scale);
            if (g->wrong == GEMM_ACC_BF16) *to = dsv4_bf16_to_f32(dsv4_bf16_from_f32(*to));
        }
}

static bool promotes_otherwise(enum gemm_wrong wrong) {
    return wrong == GEMM_SCALE_LAST || wrong == GEMM_SCALES_IN_TURN || wrong == GEMM_ADDED ||
           wrong == GEMM_ONE_CHAIN || wrong == GEMM_UNPROMOTED || wrong == GEMM_ACC_BF16 ||
           wrong == GEMM_PARTIAL_FP32 || wrong == GEMM_PARTIAL_14_BITS ||
           wrong == GEMM_PARTIAL_BF16;
}

static void store(const struct gemm *g, const float *acc, int64_t first, int64_t rows,
                  int64_t column) {
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *const to = (uint16_t *)(void *)gemm_row(&g->out, first + r, g->group);
        for (int64_t j = 0; j < GEMM_COLUMNS && column + j < g->n; j++) {
            const float x = acc[r * GEMM_COLUMNS + j];
            to[column + j] = g->wrong == GEMM_OUT_TRUNCATED ? (uint16_t)(dsv4_bits(x) >> 16)
                                                            : dsv4_bf16_from_f32(x);
        }
    }
}

/* 24 columns of rows first ..; a as load_a() left it. */
static void columns(const struct gemm *g, const double *a, int64_t first, int64_t rows,
                    int64_t column) {
    const int64_t tiles = gemm_ceil(rows, GEMM_ROWS);
    const enum gemm_wrong wrong = g->wrong;
    float *const acc = dsv4_alloc((size_t)(tiles * GEMM_ROWS * GEMM_COLUMNS) * sizeof *acc);
    struct tile *const t = dsv4_alloc(sizeof *t);
    int64_t blocks = g->blocks;
    if (wrong == GEMM_LAST_BLOCK_DROPPED) blocks--;
    if (wrong == GEMM_TAIL_DROPPED) blocks = g->k / GEMM_BLOCK;
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t block = wrong == GEMM_DESCENDING ? blocks - 1 - i : i;
        const int64_t left = g->k - block * GEMM_BLOCK, n = left < GEMM_BLOCK ? left : GEMM_BLOCK;
        load_b(g, t, column, block);
        for (int64_t r = 0; r < tiles; r++) {
            const double *const from = a + (block * tiles + r) * GEMM_BLOCK * GEMM_ROWS;
            float *const to = acc + r * GEMM_ROWS * GEMM_COLUMNS;
            load_a_scale(g, t, first + r * GEMM_ROWS, block);
            if (!promotes_otherwise(wrong)) {
                gemm_add_partials(to, from, t->b, n, t->a_scale, t->b_scale);
                continue;
            }
            gemm_exact(t->sum, from, t->b, n);
            wrong_promote(g, to, t, from, n, i == blocks - 1);
        }
    }
    store(g, acc, first, rows, column);
    dsv4_free(t);
    dsv4_free(acc);
}

/* A single row of A needs no tiles: vectors run along k. */
static void one_row(const struct gemm *g) {
    float *const a = dsv4_alloc((size_t)g->k * sizeof *a);
    const uint8_t *const row = (const uint8_t *)gemm_row(&g->a, 0, g->group);
    uint16_t *const out = (uint16_t *)(void *)gemm_row(&g->out, 0, g->group);
    for (int64_t k = 0; k < g->k; k++) a[k] = (float)g->values[row[k]];
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < g->n; j++) {
        const uint8_t *const codes = (const uint8_t *)gemm_weight(&g->b, j, g->group);
        float acc = 0.0f;
        for (int64_t block = 0; block < g->blocks; block++) {
            const int64_t at = block * GEMM_BLOCK, left = g->k - at;
            const int64_t n = left < GEMM_BLOCK ? left : GEMM_BLOCK;
            const float scale = gemm_scale(&g->a_scale, g->group, 0, block) *
                                gemm_scale(&g->b_scale, g->group, b_scale_row(g, j), block);
            acc = gemm_add_partial(acc, a + at, codes + at, n, g->ocp, scale);
        }
        out[j] = dsv4_bf16_from_f32(acc);
    }
    dsv4_free(a);
}

static void multiply(const struct gemm *g) {
    if (g->m == 1 && g->wrong == GEMM_RIGHT) {
        one_row(g);
        return;
    }
    for (int64_t first = 0; first < g->m; first += GEMM_CHUNK) {
        const int64_t left = g->m - first, rows = left < GEMM_CHUNK ? left : GEMM_CHUNK;
        const int64_t tiles = gemm_ceil(rows, GEMM_ROWS);
        double *const a =
            dsv4_alloc((size_t)(g->blocks * tiles * GEMM_BLOCK * GEMM_ROWS) * sizeof *a);
#pragma omp parallel
        {
#pragma omp for schedule(static)
            for (int64_t block = 0; block < g->blocks; block++) load_a(g, a, first, tiles, block);
#pragma omp for schedule(dynamic)
            for (int64_t column = 0; column < g->n; column += GEMM_COLUMNS)
                columns(g, a, first, rows, column);
        }
        dsv4_free(a);
    }
}

const struct dsv4_op dsv4_op_gemm_fp8_block;

static struct gemm gemm_of(const dsv4_call *call, enum gemm_wrong wrong) {
    const dsv4_tensor *const tensors = call->tensors;
    const bool ocp = dsv4_is(call, "fp8", "ocp") != (wrong == GEMM_FP8_MIXED);
    const int last = tensors[A].ndim - 1;
    struct gemm g = {.a = tensors[A], .b = tensors[B], .out = tensors[OUT], .wrong = wrong};
    if (wrong == GEMM_A_DENSE) g.a = gemm_dense(&g.a);
    if (wrong == GEMM_B_DENSE) g.b = gemm_dense(&g.b);
    if (wrong == GEMM_OUT_DENSE) g.out = gemm_dense(&g.out);
    g.m = g.a.shape[0];
    g.n = g.out.shape[last];
    g.k = g.a.shape[last];
    g.blocks = gemm_ceil(g.k, GEMM_BLOCK);
    g.scale_per_row = dsv4_is(call, "b_scales", "packed");
    gemm_scales_open(&g.a_scale, &tensors[A_SCALE], dsv4_find_param(call, "a_scales")->s, false,
                     wrong);
    gemm_scales_open(&g.b_scale, &tensors[B_SCALE], dsv4_find_param(call, "b_scales")->s, true,
                     wrong);
    g.ocp = ocp;
    for (int code = 0; code < 256; code++)
        g.values[code] = (double)dsv4_fp8_to_f32((uint8_t)code, ocp ? DSV4_OCP : DSV4_FNUZ240);
    return g;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    struct gemm g = gemm_of(call, gemm_wrong_of(&dsv4_op_gemm_fp8_block, mutant));
    (void)err;
    for (g.group = 0; g.group < (g.a.ndim == 3 ? g.a.shape[1] : 1); g.group++) multiply(&g);
    return DSV4_OK;
}

/* gemm_bound.c; errors of different outputs are independent of each other, so the whole tensor is checked too. */
static void bound_row(const struct gemm *g, struct dsv4_admission *a, int64_t m,
                      struct dsv4_ball *balls, double *variances) {
    const uint8_t *const row = (const uint8_t *)gemm_row(&g->a, m, g->group);
    const struct dsv4_row to = {
        OUT, gemm_row(&g->out, m, g->group) - (char *)g->out.data, 2, DSV4_AS_BF16, g->n, 1};
    for (int64_t n = 0; n < g->n; n++) {
        const uint8_t *const weight = (const uint8_t *)gemm_weight(&g->b, n, g->group);
        struct gemm_dot dot = {0};
        variances[n] = 1;
        if (dsv4_admit_same(a, &to, n, 1)) continue;
        for (int64_t block = 0; block < g->blocks; block++) {
            const int64_t begin = block * GEMM_BLOCK, left = g->k - begin;
            const int64_t size = left < GEMM_BLOCK ? left : GEMM_BLOCK;
            double x[GEMM_BLOCK], y[GEMM_BLOCK];
            for (int64_t k = 0; k < size; k++) x[k] = g->values[row[begin + k]];
            for (int64_t k = 0; k < size; k++) y[k] = g->values[weight[begin + k]];
            gemm_dot_add(&dot, x, y, size, (double)gemm_scale(&g->a_scale, g->group, m, block),
                         (double)gemm_scale(&g->b_scale, g->group, b_scale_row(g, n), block));
        }
        balls[n] = gemm_dot_ball(&dot, &a->arithmetic, DSV4_SUM_FP8, &variances[n]);
    }
    dsv4_admit(a, &to, balls, variances);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    struct gemm g = gemm_of(call, GEMM_RIGHT);
    for (g.group = 0; g.group < (g.a.ndim == 3 ? g.a.shape[1] : 1); g.group++) {
#pragma omp parallel
        {
            double *const variances = dsv4_alloc((size_t)(g.n + 1) * sizeof *variances);
            struct dsv4_ball *const balls = dsv4_alloc((size_t)(g.n + 1) * sizeof *balls);
#pragma omp for schedule(dynamic)
            for (int64_t m = 0; m < g.m; m++) bound_row(&g, a, m, balls, variances);
            dsv4_free(balls);
            dsv4_free(variances);
        }
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    gemm_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    for (int slot = A; slot <= B_SCALE; slot++)
        work->bytes_read += (double)dsv4_packed_bytes(&c->tensors[slot]);
    work->bytes_written = (double)dsv4_packed_bytes(&c->tensors[OUT]);
    /* Exact sums are of binary64, which a vector holds half as many of. */
    work->fmas = work->bytes_written * (double)dsv4_case_int(c, "k");
}

const struct dsv4_op dsv4_op_gemm_fp8_block = {
    .name = "gemm_fp8_block",
    .summary = "FP8 by FP8 with a scale per block of 128, exact partials, also grouped",
    .source = "DeepSeek fp8_gemm; DeepGEMM fp8_gemm_nt, fp8_einsum \"bhr,hdr->bhd\"",
    .bound = bound,
    .latitude =
        "scales-in-turn added partial-fp32 one-chain descending partial-14-bits@TC13-PROMOTE128",
    DSV4_OP_PARTS,
};
