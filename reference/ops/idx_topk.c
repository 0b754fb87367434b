/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_topk: the k largest logits of each row.
 *
 * Row r has n = len values logits[r, start .. start + len), by form:
 *   rows        start = row_starts[r], len = row_ends[r] - start            (prefill)
 *   lens        start = 0, len = lens[r / next_n] - next_n + r % next_n + 1 (decode, one length per request)
 *   lens_exact  start = 0, len = lens[r]                                    (decode, one length per row)
 * A negative len counts as 0, one beyond the columns as all that there are from start on, none where start lies beyond
 * them. Domain: starts from 0 on. out[r, 0 .. k) are positions from start on:
 *   len <= k  0 .. len - 1, then -1; the values are not looked at
 *   else      the k greatest values, equal ones by smaller position; ascending by position
 * Values are ordered by their bits: -NaN < -inf < ... < -0 < +0 < ... < +inf < +NaN, NaN by payload.
 * Columns of out from k on stay untouched. No arithmetic, no rounding.
 *
 * Source: aiter's stable top-k (aiter/ops/topk.py), vllm top_k_per_row_prefill and top_k_per_row_decode for the lengths.
 * Latitude: upstream's other kernels leave the order and the choice among ties open, and take zeros for equal: whatever
 * class but the canon is declared, rows are compared as sets. Some treat -inf as absent, which no class does.
 */
#include <stdio.h>

#include "../bound/admit.h"
#include "../input/input.h"
#include "../memory.h"
#include "../num/bits.h"
#include "attn_family.h"
#include "idx_family.h"

enum { LOGITS, ROW_STARTS, ROW_ENDS, LENS, OUT };
enum wrong {
    RIGHT,
    VALUE_ORDER,
    LARGER_INDEX,
    ABSOLUTE,
    START_LOST,
    LEN_IGNORED,
    NEXT_N_LOST,
    TAIL_ZERO,
    TAIL_KEPT,
    INF_ABSENT,
    ZEROS_EQUAL,
    NAN_LAST,
    HALF_KEYS,
    ROW_DENSE,
    SMALLEST,
    SHORT_ROWS_SORTED,
    COLUMNS_DENSE,
    ROW_WRAPS,
    OUT_WRAPS,
    NEGATIVE_LEN,
    LONG_LEN,
    EMPTY_KEPT,
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("form", CALL, "rows", "rows lens lens_exact",
                    "rows by starts and ends, or by a length per request or per row"),
    DSV4_PARAM_INT("k", CALL, 8, 1, 1 << 16, "values that are looked for"),
    DSV4_PARAM_INT("next_n", CALL, 1, 1, 16, "rows per request (form lens)"),
    DSV4_PARAM_INT("rows", INPUT, 3, 0, 1 << 20, "rows"),
    DSV4_PARAM_INT("columns", INPUT, 0, 0, 1 << 22, "columns of logits; 0: as the rows need"),
    DSV4_PARAM_TEXT("lens", INPUT, "20", "lengths by turns: 128,0,~64 (~ draws up to)"),
    DSV4_PARAM_TEXT("starts", INPUT, "0", "starts by turns (form rows)"),
    DSV4_PARAM_TEXT("given", INPUT, "none",
                    "lengths by turns that no row has, as -1,99: in place of lens; none: lens"),
    DSV4_PARAM_INT("sparse", INPUT, 0, 0, 1 << 20,
                   "n > 0: only the first row and the last n have values; other logits are not "
                   "there at all"),
    DSV4_PARAM_INT("row_gap", INPUT, 0, 0, 1 << 30,
                   "columns between the rows of logits and of out"),
    DSV4_PARAM_INT("column_gap", INPUT, 0, 0, 1 << 16, "floats between the columns of logits"),
    DSV4_PARAM_INT("spare", INPUT, 2, 0, 1 << 16, "columns of out after k"),
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide",
                    "wide: rows lie apart, by no multiple of 16 bytes"),
    DSV4_PARAM_NAME(
        "values", INPUT, "normal",
        "normal coarse equal low_bits ascending descending zeros minus_inf "
        "all_minus_inf nan scores",
        "about N(0, 1); many ties; one value; ones in 10 low bits; sorted; +0 and -0; half -inf; "
        "all -inf; NaN of both signs and infinities; sums of relu, mostly 0"),
};

