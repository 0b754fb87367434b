/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of experts, and the stable sort by them. */
#include "moe_dispatch.h"

#include <assert.h>

#include "../memory.h"

enum { STREAM_ID = 11, CHUNKS = 32, BATCH = 128, BANKS = 4 };

/* ---- inputs ---- */

void moe_dispatch_shape_ids(struct dsv4_case *c, size_t ids) {
    DSV4_SHAPE(c, ids, dsv4_case_is(c, "ids", "i64") ? DSV4_I64 : DSV4_I32,
               dsv4_case_int(c, "tokens"), dsv4_case_int(c, "topk"));
    c->tensors[ids].align = 16;
}

void moe_dispatch_shape_map(struct dsv4_case *c, size_t map) {
    const int64_t global = dsv4_case_int(c, "global_experts");
    DSV4_SHAPE(c, map, DSV4_I32, global);
    if (global == 0) dsv4_absent(c, map);
}

/* Digit i of the assignment, less 1. */
static int64_t assigned(int64_t number, int64_t i, int64_t experts) {
    for (; i > 0; i--) number /= experts + 1;
    return number % (experts + 1) - 1;
}

/* Slots of a token name distinct experts while there are enough. */
static int64_t drawn(const struct dsv4_case *c, int64_t t, int64_t k, int64_t experts) {
    const uint64_t bits = dsv4_random(c->seed, STREAM_ID, (uint64_t)t);
    const int64_t step = experts > 2 ? 1 + (int64_t)(bits & 0xFFFF) % (experts - 1) : 1;
    int64_t id = dsv4_below(bits, experts), seen = 0;
    /* Steps that share a factor with experts come back early: go on from the neighbour. */
    for (int64_t i = 0; i < k; i++) {
        id = (id + step) % experts;
        seen += step;
        if (seen % experts == 0) id = (id + 1) % experts;
    }
    return id;
}

static int64_t routed(const struct dsv4_case *c, int64_t t, int64_t k, int64_t experts) {
    const int64_t i = t * dsv4_case_int(c, "topk") + k;
    const uint64_t bits = dsv4_random(c->seed, STREAM_ID + 1, (uint64_t)i);
    switch (dsv4_case_word(c, "route")[0]) {
    case 'o': return experts / 2;
    case 'f': return dsv4_below(bits, experts < 3 ? experts : 3);
    case 't': return experts - 1 - i % experts;
    }
    return drawn(c, t, k, experts);
}

static int64_t outside(int64_t i, int64_t experts, bool wide) {
    const int64_t narrow[] = {experts, -7, INT32_MAX, INT32_MIN, experts + 5, -2};
    const int64_t broad[] = {
        (INT64_C(1) << 32) + 1, experts, -INT64_C(4294967295), INT64_MIN, -7, INT64_MAX};
    return wide ? broad[i % 6] : narrow[i % 6];
}

void moe_dispatch_fill_ids(const struct dsv4_case *c, size_t slot, int64_t experts) {
    const dsv4_tensor *const ids = &c->tensors[slot].t;
    const int64_t topk = ids->shape[1], number = dsv4_case_int(c, "assignment");
    const char skipped = dsv4_case_word(c, "skipped")[0];
    const bool some = dsv4_case_int(c, "outside") != 0;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < ids->shape[0]; t++)
        for (int64_t k = 0; k < topk; k++) {
            const int64_t i = t * topk + k;
            int64_t id = number >= 0 ? assigned(number, i, experts) : routed(c, t, k, experts);
            if (some && i % 5 == 2) id = outside(i / 5, experts, ids->dtype == DSV4_I64);
            if (skipped == 'a' || (skipped == 's' && t % 3 == 1)) id = -1;
            if (ids->dtype == DSV4_I64)
                ((int64_t *)ids->data)[i] = id;
            else
                ((int32_t *)ids->data)[i] = (int32_t)id;
        }
}

void moe_dispatch_fill_map(const struct dsv4_case *c, size_t slot) {
    const dsv4_tensor *const map = &c->tensors[slot].t;
    int64_t next = dsv4_case_int(c, "experts") - 1;
    for (int64_t g = 0; map->ndim > 0 && g < map->shape[0]; g++)
        ((int32_t *)map->data)[g] = g % 2 == 1 && next >= 0 ? (int32_t)next-- : -1;
}

/* ---- experts of slots ---- */

void moe_dispatch_open(struct dispatch *d, const dsv4_tensor *ids, const dsv4_tensor *map,
                       int64_t experts, enum dispatch_wrong wrong) {
    const bool mapped = map != NULL && map->ndim > 0 && wrong != DISPATCH_MAP_LOST;
    *d = (struct dispatch){.ids = ids, .topk = ids->shape[1], .experts = experts, .wrong = wrong};
    d->n = ids->shape[0] * d->topk;
    d->map = mapped ? map->data : NULL;
    d->n_map = mapped ? map->shape[0] : 0;
}

