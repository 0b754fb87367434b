/* SPDX-License-Identifier: Apache-2.0 */
/* What the ops share that build indices and metadata: the step they run in, and their integer tensors. */
#ifndef DSV4_IDX_FAMILY_H
#define DSV4_IDX_FAMILY_H

#include "../input/serving.h"
#include "../op.h"

enum { IDX_STREAM_TOPK = 30, IDX_STREAM_STALE = 31 };

#define IDX_VIEW_PARAM                                                                             \
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide far",                                      \
                    "wide: rows lie apart, as slices of a wider tensor do; far: those that are "   \
                    "written lie 1 GiB apart")
#define IDX_FIRST_TOKEN_PARAM                                                                      \
    DSV4_PARAM_INT("first_token", INPUT, 0, 0, 1 << 22,                                            \
                   "query_start_loc[0]: tokens of the step before the first request")
#define IDX_INVALID_PARAM                                                                          \
    DSV4_PARAM_INT("invalid_every", INPUT, 0, 0, 1 << 20,                                          \
                   "every n-th token counts as padding too; 0: none")
#define IDX_SHORT_PARAM                                                                            \
    DSV4_PARAM_INT("short_by", INPUT, 0, 0, 1 << 20,                                               \
                   "seq_lens are so many tokens too short for their queries, but at least 0: "     \
                   "requests of padding")
#define IDX_BEFORE_PARAM                                                                           \
    DSV4_PARAM_INT("before", INPUT, 0, 0, 1,                                                       \
                   "1: padding has negative positions: -1, -130, -259, -1, ...")
#define IDX_STEP_PARAMS(initial)                                                                   \
    DSV4_BATCH_PARAMS(initial), DSV4_ADDRESS_PARAM, IDX_FIRST_TOKEN_PARAM, IDX_VIEW_PARAM

/* One step: the batch, the pages of one cache, and where its tokens start. */
struct idx_step {
    struct dsv4_batch batch;
    struct dsv4_paging paging, other; /* `other` where an op has two caches */
    int64_t first;
};

static inline struct idx_step *idx_step_of(const struct dsv4_case *c) { return c->plan; }

/* Lays the step out as c->plan. -1 with err set. */
int idx_step_make(struct dsv4_case *c, struct dsv4_err *err);

/* Hands out pages for a cache with one row per `ratio` tokens. */
void idx_step_page(struct dsv4_case *c, int64_t block_size, int64_t ratio, int64_t window,
                   int64_t page_bytes);

/* ---- shapes ---- */

void idx_shape_rows(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t n);

/* [rows, width] i32; `wide` views put `extra` elements between rows, `far` ones 1 GiB and some if it is written. */
void idx_shape_matrix(struct dsv4_case *c, size_t slot, int64_t rows, int64_t width, int64_t extra);
void idx_shape_table(struct dsv4_case *c, size_t slot);

/* ---- fills ---- */

/* Prefix sums of the queries, from `first` on. */
void idx_fill_query_start(const struct dsv4_case *c, size_t slot);
void idx_fill_seq_lens(const struct dsv4_case *c, size_t slot);

/* The same, less short_by. */
void idx_fill_short_seq_lens(const struct dsv4_case *c, size_t slot);

/* Rows from `first` on; those before and after the batch's are stale but name a request. */
void idx_fill_token_to_req(const struct dsv4_case *c, size_t slot);

/* 1 for tokens of the batch but every invalid_every-th. */
void idx_fill_valid(const struct dsv4_case *c, size_t slot);
bool idx_token_is_valid(const struct dsv4_case *c, int64_t t);
void idx_fill_positions(const struct dsv4_case *c, size_t slot);

/* Positions; a stale token's is the last one of the request that its row of `requests` names. */
void idx_fill_stale_positions(const struct dsv4_case *c, size_t slot, size_t requests);

/* Where the case says `before`: positions of padding become negative. */
void idx_fill_positions_before(const struct dsv4_case *c, size_t slot);
void idx_fill_table(const struct dsv4_case *c, size_t slot);

/* Lengths by turns, as in "128,0,~64,-3": ~ draws up to the number. NULL with err set if the text is none. */
int32_t *idx_lengths(struct dsv4_case *c, const char *name, int64_t n, struct dsv4_err *err);

/* What an indexer selects for token t among its (position + 1) / ratio rows: all of them in order if they fit into
 * width, else some; then -1. `holes`: every fifth entry is -1 too. Stale tokens name rows that their stale request has. */
void idx_fill_topk(const struct dsv4_case *c, int32_t *row, int64_t t, int64_t request,
                   int64_t width, int64_t ratio, bool holes);

/* ---- reading a call ---- */

static inline int32_t idx_at(const dsv4_tensor *t, int64_t i) {
    int32_t x;
    memcpy(&x, (const char *)t->data + i * t->stride[0], sizeof x);
    return x;
}

static inline int64_t idx_at_i64(const dsv4_tensor *t, int64_t i) {
    int64_t x;
    memcpy(&x, (const char *)t->data + i * t->stride[0], sizeof x);
    return x;
}

static inline bool idx_flag(const dsv4_tensor *t, int64_t i) {
    return ((const uint8_t *)t->data)[i * t->stride[0]] != 0;
}

static inline int32_t idx_at2(const dsv4_tensor *t, int64_t i, int64_t j) {
    int32_t x;
    memcpy(&x, (const char *)t->data + i * t->stride[0] + j * t->stride[1], sizeof x);
    return x;
}

static inline int32_t *idx_row(const dsv4_tensor *t, int64_t i) {
    return (int32_t *)(void *)((char *)t->data + i * t->stride[0]);
}

/* The same as kernels with 32-bit offsets have it where `wraps`. */
static inline int32_t *idx_row_or(const dsv4_tensor *t, int64_t i, bool wraps) {
    const int64_t offset = i * t->stride[0];
    return (int32_t *)(void *)((char *)t->data + (wraps ? offset & INT64_C(0x7FFFFFFF) : offset));
}

static inline bool idx_absent(const dsv4_tensor *t) { return t->ndim == 0; }
static inline int64_t idx_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t idx_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* The slot of row `row` of request `request`: its page times block_size, plus the place in the page, in 64 bits. A row
 * beyond the table, or a request beyond its rows, is -1; only wrong references ask for one. */
int64_t idx_slot(const dsv4_tensor *table, int64_t request, int64_t row, int64_t block_size);

/* The request of token t: the last r with query_start_loc[r] <= t among those with tokens. -1: none has it. */
int64_t idx_request_of(const dsv4_tensor *query_start_loc, int64_t t);

#endif