static const struct dsv4_slot slots[] = {
    {"logits",     DSV4_IN,  "[rows, columns] f32, strided",                  "scores; garbage outside of the rows"},
    {"row_starts", DSV4_IN,  "[rows] i32, or absent",                         "first column"                       },
    {"row_ends",   DSV4_IN,  "[rows] i32, or absent",                         "column after the last"              },
    {"lens",       DSV4_IN,  "[rows / next_n] or [rows] i32, or absent",      "lengths"                            },
    {"out",        DSV4_OUT, "[rows, k and spare columns] i32, rows strided", "positions in the row"               },
};

static const struct dsv4_mutant mutants[] = {
    {"value-order",       "positions in order of their values; they ascend",                      VALUE_ORDER  },
    {"larger-index",      "the last of equal values chosen; it is the first",                     LARGER_INDEX },
    {"absolute",          "columns of logits given; positions count from the row's start",        ABSOLUTE     },
    {"start-lost",        "rows read from column 0; they begin at their start",                   START_LOST   },
    {"len-ignored",       "all columns from the start on; the row ends before",                   LEN_IGNORED  },
    {"next-n-lost",       "every row of a request as long as its last one",                       NEXT_N_LOST  },
    {"tail-zero",         "0 after the last position of a short row; it is -1",                   TAIL_ZERO    },
    {"tail-kept",         "the tail of a short row left as it was; it is -1",                     TAIL_KEPT    },
    {"inf-absent",        "positions of -inf given as -1; they are positions like others",        INF_ABSENT   },
    {"zeros-equal",       "-0 and +0 taken for equal; +0 is greater",                             ZEROS_EQUAL  },
    {"nan-last",          "NaN below all numbers; +NaN is above them",                            NAN_LAST     },
    {"half-keys",         "values compared in 16 bits; equal ones there are not equal",           HALF_KEYS    },
    {"row-dense",         "rows taken as contiguous; they have a stride",                         ROW_DENSE    },
    {"columns-dense",     "columns of logits taken as contiguous; they have a stride",            COLUMNS_DENSE},
    {"smallest",          "the smallest values chosen",                                           SMALLEST     },
    {"short-rows-sorted", "a row of at most k sorted by value; it is 0, 1, 2, ...",
     SHORT_ROWS_SORTED                                                                                         },
    {"row-wraps",         "byte offset of a row of logits computed in 32 bits",                   ROW_WRAPS    },
    {"out-wraps",         "byte offset of a row of out computed in 32 bits",                      OUT_WRAPS    },
    {"negative-len",
     "a negative length taken as it is: -1 fills from there, before the row; it counts as 0",     NEGATIVE_LEN },
    {"long-len",          "a length beyond the columns taken as it is; it counts as all of them", LONG_LEN     },
    {"empty-row-kept",    "a row of length 0, padding, left as it was; it is all -1",             EMPTY_KEPT   },
};

struct plan {
    int64_t *lens, *starts;
    int32_t *given; /* what the call says in place of lens, or NULL */
};

static bool by_rows(const struct dsv4_case *c) { return dsv4_case_is(c, "form", "rows"); }

