/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_k_gather: copies the indexer's K rows out of their pages, request after request.
 *
 * Row i < cu_seq_lens[requests] belongs to request r = token_to_seq[i] and is its row j = i - cu_seq_lens[r]: page
 * block_table[r, j / block_size], token j % block_size of it. k[i] = its 128 codes, scale[i] = its fp32 scale.
 * A page outside of the cache, whatever number it has: scale[i] = +0, and k[i] stays as it was. Domain: cu_seq_lens
 * from 0 on and not descending, token_to_seq names a request, rows fit into the block table. Rows from cu_seq_lens[requests] on stay untouched.
 * linear: a page is block_size rows of 128 codes, then block_size scales. shuffled: tiles of 16 tokens by 16 bytes, which
 * needs block_size to be a multiple of 16; others are refused.
 *
 * Bytes are moved, NaN codes too: no rounding.
 * Source: vllm cp_gather_indexer_k_quant_cache (linear), its ROCm form with 16 by 16 tiles (shuffled).
 * Latitude: none. Kernels that zero the codes of an invalid page too are caught by the untouched bytes.
 */
#include <stdio.h>

#include "../layout/indexer_page.h"
#include "kv_family.h"

enum { CACHE, BLOCK_TABLE, CU_SEQ_LENS, TOKEN_TO_SEQ, K, SCALE };
enum wrong {
    RIGHT,
    TOKEN_BY_TOKEN,
    LAYOUT_MIXED,
    TABLE_ROW_DENSE,
    ADDRESS_WRAPS,
    SCALES_WRAP,
    PAGE_DENSE,
    INVALID_ZEROED,
    INVALID_SCALE_KEPT,
    INVALID_WRAPS,
    START_LOST,
    FIRST_REQUEST,
    K_DENSE,
    TAIL_WRITTEN,
    K_WRAPS,
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("layout", DIALECT, "linear", "linear shuffled",
                    "pages row by row, or in tiles of 16 tokens by 16 bytes"),
    KV_BLOCK_SIZE_PARAM(64),
    DSV4_BATCH_PARAMS("17@0,1@20"),
    DSV4_ADDRESS_PARAM,
    KV_VIEW_PARAM,
    DSV4_PARAM_INT("spare_rows", INPUT, 3, 0, 4096, "rows of k after the last"),
    DSV4_PARAM_NAME("invalid", INPUT, "none", "none minus_one beyond range",
                    "every third used entry of the block table: -1, or past the last page, or any "
                    "number outside of the cache"),
    DSV4_PARAM_INT("row_gap", INPUT, 0, 0, 1 << 30, "bytes between the rows of k"),
};

static const struct dsv4_slot slots[] = {
    {"cache",        DSV4_IN,  "[blocks, page bytes] u8, pages strided", "132 bytes per token"      },
    {"block_table",  DSV4_IN,  "[requests, W] i32, rows strided",        "pages; garbage beyond use"},
    {"cu_seq_lens",  DSV4_IN,  "[requests + 1] i32",                     "first row of each request"},
    {"token_to_seq", DSV4_IN,  "[N] i32",                                "request of each row"      },
    {"k",            DSV4_OUT, "[N, 128] u8, rows strided",              "codes"                    },
    {"scale",        DSV4_OUT, "[N] f32",                                "their scales"             },
};

static const struct dsv4_mutant mutants[] = {
    {"token-by-token",     "pages read as 132 bytes per token; scales lie after all codes",
     TOKEN_BY_TOKEN                                                                                            },
    {"layout-mixed",       "linear pages read as tiles, or the reverse",                     LAYOUT_MIXED      },
    {"table-row-dense",    "block table rows taken as contiguous; they have a stride",
     TABLE_ROW_DENSE                                                                                           },
    {"address-wraps",      "byte offset of a page computed in 32 bits",                      ADDRESS_WRAPS     },
    {"scales-wrap",        "byte offset of a page computed in 32 bits for its scales alone", SCALES_WRAP       },
    {"page-dense",         "pages taken as contiguous; they have a stride",                  PAGE_DENSE        },
    {"invalid-zeroed",     "codes of an invalid page set to 0; only the scale is",           INVALID_ZEROED    },
    {"invalid-scale-kept", "scale of an invalid page left as it was; it is 0",               INVALID_SCALE_KEPT},
    {"invalid-wraps",      "an entry outside of the cache reads the first page",             INVALID_WRAPS     },
    {"start-lost",         "the row's number taken for its place in the request",            START_LOST        },
    {"first-request",      "every row taken for the first request's; token_to_seq names it",
     FIRST_REQUEST                                                                                             },
    {"k-dense",            "rows of k taken as contiguous; they have a stride",              K_DENSE           },
    {"k-wraps",            "byte offset of a row of k computed in 32 bits",                  K_WRAPS           },
    {"tail-written",       "rows after the last request written",                            TAIL_WRITTEN      },
};

