/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of the indexer's keys. */
#include <math.h>

#include "../memory.h"
#include "idx_logits.h"

enum { STREAM_Q = 1, STREAM_WEIGHT = 2, STREAM_SCALE = 3, PARTIALS = 64, CHUNK = 85 * IDX_TILE };

int idx_logits_check_heads(const struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t heads = dsv4_case_int(c, "heads");
    if (heads % IDX_GROUP == 0) return 0;
    return dsv4_fail(err, "heads: %lld; a multiple of 8", (long long)heads);
}

enum idx_logits_wrong idx_logits_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum idx_logits_wrong)op->mutants[mutant - 1].id : IDX_LOGITS_RIGHT;
}

void idx_logits_shape(struct dsv4_case *c, size_t q, size_t weights, size_t out, int64_t rows,
                      int64_t columns) {
    const int64_t heads = dsv4_case_int(c, "heads");
    DSV4_SHAPE(c, q, dsv4_case_is(c, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ, rows, heads,
               INDEXER_HEAD);
    kv_widen(c, q, 0, 64);
    DSV4_SHAPE(c, weights, DSV4_F32, rows, heads);
    kv_widen(c, weights, 0, 12);
    DSV4_SHAPE(c, out, dsv4_case_is(c, "logits", "bf16") ? DSV4_BF16 : DSV4_F32, rows, columns);
    kv_widen(c, out, 0, 20);
    c->tensors[weights].align = c->tensors[out].align = 4;
}

void idx_logits_spread(struct dsv4_case *c, size_t out, const bool *written, bool sparse) {
    const int64_t gap = dsv4_case_int(c, "row_gap"), rows = c->tensors[out].t.shape[0];
    int64_t *const live = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *live);
    int64_t n = 0;
    if (gap == 0 && !sparse) return;
    for (int64_t r = 0; r < rows; r++)
        if (written[r] || dsv4_case_int(c, "clean") != 0) live[n++] = r;
    dsv4_widen(c, out, 0, gap * dsv4_dtype_bytes(c->tensors[out].t.dtype));
    dsv4_live_rows(c, out, live, n);
}

uint8_t idx_logits_code(const struct dsv4_case *c, uint64_t stream, int64_t row, int64_t dim) {
    static const float some[] = {0.0f, 1.0f, -1.5f, 2.0f};
    const char *const word = dsv4_case_word(c, "codes");
    const bool ocp = dsv4_case_is(c, "fp8", "ocp");
    const enum dsv4_fp8 fp8 = ocp ? DSV4_OCP : DSV4_FNUZ240;
    const uint64_t bits = dsv4_random(c->seed, stream, (uint64_t)row << 7 | (uint64_t)dim);
    const uint8_t any = (uint8_t)(bits >> 30);
    const bool nan = ocp ? (any & 0x7F) == 0x7F : any == 0x80;
    if (word[0] == 'e') return nan ? 0x38 : any;
    if (word[0] == 'f') return dsv4_fp8_from_f32(some[bits >> 62], fp8);
    if (word[0] == 'n') return dsv4_fp8_from_f32(96.0f * dsv4_normal(bits), fp8);
    /* cancel: halves of opposite sign and large, but for their last channels */
    const uint64_t twin = dsv4_random(c->seed, stream, (uint64_t)row << 7 | (uint64_t)(dim & 63));
    const bool tail = (dim & 63) > 55;
    const float large = 100.0f + (float)dsv4_below(twin, 100), small = 0.01f * dsv4_normal(bits);
    const bool negative = dim > 63 && stream == STREAM_Q;
    return dsv4_fp8_from_f32(tail ? small : negative ? -large : large, fp8);
}

float idx_logits_scale(const struct dsv4_case *c, int64_t key) {
    const uint64_t bits = dsv4_random(c->seed, STREAM_SCALE, (uint64_t)key);
    if (dsv4_case_is(c, "scales", "free")) return fabsf(dsv4_normal(bits)) + 0.01f;
    return dsv4_from_bits((uint32_t)(118 + dsv4_below(bits, 8)) << 23);
}

