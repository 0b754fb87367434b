/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_paged_mqa_logits: scores of a request's paged keys for its decode rows. Row r = request * next_n + j sees the keys
 * n < L of its request, key n lying at token n % block_size of page block_table[request, n / block_size]:
 *   lens        L = lens[request] - next_n + j + 1
 *   lens_exact  L = lens[request, j]
 * held to [0, columns]. out[r, n] as idx_mqa_logits has it: the exact dot rounded once, the tree over heads, the product
 * with the key's scale, perhaps rounded to bf16 (idx_logits.h). clean: -inf in columns from L on; else they stay untouched.
 * Domain: the block table has a page of the cache for every key that a row sees; entries beyond are not read.
 * shuffled pages need block_size to be a multiple of 16; others are refused.
 *
 * Source: DeepGEMM fp8_paged_mqa_logits (lengths per row, bf16 logits too), vllm rocm and aiter (lengths per request; shuffled pages).
 * Latitude: that of idx_mqa_logits. DeepGEMM writes whole tiles past L, aiter's stage 1 -inf per head; here those columns
 * are untouched, or -inf.
 */
#include <stdio.h>

#include "../memory.h"
#include "idx_family.h"
#include "idx_logits.h"

enum { Q, CACHE, WEIGHTS, LENS, BLOCK_TABLE, OUT };
enum { STREAM_K = 4 };

static const struct dsv4_param_def params[] = {
    IDX_LOGITS_PARAMS,
    DSV4_PARAM_NAME("layout", DIALECT, "linear", "linear shuffled",
                    "pages row by row, or in tiles of 16 tokens by 16 bytes"),
    DSV4_PARAM_NAME("form", CALL, "lens", "lens lens_exact", "a length per request, or per row"),
    DSV4_PARAM_INT("next_n", CALL, 1, 1, 16, "rows per request"),
    KV_BLOCK_SIZE_PARAM(64),
    DSV4_BATCH_PARAMS("1@20,1@7"),
    DSV4_ADDRESS_PARAM,
    DSV4_PARAM_INT("spare", INPUT, 3, 0, 1 << 20, "columns after the longest row"),
    DSV4_PARAM_TEXT("given", INPUT, "none",
                    "lens by turns that no request has: -1,99; those that are positive must be its "
                    "own or beyond the columns. none: its own"),
};

static const struct dsv4_slot slots[] = {
    {"q",           DSV4_IN,  "[rows, heads, 128] e4m3, rows strided",     "queries"                  },
    {"cache",       DSV4_IN,  "[blocks, page bytes] u8, pages strided",    "132 bytes per token"      },
    {"weights",     DSV4_IN,  "[rows, heads] f32, rows strided",           "head weights"             },
    {"lens",        DSV4_IN,  "[requests] or [requests, next_n] i32",      "keys"                     },
    {"block_table", DSV4_IN,  "[requests, W] i32, rows strided",           "pages; garbage beyond use"},
    {"out",         DSV4_OUT, "[rows, columns] f32 or bf16, rows strided", "logits"                   },
};

static const struct dsv4_mutant mutants[] = {
    IDX_MUTANTS_OF_SCORES,
    {"next-n-lost",     "every row of a request as long as its last one",                       IDX_NEXT_N_LOST },
    {"page-dense",      "pages taken as contiguous; they have a stride",                        IDX_PAGE_DENSE  },
    {"table-dense",     "block table rows taken as contiguous; they have a stride",             IDX_TABLE_DENSE },
    {"page-wraps",      "byte offset of a page computed in 32 bits",                            IDX_PAGE_WRAPS  },
    {"scales-wrap",     "byte offset of a page computed in 32 bits for its scales alone",
      IDX_SCALES_WRAP                                                                                            },
    {"token-by-token",  "pages read as 132 bytes per token; scales lie after all codes",
      IDX_TOKEN_BY_TOKEN                                                                                         },
    {"limit-unclamped", "a length beyond the columns taken as it is: the row after is written",
      IDX_LIMIT_UNCLAMPED                                                                                        },
    {"negative-wraps",  "a negative length read as an unsigned one: all columns count",
      IDX_NEGATIVE_WRAPS                                                                                         },
    {"layout-mixed",    "linear pages read as tiles, or the reverse",                           IDX_LAYOUT_MIXED},
};

