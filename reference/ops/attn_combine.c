/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_combine: the second stage of split decoding. Three forms of parts; splits in ascending order, empty ones skipped
 * (their part_o is never read), as are splits from counts[t] on.
 *
 * ml: part_m, part_l, part_o not divided; empty where part_m is -FLT_MAX. m = max part_m, M = max(m, sink):
 *   w = exp(part_m - M)    l = chain of fma(w, part_l, l)    acc = chain of fma(w, part_o, acc), both from +0
 *   o = bf16(acc / (l + exp(sink - M)))    lse = m + log(l with w = exp(part_m - m))
 * lse_natural: part_lse, part_o divided; empty where part_lse is -inf. M = max part_lse:
 *   g = log(sum of exp(part_lse - M), ascending from +0) + M    lse = g
 *   with a sink g becomes g + log(1 + exp(sink - g))
 *   o = bf16(chain of fma(exp(part_lse - g), part_o, acc) from +0)
 * lse_log2: the same with exp2, with log(x) * log2e for log(x), with sink * log2e for the sink; lse = g / log2e.
 *   log2e is 1.44269504 in fp32, the product and the quotient are rounded.
 * Rounding points: every operation above, once.
 * All splits empty: o = +0, lse = +inf. sink = +inf: o = +0. No sink: as sink = -inf. lse has no sink in it.
 * counts below 0 count as 0, beyond the splits as all of them.
 * epilogue, of form ml: the quotient is not rounded to bf16 but turned back in fp32 by positions[t], as rope_inverse has it;
 *   turned  o = bf16 of that    mxfp8  codes and a byte per 32 channels, as rope_inverse_quant has them, and no o
 * In the lse forms a token of one split was finished by the first stage: its rows of o and lse stay untouched.
 *
 * Source: vllm v1/attention/ops/rocm_aiter_mla_sparse.py (ml), FlashMLA csrc/smxx/decode/combine (lse).
 * Latitude: upstream's ml form clamps the denominator to 1e-30 and returns no lse; kernels take fast exp2 and division.
 * Whether one split is combined or skipped is the form's, because the first stage has to agree.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>

#include "../num/exp.h"
#include "../num/log.h"
#include "attn_bound.h"
#include "kv_bound.h"
#include "rope_family.h"

enum {
    PART_M,
    PART_L,
    PART_LSE,
    PART_O,
    COUNTS,
    SINK,
    POSITIONS,
    ROPE_TABLE,
    O,
    LSE,
    CODES,
    SCALES
};
enum { MX_GROUP = 32, MX_GROUPS = KV_HEAD / MX_GROUP, STREAM_POSITION = 6 };

static const float log2e = 1.44269504f;

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("form", DIALECT, "ml", "ml lse_natural lse_log2",
                    "what a part carries: maximum and sum, or a logarithm"),
    DSV4_PARAM_NAME("epilogue", DIALECT, "none", "none turned mxfp8",
                    "o as it is, turned back by RoPE, or turned back and quantised"),
    DSV4_PARAM_INT("heads", CALL, 4, 1, 512, "heads that are computed"),
    DSV4_PARAM_INT("tokens", INPUT, 3, 0, 1 << 20, "tokens"),
    DSV4_PARAM_INT("padded_heads", INPUT, 0, 0, 512,
                   "heads that tensors have room for; 0: just those computed"),
    DSV4_PARAM_INT("zero_heads", INPUT, 0, 0, 512, "last heads whose sink is -inf"),
    DSV4_PARAM_INT("n_splits", INPUT, 4, 1, 256, "splits of a token"),
    DSV4_PARAM_TEXT("counts", INPUT, "none",
                    "splits in use per token, by turns: 4,1,~3; none: absent, all are"),
    DSV4_PARAM_INT("odd_counts", INPUT, 0, 0, 1,
                   "1: counts of 0 are below it, and those of all splits beyond them"),
    DSV4_PARAM_INT("max_position", INPUT, 4096, 1, 1 << 20, "rows of the RoPE table"),
    DSV4_PARAM_NAME("empty", INPUT, "none", "none first last scattered all",
                    "splits without a key"),
    DSV4_PARAM_NAME("scores", INPUT, "normal", "normal spread equal",
                    "maxima: about N(0, 4); 64 times as far apart; 1.5"),
    ATTN_SINK_PARAM,
    ATTN_GAP_PARAM,
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide",
                    "wide: rows lie apart, as slices of larger buffers do"),
};

