/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_topk: the experts of each token and their weights, from gate logits.
 *
 *   s[e] = sqrt(softplus(logits[t, e])), a NaN logit has score 0; softplus by dialect:
 *     log1p         x > 20 ? x : log1p(exp(x))          log_one_plus  x > 20 ? x : log(1 + exp(x))
 *     max_form      max(x, 0) + log(1 + exp(-|x|))      no_threshold  log1p(exp(x)): inf from 88.8 on
 *     base_two      x > 20 ? x : log2(1 + exp2(x * fl(log2 e))) * fl(ln 2)
 *   ids[t, k]: the topk greatest s[e] + bias[e], greater first, equal ones by smaller e. No groups.
 *   w = s[id] (weight gathered) or (s[id] + bias[id]) - bias[id] (weight recovered: its low bits are lost)
 *   sum = w[0] + w[1] + ... by slot; denominator: as it is; 1 unless sum > 0; max(sum, 1e-20); started at 1e-20
 *   weights[t, k] = (w / sum) * factor, w * (factor / sum) or (w * factor) / sum
 *   source_rows[t, k] = k * tokens + t
 *   shared experts, where they are fused with the routed ones: slot topk + i has id experts + i and weight 1, without factor
 * Rows of padding: ids -1, weights 0; their logits are never looked at, source_rows is as for others.
 * Rounding points: each operation above, once. A sum of 0 gives NaN with the plain denominator.
 *
 * Source: DeepSeek's Gate; vllm csrc/moe/topk_softplus_sqrt_kernels.cu (recovered, factor_first, one_if_zero; NaN as 0),
 * TileKernels topk_gate and normalize_weight (start), aiter topk (floor, base_two) and its fused shared experts, the dsv4 hash kernel (max_form, multiply_first),
 * the fast kernel for six of 256 (no_threshold).
 * Latitude: bounds take any experts whose order the errors of their values leave open. torch.topk leaves ties open, aiter
 * takes the lowest lane; approximate exp and log move near ties, whose cases are tagged order-sensitive. No class sees the
 * mutant recovery-mixed while exp and log may be off by 2 ulp, as they may unless a kernel declares less: what a bias takes
 * from a score, a rounding of their sum, is no more than that. Bits see it, and so does exp=0.5 log=0.5.
 */
#include <stdio.h>

#include "moe_router_bound.h"

enum { LOGITS, BIAS, PADDING, WEIGHTS, IDS, SOURCE };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("weight", DIALECT, "gathered", "gathered recovered",
                    "the chosen score, or what is left of it after the bias came and went"),
    MOE_ROUTER_PARAMS,
    DSV4_PARAM_NAME("biases", INPUT, "normal", "normal near8 zero coarse",
                    "about N(0, 1/16); about 8, as Flash has them; 0; multiples of 1/4"),
};

static const struct dsv4_slot slots[] = {
    {"logits",      DSV4_IN,  "[tokens, experts] f32, rows strided",              "gate logits"        },
    {"bias",        DSV4_IN,  "[experts] f32",                                    "for the choice only"},
    {"is_padding",  DSV4_IN,  "[tokens] u8, or absent",                           "1: not a token"     },
    {"weights",     DSV4_OUT, "[tokens, topk + shared] f32, rows strided",        "routing weights"    },
    {"ids",         DSV4_OUT, "[tokens, topk + shared] i32 or i64, rows strided", "experts"            },
    {"source_rows", DSV4_OUT, "[tokens, topk + shared] i32, or absent",           "k * tokens + t"     },
};

static const struct dsv4_mutant mutants[] = {
    MOE_MUTANTS_OF_ROUTING,
    {"biased-weight",  "weights with the bias in them; it is for the choice only",
      MOE_BIASED_WEIGHT                                                                                },
    {"bias-ignored",   "experts chosen by their scores alone",                      MOE_BIAS_IGNORED  },
    {"ties-higher",    "the last of equal experts chosen; it is the first",         MOE_TIES_HIGHER   },
    {"grouped",        "experts of the four best of eight groups only",             MOE_GROUPED       },
    {"strictly-above", "experts that equal the last one dropped",                   MOE_STRICTLY_ABOVE},
    {"ids-ascending",  "slots in order of ids; they are in order of values",        MOE_IDS_ASCENDING },
    {"recovery-mixed", "gathered weights where they are recovered, or the reverse",
      MOE_RECOVERY_MIXED                                                                               },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (moe_router_shape(c, LOGITS, PADDING, err) != 0) return -1;
    DSV4_SHAPE(c, BIAS, DSV4_F32, dsv4_case_int(c, "experts"));
    c->tensors[BIAS].align = 4;
    return 0;
}

static void fill(struct dsv4_case *c) {
    const char *const word = dsv4_case_word(c, "biases");
    float *const bias = c->tensors[BIAS].t.data;
    moe_router_fill(c, LOGITS, PADDING);
    for (int64_t e = 0; e < dsv4_case_int(c, "experts"); e++) {
        const uint64_t bits = dsv4_random(c->seed, 3, (uint64_t)e);
        if (strcmp(word, "near8") == 0)
            bias[e] = 8.0f + dsv4_normal(bits) * 0.0625f;
        else if (word[0] == 'n')
            bias[e] = dsv4_normal(bits) * 0.25f;
        else
            bias[e] = word[0] == 'z' ? 0.0f : (float)(dsv4_below(bits, 8) - 4) * 0.25f;
    }
}

const struct dsv4_op dsv4_op_moe_topk;

