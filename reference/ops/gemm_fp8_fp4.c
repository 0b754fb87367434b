/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_fp8_fp4: the experts' linear layers, MXFP4 weights (e2m1, a scale per 32 k, the even k in the low nibble). Rows of A
 * are sorted by expert: expert e has rows offsets[e] .. offsets[e + 1] - 1. Rows whose id is negative, and rows after the
 * last expert's, are not read and their out stays untouched.
 *   out[r, n] = bf16(acc)
 * FP8 activations, a scale per a_group k (128: DeepSeek's kernels, 32: DeepGEMM's MegaMoE): for blocks b of 32 k,
 * ascending, from acc = +0:
 *   acc = acc + (partial * a_scale[r, 32 b / a_group]) * b_scale[e, n, b]
 *   partial = the exact sum of a[r, k] * b[e, n, k] over the block
 * bf16 activations: the weight is the number code * 2^(byte - 127); blocks of 128 k, in a block one chain of fma from +0, k
 * ascending; block sums added ascending from +0.
 *
 * Rounding points: the partial, once to fp32; both products and the sum; out, once to bf16. NaN codes are not this op's
 * business.
 *
 * Source: DeepSeek fp4_gemm (inference/kernel.py), DeepGEMM fp8_fp4 grouped GEMMs, vLLM's MXFP4 experts (FP8, MXFP8 or bf16
 * activations).
 * Latitude: partials are integers of 32 bits in units of 2^-10, products and sums of powers of two are exact but for
 * subnormals; so FP8 kernels differ in the order of blocks alone, and in what their matrix units keep.
 */
#include <math.h>
#include <stdio.h>

#include "../memory.h"
#include "../num/e2m1.h"
#include "attn_family.h"
#include "gemm_bound.h"

enum { A, A_SCALE, B, B_SCALE, OFFSETS, IDS, OUT };
enum { STREAM_A = 1, STREAM_B = 2, STREAM_A_SCALE = 3, STREAM_B_SCALE = 4, STREAM_ROWS = 5 };

static const struct dsv4_param_def params[] = {
    GEMM_FP8_PARAM,
    DSV4_PARAM_INT("a_group", CALL, 128, 32, 128, "k under one scale of FP8 A: 128 or 32"),
    DSV4_PARAM_NAME("a_scales", CALL, "f32", GEMM_SCALE_FORMS,
                    "scales of A: f32 [M, K/g]; f32 [K/g, M padded to 4]; i32 [K/g/4, M padded to "
                    "4] of four bytes; bytes [M, K/g]"),
    DSV4_PARAM_NAME("a_dtype", INPUT, "fp8", "fp8 bf16", "of A"),
    DSV4_PARAM_INT("experts", INPUT, 4, 1, 1024, "experts"),
    DSV4_PARAM_TEXT("rows", INPUT, "1", "rows of the experts by turns: 3,0,~8 (~ draws up to)"),
    DSV4_PARAM_INT("align", INPUT, 1, 1, 256, "experts' rows padded to multiples, with ids of -1"),
    DSV4_PARAM_INT("holes", INPUT, 0, 0, 1, "1: every third row has the id -1"),
    DSV4_PARAM_INT("ids", INPUT, 0, 0, 1, "1: rows have ids"),
    DSV4_PARAM_INT("capacity", INPUT, 0, 0, 1 << 20, "rows of A and out, if more than needed"),
    DSV4_PARAM_INT("live", INPUT, 0, 0, 1, "1: only experts with rows have weights"),
    DSV4_PARAM_INT("n", INPUT, 24, 1, 1 << 20, "rows of a weight"),
    DSV4_PARAM_INT("k", INPUT, 256, 32, 1 << 20, "columns of both"),
    GEMM_CODES_PARAM,
    GEMM_SCALES_PARAM,
    GEMM_VIEW_PARAM,
};

static const struct dsv4_slot slots[] = {
    {"a",       DSV4_IN,  "[M, K] e4m3 or bf16, rows strided", "activations, by expert"   },
    {"a_scale", DSV4_IN,  "as a_scales says; absent for bf16", "their scales"             },
    {"b",       DSV4_IN,  "[E, N, K/2] u8, rows strided",      "weights, two codes a byte"},
    {"b_scale", DSV4_IN,  "[E, N, K/32] e8m0, rows strided",   "their scales"             },
    {"offsets", DSV4_IN,  "[E + 1] i32",                       "first row of every expert"},
    {"ids",     DSV4_IN,  "[M] i32, optional",                 "expert of a row, or -1"   },
    {"out",     DSV4_OUT, "[M, N] bf16, rows strided",         "the product"              },
};

