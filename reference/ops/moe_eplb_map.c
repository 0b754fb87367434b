/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_eplb_map: logical experts to physical ones, of which an expert may have several replicas, and the load of each.
 *
 *   n = max(replica_count[id], 1), physical[t, k] = replicas[id, r]; by choice, in integers that do not wrap:
 *     hash      r = (2654435769 * t mod 2^32) mod n
 *     position  r = (t * topk + k) mod n
 *     rank      r = (rank + 23333 * t) mod n
 *   ids outside of replica_count give -1.
 *   load[p] += slots whose physical expert is p, if record[0] is not 0; of tokens below n_tokens[0] where it is there.
 *   Physical experts outside of load count nowhere.
 * Integers: no rounding.
 *
 * Source: vllm eplb_map_to_physical_and_record (hash; position before), TileKernels top2_sum_gate (rank; it multiplies in
 * 32 bits, which 92,034 tokens overflow).
 * Latitude: none.
 */
#include <stdio.h>

#include "../memory.h"
#include "moe_dispatch.h"

enum { IDS, REPLICAS, REPLICA_COUNT, RECORD, N_TOKENS, PHYSICAL, LOAD };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("choice", DIALECT, "hash", "hash position rank", "how a replica is chosen"),
    DSV4_PARAM_INT("rank", CALL, 0, 0, 1023, "choice rank: the rank"),
    DSV4_PARAM_INT("experts", INPUT, 8, 1, 1024, "logical experts"),
    DSV4_PARAM_INT("most_replicas", INPUT, 3, 1, 64, "replicas of an expert"),
    DSV4_PARAM_INT("record", INPUT, 1, 0, 1, "whether load is counted"),
    DSV4_PARAM_INT("unpadded", INPUT, -1, -1, 1 << 24, "n_tokens; -1: not there"),
    DISPATCH_IDS_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"ids",           DSV4_IN,    "[tokens, topk] i32 or i64", "logical experts; -1: none" },
    {"replicas",      DSV4_IN,    "[experts, most] i32",       "physical experts"          },
    {"replica_count", DSV4_IN,    "[experts] i32",             "replicas of an expert"     },
    {"record",        DSV4_IN,    "[1] i32",                   "0: load stays"             },
    {"n_tokens",      DSV4_IN,    "[1] i32, or absent",        "tokens that are no padding"},
    {"physical",      DSV4_OUT,   "[tokens, topk] as ids",     "physical experts, or -1"   },
    {"load",          DSV4_INOUT, "[physical experts] i32",    "slots of a physical expert"},
};

static const struct dsv4_mutant mutants[] = {
    DISPATCH_MUTANTS_OF_IDS,
    {"kept",             "ids beyond the last expert kept; they become -1",     DISPATCH_KEPT            },
    {"replica-other",    "a replica as another dialect chooses it",             DISPATCH_REPLICA_OTHER   },
    {"replica-first",    "always the first replica",                            DISPATCH_REPLICA_FIRST   },
    {"hash-signed",      "the product taken as a signed 32-bit number",         DISPATCH_HASH_SIGNED     },
    {"by-slot",          "chosen by slot where it is by token, or the reverse", DISPATCH_BY_SLOT         },
    {"counted-padding",  "tokens from n_tokens on counted",                     DISPATCH_COUNTED_PADDING },
    {"counted-disabled", "load counted although record is 0",                   DISPATCH_COUNTED_DISABLED},
    {"counted-logical",  "load of logical experts",                             DISPATCH_COUNTED_LOGICAL },
    {"load-cleared",     "load starts from 0; it is added to",                  DISPATCH_ADDED           },
};

static int64_t replicas_of(const struct dsv4_case *c, int64_t e) {
    if (e % 7 == 5) return 0;
    return 1 + (e * 5 + 1) % dsv4_case_int(c, "most_replicas");
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t experts = dsv4_case_int(c, "experts");
    int64_t physical = 0;
    (void)err;
    for (int64_t e = 0; e < experts; e++) physical += replicas_of(c, e);
    moe_dispatch_shape_ids(c, IDS);
    DSV4_SHAPE(c, REPLICAS, DSV4_I32, experts, dsv4_case_int(c, "most_replicas"));
    DSV4_SHAPE(c, REPLICA_COUNT, DSV4_I32, experts);
    DSV4_SHAPE(c, RECORD, DSV4_I32, 1);
    DSV4_SHAPE(c, N_TOKENS, DSV4_I32, 1);
    if (dsv4_case_int(c, "unpadded") < 0) dsv4_absent(c, N_TOKENS);
    DSV4_SHAPE(c, PHYSICAL, c->tensors[IDS].t.dtype, dsv4_case_int(c, "tokens"),
               dsv4_case_int(c, "topk"));
    c->tensors[PHYSICAL].align = 16;
    DSV4_SHAPE(c, LOAD, DSV4_I32, physical);
    return 0;
}

