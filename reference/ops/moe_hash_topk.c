/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_hash_topk: the experts of the first layers' tokens, by a table; their weights from gate logits.
 *
 *   ids[t, k] = tid2eid[token_ids[t], k], in the table's order; an expert that comes twice counts twice
 *   w = sqrt(softplus(logits[t, id])), without bias; a NaN logit has score 0
 * softplus, sum, denominator, order, source_rows, shared experts and rows of padding: as in moe_topk. Token ids of padding may be
 * anything and are never looked up.
 * Rounding points: each operation, once.
 *
 * Source: DeepSeek's Gate with hash layers (tid2eid), vllm's dsv4 hash kernel (softplus max_form, order multiply_first).
 * Latitude: none.
 */
#include <stdio.h>
#include <stdlib.h>

#include "moe_router_bound.h"

enum { LOGITS, TOKENS, TABLE, PADDING, WEIGHTS, IDS, SOURCE };

static const struct dsv4_param_def params[] = {
    MOE_ROUTER_PARAMS,
    DSV4_PARAM_INT("vocab", INPUT, 129280, 1, 1 << 24, "rows of the table"),
    DSV4_PARAM_NAME("table", INPUT, "i64", "i32 i64", "dtype of the table"),
    DSV4_PARAM_NAME("token_dtype", INPUT, "i32", "i32 i64", "dtype of the token ids"),
    DSV4_PARAM_NAME("rows", INPUT, "distinct", "distinct duplicates",
                    "rows of the table: six experts, or some of them twice"),
};

static const struct dsv4_slot slots[] = {
    {"logits",      DSV4_IN,  "[tokens, experts] f32, rows strided",              "gate logits"                     },
    {"token_ids",   DSV4_IN,  "[tokens] i32 or i64",                              "anything for padding"            },
    {"tid2eid",     DSV4_IN,  "[vocab, topk] i64 or i32",                         "experts of each vocabulary entry"},
    {"is_padding",  DSV4_IN,  "[tokens] u8, or absent",                           "1: not a token"                  },
    {"weights",     DSV4_OUT, "[tokens, topk + shared] f32, rows strided",        "routing weights"                 },
    {"ids",         DSV4_OUT, "[tokens, topk + shared] i32 or i64, rows strided", "experts"                         },
    {"source_rows", DSV4_OUT, "[tokens, topk + shared] i32, or absent",           "k * tokens + t"                  },
};

static const struct dsv4_mutant mutants[] = {
    MOE_MUTANTS_OF_ROUTING,
    {"topk-used",          "experts chosen by their scores; the table says them", MOE_TOPK_USED         },
    {"duplicates-dropped", "an expert that comes twice is counted once",          MOE_DUPLICATES_DROPPED},
    {"ids-ascending",      "slots in order of ids; they are in the table's",      MOE_IDS_ASCENDING     },
    {"token-of-other",     "the token of the row before looked up",               MOE_TOKEN_OF_OTHER    },
};

static int64_t token_of(const struct dsv4_case *c, int64_t t) {
    static const int64_t edges[] = {0, 1, 127, 128};
    const int64_t vocab = dsv4_case_int(c, "vocab");
    if (t % 5 == 3) return vocab - 1 - t / 5 % (vocab < 4 ? vocab : 4);
    if (t % 7 == 2) return edges[t / 7 % 4] % vocab;
    return dsv4_below(dsv4_random(c->seed, 4, (uint64_t)t), vocab);
}

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (moe_router_shape(c, LOGITS, PADDING, err) != 0) return -1;
    const int64_t tokens = dsv4_case_int(c, "tokens");
    int64_t *const rows = dsv4_case_alloc(c, (size_t)(tokens + 1) * sizeof *rows), n = 0;
    const bool wide = dsv4_case_is(c, "token_dtype", "i64");
    DSV4_SHAPE(c, TOKENS, wide ? DSV4_I64 : DSV4_I32, tokens);
    DSV4_SHAPE(c, TABLE, dsv4_case_is(c, "table", "i64") ? DSV4_I64 : DSV4_I32,
               dsv4_case_int(c, "vocab"), dsv4_case_int(c, "topk"));
    c->tensors[TOKENS].align = wide ? 8 : 4;
    c->tensors[TABLE].align = dsv4_case_is(c, "table", "i64") ? 8 : 4;
    for (int64_t t = 0; t < tokens; t++) rows[t] = token_of(c, t);
    qsort(rows, (size_t)tokens, sizeof *rows, ascending);
    for (int64_t t = 0; t < tokens; t++)
        if (n == 0 || rows[n - 1] != rows[t]) rows[n++] = rows[t];
    /* Few rows of a large table are looked up. */
    if (4 * n < dsv4_case_int(c, "vocab")) dsv4_live_rows(c, TABLE, rows, n);
    return 0;
}