static int64_t length_of(const struct dsv4_case *c, int64_t request) {
    const struct dsv4_batch *const batch = &kv_step_of(c)->batch;
    if (request >= batch->n_requests) return 0;
    return batch->requests[request].query + batch->requests[request].context;
}

static bool exact(const struct dsv4_case *c) { return dsv4_case_is(c, "form", "lens_exact"); }

struct plan {
    struct kv_step step; /* first, for kv_step_of() */
    int32_t *lens;       /* as the call has them */
};

/* What the row's length says, before it is held to the columns. */
static int64_t row_length(const struct dsv4_case *c, int64_t request, int64_t j) {
    const struct plan *const plan = c->plan;
    const int64_t next_n = dsv4_case_int(c, "next_n");
    return exact(c) ? plan->lens[request * next_n + j] : plan->lens[request] - next_n + j + 1;
}

static int make_lens(struct dsv4_case *c, struct plan *plan, struct dsv4_err *err) {
    const int64_t next_n = exact(c) ? dsv4_case_int(c, "next_n") : 1;
    const int64_t n = plan->step.cache.n_requests * next_n;
    if (!dsv4_case_is(c, "given", "none"))
        return (plan->lens = idx_lengths(c, "given", n, err)) != NULL ? 0 : -1;
    plan->lens = dsv4_case_alloc(c, (size_t)(n + 1) * sizeof *plan->lens);
    for (int64_t i = 0; i < n; i++) {
        const int64_t request = i / next_n, length = length_of(c, request);
        const uint64_t id = (uint64_t)(request << 4 | i % next_n);
        const int64_t less = exact(c) ? dsv4_below(dsv4_random(c->seed, 9, id), 3) : 0;
        plan->lens[i] = (int32_t)(length > less ? length - less : 0);
    }
    return 0;
}

/* Marks the rows that have keys, which must have pages. */
static int check_rows(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t next_n = dsv4_case_int(c, "next_n"), rows = c->tensors[OUT].t.shape[0];
    bool *const written = dsv4_case_alloc(c, (size_t)(rows + 1) * sizeof *written);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t limit = row_length(c, r / next_n, r % next_n);
        const int64_t columns = c->tensors[OUT].t.shape[1], has = length_of(c, r / next_n);
        if (limit > 0 && (limit < columns ? limit : columns) > has)
            return dsv4_fail(err, "given: row %lld sees %lld keys; its request has %lld",
                             (long long)r, (long long)limit, (long long)has);
        written[r] = limit > 0;
    }
    idx_logits_spread(c, OUT, written, false);
    return 0;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    struct kv_step *const step = &plan->step;
    const int64_t next_n = dsv4_case_int(c, "next_n");
    c->plan = plan;
    if (idx_logits_check_heads(c, err) != 0) return -1;
    if (dsv4_batch_make(c, &step->batch, err) != 0) return -1;
    kv_shape_cache(c, CACHE, KV_INDEXER_FP8, 1, 0);
    const bool shuffled = dsv4_case_is(c, "layout", "shuffled");
    if (shuffled) c->tensors[CACHE].t.layout = "linear";
    const int64_t requests = step->cache.n_requests;
    int64_t longest = dsv4_batch_longest(&step->batch);
    idx_logits_shape(c, Q, WEIGHTS, OUT, requests * next_n, longest + dsv4_case_int(c, "spare"));
    if (exact(c))
        DSV4_SHAPE(c, LENS, DSV4_I32, requests, next_n);
    else
        DSV4_SHAPE(c, LENS, DSV4_I32, requests);
    kv_shape_table(c, BLOCK_TABLE, &step->cache);
    if (make_lens(c, plan, err) != 0 || check_rows(c, err) != 0) return -1;
    c->refused = shuffled && dsv4_case_int(c, "block_size") % INDEXER_TILE != 0;
    return 0;
}