/* Rows that lie far apart, or of which few are there at all. */
static void spread_rows(struct dsv4_case *c) {
    const int64_t rows = dsv4_case_int(c, "rows"), gap = dsv4_case_int(c, "row_gap");
    const int64_t per = dsv4_case_is(c, "form", "lens") ? dsv4_case_int(c, "next_n") : 1;
    const int64_t sparse = dsv4_case_int(c, "sparse");
    int64_t *const live = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *live);
    int64_t n = 0;
    for (int64_t r = 0; r < rows; r++)
        if (sparse == 0 || r < per || r / per >= rows / per - sparse) live[n++] = r;
    if (sparse > 0 || gap > 0) dsv4_live_rows(c, LOGITS, live, n);
    if (gap == 0) return;
    dsv4_widen(c, LOGITS, 0, 4 * gap);
    dsv4_widen(c, OUT, 0, 4 * gap);
    for (int64_t r = 0; r < rows; r++) live[r] = r;
    dsv4_live_rows(c, OUT, live, rows);
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    const int64_t rows = dsv4_case_int(c, "rows"), k = dsv4_case_int(c, "k");
    const int64_t per = dsv4_case_is(c, "form", "lens") ? dsv4_case_int(c, "next_n") : 1;
    const int64_t n = rows / per, sparse = dsv4_case_int(c, "sparse");
    int64_t columns = 1;
    c->plan = plan;
    if (rows % per != 0)
        return dsv4_fail(err, "rows: %lld; a multiple of next_n (%lld)", (long long)rows,
                         (long long)per);
    if ((plan->lens = attn_lengths(c, "lens", n, 1, err)) == NULL) return -1;
    if ((plan->starts = attn_lengths(c, "starts", n, 2, err)) == NULL) return -1;
    if (!dsv4_case_is(c, "given", "none")) {
        if ((plan->given = idx_lengths(c, "given", n, err)) == NULL) return -1;
        for (int64_t i = 0; i < n; i++) plan->lens[i] = plan->given[i];
    }
    for (int64_t i = 1; sparse > 0 && i < n - sparse; i++) plan->lens[i] = 0;
    for (int64_t i = 0; i < n && plan->given == NULL; i++) {
        const int64_t end = plan->lens[i] + (by_rows(c) ? plan->starts[i] : 0);
        columns = end > columns ? end : columns;
    }
    if (dsv4_case_int(c, "columns") == 0) columns += 3;
    if (dsv4_case_int(c, "columns") >= columns)
        columns = dsv4_case_int(c, "columns");
    else if (dsv4_case_int(c, "columns") != 0)
        return dsv4_fail(err, "columns: the rows need %lld", (long long)columns);
    DSV4_SHAPE(c, LOGITS, DSV4_F32, rows, columns);
    DSV4_SHAPE(c, ROW_STARTS, DSV4_I32, rows);
    DSV4_SHAPE(c, ROW_ENDS, DSV4_I32, rows);
    DSV4_SHAPE(c, LENS, DSV4_I32, n);
    DSV4_SHAPE(c, OUT, DSV4_I32, rows, k + dsv4_case_int(c, "spare"));
    for (size_t slot = LOGITS; slot <= OUT; slot++) c->tensors[slot].align = 4;
    dsv4_widen(c, LOGITS, 1, 4 * dsv4_case_int(c, "column_gap"));
    if (dsv4_case_is(c, "view", "wide")) {
        dsv4_widen(c, LOGITS, 0, columns % 4 == 3 ? 8 : 4);
        dsv4_widen(c, OUT, 0, 12);
    }
    spread_rows(c);
    if (by_rows(c)) {
        dsv4_absent(c, LENS);
    } else {
        dsv4_absent(c, ROW_STARTS);
        dsv4_absent(c, ROW_ENDS);
    }
    return 0;
}

static float value_of(const struct dsv4_case *c, int64_t r, int64_t i) {
    static const uint32_t odd[] = {0x7FC00000, 0xFFC00000, 0x7F800000, 0xFF800000};
    const uint64_t bits = dsv4_random(c->seed, 1, (uint64_t)r << 32 | (uint64_t)i);
    const char *const word = dsv4_case_word(c, "values");
    const float normal = dsv4_normal(bits);
    const bool half = dsv4_random(c->seed, 2, bits) >> 63 != 0;
    if (strcmp(word, "normal") == 0) return normal;
    if (strcmp(word, "coarse") == 0) return (float)(dsv4_below(bits, 16) - 8) * 0.5f;
    if (strcmp(word, "equal") == 0) return 1.5f;
    if (strcmp(word, "low_bits") == 0)
        return dsv4_from_bits(0x3F800000u | (uint32_t)(bits >> 40 & 1023));
    if (strcmp(word, "ascending") == 0) return (float)i * 0.5f;
    if (strcmp(word, "descending") == 0) return (float)i * -0.5f;
    if (strcmp(word, "zeros") == 0) return half ? 0.0f : -0.0f;
    if (strcmp(word, "minus_inf") == 0) return half ? normal : dsv4_from_bits(0xFF800000u);
    if (strcmp(word, "all_minus_inf") == 0) return dsv4_from_bits(0xFF800000u);
    if (strcmp(word, "nan") == 0) return half ? normal : dsv4_from_bits(odd[bits >> 20 & 3]);
    return half || normal < 0.0f ? 0.0f : normal; /* scores */
}