static int64_t total_of(const struct dsv4_batch *batch) {
    int64_t total = 0;
    for (int64_t r = 0; r < batch->n_requests; r++)
        total += batch->requests[r].query + batch->requests[r].context;
    return total;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct kv_step *const step = dsv4_case_alloc(c, sizeof *step);
    c->plan = step;
    if (dsv4_batch_make(c, &step->batch, err) != 0) return -1;
    int64_t rows = 0;
    for (const struct dsv4_batch *b = &step->batch; b != NULL; b = b->room)
        rows = total_of(b) > rows ? total_of(b) : rows;
    rows += dsv4_case_int(c, "spare_rows");
    kv_shape_cache(c, CACHE, KV_INDEXER_FP8, 1, 0);
    const bool shuffled = dsv4_case_is(c, "layout", "shuffled");
    if (shuffled) c->tensors[CACHE].t.layout = "linear";
    kv_shape_table(c, BLOCK_TABLE, &step->cache);
    kv_shape_rows(c, CU_SEQ_LENS, DSV4_I32, step->cache.n_requests + 1);
    kv_shape_rows(c, TOKEN_TO_SEQ, DSV4_I32, rows);
    DSV4_SHAPE(c, K, DSV4_U8, rows, INDEXER_HEAD);
    kv_widen(c, K, 0, 32);
    if (dsv4_case_int(c, "row_gap") > 0) {
        int64_t *const live = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *live);
        for (int64_t i = 0; i < rows; i++) live[i] = i;
        dsv4_widen(c, K, 0, dsv4_case_int(c, "row_gap"));
        dsv4_live_rows(c, K, live, rows);
    }
    kv_shape_rows(c, SCALE, DSV4_F32, rows);
    c->refused = shuffled && dsv4_case_int(c, "block_size") % INDEXER_TILE != 0;
    return 0;
}

static void fill_page(const struct dsv4_case *c, unsigned char *page, int64_t row) {
    const int64_t block_size = dsv4_case_int(c, "block_size"), codes = block_size * INDEXER_HEAD;
    for (int64_t i = 0; i < codes; i++)
        page[i] = (unsigned char)(dsv4_random(c->seed, 1, (uint64_t)(row * codes + i)) >> 30);
    for (int64_t j = 0; j < block_size; j++) {
        const uint64_t bits = dsv4_random(c->seed, 2, (uint64_t)(row * block_size + j));
        const float scale = dsv4_from_bits((uint32_t)(105 + dsv4_below(bits, 30)) << 23);
        memcpy(page + indexer_scale_offset(block_size, j), &scale, sizeof scale);
    }
}

static int32_t invalid_page(const struct dsv4_case *c, int64_t turn) {
    const int32_t blocks = (int32_t)c->tensors[CACHE].t.shape[0];
    const int32_t range[] = {INT32_MIN, INT32_MAX, -123456, blocks, blocks + 7, -1};
    if (dsv4_case_is(c, "invalid", "range")) return range[turn % 6];
    return dsv4_case_is(c, "invalid", "minus_one") ? -1 : blocks;
}

static void fill(struct dsv4_case *c) {
    const struct dsv4_case_tensor *const cache = &c->tensors[CACHE];
    const struct kv_step *const step = kv_step_of(c);
    const dsv4_tensor *const table = &c->tensors[BLOCK_TABLE].t;
    int32_t *const starts = c->tensors[CU_SEQ_LENS].t.data;
    int32_t *const requests = c->tensors[TOKEN_TO_SEQ].t.data;
    const int64_t block_size = dsv4_case_int(c, "block_size");
    int32_t start = 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < cache->n_rows; i++) {
        const int64_t block = cache->rows != NULL ? cache->rows[i] : i;
        fill_page(c, (unsigned char *)cache->t.data + block * cache->t.stride[0], i);
    }
    dsv4_paging_fill(&step->cache, table);
    for (int64_t i = 0; i < c->tensors[TOKEN_TO_SEQ].t.shape[0]; i++) requests[i] = -7 - (int)i;
    for (int64_t r = 0; r < step->cache.n_requests; r++) {
        int64_t n = 0;
        if (r < step->batch.n_requests)
            n = step->batch.requests[r].query + step->batch.requests[r].context;
        starts[r] = start;
        for (int64_t j = 0; j < n; j++) requests[start + j] = (int32_t)r;
        start += (int32_t)n;
        int32_t *const row = (void *)((char *)table->data + r * table->stride[0]);
        for (int64_t i = 1; i * block_size < n && !dsv4_case_is(c, "invalid", "none"); i += 3)
            row[i] = invalid_page(c, i / 3 + r);
    }
    starts[step->cache.n_requests] = start;
}

struct gather {
    const dsv4_tensor *tensors;
    int64_t block_size;
    int shuffled;
    enum wrong wrong;
};

static int32_t block_of(const struct gather *g, int64_t request, int64_t entry) {
    const dsv4_tensor *const table = &g->tensors[BLOCK_TABLE];
    const int64_t row = g->wrong == TABLE_ROW_DENSE ? table->shape[1] * 4 : table->stride[0];
    int32_t block;
    if (g->wrong == START_LOST) entry %= table->shape[1]; /* a mutant must not crash */
    memcpy(&block, (const char *)table->data + request * row + entry * 4, sizeof block);
    const bool valid = block >= 0 && block < g->tensors[CACHE].shape[0];
    return valid ? block : g->wrong == INVALID_WRAPS ? 0 : -1;
}