static const struct dsv4_mutant mutants[] = {
    {"a-scale-neighbour",    "scale of the next group of A",                                     GEMM_A_SCALE_NEIGHBOUR },
    {"b-scale-neighbour",    "scale of the next 32 k of the weight",                             GEMM_B_SCALE_NEIGHBOUR },
    {"a-scale-other-layout", "scales of A read row by row where they lie group by group, or so",
     GEMM_A_SCALE_OTHER_LAYOUT                                                                                          },
    {"a-group-other",        "a scale of A per 32 k where it is per 128, or the reverse",
     GEMM_A_GROUP_OTHER                                                                                                 },
    {"b-group-128",          "one scale of the weight per 128 k; it is per 32",                  GEMM_GROUP_128         },
    {"scale-as-number",      "scale byte multiplied as an integer; it is an exponent",
     GEMM_SCALE_AS_NUMBER                                                                                               },
    {"scale-byte-zero",      "scale byte 0 shifted into the exponent: 0; it is 2^-127",
     GEMM_SCALE_BYTE_ZERO                                                                                               },
    {"scale-bytes-reversed", "first byte highest in a packed word; it is lowest",
     GEMM_SCALE_BYTES_REVERSED                                                                                          },
    {"fused",                "scaled partial added by fma; it is rounded first",                 GEMM_ADDED             },
    {"partial-fp32",         "partial summed in fp32; it is exact, then rounded once",           GEMM_PARTIAL_FP32      },
    {"partial-14-bits",      "partial summed with 14 bits, as FP8 matrix units do",
     GEMM_PARTIAL_14_BITS                                                                                               },
    {"partial-of-128",       "128 k summed under one scale",                                     GEMM_SCALE_LAST        },
    {"acc-bf16",             "sum over blocks kept in bf16; it is fp32",                         GEMM_ACC_BF16          },
    {"one-chain",            "bf16 A: one chain over all of K; the canon has blocks of 128",     GEMM_ONE_CHAIN         },
    {"scaled-sums",          "bf16 A: sums of 32 codes scaled; the weights are",                 GEMM_SCALED_SUMS       },
    {"descending",           "blocks added from the last to the first",                          GEMM_DESCENDING        },
    {"last-block-dropped",   "last 32 k not added",                                              GEMM_LAST_BLOCK_DROPPED},
    {"nibbles-swapped",      "even k in the high nibble; it is the low one",                     GEMM_NIBBLES_SWAPPED   },
    {"fp8-mixed",            "codes of one dialect read as the other",                           GEMM_FP8_MIXED         },
    {"expert-next",          "the next expert's weight",                                         GEMM_EXPERT_NEXT       },
    {"offset-by-one",        "every expert's rows start and end one later",                      GEMM_OFFSET_BY_ONE     },
    {"padding-written",      "rows of id -1 computed and written",                               GEMM_PADDING_WRITTEN   },
    {"padding-ends",         "an expert ends at its first row of id -1",                         GEMM_PADDING_ENDS      },
    {"across-experts",       "sums go on from those of the expert before",                       GEMM_ACROSS_EXPERTS    },
    {"a-dense",              "rows of A taken as contiguous; they have a stride",                GEMM_A_DENSE           },
    {"b-dense",              "rows of the weight taken as contiguous; they have a stride",       GEMM_B_DENSE           },
    {"out-dense",            "rows of out taken as contiguous; they have a stride",              GEMM_OUT_DENSE         },
    {"out-truncated",        "bf16 cut off; it is rounded to nearest even",                      GEMM_OUT_TRUNCATED     },
};

struct plan {
    int64_t *rows, *live;
    int64_t n_live, m;
};

/* ---- the case ---- */

static int64_t aligned(const struct dsv4_case *c, int64_t rows) {
    const int64_t align = dsv4_case_int(c, "align");
    return gemm_ceil(rows, align) * align;
}