/* What lies outside of a row would be chosen, were it looked at. */
static void fill_row(const struct dsv4_case *c, int64_t r, int64_t start, int64_t len) {
    const dsv4_tensor *const logits = &c->tensors[LOGITS].t;
    char *const row = (char *)logits->data + r * logits->stride[0];
    for (int64_t i = 0; i < logits->shape[1]; i++) {
        const bool outside = i < start || i >= start + len;
        const float value =
            outside ? dsv4_from_bits(0x7FC00000u + (uint32_t)(i & 7)) : value_of(c, r, i - start);
        memcpy(row + i * logits->stride[1], &value, sizeof value);
    }
}

static void fill(struct dsv4_case *c) {
    const struct plan *const plan = c->plan;
    const struct dsv4_case_tensor *const logits = &c->tensors[LOGITS];
    const int64_t rows = logits->t.shape[0];
    const int64_t n = dsv4_case_is(c, "form", "lens") ? dsv4_case_int(c, "next_n") : 1;
    const bool starts = by_rows(c);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < logits->n_rows; i++) {
        const int64_t r = logits->rows != NULL ? logits->rows[i] : i;
        const int64_t start = starts ? plan->starts[r] : 0;
        fill_row(c, r, start, plan->lens[r / n] - n + r % n + 1);
    }
    for (int64_t i = 0; i < rows / n; i++) {
        if (!starts) {
            ((int32_t *)c->tensors[LENS].t.data)[i] = (int32_t)plan->lens[i];
            continue;
        }
        ((int32_t *)c->tensors[ROW_STARTS].t.data)[i] = (int32_t)plan->starts[i];
        const int64_t end = plan->starts[i] + plan->lens[i];
        ((int32_t *)c->tensors[ROW_ENDS].t.data)[i] = end > INT32_MAX ? INT32_MAX : (int32_t)end;
    }
}

/* ---- the reference ---- */

static uint32_t key_of(float x, enum wrong wrong) {
    uint32_t bits = dsv4_bits(x);
    if (wrong == ZEROS_EQUAL && bits == 0x80000000u) bits = 0;
    if (wrong == NAN_LAST && (bits & 0x7FFFFFFFu) > 0x7F800000u) return 0;
    uint32_t key = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
    if (wrong == HALF_KEYS) key >>= 16;
    return wrong == SMALLEST ? ~key : key;
}

/* The want-th greatest key, digit by digit; *above: how many are greater. */
static uint32_t threshold_of(const uint32_t *keys, int64_t n, int64_t want, int64_t *above) {
    static const int shifts[] = {21, 10, 0};
    static const uint32_t digits[] = {2047, 2047, 1023};
    uint32_t prefix = 0, mask = 0;
    *above = 0;
    for (int level = 0; level < 3; level++) {
        int64_t counts[2048] = {0};
        for (int64_t i = 0; i < n; i++)
            counts[keys[i] >> shifts[level] & digits[level]] += (keys[i] & mask) == prefix;
        uint32_t bin = digits[level];
        for (; *above + counts[bin] < want; bin--) *above += counts[bin];
        prefix |= bin << shifts[level];
        mask |= digits[level] << shifts[level];
    }
    return prefix;
}

