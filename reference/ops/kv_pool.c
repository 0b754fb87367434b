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

#include "../num/bf16.h"
#include "../num/exp.h"
#include "kv_family.h"

enum { CHUNK = 64, BLOCK = 16 };

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

/* CHUNK kv values and scores of one row, from column `at`. */
static void load_row(const struct kv_state *state, const struct window *window, int k, int64_t at,
                     float *restrict kv, float *restrict score) {
    const int64_t width = kv_state_width(state->ratio, state->head);
    const int64_t column = window->column[k] + at;
    const char *const row = window->row[k];
    if (row == NULL) {
        memset(kv, 0, CHUNK * sizeof *kv);
        memset(score, 0, CHUNK * sizeof *score);
    } else if (state->state->dtype == DSV4_F32) {
        memcpy(kv, row + column * 4, CHUNK * sizeof *kv);
        memcpy(score, row + (width + column) * 4, CHUNK * sizeof *score);
    } else {
        uint16_t codes[2][CHUNK];
        memcpy(codes[0], row + column * 2, sizeof codes[0]);
        memcpy(codes[1], row + (width + column) * 2, sizeof codes[1]);
        float ape[CHUNK] = {0};
        if (state->wrong != KV_APE_LOST)
            memcpy(ape,
                   (const char *)state->ape->data + window->ape_row[k] * state->ape->stride[0] +
                       column * 4,
                   sizeof ape);
        for (int i = 0; state->wrong == KV_APE_ROUNDED && i < CHUNK; i++)
            ape[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(ape[i]));
#pragma omp simd
        for (int i = 0; i < CHUNK; i++) {
            kv[i] = dsv4_bf16_to_f32(codes[0][i]);
            score[i] = dsv4_bf16_to_f32(codes[1][i]) + ape[i];
        }
    }
}

struct sums {
    float max[CHUNK], den[CHUNK], num[CHUNK];
};

/* The sums of rows [begin, end) as one block. */
static void pool_block(const struct kv_state *state, const struct window *window, int64_t at,
                       int begin, int end, const float *restrict max, float *restrict den,
                       float *restrict num) {
    float kv[CHUNK], score[CHUNK];
    memset(den, 0, CHUNK * sizeof *den);
    memset(num, 0, CHUNK * sizeof *num);
    for (int k = begin; k < end; k++) {
        load_row(state, window, k, at, kv, score);
#pragma omp simd
        for (int i = 0; i < CHUNK; i++) {
            const float e = dsv4_exp(score[i] - max[i]);
            den[i] += e;
            num[i] = fmaf(e, kv[i], num[i]);
        }
    }
}

/* Wrong on purpose: every weight is divided before it is used. */
static void divide_first(const struct kv_state *state, const struct window *window, int64_t at,
                         struct sums *sums) {
    float kv[CHUNK], score[CHUNK];
    memset(sums->num, 0, sizeof sums->num);
    for (int k = 0; k < window->n; k++) {
        load_row(state, window, k, at, kv, score);
        for (int i = 0; i < CHUNK; i++)
            sums->num[i] =
                fmaf(dsv4_exp(score[i] - sums->max[i]) / sums->den[i], kv[i], sums->num[i]);
    }
    for (int i = 0; i < CHUNK; i++) sums->den[i] = 1.0f;
}

static void pool_chunk(const struct kv_state *state, const struct window *window, int64_t at,
                       float *values) {
    struct sums sums;
    float kv[CHUNK], score[CHUNK], den[CHUNK], num[CHUNK];
    for (int i = 0; i < CHUNK; i++) sums.max[i] = -INFINITY;
    for (int k = 0; k < window->n; k++) {
        load_row(state, window, k, at, kv, score);
#pragma omp simd
        for (int i = 0; i < CHUNK; i++)
            sums.max[i] = score[i] > sums.max[i] ? score[i] : sums.max[i];
    }
    if (state->wrong == KV_NO_MAX) memset(sums.max, 0, sizeof sums.max);
    const int block = state->wrong == KV_ONE_BLOCK ? window->n : BLOCK;
    pool_block(state, window, at, 0, block < window->n ? block : window->n, sums.max, sums.den,
               sums.num);
    for (int begin = block; begin < window->n; begin += block) {
        pool_block(state, window, at, begin, begin + block, sums.max, den, num);
#pragma omp simd
        for (int i = 0; i < CHUNK; i++) {
            sums.den[i] += den[i];
            sums.num[i] += num[i];
        }
    }
    if (state->wrong == KV_DIVIDE_FIRST) divide_first(state, window, at, &sums);
#pragma omp simd
    for (int i = 0; i < CHUNK; i++) values[at + i] = sums.num[i] / sums.den[i];
}

void kv_pool(const struct kv_state *state, float *values, int64_t request, int64_t position) {
    struct window window;
    find_rows(state, &window, request, position);
    for (int64_t at = 0; at < state->head; at += CHUNK) pool_chunk(state, &window, at, values);
}

bool kv_boundary(int64_t slot, int64_t position, int64_t ratio, enum kv_wrong wrong) {
    if (slot < 0 && wrong != KV_PADDING_WRITES) return false;
    if (wrong == KV_BOUNDARY_EARLY) return position % ratio == 0 && position >= ratio;
    return (position + 1) % ratio == 0;
}