static int make_plan(struct dsv4_case *c, struct dsv4_err *err) {
    struct plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    const int64_t experts = dsv4_case_int(c, "experts"), capacity = dsv4_case_int(c, "capacity");
    c->plan = plan;
    if ((plan->rows = attn_lengths(c, "rows", experts, STREAM_ROWS, err)) == NULL) return -1;
    plan->live = dsv4_case_alloc(c, (size_t)experts * sizeof *plan->live);
    for (int64_t e = 0; e < experts; e++) {
        plan->m += aligned(c, plan->rows[e]);
        if (plan->rows[e] > 0) plan->live[plan->n_live++] = e;
    }
    if (capacity > 0 && capacity < plan->m)
        return dsv4_fail(err, "capacity: %lld; %lld rows are needed", (long long)capacity,
                         (long long)plan->m);
    plan->m = capacity > 0 ? capacity : plan->m;
    if (dsv4_case_int(c, "ids") == 0 &&
        (dsv4_case_int(c, "align") > 1 || dsv4_case_int(c, "holes") != 0))
        return dsv4_fail(err, "ids: 0; padding inside of experts needs ids");
    return 0;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t n = dsv4_case_int(c, "n"), k = dsv4_case_int(c, "k");
    const int64_t experts = dsv4_case_int(c, "experts"), group = dsv4_case_int(c, "a_group");
    const bool bf16 = dsv4_case_is(c, "a_dtype", "bf16");
    if (k % 32 != 0) return dsv4_fail(err, "k: %lld; a multiple of 32", (long long)k);
    if (group != 32 && group != 128) return dsv4_fail(err, "a_group: 32 or 128");
    if (make_plan(c, err) != 0) return -1;
    const struct plan *const plan = c->plan;
    gemm_shape_rows(c, A,
                    bf16                            ? DSV4_BF16
                    : dsv4_case_is(c, "fp8", "ocp") ? DSV4_E4M3FN
                                                    : DSV4_E4M3FNUZ,
                    plan->m, k);
    if (bf16)
        dsv4_absent(c, A_SCALE);
    else if (gemm_shape_scales(c, A_SCALE, dsv4_case_word(c, "a_scales"), plan->m,
                               gemm_ceil(k, group), false, err) != 0)
        return -1;
    DSV4_SHAPE(c, B, DSV4_U8, experts, n, k / 2);
    gemm_widen(c, B, 1, 16);
    gemm_widen(c, B, 0, 64);
    DSV4_SHAPE(c, B_SCALE, DSV4_E8M0, experts, n, k / 32);
    gemm_widen(c, B_SCALE, 1, 4);
    gemm_widen(c, B_SCALE, 0, 12);
    c->tensors[B_SCALE].align = 1;
    if (dsv4_case_int(c, "live") != 0) {
        dsv4_live_rows(c, B, plan->live, plan->n_live);
        dsv4_live_rows(c, B_SCALE, plan->live, plan->n_live);
    }
    DSV4_SHAPE(c, OFFSETS, DSV4_I32, experts + 1);
    DSV4_SHAPE(c, IDS, DSV4_I32, plan->m);
    if (dsv4_case_int(c, "ids") == 0) dsv4_absent(c, IDS);
    c->tensors[OFFSETS].align = c->tensors[IDS].align = 4;
    gemm_shape_rows(c, OUT, DSV4_BF16, plan->m, n);
    c->tensors[OUT].align = 2;
    return 0;
}

static bool opposes(const struct dsv4_case *c) {
    const char word = dsv4_case_word(c, "codes")[0];
    return word == 'o' || word == 'h';
}

static uint8_t nibble(const struct dsv4_case *c, int64_t row, int64_t k) {
    static const uint8_t some[] = {0, 2, 11, 5};
    const char *const word = dsv4_case_word(c, "codes");
    const int64_t twin = opposes(c) ? k & ~INT64_C(256) : k;
    const uint64_t bits = dsv4_random(c->seed, STREAM_B, (uint64_t)row << 20 | (uint64_t)twin);
    if (word[0] == 'h') return (uint8_t)(4 + (bits >> 62));
    if (word[0] == 's') return bits >> 61 == 0 ? some[bits >> 59 & 3] : 0;
    return word[0] == 'f' ? some[bits >> 62] : (uint8_t)(bits >> 60);
}

static void fill_weights(const struct dsv4_case *c) {
    const struct plan *const plan = c->plan;
    const dsv4_tensor *const b = &c->tensors[B].t, *const s = &c->tensors[B_SCALE].t;
    const bool live = dsv4_case_int(c, "live") != 0, tiny = dsv4_case_is(c, "scales", "tiny");
    const bool opposed = opposes(c), one = dsv4_case_is(c, "scales", "one");
    const int64_t n_experts = live ? plan->n_live : b->shape[0], n = b->shape[1];
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_experts * n; i++) {
        const int64_t e = live ? plan->live[i / n] : i / n, row = e * n + i % n;
        uint8_t *const codes = (uint8_t *)b->data + e * b->stride[0] + i % n * b->stride[1];
        uint8_t *const scales = (uint8_t *)s->data + e * s->stride[0] + i % n * s->stride[1];
        for (int64_t k = 0; k < b->shape[2]; k++)
            codes[k] = (uint8_t)(nibble(c, row, 2 * k) | nibble(c, row, 2 * k + 1) << 4);
        for (int64_t k = 0; k < s->shape[2]; k++) {
            const int64_t twin = opposed ? k & ~INT64_C(8) : k;
            const uint64_t bits =
                dsv4_random(c->seed, STREAM_B_SCALE, (uint64_t)row << 20 | (uint64_t)twin);
            scales[k] = (uint8_t)(one    ? 127
                                  : tiny ? dsv4_below(bits, 4)
                                         : 118 + dsv4_below(bits, 8));
        }
    }
}