/* The k chosen positions, ascending. */
static void choose(int32_t *out, const uint32_t *keys, int64_t n, int64_t k, enum wrong wrong) {
    int64_t above, found = 0;
    const uint32_t threshold = threshold_of(keys, n, k, &above);
    int64_t ties = k - above, skip = 0;
    if (wrong == LARGER_INDEX) {
        for (int64_t i = 0; i < n; i++) skip += keys[i] == threshold;
        skip -= ties;
    }
    for (int64_t i = 0; i < n && found < k; i++) {
        if (keys[i] < threshold) continue;
        if (keys[i] == threshold && (skip-- > 0 || ties-- <= 0)) continue;
        out[found++] = (int32_t)i;
    }
}

static void sort_by_value(int32_t *out, const uint32_t *keys, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        const int32_t one = out[i];
        int64_t j = i;
        for (; j > 0 && keys[out[j - 1]] < keys[one]; j--) out[j] = out[j - 1];
        out[j] = one;
    }
}

static void row_span(const dsv4_call *call, int64_t r, enum wrong wrong, int64_t *start,
                     int64_t *len) {
    const int64_t columns = call->tensors[LOGITS].shape[1];
    const int64_t next_n = dsv4_is(call, "form", "lens") ? dsv4_int(call, "next_n", 1) : 1;
    *start = 0;
    if (dsv4_is(call, "form", "rows")) {
        *start = ((const int32_t *)call->tensors[ROW_STARTS].data)[r];
        *len = ((const int32_t *)call->tensors[ROW_ENDS].data)[r] - *start;
    } else {
        *len = ((const int32_t *)call->tensors[LENS].data)[r / next_n];
        if (wrong != NEXT_N_LOST) *len += r % next_n + 1 - next_n;
    }
    if (wrong == START_LOST) *start = 0;
    if (wrong == LONG_LEN && *len > columns - *start) *len = columns + 1 - *start;
    if (wrong == LEN_IGNORED || (wrong != LONG_LEN && *len > columns - *start))
        *len = columns - *start;
    if (*len < 0 && (wrong != NEGATIVE_LEN || *len < -1)) *len = 0;
}

static char *row_at(const dsv4_tensor *t, int64_t r, bool wraps) {
    const int64_t offset = r * t->stride[0];
    return (char *)t->data + (wraps ? offset & INT64_C(0x7FFFFFFF) : offset);
}

static float value_at(const char *row, int64_t column, int64_t stride) {
    float value;
    memcpy(&value, row + column * stride, sizeof value);
    return value;
}

static void select_row(const dsv4_call *call, uint32_t *keys, int64_t r, enum wrong wrong) {
    dsv4_tensor logits = call->tensors[LOGITS];
    const int64_t k = dsv4_int(call, "k", 8);
    if (wrong == ROW_DENSE) logits.stride[0] = logits.shape[1] * logits.stride[1];
    if (wrong == COLUMNS_DENSE) logits.stride[1] = 4;
    const char *const row = row_at(&logits, r, wrong == ROW_WRAPS);
    int32_t *const out = (void *)row_at(&call->tensors[OUT], r, wrong == OUT_WRAPS);
    int64_t start, len;
    row_span(call, r, wrong, &start, &len);
    if (len == 0 && wrong == EMPTY_KEPT) return;
    for (int64_t i = 0; i < len; i++)
        keys[i] = key_of(value_at(row, start + i, logits.stride[1]), wrong);
    const int64_t n = len < k ? len : k;
    if (len <= k)
        for (int64_t i = 0; i < len; i++) out[i] = (int32_t)i;
    else
        choose(out, keys, len, k, wrong);
    for (int64_t i = n; i < k && wrong != TAIL_KEPT; i++) out[i] = wrong == TAIL_ZERO ? 0 : -1;
    if ((wrong == VALUE_ORDER && len > k) || wrong == SHORT_ROWS_SORTED)
        sort_by_value(out, keys, wrong == SHORT_ROWS_SORTED && len > k ? 0 : n);
    for (int64_t i = 0; i < n; i++) {
        if (wrong == INF_ABSENT && keys[out[i]] == key_of(-1.0f / 0.0f, RIGHT)) out[i] = -1;
        if (wrong == ABSOLUTE) out[i] += (int32_t)start;
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum wrong wrong = mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT;
    const dsv4_tensor *const logits = &call->tensors[LOGITS];
    (void)err;
#pragma omp parallel
    {
        uint32_t *const keys = dsv4_alloc((size_t)(logits->shape[1] + 1) * sizeof *keys);
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < logits->shape[0]; r++) select_row(call, keys, r, wrong);
        dsv4_free(keys);
    }
    return DSV4_OK;
}

