/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_combine_topk_swa: one list for sparse prefill from the selected compressed rows and the sliding window.
 *
 * A workspace holds m rows for each request of the chunk: compressed rows from 0 on, window rows from n on. For token t of
 * request i (t counts from query_start_loc[0], i from 0):
 *   pos = seq_lens[i] - query_len + t - (query_start_loc[i] - query_start_loc[0])
 *   a = min((pos + 1) / ratio, topk), b = min(pos + 1, window), first = seq_lens[i] - gather_lens[i]
 *   list = topk_indices[t, c] + m * i for c < a, then m * i + n + pos - b + 1 - first + c for c < b
 * dense: indices[t] = list, then -1 up to the row's end; lens[t] = a + b. ragged: indptr = exclusive prefix sums of
 * lens, indices[indptr[t] ..] = list; the rest is untouched. Tokens that no request covers have no entries,
 * nor has a negative pos, where seq_lens is less than the query.
 *
 * With left_visible and right_visible (V4 Vision: tokens of an image see all of it), the window is
 *   from = max(pos - (window - 1) - max(left_visible[t] - (window - 1), 0), 0, first)
 *   b = min(pos + right_visible[t] + 1, seq_lens[i]) - from, rows m * i + n + from - first + c for c < b
 * and rows have max_image_tokens columns more, with and without an image in the step: a window of 128 and 384 of an
 * image make 512. Ranges must fit: b <= window + max_image_tokens.
 *
 * a follows from the position alone. A -1 among the first a columns becomes m * i - 1, which is a row of the request
 * before: rows must be valid prefixes, and a vector shows what happens to others. ragged: columns from the width of
 * topk_indices on are left unwritten if a is larger. dense refuses a width below topk, and rows shorter than
 * topk + window + max_image_tokens.
 *
 * Integers: no rounding. Source: vllm models/deepseek_v4/common/ops/cache_utils.py; ragged: amd/rocm.py.
 * Ranges: read in public copies of vllm's combine kernel with HAS_IMAGE (pull request 55107: amd/rocm.py and relatives)
 * and of its visibility kernel: a token in an image sees min(pos - start, max_image_tokens - 1) to its left, and
 * min(last - pos, max_image_tokens) to its right; others 0 and 0. Assumed: the dense and the ragged form take ranges alike.
 * Latitude: some of these copies leave -1, and rows from n on, as -1 where the text above adds m * i. Upstream leaves lens of tokens that no request covers undefined; here it is 0.
 */
#include <stdio.h>

#include "idx_family.h"

enum {
    TOPK_INDICES,
    QUERY_START,
    SEQ_LENS,
    GATHER_LENS,
    INDICES,
    LENS,
    INDPTR,
    LEFT_VISIBLE,
    RIGHT_VISIBLE
};
enum {
    RIGHT,
    ROW_WRAPS,
    LEN_FROM_TOPK,
    ROW_TOO_EARLY,
    WINDOW_LONG,
    GATHER_START_LOST,
    WINDOW_BASE_LOST,
    REQUEST_BASE_LOST,
    START_NOT_REBASED,
    TAIL_KEPT,
    HOLE_KEPT,
    WINDOW_FIRST,
    CONTEXT_LOST,
    UNWRITTEN_WRITTEN,
    UNCOVERED_LEN,
    NEGATIVE_LEN,
    IMAGE_IGNORED,
    LEFT_ALONE,
    RIGHT_ALONE,
    LEFT_ADDED,
    LEFT_NOT_CLAMPED,
    RIGHT_NOT_CLAMPED
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("form", DIALECT, "dense", "dense ragged",
                    "dense: a row for each token; ragged: rows one after the other, and indptr"),
    DSV4_PARAM_INT("topk", CALL, 512, 0, 1 << 18, "most compressed rows of a token"),
    DSV4_PARAM_INT("window", CALL, 128, 1, 1 << 18, "tokens of the window"),
    DSV4_PARAM_INT("ratio", CALL, 4, 1, 128, "tokens per compressed row"),
    DSV4_PARAM_INT("m", CALL, 2048, 0, 1 << 28, "rows of the workspace for each request"),
    DSV4_PARAM_INT("n", CALL, 1024, 0, 1 << 28, "first of them that holds the window"),
    DSV4_PARAM_INT("max_image_tokens", CALL, 0, 0, 65536, "columns that rows have for images"),
    IDX_STEP_PARAMS("5@20,3@300"),
    IDX_SHORT_PARAM,
    DSV4_PARAM_INT(
        "image", INPUT, 0, 0, 65536,
        "tokens of an image, 0: no ranges; images start at positions 3, 3 + image_every, ..."),
    DSV4_PARAM_INT("image_every", INPUT, 40, 1, 1 << 20, "positions from image to image"),
    DSV4_PARAM_INT("topk_width", INPUT, -1, -1, 1 << 18, "columns of topk_indices; -1: topk"),
    DSV4_PARAM_INT("row_width", INPUT, -1, -1, 1 << 19,
                   "dense: columns of indices; -1: topk + window + image, up to a multiple of 128"),
    DSV4_PARAM_INT("holes", INPUT, 0, 0, 1, "1: -1 among the selected rows"),
};

