/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of attention. Rows and q are exact, and so are their products:
 *   s     a dot of 512 terms in the declared class, times the scale; no class rounds q * scale to bf16
 *   p     exp(s - m): a difference and an exp. Which maximum m is used cancels: online softmax and splits rescale by
 *         exp(m - m'), an exp and a product more for every tile of 16 keys at most
 *   acc   terms p * v in the declared class, p being rounded to bf16 or not, relative to whatever maximum was current
 *   l     terms p, added in binary32, likewise
 *   o     acc * a / (l * a + exp(sink - M)), a = exp(m - M), M = max(m, sink): products, sum, division, stored rounding
 *   lse   m + log(l), two roundings more where it was in base 2; with the sink: M + log of o's denominator, in base 2;
 *         of a part: m + log(l) in base 2
 * Rows without a key, and those that an infinite sink empties, are zeros to all and compared as bits.
 */
#include "attn_bound.h"

#include <math.h>

#include "../memory.h"

struct head {
    struct dsv4_ball *s; /* of every key */
    struct dsv4_ball *p;
    struct dsv4_ball most, l;
    double m; /* what p is relative to */
};

static void find_scores(struct head *head, const struct attn_bound *bound,
                        const struct attn_token *token, const uint16_t *q) {
    double row[KV_HEAD];
    bool any = false;
    for (int d = 0; d < KV_HEAD; d++) row[d] = (double)dsv4_bf16_to_f32(q[d]);
    for (int64_t i = 0; i < token->n; i++) {
        const float *const k = token->k + i * ATTN_STRIDE;
        struct dsv4_terms terms = {0};
        if (!token->valid[i]) continue;
        for (int d = 0; d < KV_HEAD; d++) dsv4_terms_add(&terms, row[d] * (double)k[d], 0);
        head->s[i] = dsv4_ball_mul(dsv4_ball_sum(&bound->a->arithmetic, DSV4_SUM_DOT, &terms),
                                   dsv4_ball_of((double)bound->scale));
        head->most = any ? dsv4_ball_max(head->most, head->s[i]) : head->s[i];
        any = true;
    }
    head->m = any ? head->most.v : -INFINITY;
}

static void find_weights(struct head *head, const dsv4_arithmetic *a,
                         const struct attn_token *token) {
    const double tiles = (double)(token->n / 16 + 2);
    const double rescaling = tiles * 2 * ((double)a->exp_ulp + 0.5) * DSV4_BALL_U;
    struct dsv4_terms terms = {0};
    for (int64_t i = 0; i < token->n; i++) {
        if (!token->valid[i]) continue;
        struct dsv4_ball p = dsv4_ball_exp(a, dsv4_ball_sub(head->s[i], dsv4_ball_of(head->m)));
        p.r += rescaling * p.v;
        head->p[i] = dsv4_ball_perhaps_bf16(p);
        dsv4_terms_add(&terms, p.v, head->p[i].r);
    }
    head->l = dsv4_ball_sum(a, DSV4_SUM_ROW, &terms);
}

/* Weighted sums of the rows. */
static void find_numerators(struct dsv4_ball *acc, const struct head *head,
                            const dsv4_arithmetic *a, const struct attn_token *token) {
    for (int d = 0; d < KV_HEAD; d++) {
        struct dsv4_terms terms = {0};
        for (int64_t i = 0; i < token->n; i++) {
            if (!token->valid[i]) continue;
            const double v = (double)token->k[i * ATTN_STRIDE + d];
            dsv4_terms_add(&terms, head->p[i].v * v, head->p[i].r * fabs(v));
        }
        acc[d] = dsv4_ball_sum(a, DSV4_SUM_DOT, &terms);
    }
}

static void admit_output(const struct head *head, const struct attn_bound *bound,
                         const struct attn_token *token, const struct dsv4_row *row, double sink) {
    const dsv4_arithmetic *const a = &bound->a->arithmetic;
    const struct dsv4_ball m = dsv4_ball_of(head->m), top = dsv4_ball_of(fmax(head->m, sink));
    const struct dsv4_ball share = dsv4_ball_exp(a, dsv4_ball_sub(m, top));
    struct dsv4_ball balls[KV_HEAD], den = dsv4_ball_mul(head->l, share);
    if (sink > -INFINITY)
        den = dsv4_ball_add(den, dsv4_ball_exp(a, dsv4_ball_sub(dsv4_ball_of(sink), top)));
    find_numerators(balls, head, a, token);
    for (int d = 0; d < KV_HEAD; d++)
        balls[d] = dsv4_ball_div(a, dsv4_ball_mul(balls[d], share), den);
    dsv4_admit(bound->a, row, balls, NULL);
}

/* The logarithm of the sum: in base 2 with a product and a constant, rounded, for either term. */
static struct dsv4_ball lse_ball(const struct head *head, const struct attn_bound *bound,
                                 double sink) {
    const dsv4_arithmetic *const a = &bound->a->arithmetic;
    const double top = bound->log2_sink ? fmax(head->m, sink) : head->m;
    const struct dsv4_ball most = dsv4_ball_of(top);
    struct dsv4_ball sum = {0};
    if (!bound->log2_sink) return dsv4_ball_add(most, dsv4_ball_log(a, head->l));
    const double log2e = 1.44269504088896340736;
    const struct dsv4_ball base = {log2e, log2e * DSV4_BALL_U};
    if (head->m > -INFINITY)
        sum = dsv4_ball_mul(head->l, dsv4_ball_exp(a, dsv4_ball_sub(dsv4_ball_of(head->m), most)));
    if (sink > -INFINITY)
        sum = dsv4_ball_add(sum, dsv4_ball_exp(a, dsv4_ball_sub(dsv4_ball_of(sink), most)));
    return dsv4_ball_add(dsv4_ball_mul(most, base), dsv4_ball_mul(dsv4_ball_log(a, sum), base));
}

/* ---- parts ---- */

enum { M, L, LSE_OF_PART, ACC, PARTS };

/* What a head leaves of a split, in slots from `m` on; what the call does not have is no element long. */
static void part_rows(struct dsv4_row *rows, const struct attn_bound *bound, int64_t t, int64_t i,
                      int64_t h, size_t m) {
    for (size_t part = M; part < PARTS; part++) {
        const bool there = !attn_absent(&bound->call->tensors[m + part]);
        const size_t slot = m + (there ? part : ACC);
        const int64_t *const stride = bound->call->tensors[slot].stride;
        rows[part] =
            (struct dsv4_row){slot,        t * stride[0] + i * stride[1] + h * stride[2], 4,
                              DSV4_AS_F32, !there ? 0 : part == ACC ? KV_HEAD : 1,        1};
    }
}

static void read_maximum(const struct attn_bound *bound, const struct dsv4_row *m, float *got,
                         float *want) {
    memcpy(got, dsv4_admit_got(bound->a, m->slot, m->offset), sizeof *got);
    memcpy(want, dsv4_admit_want(bound->a, m->slot, m->offset), sizeof *want);
}

/* The kernel's maximum where it is right, else the canon's; whether it is another than the canon's. */
static bool find_maximum(struct head *head, const struct attn_bound *bound,
                         const struct dsv4_row *m) {
    float got, want;
    read_maximum(bound, m, &got, &want);
    const bool right = fabs((double)got - head->most.v) <= head->most.r;
    head->m = (double)(right ? got : want);
    return right && got != want;
}

/* Balls that are relative to the kernel's own maximum are of no use to another kernel. */
static bool moves_maximum(const struct attn_bound *bound, const struct dsv4_row *m) {
    float got, want;
    if (m->n == 0) return false;
    read_maximum(bound, m, &got, &want);
    return memcmp(&got, &want, sizeof got) != 0;
}

bool attn_part_settled(const struct attn_bound *bound, int64_t heads, int64_t t, int64_t i,
                       size_t m) {
    struct dsv4_row *const rows = dsv4_alloc((size_t)(heads * PARTS) * sizeof *rows);
    bool settled = true;
    for (int64_t h = 0; h < heads; h++) {
        part_rows(rows + h * PARTS, bound, t, i, h, m);
        settled &= !moves_maximum(bound, &rows[h * PARTS]);
    }
    settled = settled && dsv4_admit_settled(bound->a, rows, heads * PARTS);
    dsv4_free(rows);
    return settled;
}

/* Maximum, denominator and numerator, relative to the kernel's own maximum. */
static void admit_sums(struct head *head, const struct attn_bound *bound,
                       const struct attn_token *token, const struct dsv4_row *rows) {
    const dsv4_arithmetic *const a = &bound->a->arithmetic;
    const bool other = find_maximum(head, bound, &rows[M]);
    struct dsv4_ball acc[KV_HEAD];
    dsv4_admit(bound->a, &rows[M], &head->most, NULL);
    find_weights(head, a, token);
    find_numerators(acc, head, a, token);
    if (other) {
        dsv4_admit_other(bound->a, &rows[L], &head->l);
        dsv4_admit_other(bound->a, &rows[ACC], acc);
    } else {
        dsv4_admit(bound->a, &rows[L], &head->l, NULL);
        dsv4_admit(bound->a, &rows[ACC], acc, NULL);
    }
}

/* The logarithm and the quotient: the maximum cancels. */
static void admit_quotients(struct head *head, const struct attn_bound *bound,
                            const struct attn_token *token, const struct dsv4_row *rows) {
    const dsv4_arithmetic *const a = &bound->a->arithmetic;
    struct dsv4_ball acc[KV_HEAD];
    find_weights(head, a, token);
    find_numerators(acc, head, a, token);
    const struct dsv4_ball lse =
        dsv4_ball_rounded(dsv4_ball_rounded(lse_ball(head, bound, -INFINITY)));
    for (int d = 0; d < KV_HEAD; d++) acc[d] = dsv4_ball_div(a, acc[d], head->l);
    dsv4_admit(bound->a, &rows[LSE_OF_PART], &lse, NULL);
    dsv4_admit(bound->a, &rows[ACC], acc, NULL);
}

void attn_part_bound(const struct attn_bound *bound, const struct attn_token *token, int64_t t,
                     int64_t i, size_t m) {
    const dsv4_tensor *const q = &bound->call->tensors[bound->q];
    struct head head = {0};
    head.s = dsv4_alloc((size_t)(token->n + 1) * sizeof *head.s);
    head.p = dsv4_alloc((size_t)(token->n + 1) * sizeof *head.p);
    for (int64_t h = 0; h < token->heads; h++) {
        struct dsv4_row rows[PARTS];
        part_rows(rows, bound, t, i, h, m);
        if (!moves_maximum(bound, &rows[M]) && dsv4_admit_settled(bound->a, rows, PARTS)) continue;
        find_scores(&head, bound, token,
                    (const void *)((const char *)q->data + t * q->stride[0] + h * q->stride[1]));
        if (head.m == -INFINITY) continue;
        (rows[M].n == 0 ? admit_quotients : admit_sums)(&head, bound, token, rows);
    }
    dsv4_free(head.p);
    dsv4_free(head.s);
}

/* ---- tokens ---- */

enum { OUTPUT, LSE, MAX_LOGITS, OUTPUTS };

/* What a head leaves of a token; an output that the call does not have is no element long. */
static void token_rows(struct dsv4_row *rows, const struct attn_bound *bound, int64_t t,
                       int64_t h) {
    const size_t slots[] = {bound->o, bound->lse, bound->max_logits};
    for (size_t i = OUTPUT; i < OUTPUTS; i++) {
        const bool there =
            slots[i] < bound->call->n_tensors && !attn_absent(&bound->call->tensors[slots[i]]);
        const size_t slot = there ? slots[i] : bound->o;
        const int64_t *const stride = bound->call->tensors[slot].stride;
        rows[i] = (struct dsv4_row){slot, t * stride[0] + h * stride[1], 4, DSV4_AS_F32, there, 1};
    }
    rows[OUTPUT].stride = 2;
    rows[OUTPUT].form = DSV4_AS_BF16;
    rows[OUTPUT].n = KV_HEAD;
}

bool attn_token_settled(const struct attn_bound *bound, int64_t heads, int64_t t) {
    struct dsv4_row *const rows = dsv4_alloc((size_t)(heads * OUTPUTS) * sizeof *rows);
    for (int64_t h = 0; h < heads; h++) token_rows(rows + h * OUTPUTS, bound, t, h);
    const bool settled = dsv4_admit_settled(bound->a, rows, heads * OUTPUTS);
    dsv4_free(rows);
    return settled;
}

static void token_head(struct head *head, const struct attn_bound *bound,
                       const struct attn_token *token, const void *q, double sink,
                       const struct dsv4_row *rows) {
    find_scores(head, bound, token, q);
    const bool none = head->m == -INFINITY;
    if (!none) find_weights(head, &bound->a->arithmetic, token);
    if (bound->log2_sink ? fabs(fmax(head->m, sink)) < INFINITY : !none) {
        const struct dsv4_ball lse =
            dsv4_ball_rounded(dsv4_ball_rounded(lse_ball(head, bound, sink)));
        dsv4_admit(bound->a, &rows[LSE], &lse, NULL);
    }
    if (none) return;
    if (sink < INFINITY && !dsv4_admit_settled(bound->a, &rows[OUTPUT], 1))
        admit_output(head, bound, token, &rows[OUTPUT], sink);
    dsv4_admit(bound->a, &rows[MAX_LOGITS], &head->most, NULL);
}

void attn_token_bound(const struct attn_bound *bound, const struct attn_token *token, int64_t t) {
    const dsv4_tensor *const q = &bound->call->tensors[bound->q];
    struct head head = {0};
    head.s = dsv4_alloc((size_t)(token->n + 1) * sizeof *head.s);
    head.p = dsv4_alloc((size_t)(token->n + 1) * sizeof *head.p);
    for (int64_t h = 0; h < token->heads; h++) {
        const double sink = bound->sink != NULL ? (double)bound->sink[h] : -INFINITY;
        struct dsv4_row rows[OUTPUTS];
        token_rows(rows, bound, t, h);
        if (!dsv4_admit_settled(bound->a, rows, OUTPUTS))
            token_head(&head, bound, token,
                       (const char *)q->data + t * q->stride[0] + h * q->stride[1], sink, rows);
    }
    dsv4_free(head.p);
    dsv4_free(head.s);
}