static const struct dsv4_slot slots[] = {
    {"part_m",     DSV4_IN,  "[tokens, splits, heads or more] f32, strided, or absent", "maxima"                 },
    {"part_l",     DSV4_IN,  "[tokens, splits, heads or more] f32, strided, or absent", "denominators"           },
    {"part_lse",   DSV4_IN,  "[tokens, splits, heads or more] f32, strided, or absent", "logarithms"             },
    {"part_o",     DSV4_IN,  "[tokens, splits, heads or more, 512] f32, strided",       "parts"                  },
    {"counts",     DSV4_IN,  "[tokens] i32, or absent",                                 "splits in use"          },
    {"sink",       DSV4_IN,  "[heads or more] f32, or absent",                          "a logit without a value"},
    {"positions",  DSV4_IN,  "[tokens] i64, or absent",                                 "of the epilogue"        },
    {"rope_table", DSV4_IN,  "[max_position, 64] f32, or absent",                       "32 cos, then 32 sin"    },
    {"o",          DSV4_OUT, "[tokens, heads or more, 512] bf16, strided, or absent",   "attention output"       },
    {"lse",        DSV4_OUT, "[tokens, heads or more] f32, rows strided",
     "natural log of the sum, without the sink"                                                                  },
    {"codes",      DSV4_OUT, "[tokens, heads or more, 512] e4m3fn, or absent",          "of mxfp8"               },
    {"scales",     DSV4_OUT, "[tokens, heads or more, 16] u8, or absent",               "of mxfp8"               },
};

static const struct dsv4_mutant mutants[] = {
    ATTN_MUTANTS_OF_SINKS,
    ATTN_MUTANTS_OF_EMPTY_ROWS,
    {"splits-reversed",      "splits summed from the last to the first",                           ATTN_SPLITS_REVERSED },
    {"count-ignored",        "all splits combined; counts says how many there are",                ATTN_COUNT_IGNORED   },
    {"empty-weighed",        "an empty split weighed with 0; what it holds may be NaN",
      ATTN_EMPTY_WEIGHED                                                                                                 },
    {"lse-base-mixed",       "logarithms of base 2 taken for natural ones, or the reverse",
      ATTN_LSE_BASE_MIXED                                                                                                },
    {"single-written",       "a token of one split combined again; the first stage finished it",
      ATTN_SINGLE_WRITTEN                                                                                                },
    {"count-unclamped",      "a count beyond the splits reads the next token's; it counts as all",
      ATTN_LEN_UNCLAMPED                                                                                                 },
    {"token-wraps",          "byte offset of a token of part_o computed in 32 bits",               ATTN_TOKEN_WRAPS     },
    {"out-wraps",            "byte offset of a token of o computed in 32 bits",                    ATTN_OUT_WRAPS       },
    {"lse-wraps",            "byte offset of a token's marks or of its lse computed in 32 bits",
      ATTN_LSE_WRAPS                                                                                                     },
    {"epilogue-rounded",     "o rounded to bf16 before it is turned back",                         ATTN_EPILOGUE_ROUNDED},
    {"epilogue-forward",     "o turned by +position",                                              ATTN_EPILOGUE_FORWARD},
    {"epilogue-by-row",      "o turned by another token's position",                               ATTN_EPILOGUE_BY_ROW },
    {"epilogue-floor",       "the scale's exponent rounded down; it is rounded up",                ATTN_EPILOGUE_FLOOR  },
    {"padded-heads-written", "heads beyond `heads` written; they are not computed",
      ATTN_PADDED_HEADS_WRITTEN                                                                                          },
};

struct plan {
    int64_t *counts, *positions;
};

static bool is_ml(const struct dsv4_case *c) { return dsv4_case_is(c, "form", "ml"); }

