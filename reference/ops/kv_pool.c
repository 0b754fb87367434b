/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pooling: a softmax per channel over the rows of a window, with the kv values as payload.
 *
 * Window of position p: rows q = p - K + 1 .. p, K = 8 (ratio 4, overlap) or 128. Row q lies in page q / block_size of
 * the request's block table. Ratio 4 reads the first half of the columns of its first 4 rows and the second half of
 * its last 4; rows q < 0 (p = 3 alone) are masked.
 *
 * Rounding points: [bf16 state: score + ape, one add;] max over rows; e = exp(fl(score - max)), correctly rounded;
 * in blocks of 16 rows den += e and num = fma(e, kv, num), both from 0; block sums added ascending; one division.
 *
 * Latitude: kernels that normalise first, run an online softmax or approximate exp differ in the last bits; so may the
 * order of the sum. Those are graded against bounds, the canon is compared as bits.
 */
#include <math.h>
#include <stdio.h>

#include "../num/exp.h"
#include "kv_bound.h"

enum { BLOCK = 16 };

int kv_check_ratio(int64_t ratio, int64_t head, struct dsv4_err *err) {
    if (ratio != 4 && ratio != 128)
        return dsv4_fail(err, "ratio: %lld; DSv4 compresses by 4 or 128", (long long)ratio);
    if (head == INDEXER_HEAD && ratio != 4)
        return dsv4_fail(err, "ratio: the indexer (head 128) exists for ratio 4 only");
    return 0;
}

bool kv_block_size_refused(bool bf16_state, bool scale_floor, int64_t ratio, int64_t block_size,
                           char *why, size_t size) {
    const int64_t demanded = ratio == 128 ? 8 : 4;
    const bool fixed = bf16_state || (scale_floor && ratio == 128);
    if (!fixed || block_size == demanded) return false;
    snprintf(why, size,
             "state_block_size %lld: the kernel with %s has %lld rows per page for ratio %lld",
             (long long)block_size, bf16_state ? "bf16 state" : "the floor on the scale",
             (long long)demanded, (long long)ratio);
    return true;
}

void kv_state_open(struct kv_state *state, const dsv4_call *call, int64_t head,
                   enum kv_wrong wrong) {
    state->state = dsv4_find(call, "state");
    state->block_table = dsv4_find(call, "block_table");
    state->ape = dsv4_find(call, "ape");
    state->ratio = dsv4_int(call, "ratio", 4);
    state->head = head;
    state->block_size = state->state->shape[1];
    state->wrong = wrong;
}

/* Rows of one window: where each starts (its kv half) and which columns it contributes. */
struct window {
    int n;
    const char *row[KV_MAX_POOL];
    int64_t column[KV_MAX_POOL];
    int ape_row[KV_MAX_POOL];
};

static int64_t column_of(const struct kv_state *state, int64_t k) {
    bool second = state->ratio == 4 && k >= state->ratio;
    if (state->wrong == KV_OVERLAP_SWAPPED && state->ratio == 4) second = !second;
    if (state->wrong == KV_FIRST_HALF_ONLY) second = false;
    return second ? state->head : 0;
}

/* The page of cache row q. A wrong reference looks up what no step provides: it is kept inside its tensors, so that it
 * is wrong and does not crash. */
static int64_t block_of(const struct kv_state *state, int64_t request, int64_t q) {
    const dsv4_tensor *const table = state->block_table;
    int64_t column = q / state->block_size;
    int32_t block;
    if (state->wrong != KV_RIGHT && column >= table->shape[1]) column = table->shape[1] - 1;
    memcpy(&block, (const char *)table->data + request * table->stride[0] + column * 4,
           sizeof block);
    if (state->wrong != KV_RIGHT && (block < 0 || block >= state->state->shape[0])) block = 0;
    return block;
}

