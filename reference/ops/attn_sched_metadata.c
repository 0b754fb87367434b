/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_sched_metadata: FlashMLA's plan for sparse decoding: which blocks of 64 keys of which requests each part of the
 * GPU takes.
 *
 * Keys of request b: n = lens[b] or width, 0 counts as 1; with an extra cache n is rounded up to 64 and extra_lens[b] or
 * extra_width is added. blocks = ceil(n / 64). payload = ceil(sum of (blocks + overhead) / parts) + overhead.
 * Each part in turn takes what is left of the next request as long as that and the overhead fit into its payload; else
 * it takes payload - overhead blocks of it, if that is positive, and the next part goes on with the request's next split.
 * metadata[part] = first request, last request (inclusive), first block, end block (exclusive), number of the first
 * split, whether the first request is split, whether the last one is (both, if it is one request and either is), 0.
 * num_splits[b] = splits of all requests before b.
 *
 * Integers: no rounding. Domain: at least one request, lens from 0 on.
 * Source: FlashMLA csrc/smxx/decode/get_decoding_sched_meta.
 * Latitude: the eighth word is padding and not initialised upstream; here it is 0. Parts that are left without work name
 * the request after the last as their first.
 */
#include <stdio.h>

#include "../memory.h"
#include "attn_family.h"

enum { LENS, EXTRA_LENS, METADATA, NUM_SPLITS };
enum { SCHED_BLOCK = 64, SCHED_WORDS = 8 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("width", CALL, 128, 1, 1 << 20, "keys of a request without lens"),
    DSV4_PARAM_INT("extra_width", CALL, 0, 0, 1 << 20,
                   "keys of a request in the extra cache without extra_lens; 0: no extra cache"),
    DSV4_PARAM_INT("parts", CALL, 132, 1, 4096, "parts of the GPU"),
    DSV4_PARAM_INT("overhead", CALL, 5, 0, 64, "what a request costs beyond its blocks"),
    DSV4_PARAM_INT("tokens", INPUT, 8, 1, 1 << 16, "requests"),
    DSV4_PARAM_TEXT("lens", INPUT, "128",
                    "keys of the requests, by turns: 128,0,~64 (~ draws up to); none: absent"),
    DSV4_PARAM_TEXT("extra_lens", INPUT, "none", "keys in the extra cache; none: absent"),
};

static const struct dsv4_slot slots[] = {
    {"lens",       DSV4_IN,  "[requests] i32, or absent", "keys of the main cache"    },
    {"extra_lens", DSV4_IN,  "[requests] i32, or absent", "keys of the extra cache"   },
    {"metadata",   DSV4_OUT, "[parts, 8] i32",            "what each part takes"      },
    {"num_splits", DSV4_OUT, "[requests + 1] i32",        "splits before each request"},
};

static const struct dsv4_mutant mutants[] = {
    {"overhead-lost",     "requests cost their blocks alone",                                        ATTN_OVERHEAD_LOST},
    {"extra-unaligned",   "extra keys follow the main ones in the same block; they start a new one",
     ATTN_EXTRA_UNALIGNED                                                                                              },
    {"zero-len-no-block", "a request without keys has no block; it has one",
     ATTN_ZERO_LEN_NO_BLOCK                                                                                            },
    {"flags-apart",       "a part inside one request sets one of its split flags; it sets both",
     ATTN_FLAGS_APART                                                                                                  },
    {"end-exclusive",     "the last request counted exclusively",                                    ATTN_END_EXCLUSIVE},
    {"payload-floor",     "the payload rounded down; it is rounded up",                              ATTN_PAYLOAD_FLOOR},
    {"extra-missing",     "the extra cache not counted",                                             ATTN_EXTRA_MISSING},
    {"len-ignored",       "every request counted with the full width",                               ATTN_LEN_IGNORED  },
};

struct plan {
    int64_t *lens, *extra_lens;
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    struct plan *const plan = dsv4_case_alloc(c, sizeof *plan);
    const int64_t requests = dsv4_case_int(c, "tokens");
    c->plan = plan;
    DSV4_SHAPE(c, LENS, DSV4_I32, requests);
    DSV4_SHAPE(c, EXTRA_LENS, DSV4_I32, requests);
    DSV4_SHAPE(c, METADATA, DSV4_I32, dsv4_case_int(c, "parts"), SCHED_WORDS);
    DSV4_SHAPE(c, NUM_SPLITS, DSV4_I32, requests + 1);
    if (dsv4_case_is(c, "lens", "none"))
        dsv4_absent(c, LENS);
    else if ((plan->lens = attn_lengths(c, "lens", requests, 1, err)) == NULL)
        return -1;
    if (dsv4_case_is(c, "extra_lens", "none"))
        dsv4_absent(c, EXTRA_LENS);
    else if ((plan->extra_lens = attn_lengths(c, "extra_lens", requests, 2, err)) == NULL)
        return -1;
    return 0;
}

static void fill(struct dsv4_case *c) {
    const struct plan *const plan = c->plan;
    for (int64_t b = 0; b < dsv4_case_int(c, "tokens"); b++) {
        if (plan->lens != NULL) ((int32_t *)c->tensors[LENS].t.data)[b] = (int32_t)plan->lens[b];
        if (plan->extra_lens != NULL)
            ((int32_t *)c->tensors[EXTRA_LENS].t.data)[b] = (int32_t)plan->extra_lens[b];
    }
}