static void route(const struct moe_router *router, const dsv4_call *call, int64_t t,
                  bool recovered) {
    const float *const bias = call->tensors[BIAS].data;
    const enum moe_route_wrong wrong = router->wrong;
    float scores[MOE_MAX_EXPERTS], values[MOE_MAX_EXPERTS], weights[MOE_MAX_TOPK];
    int64_t ids[MOE_MAX_TOPK];
    moe_router_scores(router, scores, moe_router_row(router, &call->tensors[LOGITS], t),
                      router->experts);
    for (int64_t e = 0; e < router->experts; e++)
        values[e] = wrong == MOE_BIAS_IGNORED ? scores[e] : scores[e] + bias[e];
    moe_choose(router, ids, values);
    for (int64_t k = 0; k < router->topk; k++) {
        const int64_t id = ids[k] < 0 ? 0 : ids[k];
        const float biased = scores[id] + bias[id];
        weights[k] = recovered ? biased - bias[id] : scores[id];
        if (wrong == MOE_BIASED_WEIGHT) weights[k] = biased;
    }
    moe_router_store(router, &call->tensors[PADDING], t, ids, weights);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    struct moe_router router;
    (void)err;
    moe_router_open(&router, call, LOGITS, moe_router_wrong_of(&dsv4_op_moe_topk, mutant));
    const bool mixed = router.wrong == MOE_RECOVERY_MIXED;
    const bool recovered = (dsv4_is(call, "weight", "recovered") != 0) != mixed;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[LOGITS].shape[0]; t++)
        if (!moe_router_pad(&router, &call->tensors[PADDING], t))
            route(&router, call, t, recovered);
    return DSV4_OK;
}

static int64_t id_at(const dsv4_tensor *ids, const void *row, int64_t k) {
    return ids->dtype == DSV4_I64 ? ((const int64_t *)row)[k] : ((const int32_t *)row)[k];
}

/* Weights of the kernel's own experts, where a correct kernel may choose them; else of the canon's. */
static void bound_row(struct dsv4_admission *a, const dsv4_call *call,
                      const struct moe_router *router, int64_t t, bool recovered) {
    const dsv4_tensor *const out = &call->tensors[IDS];
    const float *const bias = call->tensors[BIAS].data;
    const float *const logits = moe_router_row(router, &call->tensors[LOGITS], t);
    const int64_t at = t * out->stride[0], bytes = router->topk * dsv4_dtype_bytes(out->dtype);
    const void *const got = dsv4_admit_got(a, IDS, at), *const want = dsv4_admit_want(a, IDS, at);
    struct dsv4_ball scores[MOE_MAX_EXPERTS], values[MOE_MAX_EXPERTS], weights[MOE_MAX_TOPK];
    int64_t ids[MOE_MAX_TOPK];
    const bool differ = memcmp(got, want, (size_t)bytes) != 0;
    const struct dsv4_row row = moe_weights_row(WEIGHTS, call, router, t);
    if (!differ && dsv4_admit_settled(a, &row, 1)) return;
    /* Of other experts only a choice needs to know. */
    for (int64_t i = 0; i < (differ ? router->experts : router->topk); i++) {
        const int64_t e = differ ? i : id_at(out, want, i);
        if (e < 0 || e >= router->experts) continue; /* a wrong reference's */
        scores[e] = moe_score_ball(&a->arithmetic, router, logits[e]);
        values[e] = isinf(scores[e].v) ? scores[e]
                                       : dsv4_ball_add(scores[e], dsv4_ball_of((double)bias[e]));
    }
    for (int64_t k = 0; k < router->topk; k++) ids[k] = id_at(out, got, k);
    const bool other = differ && moe_may_choose(router, ids, values, logits, bias);
    if (other) dsv4_admit_bytes(a, IDS, at, bytes);
    for (int64_t k = 0; k < router->topk; k++) {
        const int64_t id = other ? ids[k] : id_at(out, want, k);
        const struct dsv4_ball b = dsv4_ball_of((double)bias[id]);
        weights[k] = recovered ? dsv4_ball_sub(values[id], b) : scores[id];
    }
    moe_weights_bound(a, WEIGHTS, call, router, t, weights, other);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const padding = &call->tensors[PADDING];
    const bool recovered = dsv4_is(call, "weight", "recovered") != 0;
    struct moe_router router;
    moe_router_open(&router, call, LOGITS, MOE_RIGHT);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[LOGITS].shape[0]; t++)
        if (padding->ndim == 0 || ((const uint8_t *)padding->data)[t] == 0)
            bound_row(a, call, &router, t, recovered);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t, *const ids = &c->tensors[IDS].t;
    const int64_t t = offset / out->stride[0], k = offset % out->stride[0] / out->stride[1];
    (void)ids;
    snprintf(line, size, "token %lld, slot %lld%s", (long long)t, (long long)k,
             moe_router_padded(c, t) ? " (padding)" : "");
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double n = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "experts"));
    moe_router_work(c, work);
    work->bytes_read += 4 * n;
    work->exponentials = 2 * n; /* a logarithm counts as one */
}

const struct dsv4_op dsv4_op_moe_topk = {
    .name = "moe_topk",
    .summary = "chooses the experts of each token by sqrt(softplus(logit)) + bias and weighs them",
    .source = "DeepSeek Gate, vllm topk_softplus_sqrt_kernels.cu, TileKernels topk_gate",
    .bound = bound,
    .latitude = "sum-reversed order-mixed recovery-mixed",
    DSV4_OP_PARTS,
};