static float bf16_value(const struct dsv4_case *c, int64_t r, int64_t k) {
    const bool few = dsv4_case_word(c, "codes")[0] == 'f', opposed = opposes(c);
    const int64_t at = few ? k % 37 : opposed ? k & ~INT64_C(256) : k;
    const float x = dsv4_normal(dsv4_random(c->seed, STREAM_A, (uint64_t)r << 20 | (uint64_t)at));
    if (!opposed) return x;
    return ((k & 256) != 0 ? -x : x) * ((k & 128) != 0 ? 0.0001f : 1.0f);
}

static void fill_a(const struct dsv4_case *c, const int32_t *ids) {
    const dsv4_tensor *const a = &c->tensors[A].t;
    const bool bf16 = a->dtype == DSV4_BF16;
    const uint8_t nan = dsv4_case_is(c, "fp8", "ocp") ? 0x7F : 0x80;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < a->shape[0]; r++) {
        char *const row = (char *)a->data + r * a->stride[0];
        for (int64_t k = 0; k < a->shape[1]; k++)
            if (bf16)
                ((uint16_t *)(void *)row)[k] =
                    ids[r] >= 0 ? dsv4_bf16_from_f32(bf16_value(c, r, k)) : 0x7FC0;
            else
                row[k] = (char)(ids[r] >= 0 ? gemm_code(c, STREAM_A, r, k) : nan);
    }
}

static void fill(struct dsv4_case *c) {
    const struct plan *const plan = c->plan;
    const int64_t experts = dsv4_case_int(c, "experts"), k = dsv4_case_int(c, "k");
    int32_t *const offsets = c->tensors[OFFSETS].t.data;
    int32_t *const ids = dsv4_alloc((size_t)(plan->m + 1) * sizeof *ids);
    int64_t at = 0;
    for (int64_t r = 0; r < plan->m; r++) ids[r] = -1;
    for (int64_t e = 0; e < experts; e++) {
        offsets[e] = (int32_t)at;
        for (int64_t i = 0; i < plan->rows[e]; i++)
            if (dsv4_case_int(c, "holes") == 0 || (at + i) % 3 != 1) ids[at + i] = (int32_t)e;
        at += aligned(c, plan->rows[e]);
    }
    offsets[experts] = (int32_t)at;
    if (dsv4_case_int(c, "ids") != 0)
        memcpy(c->tensors[IDS].t.data, ids, (size_t)plan->m * sizeof *ids);
    fill_a(c, ids);
    fill_weights(c);
    if (!dsv4_case_is(c, "a_dtype", "bf16"))
        gemm_fill_scales(c, A_SCALE, dsv4_case_word(c, "a_scales"), plan->m,
                         gemm_ceil(k, dsv4_case_int(c, "a_group")), true, STREAM_A_SCALE);
    dsv4_free(ids);
}

/* ---- what both activations share ---- */

struct gemm {
    dsv4_tensor a, b, b_scale, out;
    struct gemm_scales a_scale, bytes;
    const int32_t *offsets, *ids;
    int64_t m, n, k, experts, a_group, given_group;
    bool bf16;
    enum gemm_wrong wrong;
    double values[256];
    float codes[16];
};

struct rows { /* of one expert, those that count */
    int64_t expert, n, row[GEMM_CHUNK];
};

static float weight_code(const struct gemm *g, int64_t e, int64_t n, int64_t k) {
    if (g->wrong == GEMM_EXPERT_NEXT) e = (e + 1) % g->experts;
    const uint8_t byte = ((const uint8_t *)gemm_weight(&g->b, n, e))[k / 2];
    const bool high = (k % 2 == 1) != (g->wrong == GEMM_NIBBLES_SWAPPED);
    return g->codes[high ? byte >> 4 : byte & 15];
}

/* An even number of codes from an even k on. */
static void weight_codes(const struct gemm *g, float *codes, int64_t e, int64_t n, int64_t first,
                         int64_t count) {
    if (g->wrong != GEMM_RIGHT) {
        for (int64_t k = 0; k < count; k++) codes[k] = weight_code(g, e, n, first + k);
        return;
    }
    const uint8_t *const bytes = (const uint8_t *)gemm_weight(&g->b, n, e) + first / 2;
    for (int64_t k = 0; k < count / 2; k++) {
        codes[2 * k] = g->codes[bytes[k] & 15];
        codes[2 * k + 1] = g->codes[bytes[k] >> 4];
    }
}