const struct dsv4_op dsv4_op_attn_sched_metadata;

static int64_t length_at(const dsv4_tensor *lens, int64_t b, int64_t width, enum attn_wrong wrong) {
    const bool given = !attn_absent(lens) && wrong != ATTN_LEN_IGNORED;
    return given ? ((const int32_t *)lens->data)[b] : width;
}

/* Blocks of one request. */
static int64_t blocks_of(const dsv4_call *call, int64_t b, enum attn_wrong wrong) {
    const int64_t extra_width = dsv4_int(call, "extra_width", 0);
    int64_t n = length_at(&call->tensors[LENS], b, dsv4_int(call, "width", 0), wrong);
    if (n == 0 && wrong != ATTN_ZERO_LEN_NO_BLOCK) n = 1;
    if (extra_width > 0 && wrong != ATTN_EXTRA_MISSING) {
        if (wrong != ATTN_EXTRA_UNALIGNED) n = (n + SCHED_BLOCK - 1) / SCHED_BLOCK * SCHED_BLOCK;
        n += length_at(&call->tensors[EXTRA_LENS], b, extra_width, wrong);
    }
    return (n + SCHED_BLOCK - 1) / SCHED_BLOCK;
}

/* Where the walk stands: a request, what of it is taken, and its next split. */
struct walk {
    const int32_t *blocks;
    int64_t requests, overhead, request, block, split, all_splits;
};

/* Gives one part its payload. */
static void take(struct walk *walk, int64_t payload, int32_t *num_splits) {
    while (walk->request < walk->requests) {
        const int64_t left = walk->blocks[walk->request] - walk->block;
        if (payload < left + walk->overhead) {
            if (payload > walk->overhead) {
                walk->block += payload - walk->overhead;
                walk->split++;
            }
            return;
        }
        payload -= left + walk->overhead;
        walk->all_splits += walk->split + 1;
        num_splits[++walk->request] = (int32_t)walk->all_splits;
        walk->block = walk->split = 0;
    }
}

static void describe(int32_t *row, const struct walk *before, const struct walk *after,
                     enum attn_wrong wrong) {
    const int64_t last = after->block > 0 ? after->request : after->request - 1;
    const int64_t all = last < 0 ? 0 : after->blocks[last];
    const int64_t end = after->block > 0 ? after->block : all;
    int first_split = before->block != 0, last_split = end != all;
    if (before->request == last && wrong != ATTN_FLAGS_APART)
        first_split = last_split = first_split || last_split;
    row[0] = (int32_t)before->request;
    row[1] = (int32_t)(wrong == ATTN_END_EXCLUSIVE ? last + 1 : last);
    row[2] = (int32_t)before->block;
    row[3] = (int32_t)end;
    row[4] = (int32_t)before->split;
    row[5] = first_split;
    row[6] = last_split;
    row[7] = 0;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum attn_wrong wrong = attn_wrong_of(&dsv4_op_attn_sched_metadata, mutant);
    const dsv4_tensor *const metadata = &call->tensors[METADATA];
    const int64_t parts = metadata->shape[0], requests = call->tensors[NUM_SPLITS].shape[0] - 1;
    const int64_t overhead = wrong == ATTN_OVERHEAD_LOST ? 0 : dsv4_int(call, "overhead", 0);
    int32_t *const num_splits = call->tensors[NUM_SPLITS].data;
    int32_t *const blocks = dsv4_alloc((size_t)requests * sizeof *blocks);
    int64_t total = 0;
    (void)err;
    for (int64_t b = 0; b < requests; b++) {
        blocks[b] = (int32_t)blocks_of(call, b, wrong);
        total += blocks[b] + overhead;
    }
    const int64_t up = wrong == ATTN_PAYLOAD_FLOOR ? 0 : parts - 1;
    const int64_t payload = (total + up) / parts + overhead;
    struct walk walk = {.blocks = blocks, .requests = requests, .overhead = overhead};
    num_splits[0] = 0;
    for (int64_t i = 0; i < parts; i++) {
        const struct walk before = walk;
        take(&walk, payload, num_splits);
        describe((int32_t *)(void *)((char *)metadata->data + i * metadata->stride[0]), &before,
                 &walk, wrong);
    }
    dsv4_free(blocks);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    static const char *const words[] = {
        "first request", "last request",           "first block",           "end block",
        "first split",   "first request is split", "last request is split", "padding"};
    const int64_t row = offset / c->tensors[slot].t.stride[0];
    if (slot == METADATA)
        snprintf(line, size, "part %lld: %s", (long long)row,
                 words[offset % c->tensors[slot].t.stride[0] / 4]);
    else
        snprintf(line, size, "splits of the requests before %lld", (long long)row);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const struct plan *const plan = c->plan;
    const double requests = (double)dsv4_case_int(c, "tokens");
    work->bytes_read = 4.0 * requests * ((plan->lens != NULL) + (plan->extra_lens != NULL));
    work->bytes_written = 32.0 * (double)dsv4_case_int(c, "parts") + 4.0 * (requests + 1.0);
}

const struct dsv4_op dsv4_op_attn_sched_metadata = {
    .name = "attn_sched_metadata",
    .summary = "FlashMLA's plan: which blocks of which requests each part of the GPU takes",
    .source = "FlashMLA get_decoding_sched_meta",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
