/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_bf16: linear layers that are not quantised: the gate, the compressors' wkv_wgate, the indexer's weights_proj,
 * lm_head, and wo_a where it is kept in bf16.
 *   out[m, n] = sum of a[m, k] * b[n, k]
 * A and B are bf16 or fp32, each as it is; out is fp32, or rounded to bf16. With groups, m and n are those of one group:
 * z[t, g, r] = sum over d of o[t, g, d] * wo_a[g, r, d].
 *
 * Rounding points: blocks of 128 k; in a block one chain of fma from +0, k ascending; block sums added ascending from +0;
 * out, once. rounding: bf16 rounds an fp32 out to bf16 and back.
 *
 * Source: DeepSeek's inference/model.py (gate, compressor, wo_a, head), vLLM GateLinear and rocm_inv_rope_einsum.
 * Latitude: products of bf16 are exact in fp32; nobody promises an order of their sum, and matrix units truncate it.
 * GateLinear's fallback computes the logits in bf16 and casts them, which is the dialect `rounding`.
 */
#include <math.h>
#include <stdio.h>

#include "../bound/admit.h"
#include "../memory.h"
#include "gemm_family.h"

enum { A, B, OUT };
enum { STREAM_A = 1, STREAM_B = 2 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("rounding", DIALECT, "none", "none bf16",
                    "bf16: logits were computed as bf16 and cast"),
    GEMM_SHAPE_PARAMS(64),
    DSV4_PARAM_NAME("a_dtype", INPUT, "bf16", "bf16 f32", "of A"),
    DSV4_PARAM_NAME("b_dtype", INPUT, "bf16", "bf16 f32", "of B"),
    DSV4_PARAM_NAME("out_dtype", INPUT, "f32", "f32 bf16", "of out"),
    DSV4_PARAM_NAME("values", INPUT, "normal", "normal few opposed",
                    "about N(0, 1); 8 values of several magnitudes; blocks that cancel blocks"),
    GEMM_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"a",   DSV4_IN,  "[M, K] or [M, G, K] bf16 or f32, rows strided", "activations"},
    {"b",   DSV4_IN,  "[N, K] or [G, N, K] bf16 or f32, rows strided", "weights"    },
    {"out", DSV4_OUT, "[M, N] or [M, G, N] f32 or bf16, rows strided", "the product"},
};

static const struct dsv4_mutant mutants[] = {
    {"one-chain",          "one chain over all of K; the canon has blocks of 128",       GEMM_ONE_CHAIN         },
    {"blocks-of-64",       "block sums of 64 products; the canon has 128",               GEMM_BLOCKS_OF_64      },
    {"descending",         "blocks added from the last to the first",                    GEMM_DESCENDING        },
    {"products-rounded",   "products rounded, then added; each is one fma",              GEMM_PRODUCTS_ROUNDED  },
    {"summed-exactly",     "blocks summed exactly; the canon is a chain of fp32",        GEMM_SUMMED_EXACTLY    },
    {"partial-14-bits",    "sums kept to 14 bits",                                       GEMM_PARTIAL_14_BITS   },
    {"acc-bf16",           "sum rounded to bf16 after each block; it is fp32",           GEMM_ACC_BF16          },
    {"tf32",               "fp32 factors cut off to tf32",                               GEMM_TF32              },
    {"a-rounded",          "fp32 A rounded to bf16 first",                               GEMM_A_ROUNDED         },
    {"rounding-other",     "logits rounded to bf16 where they are fp32, or the reverse",
     GEMM_ROUNDING_OTHER                                                                                        },
    {"out-truncated",      "bf16 cut off; it is rounded to nearest even",                GEMM_OUT_TRUNCATED     },
    {"last-block-dropped", "last block of k not added",                                  GEMM_LAST_BLOCK_DROPPED},
    {"tail-dropped",       "k after the last whole block not added",                     GEMM_TAIL_DROPPED      },
    {"b-transposed",       "weight read as [K, N]",                                      GEMM_B_TRANSPOSED      },
    {"a-dense",            "rows of A taken as contiguous; they have a stride",          GEMM_A_DENSE           },
    {"b-dense",            "rows of the weight taken as contiguous; they have a stride", GEMM_B_DENSE           },
    {"out-dense",          "rows of out taken as contiguous; they have a stride",        GEMM_OUT_DENSE         },
    {"group-shared",       "all groups take the first group's weight",                   GEMM_GROUP_SHARED      },
};