static float weight_scale(const struct gemm *g, int64_t e, int64_t n, int64_t block) {
    const int64_t blocks = g->k / GEMM_GROUP;
    if (g->wrong == GEMM_EXPERT_NEXT) e = (e + 1) % g->experts;
    if (g->wrong == GEMM_B_SCALE_NEIGHBOUR) block = (block + 1) % blocks;
    if (g->wrong == GEMM_GROUP_128) block -= block % 4;
    return gemm_scale(&g->bytes, e, n, block);
}

static float row_scale(const struct gemm *g, int64_t row, int64_t block) {
    const int64_t groups = gemm_ceil(g->k, g->given_group);
    int64_t group = block * GEMM_GROUP / g->a_group;
    if (g->wrong == GEMM_A_SCALE_NEIGHBOUR) group++;
    return gemm_scale(&g->a_scale, 0, row, group % groups);
}

static void put(const struct gemm *g, int64_t row, int64_t column, float x) {
    const uint16_t code =
        g->wrong == GEMM_OUT_TRUNCATED ? (uint16_t)(dsv4_bits(x) >> 16) : dsv4_bf16_from_f32(x);
    ((uint16_t *)(void *)gemm_row(&g->out, row, 0))[column] = code;
}

/* ---- FP8 ---- */

static void fp8_columns(const struct gemm *g, const double *a, const struct rows *rows,
                        int64_t column) {
    const int64_t tiles = gemm_ceil(rows->n, GEMM_ROWS);
    float *const acc = dsv4_alloc((size_t)(tiles * GEMM_ROWS * GEMM_COLUMNS) * sizeof *acc);
    double b[GEMM_GROUP * GEMM_COLUMNS], sum[GEMM_ROWS * GEMM_COLUMNS];
    float b_scale[GEMM_COLUMNS], a_scale[GEMM_ROWS], codes[GEMM_GROUP];
    for (int64_t block = 0; block < g->k / GEMM_GROUP; block++) {
        for (int64_t j = 0; j < GEMM_COLUMNS; j++) {
            const int64_t n = column + j < g->n ? column + j : column;
            b_scale[j] = weight_scale(g, rows->expert, n, block);
            weight_codes(g, codes, rows->expert, n, block * GEMM_GROUP, GEMM_GROUP);
            for (int64_t k = 0; k < GEMM_GROUP; k++) b[k * GEMM_COLUMNS + j] = (double)codes[k];
        }
        for (int64_t t = 0; t < tiles; t++) {
            float *const to = acc + t * GEMM_ROWS * GEMM_COLUMNS;
            gemm_exact(sum, a + (t * g->k + block * GEMM_GROUP) * GEMM_ROWS, b, GEMM_GROUP);
            for (int64_t i = 0; i < GEMM_ROWS; i++) {
                const int64_t r = t * GEMM_ROWS + i;
                a_scale[i] = r < rows->n ? row_scale(g, rows->row[r], block) : 0.0f;
            }
            for (int i = 0; i < GEMM_ROWS; i++)
#pragma omp simd
                for (int j = 0; j < GEMM_COLUMNS; j++) {
                    const float partial = (float)sum[i * GEMM_COLUMNS + j];
                    to[i * GEMM_COLUMNS + j] += partial * a_scale[i] * b_scale[j];
                }
        }
    }
    for (int64_t r = 0; r < rows->n; r++)
        for (int64_t j = 0; j < GEMM_COLUMNS && column + j < g->n; j++)
            put(g, rows->row[r], column + j, acc[r * GEMM_COLUMNS + j]);
    dsv4_free(acc);
}

static void fp8_rows(const struct gemm *g, const struct rows *rows) {
    const int64_t tiles = gemm_ceil(rows->n, GEMM_ROWS);
    double *const a = dsv4_alloc((size_t)(tiles * GEMM_ROWS * g->k) * sizeof *a);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows->n; r++) {
            const uint8_t *const from = (const uint8_t *)gemm_row(&g->a, rows->row[r], 0);
            double *const to = a + r / GEMM_ROWS * GEMM_ROWS * g->k + r % GEMM_ROWS;
            for (int64_t k = 0; k < g->k; k++) to[k * GEMM_ROWS] = g->values[from[k]];
        }
#pragma omp for schedule(dynamic)
        for (int64_t column = 0; column < g->n; column += GEMM_COLUMNS)
            fp8_columns(g, a, rows, column);
    }
    dsv4_free(a);
}

/* ---- bf16 ---- */