static float weight_of(const struct dsv4_case *c, int64_t row, int64_t head) {
    const float w = dsv4_normal(dsv4_random(c->seed, STREAM_WEIGHT, (uint64_t)(row << 7 | head)));
    const char *const word = dsv4_case_word(c, "weights");
    return word[0] == 'z'                     ? 0.0f
           : word[0] == 'o'                   ? 1.0f
           : word[0] == 'n' && word[1] == 'o' ? w
           : word[0] == 'p'                   ? fabsf(w)
                                              : -fabsf(w);
}

void idx_logits_fill(const struct dsv4_case *c, size_t q, size_t weights) {
    const dsv4_tensor *const codes = &c->tensors[q].t, *const w = &c->tensors[weights].t;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < codes->shape[0]; t++)
        for (int64_t h = 0; h < codes->shape[1]; h++) {
            uint8_t *const row = (uint8_t *)codes->data + t * codes->stride[0] + h * INDEXER_HEAD;
            for (int64_t d = 0; d < INDEXER_HEAD; d++)
                row[d] = idx_logits_code(c, STREAM_Q, t * codes->shape[1] + h, d);
            ((float *)(void *)((char *)w->data + t * w->stride[0]))[h] = weight_of(c, t, h);
        }
}

void idx_logits_open(struct idx_logits *logits, const dsv4_call *call, const dsv4_tensor *q,
                     const dsv4_tensor *weights, const dsv4_tensor *out,
                     enum idx_logits_wrong wrong) {
    const bool ocp = dsv4_is(call, "fp8", "ocp") != (wrong == IDX_FP8_MIXED);
    logits->q = q;
    logits->weights = weights;
    logits->out = out;
    logits->heads = q->shape[1];
    logits->columns = out->shape[1];
    logits->fp8 = ocp ? DSV4_OCP : DSV4_FNUZ240;
    logits->clean = (dsv4_int(call, "clean", 0) != 0) != (wrong == IDX_CLEAN_OTHER);
    logits->bf16 = out->dtype == DSV4_BF16;
    logits->wrong = wrong;
    for (int code = 0; code < 256; code++)
        logits->values[code] = (double)dsv4_fp8_to_f32((uint8_t)code, logits->fp8);
}

/* ---- one tile: 24 keys, all heads ---- */

struct tile {
    double k[INDEXER_HEAD * IDX_TILE]; /* [channel][key] */
    float scale[IDX_TILE];
};

/* Dots of eight heads, [head][key], as wrong kernels sum; q is [channel][head]. */
static void wrong_dots(double *dot, const double *q, const double *k, enum idx_logits_wrong wrong) {
    for (int i = 0; i < IDX_GROUP; i++)
        for (int j = 0; j < IDX_TILE; j++) {
            float sum = 0.0f;
            for (int d = 0; d < INDEXER_HEAD; d++) {
                const double product = q[d * IDX_GROUP + i] * k[d * IDX_TILE + j];
                sum = (float)((double)sum + product);
                if (wrong == IDX_DOT_14_BITS)
                    sum = dsv4_from_bits(dsv4_bits(sum) & ~UINT32_C(0x3FF));
            }
            dot[i * IDX_TILE + j] = sum;
        }
}

static float relu(float x, enum idx_logits_wrong wrong) {
    return x > 0.0f || wrong == IDX_RELU_LOST || wrong == IDX_RELU_AFTER_WEIGHT ? x : 0.0f;
}

/* Adds eight heads to their partials. */
static void weigh(float *restrict partial, const double *restrict dot, const float *restrict w) {
    for (int i = 0; i < IDX_GROUP; i++)
#pragma omp simd
        for (int j = 0; j < IDX_TILE; j++) {
            const float x = (float)dot[i * IDX_TILE + j];
            const float positive = x > 0.0f ? x : 0.0f;
            partial[i * IDX_TILE + j] = fmaf(w[i], positive, partial[i * IDX_TILE + j]);
        }
}