static uint32_t dtype_of(const struct dsv4_case *c, const char *param) {
    return dsv4_case_is(c, param, "f32") ? DSV4_F32 : DSV4_BF16;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t m = dsv4_case_int(c, "m"), n = dsv4_case_int(c, "n"), k = dsv4_case_int(c, "k");
    if (k % 8 != 0) return dsv4_fail(err, "k: %lld; a multiple of 8", (long long)k);
    gemm_shape_rows(c, A, dtype_of(c, "a_dtype"), m, k);
    gemm_shape_weight(c, B, dtype_of(c, "b_dtype"), n, k);
    gemm_shape_rows(c, OUT, dtype_of(c, "out_dtype"), m, n);
    c->tensors[OUT].align = dsv4_dtype_bytes(c->tensors[OUT].t.dtype);
    return 0;
}

static float value_of(const struct dsv4_case *c, uint64_t stream, int64_t row, int64_t k) {
    static const float some[] = {0.0f,  1.0f,    -1.0078125f, 2.53125f,
                                 -3.0f, 0.1875f, 300.0f,      -0.0017f};
    const char *const word = dsv4_case_word(c, "values");
    const bool opposed = word[0] == 'o' && (k & 256) != 0;
    const int64_t twin = opposed ? k & ~INT64_C(256) : k;
    const uint64_t bits = dsv4_random(c->seed, stream, (uint64_t)row << 20 | (uint64_t)twin);
    if (word[0] == 'f') return some[bits >> 61] * 1.0000123f;
    const float x = dsv4_normal(bits) * 0.7310586f;
    if (word[0] == 'n') return x;
    const float y = opposed && stream == STREAM_A ? -x : x;
    return (k & 128) != 0 ? 0.0001f * y : y;
}

static void fill_rows(const struct dsv4_case *c, size_t slot, uint64_t stream) {
    const dsv4_tensor *const t = &c->tensors[slot].t;
    const int64_t inner = t->ndim == 3 ? t->shape[1] : 1, width = t->shape[t->ndim - 1];
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < t->shape[0] * inner; r++) {
        char *const row = (char *)t->data + r / inner * t->stride[0] +
                          (t->ndim == 3 ? r % inner * t->stride[1] : 0);
        for (int64_t k = 0; k < width; k++) {
            const float x = value_of(c, stream, r, k);
            if (t->dtype == DSV4_F32)
                memcpy(row + 4 * k, &x, sizeof x);
            else
                ((uint16_t *)(void *)row)[k] = dsv4_bf16_from_f32(x);
        }
    }
}

static void fill(struct dsv4_case *c) {
    fill_rows(c, A, STREAM_A);
    fill_rows(c, B, STREAM_B);
}

/* ---- one group ---- */

struct gemm {
    dsv4_tensor a, b, out;
    int64_t m, n, k, blocks, group;
    bool rounded;
    enum gemm_wrong wrong;
};

struct tile {
    float b[GEMM_BLOCK * GEMM_CHAINS];
};

static float factor(const struct gemm *g, const dsv4_tensor *t, const char *row, int64_t k) {
    float x;
    if (t->dtype == DSV4_BF16) return dsv4_bf16_to_f32(((const uint16_t *)(const void *)row)[k]);
    memcpy(&x, row + 4 * k, sizeof x);
    if (g->wrong == GEMM_TF32) return dsv4_from_bits(dsv4_bits(x) & ~UINT32_C(0x1FFF));
    if (g->wrong == GEMM_A_ROUNDED && t == &g->a) return dsv4_bf16_to_f32(dsv4_bf16_from_f32(x));
    return x;
}

static int64_t block_size(const struct gemm *g, int64_t block) {
    const int64_t left = g->k - block * GEMM_BLOCK;
    return left < GEMM_BLOCK ? left : GEMM_BLOCK;
}