static const struct dsv4_slot slots[] = {
    {"topk_indices",    DSV4_IN,  "[tokens, W] i32, rows strided; absent if W is 0",
     "row numbers of the request"                                                                                                             },
    {"query_start_loc", DSV4_IN,  "[requests + 1] i32",                                                 "first token of each request, the end"},
    {"seq_lens",        DSV4_IN,  "[requests] i32",                                                     "tokens with the step's"              },
    {"gather_lens",     DSV4_IN,  "[requests] i32",                                                     "window rows in the workspace"        },
    {"indices",         DSV4_OUT, "[tokens, >= topk + window] i32, rows strided; ragged: [>= nnz] i32",
     "rows of the workspace"                                                                                                                  },
    {"lens",            DSV4_OUT, "[tokens] i32",                                                       "entries of each token"               },
    {"indptr",          DSV4_OUT, "[tokens + 1] i32, or absent",                                        "ragged: where rows start"            },
    {"left_visible",    DSV4_IN,  "[tokens] i32, or absent",                                            "tokens of its image before the token"},
    {"right_visible",   DSV4_IN,  "[tokens] i32, or absent",                                            "tokens of its image behind it"       },
};

static const struct dsv4_mutant mutants[] = {
    {"row-wraps",         "byte offset of a row of indices computed in 32 bits",                      ROW_WRAPS        },
    {"len-from-topk",     "compressed rows counted by entries that are not -1; the position says it",
     LEN_FROM_TOPK                                                                                                     },
    {"row-too-early",     "a row counted before its last token; pos / ratio for (pos + 1) / ratio",
     ROW_TOO_EARLY                                                                                                     },
    {"window-long",       "window + 1 tokens; the token itself is one of them",                       WINDOW_LONG      },
    {"gather-start-lost", "window rows by position; the workspace starts at seq_len - gather_len",
     GATHER_START_LOST                                                                                                 },
    {"window-base-lost",  "window rows from 0 on; they start at n",                                   WINDOW_BASE_LOST },
    {"request-base-lost", "rows of the first request for all; request i starts at m * i",
     REQUEST_BASE_LOST                                                                                                 },
    {"start-not-rebased", "query_start_loc taken to start at 0",                                      START_NOT_REBASED},
    {"tail-kept",         "columns beyond lens not written; they are -1",                             TAIL_KEPT        },
    {"hole-kept",         "a -1 stays -1; the literal sum is m * i - 1",                              HOLE_KEPT        },
    {"window-first",      "window before the compressed rows; they come first",                       WINDOW_FIRST     },
    {"context-lost",      "positions counted from the step's first token",                            CONTEXT_LOST     },
    {"unwritten-written", "ragged columns beyond topk_indices written; they stay as they are",
     UNWRITTEN_WRITTEN                                                                                                 },
    {"uncovered-len",     "tokens that no request covers given a window; they have no entries",
     UNCOVERED_LEN                                                                                                     },
    {"negative-len",      "len of a token before its sequence as it comes out, below 0; it is 0",
     NEGATIVE_LEN                                                                                                      },
    {"image-ignored",     "ranges not looked at: a plain window",                                     IMAGE_IGNORED    },
    {"left-alone",        "nothing behind the token; its image is seen to the end",                   LEFT_ALONE       },
    {"right-alone",       "nothing before the window; its image is seen from the start",              RIGHT_ALONE      },
    {"left-added",        "left_visible added to the window; only what exceeds window - 1 is",        LEFT_ADDED       },
    {"left-not-clamped",  "rows before the gathered ones; the workspace starts at them",
     LEFT_NOT_CLAMPED                                                                                                  },
    {"right-not-clamped", "rows behind the sequence; an image may go on in the next chunk",
     RIGHT_NOT_CLAMPED                                                                                                 },
};