static void find_rows(const struct kv_state *state, struct window *window, int64_t request,
                      int64_t position) {
    const int64_t n_rows = kv_pool_rows(state->ratio), start = position - n_rows + 1;
    const dsv4_tensor *const pages = state->state;
    if (state->wrong == KV_REQUEST_BY_ROW) request = 0;
    window->n = 0;
    for (int64_t k = 0; k < n_rows; k++) {
        const int64_t q = start + k;
        const char *row = NULL;
        if (q >= 0) {
            int64_t offset = block_of(state, request, q) * pages->stride[0];
            if (state->wrong == KV_ADDRESS_WRAPS) offset &= INT64_C(0xFFFFFFFF);
            row = (const char *)pages->data + offset + q % state->block_size * pages->stride[1];
        } else if (state->wrong != KV_FIRST_WINDOW_UNMASKED) {
            continue;
        }
        window->row[window->n] = row;
        window->column[window->n] = column_of(state, k);
        window->ape_row[window->n++] = (int)(k % state->ratio);
    }
}

/* Reads a byte of every cache line of the next row: rows lie a page apart, where no hardware prefetcher looks ahead. */
static void touch_next(const struct kv_state *state, const struct window *window, int k,
                       int64_t half) {
    const int64_t unit = dsv4_dtype_bytes(state->state->dtype);
    if (k + 1 >= window->n || window->row[k + 1] == NULL) return;
    const volatile char *const at = window->row[k + 1] + (window->column[k + 1] + half) * unit;
    for (int64_t i = 0; i < state->head * unit; i += 64) (void)at[i];
}

/* The channels of one row, in place where the state is fp32. */
struct channels {
    const float *values;
    float buffer[KV_HEAD];
};

/* Points at the values of row k of the window from its column + `half` on. */
static void load(const struct kv_state *state, const struct window *window, int k, int64_t half,
                 struct channels *channels) {
    const int64_t column = window->column[k] + half;
    const char *const row = window->row[k];
    channels->values = channels->buffer;
    if (row == NULL) {
        memset(channels->buffer, 0, sizeof channels->buffer);
    } else if (state->state->dtype == DSV4_F32) {
        channels->values = (const float *)(const void *)(row + column * 4);
    } else {
        kv_load_bf16(channels->buffer, row + column * 2, (int)state->head);
    }
}

/* The scores of row k; bf16 state gets its APE here. */
static void load_score(const struct kv_state *state, const struct window *window, int k,
                       struct channels *channels) {
    load(state, window, k, kv_state_width(state->ratio, state->head), channels);
    if (state->state->dtype == DSV4_F32 || window->row[k] == NULL || state->wrong == KV_APE_LOST)
        return;
    const char *const ape_row =
        (const char *)state->ape->data + window->ape_row[k] * state->ape->stride[0];
    float ape[KV_HEAD];
    memcpy(ape, ape_row + window->column[k] * 4, (size_t)state->head * sizeof *ape);
    for (int64_t i = 0; state->wrong == KV_APE_ROUNDED && i < state->head; i++)
        ape[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(ape[i]));
#pragma omp simd
    for (int64_t i = 0; i < state->head; i++) channels->buffer[i] += ape[i];
}

static void find_max(const struct kv_state *state, const struct window *window, float *max) {
    struct channels channels;
    for (int64_t i = 0; i < state->head; i++) max[i] = -INFINITY;
    for (int k = 0; k < window->n; k++) {
        touch_next(state, window, k, kv_state_width(state->ratio, state->head));
        load_score(state, window, k, &channels);
        const float *const score = channels.values;
#pragma omp simd
        for (int64_t i = 0; i < state->head; i++) max[i] = score[i] > max[i] ? score[i] : max[i];
    }
}

/* The sums of rows [begin, end) as one block. */
static void pool_block(const struct kv_state *state, const struct window *window, int begin,
                       int end, const float *restrict max, float *restrict den,
                       float *restrict num) {
    struct channels kv_channels, score_channels;
    memset(den, 0, (size_t)state->head * sizeof *den);
    memset(num, 0, (size_t)state->head * sizeof *num);
    for (int k = begin; k < end; k++) {
        touch_next(state, window, k, 0);
        load(state, window, k, 0, &kv_channels);
        load_score(state, window, k, &score_channels);
        const float *const kv = kv_channels.values, *const score = score_channels.values;
#pragma omp simd
        for (int64_t i = 0; i < state->head; i++) {
            const float e = dsv4_exp(score[i] - max[i]);
            den[i] += e;
            num[i] = fmaf(e, kv[i], num[i]);
        }
    }
}