static void shape_epilogue(struct dsv4_case *c, struct plan *plan, int64_t tokens) {
    const int64_t most = dsv4_case_int(c, "max_position"), heads = c->tensors[LSE].t.shape[1];
    const bool none = dsv4_case_is(c, "epilogue", "none"),
               mx = dsv4_case_is(c, "epilogue", "mxfp8");
    plan->positions = dsv4_case_alloc(c, (size_t)(tokens + 1) * sizeof *plan->positions);
    for (int64_t t = 0; t < tokens; t++)
        plan->positions[t] = dsv4_below(dsv4_random(c->seed, STREAM_POSITION, (uint64_t)t), most);
    DSV4_SHAPE(c, POSITIONS, DSV4_I64, tokens);
    dsv4_rope_shape(c, ROPE_TABLE, DSV4_F32, plan->positions, tokens, most);
    DSV4_SHAPE(c, CODES, DSV4_E4M3FN, tokens, heads, KV_HEAD);
    attn_widen(c, CODES, 1, 64);
    DSV4_SHAPE(c, SCALES, DSV4_U8, tokens, heads, MX_GROUPS);
    for (size_t slot = POSITIONS; slot <= ROPE_TABLE; slot++)
        if (none) dsv4_absent(c, slot);
    for (size_t slot = CODES; slot <= SCALES; slot++)
        if (!mx) dsv4_absent(c, slot);
    if (mx) dsv4_absent(c, O);
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    const int64_t tokens = dsv4_case_int(c, "tokens"), n = dsv4_case_int(c, "n_splits");
    const int64_t heads = attn_padded_heads(c);
    c->plan = plan;
    if (!is_ml(c) && !dsv4_case_is(c, "epilogue", "none"))
        return dsv4_fail(err, "epilogue: of form ml alone");
    for (size_t slot = PART_M; slot <= PART_LSE; slot++) {
        DSV4_SHAPE(c, slot, DSV4_F32, tokens, n, heads);
        attn_widen(c, slot, 1, 16);
        attn_spread(c, slot);
        if (is_ml(c) == (slot == PART_LSE)) dsv4_absent(c, slot);
    }
    DSV4_SHAPE(c, PART_O, DSV4_F32, tokens, n, heads, KV_HEAD);
    attn_widen(c, PART_O, 1, 64);
    attn_spread(c, PART_O);
    DSV4_SHAPE(c, COUNTS, DSV4_I32, tokens);
    if (dsv4_case_is(c, "counts", "none")) dsv4_absent(c, COUNTS);
    attn_shape_sink(c, SINK);
    DSV4_SHAPE(c, O, DSV4_BF16, tokens, heads, KV_HEAD);
    attn_widen(c, O, 1, 64);
    attn_spread(c, O);
    DSV4_SHAPE(c, LSE, DSV4_F32, tokens, heads);
    attn_widen(c, LSE, 0, 16);
    attn_spread(c, LSE);
    shape_epilogue(c, plan, tokens);
    if (dsv4_case_is(c, "counts", "none")) return 0;
    plan->counts = attn_lengths(c, "counts", tokens, 3, err);
    for (int64_t t = 0; plan->counts != NULL && t < tokens; t++)
        if (plan->counts[t] > n) plan->counts[t] = n;
    return plan->counts != NULL ? 0 : -1;
}

static bool is_empty(const struct dsv4_case *c, int64_t t, int64_t i, int64_t n) {
    switch (dsv4_case_word(c, "empty")[0]) {
    case 'f': return i == 0;
    case 'l': return i == n - 1;
    case 's': return (t + i) % 2 == 1;
    case 'a': return true;
    default: return false;
    }
}

static void *at(const dsv4_tensor *tensor, int64_t t, int64_t i, int64_t h) {
    return (char *)tensor->data + t * tensor->stride[0] + i * tensor->stride[1] +
           (tensor->ndim > 2 ? h * tensor->stride[2] : 0);
}

/* One part of one head. What no kernel may read is NaN. */
static void fill_part(const struct dsv4_case *c, int64_t t, int64_t i, int64_t h, bool stale,
                      bool empty) {
    const uint64_t id = (uint64_t)((t * 256 + i) * 512 + h);
    const uint64_t bits = dsv4_random(c->seed, 4, id);
    const char scores = dsv4_case_word(c, "scores")[0];
    float m = scores == 'e' ? 1.5f : dsv4_normal(bits) * (scores == 's' ? 128.0f : 2.0f);
    float l = 1.0f + (float)(bits >> 40) * 0x1p-19f;
    const float unit = is_ml(c) ? l : 1.0f;
    if (empty) {
        m = is_ml(c) ? -FLT_MAX : -INFINITY;
        l = 0.0f;
    }
    if (stale) m = l = NAN;
    if (is_ml(c)) {
        memcpy(at(&c->tensors[PART_M].t, t, i, h), &m, sizeof m);
        memcpy(at(&c->tensors[PART_L].t, t, i, h), &l, sizeof l);
    } else {
        memcpy(at(&c->tensors[PART_LSE].t, t, i, h), &m, sizeof m);
    }
    float *const o = at(&c->tensors[PART_O].t, t, i, h);
    for (int64_t d = 0; d < KV_HEAD; d++) {
        const uint64_t more = dsv4_random(c->seed, 5, id << 9 | (uint64_t)d);
        /* As bf16, for the sake of the vectors' size: the weights have all 24 bits. */
        const float value = dsv4_normal(more) * unit;
        o[d] = stale || empty ? NAN : dsv4_bf16_to_f32(dsv4_bf16_from_f32(value));
    }
}

