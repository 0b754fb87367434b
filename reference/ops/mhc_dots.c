/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dots of the hyper-connections. Sixteen tokens lie side by side in a SIMD register; each output is a register.
 */
#include <math.h>

#include "../memory.h"
#include "../num/row.h"
#include "../num/rsqrt.h"
#include "../num/turn.h"
#include "mhc_family.h"

enum { TOKENS = DSV4_TURN_ROWS, GROUP = 8 };

static const char *const kinds[] = {"f32", "tf32_truncate", "tf32_half_up", "bf16_hi_lo"};
enum { F32_WHOLE, TF32_TRUNCATE, TF32_HALF_UP, BF16_HI_LO };

int mhc_fn_kind(const dsv4_call *call) {
    int kind = 0;
    while (kind < 3 && !dsv4_is(call, "fn", kinds[kind])) kind++;
    return dsv4_find_param(call, "fn") == NULL ? F32_WHOLE : kind;
}

static float bf16(float x) { return dsv4_bf16_to_f32(dsv4_bf16_from_f32(x)); }

static float fn_value(float x, int kind, enum mhc_wrong wrong) {
    const uint32_t bits = dsv4_bits(x), low = UINT32_C(0x1FFF);
    if (wrong == MHC_FN_MIXED) kind = kind == TF32_TRUNCATE ? TF32_HALF_UP : TF32_TRUNCATE;
    if (wrong == MHC_FN_NEAREST_EVEN && kind == TF32_HALF_UP)
        return dsv4_from_bits((bits + 0xFFFu + (bits >> 13 & 1u)) & ~low);
    if (kind == TF32_TRUNCATE) return dsv4_from_bits(bits & ~low);
    if (kind == TF32_HALF_UP) return dsv4_from_bits((bits + 0x1000u) & ~low);
    if (kind == F32_WHOLE) return x;
    /* Both parts are multiples of x's last place below twice its binade: their sum is exact. */
    const float high = bf16(x);
    return wrong == MHC_FN_LOW_LOST ? high : high + bf16(x - high);
}

float mhc_fn_value(float x, int kind) { return fn_value(x, kind, MHC_RIGHT); }

/* One call at work: fn as [k][outputs, padded to groups]. */
struct work {
    const struct mhc_dots *dots;
    float *fn;
    int64_t padded;
};

static int64_t permuted(int64_t o, enum mhc_wrong wrong) {
    if (wrong != MHC_FN_PERMUTED || o >= 8) return o;
    return o ^ 4;
}

static void pack_fn(struct work *work) {
    const struct mhc_dots *const d = work->dots;
    work->padded = (d->outputs + GROUP - 1) / GROUP * GROUP;
    work->fn = dsv4_alloc((size_t)(work->padded * d->width) * sizeof *work->fn);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < d->width; first += MHC_BLOCK)
        for (int64_t o = 0; o < d->outputs; o++) {
            const int64_t from = permuted(o, d->wrong), end = first + MHC_BLOCK;
            const float *const row = (const void *)((const char *)d->fn + from * d->fn_stride);
            for (int64_t k = first; k < end && k < d->width; k++)
                work->fn[k * work->padded + o] = fn_value(row[k], d->fn_kind, d->wrong);
        }
}

void mhc_add_block(float *restrict total, const float *restrict x, const float *restrict fn,
                   int64_t padded, int64_t n, bool first) {
    float sum[GROUP][TOKENS] = {{0}};
    for (int64_t k = 0; k < n; k++)
        for (int o = 0; o < GROUP; o++) {
            const float w = fn[k * padded + o];
#pragma omp simd
            for (int t = 0; t < TOKENS; t++) sum[o][t] = fmaf(w, x[k * TOKENS + t], sum[o][t]);
        }
    for (int o = 0; o < GROUP; o++)
#pragma omp simd
        for (int t = 0; t < TOKENS; t++) {
            float *const to = &total[o * TOKENS + t];
            *to = first ? sum[o][t] : *to + sum[o][t];
        }
}

/* Dots of one part of 16 tokens: total[o][t]. */
static void part_dots(const struct work *work, float *total, const float *rows, int64_t begin,
                      int64_t end) {
    const int64_t padded = work->padded, width = work->dots->width;
    float x[MHC_BLOCK * TOKENS];
    for (int64_t first = begin; first < end; first += MHC_BLOCK) {
        const int64_t n = end - first < MHC_BLOCK ? end - first : MHC_BLOCK;
        dsv4_turn(x, rows + first, width, n);
        for (int64_t group = 0; group < padded; group += GROUP)
            mhc_add_block(total + group * TOKENS, x, work->fn + first * padded + group, padded, n,
                          first == begin);
    }
}

/* One dot as wrong kernels sum. */
static float wrong_dot(const struct work *work, const float *x, int64_t o, int64_t begin,
                       int64_t end, float carried) {
    const enum mhc_wrong wrong = work->dots->wrong;
    const int64_t size = wrong == MHC_BLOCKS_OF_256 ? 256 : MHC_BLOCK;
    const int64_t blocks = (end - begin + size - 1) / size;
    const int64_t step = wrong == MHC_SPLITS_INTERLEAVED ? work->dots->splits : 1;
    float total = 0.0f, acc = 0.0f;
    for (int64_t turn_of = 0; turn_of < blocks; turn_of++) {
        const int64_t block = wrong == MHC_BLOCKS_REVERSED ? blocks - 1 - turn_of : turn_of;
        if (wrong != MHC_BLOCKS_CARRIED) acc = 0.0f;
        for (int64_t i = block * size; i < (block + 1) * size && begin + i < end; i++) {
            const int64_t k = step > 1 ? begin / ((end - begin)) + i * step : begin + i;
            acc = fmaf(work->fn[k * work->padded + o], x[k], acc);
        }
        total = turn_of == 0 || wrong == MHC_BLOCKS_CARRIED ? acc : total + acc;
    }
    return wrong == MHC_ROW_CARRIED ? carried + total : total;
}