static void put_key(const struct dsv4_case *c, int64_t request, int64_t n) {
    const struct kv_step *const step = kv_step_of(c);
    const dsv4_tensor *const cache = &c->tensors[CACHE].t;
    const int64_t block_size = dsv4_case_int(c, "block_size");
    const int64_t slot = dsv4_paging_slot(&step->cache, request, n), j = slot % block_size;
    const int shuffled = dsv4_case_is(c, "layout", "shuffled");
    uint8_t *const page = (uint8_t *)cache->data + slot / block_size * cache->stride[0];
    const float scale = idx_logits_scale(c, slot);
    for (int64_t d = 0; d < INDEXER_HEAD; d++)
        page[indexer_chunk_offset(shuffled, j, (int)(d / INDEXER_TILE)) + d % INDEXER_TILE] =
            idx_logits_code(c, STREAM_K, slot, d);
    memcpy(page + indexer_scale_offset(block_size, j), &scale, sizeof scale);
}

static void fill(struct dsv4_case *c) {
    const struct dsv4_case_tensor *const cache = &c->tensors[CACHE];
    const struct kv_step *const step = kv_step_of(c);
    const struct plan *const plan = c->plan;
    idx_logits_fill(c, Q, WEIGHTS);
    for (int64_t i = 0; i < cache->n_rows; i++) {
        const int64_t block = cache->rows != NULL ? cache->rows[i] : i;
        /* NaN in both dialects, as codes and as scales. */
        memset((char *)cache->t.data + block * cache->t.stride[0],
               dsv4_case_is(c, "fp8", "ocp") ? 0xFF : 0x80, (size_t)cache->t.shape[1]);
    }
    dsv4_paging_fill(&step->cache, &c->tensors[BLOCK_TABLE].t);
    if (c->tensors[LENS].span > 0)
        memcpy(c->tensors[LENS].t.data, plan->lens, (size_t)c->tensors[LENS].span);
    for (int64_t b = 0; b < step->cache.n_requests; b++) {
#pragma omp parallel for schedule(static)
        for (int64_t n = 0; n < (c->refused ? 0 : length_of(c, b)); n++) put_key(c, b, n);
    }
}

struct pages {
    const dsv4_tensor *cache, *table;
    int64_t block_size;
    int shuffled;
};

static void key_of(const struct idx_logits *logits, int64_t request, int64_t n, uint8_t *codes,
                   float *scale) {
    const struct pages *const pages = logits->keys;
    const dsv4_tensor *const table = pages->table;
    const int64_t row = logits->wrong == IDX_TABLE_DENSE ? table->shape[1] * 4 : table->stride[0];
    const int64_t page_bytes = pages->block_size * INDEXER_FP8_TOKEN_BYTES;
    int64_t entry = n / pages->block_size;
    const int64_t j = n % pages->block_size;
    int32_t block;
    if (entry >= table->shape[1]) entry = 0; /* a mutant must not crash */
    memcpy(&block, (const char *)table->data + request * row + entry * 4, sizeof block);
    if (block < 0 || block >= pages->cache->shape[0]) return;
    int64_t offset =
        block * (logits->wrong == IDX_PAGE_DENSE ? page_bytes : pages->cache->stride[0]);
    if (logits->wrong == IDX_PAGE_WRAPS) offset &= INT64_C(0xFFFFFFFF);
    const char *const page = (const char *)pages->cache->data + offset;
    if (logits->wrong == IDX_TOKEN_BY_TOKEN) {
        memcpy(codes, page + j * INDEXER_FP8_TOKEN_BYTES, INDEXER_HEAD);
        memcpy(scale, page + j * INDEXER_FP8_TOKEN_BYTES + INDEXER_HEAD, sizeof *scale);
        return;
    }
    const bool mixed = logits->wrong == IDX_LAYOUT_MIXED && pages->block_size % 16 == 0;
    for (int i = 0; i < INDEXER_CHUNKS; i++)
        memcpy(codes + INDEXER_TILE * i,
               page + indexer_chunk_offset(pages->shuffled != mixed, j, i), INDEXER_TILE);
    if (logits->wrong == IDX_SCALES_WRAP) offset &= INT64_C(0xFFFFFFFF);
    memcpy(scale,
           (const char *)pages->cache->data + offset + indexer_scale_offset(pages->block_size, j),
           sizeof *scale);
}