/* Experts of a vocabulary entry: a walk through all of them whose steps have no common factor with their number. */
static int64_t expert_of(const struct dsv4_case *c, int64_t token, int64_t k) {
    const int64_t experts = dsv4_case_int(c, "experts");
    const uint64_t bits = dsv4_random(c->seed, 5, (uint64_t)token);
    if (dsv4_case_is(c, "rows", "duplicates") && k >= 2 && (token + k) % 2 == 0) k -= 2;
    if (experts < 8) return k % experts;
    int64_t step = 1 + 2 * dsv4_below(bits << 17, experts / 2);
    while (step % 3 == 0) step += 2;
    return (dsv4_below(bits, experts) + k * step) % experts;
}

static void set(const dsv4_tensor *t, int64_t i, int64_t j, int64_t value) {
    char *const at = (char *)t->data + i * t->stride[0] + (t->ndim > 1 ? j * t->stride[1] : 0);
    const int32_t narrow = (int32_t)value;
    if (t->dtype == DSV4_I64)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &narrow, sizeof narrow);
}

static int64_t get(const dsv4_tensor *t, int64_t i, int64_t j) {
    const char *const at =
        (const char *)t->data + i * t->stride[0] + (t->ndim > 1 ? j * t->stride[1] : 0);
    int64_t value;
    int32_t narrow;
    memcpy(&narrow, at, sizeof narrow);
    if (t->dtype != DSV4_I64) return narrow;
    memcpy(&value, at, sizeof value);
    return value;
}

static void fill(struct dsv4_case *c) {
    const struct dsv4_case_tensor *const table = &c->tensors[TABLE];
    const int64_t n = table->rows != NULL ? table->n_rows : table->t.shape[0];
    moe_router_fill(c, LOGITS, PADDING);
    for (int64_t t = 0; t < dsv4_case_int(c, "tokens"); t++)
        set(&c->tensors[TOKENS].t, t, 0, moe_router_padded(c, t) ? -1 : token_of(c, t));
    for (int64_t i = 0; i < n; i++) {
        const int64_t token = table->rows != NULL ? table->rows[i] : i;
        for (int64_t k = 0; k < table->t.shape[1]; k++)
            set(&table->t, token, k, expert_of(c, token, k));
    }
}

const struct dsv4_op dsv4_op_moe_hash_topk;

static void look_up(const struct moe_router *router, const dsv4_call *call, int64_t t,
                    int64_t *ids) {
    const dsv4_tensor *const table = &call->tensors[TABLE];
    int64_t token = get(&call->tensors[TOKENS], t, 0);
    if (router->wrong == MOE_TOKEN_OF_OTHER && t > 0) token = get(&call->tensors[TOKENS], t - 1, 0);
    if (token < 0) token = 0; /* only a wrong reference looks */
    for (int64_t k = 0; k < router->topk; k++) ids[k] = get(table, token, k);
    for (int64_t k = 1; router->wrong == MOE_IDS_ASCENDING && k < router->topk; k++)
        for (int64_t j = k; j > 0 && ids[j - 1] > ids[j]; j--) {
            const int64_t other = ids[j];
            ids[j] = ids[j - 1];
            ids[j - 1] = other;
        }
}

/* Tokens that are looked up together, so that one waits for memory while the others do. */
enum { TOGETHER = MOE_MAX_EXPERTS / MOE_MAX_TOPK };