static int64_t gather_len(const struct dsv4_case *c, const struct dsv4_request *request) {
    return request->query + idx_min(request->context, dsv4_case_int(c, "window") - 1);
}

static void shape_ranges(struct dsv4_case *c, int64_t tokens) {
    idx_shape_rows(c, LEFT_VISIBLE, DSV4_I32, tokens);
    idx_shape_rows(c, RIGHT_VISIBLE, DSV4_I32, tokens);
    if (dsv4_case_int(c, "image") > 0) return;
    dsv4_absent(c, LEFT_VISIBLE);
    dsv4_absent(c, RIGHT_VISIBLE);
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t image = dsv4_case_int(c, "max_image_tokens"), topk = dsv4_case_int(c, "topk");
    const int64_t need = topk + dsv4_case_int(c, "window") + image;
    int64_t given = dsv4_case_int(c, "topk_width"), width = dsv4_case_int(c, "row_width");
    const bool ragged = dsv4_case_is(c, "form", "ragged");
    if (idx_step_make(c, err) != 0) return -1;
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const int64_t requests = batch->n_requests, tokens = batch->n_rows;
    given = given < 0 ? topk : given;
    width = width < 0 ? (need + 127) / 128 * 128 : width;
    idx_shape_matrix(c, TOPK_INDICES, tokens, given, 20);
    if (given == 0) dsv4_absent(c, TOPK_INDICES);
    idx_shape_rows(c, QUERY_START, DSV4_I32, requests + 1);
    idx_shape_rows(c, SEQ_LENS, DSV4_I32, requests);
    idx_shape_rows(c, GATHER_LENS, DSV4_I32, requests);
    idx_shape_rows(c, LENS, DSV4_I32, tokens);
    idx_shape_rows(c, INDPTR, DSV4_I32, tokens + 1);
    shape_ranges(c, tokens);
    if (dsv4_case_int(c, "image") > image)
        return dsv4_fail(err, "image: longer than max_image_tokens, %lld", (long long)image);
    c->refused = !ragged && (given < topk || width < need);
    if (ragged) {
        idx_shape_rows(c, INDICES, DSV4_I32, tokens * need);
        return 0;
    }
    idx_shape_matrix(c, INDICES, tokens, width, 44);
    dsv4_absent(c, INDPTR);
    return 0;
}

static void fill_ranges(const struct dsv4_case *c) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const int64_t image = dsv4_case_int(c, "image"), most = dsv4_case_int(c, "max_image_tokens");
    for (int64_t t = 0; image > 0 && t < batch->n_rows; t++) {
        const int64_t at = batch->positions[t] - 3, i = at % dsv4_case_int(c, "image_every");
        const bool inside = at >= 0 && i < image && t < batch->n_tokens;
        ((int32_t *)c->tensors[LEFT_VISIBLE].t.data)[t] =
            (int32_t)(inside ? idx_min(i, most - 1) : 0);
        ((int32_t *)c->tensors[RIGHT_VISIBLE].t.data)[t] =
            (int32_t)(inside ? idx_min(image - 1 - i, most) : 0);
    }
}

static void fill(struct dsv4_case *c) {
    const struct idx_step *const step = idx_step_of(c);
    const struct dsv4_batch *const batch = &step->batch;
    const dsv4_tensor *const topk = &c->tensors[TOPK_INDICES].t;
    idx_fill_query_start(c, QUERY_START);
    idx_fill_short_seq_lens(c, SEQ_LENS);
    for (int64_t r = 0; r < batch->n_requests; r++)
        ((int32_t *)c->tensors[GATHER_LENS].t.data)[r] =
            (int32_t)gather_len(c, &batch->requests[r]);
    fill_ranges(c);
    if (topk->ndim == 0) return;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < batch->n_rows; t++)
        idx_fill_topk(c, idx_row(topk, t), t + step->first, batch->token_to_req[t], topk->shape[1],
                      dsv4_case_int(c, "ratio"), dsv4_case_int(c, "holes") != 0);
}

