/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_mqa_logits: scores of keys for rows of prefill queries. Row m sees keys ks[m] <= n < ke[m]:
 *   out[m, n] = kscale[n] * sum over heads of w[m, h] * relu(q[m, h] . k[n])
 * Rounding points: the exact dot, once; each fma and sum of the tree over heads; the product; with bf16 logits
 * the logit (idx_logits.h).
 * A ke beyond the keys counts as their number; where ke is at or before ks, there is no key. Domain: ks from 0 on.
 * compressed: key n of row m goes to column n - ks[m]. clean: the other columns become -inf; else they stay untouched.
 *
 * Source: DeepGEMM fp8_mqa_logits (bf16 logits too), aiter and vllm rocm fp8_mqa_logits.
 * Latitude: kernels on FP8 matrix units accumulate with fewer bits and sum heads in other orders; kernels may scale before
 * the relu, which is the same for powers of two, the only scales that writers make. Upstream writes garbage where this
 * one leaves columns untouched.
 */
#include <stdio.h>

#include "../memory.h"
#include "attn_family.h"
#include "idx_family.h"
#include "idx_logits.h"

enum { Q, K, K_SCALE, WEIGHTS, KS, KE, OUT };
enum { STREAM_K = 4 };

static const struct dsv4_param_def params[] = {
    IDX_LOGITS_PARAMS,
    DSV4_PARAM_INT("compressed", CALL, 0, 0, 1, "1: a row's first key goes to column 0"),
    DSV4_PARAM_INT("rows", INPUT, 3, 0, 1 << 20, "rows of q"),
    DSV4_PARAM_INT("keys", INPUT, 40, 1, 1 << 24, "rows of k"),
    DSV4_PARAM_TEXT("starts", INPUT, "0", "ks by turns: 0,3,~64 (~ draws up to)"),
    DSV4_PARAM_TEXT("lens", INPUT, "40", "ke - ks by turns; cut at the last key"),
    DSV4_PARAM_TEXT("ends", INPUT, "none",
                    "ke by turns that need not lie among the keys: -1,99; none: ks + lens"),
    DSV4_PARAM_INT("sparse", INPUT, 0, 0, 1 << 20,
                   "n > 0: only the first row and the last n have keys"),
};

static const struct dsv4_slot slots[] = {
    {"q",       DSV4_IN,  "[M, heads, 128] e4m3, rows strided", "queries"                     },
    {"k",       DSV4_IN,  "[N, 128] e4m3, rows strided",        "keys; NaN where nobody looks"},
    {"k_scale", DSV4_IN,  "[N] f32",                            "their scales"                },
    {"weights", DSV4_IN,  "[M, heads] f32, rows strided",       "head weights"                },
    {"ks",      DSV4_IN,  "[M] i32",                            "first key"                   },
    {"ke",      DSV4_IN,  "[M] i32",                            "key after the last"          },
    {"out",     DSV4_OUT, "[M, N] f32 or bf16, rows strided",   "logits"                      },
};

static const struct dsv4_mutant mutants[] = {
    IDX_MUTANTS_OF_SCORES,
    {"start-lost",    "keys from 0 on; a row begins at ks",                                  IDX_START_LOST},
    {"column-other",  "keys at their column where rows are compressed, or the reverse",
      IDX_COLUMN_OTHER                                                                                      },
    {"end-unclamped", "a ke beyond the keys taken as it is: the key after the last is read",
      IDX_END_UNCLAMPED                                                                                     },
};

struct plan {
    int64_t *starts, *ends;
    int32_t *given; /* ke in place of ends, or NULL */
};

/* Ranges as the op takes them. */
static int make_ranges(struct dsv4_case *c, struct plan *plan, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), keys = dsv4_case_int(c, "keys");
    const int64_t sparse = dsv4_case_int(c, "sparse");
    if ((plan->starts = attn_lengths(c, "starts", rows, 5, err)) == NULL) return -1;
    if ((plan->ends = attn_lengths(c, "lens", rows, 6, err)) == NULL) return -1;
    if (!dsv4_case_is(c, "ends", "none") &&
        (plan->given = idx_lengths(c, "ends", rows, err)) == NULL)
        return -1;
    for (int64_t m = 0; m < rows; m++) {
        const bool none = sparse > 0 && m > 0 && m < rows - sparse;
        plan->ends[m] = none ? 0 : plan->ends[m] + plan->starts[m];
        if (plan->given != NULL) plan->ends[m] = plan->given[m];
        plan->ends[m] = plan->ends[m] < keys ? plan->ends[m] : keys;
    }
    return 0;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    const int64_t rows = dsv4_case_int(c, "rows"), keys = dsv4_case_int(c, "keys");
    c->plan = plan;
    if (idx_logits_check_heads(c, err) != 0) return -1;
    if (make_ranges(c, plan, err) != 0) return -1;
    idx_logits_shape(c, Q, WEIGHTS, OUT, rows, keys);
    bool *const written = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *written);
    for (int64_t m = 0; m < rows; m++) written[m] = plan->ends[m] > plan->starts[m];
    idx_logits_spread(c, OUT, written, dsv4_case_int(c, "sparse") > 0);
    DSV4_SHAPE(c, K, c->tensors[Q].t.dtype, keys, INDEXER_HEAD);
    kv_widen(c, K, 0, 32);
    kv_shape_rows(c, K_SCALE, DSV4_F32, keys);
    kv_shape_rows(c, KS, DSV4_I32, rows);
    kv_shape_rows(c, KE, DSV4_I32, rows);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const struct plan *const plan = c->plan;
    const dsv4_tensor *const k = &c->tensors[K].t;
    const int64_t rows = dsv4_case_int(c, "rows"), keys = k->shape[0];
    unsigned char *const seen = dsv4_alloc((size_t)keys);
    idx_logits_fill(c, Q, WEIGHTS);
    for (int64_t m = 0; m < rows; m++) {
        ((int32_t *)c->tensors[KS].t.data)[m] = (int32_t)plan->starts[m];
        ((int32_t *)c->tensors[KE].t.data)[m] =
            plan->given != NULL ? plan->given[m] : (int32_t)plan->ends[m];
        for (int64_t n = plan->starts[m]; n < plan->ends[m]; n++) seen[n] = 1;
    }
    const uint8_t nan = dsv4_case_is(c, "fp8", "ocp") ? 0x7F : 0x80;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < keys; n++) {
        uint8_t *const row = (uint8_t *)k->data + n * k->stride[0];
        for (int64_t d = 0; d < INDEXER_HEAD; d++)
            row[d] = seen[n] ? idx_logits_code(c, STREAM_K, n, d) : nan;
        ((float *)c->tensors[K_SCALE].t.data)[n] =
            seen[n] ? idx_logits_scale(c, n) : dsv4_from_bits(DSV4_NAN_BITS);
    }
    dsv4_free(seen);
}

