/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_dequantize_gather: reads rows of the 584-byte KV cache back to bf16, request by request.
 *
 * For request r and i < n = gather_lens[r] (or seq_lens[r]): cache row seq_lens[r] - n + i of the request's block table
 * goes to out[r, offset + i]: channels 0..447 are bf16(code * 2^(scale byte - 127)), 448..511 are copied. Other rows of
 * out stay untouched, below offset and from offset + n on: the workspace holds another cache's rows there, or stale ones.
 * Rounding points: one, to bf16. NaN codes give 0x7FC0. Offsets into out are of 64 bits: chunks of a long context have more
 * than 2^31 elements.
 * Source: vllm common/ops/cache_utils.py, nvidia/ops/dequant_gather_k_cutedsl.py.
 * Latitude: none for scale bytes 1..254 short of bf16 overflow and subnormals, where rounding the product and
 * multiplying in bf16 agree. Bytes 0 and 255 are never produced by the writers and are outside the domain.
 */
#include <stdio.h>

#include "../num/e8m0.h"
#include "kv_family.h"

enum { CACHE, SEQ_LENS, GATHER_LENS, BLOCK_TABLE, OUT };

static const struct dsv4_param_def params[] = {
    KV_FP8_PARAM,
    KV_LAYOUT_PARAM,
    KV_BLOCK_SIZE_PARAM(64),
    DSV4_PARAM_INT("offset", CALL, 0, 0, 1 << 20, "first row of out that is written"),
    DSV4_BATCH_PARAMS("17@0,1@70"),
    DSV4_ADDRESS_PARAM,
    KV_VIEW_PARAM,
    DSV4_PARAM_NAME("gather", INPUT, "window", "all window new",
                    "all: no gather_lens; window: the new tokens and up to 127 before them; new: "
                    "the new tokens"),
    DSV4_PARAM_INT("spare_rows", INPUT, 3, 0, 4096, "rows of out after the longest request"),
    DSV4_PARAM_INT("request_gap", INPUT, 0, 0, INT32_MAX,
                   "bytes between the requests' rows of out"),
    DSV4_PARAM_NAME(
        "codes", INPUT, "finite", "finite every",
        "finite: no NaN codes, narrow scales; every: all 256 codes, scale bytes 1..254"),
};

static const struct dsv4_slot slots[] = {
    {"cache",       DSV4_IN,  "[blocks, page bytes] u8, pages strided", "584 bytes per token"           },
    {"seq_lens",    DSV4_IN,  "[requests] i32",                         "rows that a request has"       },
    {"gather_lens", DSV4_IN,  "[requests] i32, or absent",              "rows to gather, the last ones" },
    {"block_table", DSV4_IN,  "[requests, W] i32, rows strided",        "pages; garbage beyond use"     },
    {"out",         DSV4_OUT, "[requests, rows, 512] bf16, strided",    "gathered rows from `offset` on"},
};

static const struct dsv4_mutant mutants[] = {
    KV_MUTANT_GATHER_FROM_START,
    KV_MUTANT_GATHER_OFFSET_LOST,
    KV_MUTANT_TABLE_ROW_STRIDE,
    KV_MUTANT_SCALE_AS_NUMBER,
    KV_MUTANT_SCALE_NEIGHBOUR,
    KV_MUTANT_ROPE_SCALED,
    KV_MUTANT_SCALE_BIAS,
    KV_MUTANT_SUBNORMALS_FLUSHED,
    KV_MUTANT_ADDRESS_WRAPS,
    {"gather-len-ignored",
      "the whole sequence gathered; gather_lens says how many of its last rows",               KV_GATHER_LEN_IGNORED},
    {"tail-cleared",       "rows of out after the last one set to 0; they stay as they are",
      KV_GATHER_TAIL_CLEARED                                                                                        },
    {"fp8-other",          "codes of one dialect read as the other",                          KV_FP8_OTHER         },
    {"layout-other",       "planar pages read token by token, or the reverse",                KV_LAYOUT_OTHER      },
    {"page-dense",         "pages taken as contiguous; they have a stride",                   KV_PAGE_DENSE        },
    {"out-dense",          "requests and rows of out taken as contiguous; they have strides", KV_OUT_DENSE         },
    {"out-wraps",          "byte offset of a request's rows of out computed in 32 bits",      KV_OUT_WRAPS         },
    {"nan-zeroed",         "a NaN code gives 0; attention may scrub, the gather does not",    KV_NAN_ZEROED        },
};