static void wrong_weigh(float *partial, const double *dot, const float *w, const float *scale,
                        enum idx_logits_wrong wrong) {
    for (int i = 0; i < IDX_GROUP; i++)
        for (int j = 0; j < IDX_TILE; j++) {
            float x = (float)dot[i * IDX_TILE + j];
            if (wrong == IDX_DOT_BF16) x = dsv4_bf16_to_f32(dsv4_bf16_from_f32(x));
            if (wrong == IDX_KSCALE_FIRST) x *= scale[j];
            x = relu(x, wrong);
            float *const to = &partial[wrong == IDX_ONE_CHAIN ? j : i * IDX_TILE + j];
            const float product = w[i] * x;
            if (wrong == IDX_RELU_AFTER_WEIGHT)
                *to += product > 0.0f ? product : 0.0f;
            else
                *to = fmaf(w[i], x, *to);
        }
}

static bool scores_otherwise(enum idx_logits_wrong wrong) {
    return wrong == IDX_DOT_BF16 || wrong == IDX_KSCALE_FIRST || wrong == IDX_RELU_LOST ||
           wrong == IDX_RELU_AFTER_WEIGHT || wrong == IDX_ONE_CHAIN;
}

/* out[key] of one row; q is [group][channel][head]. */
static void score_tile(const struct idx_logits *logits, float *out, const double *q, const float *w,
                       const struct tile *tile) {
    const enum idx_logits_wrong wrong = logits->wrong;
    float partial[PARTIALS][IDX_TILE] = {{0}};
    double dot[IDX_GROUP * IDX_TILE];
    for (int64_t h = 0; h < logits->heads; h += IDX_GROUP) {
        float *const to = partial[wrong == IDX_ONE_CHAIN ? 0 : h % PARTIALS];
        if (wrong == IDX_DOT_FP32 || wrong == IDX_DOT_14_BITS)
            wrong_dots(dot, q + h * INDEXER_HEAD, tile->k, wrong);
        else
            gemm_exact(dot, q + h * INDEXER_HEAD, tile->k, INDEXER_HEAD);
        if (scores_otherwise(wrong))
            wrong_weigh(to, dot, w + h, tile->scale, wrong);
        else
            weigh(to, dot, w + h);
    }
    for (int stride = PARTIALS / 2; stride > 0; stride /= 2)
        for (int l = 0; l < stride; l++)
#pragma omp simd
            for (int j = 0; j < IDX_TILE; j++) partial[l][j] += partial[l + stride][j];
    for (int j = 0; j < IDX_TILE; j++) {
        const float scale =
            wrong == IDX_KSCALE_NEIGHBOUR ? tile->scale[(j + 1) % IDX_TILE] : tile->scale[j];
        const bool unscaled = wrong == IDX_KSCALE_LOST || wrong == IDX_KSCALE_FIRST;
        out[j] = unscaled ? partial[0][j] : partial[0][j] * scale;
    }
}

/* Keys first .. first + 23 of a group; those from `end` on are zeros. */
static void load_tile(const struct idx_logits *logits, struct tile *tile, int64_t group,
                      int64_t first, int64_t end) {
    for (int j = 0; j < IDX_TILE; j++) {
        uint8_t codes[INDEXER_HEAD] = {0};
        tile->scale[j] = 0.0f;
        if (first + j < end) logits->key(logits, group, first + j, codes, &tile->scale[j]);
        for (int d = 0; d < INDEXER_HEAD; d++) tile->k[d * IDX_TILE + j] = logits->values[codes[d]];
    }
}