static void copy_row(const struct gather *g, unsigned char *k, float *scale, int64_t block,
                     int64_t j) {
    const dsv4_tensor *const cache = &g->tensors[CACHE];
    const int64_t page_bytes = g->block_size * INDEXER_FP8_TOKEN_BYTES;
    int64_t offset = block * (g->wrong == PAGE_DENSE ? page_bytes : cache->stride[0]);
    if (g->wrong == ADDRESS_WRAPS) offset &= INT64_C(0xFFFFFFFF);
    const char *const page = (const char *)cache->data + offset;
    if (g->wrong == TOKEN_BY_TOKEN) {
        memcpy(k, page + j * INDEXER_FP8_TOKEN_BYTES, INDEXER_HEAD);
        memcpy(scale, page + j * INDEXER_FP8_TOKEN_BYTES + INDEXER_HEAD, sizeof *scale);
        return;
    }
    const int shuffled = g->shuffled != (g->wrong == LAYOUT_MIXED && g->block_size % 16 == 0);
    for (int i = 0; i < INDEXER_CHUNKS; i++)
        memcpy(k + INDEXER_TILE * i, page + indexer_chunk_offset(shuffled, j, i), INDEXER_TILE);
    if (g->wrong == SCALES_WRAP) offset &= INT64_C(0xFFFFFFFF);
    memcpy(scale, (const char *)cache->data + offset + indexer_scale_offset(g->block_size, j),
           sizeof *scale);
}

const struct dsv4_op dsv4_op_idx_k_gather;

static void gather_row(const struct gather *g, int64_t i, int64_t end) {
    const dsv4_tensor *const k = &g->tensors[K];
    const int32_t *const starts = g->tensors[CU_SEQ_LENS].data;
    const int64_t k_stride = g->wrong == K_DENSE ? INDEXER_HEAD : k->stride[0];
    const int64_t request =
        g->wrong == FIRST_REQUEST || i >= end ? 0 : kv_i32(&g->tensors[TOKEN_TO_SEQ], i);
    int64_t at = i - (g->wrong == START_LOST ? 0 : starts[request]);
    if (g->wrong == FIRST_REQUEST || i >= end)
        at %= g->tensors[BLOCK_TABLE].shape[1] * g->block_size;
    const int64_t block = block_of(g, request, at / g->block_size);
    int64_t offset = i * k_stride;
    if (g->wrong == K_WRAPS) offset &= INT64_C(0x7FFFFFFF);
    unsigned char *const row = (unsigned char *)k->data + offset;
    float *const scale = (float *)g->tensors[SCALE].data + i;
    if (block >= 0)
        copy_row(g, row, scale, block, at % g->block_size);
    else if (g->wrong != INVALID_SCALE_KEPT)
        *scale = 0.0f;
    if (block < 0 && g->wrong == INVALID_ZEROED) memset(row, 0, INDEXER_HEAD);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const struct gather g = {call->tensors, dsv4_int(call, "block_size", 64),
                             dsv4_is(call, "layout", "shuffled"),
                             mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT};
    const int64_t requests = call->tensors[BLOCK_TABLE].shape[0];
    const int64_t rows = call->tensors[K].shape[0];
    const int64_t end = ((const int32_t *)call->tensors[CU_SEQ_LENS].data)[requests];
    if (g.shuffled && g.block_size % INDEXER_TILE != 0) {
        dsv4_fail(err, "block_size: %lld; shuffled pages have a multiple of 16 tokens",
                  (long long)g.block_size);
        return DSV4_REFUSED;
    }
    const int64_t n = g.wrong == TAIL_WRITTEN && requests > 0 ? rows : end;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) gather_row(&g, i, end);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int32_t *const starts = c->tensors[CU_SEQ_LENS].t.data;
    const int64_t i = offset / c->tensors[slot].t.stride[0];
    const int64_t r = kv_i32(&c->tensors[TOKEN_TO_SEQ].t, i);
    if (r < 0 || r >= kv_step_of(c)->batch.n_requests)
        snprintf(line, size, "row %lld: after the last request", (long long)i);
    else
        snprintf(line, size, "row %lld: request %lld, its row %lld", (long long)i, (long long)r,
                 (long long)(i - starts[r]));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double rows = (double)total_of(&kv_step_of(c)->batch);
    work->bytes_read = rows * (INDEXER_FP8_TOKEN_BYTES + 4);
    work->bytes_written = rows * (double)INDEXER_FP8_TOKEN_BYTES;
}

const struct dsv4_op dsv4_op_idx_k_gather = {
    .name = "idx_k_gather",
    .summary = "copies the indexer's K rows and scales out of their pages",
    .source = "vllm cp_gather_indexer_k_quant_cache and its ROCm form",
    .exact = "nothing is computed: bytes are copied",
    DSV4_OP_PARTS,
};