static void bf16_columns(const struct gemm *g, const float *a, const struct rows *rows,
                         int64_t column) {
    const int64_t tiles = gemm_ceil(rows->n, GEMM_ROWS);
    float *const acc = dsv4_alloc((size_t)(tiles * GEMM_ROWS * GEMM_CHAINS) * sizeof *acc);
    float *const b = dsv4_alloc(GEMM_BLOCK * GEMM_CHAINS * sizeof *b);
    float codes[GEMM_BLOCK];
    for (int64_t first = 0; first < g->k; first += GEMM_BLOCK) {
        const int64_t size = g->k - first < GEMM_BLOCK ? g->k - first : GEMM_BLOCK;
        for (int64_t j = 0; j < GEMM_CHAINS; j++) {
            const int64_t n = column + j < g->n ? column + j : column;
            weight_codes(g, codes, rows->expert, n, first, size);
            for (int64_t k = 0; k < size; k += GEMM_GROUP) {
                const float scale = weight_scale(g, rows->expert, n, (first + k) / GEMM_GROUP);
                for (int64_t i = k; i < k + GEMM_GROUP; i++)
                    b[i * GEMM_CHAINS + j] = codes[i] * scale;
            }
        }
        for (int64_t t = 0; t < tiles; t++)
            gemm_add_chains(acc + t * GEMM_ROWS * GEMM_CHAINS, a + (t * g->k + first) * GEMM_ROWS,
                            b, size);
    }
    for (int64_t r = 0; r < rows->n; r++)
        for (int64_t j = 0; j < GEMM_CHAINS && column + j < g->n; j++)
            put(g, rows->row[r], column + j, acc[r * GEMM_CHAINS + j]);
    dsv4_free(b);
    dsv4_free(acc);
}

static void bf16_rows(const struct gemm *g, const struct rows *rows) {
    const int64_t tiles = gemm_ceil(rows->n, GEMM_ROWS);
    float *const a = dsv4_alloc((size_t)(tiles * GEMM_ROWS * g->k) * sizeof *a);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t r = 0; r < rows->n; r++) {
            const uint16_t *const from =
                (const uint16_t *)(const void *)gemm_row(&g->a, rows->row[r], 0);
            float *const to = a + r / GEMM_ROWS * GEMM_ROWS * g->k + r % GEMM_ROWS;
            for (int64_t k = 0; k < g->k; k++) to[k * GEMM_ROWS] = dsv4_bf16_to_f32(from[k]);
        }
#pragma omp for schedule(dynamic)
        for (int64_t column = 0; column < g->n; column += GEMM_CHAINS)
            bf16_columns(g, a, rows, column);
    }
    dsv4_free(a);
}

/* ---- element by element, as wrong kernels do ---- */

static float wrong_fp8(const struct gemm *g, int64_t e, int64_t row, int64_t n, float acc) {
    const uint8_t *const a = (const uint8_t *)gemm_row(&g->a, row, 0);
    const enum gemm_wrong wrong = g->wrong;
    const int64_t size = wrong == GEMM_SCALE_LAST ? GEMM_BLOCK : GEMM_GROUP;
    const int64_t blocks = gemm_ceil(g->k, size) - (wrong == GEMM_LAST_BLOCK_DROPPED);
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t block = wrong == GEMM_DESCENDING ? blocks - 1 - i : i;
        double exact = 0.0;
        float sum = 0.0f;
        for (int64_t k = block * size; k < (block + 1) * size && k < g->k; k++) {
            const double product = g->values[a[k]] * (double)weight_code(g, e, n, k);
            exact += product;
            sum = (float)((double)sum + product);
            if (wrong == GEMM_PARTIAL_14_BITS)
                sum = dsv4_from_bits(dsv4_bits(sum) & ~UINT32_C(0x3FF));
        }
        const bool inexact = wrong == GEMM_PARTIAL_FP32 || wrong == GEMM_PARTIAL_14_BITS;
        const float partial = inexact ? sum : (float)exact;
        const float x = row_scale(g, row, block * size / GEMM_GROUP);
        const float y = weight_scale(g, e, n, block * size / GEMM_GROUP);
        acc = wrong == GEMM_ADDED ? fmaf(partial, x * y, acc) : acc + partial * x * y;
        if (wrong == GEMM_ACC_BF16) acc = dsv4_bf16_to_f32(dsv4_bf16_from_f32(acc));
    }
    return acc;
}