static void fill(struct dsv4_case *c) {
    const int64_t experts = dsv4_case_int(c, "experts"), most = dsv4_case_int(c, "most_replicas");
    const int64_t physical = c->tensors[LOAD].t.shape[0];
    int32_t *const replicas = c->tensors[REPLICAS].t.data, *const load = c->tensors[LOAD].t.data;
    int64_t next = 0;
    moe_dispatch_fill_ids(c, IDS, experts);
    for (int64_t e = 0; e < experts; e++) {
        const int64_t n = replicas_of(c, e);
        ((int32_t *)c->tensors[REPLICA_COUNT].t.data)[e] = (int32_t)n;
        for (int64_t r = 0; r < most; r++)
            replicas[e * most + r] = r < n ? (int32_t)(physical - 1 - next++) : -1;
    }
    for (int64_t p = 0; p < physical; p++) load[p] = (int32_t)(p % 5 == 0 ? 1000 + p : 0);
    *(int32_t *)c->tensors[RECORD].t.data = (int32_t)dsv4_case_int(c, "record");
    if (c->tensors[N_TOKENS].t.ndim > 0)
        *(int32_t *)c->tensors[N_TOKENS].t.data = (int32_t)dsv4_case_int(c, "unpadded");
}

const struct dsv4_op dsv4_op_moe_eplb_map;

/* The replicas of an expert; an id that is none has one, whose number is -1. */
struct choice {
    double inverse; /* 1 / n */
    int64_t n;
    const int32_t *replicas;
};

/* How a call chooses, and what it counts. */
struct eplb {
    struct dispatch d;
    bool by_rank, by_position, by_hash, record;
    uint64_t rank;
    int64_t most, physical, counted; /* slots before `counted` are */
    const int32_t *replicas, *counts;
    const dsv4_tensor *out;
    struct choice *choices; /* of every expert and, last, of none */
};

static int64_t count_of(const struct eplb *m, int64_t e) {
    return m->counts[e] > 1 ? m->counts[e] : 1;
}

/* A division for each expert, not for each slot. */
static struct choice *choices_of(const struct eplb *m) {
    static const int32_t none = -1;
    const int64_t experts = m->d.experts;
    struct choice *const choices = dsv4_alloc((size_t)(experts + 1) * sizeof *choices);
    for (int64_t e = 0; e < experts; e++) {
        const int64_t n = count_of(m, e);
        choices[e] = (struct choice){1.0 / (double)n, n, m->replicas + e * m->most};
    }
    choices[experts] = (struct choice){1.0, 1, &none};
    return choices;
}

static void open_call(struct eplb *m, const dsv4_call *call, int mutant) {
    const dsv4_tensor *const tensors = call->tensors;
    const int64_t experts = tensors[REPLICA_COUNT].shape[0];
    moe_dispatch_open(&m->d, &tensors[IDS], NULL, experts,
                      dispatch_wrong_of(&dsv4_op_moe_eplb_map, mutant));
    const enum dispatch_wrong wrong = m->d.wrong;
    const bool limited = tensors[N_TOKENS].ndim > 0 && wrong != DISPATCH_COUNTED_PADDING;
    m->by_rank = dsv4_is(call, "choice", "rank") && wrong != DISPATCH_REPLICA_OTHER;
    m->by_position = dsv4_is(call, "choice", "position") != (wrong == DISPATCH_BY_SLOT);
    m->by_hash = dsv4_is(call, "choice", "hash") != (wrong == DISPATCH_REPLICA_OTHER);
    m->record = *(const int32_t *)tensors[RECORD].data != 0 || wrong == DISPATCH_COUNTED_DISABLED;
    m->rank = (uint64_t)dsv4_int(call, "rank", 0);
    m->most = tensors[REPLICAS].shape[1];
    m->physical = tensors[LOAD].shape[0];
    m->counted = limited ? *(const int32_t *)tensors[N_TOKENS].data * m->d.topk : m->d.n;
    m->replicas = tensors[REPLICAS].data;
    m->counts = tensors[REPLICA_COUNT].data;
    m->out = &tensors[PHYSICAL];
    m->choices = choices_of(m);
}

/* What a slot's replica is the remainder of. */
static uint64_t dividend(const struct eplb *m, int64_t i, int64_t token) {
    const uint64_t t = (uint64_t)(m->by_position ? i : token);
    return m->by_rank   ? m->rank + 23333 * t
           : m->by_hash ? t * UINT64_C(2654435769) & 0xFFFFFFFFu
                        : t;
}

static void put(const dsv4_tensor *out, int64_t i, int64_t p) {
    if (out->dtype == DSV4_I64)
        ((int64_t *)out->data)[i] = p;
    else
        ((int32_t *)out->data)[i] = (int32_t)p;
}