/* What one token's list is made of. */
struct list {
    int64_t compressed, window, request_base, window_base;
};

/* How many rows the window of a token at pos has, and the first of them. */
static int64_t window_of(const dsv4_call *call, int64_t t, int64_t pos, int64_t length,
                         int64_t gathered, int64_t *from, int wrong) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t window = dsv4_int(call, "window", 0) + (wrong == WINDOW_LONG);
    *from = idx_max(pos + 1 - window, 0);
    if (idx_absent(&tensors[LEFT_VISIBLE]) || wrong == IMAGE_IGNORED) return pos + 1 - *from;
    const int64_t left = wrong == RIGHT_ALONE ? 0 : idx_at(&tensors[LEFT_VISIBLE], t);
    const int64_t right = wrong == LEFT_ALONE ? 0 : idx_at(&tensors[RIGHT_VISIBLE], t);
    const int64_t more = wrong == LEFT_ADDED ? left : idx_max(left - (window - 1), 0);
    *from = idx_max(pos + 1 - window - more, wrong == LEFT_NOT_CLAMPED ? 0 : idx_max(gathered, 0));
    const int64_t end = pos + right + 1;
    return (wrong == RIGHT_NOT_CLAMPED ? end : idx_min(end, length)) - *from;
}

static struct list list_of(const dsv4_call *call, int64_t t, int wrong) {
    const dsv4_tensor *const tensors = call->tensors, *const start = &tensors[QUERY_START];
    const int64_t window = dsv4_int(call, "window", 0) + dsv4_int(call, "max_image_tokens", 0);
    const int64_t ratio = dsv4_int(call, "ratio", 1);
    int64_t from;
    const int64_t base = wrong == START_NOT_REBASED ? 0 : idx_at(start, 0);
    const int64_t r = idx_request_of(start, t + base), topk = dsv4_int(call, "topk", 0);
    struct list list = {0};
    if (r < 0) {
        list.window = wrong == UNCOVERED_LEN ? 1 : 0;
        return list;
    }
    const int64_t first = idx_at(start, r), query = idx_at(start, r + 1) - first;
    const int64_t length = idx_at(&tensors[SEQ_LENS], r);
    const int64_t pos = (wrong == CONTEXT_LOST ? 0 : length - query) + t + base - first;
    if (pos < 0 && wrong != NEGATIVE_LEN) return list;
    const int64_t gathered = length - idx_at(&tensors[GATHER_LENS], r);
    list.compressed = idx_min((pos + (wrong != ROW_TOO_EARLY)) / ratio, topk);
    list.window = window_of(call, t, pos, length, gathered, &from, wrong);
    list.window = idx_min(list.window, window + topk - list.compressed);
    list.request_base = wrong == REQUEST_BASE_LOST ? 0 : dsv4_int(call, "m", 0) * r;
    list.window_base = list.request_base + from;
    if (wrong != WINDOW_BASE_LOST) list.window_base += dsv4_int(call, "n", 0);
    if (wrong != GATHER_START_LOST) list.window_base -= gathered;
    if (wrong == LEN_FROM_TOPK && !idx_absent(&tensors[TOPK_INDICES])) {
        const int32_t *const row = idx_row(&tensors[TOPK_INDICES], t);
        int64_t n = 0;
        for (int64_t c = 0; c < tensors[TOPK_INDICES].shape[1]; c++) n += row[c] >= 0;
        list.compressed = idx_min(n, topk);
    }
    return list;
}