static int32_t given_count(const struct dsv4_case *c, int64_t count, int64_t n, int64_t t) {
    if (dsv4_case_int(c, "odd_counts") == 0 || (count > 0 && count < n)) return (int32_t)count;
    if (count == 0) return t % 2 == 0 ? -1 : INT32_MIN;
    return t % 2 == 0 ? (int32_t)n + 1 : INT32_MAX;
}

static void fill(struct dsv4_case *c) {
    const struct plan *const plan = c->plan;
    const dsv4_tensor *const parts = &c->tensors[PART_O].t;
    const int64_t n = parts->shape[1], heads = dsv4_case_int(c, "heads");
    for (int64_t t = 0; t < parts->shape[0]; t++) {
        const int64_t count = plan->counts != NULL ? plan->counts[t] : n;
        if (plan->counts != NULL)
            ((int32_t *)c->tensors[COUNTS].t.data)[t] = given_count(c, count, n, t);
        for (int64_t i = 0; i < n; i++)
            for (int64_t h = 0; h < parts->shape[2]; h++)
                fill_part(c, t, i, h, i >= count || h >= heads, is_empty(c, t, i, count));
    }
    attn_fill_sink(c, SINK);
    if (c->tensors[POSITIONS].t.ndim == 0) return;
    memcpy(c->tensors[POSITIONS].t.data, plan->positions,
           (size_t)parts->shape[0] * sizeof *plan->positions);
    dsv4_rope_fill(c, ROPE_TABLE, DSV4_ROPE_COMPRESSED);
}

/* The parts of one head. */
struct head {
    const dsv4_tensor *tensors;
    int64_t t, h, n;
    float m[257], l[257], w[257]; /* m: maxima or logarithms */
    bool used[257];
    float most, sink;
    enum attn_wrong wrong;
};

static float float_at(const struct head *head, size_t slot, int64_t i) {
    const dsv4_tensor *const t = &head->tensors[slot];
    const int64_t offset = attn_token_offset(t, head->t, head->wrong == ATTN_LSE_WRAPS);
    float value;
    memcpy(&value, (char *)at(t, 0, i, head->h) + offset, sizeof value);
    return value;
}

static void open_head(struct head *head, bool ml) {
    const bool all = head->wrong == ATTN_EMPTY_WEIGHED;
    head->most = -INFINITY;
    for (int64_t i = 0; i < head->n; i++) {
        head->m[i] = float_at(head, ml ? PART_M : PART_LSE, i);
        head->l[i] = ml ? float_at(head, PART_L, i) : 0.0f;
        const bool empty = ml ? head->m[i] == -FLT_MAX : head->m[i] == -INFINITY;
        head->used[i] = !empty || all;
        if (!empty && !(head->m[i] <= head->most)) head->most = head->m[i];
    }
}

/* acc = chain of fma(w, part_o, acc). */
static void weigh(const struct head *head, float *acc) {
    memset(acc, 0, KV_HEAD * sizeof *acc);
    for (int64_t turn = 0; turn < head->n; turn++) {
        const int64_t i = head->wrong == ATTN_SPLITS_REVERSED ? head->n - 1 - turn : turn;
        const dsv4_tensor *const parts = &head->tensors[PART_O];
        const float *const o =
            (void *)((char *)at(parts, 0, i, head->h) +
                     attn_token_offset(parts, head->t, head->wrong == ATTN_TOKEN_WRAPS));
        if (!head->used[i]) continue;
#pragma omp simd
        for (int d = 0; d < KV_HEAD; d++) acc[d] = fmaf(head->w[i], o[d], acc[d]);
    }
}

/* Weights relative to `most` and their sum. */
static float sum_ml(struct head *head, float most) {
    float l = 0.0f;
    for (int64_t i = 0; i < head->n; i++) {
        if (!head->used[i]) continue;
        head->w[i] = dsv4_exp(head->m[i] - most);
        l = fmaf(head->w[i], head->l[i], l);
    }
    return l;
}

static float combine_ml(struct head *head, float *acc) {
    const float m = head->most, sink = head->sink, most = sink > m ? sink : m;
    const float lse = m + dsv4_log(sum_ml(head, m));
    const float l = sum_ml(head, most);
    const float rest =
        head->wrong == ATTN_SINK_BASE_2 ? dsv4_exp2(sink - most) : dsv4_exp(sink - most);
    weigh(head, acc);
    const float den = l + rest;
    for (int d = 0; d < KV_HEAD; d++) acc[d] = acc[d] / den;
    return head->wrong == ATTN_LSE_WITH_SINK ? most + dsv4_log(den) : lse;
}