/* Rows first .. of A as [block][8 rows of a tile][k][row]; rows that are not there are 0. */
static void load_a(const struct gemm *g, float *to, int64_t first, int64_t tiles, int64_t block) {
    for (int64_t r = 0; r < tiles * GEMM_ROWS && first + r < g->m; r++) {
        float *const row = to + (block * tiles + r / GEMM_ROWS) * GEMM_BLOCK * GEMM_ROWS;
        const char *const from = gemm_row(&g->a, first + r, g->group);
        for (int64_t k = 0; k < block_size(g, block); k++)
            row[k * GEMM_ROWS + r % GEMM_ROWS] = factor(g, &g->a, from, block * GEMM_BLOCK + k);
    }
}

static void load_b(const struct gemm *g, float *b, int64_t column, int64_t block) {
    const int64_t begin = block * GEMM_BLOCK, n = block_size(g, block);
    float rows[GEMM_CHAINS * GEMM_BLOCK];
    for (int64_t j = 0; j < GEMM_CHAINS; j++) {
        float *const row = rows + j * GEMM_BLOCK;
        if (column + j >= g->n) {
            for (int64_t k = 0; k < n; k++) row[k] = 0.0f;
            continue;
        }
        const void *const from = gemm_weight(&g->b, column + j, g->group);
        const uint16_t *const codes = (const uint16_t *)from + begin;
        if (g->b.dtype == DSV4_BF16)
#pragma omp simd
            for (int64_t k = 0; k < n; k++) row[k] = dsv4_bf16_to_f32(codes[k]);
        else
            memcpy(row, (const float *)from + begin, (size_t)n * sizeof *row);
    }
    gemm_turn(b, rows, GEMM_CHAINS, n);
}

static void wrong_load_b(const struct gemm *g, float *b, int64_t column, int64_t block) {
    const int64_t begin = block * GEMM_BLOCK, n = block_size(g, block);
    const int64_t group = g->wrong == GEMM_GROUP_SHARED ? 0 : g->group;
    for (int64_t j = 0; j < GEMM_CHAINS; j++) {
        const bool there = column + j < g->n;
        const char *from = gemm_weight(&g->b, there ? column + j : 0, group);
        for (int64_t k = 0; k < n; k++)
            b[k * GEMM_CHAINS + j] = there ? factor(g, &g->b, from, begin + k) : 0.0f;
        if (!there || g->wrong != GEMM_B_TRANSPOSED) continue;
        for (int64_t k = 0; k < n; k++) {
            const int64_t at = (begin + k) * g->n + column + j;
            from = gemm_weight(&g->b, at / g->k, group);
            b[k * GEMM_CHAINS + j] = factor(g, &g->b, from, at % g->k);
        }
    }
}

/* Adds a block to one sum as wrong kernels do. */
static float wrong_add(const struct gemm *g, float acc, const float *a, const float *b, int64_t n) {
    const enum gemm_wrong wrong = g->wrong;
    double exact = 0.0;
    float sum = wrong == GEMM_ONE_CHAIN ? acc : 0.0f;
    for (int64_t k = 0; k < n; k++) {
        const float x = a[k * GEMM_ROWS], y = b[k * GEMM_CHAINS];
        exact += (double)x * (double)y;
        sum = wrong == GEMM_PRODUCTS_ROUNDED ? sum + x * y : fmaf(x, y, sum);
        if (wrong == GEMM_PARTIAL_14_BITS) sum = dsv4_from_bits(dsv4_bits(sum) & ~UINT32_C(0x3FF));
        if (wrong == GEMM_BLOCKS_OF_64 && k == 63) {
            acc += sum;
            sum = 0.0f;
        }
    }
    if (wrong == GEMM_ONE_CHAIN) return sum;
    acc += wrong == GEMM_SUMMED_EXACTLY ? (float)exact : sum;
    return wrong == GEMM_ACC_BF16 ? dsv4_bf16_to_f32(dsv4_bf16_from_f32(acc)) : acc;
}

static bool adds_otherwise(enum gemm_wrong wrong) {
    return wrong == GEMM_ONE_CHAIN || wrong == GEMM_BLOCKS_OF_64 ||
           wrong == GEMM_PRODUCTS_ROUNDED || wrong == GEMM_SUMMED_EXACTLY ||
           wrong == GEMM_PARTIAL_14_BITS || wrong == GEMM_ACC_BF16;
}