/* Rows in use before a request's new ones; 0: all. */
static int64_t gather_window(const struct dsv4_case *c) {
    if (dsv4_case_is(c, "gather", "all")) return 0;
    return dsv4_case_is(c, "gather", "new") ? 1 : 128;
}

static int64_t gather_len(const struct dsv4_case *c, const struct dsv4_request *request) {
    const int64_t before = gather_window(c) - 1;
    const bool whole = before < 0 || request->context < before;
    return request->query + (whole ? request->context : before);
}

/* A workspace of more than 2^31 elements, of which only the rows of a few requests are there. */
static void spread_requests(struct dsv4_case *c) {
    const int64_t gap = dsv4_case_int(c, "request_gap"), requests = c->tensors[OUT].t.shape[0];
    if (gap == 0) return;
    int64_t *const live = dsv4_case_alloc(c, (size_t)(requests + 1) * sizeof *live);
    for (int64_t r = 0; r < requests; r++) live[r] = r;
    dsv4_widen(c, OUT, 0, gap);
    dsv4_live_rows(c, OUT, live, requests);
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct kv_step *const step = dsv4_case_alloc(c, sizeof *step);
    c->plan = step;
    if (dsv4_batch_make(c, &step->batch, err) != 0) return -1;
    const int64_t requests = step->batch.n_requests;
    int64_t longest = 0;
    for (const struct dsv4_batch *b = &step->batch; b != NULL; b = b->room)
        for (int64_t r = 0; r < b->n_requests; r++) {
            const int64_t n = gather_len(c, &b->requests[r]);
            longest = n > longest ? n : longest;
        }
    kv_shape_cache(c, CACHE, KV_DS_MLA, 1, gather_window(c));
    kv_shape_rows(c, SEQ_LENS, DSV4_I32, requests);
    if (dsv4_case_is(c, "gather", "all"))
        dsv4_absent(c, GATHER_LENS);
    else
        kv_shape_rows(c, GATHER_LENS, DSV4_I32, requests);
    kv_shape_table(c, BLOCK_TABLE, &step->cache);
    DSV4_SHAPE(c, OUT, DSV4_BF16, requests,
               dsv4_case_int(c, "offset") + longest + dsv4_case_int(c, "spare_rows"), KV_HEAD);
    kv_widen(c, OUT, 1, 64);
    kv_widen(c, OUT, 0, 128);
    spread_requests(c);
    return 0;
}

/* Bytes that a writer could have left: codes, bf16 RoPE values, scale bytes, a zero pad byte, a poisoned tail. */
static void fill_page(const struct dsv4_case *c, unsigned char *page, int64_t row) {
    const bool every = dsv4_case_is(c, "codes", "every"), ocp = dsv4_case_is(c, "fp8", "ocp");
    const int interleaved = dsv4_case_is(c, "layout", "interleaved");
    const int64_t block_size = dsv4_case_int(c, "block_size");
    memset(page, 0xA5, (size_t)kv_page_bytes(interleaved, block_size));
    for (int64_t j = 0; j < block_size; j++) {
        unsigned char *const data = page + kv_data_offset(interleaved, j);
        unsigned char *const scales = page + kv_scale_offset(interleaved, block_size, j);
        const uint64_t id = (uint64_t)(row * block_size + j) << 10;
        for (int i = 0; i < KV_NOPE; i++) {
            const uint8_t code = (uint8_t)(dsv4_random(c->seed, 1, id + (uint64_t)i) >> 30);
            const bool nan = ocp ? (code & 0x7F) == 0x7F : code == 0x80;
            data[i] = every || !nan ? code : 0x38;
        }
        for (int i = 0; i < KV_ROPE; i++) {
            const uint16_t value =
                dsv4_bf16_from_f32(dsv4_normal(dsv4_random(c->seed, 2, id + (uint64_t)i)));
            memcpy(data + KV_NOPE + 2 * i, &value, sizeof value);
        }
        for (int g = 0; g < KV_GROUPS; g++) {
            const uint64_t bits = dsv4_random(c->seed, 3, id + (uint64_t)g);
            scales[g] = (uint8_t)(every ? 1 + dsv4_below(bits, 254) : 105 + dsv4_below(bits, 40));
        }
        scales[KV_GROUPS] = 0;
    }
}

