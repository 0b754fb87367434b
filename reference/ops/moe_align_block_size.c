/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_align_block_size: slots in the order of their experts, each expert's rounded up to blocks of block_size.
 *
 *   sorted_token_ids  the slots i = token * topk + k of expert 0 in ascending order, then the number of all slots up to
 *                     the next multiple of block_size; then those of expert 1, ...; that number up to the tensor's end
 *   expert_ids[b]     expert of block b, for the blocks in use
 *   num_tokens_post_pad[0]  places in use: a multiple of block_size. Experts without slots have no block.
 * A slot's expert is its id, or with an expert_map expert_map[id]; slots without one are left out: ids that are negative
 * or beyond the last expert, experts that are elsewhere (-1 in the map).
 * dialect `invalid`: dropped, as said; marked, slots are sorted by their ids, those of experts elsewhere too, and
 * expert_ids hold what the map says, -1 for those. Without a map both are the same.
 * dialect `tail`, expert_ids beyond the blocks in use: untouched (sgl-kernel), minus_one (vllm), zero (vllm before; marked:
 * what the map says of expert 0).
 * Integers: no rounding. Domain: fewer than 2^31 places.
 *
 * Source: vllm csrc/moe/moe_align_sum_kernels.cu and moe_align_block_size.py, sgl-kernel moe_align_kernel.cu.
 * Latitude: kernels that take places by atomic additions order the slots of an expert as they come; no GEMM's result
 * depends on that, but runs do not repeat. The canon is the stable order. Kernels that read expert_map[-1], or count -1 in
 * counters before the first, have ids of padding outside of their domain.
 */
#include <stdio.h>

#include "../memory.h"
#include "moe_dispatch.h"

enum { IDS, MAP, SORTED, EXPERTS, TOTAL };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("block_size", CALL, 4, 1, 1024, "places of a block"),
    DSV4_PARAM_NAME("tail", DIALECT, "minus_one", "minus_one zero untouched",
                    "expert_ids beyond the blocks in use"),
    DSV4_PARAM_NAME("invalid", DIALECT, "dropped", "dropped marked",
                    "slots of experts elsewhere: left out, or in blocks whose expert is -1"),
    DISPATCH_EXPERTS_PARAMS(CALL),
    DISPATCH_IDS_PARAMS,
    DSV4_PARAM_INT("spare", INPUT, 0, 0, 1 << 20, "places more than can be needed"),
};

static const struct dsv4_slot slots[] = {
    {"ids",                 DSV4_IN,  "[tokens, topk] i32 or i64",       "experts; -1: none"      },
    {"expert_map",          DSV4_IN,  "[global experts] i32, or absent", "expert here, or -1"     },
    {"sorted_token_ids",    DSV4_OUT, "[places] i32",                    "slots, by their experts"},
    {"expert_ids",          DSV4_OUT, "[ceil(places / block_size)] i32", "expert of a block"      },
    {"num_tokens_post_pad", DSV4_OUT, "[1] i32",                         "places in use"          },
};

static const struct dsv4_mutant mutants[] = {
    DISPATCH_MUTANTS_OF_IDS,
    DISPATCH_MUTANTS_OF_MAP,
    {"unstable",       "slots of an expert from the last to the first; they ascend",                  DISPATCH_UNSTABLE   },
    {"last-lost",      "the last slot left out",                                                      DISPATCH_LAST_LOST  },
    {"sentinel",       "places without a slot hold -1; they hold the number of slots",                DISPATCH_SENTINEL   },
    {"unpadded",       "experts one after the other, not in blocks",                                  DISPATCH_UNPADDED   },
    {"empty-block",    "an expert without slots gets a block",                                        DISPATCH_EMPTY_BLOCK},
    {"tail-other",     "expert_ids beyond the blocks in use as another dialect has them",
      DISPATCH_TAIL_OTHER                                                                                                  },
    {"tail-kept",      "places beyond those in use left as they were",                                DISPATCH_TAIL_KEPT  },
    {"tokens",         "tokens in place of slots",                                                    DISPATCH_TOKENS     },
    {"total-unpadded", "num_tokens_post_pad counts slots; it counts places",
      DISPATCH_TOTAL_UNPADDED                                                                                              },
    {"invalid-other",  "slots of experts elsewhere in blocks where they are dropped, or the reverse",
      DISPATCH_INVALID_OTHER                                                                                               },
    {"map-of-tail",    "marked: 0 beyond the blocks in use; it is mapped as well",
      DISPATCH_MAP_OF_TAIL                                                                                                 },
};

static int64_t ceil_of(int64_t n, int64_t d) { return (n + d - 1) / d; }

/* Experts that slots are sorted by. */
static int64_t sorted_by(const struct dsv4_case *c) {
    return dsv4_case_is(c, "invalid", "marked") ? dispatch_named(c) : dsv4_case_int(c, "experts");
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t n = dsv4_case_int(c, "tokens") * dsv4_case_int(c, "topk");
    const int64_t block = dsv4_case_int(c, "block_size"), experts = sorted_by(c);
    int64_t places = n + experts * (block - 1);
    if (n < experts) places = n * block;
    places += dsv4_case_int(c, "spare");
    if (places > INT32_MAX) return dsv4_fail(err, "%lld places", (long long)places);
    moe_dispatch_shape_ids(c, IDS);
    moe_dispatch_shape_map(c, MAP);
    DSV4_SHAPE(c, SORTED, DSV4_I32, places);
    DSV4_SHAPE(c, EXPERTS, DSV4_I32, ceil_of(places, block));
    DSV4_SHAPE(c, TOTAL, DSV4_I32, 1);
    c->tensors[SORTED].align = 16;
    return 0;
}