static bool repeated(const struct dispatch *d, int64_t i) {
    for (int64_t j = i - i % d->topk; j < i; j++)
        if (dispatch_id(d->ids, j) == dispatch_id(d->ids, i)) return true;
    return false;
}

int64_t moe_dispatch_expert(const struct dispatch *d, int64_t i) {
    const int64_t limit = d->map != NULL ? d->n_map : d->experts;
    int64_t id = dispatch_id(d->ids, i);
    if (d->wrong == DISPATCH_ID_NARROW) id = (int32_t)(uint32_t)(uint64_t)id;
    if (d->wrong == DISPATCH_ID_CLAMPED && id >= limit) id = limit - 1;
    if (d->wrong == DISPATCH_NEGATIVE_FIRST && id < 0) id = 0;
    if (d->wrong == DISPATCH_LAST_LOST && i == d->n - 1) return -1;
    if (d->wrong == DISPATCH_DUPLICATES_LOST && repeated(d, i)) return -1;
    if (id < 0 || id >= limit) return -1;
    if (d->map == NULL) return id;
    if (d->map[id] >= 0 && d->map[id] < d->experts) return d->map[id];
    return d->wrong == DISPATCH_REMOTE_FIRST ? 0 : -1;
}

/* ---- counts and places ---- */

static int64_t chunk_begin(const struct dispatch *d, int64_t chunk) {
    return d->n * chunk / CHUNKS;
}

/* Counters of a chunk: one more than experts, for slots without one. */
static int64_t counters(const struct dispatch *d) { return d->experts + 1; }

/*
 * Experts of `n` slots from `first` on, at most BATCH; slots without one have d->experts, so that loops over them need not
 * branch.
 */
static void batch_experts(const struct dispatch *d, int64_t first, int64_t n,
                          int32_t *restrict experts) {
    const int32_t none = (int32_t)d->experts, out = d->map != NULL ? -1 : none;
    const uint64_t limit = (uint64_t)(d->map != NULL ? d->n_map : d->experts);
    if (d->wrong != DISPATCH_RIGHT) {
        for (int64_t i = 0; i < n; i++) {
            const int64_t e = moe_dispatch_expert(d, first + i);
            experts[i] = e >= 0 ? (int32_t)e : none;
        }
        return;
    }
    if (d->ids->dtype == DSV4_I64) {
        const int64_t *const ids = (const int64_t *)d->ids->data + first;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            experts[i] = (uint64_t)ids[i] < limit ? (int32_t)ids[i] : out;
    } else {
        const int32_t *const ids = (const int32_t *)d->ids->data + first;
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            experts[i] = (uint32_t)ids[i] < (uint32_t)limit ? ids[i] : out;
    }
    if (d->map == NULL) return;
    for (int64_t i = 0; i < n; i++)
        if (experts[i] >= 0) experts[i] = d->map[experts[i]];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        experts[i] = (uint32_t)experts[i] < (uint32_t)none ? experts[i] : none;
}

/* Neighbours count in counters of their own, so that none waits for another. */
static void count_chunk(const struct dispatch *d, int64_t chunk, int32_t *restrict counts) {
    const int64_t end = chunk_begin(d, chunk + 1);
    int32_t experts[BATCH], banks[BANKS][DISPATCH_MOST + 1];
    for (int b = 0; b < BANKS; b++) memset(banks[b], 0, (size_t)counters(d) * sizeof banks[b][0]);
    for (int64_t first = chunk_begin(d, chunk); first < end; first += BATCH) {
        const int64_t n = end - first < BATCH ? end - first : BATCH;
        int64_t i = 0;
        batch_experts(d, first, n, experts);
        for (; i + BANKS <= n; i += BANKS) {
            banks[0][experts[i]]++;
            banks[1][experts[i + 1]]++;
            banks[2][experts[i + 2]]++;
            banks[3][experts[i + 3]]++;
        }
        for (; i < n; i++) banks[0][experts[i]]++;
    }
    for (int64_t e = 0; e < counters(d); e++)
        counts[e] = banks[0][e] + banks[1][e] + banks[2][e] + banks[3][e];
}

/* counts[chunk][counter]. */
static int32_t *count_chunks(const struct dispatch *d) {
    const size_t size = (size_t)(CHUNKS * counters(d)) * sizeof(int32_t);
    int32_t *const counts = dsv4_alloc(size);
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < CHUNKS; chunk++)
        count_chunk(d, chunk, counts + chunk * counters(d));
    return counts;
}