static float power(float x, bool base_2) { return base_2 ? dsv4_exp2(x) : dsv4_exp(x); }
static float logarithm(float x, bool base_2) {
    const float natural = dsv4_log(x);
    return base_2 ? natural * log2e : natural;
}

static float combine_lse(struct head *head, float *acc, bool base_2) {
    const float sink = base_2 && head->wrong != ATTN_SINK_BASE_2 ? head->sink * log2e : head->sink;
    float sum = 0.0f;
    for (int64_t i = 0; i < head->n; i++)
        if (head->used[i]) sum += power(head->m[i] - head->most, base_2);
    const float g = logarithm(sum, base_2) + head->most;
    const float with_sink = g + logarithm(1.0f + power(sink - g, base_2), base_2);
    for (int64_t i = 0; i < head->n; i++) head->w[i] = power(head->m[i] - with_sink, base_2);
    weigh(head, acc);
    const float lse = head->wrong == ATTN_LSE_WITH_SINK ? with_sink : g;
    return base_2 ? lse / log2e : lse;
}

/* Rows of the RoPE table; NULL: no epilogue. */
static const float *angle_of(const struct head *head) {
    const dsv4_tensor *const positions = &head->tensors[POSITIONS];
    const bool other = head->wrong == ATTN_EPILOGUE_BY_ROW;
    if (attn_absent(positions)) return NULL;
    return rope_angle(&head->tensors[ROPE_TABLE], positions, head->t,
                      other ? ROPE_POSITION_BY_ROW : ROPE_RIGHT);
}

static void turn_back(const struct head *head, float *acc, const float *angle) {
    if (head->wrong == ATTN_EPILOGUE_ROUNDED)
        for (int d = 0; d < KV_HEAD; d++) acc[d] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(acc[d]));
    rope_back(acc, angle, false, head->wrong == ATTN_EPILOGUE_FORWARD ? ROPE_FORWARD : ROPE_RIGHT);
}

static void put(const struct head *head, float *acc, float lse) {
    const dsv4_tensor *const o = &head->tensors[O], *const out = &head->tensors[LSE];
    const float *const angle = angle_of(head);
    const int64_t offset = attn_token_offset(out, head->t, head->wrong == ATTN_LSE_WRAPS);
    memcpy((char *)at(out, 0, head->h, 0) + offset, &lse, sizeof lse);
    if (angle != NULL) turn_back(head, acc, angle);
    if (attn_absent(o)) {
        const bool floor = head->wrong == ATTN_EPILOGUE_FLOOR;
        const struct rope_rule rule = {true, MX_GROUP, floor ? ROPE_SCALE_FLOOR : ROPE_RIGHT};
        rope_quantise(&rule, at(&head->tensors[CODES], head->t, head->h, 0),
                      at(&head->tensors[SCALES], head->t, head->h, 0), acc);
        return;
    }
    uint16_t *const row = (void *)((char *)at(o, 0, head->h, 0) +
                                   attn_token_offset(o, head->t, head->wrong == ATTN_OUT_WRAPS));
    for (int d = 0; d < KV_HEAD; d++) row[d] = dsv4_bf16_from_f32(acc[d]);
}

enum form { ML, NATURAL, LOG2 };

static void combine(struct head *head, enum form form) {
    float acc[KV_HEAD] = {0}, lse = head->wrong == ATTN_EMPTY_LSE ? -INFINITY : INFINITY;
    open_head(head, form == ML);
    const bool empty = head->most == -INFINITY;
    if (empty && head->wrong == ATTN_EMPTY_UNWRITTEN) return;
    if (!empty) lse = form == ML ? combine_ml(head, acc) : combine_lse(head, acc, form == LOG2);
    if (empty && head->wrong == ATTN_EMPTY_NAN)
        for (int d = 0; d < KV_HEAD; d++) acc[d] = NAN;
    if (head->sink == INFINITY && head->wrong != ATTN_SINK_INF_NAN) memset(acc, 0, sizeof acc);
    if (head->sink == INFINITY && head->wrong == ATTN_SINK_INF_NAN) acc[0] = NAN;
    put(head, acc, head->wrong == ATTN_LSE_BASE_2 ? lse * log2e : lse);
}

const struct dsv4_op dsv4_op_attn_combine;