static void store(const struct gemm *g, const float *acc, int64_t first, int64_t rows,
                  int64_t column) {
    for (int64_t r = 0; r < rows; r++) {
        char *const to = gemm_row(&g->out, first + r, g->group);
        for (int64_t j = 0; j < GEMM_CHAINS && column + j < g->n; j++) {
            float x = acc[r * GEMM_CHAINS + j];
            const uint16_t code = g->wrong == GEMM_OUT_TRUNCATED ? (uint16_t)(dsv4_bits(x) >> 16)
                                                                 : dsv4_bf16_from_f32(x);
            if (g->rounded) x = dsv4_bf16_to_f32(code);
            if (x != x) x = dsv4_from_bits(DSV4_NAN_BITS);
            if (g->out.dtype == DSV4_F32)
                memcpy(to + 4 * (column + j), &x, sizeof x);
            else
                memcpy(to + 2 * (column + j), &code, sizeof code);
        }
    }
}

/* 48 columns of rows first ..; a as load_a() left it. */
static void columns(const struct gemm *g, const float *a, int64_t first, int64_t rows,
                    int64_t column) {
    const int64_t tiles = gemm_ceil(rows, GEMM_ROWS);
    const enum gemm_wrong wrong = g->wrong;
    float *const acc = dsv4_alloc((size_t)(tiles * GEMM_ROWS * GEMM_CHAINS) * sizeof *acc);
    struct tile *const t = dsv4_alloc(sizeof *t);
    int64_t blocks = g->blocks;
    if (wrong == GEMM_LAST_BLOCK_DROPPED) blocks--;
    if (wrong == GEMM_TAIL_DROPPED) blocks = g->k / GEMM_BLOCK;
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t block = wrong == GEMM_DESCENDING ? blocks - 1 - i : i;
        const int64_t n = block_size(g, block);
        if (wrong == GEMM_RIGHT)
            load_b(g, t->b, column, block);
        else
            wrong_load_b(g, t->b, column, block);
        for (int64_t r = 0; r < tiles; r++) {
            const float *const from = a + (block * tiles + r) * GEMM_BLOCK * GEMM_ROWS;
            float *const to = acc + r * GEMM_ROWS * GEMM_CHAINS;
            if (!adds_otherwise(wrong)) {
                gemm_add_chains(to, from, t->b, n);
                continue;
            }
            for (int64_t at = 0; at < GEMM_ROWS * GEMM_CHAINS; at++)
                to[at] = wrong_add(g, to[at], from + at / GEMM_CHAINS, t->b + at % GEMM_CHAINS, n);
        }
    }
    store(g, acc, first, rows, column);
    dsv4_free(t);
    dsv4_free(acc);
}

static void multiply(const struct gemm *g) {
    for (int64_t first = 0; first < g->m; first += GEMM_CHUNK) {
        const int64_t left = g->m - first, rows = left < GEMM_CHUNK ? left : GEMM_CHUNK;
        const int64_t tiles = gemm_ceil(rows, GEMM_ROWS);
        float *const a =
            dsv4_alloc((size_t)(g->blocks * tiles * GEMM_BLOCK * GEMM_ROWS) * sizeof *a);
#pragma omp parallel
        {
#pragma omp for schedule(static)
            for (int64_t block = 0; block < g->blocks; block++) load_a(g, a, first, tiles, block);
#pragma omp for schedule(dynamic)
            for (int64_t column = 0; column < g->n; column += GEMM_CHAINS)
                columns(g, a, first, rows, column);
        }
        dsv4_free(a);
    }
}

const struct dsv4_op dsv4_op_gemm_bf16;

static struct gemm gemm_of(const dsv4_call *call, enum gemm_wrong wrong) {
    const dsv4_tensor *const tensors = call->tensors;
    const int last = tensors[A].ndim - 1;
    struct gemm g = {.a = tensors[A], .b = tensors[B], .out = tensors[OUT], .wrong = wrong};
    if (wrong == GEMM_A_DENSE) g.a = gemm_dense(&g.a);
    if (wrong == GEMM_B_DENSE) g.b = gemm_dense(&g.b);
    if (wrong == GEMM_OUT_DENSE) g.out = gemm_dense(&g.out);
    g.m = g.a.shape[0];
    g.n = g.out.shape[last];
    g.k = g.a.shape[last];
    g.blocks = gemm_ceil(g.k, GEMM_BLOCK);
    g.rounded = (dsv4_is(call, "rounding", "bf16") != 0) != (wrong == GEMM_ROUNDING_OTHER);
    return g;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    struct gemm g = gemm_of(call, gemm_wrong_of(&dsv4_op_gemm_bf16, mutant));
    (void)err;
    for (g.group = 0; g.group < (g.a.ndim == 3 ? g.a.shape[1] : 1); g.group++) multiply(&g);
    return DSV4_OK;
}