static void route(const struct moe_router *router, const dsv4_call *call, int64_t first,
                  int64_t last) {
    float logits[TOGETHER * MOE_MAX_TOPK], weights[TOGETHER * MOE_MAX_TOPK];
    int64_t ids[TOGETHER][MOE_MAX_TOPK], tokens[TOGETHER], n = 0;
    const int64_t topk = router->topk;
    for (int64_t t = first; t < last; t++)
        if (!moe_router_pad(router, &call->tensors[PADDING], t)) tokens[n++] = t;
    for (int64_t i = 0; i < n; i++) look_up(router, call, tokens[i], ids[i]);
    for (int64_t i = 0; i < n; i++) {
        const float *const row = moe_router_row(router, &call->tensors[LOGITS], tokens[i]);
        for (int64_t k = 0; k < topk; k++) logits[i * topk + k] = row[ids[i][k]];
    }
    moe_router_scores(router, weights, logits, n * topk);
    for (int64_t i = 0; i < n; i++)
        moe_router_store(router, &call->tensors[PADDING], tokens[i], ids[i], weights + i * topk);
}

static void wrong_route(const struct moe_router *router, const dsv4_call *call, int64_t t) {
    const float *const row = moe_router_row(router, &call->tensors[LOGITS], t);
    float logits[MOE_MAX_TOPK], weights[MOE_MAX_TOPK], scores[MOE_MAX_EXPERTS];
    int64_t ids[MOE_MAX_TOPK];
    look_up(router, call, t, ids);
    if (router->wrong == MOE_TOPK_USED || router->wrong == MOE_SOFTMAX) {
        moe_router_scores(router, scores, row, router->experts);
        if (router->wrong == MOE_TOPK_USED) moe_choose(router, ids, scores);
        for (int64_t k = 0; k < router->topk; k++) weights[k] = scores[ids[k]];
    } else {
        for (int64_t k = 0; k < router->topk; k++) logits[k] = row[ids[k]];
        moe_router_scores(router, weights, logits, router->topk);
    }
    for (int64_t k = 1; router->wrong == MOE_DUPLICATES_DROPPED && k < router->topk; k++)
        for (int64_t j = 0; j < k; j++)
            if (ids[j] == ids[k]) weights[k] = 0.0f;
    moe_router_store(router, &call->tensors[PADDING], t, ids, weights);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const int64_t rows = call->tensors[LOGITS].shape[0];
    struct moe_router router;
    (void)err;
    moe_router_open(&router, call, LOGITS, moe_router_wrong_of(&dsv4_op_moe_hash_topk, mutant));
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < rows; first += TOGETHER) {
        const int64_t last = first + TOGETHER < rows ? first + TOGETHER : rows;
        if (router.wrong == MOE_RIGHT) route(&router, call, first, last);
        for (int64_t t = first; t < last && router.wrong != MOE_RIGHT; t++)
            if (!moe_router_pad(&router, &call->tensors[PADDING], t)) wrong_route(&router, call, t);
    }
    return DSV4_OK;
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const padding = &call->tensors[PADDING];
    struct moe_router router;
    moe_router_open(&router, call, LOGITS, MOE_RIGHT);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[LOGITS].shape[0]; t++) {
        const float *const logits = moe_router_row(&router, &call->tensors[LOGITS], t);
        const struct dsv4_row row = moe_weights_row(WEIGHTS, call, &router, t);
        struct dsv4_ball weights[MOE_MAX_TOPK];
        int64_t ids[MOE_MAX_TOPK];
        if (padding->ndim > 0 && ((const uint8_t *)padding->data)[t] != 0) continue;
        if (dsv4_admit_settled(a, &row, 1)) continue;
        look_up(&router, call, t, ids);
        for (int64_t k = 0; k < router.topk; k++)
            weights[k] = moe_score_ball(&a->arithmetic, &router, logits[ids[k]]);
        moe_weights_bound(a, WEIGHTS, call, &router, t, weights, false);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t t = offset / out->stride[0], k = offset % out->stride[0] / out->stride[1];
    snprintf(line, size, "row %lld, slot %lld: token %lld", (long long)t, (long long)k,
             (long long)get(&c->tensors[TOKENS].t, t, 0));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double n = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "topk"));
    moe_router_work(c, work);
    work->bytes_read += n * (4 + (double)dsv4_dtype_bytes(c->tensors[TABLE].t.dtype));
    work->exponentials = 2 * n; /* a logarithm counts as one */
}

const struct dsv4_op dsv4_op_moe_hash_topk = {
    .name = "moe_hash_topk",
    .summary = "takes the experts of each token from a table and weighs them by their logits",
    .source = "DeepSeek Gate (tid2eid), vllm dsv4 hash top-k",
    .bound = bound,
    .latitude = "sum-reversed order-mixed",
    DSV4_OP_PARTS,
};