static enum form form_of(const dsv4_call *call, enum attn_wrong wrong) {
    const enum form form = dsv4_is(call, "form", "ml")         ? ML
                           : dsv4_is(call, "form", "lse_log2") ? LOG2
                                                               : NATURAL;
    if (wrong != ATTN_LSE_BASE_MIXED || form == ML) return form;
    return form == LOG2 ? NATURAL : LOG2;
}

/* False: the first stage has finished this token. */
static bool start(struct head *head, const dsv4_call *call, enum form form) {
    const dsv4_tensor *const tensors = call->tensors, *const parts = &tensors[PART_O];
    const enum attn_wrong wrong = head->wrong;
    const float *const sink = wrong == ATTN_SINK_IGNORED ? NULL : attn_sink_of(&tensors[SINK]);
    const bool counted = !attn_absent(&tensors[COUNTS]) && wrong != ATTN_COUNT_IGNORED;
    const int64_t most = parts->shape[1] + (wrong == ATTN_LEN_UNCLAMPED);
    const int64_t of =
        wrong == ATTN_SINK_ROTATED ? (head->h + 1) % dsv4_int(call, "heads", 1) : head->h;
    head->tensors = tensors;
    head->n = counted ? ((const int32_t *)tensors[COUNTS].data)[head->t] : parts->shape[1];
    head->n = head->n > most ? most : head->n;
    head->sink = sink != NULL ? sink[of] : -INFINITY;
    if (sink != NULL && head->sink == -INFINITY && wrong == ATTN_SINK_MINUS_INF)
        head->sink = INFINITY;
    return head->n != 1 || form == ML || wrong == ATTN_SINGLE_WRITTEN;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum attn_wrong wrong = attn_wrong_of(&dsv4_op_attn_combine, mutant);
    const dsv4_tensor *const parts = &call->tensors[PART_O];
    const enum form form = form_of(call, wrong);
    const int64_t heads =
        wrong == ATTN_PADDED_HEADS_WRITTEN ? parts->shape[2] : dsv4_int(call, "heads", 1);
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < parts->shape[0] * heads; row++) {
        struct head head = {.t = row / heads, .h = row % heads, .wrong = wrong};
        if (start(&head, call, form)) combine(&head, form);
    }
    return DSV4_OK;
}

/* ---- bounds ---- */

/* 2^x or e^x; a logarithm of either base, whose constant is rounded. */
static struct dsv4_ball power_ball(const dsv4_arithmetic *a, struct dsv4_ball x, bool base_2) {
    static const double ln2 = 0.69314718055994530942;
    return dsv4_ball_exp(a, base_2 ? (struct dsv4_ball){x.v * ln2, x.r * ln2} : x);
}

static struct dsv4_ball logarithm_ball(const dsv4_arithmetic *a, struct dsv4_ball x, bool base_2) {
    const struct dsv4_ball natural = dsv4_ball_log(a, x);
    return base_2 ? dsv4_ball_mul(natural, dsv4_ball_of((double)log2e)) : natural;
}

/* The parts' weights relative to `most`. */
static void weight_balls(const struct head *head, const dsv4_arithmetic *a, struct dsv4_ball *w,
                         struct dsv4_ball most, bool base_2) {
    for (int64_t i = 0; i < head->n; i++)
        if (head->used[i])
            w[i] = power_ball(a, dsv4_ball_sub(dsv4_ball_of((double)head->m[i]), most), base_2);
}

/* The parts' denominators, weighed. */
static struct dsv4_ball sum_ball(const struct head *head, const dsv4_arithmetic *a,
                                 const struct dsv4_ball *w, bool ml) {
    struct dsv4_terms terms = {0};
    for (int64_t i = 0; i < head->n; i++) {
        const double l = ml ? (double)head->l[i] : 1;
        if (head->used[i]) dsv4_terms_add(&terms, w[i].v * l, w[i].r * l);
    }
    return dsv4_ball_sum(a, DSV4_SUM_ROW, &terms);
}

/* Channels in the inner loop, where they lie together. */
static void weigh_balls(const struct head *head, const dsv4_arithmetic *a,
                        const struct dsv4_ball *w, struct dsv4_ball *acc) {
    double v[KV_HEAD] = {0}, magnitude[KV_HEAD] = {0}, r[KV_HEAD] = {0};
    int64_t n = 0;
    for (int64_t i = 0; i < head->n; i++) {
        if (!head->used[i]) continue;
        const float *const o = at(&head->tensors[PART_O], head->t, i, head->h);
        n++;
        for (int d = 0; d < KV_HEAD; d++) {
            const double term = w[i].v * (double)o[d], off = w[i].r * fabs((double)o[d]);
            v[d] += term;
            magnitude[d] += fabs(term) + off;
            r[d] += off;
        }
    }
    for (int d = 0; d < KV_HEAD; d++) {
        const struct dsv4_terms terms = {.v = v[d], .magnitude = magnitude[d], .r = r[d], .n = n};
        acc[d] = dsv4_ball_sum(a, DSV4_SUM_ROW, &terms);
    }
}

