/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_expert_count: counts[e] = how many of the slots of ids have expert e.
 *
 * A slot's expert is its id, or with an expert_map expert_map[id]. Slots without one count nowhere: ids that are negative
 * or beyond the last, experts that the map says are elsewhere (-1). An expert that comes twice in a token counts twice.
 * Integers: no rounding. Domain: fewer than 2^31 slots.
 * Source: vllm count_expert_num_tokens, TileKernels group_count (which asserts that ids are -1 or experts).
 * Latitude: none.
 */
#include <stdio.h>

#include "moe_dispatch.h"

enum { IDS, MAP, COUNTS };

static const struct dsv4_param_def params[] = {
    DISPATCH_EXPERTS_PARAMS(INPUT),
    DISPATCH_IDS_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"ids",        DSV4_IN,  "[tokens, topk] i32 or i64",       "experts; -1: none" },
    {"expert_map", DSV4_IN,  "[global experts] i32, or absent", "expert here, or -1"},
    {"counts",     DSV4_OUT, "[experts] i32",                   "slots of an expert"},
};

static const struct dsv4_mutant mutants[] = {
    DISPATCH_MUTANTS_OF_IDS,
    DISPATCH_MUTANTS_OF_MAP,
    {"added",           "added to what counts held; they start from 0",                        DISPATCH_ADDED    },
    {"last-lost",       "the last slot not counted",                                           DISPATCH_LAST_LOST},
    {"duplicates-lost", "an expert that comes twice in a token counted once; it counts twice",
      DISPATCH_DUPLICATES_LOST                                                                                    },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    (void)err;
    moe_dispatch_shape_ids(c, IDS);
    moe_dispatch_shape_map(c, MAP);
    DSV4_SHAPE(c, COUNTS, DSV4_I32, dsv4_case_int(c, "experts"));
    return 0;
}

static void fill(struct dsv4_case *c) {
    moe_dispatch_fill_ids(c, IDS, dispatch_named(c));
    moe_dispatch_fill_map(c, MAP);
}

const struct dsv4_op dsv4_op_moe_expert_count;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const tensors = call->tensors;
    struct dispatch d;
    (void)err;
    moe_dispatch_open(&d, &tensors[IDS], &tensors[MAP], tensors[COUNTS].shape[0],
                      dispatch_wrong_of(&dsv4_op_moe_expert_count, mutant));
    moe_dispatch_count(&d, tensors[COUNTS].data);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    struct dispatch d;
    int64_t first = -1;
    (void)slot;
    moe_dispatch_open(&d, &c->tensors[IDS].t, &c->tensors[MAP].t, dsv4_case_int(c, "experts"),
                      DISPATCH_RIGHT);
    for (int64_t i = 0; first < 0 && i < d.n; i++)
        if (moe_dispatch_expert(&d, i) == offset / 4) first = i;
    if (first < 0)
        snprintf(line, size, "no slot has expert %lld", (long long)(offset / 4));
    else
        snprintf(line, size, "expert %lld; the first slot that has it: ids[%lld, %lld]",
                 (long long)(offset / 4), (long long)(first / d.topk), (long long)(first % d.topk));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double slots_of_all = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "topk"));
    work->bytes_read = slots_of_all * (dsv4_case_is(c, "ids", "i64") ? 8 : 4) +
                       4 * (double)dsv4_case_int(c, "global_experts");
    work->bytes_written = 4 * (double)dsv4_case_int(c, "experts");
}

const struct dsv4_op dsv4_op_moe_expert_count = {
    .name = "moe_expert_count",
    .summary = "tokens per expert",
    .source = "vllm count_expert_num_tokens, TileKernels group_count",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