static void load_row(const struct idx_logits *logits, double *q, float *w, int64_t row) {
    const dsv4_tensor *const codes = logits->q, *const weights = logits->weights;
    const int64_t stride =
        logits->wrong == IDX_Q_DENSE ? logits->heads * INDEXER_HEAD : codes->stride[0];
    const uint8_t *const from = (const uint8_t *)codes->data + row * stride;
    for (int64_t h = 0; h < logits->heads; h++)
        for (int64_t d = 0; d < INDEXER_HEAD; d++)
            q[(h / IDX_GROUP * INDEXER_HEAD + d) * IDX_GROUP + h % IDX_GROUP] =
                logits->values[from[h * INDEXER_HEAD + d]];
    if (logits->wrong == IDX_WEIGHTS_FIRST_ROW) row = 0;
    memcpy(w, (const char *)weights->data + row * weights->stride[0],
           (size_t)logits->heads * sizeof *w);
    if (logits->wrong == IDX_LAST_HEAD_LOST) w[logits->heads - 1] = 0.0f;
}

static void put(const struct idx_logits *logits, int64_t row, int64_t column, float x) {
    const dsv4_tensor *const out = logits->out;
    const bool dense = logits->wrong == IDX_OUT_DENSE;
    int64_t offset = row * (dense ? out->shape[1] * out->stride[1] : out->stride[0]);
    if (logits->wrong == IDX_OUT_WRAPS) offset &= INT64_C(0x7FFFFFFF);
    char *const at = (char *)out->data + offset + column * out->stride[1];
    const bool cut = logits->wrong == IDX_OUT_TRUNCATED;
    const uint16_t code = cut ? (uint16_t)(dsv4_bits(x) >> 16) : dsv4_bf16_from_f32(x);
    if (logits->bf16)
        memcpy(at, &code, sizeof code);
    else
        memcpy(at, &x, sizeof x);
}

/* Rows first .. first + n - 1, of one group, over keys [begin, end). */
static void score_block(const struct idx_logits *logits, const struct idx_logits_row *rows,
                        int64_t first, int64_t n, int64_t begin, int64_t end) {
    const int64_t row_values = logits->heads * INDEXER_HEAD;
    double *const q = dsv4_alloc((size_t)(n * row_values) * sizeof *q);
    struct tile *const tile = dsv4_alloc(sizeof *tile);
    float w[IDX_BLOCK][IDX_HEADS], scores[IDX_TILE];
    for (int64_t i = 0; i < n; i++) load_row(logits, q + i * row_values, w[i], first + i);
    for (int64_t at = begin; at < end; at += IDX_TILE) {
        load_tile(logits, tile, rows[first].group, at, end);
        for (int64_t i = 0; i < n; i++) {
            const struct idx_logits_row *const row = &rows[first + i];
            if (row->first >= at + IDX_TILE || row->end <= at) continue;
            score_tile(logits, scores, q + i * row_values, w[i], tile);
            for (int64_t j = 0; j < IDX_TILE; j++) {
                const int64_t key = at + j, column = key - row->shift;
                if (key < row->first || key >= row->end || key >= end) continue;
                if (column >= 0 && column < logits->columns)
                    put(logits, first + i, column, scores[j]);
            }
        }
    }
    dsv4_free(tile);
    dsv4_free(q);
}

static void clean_row(const struct idx_logits *logits, const struct idx_logits_row *row,
                      int64_t r) {
    if (logits->wrong == IDX_EMPTY_KEPT && row->first >= row->end) return;
    for (int64_t column = 0; column < logits->columns; column++) {
        const int64_t key = column + row->shift;
        if (key < row->first || key >= row->end)
            put(logits, r, column, logits->wrong == IDX_CLEAN_ZERO ? 0.0f : -INFINITY);
    }
}

void idx_logits_run(const struct idx_logits *logits, const struct idx_logits_row *rows, int64_t n) {
    int64_t longest = 0;
    for (int64_t r = 0; r < n; r++) longest = rows[r].end > longest ? rows[r].end : longest;
    const int64_t blocks = (n + IDX_BLOCK - 1) / IDX_BLOCK, chunks = (longest + CHUNK - 1) / CHUNK;
#pragma omp parallel
    {
#pragma omp for schedule(dynamic) collapse(2)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t chunk = 0; chunk < chunks; chunk++) {
                const int64_t last = (block + 1) * IDX_BLOCK < n ? (block + 1) * IDX_BLOCK : n;
                int64_t r = block * IDX_BLOCK, next;
                for (; r < last; r = next) {
                    int64_t begin = rows[r].first, end = rows[r].end;
                    for (next = r + 1; next < last && rows[next].group == rows[r].group; next++) {
                        begin = rows[next].first < begin ? rows[next].first : begin;
                        end = rows[next].end > end ? rows[next].end : end;
                    }
                    begin = begin > chunk * CHUNK ? begin : chunk * CHUNK;
                    end = end < (chunk + 1) * CHUNK ? end : (chunk + 1) * CHUNK;
                    if (begin < end) score_block(logits, rows, r, next - r, begin, end);
                }
            }
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < n; r++)
            if (logits->clean) clean_row(logits, &rows[r], r);
    }
}

