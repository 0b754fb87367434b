/* SPDX-License-Identifier: Apache-2.0 */
#include "compare.h"

enum { BLOCK_BYTES = 1 << 16, MANY_BLOCKS = 64 };

/* The first differing byte in [from, from + bytes), a block or less. -1: none. */
static int64_t in_block(const struct dsv4_comparison *compare, int64_t from, int64_t bytes) {
    const unsigned char *const got = compare->got->base + from;
    const unsigned char *const want = compare->want->base + from;
    if (memcmp(got, want, (size_t)bytes) == 0) return -1;
    int64_t i = 0;
    while (got[i] == want[i]) i++;
    return from + i;
}

/* The first differing byte in [from, end). -1: none. Differences mostly lie close together: the longer there is none, the
 * further threads look ahead. */
static int64_t differs(const struct dsv4_comparison *compare, int64_t from, int64_t end) {
    for (int64_t blocks = 1; from < end; from += blocks * BLOCK_BYTES, blocks *= 4) {
        const int64_t left = (end - from + BLOCK_BYTES - 1) / BLOCK_BYTES;
        int64_t first = INT64_MAX;
#pragma omp parallel for schedule(dynamic, 16) reduction(min : first) if (blocks >= MANY_BLOCKS)
        for (int64_t b = 0; b < (blocks < left ? blocks : left); b++) {
            const int64_t at = from + b * BLOCK_BYTES;
            if (at > first) continue;
            const int64_t found =
                in_block(compare, at, end - at < BLOCK_BYTES ? end - at : BLOCK_BYTES);
            if (found >= 0) first = found;
        }
        if (first != INT64_MAX) return first;
    }
    return -1;
}

static int64_t in_segments(const struct dsv4_comparison *compare, int64_t from) {
    for (size_t i = 0; i < compare->want->n_segments; i++) {
        const struct dsv4_segment *const s = &compare->want->segments[i];
        const int64_t end = s->offset + s->bytes;
        if (end <= from) continue;
        const int64_t at = differs(compare, s->offset > from ? s->offset : from, end);
        if (at >= 0) return at;
    }
    return -1;
}

/* The expected image of a hole is all zero, like the hole itself. */
static int64_t in_holes(const struct dsv4_comparison *compare, int64_t from, int64_t limit) {
    struct dsv4_segment stray;
    while (dsv4_arena_stray(compare->got, from, &stray) && (limit < 0 || stray.offset < limit)) {
        from = stray.offset + stray.bytes;
        const int64_t at = differs(compare, stray.offset, from);
        if (at >= 0) return at;
    }
    return -1;
}

int64_t dsv4_compare_at(const struct dsv4_comparison *compare, int64_t from) {
    const int64_t segment = in_segments(compare, from);
    const int64_t hole = in_holes(compare, from, segment);
    return hole >= 0 && (segment < 0 || hole < segment) ? hole : segment;
}

static size_t nearest(const struct dsv4_case *c, int64_t at) {
    size_t best = 0;
    int64_t least = INT64_MAX;
    for (size_t s = 0; s < c->op->n_slots; s++) {
        const struct dsv4_case_tensor *const t = &c->tensors[s];
        if (t->span == 0) continue;
        const int64_t end = t->offset + t->span;
        const int64_t distance = at < t->offset ? t->offset - at : at >= end ? at - end + 1 : 0;
        if (distance < least) {
            least = distance;
            best = s;
        }
    }
    return best;
}

static bool in_live_row(const struct dsv4_case_tensor *t, int64_t offset) {
    if (t->rows == NULL) return true;
    for (int64_t i = 0; i < t->n_rows; i++)
        if (t->rows[i] == offset / t->t.stride[0]) return true;
    return false;
}

static enum dsv4_fault classify(const struct dsv4_vector *v, size_t slot, int64_t offset) {
    const struct dsv4_case_tensor *const t = &v->c.tensors[slot];
    const struct dsv4_vector_tensor *const golden = &v->tensors[slot];
    if (offset < 0 || offset >= t->span) return DSV4_FAULT_GUARD;
    const int64_t packed = dsv4_packed_offset(t, offset);
    if (packed < 0) return in_live_row(t, offset) ? DSV4_FAULT_GAP : DSV4_FAULT_FAR;
    if (golden->out == NULL) return t->role == DSV4_IN ? DSV4_FAULT_INPUT : DSV4_FAULT_UNTOUCHED;
    const bool kept = golden->keep != NULL && golden->keep[packed] != 0;
    const bool same =
        golden->in != NULL && golden->keep == NULL && golden->in[packed] == golden->out[packed];
    return kept || same ? DSV4_FAULT_UNTOUCHED : DSV4_FAULT_VALUE;
}

bool dsv4_compare_next(const struct dsv4_comparison *compare, int64_t from,
                       struct dsv4_mismatch *mismatch) {
    const int64_t at = dsv4_compare_at(compare, from);
    if (at < 0) return false;
    mismatch->at = at;
    mismatch->slot = nearest(&compare->v->c, at);
    mismatch->offset = at - compare->v->c.tensors[mismatch->slot].offset;
    mismatch->fault = classify(compare->v, mismatch->slot, mismatch->offset);
    return true;
}