/* Weights relative to the maximum; numerators by the denominator with the sink in it. acc: NULL where only the logarithm
 * is needed. */
static struct dsv4_ball ml_balls(const struct head *head, const dsv4_arithmetic *a,
                                 struct dsv4_ball *acc) {
    const struct dsv4_ball m = dsv4_ball_of((double)head->most),
                           sink = dsv4_ball_of((double)head->sink), top = dsv4_ball_max(m, sink);
    const struct dsv4_ball share = dsv4_ball_exp(a, dsv4_ball_sub(m, top));
    struct dsv4_ball w[257];
    weight_balls(head, a, w, m, false);
    const struct dsv4_ball l = sum_ball(head, a, w, true),
                           lse = dsv4_ball_add(m, dsv4_ball_log(a, l));
    if (acc == NULL) return lse;
    struct dsv4_ball den = dsv4_ball_mul(l, share);
    if (head->sink > -INFINITY)
        den = dsv4_ball_add(den, dsv4_ball_exp(a, dsv4_ball_sub(sink, top)));
    weigh_balls(head, a, w, acc);
    for (int d = 0; d < KV_HEAD; d++) acc[d] = dsv4_ball_div(a, dsv4_ball_mul(acc[d], share), den);
    return lse;
}

/*
 * Weights relative to the logarithm of all, or divided by the sum in the end. A sink far above it overflows in the canon's
 * form, and the output is 0; in another it is what is left of it.
 */
static struct dsv4_ball lse_balls(const struct head *head, const dsv4_arithmetic *a,
                                  struct dsv4_ball *acc, bool base_2) {
    const struct dsv4_ball m = dsv4_ball_of((double)head->most);
    struct dsv4_ball w[257], sink = dsv4_ball_of((double)head->sink);
    weight_balls(head, a, w, m, base_2);
    const struct dsv4_ball g =
        dsv4_ball_add(logarithm_ball(a, sum_ball(head, a, w, false), base_2), m);
    const struct dsv4_ball lse = base_2 ? dsv4_ball_div(a, g, dsv4_ball_of((double)log2e)) : g;
    struct dsv4_ball all = g, above = {0};
    if (acc == NULL) return lse;
    if (base_2) sink = dsv4_ball_mul(sink, dsv4_ball_of((double)log2e));
    if (head->sink > -INFINITY) {
        above = dsv4_ball_sub(sink, g);
        const struct dsv4_ball rest = dsv4_ball_add(dsv4_ball_of(1), power_ball(a, above, base_2));
        all = dsv4_ball_add(g, logarithm_ball(a, rest, base_2));
    }
    weight_balls(head, a, w, all, base_2);
    weigh_balls(head, a, w, acc);
    for (int d = 0; d < KV_HEAD; d++) {
        acc[d] = dsv4_ball_within(acc[d].v, acc[d].r, (double)a->divide_ulp + 1);
        if (above.v > 80) acc[d].r += fabs(acc[d].v);
    }
    return lse;
}

static int64_t offset_of(const struct head *head, size_t slot) {
    const dsv4_tensor *const t = &head->tensors[slot];
    return head->t * t->stride[0] + head->h * t->stride[1];
}

static struct dsv4_row row_of(const struct head *head, size_t slot) {
    const bool values = slot == O;
    const enum dsv4_form form = values ? DSV4_AS_BF16 : DSV4_AS_F32;
    return (struct dsv4_row){slot, offset_of(head, slot), values ? 2 : 4,
                             form, values ? KV_HEAD : 1,  1};
}

static struct dsv4_row codes_of(const struct head *head, int g) {
    const int64_t first = offset_of(head, CODES) + g * MX_GROUP;
    return (struct dsv4_row){CODES, first, 1, DSV4_AS_OCP, MX_GROUP, 1};
}

static struct dsv4_scale scale_of(const struct head *head, int g) {
    return (struct dsv4_scale){.slot = SCALES,
                               .offset = offset_of(head, SCALES) + g,
                               .form = DSV4_AS_E8M0,
                               .floor = 0x1p-126,
                               .most = 448,
                               .zero_byte = true,
                               .log2 = true};
}