/* Wrong on purpose: every weight is divided before it is used. */
static void divide_first(const struct kv_state *state, const struct window *window,
                         const float *max, float *den, float *num) {
    struct channels kv, score;
    memset(num, 0, (size_t)state->head * sizeof *num);
    for (int k = 0; k < window->n; k++) {
        load(state, window, k, 0, &kv);
        load_score(state, window, k, &score);
        for (int64_t i = 0; i < state->head; i++)
            num[i] = fmaf(dsv4_exp(score.values[i] - max[i]) / den[i], kv.values[i], num[i]);
    }
    for (int64_t i = 0; i < state->head; i++) den[i] = 1.0f;
}

void kv_pool(const struct kv_state *state, float *values, int64_t request, int64_t position) {
    float max[KV_HEAD], den[KV_HEAD], num[KV_HEAD], block_den[KV_HEAD], block_num[KV_HEAD];
    struct window window;
    find_rows(state, &window, request, position);
    find_max(state, &window, max);
    if (state->wrong == KV_NO_MAX) memset(max, 0, sizeof max);
    const int block = state->wrong == KV_ONE_BLOCK ? window.n : BLOCK;
    pool_block(state, &window, 0, block < window.n ? block : window.n, max, den, num);
    for (int begin = block; begin < window.n; begin += block) {
        pool_block(state, &window, begin, begin + block, max, block_den, block_num);
#pragma omp simd
        for (int64_t i = 0; i < state->head; i++) {
            den[i] += block_den[i];
            num[i] += block_num[i];
        }
    }
    if (state->wrong == KV_DIVIDE_FIRST) divide_first(state, &window, max, den, num);
#pragma omp simd
    for (int64_t i = 0; i < state->head; i++) values[i] = num[i] / den[i];
}

/* ---- bound ---- */

/* Channels whose balls are worked out together, in loops that compilers make vectors of. */
enum { TILE = 128 };
struct tile {
    const struct kv_state *state;
    const struct window *window;
    int64_t first;
    int n;
    double most[TILE]; /* scores */
};

/* The terms of a sum of every channel, as dsv4_terms_add() adds them. */
struct tile_terms {
    double v[TILE], magnitude[TILE], r[TILE];
};

static void add_terms(struct tile_terms *t, const double *term, const double *r, int n) {
    for (int i = 0; i < n; i++) {
        t->v[i] += term[i];
        t->magnitude[i] += fabs(term[i]) + r[i];
        t->r[i] += r[i];
    }
}

static struct dsv4_terms terms_of(const struct tile_terms *t, int i, int64_t n) {
    return (struct dsv4_terms){.v = t->v[i], .magnitude = t->magnitude[i], .r = t->r[i], .n = n};
}

/* n elements from this column on, exactly. */
static void read_elements(const struct kv_state *state, const char *row, int64_t column, int n,
                          double *x) {
    const float *const floats = (const float *)(const void *)row + column;
    const uint16_t *const halves = (const uint16_t *)(const void *)row + column;
    if (state->state->dtype == DSV4_F32)
        for (int i = 0; i < n; i++) x[i] = (double)floats[i];
    else
        for (int i = 0; i < n; i++) x[i] = (double)dsv4_bf16_to_f32(halves[i]);
}

static void find_scores(const struct tile *tile, int k, struct dsv4_ball *score) {
    const struct kv_state *const state = tile->state;
    const int64_t column = tile->window->column[k] + tile->first;
    double x[TILE];
    read_elements(state, tile->window->row[k], column + kv_state_width(state->ratio, state->head),
                  tile->n, x);
    for (int i = 0; i < tile->n; i++) score[i] = dsv4_ball_of(x[i]);
    if (state->state->dtype == DSV4_F32) return;
    const float *const ape =
        (const float *)(const void *)((const char *)state->ape->data +
                                      tile->window->ape_row[k] * state->ape->stride[0]) +
        column;
    for (int i = 0; i < tile->n; i++)
        score[i] = dsv4_ball_add(score[i], dsv4_ball_of((double)ape[i]));
}