static void key_of(const struct idx_logits *logits, int64_t group, int64_t n, uint8_t *codes,
                   float *scale) {
    const dsv4_tensor *const tensors = logits->keys, *const k = &tensors[K];
    (void)group;
    memcpy(codes, (const char *)k->data + n * k->stride[0], INDEXER_HEAD);
    *scale = ((const float *)tensors[K_SCALE].data)[n];
}

const struct dsv4_op dsv4_op_idx_mqa_logits;

/* Scores the rows, or with an admission judges them. */
static int visit(const dsv4_call *call, enum idx_logits_wrong wrong, struct dsv4_admission *a,
                 struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors;
    const bool compressed = (dsv4_int(call, "compressed", 0) != 0) != (wrong == IDX_COLUMN_OTHER);
    const int64_t rows = tensors[Q].shape[0], keys = tensors[K].shape[0];
    struct idx_logits_row *const list = dsv4_alloc((size_t)(rows + 1) * sizeof *list);
    struct idx_logits logits;
    (void)err;
    idx_logits_open(&logits, call, &tensors[Q], &tensors[WEIGHTS], &tensors[OUT], wrong);
    logits.key = key_of;
    logits.keys = tensors;
    for (int64_t m = 0; m < rows; m++) {
        const int64_t start = wrong == IDX_START_LOST ? 0 : kv_i32(&tensors[KS], m);
        int64_t end = kv_i32(&tensors[KE], m);
        const int64_t most = wrong == IDX_END_UNCLAMPED ? keys + 1 : keys;
        if (wrong == IDX_END_INCLUSIVE && end < keys) end++;
        if (end > most) end = most;
        list[m] = (struct idx_logits_row){0, start, end, compressed ? start : 0};
    }
    if (a != NULL)
        idx_logits_bound(&logits, list, rows, a, OUT);
    else
        idx_logits_run(&logits, list, rows);
    dsv4_free(list);
    return DSV4_OK;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    return visit(call, idx_logits_wrong_of(&dsv4_op_idx_mqa_logits, mutant), NULL, err);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    struct dsv4_err err;
    visit(call, IDX_LOGITS_RIGHT, a, &err);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const struct plan *const plan = c->plan;
    const int64_t m = offset / c->tensors[slot].t.stride[0];
    const int64_t column = offset % c->tensors[slot].t.stride[0] / c->tensors[slot].t.stride[1];
    const int64_t key = column + (dsv4_case_int(c, "compressed") != 0 ? plan->starts[m] : 0);
    snprintf(line, size, "row %lld, key %lld of [%lld, %lld)", (long long)m, (long long)key,
             (long long)plan->starts[m], (long long)plan->ends[m]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct plan *const plan = c->plan;
    const double heads = (double)dsv4_case_int(c, "heads");
    const double rows = (double)dsv4_case_int(c, "rows"), keys = (double)dsv4_case_int(c, "keys");
    double pairs = 0;
    for (int64_t m = 0; m < dsv4_case_int(c, "rows"); m++)
        pairs += plan->ends[m] > plan->starts[m] ? (double)(plan->ends[m] - plan->starts[m]) : 0;
    work->bytes_read = rows * (heads * 132 + 8) + keys * 132;
    work->bytes_written = (double)dsv4_dtype_bytes(c->tensors[OUT].t.dtype) *
                          (dsv4_case_int(c, "clean") != 0 ? rows * keys : pairs);
    work->fmas = pairs * heads * (double)INDEXER_HEAD;
}

const struct dsv4_op dsv4_op_idx_mqa_logits = {
    .name = "idx_mqa_logits",
    .summary = "scores of keys for rows of prefill queries, exact FP8 dots",
    .source = "DeepGEMM fp8_mqa_logits; aiter and vllm rocm fp8_mqa_logits",
    .bound = bound,
    .latitude = IDX_LOGITS_LATITUDE,
    DSV4_OP_PARTS,
};