static void write_list(const dsv4_call *call, int32_t *to, int64_t t, const struct list *list,
                       int wrong) {
    const dsv4_tensor *const topk = &call->tensors[TOPK_INDICES];
    const int64_t width = idx_absent(topk) ? 0 : topk->shape[1];
    const int64_t before = wrong == WINDOW_FIRST ? list->window : 0;
    for (int64_t c = 0; c < list->compressed; c++) {
        const int64_t x = c < width ? idx_row(topk, t)[c] : -1;
        if (c >= width && wrong != UNWRITTEN_WRITTEN) continue;
        to[before + c] = (int32_t)(wrong == HOLE_KEPT && x < 0 ? x : x + list->request_base);
    }
    const int64_t at = wrong == WINDOW_FIRST ? 0 : list->compressed;
    for (int64_t c = 0; c < list->window; c++) to[at + c] = (int32_t)(list->window_base + c);
}

static int refuse(const dsv4_call *call, struct dsv4_err *err) {
    const dsv4_tensor *const topk = &call->tensors[TOPK_INDICES], *const indices =
                                                                      &call->tensors[INDICES];
    const int64_t width = idx_absent(topk) ? 0 : topk->shape[1], most = dsv4_int(call, "topk", 0);
    if (dsv4_is(call, "form", "ragged")) return 0;
    if (width < most)
        return dsv4_fail(err, "topk_indices has %lld columns, topk is %lld", (long long)width,
                         (long long)most);
    const int64_t need = most + dsv4_int(call, "window", 0) + dsv4_int(call, "max_image_tokens", 0);
    if (indices->shape[1] < need)
        return dsv4_fail(err, "indices has %lld columns; topk, window and image are %lld",
                         (long long)indices->shape[1], (long long)need);
    return 0;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors, *const indices = &tensors[INDICES];
    const bool ragged = dsv4_is(call, "form", "ragged");
    const int64_t tokens = tensors[LENS].shape[0];
    int32_t *const lens = tensors[LENS].data, *const indptr = tensors[INDPTR].data;
    if (refuse(call, err) != 0) return DSV4_REFUSED;
    int64_t sum = 0;
    for (int64_t t = 0; t < tokens; t++) {
        const struct list list = list_of(call, t, mutant);
        lens[t] = (int32_t)(list.compressed + list.window);
        if (ragged) indptr[t] = (int32_t)sum;
        sum += lens[t];
    }
    if (ragged) indptr[tokens] = (int32_t)sum;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const struct list list = list_of(call, t, mutant);
        int32_t *const to = ragged ? (int32_t *)indices->data + indptr[t]
                                   : idx_row_or(indices, t, mutant == ROW_WRAPS);
        write_list(call, to, t, &list, mutant);
        for (int64_t c = lens[t]; !ragged && mutant != TAIL_KEPT && c < indices->shape[1]; c++)
            to[c] = -1;
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const int64_t t = offset / out->stride[0];
    if (slot == INDICES && out->ndim == 1)
        snprintf(line, size, "entry %lld of the ragged rows", (long long)t);
    else if (t >= batch->n_tokens)
        snprintf(line, size, "no request covers token %lld", (long long)t);
    else
        snprintf(line, size, "token %lld: request %d, position %lld", (long long)t,
                 batch->token_to_req[t], (long long)batch->positions[t]);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct dsv4_batch *const batch = &idx_step_of(c)->batch;
    const int64_t window = dsv4_case_int(c, "window"), topk = dsv4_case_int(c, "topk");
    double compressed = 0, seen = 0;
    for (int64_t t = 0; t < batch->n_tokens; t++) {
        const int64_t n = batch->positions[t] + 1;
        compressed += (double)idx_min(n / dsv4_case_int(c, "ratio"), topk);
        seen += (double)idx_min(n, window);
    }
    const dsv4_tensor *const indices = &c->tensors[INDICES].t;
    work->bytes_read = 4 * compressed;
    work->bytes_written = 4.0 * (double)batch->n_rows;
    work->bytes_written += indices->ndim == 1
                               ? 4 * (compressed + seen)
                               : 4.0 * (double)(indices->shape[0] * indices->shape[1]);
}

const struct dsv4_op dsv4_op_idx_combine_topk_swa = {
    .name = "idx_combine_topk_swa",
    .summary = "joins selected compressed rows and the sliding window to one list per token",
    .source = "vllm models/deepseek_v4/common/ops/cache_utils.py, amd/rocm.py",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
