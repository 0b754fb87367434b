/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_mask_indices_by_tp: ids of experts to those that ranks of this tensor-parallel rank have, counted among themselves.
 *
 * An expert-parallel rank has g = experts / ep_ranks experts; rank j has tensor-parallel rank j mod tp_ranks.
 *   j = id / g; masked = (j / tp_ranks) * g + id mod g if j mod tp_ranks == tp_rank, else -1; -1 for negative ids
 * Integers: no rounding. Domain: ids below experts; ep_ranks divides experts.
 * Source: TileKernels mask_indices_by_tp.
 * Latitude: none.
 */
#include <stdio.h>

#include "../memory.h"
#include "moe_dispatch.h"

enum { IDS, MASKED };
enum { BLOCK = 4096 /* slots */ };
enum wrong {
    RIGHT,
    NEGATIVE_FIRST,
    MODULO_LOST,
    BY_BLOCKS,
    GLOBAL_KEPT,
    RANK_LOST,
    LOCAL_ALONE,
    KEPT
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("experts", CALL, 16, 1, 1 << 20, "experts of all ranks"),
    DSV4_PARAM_INT("ep_ranks", CALL, 8, 1, 1 << 16, "expert-parallel ranks"),
    DSV4_PARAM_INT("tp_rank", CALL, 1, 0, 1023, "this rank"),
    DSV4_PARAM_INT("tp_ranks", CALL, 2, 1, 1024, "tensor-parallel ranks"),
    DISPATCH_IDS_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"ids",    DSV4_IN,  "[tokens, topk] i32 or i64", "experts; negative: none"},
    {"masked", DSV4_OUT, "[tokens, topk] as ids",     "experts here, or -1"    },
};

static const struct dsv4_mutant mutants[] = {
    {"negative-first", "negative ids become experts",                                  NEGATIVE_FIRST},
    {"modulo-lost",    "rank j compared with tp_rank; j mod tp_ranks is",              MODULO_LOST   },
    {"by-blocks",      "the first ranks have tensor-parallel rank 0; they take turns", BY_BLOCKS     },
    {"global-kept",    "ids left as they are; they count among the experts here",      GLOBAL_KEPT   },
    {"rank-lost",      "tp_rank's experts not subtracted",                             RANK_LOST     },
    {"local-alone",    "place inside of a rank; ranks come one after the other",       LOCAL_ALONE   },
    {"kept",           "ids of other ranks left unwritten; they are -1",               KEPT          },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t experts = dsv4_case_int(c, "experts"), ranks = dsv4_case_int(c, "ep_ranks");
    if (experts % ranks != 0)
        return dsv4_fail(err, "ep_ranks: %lld; %lld experts", (long long)ranks, (long long)experts);
    if (dsv4_case_int(c, "outside") != 0) return dsv4_fail(err, "outside: ids are below experts");
    moe_dispatch_shape_ids(c, IDS);
    DSV4_SHAPE(c, MASKED, c->tensors[IDS].t.dtype, dsv4_case_int(c, "tokens"),
               dsv4_case_int(c, "topk"));
    c->tensors[MASKED].align = 16;
    return 0;
}

static void fill(struct dsv4_case *c) {
    moe_dispatch_fill_ids(c, IDS, dsv4_case_int(c, "experts"));
}

struct mask {
    int64_t experts, ranks, each, tp, mine;
    int32_t *table;
    enum wrong wrong;
};

static int64_t masked(const struct mask *mask, int64_t id) {
    const int64_t ranks = mask->ranks, each = mask->each, tp = mask->tp, mine = mask->mine;
    const enum wrong wrong = mask->wrong;
    if (id < 0 && wrong == NEGATIVE_FIRST) id = 0;
    if (id < 0) return -1;
    const int64_t j = id / each;
    const int64_t rank = wrong == MODULO_LOST ? j : wrong == BY_BLOCKS ? j * tp / ranks : j % tp;
    if (rank != mine) return wrong == KEPT ? -2 : -1;
    if (wrong == GLOBAL_KEPT) return id;
    if (wrong == LOCAL_ALONE) return id % each;
    return j / tp * each + id % each + (wrong == RANK_LOST ? mine * each : 0);
}

/* Of every expert and, first, of an id that is none: two divisions for each of them, not for each slot. */
static int32_t *mask_table(const struct mask *mask) {
    int32_t *const table = dsv4_alloc((size_t)(mask->experts + 1) * sizeof *table);
    for (int64_t e = -1; e < mask->experts; e++) table[e + 1] = (int32_t)masked(mask, e);
    return table;
}

/* Loops of their own for both dtypes, with nothing in them but a look into the table. */
static void mask_slots(const struct mask *mask, const dsv4_tensor *ids, const dsv4_tensor *out,
                       int64_t first, int64_t end) {
    const int32_t *const table = mask->table;
    const int64_t experts = mask->experts;
    if (ids->dtype == DSV4_I64) {
        const int64_t *const from = ids->data;
        int64_t *const to = out->data;
        for (int64_t i = first; i < end; i++)
            to[i] =
                from[i] < experts ? table[from[i] < 0 ? 0 : from[i] + 1] : masked(mask, from[i]);
    } else {
        const int32_t *const from = ids->data;
        int32_t *const to = out->data;
        for (int64_t i = first; i < end; i++)
            to[i] = from[i] < experts ? table[from[i] < 0 ? 0 : from[i] + 1]
                                      : (int32_t)masked(mask, from[i]);
    }
}

/* Wrong on purpose: slots that would be -2 stay as they are. */
static void mask_kept(const struct mask *mask, const dsv4_tensor *ids, const dsv4_tensor *out,
                      int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
        const int64_t x = masked(mask, dispatch_id(ids, i));
        if (x == -2) continue;
        if (out->dtype == DSV4_I64)
            ((int64_t *)out->data)[i] = x;
        else
            ((int32_t *)out->data)[i] = (int32_t)x;
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const ids = &call->tensors[IDS], *const out = &call->tensors[MASKED];
    const int64_t n = ids->shape[0] * ids->shape[1], ranks = dsv4_int(call, "ep_ranks", 1);
    struct mask mask = {
        .experts = dsv4_int(call, "experts", 1),
        .ranks = ranks,
        .tp = dsv4_int(call, "tp_ranks", 1),
        .mine = dsv4_int(call, "tp_rank", 0),
        .wrong = mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT,
    };
    (void)err;
    mask.each = mask.experts / ranks;
    mask.table = mask_table(&mask);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t end = n - first < BLOCK ? n : first + BLOCK;
        (mask.wrong == KEPT ? mask_kept : mask_slots)(&mask, ids, out, first, end);
    }
    dsv4_free(mask.table);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const ids = &c->tensors[IDS].t;
    const int64_t i = offset / c->tensors[slot].t.stride[1];
    const int64_t each = dsv4_case_int(c, "experts") / dsv4_case_int(c, "ep_ranks");
    const int64_t id = dispatch_id(ids, i);
    snprintf(line, size, "ids[%lld, %lld] = %lld: rank %lld", (long long)(i / ids->shape[1]),
             (long long)(i % ids->shape[1]), (long long)id, (long long)(id < 0 ? -1 : id / each));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double n = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "topk"));
    work->bytes_read = work->bytes_written = n * (dsv4_case_is(c, "ids", "i64") ? 8 : 4);
}

const struct dsv4_op dsv4_op_moe_mask_indices_by_tp = {
    .name = "moe_mask_indices_by_tp",
    .summary = "ids of experts to those of this tensor-parallel rank, or -1",
    .source = "TileKernels mask_indices_by_tp",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