static bool sums_otherwise(enum mhc_wrong wrong) {
    return wrong == MHC_BLOCKS_OF_256 || wrong == MHC_BLOCKS_REVERSED ||
           wrong == MHC_BLOCKS_CARRIED || wrong == MHC_SPLITS_INTERLEAVED ||
           wrong == MHC_ROW_CARRIED;
}

static void wrong_part(const struct work *work, float *total, const float *rows, int64_t begin,
                       int64_t end) {
    for (int64_t o = 0; o < work->dots->outputs; o++)
        for (int t = 0; t < TOKENS; t++) {
            const float before = t > 0 ? total[o * TOKENS + t - 1] : 0.0f;
            total[o * TOKENS + t] =
                wrong_dot(work, rows + t * work->dots->width, o, begin, end, before);
        }
}

static float squares_of(const struct mhc_dots *d, const float *x, int64_t begin, int64_t end) {
    if (d->wrong == MHC_SQUARES_OF_ALL) begin = 0, end = d->width;
    if (d->wrong != MHC_SQUARES_IN_ORDER) return dsv4_row_squares(x + begin, end - begin);
    float sum = 0.0f;
    for (int64_t k = begin; k < end; k++) sum = fmaf(x[k], x[k], sum);
    return sum;
}

/* x as the dots see it where they see bf16(x * r). */
static void normalise(const struct mhc_dots *d, float *x) {
    const float sum = dsv4_row_squares(x, d->width);
    const float r = dsv4_rsqrt(sum / d->mean_of + d->eps);
    const bool rounded = d->wrong != MHC_SCALE_FIRST;
#pragma omp simd
    for (int64_t k = 0; k < d->width; k++) x[k] = rounded ? bf16(x[k] * r) : x[k] * r;
}

/* `rows` has room for TOKENS rows. */
static void tile(const struct work *work, int64_t first, float *rows) {
    const struct mhc_dots *const d = work->dots;
    const int64_t n = d->tokens - first < TOKENS ? d->tokens - first : TOKENS;
    const int64_t part = d->width / d->splits;
    float total[MHC_MIXES * TOKENS];
    for (int64_t t = 0; t < n; t++) d->row(d->source, first + t, rows + t * d->width);
    for (int64_t s = 0; s < d->splits; s++)
        for (int64_t t = 0; t < n; t++)
            *(float *)(void *)(d->squares + s * d->squares_split + (first + t) * d->squares_token) =
                squares_of(d, rows + t * d->width, s * part, (s + 1) * part);
    for (int64_t t = 0; t < n && (d->normed_bf16 || d->wrong == MHC_SCALE_FIRST); t++)
        normalise(d, rows + t * d->width);
    for (int64_t s = 0; s < d->splits; s++) {
        if (sums_otherwise(d->wrong))
            wrong_part(work, total, rows, s * part, (s + 1) * part);
        else
            part_dots(work, total, rows, s * part, (s + 1) * part);
        for (int64_t t = 0; t < n; t++)
            for (int64_t o = 0; o < d->outputs; o++)
                ((float *)(void *)(d->mixes + s * d->mixes_split +
                                   (first + t) * d->mixes_token))[o] = total[o * TOKENS + t];
    }
}

void mhc_dots(const struct mhc_dots *dots) {
    struct work work = {.dots = dots};
    if (dots->tokens == 0) return;
    pack_fn(&work);
#pragma omp parallel
    {
        float *const rows = dsv4_alloc((size_t)(TOKENS * dots->width) * sizeof *rows);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < dots->tokens; first += TOKENS) tile(&work, first, rows);
        dsv4_free(rows);
    }
    dsv4_free(work.fn);
}

float *mhc_dots_open(struct mhc_dots *dots, const dsv4_call *call, const dsv4_tensor *fn,
                     int64_t tokens, int64_t splits, enum mhc_wrong wrong) {
    const int64_t row = fn->shape[0] + 1;
    float *const raw = dsv4_alloc((size_t)(splits * tokens * row + 1) * sizeof *raw);
    *dots = (struct mhc_dots){
        .tokens = tokens,
        .width = fn->shape[1],
        .outputs = fn->shape[0],
        .splits = splits,
        .fn = fn->data,
        .fn_stride = fn->stride[0],
        .fn_kind = mhc_fn_kind(call),
        .mixes = (char *)raw,
        .squares = (char *)(raw + fn->shape[0]),
        .mixes_split = 4 * tokens * row,
        .mixes_token = 4 * row,
        .squares_split = 4 * tokens * row,
        .squares_token = 4 * row,
        .eps = dsv4_float(call, "rms_eps", 1e-6f),
        .mean_of = (float)fn->shape[1],
        .wrong = wrong,
    };
    return raw;
}

void mhc_dots_close(float *raw) { dsv4_free(raw); }