static float wrong_bf16(const struct gemm *g, int64_t e, int64_t row, int64_t n, float acc) {
    const uint16_t *const a = (const uint16_t *)(const void *)gemm_row(&g->a, row, 0);
    const enum gemm_wrong wrong = g->wrong;
    const int64_t size = wrong == GEMM_ONE_CHAIN     ? g->k
                         : wrong == GEMM_SCALED_SUMS ? GEMM_GROUP
                                                     : GEMM_BLOCK;
    const int64_t end = wrong == GEMM_LAST_BLOCK_DROPPED ? g->k - GEMM_GROUP : g->k;
    const int64_t blocks = gemm_ceil(end, size);
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t block = wrong == GEMM_DESCENDING ? blocks - 1 - i : i;
        float sum = 0.0f;
        for (int64_t k = block * size; k < (block + 1) * size && k < end; k++) {
            const float scale = weight_scale(g, e, n, k / GEMM_GROUP);
            const float code = weight_code(g, e, n, k);
            sum =
                fmaf(dsv4_bf16_to_f32(a[k]), wrong == GEMM_SCALED_SUMS ? code : code * scale, sum);
        }
        acc += wrong == GEMM_SCALED_SUMS ? sum * weight_scale(g, e, n, block) : sum;
        if (wrong == GEMM_ACC_BF16) acc = dsv4_bf16_to_f32(dsv4_bf16_from_f32(acc));
    }
    return acc;
}

static bool by_element(enum gemm_wrong wrong) {
    return wrong == GEMM_ADDED || wrong == GEMM_PARTIAL_FP32 || wrong == GEMM_PARTIAL_14_BITS ||
           wrong == GEMM_SCALE_LAST || wrong == GEMM_ACC_BF16 || wrong == GEMM_ONE_CHAIN ||
           wrong == GEMM_SCALED_SUMS || wrong == GEMM_DESCENDING ||
           wrong == GEMM_LAST_BLOCK_DROPPED || wrong == GEMM_ACROSS_EXPERTS;
}

/* carry: the sums that the rows before ended with. */
static void elements(const struct gemm *g, const struct rows *rows, float *carry) {
    for (int64_t n = 0; n < g->n; n++) {
        const float start = g->wrong == GEMM_ACROSS_EXPERTS ? carry[n] : 0.0f;
        for (int64_t i = 0; i < rows->n; i++) {
            const int64_t row = rows->row[i];
            carry[n] = g->bf16 ? wrong_bf16(g, rows->expert, row, n, start)
                               : wrong_fp8(g, rows->expert, row, n, start);
            put(g, row, n, carry[n]);
        }
    }
}

/* ---- experts ---- */

static void multiply(const struct gemm *g, const struct rows *rows, float *carry) {
    if (rows->n == 0) return;
    if (by_element(g->wrong))
        elements(g, rows, carry);
    else if (g->bf16)
        bf16_rows(g, rows);
    else
        fp8_rows(g, rows);
}

static void expert(const struct gemm *g, int64_t e, struct rows *rows, float *carry) {
    const int64_t shift = g->wrong == GEMM_OFFSET_BY_ONE;
    int64_t end = g->offsets[e + 1] + shift;
    end = end < g->m ? end : g->m;
    rows->expert = e;
    rows->n = 0;
    for (int64_t r = g->offsets[e] + shift; r < end; r++) {
        const bool padding = g->ids != NULL && g->ids[r] < 0;
        if (padding && g->wrong == GEMM_PADDING_ENDS) break;
        if (padding && g->wrong != GEMM_PADDING_WRITTEN) continue;
        rows->row[rows->n++] = r;
        if (rows->n < GEMM_CHUNK) continue;
        multiply(g, rows, carry);
        rows->n = 0;
    }
    multiply(g, rows, carry);
}

const struct dsv4_op dsv4_op_gemm_fp8_fp4;

static struct gemm gemm_of(const dsv4_call *call, enum gemm_wrong wrong) {
    const dsv4_tensor *const tensors = call->tensors;
    const bool ocp = dsv4_is(call, "fp8", "ocp") != (wrong == GEMM_FP8_MIXED);
    struct gemm g = {.a = tensors[A], .b = tensors[B], .out = tensors[OUT], .wrong = wrong};
    if (wrong == GEMM_A_DENSE) g.a = gemm_dense(&g.a);
    if (wrong == GEMM_B_DENSE) g.b = gemm_dense(&g.b);
    if (wrong == GEMM_OUT_DENSE) g.out = gemm_dense(&g.out);
    g.offsets = tensors[OFFSETS].data;
    g.ids = tensors[IDS].ndim > 0 ? tensors[IDS].data : NULL;
    g.m = g.a.shape[0];
    g.n = g.b.shape[1];
    g.k = g.a.shape[1];
    g.experts = g.b.shape[0];
    g.bf16 = g.a.dtype == DSV4_BF16;
    g.given_group = g.a_group = dsv4_int(call, "a_group", 128);
    if (wrong == GEMM_A_GROUP_OTHER) g.a_group = g.a_group == 128 ? 32 : 128;
    gemm_scales_open(&g.bytes, &tensors[B_SCALE], "e8m0", true, wrong);
    if (!g.bf16)
        gemm_scales_open(&g.a_scale, &tensors[A_SCALE], dsv4_find_param(call, "a_scales")->s, false,
                         wrong);
    for (int code = 0; code < 256; code++)
        g.values[code] = (double)dsv4_fp8_to_f32((uint8_t)code, ocp ? DSV4_OCP : DSV4_FNUZ240);
    for (int code = 0; code < 16; code++) g.codes[code] = dsv4_e2m1_to_f32((uint8_t)code);
    return g;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const struct gemm g = gemm_of(call, gemm_wrong_of(&dsv4_op_gemm_fp8_fp4, mutant));
    struct rows *const rows = dsv4_alloc(sizeof *rows);
    (void)err;
    float *const carry = dsv4_alloc((size_t)g.n * sizeof *carry);
    for (int64_t e = 0; e < g.experts; e++) expert(&g, e, rows, carry);
    dsv4_free(carry);
    dsv4_free(rows);
    return DSV4_OK;
}