/* Whether what is not the logarithm needs balls. */
static bool needs_output(const struct head *head, const struct dsv4_admission *a) {
    const struct dsv4_row values = row_of(head, O);
    bool needs = false;
    if (!attn_absent(&head->tensors[O])) return dsv4_admit_needs(a, &values, NULL);
    for (int g = 0; g < MX_GROUPS && !needs; g++) {
        const struct dsv4_row codes = codes_of(head, g);
        const struct dsv4_scale scale = scale_of(head, g);
        needs = dsv4_admit_scale_needs(a, &scale, &codes);
    }
    return needs;
}

/*
 * The quotient, rounded; or turned back (kv_bound.c) and rounded; or quantised, as rope_inverse_quant's bound has it.
 * x: NULL where none is needed.
 */
static void admit_output(const struct head *head, struct dsv4_admission *a, struct dsv4_ball *x) {
    const float *const angle = angle_of(head);
    if (angle != NULL && x != NULL) kv_rope_balls(x + KV_NOPE, angle, true);
    if (!attn_absent(&head->tensors[O])) {
        const struct dsv4_row row = row_of(head, O);
        dsv4_admit(a, &row, x, NULL);
        return;
    }
    for (int g = 0; g < MX_GROUPS; g++) {
        const struct dsv4_row codes = codes_of(head, g);
        const struct dsv4_scale scale = scale_of(head, g);
        struct dsv4_ball *const group = x != NULL ? x + g * MX_GROUP : NULL;
        const struct dsv4_ball amax =
            x != NULL ? dsv4_ball_amax(group, MX_GROUP) : DSV4_BALL_UNKNOWN;
        dsv4_admit_scale(a, &scale, amax, &codes, group);
    }
}

static void bound_head(struct head *head, struct dsv4_admission *a, enum form form) {
    const struct dsv4_row lse = row_of(head, LSE);
    const bool needs = needs_output(head, a);
    struct dsv4_ball acc[KV_HEAD], *const x = needs ? acc : NULL;
    if (!needs && !dsv4_admit_needs(a, &lse, NULL)) {
        admit_output(head, a, NULL);
        dsv4_admit(a, &lse, NULL, NULL);
        return;
    }
    open_head(head, form == ML);
    if (head->most == -INFINITY) return;
    const struct dsv4_ball sum = form == ML ? ml_balls(head, &a->arithmetic, x)
                                            : lse_balls(head, &a->arithmetic, x, form == LOG2);
    if (head->sink < INFINITY) admit_output(head, a, x);
    dsv4_admit(a, &lse, &sum, NULL);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const int64_t heads = dsv4_int(call, "heads", 1);
    const enum form form = form_of(call, ATTN_RIGHT);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < call->tensors[PART_O].shape[0] * heads; row++) {
        struct head head = {.t = row / heads, .h = row % heads, .wrong = ATTN_RIGHT};
        if (start(&head, call, form)) bound_head(&head, a, form);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const struct plan *const plan = c->plan;
    const dsv4_tensor *const out = &c->tensors[slot].t, *const sink = &c->tensors[SINK].t;
    const int64_t t = offset / out->stride[0], h = offset % out->stride[0] / out->stride[1];
    const int64_t count = plan->counts != NULL ? plan->counts[t] : dsv4_case_int(c, "n_splits");
    const int n = snprintf(line, size, "token %lld, head %lld: %lld splits", (long long)t,
                           (long long)h, (long long)count);
    if (sink->ndim > 0 && n > 0 && (size_t)n < size)
        snprintf(line + n, size - (size_t)n, "; sink %.9g", (double)((const float *)sink->data)[h]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct plan *const plan = c->plan;
    const double heads = (double)dsv4_case_int(c, "heads");
    double parts = 0, tokens = 0;
    for (int64_t t = 0; t < dsv4_case_int(c, "tokens"); t++) {
        parts += (double)(plan->counts != NULL ? plan->counts[t] : dsv4_case_int(c, "n_splits"));
        tokens += 1;
    }
    work->bytes_read = parts * heads * (double)(4 * KV_HEAD + (is_ml(c) ? 8 : 4));
    const bool mx = dsv4_case_is(c, "epilogue", "mxfp8");
    work->bytes_written = tokens * heads * (double)(mx ? KV_HEAD + MX_GROUPS + 4 : 2 * KV_HEAD + 4);
}

const struct dsv4_op dsv4_op_attn_combine = {
    .name = "attn_combine",
    .summary = "split decoding, second stage: the parts of each token become its output",
    .source = "vllm rocm_aiter_mla_sparse.py, FlashMLA combine",
    .bound = bound,
    .latitude = "splits-reversed",
    DSV4_OP_PARTS,
};
