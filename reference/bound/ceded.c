/* SPDX-License-Identifier: Apache-2.0 */
#include "ceded.h"

#include <string.h>

#include "../memory.h"

struct dsv4_ceded_row {
    struct dsv4_ceded_row *next;
    int64_t offset, stride, unit, n;
    unsigned char bytes[];
};

void dsv4_ceded_add(struct dsv4_ceded *ceded, const unsigned char *base, int64_t offset,
                    int64_t stride, int64_t unit, int64_t n) {
    if (ceded == NULL) return;
    if (stride == unit) {
        stride = unit = n * unit;
        n = 1;
    }
    struct dsv4_ceded_row *const row = dsv4_alloc(sizeof *row + (size_t)(n * unit));
    row->offset = offset;
    row->stride = stride;
    row->unit = unit;
    row->n = n;
    for (int64_t i = 0; i < n; i++)
        memcpy(row->bytes + i * unit, base + offset + i * stride, (size_t)unit);
    row->next = atomic_load(&ceded->rows);
    while (!atomic_compare_exchange_weak(&ceded->rows, &row->next, row)) continue;
}

void dsv4_ceded_return(const struct dsv4_ceded *ceded, unsigned char *base) {
    for (const struct dsv4_ceded_row *row = atomic_load(&ceded->rows); row != NULL; row = row->next)
        for (int64_t i = 0; i < row->n; i++)
            memcpy(base + row->offset + i * row->stride, row->bytes + i * row->unit,
                   (size_t)row->unit);
}

void dsv4_ceded_free(struct dsv4_ceded *ceded) {
    struct dsv4_ceded_row *row = atomic_load(&ceded->rows);
    while (row != NULL) {
        struct dsv4_ceded_row *const next = row->next;
        dsv4_free(row);
        row = next;
    }
    atomic_store(&ceded->rows, NULL);
}
