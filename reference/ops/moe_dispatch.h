/* SPDX-License-Identifier: Apache-2.0 */
/* What the ops share that bring rows into the order of their experts: ids, their inputs, and the stable sort. */
#ifndef DSV4_MOE_DISPATCH_H
#define DSV4_MOE_DISPATCH_H

#include "../input/input.h"

enum { DISPATCH_MOST = 1024 /* experts */ };

enum dispatch_wrong {
    DISPATCH_RIGHT,
    DISPATCH_ID_NARROW,
    DISPATCH_ID_CLAMPED,
    DISPATCH_NEGATIVE_FIRST,
    DISPATCH_MAP_LOST,
    DISPATCH_REMOTE_FIRST,
    DISPATCH_UNSTABLE,
    DISPATCH_LAST_LOST,
    DISPATCH_DUPLICATES_LOST,
    /* of single ops */
    DISPATCH_ADDED,
    DISPATCH_SENTINEL,
    DISPATCH_UNPADDED,
    DISPATCH_EMPTY_BLOCK,
    DISPATCH_TAIL_OTHER,
    DISPATCH_TAIL_KEPT,
    DISPATCH_TOKENS,
    DISPATCH_TOTAL_UNPADDED,
    DISPATCH_INVALID_OTHER,
    DISPATCH_MAP_OF_TAIL,
    DISPATCH_X_DENSE,
    DISPATCH_OUT_DENSE,
    DISPATCH_SOURCE_BY_SLOT,
    DISPATCH_SCALE_IN_PLACE,
    DISPATCH_SCALE_LOST,
    DISPATCH_SCALE_ROWS,
    DISPATCH_OFFSETS_ENDS,
    DISPATCH_INVERSE_KEPT,
    DISPATCH_INVERSE_TURNED,
    DISPATCH_PADDING_OTHER,
    DISPATCH_SKIPPED_LAST,
    DISPATCH_REPLICA_OTHER,
    DISPATCH_REPLICA_FIRST,
    DISPATCH_HASH_SIGNED,
    DISPATCH_BY_SLOT,
    DISPATCH_COUNTED_PADDING,
    DISPATCH_COUNTED_DISABLED,
    DISPATCH_COUNTED_LOGICAL,
    DISPATCH_KEPT,
};

static inline enum dispatch_wrong dispatch_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum dispatch_wrong)op->mutants[mutant - 1].id : DISPATCH_RIGHT;
}

#define DISPATCH_IDS_PARAMS DISPATCH_IDS_PARAMS_OF("i32")
#define DISPATCH_IDS_PARAMS_OF(dtype)                                                              \
    DSV4_PARAM_INT("tokens", INPUT, 5, 0, 1 << 24, "tokens"),                                      \
        DSV4_PARAM_INT("topk", INPUT, 2, 1, 16, "slots of a token"),                               \
        DSV4_PARAM_NAME("ids", INPUT, dtype, "i32 i64", "dtype of the ids"),                       \
        DSV4_PARAM_NAME("route", INPUT, "drawn", "drawn one few turned",                           \
                        "experts without repetition; one takes all; few experts, repeated in a "   \
                        "token; from the last expert to the first"),                               \
        DSV4_PARAM_NAME("skipped", INPUT, "none", "none some all",                                 \
                        "tokens of padding, whose ids are -1"),                                    \
        DSV4_PARAM_INT("outside", INPUT, 0, 0, 1,                                                  \
                       "1: every fifth id is negative, or beyond the last expert"),                \
        DSV4_PARAM_INT("assignment", INPUT, -1, -1, 1 << 30,                                       \
                       "-1: as route says; else one of all assignments: ids are the number's "     \
                       "digits in base experts + 1, less 1")

#define DISPATCH_EXPERTS_PARAMS(use)                                                               \
    DSV4_PARAM_INT("experts", use, 8, 1, 1024, "experts that are here"),                           \
        DSV4_PARAM_INT("global_experts", INPUT, 0, 0, 1024,                                        \
                       "experts that ids name; expert_map has those that are here. 0: no map")

#define DISPATCH_MUTANTS_OF_IDS                                                                    \
    {"id-narrow", "64-bit ids cut to 32 bits: 2^32 + 1 becomes 1", DISPATCH_ID_NARROW},            \
        {"id-clamped", "ids beyond the last expert go to the last; they are skipped",              \
         DISPATCH_ID_CLAMPED},                                                                     \
    {                                                                                              \
        "negative-first", "negative ids go to expert 0; they are skipped", DISPATCH_NEGATIVE_FIRST \
    }
#define DISPATCH_MUTANTS_OF_MAP                                                                    \
    {"map-lost", "ids taken for those of experts here; expert_map says", DISPATCH_MAP_LOST}, {     \
        "remote-first", "experts that are elsewhere go to expert 0; they are skipped",             \
            DISPATCH_REMOTE_FIRST                                                                  \
    }

/* Experts that ids name in a case: those of the map, else those here. */
static inline int64_t dispatch_named(const struct dsv4_case *c) {
    const int64_t global = dsv4_case_int(c, "global_experts");
    return global > 0 ? global : dsv4_case_int(c, "experts");
}

/* Shapes ids [tokens, topk], and expert_map in the slot after it. */
void moe_dispatch_shape_ids(struct dsv4_case *c, size_t ids);
void moe_dispatch_shape_map(struct dsv4_case *c, size_t map);
void moe_dispatch_fill_ids(const struct dsv4_case *c, size_t ids, int64_t experts);
/* Every other expert is here, in descending order of their ids as far as there are some. */
void moe_dispatch_fill_map(const struct dsv4_case *c, size_t map);

static inline int64_t dispatch_id(const dsv4_tensor *ids, int64_t i) {
    return ids->dtype == DSV4_I64 ? ((const int64_t *)ids->data)[i]
                                  : ((const int32_t *)ids->data)[i];
}

/* How a call names experts. */
struct dispatch {
    const dsv4_tensor *ids;
    const int32_t *map; /* NULL: none */
    int64_t n, topk, n_map, experts;
    enum dispatch_wrong wrong;
};

void moe_dispatch_open(struct dispatch *d, const dsv4_tensor *ids, const dsv4_tensor *map,
                       int64_t experts, enum dispatch_wrong wrong);
/* The expert of slot i (token * topk + k) among those here; -1: none. */
int64_t moe_dispatch_expert(const struct dispatch *d, int64_t i);

void moe_dispatch_count(const struct dispatch *d, int32_t *counts);

/* Stable sort by expert. starts[e]: the first place of expert e, whose places are rounded up to a multiple of align;
 * starts[experts]: their end. places[i]: of slot i, -1 if it has no expert. */
void moe_dispatch_sort(const struct dispatch *d, int64_t align, int32_t *places, int32_t *starts);

/* The same the other way round, without the ways to go wrong: slots[p] is the slot of place p < n, `none`
 * where no slot is; n takes all places. */
void moe_dispatch_order(const struct dispatch *d, int64_t align, int32_t *slots, int64_t n,
                        int32_t none, int32_t *starts);

#endif