/*
 * Bound: the exact products are the terms of one sum in the declared class; `rounding: bf16` rounds it on the way. Errors
 * of different outputs are independent, so that the whole tensor is checked too.
 */
static void bound_row(const struct gemm *g, struct dsv4_admission *a, int64_t m, double *row,
                      struct dsv4_ball *balls, double *variances, bool *needs) {
    const char *const from = gemm_row(&g->a, m, g->group);
    const struct dsv4_row to = {OUT,
                                gemm_row(&g->out, m, g->group) - (char *)g->out.data,
                                dsv4_dtype_bytes(g->out.dtype),
                                dsv4_form_of(a, OUT),
                                g->n,
                                1};
    const bool any = dsv4_admit_needs(a, &to, needs);
    for (int64_t k = 0; k < g->k && any; k++) row[k] = (double)factor(g, &g->a, from, k);
    for (int64_t n = 0; n < g->n; n++) variances[n] = g->rounded ? 0 : 1;
    for (int64_t n = 0; n < g->n && any; n++) {
        const char *const weight = gemm_weight(&g->b, n, g->group);
        balls[n] = DSV4_BALL_UNKNOWN;
        if (!needs[n]) continue;
        struct dsv4_terms terms = {0};
        for (int64_t k = 0; k < g->k; k++)
            dsv4_terms_add(&terms, row[k] * (double)factor(g, &g->b, weight, k), 0);
        balls[n] = dsv4_ball_sum(&a->arithmetic, DSV4_SUM_DOT, &terms);
        variances[n] = dsv4_sum_variance(&a->arithmetic, DSV4_SUM_DOT, &terms);
        if (g->rounded) balls[n] = dsv4_ball_bf16(balls[n]);
        if (g->rounded) variances[n] = 0;
    }
    dsv4_admit(a, &to, any ? balls : NULL, variances);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    struct gemm g = gemm_of(call, GEMM_RIGHT);
    const int64_t groups = g.a.ndim == 3 ? g.a.shape[1] : 1;
    for (g.group = 0; g.group < groups; g.group++) {
#pragma omp parallel
        {
            double *const row = dsv4_alloc((size_t)(g.k + 1) * sizeof *row);
            double *const variances = dsv4_alloc((size_t)(g.n + 1) * sizeof *variances);
            struct dsv4_ball *const balls = dsv4_alloc((size_t)(g.n + 1) * sizeof *balls);
            bool *const needs = dsv4_alloc((size_t)(g.n + 1) * sizeof *needs);
#pragma omp for schedule(dynamic)
            for (int64_t m = 0; m < g.m; m++) bound_row(&g, a, m, row, balls, variances, needs);
            dsv4_free(needs);
            dsv4_free(balls);
            dsv4_free(variances);
            dsv4_free(row);
        }
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    gemm_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct dsv4_case_tensor *const out = &c->tensors[OUT];
    work->bytes_read =
        (double)(dsv4_packed_bytes(&c->tensors[A]) + dsv4_packed_bytes(&c->tensors[B]));
    work->bytes_written = (double)dsv4_packed_bytes(out);
    work->fmas = work->bytes_written / (double)dsv4_dtype_bytes(out->t.dtype) *
                 (double)dsv4_case_int(c, "k");
}

const struct dsv4_op dsv4_op_gemm_bf16 = {
    .name = "gemm_bf16",
    .summary = "bf16 or fp32 by bf16 or fp32 in blocks of 128, also grouped",
    .source = "DeepSeek inference/model.py; vLLM GateLinear, rocm_inv_rope_einsum",
    .bound = bound,
    .latitude = "one-chain blocks-of-64 descending products-rounded summed-exactly",
    DSV4_OP_PARTS,
};