/*
 * A comparison of sets: the positions of a row in any order, and among equal values any of them; zeros are equal.
 */
static bool is_set(const uint32_t *keys, int64_t len, const int32_t *got, int64_t n,
                   uint8_t *seen) {
    uint32_t least = UINT32_MAX, most = 0;
    for (int64_t i = 0; i < len; i++) seen[i] = 0;
    for (int64_t i = 0; i < n; i++) {
        if (got[i] < 0 || got[i] >= len || seen[got[i]] != 0) return false;
        seen[got[i]] = 1;
        least = keys[got[i]] < least ? keys[got[i]] : least;
    }
    for (int64_t i = 0; i < len; i++)
        if (seen[i] == 0 && keys[i] > most) most = keys[i];
    return n == len || least >= most;
}

static void bound_row(struct dsv4_admission *a, const dsv4_call *call, int64_t r, uint32_t *keys,
                      uint8_t *seen) {
    const int64_t at = r * call->tensors[OUT].stride[0], k = dsv4_int(call, "k", 8);
    const dsv4_tensor *const logits = &call->tensors[LOGITS];
    const char *const row = row_at(logits, r, false);
    int64_t start, len;
    row_span(call, r, RIGHT, &start, &len);
    const int64_t n = len < k ? len : k;
    if (memcmp(dsv4_admit_got(a, OUT, at), dsv4_admit_want(a, OUT, at), (size_t)n * 4) == 0) return;
    for (int64_t i = 0; i < len; i++)
        keys[i] = key_of(value_at(row, start + i, logits->stride[1]), ZEROS_EQUAL);
    if (is_set(keys, len, dsv4_admit_got(a, OUT, at), n, seen)) dsv4_admit_bytes(a, OUT, at, 4 * n);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const logits = &call->tensors[LOGITS];
#pragma omp parallel
    {
        uint32_t *const keys = dsv4_alloc((size_t)(logits->shape[1] + 1) * sizeof *keys);
        uint8_t *const seen = dsv4_alloc((size_t)logits->shape[1] + 1);
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < logits->shape[0]; r++) bound_row(a, call, r, keys, seen);
        dsv4_free(seen);
        dsv4_free(keys);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t stride = c->tensors[slot].t.stride[0], r = offset / stride;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param values[DSV4_MAX_PARAMS];
    dsv4_call call;
    int64_t start, len;
    dsv4_case_call(c, &call, tensors, values);
    row_span(&call, r, RIGHT, &start, &len);
    snprintf(line, size, "row %lld: columns %lld..%lld, place %lld of %lld", (long long)r,
             (long long)start, (long long)(start + len), (long long)(offset % stride / 4),
             (long long)dsv4_case_int(c, "k"));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct plan *const plan = c->plan;
    const int64_t rows = c->tensors[LOGITS].t.shape[0], k = dsv4_case_int(c, "k");
    const int64_t n = dsv4_case_is(c, "form", "lens") ? dsv4_case_int(c, "next_n") : 1;
    for (int64_t r = 0; r < rows; r++) work->bytes_read += 4.0 * (double)plan->lens[r / n] + 8.0;
    work->bytes_written = (double)(rows * k) * 4;
}

const struct dsv4_op dsv4_op_idx_topk = {
    .name = "idx_topk",
    .summary = "the k largest logits of each row, by position",
    .source = "aiter stable top-k; vllm top_k_per_row_prefill and _decode",
    .bound = bound,
    .latitude = "value-order larger-index zeros-equal short-rows-sorted",
    DSV4_OP_PARTS,
};