void moe_dispatch_count(const struct dispatch *d, int32_t *counts) {
    int32_t *const chunks = count_chunks(d);
    for (int64_t e = 0; e < d->experts; e++) {
        int32_t sum = 0;
        for (int64_t chunk = 0; chunk < CHUNKS; chunk++) sum += chunks[chunk * counters(d) + e];
        counts[e] =
            d->wrong == DISPATCH_ADDED ? (int32_t)((uint32_t)counts[e] + (uint32_t)sum) : sum;
    }
    dsv4_free(chunks);
}

static void reverse(const struct dispatch *d, int32_t *places, const int32_t *starts) {
    int32_t *const counts = dsv4_alloc((size_t)d->experts * sizeof *counts);
    moe_dispatch_count(d, counts);
    for (int64_t i = 0; i < d->n; i++) {
        const int64_t e = moe_dispatch_expert(d, i);
        if (e >= 0) places[i] = 2 * starts[e] + counts[e] - 1 - places[i];
    }
    dsv4_free(counts);
}

static void place_chunk(const struct dispatch *d, int64_t chunk, int32_t *restrict next,
                        int32_t *restrict places) {
    const int64_t end = chunk_begin(d, chunk + 1);
    int32_t experts[BATCH];
    for (int64_t first = chunk_begin(d, chunk); first < end; first += BATCH) {
        const int64_t n = end - first < BATCH ? end - first : BATCH;
        batch_experts(d, first, n, experts);
        for (int64_t i = 0; i < n; i++) {
            const int32_t place = next[experts[i]]++;
            places[first + i] = experts[i] < d->experts ? place : -1;
        }
    }
}

/* Leaves in `next` where the chunk's slots of each expert end. */
static void order_chunk(const struct dispatch *d, int64_t chunk, int32_t *next, int32_t *slots) {
    const int64_t end = chunk_begin(d, chunk + 1);
    int32_t *at[DISPATCH_MOST + 1], nowhere[BATCH], experts[BATCH];
    for (int64_t e = 0; e < d->experts; e++) at[e] = slots + next[e];
    for (int64_t first = chunk_begin(d, chunk); first < end; first += BATCH) {
        const int64_t n = end - first < BATCH ? end - first : BATCH;
        batch_experts(d, first, n, experts);
        at[d->experts] = nowhere;
        for (int64_t i = 0; i < n; i++) *at[experts[i]]++ = (int32_t)(first + i);
    }
    for (int64_t e = 0; e < d->experts; e++) next[e] = (int32_t)(at[e] - slots);
}

/* Where each chunk's slots of each expert begin, and each expert's first place. */
static int32_t *first_places(const struct dispatch *d, int64_t align, int32_t *starts) {
    int32_t *const next = count_chunks(d);
    int64_t at = 0;
    for (int64_t e = 0; e < d->experts; e++) {
        int64_t end = at;
        starts[e] = (int32_t)at;
        for (int64_t chunk = 0; chunk < CHUNKS; chunk++) {
            const int32_t n = next[chunk * counters(d) + e];
            next[chunk * counters(d) + e] = (int32_t)end;
            end += n;
        }
        if (end == at && d->wrong == DISPATCH_EMPTY_BLOCK) end = at + 1;
        at = d->wrong == DISPATCH_UNPADDED ? end : at + (end - at + align - 1) / align * align;
    }
    starts[d->experts] = (int32_t)at;
    return next;
}

void moe_dispatch_sort(const struct dispatch *d, int64_t align, int32_t *places, int32_t *starts) {
    int32_t *const next = first_places(d, align, starts);
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < CHUNKS; chunk++)
        place_chunk(d, chunk, next + chunk * counters(d), places);
    if (d->wrong == DISPATCH_UNSTABLE) reverse(d, places, starts);
    dsv4_free(next);
}

void moe_dispatch_order(const struct dispatch *d, int64_t align, int32_t *slots, int64_t n,
                        int32_t none, int32_t *starts) {
    int32_t *const next = first_places(d, align, starts);
    const int32_t *const ends = next + (CHUNKS - 1) * counters(d);
    assert(starts[d->experts] <= n);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t chunk = 0; chunk < CHUNKS; chunk++)
            order_chunk(d, chunk, next + chunk * counters(d), slots);
#pragma omp for schedule(static)
        for (int64_t e = 0; e < d->experts; e++)
            for (int64_t p = ends[e]; p < starts[e + 1]; p++) slots[p] = none;
#pragma omp for simd schedule(static)
        for (int64_t p = starts[d->experts]; p < n; p++) slots[p] = none;
    }
    dsv4_free(next);
}