/* x mod n by a product: below 2^50 (x + 1/2) / n lies so far from the next integers that rounding does not take it there. */
static int64_t remainder_of(uint64_t x, const struct choice *choice) {
    return (int64_t)x - (int64_t)(((double)(int64_t)x + 0.5) * choice->inverse) * choice->n;
}

static void map_token(const struct eplb *m, int64_t token, int32_t *load) {
    const struct choice *const choices = m->choices;
    const dsv4_tensor ids = *m->d.ids, out = *m->out;
    const int64_t first = token * m->d.topk, end = first + m->d.topk;
    const uint64_t experts = (uint64_t)m->d.experts, step = m->by_position ? 1 : 0;
    const uint64_t physical = (uint64_t)m->physical;
    uint64_t x = dividend(m, first, token);
    if (!m->record || first >= m->counted) load += physical + 1;
    for (int64_t i = first; i < end; i++, x += step) {
        const uint64_t id = (uint64_t)dispatch_id(&ids, i);
        const struct choice *const choice = &choices[id < experts ? id : experts];
        const int64_t p = choice->replicas[remainder_of(x, choice)];
        put(&out, i, p);
        /* No branch: which of the slots count is not to be foreseen. */
        load[((uint64_t)p + 1) & (0 - (uint64_t)((uint64_t)p < physical))]++;
    }
}

static int64_t replica_wrong(const struct eplb *m, int64_t i, int64_t token, int64_t e) {
    const int64_t n = count_of(m, e);
    const uint64_t x = dividend(m, i, token);
    if (m->d.wrong == DISPATCH_REPLICA_FIRST) return 0;
    if (m->d.wrong == DISPATCH_HASH_SIGNED) {
        const int64_t left = (int32_t)(uint32_t)x % n;
        return left < 0 ? -left : left;
    }
    return (int64_t)(x % (uint64_t)n);
}

static void map_wrong(const struct eplb *m, int64_t token, int32_t *load) {
    const struct dispatch *const d = &m->d;
    for (int64_t i = token * d->topk; i < (token + 1) * d->topk; i++) {
        const int64_t e = moe_dispatch_expert(d, i);
        int64_t p = e < 0 ? -1 : m->replicas[e * m->most + replica_wrong(m, i, token, e)];
        if (e < 0 && d->wrong == DISPATCH_KEPT) p = dispatch_id(d->ids, i);
        put(m->out, i, p);
        const int64_t at = d->wrong == DISPATCH_COUNTED_LOGICAL ? e : p;
        if (m->record && i < m->counted && at >= 0 && at < m->physical) load[at + 1]++;
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    struct eplb m;
    (void)err;
    open_call(&m, call, mutant);
    /* Of tokens that count, then of those that do not; the first counter of each is for slots that count nowhere. */
    const size_t bytes = 2 * (size_t)(m.physical + 1) * sizeof(int32_t);
    int32_t *const load = call->tensors[LOAD].data;
    if (m.d.wrong == DISPATCH_ADDED) memset(load, 0, (size_t)m.physical * sizeof *load);
#pragma omp parallel
    {
        int32_t *const counts = dsv4_alloc(bytes);
        memset(counts, 0, bytes);
#pragma omp for schedule(static)
        for (int64_t t = 0; t < m.d.ids->shape[0]; t++)
            (m.d.wrong == DISPATCH_RIGHT ? map_token : map_wrong)(&m, t, counts);
#pragma omp critical
        for (int64_t p = 0; p < m.physical; p++)
            load[p] = (int32_t)((uint32_t)load[p] + (uint32_t)counts[p + 1]);
        dsv4_free(counts);
    }
    dsv4_free(m.choices);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const ids = &c->tensors[IDS].t;
    const int64_t i = slot == LOAD ? 0 : offset / c->tensors[slot].t.stride[1];
    if (slot == LOAD)
        snprintf(line, size, "physical expert %lld", (long long)(offset / 4));
    else
        snprintf(line, size, "slot %lld of token %lld: logical expert %lld",
                 (long long)(i % ids->shape[1]), (long long)(i / ids->shape[1]),
                 (long long)dispatch_id(ids, i));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double n = (double)(dsv4_case_int(c, "tokens") * dsv4_case_int(c, "topk"));
    const double id = dsv4_case_is(c, "ids", "i64") ? 8 : 4;
    work->bytes_read = n * id + 4 * (double)dsv4_case_int(c, "experts") *
                                    (double)(1 + dsv4_case_int(c, "most_replicas"));
    work->bytes_written = n * id + 4 * (double)c->tensors[LOAD].t.shape[0];
}

const struct dsv4_op dsv4_op_moe_eplb_map = {
    .name = "moe_eplb_map",
    .summary = "logical experts to replicas, and the load of each replica",
    .source = "vllm eplb_map_to_physical_and_record, TileKernels top2_sum_gate",
    .exact = "integers alone",
    DSV4_OP_PARTS,
};