/* Adds row k: its weights, of which other maxima would make `ulps` more, and their products. */
static void add_row(const struct tile *tile, const dsv4_arithmetic *a, int k, double ulps,
                    struct tile_terms *weights, struct tile_terms *products) {
    struct dsv4_ball score[TILE];
    double x[3][TILE], kv[TILE], p[TILE], r[TILE];
    find_scores(tile, k, score);
    for (int i = 0; i < tile->n; i++) {
        const struct dsv4_ball off = dsv4_ball_sub(score[i], dsv4_ball_of(tile->most[i]));
        const double reach = dsv4_ball_exp_reach(a, off);
        x[0][i] = off.v;
        x[1][i] = off.v - reach;
        x[2][i] = off.v + reach;
    }
    for (int e = 0; e < 3; e++)
        for (int i = 0; i < tile->n; i++) x[e][i] = exp(x[e][i]);
    for (int i = 0; i < tile->n; i++) {
        const struct dsv4_ball w = dsv4_ball_between(x[0][i], x[1][i], x[2][i], a->exp_ulp);
        p[i] = w.v;
        r[i] = w.r + 2 * ulps * DSV4_BALL_U * w.v;
    }
    add_terms(weights, p, r, tile->n);
    read_elements(tile->state, tile->window->row[k], tile->window->column[k] + tile->first, tile->n,
                  kv);
    for (int i = 0; i < tile->n; i++) {
        p[i] *= kv[i];
        r[i] *= fabs(kv[i]);
    }
    add_terms(products, p, r, tile->n);
}

/*
 * A channel's value: weights p = exp(score - m), a difference and an exp, m being whatever maximum cancels: online softmax
 * rescales by an exp and a product more for every tile of 16 rows at most. Sums of p in binary32, of p * kv in the
 * declared class. The division comes at the end, or is done on every weight.
 */
static void pool_tile(struct tile *tile, const dsv4_arithmetic *a, struct dsv4_ball *values) {
    const int rows = tile->window->n;
    const double ulps =
        (double)(rows / BLOCK + 2) * ((double)a->exp_ulp + 0.5) + (double)a->divide_ulp;
    struct tile_terms weights = {{0}, {0}, {0}}, products = {{0}, {0}, {0}};
    struct dsv4_ball score[TILE];
    for (int i = 0; i < tile->n; i++) tile->most[i] = -INFINITY;
    for (int k = 0; k < rows; k++) {
        find_scores(tile, k, score);
        for (int i = 0; i < tile->n; i++)
            tile->most[i] = tile->most[i] > score[i].v ? tile->most[i] : score[i].v;
    }
    for (int k = 0; k < rows; k++) add_row(tile, a, k, ulps, &weights, &products);
    for (int i = 0; i < tile->n; i++) {
        const struct dsv4_terms over = terms_of(&products, i, rows),
                                under = terms_of(&weights, i, rows);
        values[i] = dsv4_ball_div(a, dsv4_ball_sum(a, DSV4_SUM_DOT, &over),
                                  dsv4_ball_sum(a, DSV4_SUM_ROW, &under));
    }
}

void kv_pool_balls(const struct kv_state *state, const dsv4_arithmetic *a, struct dsv4_ball *values,
                   int64_t request, int64_t position) {
    struct window window;
    find_rows(state, &window, request, position);
    for (int64_t first = 0; first < state->head; first += TILE) {
        const int64_t left = state->head - first;
        struct tile tile = {.state = state,
                            .window = &window,
                            .first = first,
                            .n = (int)(left < TILE ? left : TILE)};
        pool_tile(&tile, a, values + first);
    }
}

bool kv_boundary(int64_t slot, int64_t position, int64_t ratio, enum kv_wrong wrong) {
    if (slot < 0 && wrong != KV_PADDING_WRITES) return false;
    if (wrong == KV_BOUNDARY_EARLY) return position % ratio == 0 && position >= ratio;
    return (position + 1) % ratio == 0;
}