static void fill(struct dsv4_case *c) {
    moe_dispatch_fill_ids(c, IDS, dispatch_named(c));
    moe_dispatch_fill_map(c, MAP);
}

const struct dsv4_op dsv4_op_moe_align_block_size;

/* How a call sorts: by ids where experts elsewhere are marked. */
static bool open_sort(struct dispatch *d, const dsv4_call *call, enum dispatch_wrong wrong) {
    const dsv4_tensor *const map = &call->tensors[MAP];
    const bool marked = map->ndim > 0 && wrong != DISPATCH_MAP_LOST &&
                        dsv4_is(call, "invalid", "marked") != (wrong == DISPATCH_INVALID_OTHER);
    moe_dispatch_open(d, &call->tensors[IDS], marked ? NULL : map,
                      marked ? map->shape[0] : dsv4_int(call, "experts", 1), wrong);
    return marked;
}

static int32_t mapped(const dsv4_tensor *map, int64_t e, bool marked) {
    return marked ? ((const int32_t *)map->data)[e] : (int32_t)e;
}

static void put_experts(const dsv4_call *call, const struct dispatch *d, const int32_t *starts,
                        bool marked) {
    const dsv4_tensor *const map = &call->tensors[MAP], *const out = &call->tensors[EXPERTS];
    const int64_t block = dsv4_int(call, "block_size", 1);
    const bool other = d->wrong == DISPATCH_TAIL_OTHER;
    const bool zero = dsv4_is(call, "tail", "zero"), kept = dsv4_is(call, "tail", "untouched");
    int32_t *const experts = out->data;
    int64_t b = 0;
    for (int64_t e = 0; e < d->experts; e++)
        for (; b * block < starts[e + 1] && b < out->shape[0]; b++)
            experts[b] = mapped(map, e, marked);
    for (; b < out->shape[0] && kept == other; b++) {
        const bool plain = !marked || d->wrong == DISPATCH_MAP_OF_TAIL;
        experts[b] = (zero || kept) == other ? -1 : plain ? 0 : mapped(map, 0, true);
    }
}

/* Wrong on purpose: slots into their places; what num_tokens_post_pad becomes. */
static int32_t sort_wrong(const dsv4_tensor *sorted, const struct dispatch *d, int64_t block,
                          int32_t *starts) {
    const int32_t sentinel = d->wrong == DISPATCH_SENTINEL ? -1 : (int32_t)d->n;
    int32_t *const places = dsv4_alloc((size_t)(d->n + 1) * sizeof *places), *const out =
                                                                                 sorted->data;
    int32_t total = 0;
    moe_dispatch_sort(d, block, places, starts);
    const int64_t end = d->wrong == DISPATCH_TAIL_KEPT ? starts[d->experts] : sorted->shape[0];
    for (int64_t i = 0; i < end && i < sorted->shape[0]; i++) out[i] = sentinel;
    for (int64_t i = 0; i < d->n; i++) {
        if (places[i] < 0) continue;
        total++;
        if (places[i] < sorted->shape[0])
            out[places[i]] = (int32_t)(d->wrong == DISPATCH_TOKENS ? i / d->topk : i);
    }
    dsv4_free(places);
    return d->wrong == DISPATCH_TOTAL_UNPADDED ? total : starts[d->experts];
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const sorted = &call->tensors[SORTED];
    const int64_t block = dsv4_int(call, "block_size", 1);
    struct dispatch d;
    (void)err;
    const enum dispatch_wrong wrong = dispatch_wrong_of(&dsv4_op_moe_align_block_size, mutant);
    const bool marked = open_sort(&d, call, wrong);
    int32_t *const starts = dsv4_alloc((size_t)(d.experts + 1) * sizeof *starts);
    int32_t *const total = call->tensors[TOTAL].data;
    if (wrong == DISPATCH_RIGHT) {
        moe_dispatch_order(&d, block, sorted->data, sorted->shape[0], (int32_t)d.n, starts);
        *total = starts[d.experts];
    } else {
        *total = sort_wrong(sorted, &d, block, starts);
    }
    put_experts(call, &d, starts, marked);
    dsv4_free(starts);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const int64_t at = offset / 4, block = dsv4_case_int(c, "block_size");
    const dsv4_tensor *const ids = &c->tensors[IDS].t;
    if (slot == EXPERTS)
        snprintf(line, size, "block %lld: places %lld..%lld", (long long)at,
                 (long long)(at * block), (long long)(at * block + block - 1));
    else
        snprintf(line, size, "place %lld, in block %lld; there are %lld slots", (long long)at,
                 (long long)(at / block), (long long)(ids->shape[0] * ids->shape[1]));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double n = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "topk"));
    work->bytes_read = n * (dsv4_case_is(c, "ids", "i64") ? 8 : 4) +
                       4 * (double)dsv4_case_int(c, "global_experts");
    work->bytes_written =
        4 * (double)(c->tensors[SORTED].t.shape[0] + 1 + c->tensors[EXPERTS].t.shape[0]);
}

const struct dsv4_op dsv4_op_moe_align_block_size = {
    .name = "moe_align_block_size",
    .summary = "slots sorted by expert, each expert's in whole blocks",
    .source = "vllm csrc/moe/moe_align_sum_kernels.cu, sgl-kernel moe_align_kernel.cu",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