static void fill(struct dsv4_case *c) {
    const struct dsv4_case_tensor *const cache = &c->tensors[CACHE];
    const struct kv_step *const step = kv_step_of(c);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < cache->n_rows; i++) {
        const int64_t block = cache->rows != NULL ? cache->rows[i] : i;
        fill_page(c, (unsigned char *)cache->t.data + block * cache->t.stride[0], i);
    }
    for (int64_t r = 0; r < step->batch.n_requests; r++) {
        ((int32_t *)c->tensors[SEQ_LENS].t.data)[r] = step->batch.seq_lens[r];
        if (c->tensors[GATHER_LENS].t.ndim > 0)
            ((int32_t *)c->tensors[GATHER_LENS].t.data)[r] =
                (int32_t)gather_len(c, &step->batch.requests[r]);
    }
    dsv4_paging_fill(&step->cache, &c->tensors[BLOCK_TABLE].t);
}

struct reader {
    const dsv4_tensor *cache, *block_table;
    enum dsv4_fp8 fp8;
    int interleaved;
    int64_t block_size;
    enum kv_wrong wrong;
};

static float scale_of(const struct reader *reader, const uint8_t *scales, int g) {
    if (reader->wrong == KV_SCALE_NEIGHBOUR) g = (g + 1) % KV_GROUPS;
    if (reader->wrong == KV_SCALE_AS_NUMBER) return (float)scales[g];
    if (reader->wrong == KV_SCALE_BIAS) return dsv4_e8m0_to_f32((uint8_t)(scales[g] - 1));
    return dsv4_e8m0_to_f32(scales[g]);
}

/* One group. Two loops through fp32, since compilers vectorise these and not their fusion. */
static void read_group(uint16_t *out, const uint8_t *codes, float scale, enum dsv4_fp8 fp8) {
    float values[KV_GROUP];
    if (fp8 == DSV4_OCP) {
#pragma omp simd
        for (int i = 0; i < KV_GROUP; i++) values[i] = dsv4_e4m3fn_to_f32(codes[i]) * scale;
    } else {
#pragma omp simd
        for (int i = 0; i < KV_GROUP; i++) values[i] = dsv4_e4m3fnuz_to_f32(codes[i]) * scale;
    }
    kv_store_bf16(out, values, KV_GROUP);
}

static void read_row(const struct reader *reader, uint16_t *out, const uint8_t *page, int64_t j) {
    const uint8_t *const data = page + kv_data_offset(reader->interleaved, j);
    const uint8_t *const scales =
        page + kv_scale_offset(reader->interleaved, reader->block_size, j);
    for (int g = 0; g < KV_GROUPS; g++) {
        const uint8_t *const codes = data + g * KV_GROUP;
        uint16_t *const to = out + g * KV_GROUP;
        read_group(to, codes, scale_of(reader, scales, g), reader->fp8);
        for (int i = 0; reader->wrong == KV_SUBNORMALS_FLUSHED && i < KV_GROUP; i++)
            if ((codes[i] & 0x78) == 0) to[i] = 0;
        for (int i = 0; reader->wrong == KV_NAN_ZEROED && i < KV_GROUP; i++)
            if ((to[i] & 0x7FFF) > 0x7F80) to[i] = 0;
    }
    memcpy(out + KV_NOPE, data + KV_NOPE, KV_ROPE * sizeof *out);
    for (int i = KV_NOPE; reader->wrong == KV_ROPE_SCALED && i < KV_HEAD; i++)
        out[i] =
            dsv4_bf16_from_f32(dsv4_bf16_to_f32(out[i]) * scale_of(reader, scales, KV_GROUPS - 1));
}

static const uint8_t *page_of(const struct reader *reader, int64_t r, int64_t position) {
    const dsv4_tensor *const table = reader->block_table;
    const int64_t row =
        reader->wrong == KV_TABLE_ROW_STRIDE ? table->shape[1] * 4 : table->stride[0];
    int32_t block;
    memcpy(&block, (const char *)table->data + r * row + position / reader->block_size * 4,
           sizeof block);
    if (reader->wrong == KV_TABLE_ROW_STRIDE) /* stays inside the cache: a mutant must not crash */
        block = block < 0 || block >= reader->cache->shape[0] ? 0 : block;
    int64_t offset = block * (reader->wrong == KV_PAGE_DENSE
                                  ? kv_page_bytes(reader->interleaved, reader->block_size)
                                  : reader->cache->stride[0]);
    if (reader->wrong == KV_ADDRESS_WRAPS) offset &= INT64_C(0xFFFFFFFF);
    return (const uint8_t *)reader->cache->data + offset;
}