/* gemm_bound.c; errors of different outputs are independent of each other, so the whole tensor is checked too. */
static void bound_row(const struct gemm *g, struct dsv4_admission *a, int64_t e, int64_t r,
                      struct dsv4_ball *balls, double *variances) {
    const enum dsv4_sum_kind kind = g->bf16 ? DSV4_SUM_DOT : DSV4_SUM_FP8;
    const char *const row = gemm_row(&g->a, r, 0);
    const struct dsv4_row to = {
        OUT, gemm_row(&g->out, r, 0) - (char *)g->out.data, 2, DSV4_AS_BF16, g->n, 1};
    for (int64_t n = 0; n < g->n; n++) {
        struct gemm_dot dot = {0};
        variances[n] = 1;
        if (dsv4_admit_same(a, &to, n, 1)) continue;
        for (int64_t block = 0; block < g->k / GEMM_GROUP; block++) {
            double x[GEMM_GROUP], y[GEMM_GROUP];
            for (int64_t i = 0; i < GEMM_GROUP; i++) {
                const int64_t k = block * GEMM_GROUP + i;
                x[i] = g->bf16 ? (double)dsv4_bf16_to_f32(((const uint16_t *)(const void *)row)[k])
                               : g->values[((const uint8_t *)row)[k]];
                y[i] = (double)weight_code(g, e, n, k);
            }
            gemm_dot_add(&dot, x, y, GEMM_GROUP, g->bf16 ? 1.0 : (double)row_scale(g, r, block),
                         (double)weight_scale(g, e, n, block));
        }
        balls[n] = gemm_dot_ball(&dot, &a->arithmetic, kind, &variances[n]);
    }
    dsv4_admit(a, &to, balls, variances);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const struct gemm g = gemm_of(call, GEMM_RIGHT);
    for (int64_t e = 0; e < g.experts; e++) {
#pragma omp parallel
        {
            double *const variances = dsv4_alloc((size_t)(g.n + 1) * sizeof *variances);
            struct dsv4_ball *const balls = dsv4_alloc((size_t)(g.n + 1) * sizeof *balls);
#pragma omp for schedule(dynamic)
            for (int64_t r = g.offsets[e]; r < g.offsets[e + 1]; r++)
                if (g.ids == NULL || g.ids[r] >= 0) bound_row(&g, a, e, r, balls, variances);
            dsv4_free(balls);
            dsv4_free(variances);
        }
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    gemm_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct plan *const plan = c->plan;
    const double n = (double)dsv4_case_int(c, "n"), k = (double)dsv4_case_int(c, "k");
    double rows = 0;
    for (int64_t e = 0; e < dsv4_case_int(c, "experts"); e++) rows += (double)plan->rows[e];
    work->bytes_read = rows * k * (dsv4_case_is(c, "a_dtype", "bf16") ? 2 : 1) +
                       (double)plan->n_live * n * k * (0.5 + 1.0 / 32);
    work->bytes_written = rows * n * 2;
    /* Exact sums are of binary64, which a vector holds half as many of. */
    work->fmas = rows * n * k * (dsv4_case_is(c, "a_dtype", "bf16") ? 1 : 2);
}

const struct dsv4_op dsv4_op_gemm_fp8_fp4 = {
    .name = "gemm_fp8_fp4",
    .summary = "experts: FP8 or bf16 rows, sorted by expert, by MXFP4 weights",
    .source = "DeepSeek fp4_gemm; DeepGEMM grouped fp8_fp4; vLLM MXFP4 experts",
    .bound = bound,
    .latitude =
        "fused partial-fp32 one-chain scaled-sums descending partial-14-bits@TC13-PROMOTE128",
    DSV4_OP_PARTS,
};
