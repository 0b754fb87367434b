/* SPDX-License-Identifier: Apache-2.0 */
#include "kept.h"

#include <stdatomic.h>

#include "../memory.h"

struct dsv4_kept {
    uint64_t n_lists; /* a power of two */
    int64_t most_bytes;
    _Atomic int64_t bytes;
    _Atomic(struct dsv4_kept_row *) *lists;
};

struct dsv4_kept *dsv4_kept_open(int64_t rows, int64_t most_bytes) {
    const uint64_t most = 1 << 20;
    struct dsv4_kept *const kept = dsv4_alloc(sizeof *kept);
    kept->most_bytes = most_bytes;
    kept->n_lists = 64;
    while (kept->n_lists < (uint64_t)rows && kept->n_lists < most) kept->n_lists *= 2;
    kept->lists = dsv4_alloc(kept->n_lists * sizeof *kept->lists);
    return kept;
}

void dsv4_kept_close(struct dsv4_kept *kept) {
    if (kept == NULL) return;
    for (uint64_t i = 0; i < kept->n_lists; i++) {
        struct dsv4_kept_row *row = kept->lists[i];
        while (row != NULL) {
            struct dsv4_kept_row *const next = row->next;
            dsv4_free(row->variances);
            dsv4_free(row);
            row = next;
        }
    }
    dsv4_free(kept->lists);
    dsv4_free(kept);
}

/* Offsets run in even steps: the product's high bits spread them. */
static uint64_t list_of(const struct dsv4_kept *kept, size_t slot, int64_t offset) {
    const uint64_t key = ((uint64_t)offset + ((uint64_t)slot << 56)) * UINT64_C(0x9E3779B97F4A7C15);
    return (key >> 40) & (kept->n_lists - 1);
}

struct dsv4_kept_row *dsv4_kept_find(const struct dsv4_kept *kept, size_t slot, int64_t offset,
                                     int64_t n) {
    if (kept == NULL) return NULL;
    struct dsv4_kept_row *row =
        atomic_load_explicit(&kept->lists[list_of(kept, slot, offset)], memory_order_acquire);
    while (row != NULL && (row->offset != offset || row->slot != slot || row->n != n))
        row = row->next;
    return row;
}

struct dsv4_kept_row *dsv4_kept_add(struct dsv4_kept *kept, size_t slot, int64_t offset, int64_t n,
                                    bool with_variances) {
    if (kept == NULL) return NULL;
    const size_t balls = (size_t)n * sizeof(struct dsv4_ball), numbers = (size_t)n * sizeof(double);
    const int64_t bytes = (int64_t)(sizeof(struct dsv4_kept_row) + balls + numbers);
    if (atomic_fetch_add(&kept->bytes, bytes) + bytes > kept->most_bytes) {
        atomic_fetch_sub(&kept->bytes, bytes);
        return NULL;
    }
    struct dsv4_kept_row *const row = dsv4_alloc(sizeof *row + balls);
    row->slot = slot;
    row->offset = offset;
    row->n = n;
    if (with_variances) row->variances = dsv4_alloc(numbers);
    for (int64_t i = 0; i < n; i++) row->balls[i] = DSV4_BALL_UNKNOWN;
    _Atomic(struct dsv4_kept_row *) *const list = &kept->lists[list_of(kept, slot, offset)];
    row->next = atomic_load(list);
    while (!atomic_compare_exchange_weak(list, &row->next, row)) continue;
    return row;
}