static int64_t limit_of(const dsv4_call *call, int64_t request, int64_t j,
                        enum idx_logits_wrong wrong) {
    const int64_t next_n = dsv4_int(call, "next_n", 1), columns = call->tensors[OUT].shape[1];
    const int32_t *const lens = call->tensors[LENS].data;
    int64_t limit = dsv4_is(call, "form", "lens_exact") ? lens[request * next_n + j]
                                                        : lens[request] - next_n + j + 1;
    if (wrong == IDX_NEXT_N_LOST && !dsv4_is(call, "form", "lens_exact")) limit = lens[request];
    if (wrong == IDX_END_INCLUSIVE) limit++;
    if (wrong == IDX_NEGATIVE_WRAPS && limit < 0) limit = columns;
    limit = limit > columns ? columns + (wrong == IDX_LIMIT_UNCLAMPED) : limit;
    return limit > 0 ? limit : 0;
}

const struct dsv4_op dsv4_op_idx_paged_mqa_logits;

/* Scores the rows, or with an admission judges them. */
static int visit(const dsv4_call *call, enum idx_logits_wrong wrong, struct dsv4_admission *a,
                 struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t rows = tensors[Q].shape[0], next_n = dsv4_int(call, "next_n", 1);
    const struct pages pages = {&tensors[CACHE], &tensors[BLOCK_TABLE],
                                dsv4_int(call, "block_size", 64),
                                dsv4_is(call, "layout", "shuffled")};
    struct idx_logits logits;
    if (pages.shuffled && pages.block_size % INDEXER_TILE != 0) {
        dsv4_fail(err, "block_size: %lld; shuffled pages have a multiple of 16 tokens",
                  (long long)pages.block_size);
        return DSV4_REFUSED;
    }
    struct idx_logits_row *const list = dsv4_alloc((size_t)(rows + 1) * sizeof *list);
    idx_logits_open(&logits, call, &tensors[Q], &tensors[WEIGHTS], &tensors[OUT], wrong);
    logits.key = key_of;
    logits.keys = &pages;
    logits.columns += wrong == IDX_LIMIT_UNCLAMPED;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t request = r / next_n, limit = limit_of(call, request, r % next_n, wrong);
        list[r] = (struct idx_logits_row){request, 0, limit, 0};
    }
    if (a != NULL)
        idx_logits_bound(&logits, list, rows, a, OUT);
    else
        idx_logits_run(&logits, list, rows);
    dsv4_free(list);
    return DSV4_OK;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    return visit(call, idx_logits_wrong_of(&dsv4_op_idx_paged_mqa_logits, mutant), NULL, err);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    struct dsv4_err err;
    visit(call, IDX_LOGITS_RIGHT, a, &err);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t r = offset / c->tensors[slot].t.stride[0], next_n = dsv4_case_int(c, "next_n");
    snprintf(line, size, "request %lld, row %lld of %lld: key %lld of %lld",
             (long long)(r / next_n), (long long)(r % next_n), (long long)next_n,
             (long long)(offset % c->tensors[slot].t.stride[0] / c->tensors[slot].t.stride[1]),
             (long long)row_length(c, r / next_n, r % next_n));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const int64_t next_n = dsv4_case_int(c, "next_n"), requests = kv_step_of(c)->cache.n_requests;
    const double heads = (double)dsv4_case_int(c, "heads");
    double pairs = 0;
    for (int64_t b = 0; b < requests; b++) {
        work->bytes_read += (double)length_of(c, b) * ((double)INDEXER_FP8_TOKEN_BYTES + 0.0625);
        for (int64_t j = 0; j < next_n; j++) {
            const int64_t length = row_length(c, b, j);
            pairs += length > 0 ? (double)length : 0;
        }
    }
    work->bytes_read += (double)(requests * next_n) * heads * 132;
    work->bytes_written = (double)dsv4_dtype_bytes(c->tensors[OUT].t.dtype) * pairs;
    work->fmas = pairs * heads * (double)INDEXER_HEAD;
}

const struct dsv4_op dsv4_op_idx_paged_mqa_logits = {
    .name = "idx_paged_mqa_logits",
    .summary = "scores of paged keys for decode rows, exact FP8 dots",
    .source = "DeepGEMM fp8_paged_mqa_logits; vllm rocm, aiter deepgemm_fp8_paged_mqa_logits",
    .bound = bound,
    .latitude = IDX_LOGITS_LATITUDE,
    DSV4_OP_PARTS,
};