/* ---- the bound ---- */

static struct dsv4_ball score_ball(const struct idx_logits *logits, const dsv4_arithmetic *a,
                                   const double *q, const float *w, const double *k, float scale) {
    struct dsv4_terms heads = {0};
    for (int64_t h = 0; h < logits->heads; h++) {
        const double *const row = q + h / IDX_GROUP * INDEXER_HEAD * IDX_GROUP + h % IDX_GROUP;
        struct dsv4_terms terms = {0};
        for (int64_t d = 0; d < INDEXER_HEAD; d++)
            dsv4_terms_add_fp8(&terms, row[d * IDX_GROUP], k[d]);
        const struct dsv4_ball dot = dsv4_ball_sum(a, DSV4_SUM_FP8, &terms);
        const struct dsv4_ball positive = dsv4_ball_clamp(dot, 0, INFINITY);
        dsv4_terms_add(&heads, (double)w[h] * positive.v, fabs((double)w[h]) * positive.r);
    }
    const struct dsv4_ball sum = dsv4_ball_sum(a, DSV4_SUM_ROW, &heads);
    return dsv4_ball_rounded(dsv4_ball_mul(sum, dsv4_ball_of((double)scale)));
}

static void bound_row(const struct idx_logits *logits, const struct idx_logits_row *row, int64_t r,
                      struct dsv4_admission *a, size_t slot) {
    const int64_t first = row->first > row->shift ? row->first : row->shift;
    const int64_t left = row->shift + logits->columns, end = row->end < left ? row->end : left;
    const int64_t *const stride = logits->out->stride;
    const struct dsv4_row to = {slot,
                                r * stride[0] + (first - row->shift) * stride[1],
                                stride[1],
                                logits->bf16 ? DSV4_AS_BF16 : DSV4_AS_F32,
                                end > first ? end - first : 0,
                                1};
    double *const q = dsv4_alloc((size_t)(logits->heads * INDEXER_HEAD) * sizeof *q);
    struct dsv4_ball *const balls = dsv4_alloc((size_t)(to.n + 1) * sizeof *balls);
    bool *const needs = dsv4_alloc((size_t)(to.n + 1) * sizeof *needs);
    float w[IDX_HEADS], scale = 0.0f;
    const bool any = dsv4_admit_needs(a, &to, needs);
    if (any) load_row(logits, q, w, r);
    for (int64_t i = 0; i < to.n; i++) {
        uint8_t codes[INDEXER_HEAD] = {0};
        double k[INDEXER_HEAD];
        balls[i] = DSV4_BALL_UNKNOWN;
        if (!needs[i]) continue;
        logits->key(logits, row->group, first + i, codes, &scale);
        for (int d = 0; d < INDEXER_HEAD; d++) k[d] = logits->values[codes[d]];
        balls[i] = score_ball(logits, &a->arithmetic, q, w, k, scale);
    }
    dsv4_admit(a, &to, any ? balls : NULL, NULL);
    dsv4_free(needs);
    dsv4_free(balls);
    dsv4_free(q);
}

void idx_logits_bound(const struct idx_logits *logits, const struct idx_logits_row *rows, int64_t n,
                      struct dsv4_admission *a, size_t slot) {
#pragma omp parallel for schedule(dynamic)
    for (int64_t r = 0; r < n; r++) bound_row(logits, &rows[r], r, a, slot);
}
