/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The comparison: the whole arena against its expected image, byte by byte. There is one walk over the differences;
 * the verdict is "it has no first element", and every report prints elements of the same walk.
 */
#ifndef DSV4_COMPARE_H
#define DSV4_COMPARE_H

#include "arena.h"

enum dsv4_fault {
    DSV4_FAULT_VALUE,     /* a byte of an answer is wrong */
    DSV4_FAULT_UNTOUCHED, /* a byte that the reference leaves as it was has changed */
    DSV4_FAULT_GAP,       /* a byte between the rows of a tensor was written */
    DSV4_FAULT_GUARD,     /* a byte outside every tensor was written */
    DSV4_FAULT_FAR,       /* a byte of a row that no input names was written */
    DSV4_FAULT_INPUT,     /* a byte of an input was written */
};
enum { DSV4_N_FAULTS = 6 };

/* One differing byte. */
struct dsv4_mismatch {
    int64_t at; /* in the arena */
    enum dsv4_fault fault;
    size_t slot;    /* the tensor; for a guard, the nearest one */
    int64_t offset; /* from the tensor's element 0; negative before it */
};

struct dsv4_comparison {
    const struct dsv4_vector *v;
    const struct dsv4_arena *got, *want;
    /* What was got before elements within their bounds gave way to the expected ones; NULL: got. */
    const struct dsv4_arena *raw;
};

/* The first difference at or after `from`; false: there is none. */
bool dsv4_compare_next(const struct dsv4_comparison *compare, int64_t from,
                       struct dsv4_mismatch *mismatch);

/* The same without classification. -1: none. */
int64_t dsv4_compare_at(const struct dsv4_comparison *compare, int64_t from);

#endif