static void open_reader(struct reader *reader, const dsv4_call *call, enum kv_wrong wrong) {
    struct kv_store store;
    kv_store_open(&store, call, &call->tensors[CACHE], wrong);
    reader->cache = &call->tensors[CACHE];
    reader->block_table = &call->tensors[BLOCK_TABLE];
    reader->fp8 = store.fp8;
    if (wrong == KV_FP8_OTHER) reader->fp8 = store.fp8 == DSV4_OCP ? DSV4_FNUZ240 : DSV4_OCP;
    reader->interleaved = store.interleaved != (wrong == KV_LAYOUT_OTHER);
    reader->block_size = store.block_size;
    reader->wrong = wrong;
}

/* How many rows request r gathers. */
static int64_t rows_of(const dsv4_call *call, int64_t r, enum kv_wrong wrong) {
    const dsv4_tensor *const lens = &call->tensors[GATHER_LENS], *const out = &call->tensors[OUT];
    const int64_t all = kv_i32(&call->tensors[SEQ_LENS], r);
    const int64_t room = out->shape[1] - dsv4_int(call, "offset", 0);
    if (wrong == KV_GATHER_LEN_IGNORED) return all < room ? all : room; /* must not crash */
    return lens->data != NULL ? kv_i32(lens, r) : all;
}

static void *row_of(const dsv4_tensor *out, int64_t r, int64_t row, enum kv_wrong wrong) {
    int64_t offset = r * out->stride[0] + row * out->stride[1];
    if (wrong == KV_OUT_DENSE) offset = (r * out->shape[1] + row) * KV_HEAD * 2;
    if (wrong == KV_OUT_WRAPS) offset &= INT64_C(0x7FFFFFFF);
    return (char *)out->data + offset;
}

const struct dsv4_op dsv4_op_kv_dequantize_gather;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum kv_wrong wrong = kv_wrong_of(&dsv4_op_kv_dequantize_gather, mutant);
    const dsv4_tensor *const tensors = call->tensors, *const out = &tensors[OUT];
    const int64_t offset = wrong == KV_GATHER_OFFSET_LOST ? 0 : dsv4_int(call, "offset", 0);
    struct reader reader;
    (void)err;
    open_reader(&reader, call, wrong);
#pragma omp parallel
    for (int64_t r = 0; r < out->shape[0]; r++) {
        const int64_t seq_len = kv_i32(&tensors[SEQ_LENS], r), n = rows_of(call, r, wrong);
        const int64_t start = wrong == KV_GATHER_FROM_START ? 0 : seq_len - n;
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < n; i++) {
            const uint8_t *const page = page_of(&reader, r, start + i);
            read_row(&reader, row_of(out, r, offset + i, wrong), page,
                     (start + i) % reader.block_size);
        }
        for (int64_t i = offset + n; wrong == KV_GATHER_TAIL_CLEARED && i < out->shape[1]; i++)
            memset(row_of(out, r, i, wrong), 0, KV_HEAD * 2);
    }
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const struct kv_step *const step = kv_step_of(c);
    const int64_t r = offset / out->stride[0], i = offset % out->stride[0] / out->stride[1];
    const int64_t n = gather_len(c, &step->batch.requests[r]);
    const int64_t row = step->batch.seq_lens[r] - n + i - dsv4_case_int(c, "offset");
    const int64_t at = dsv4_paging_slot(&step->cache, r, row);
    snprintf(line, size, "request %lld, cache row %lld: block %lld, token %lld", (long long)r,
             (long long)row, (long long)(at / step->cache.block_size),
             (long long)(at % step->cache.block_size));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct kv_step *const step = kv_step_of(c);
    int64_t rows = 0;
    for (int64_t r = 0; r < step->batch.n_requests; r++)
        rows += gather_len(c, &step->batch.requests[r]);
    work->bytes_read = (double)(rows * KV_TOKEN_BYTES);
    work->bytes_written = (double)(rows * KV_HEAD * 2);
}

const struct dsv4_op dsv4_op_kv_dequantize_gather = {
    .name = "kv_dequantize_gather",
    .summary = "reads rows of the 584-byte KV cache back to bf16",
    .source = "vllm deepseek_v4 common/ops/cache_utils.py, nvidia/ops/dequant_gather_k_cutedsl.py",
    .exact = "a code times a power of two is exact, and rounded once",
    DSV4_OP_PARTS,
};
