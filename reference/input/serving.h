/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs like serving: one engine step over a batch of requests with paged caches.
 *
 * A batch is written as a list of requests, `Q@C`: Q new tokens after C computed ones. `xN`
 * repeats, `~` draws a number up to the one given: 257@0                 one prefill of 257 tokens
 *   1@~4096x64            64 decodes, contexts drawn in 0..4096
 *   4@~900x8,300@128      eight decodes with 3 draft tokens each, mixed with one chunk of a longer
 * prefill 0@0                   an empty batch
 *   9@0^40,1@70^80        steps of a series that share their caches: pages for 40 and 80 tokens from the first step on,
 * none recycled or shared, so that a request's pages stay where they are. Rows after the real tokens are padding: slot -1, and
 * contents as stale as a persistent buffer's.
 */
#ifndef DSV4_SERVING_H
#define DSV4_SERVING_H

#include "input.h"

struct dsv4_request {
    int64_t query, context;
    int64_t
        last; /* tokens that it will have in the last step of a series; 0: this step stands alone */
};

struct dsv4_batch {
    struct dsv4_request *requests;
    int64_t n_requests;
    int64_t n_tokens; /* real ones */
    int64_t n_rows;   /* with padding */
    int64_t *positions;
    int32_t *token_to_req;
    int32_t *seq_lens;
    const struct dsv4_batch *room; /* whose buffers this step runs in: NULL: its own */
};

#define DSV4_BATCH_PARAMS(initial)                                                                 \
    DSV4_PARAM_TEXT("batch", INPUT, initial,                                                       \
                    "requests of the step: Q@C is Q new tokens after C computed, xN repeats, ~ "   \
                    "draws up to the number"),                                                     \
        DSV4_PARAM_INT("padding", INPUT, 0, 0, 1 << 20, "rows of slot -1 after the real tokens"),  \
        DSV4_PARAM_INT("graph_padding", INPUT, 0, 0, 1,                                            \
                       "1: pad the rows up to the next CUDA graph batch size as well"),            \
        DSV4_PARAM_INT("prefix", INPUT, 0, 0, 1 << 20,                                             \
                       "tokens of a prefix that all requests share, page by page"),                \
        DSV4_PARAM_TEXT("room", INPUT, "-",                                                        \
                        "the largest batch that the step's persistent buffers are made for: its "  \
                        "rows, requests, pages and table widths; what is left over is padding")

/* Reads the batch parameters and lays the step out. With `room`, rows and requests beyond the batch are padding. */
int dsv4_batch_make(struct dsv4_case *c, struct dsv4_batch *batch, struct dsv4_err *err);

/* The longest sequence, the batch's or its room's. */
int64_t dsv4_batch_longest(const struct dsv4_batch *batch);

/* One paged cache of a batch. */
struct dsv4_paging {
    int64_t block_size, n_blocks, width; /* width: columns of the table, unused ones included */
    int32_t *table;                      /* [n_requests, width] */
    int64_t n_requests;
    int64_t
        *live; /* ascending ids of the blocks that tables name, or NULL when all blocks are there */
    int64_t n_live;
};

struct dsv4_paging_rule {
    uint64_t stream;    /* tells the caches of one case apart */
    int64_t block_size; /* rows of a page */
    int64_t ratio;      /* tokens per cache row */
    int64_t window;     /* rows of a sliding window, 0: all; older pages are recycled, their entries
                           stale */
    int64_t page_bytes; /* for high addresses */
    int64_t element_bytes; /* for high addresses: limits in elements are tried too when > 1 */
};

#define DSV4_ADDRESS_PARAM                                                                         \
    DSV4_PARAM_NAME("address", INPUT, "low", "low first high",                                     \
                    "first: block 0 is in use too; high: pages just below, at and above 2^31 "     \
                    "and 2^32 bytes and elements")

/* Allocates pages as a paged allocator would after a while: permuted, block 0 handed out only where the case says so,
 * shared prefixes shared, garbage in the table beyond use. Reads the case's `prefix` and `address`.
 */
void dsv4_paging_make(struct dsv4_case *c, struct dsv4_paging *paging,
                      const struct dsv4_batch *batch, const struct dsv4_paging_rule *rule);

/* The slot of cache row `row` of a request. */
static inline int64_t dsv4_paging_slot(const struct dsv4_paging *paging, int64_t request,
                                       int64_t row) {
    const int64_t block = paging->table[request * paging->width + row / paging->block_size];
    return block * paging->block_size + row % paging->block_size;
}

/* Sets slot's rows live when the paging has high addresses. */
void dsv4_paging_live(struct dsv4_case *c, size_t slot, const struct dsv4_paging *paging);

/* Copies the table into a bound tensor [n_requests, width] i32. */
void dsv4_paging_fill(const struct dsv4_paging *paging, const dsv4_tensor *block_table);

#endif
