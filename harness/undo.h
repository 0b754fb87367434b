/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistakes that bytes alone betray: undone, they leave the right answer. A power of two on every wrong value, codes of the
 * other FP8 format, values one place, token or block off, pages in another arrangement.
 */
#ifndef DSV4_UNDO_H
#define DSV4_UNDO_H

#include "../reference/layout/pages.h"
#include "compare.h"

struct dsv4_mistake {
    enum { DSV4_FACTOR, DSV4_OTHER_FP8, DSV4_MOVED, DSV4_REARRANGED } kind;
    double factor;                     /* FACTOR: got is so many times the right value */
    int dimension;                     /* MOVED: along this one, -1: by a token of a page */
    int by;                            /* 1: too far, -1: not far enough */
    enum dsv4_arrangement arrangement; /* REARRANGED: how the pages lie */
};

/* How the pages of a tensor lie; false: it has none. */
bool dsv4_pages_of(const struct dsv4_case *c, size_t slot, struct dsv4_pages *pages);

/* Where a reader or writer that makes this mistake with a place finds what belongs at `offset` of the tensor; -1: outside. */
int64_t dsv4_misplaced(const struct dsv4_case *c, size_t slot, const struct dsv4_mistake *mistake,
                       int64_t offset);

/* The mistakes that the wrong values of an output may come from. */
enum { DSV4_MAX_MISTAKES = 24 };
size_t dsv4_mistakes(struct dsv4_mistake *list, const struct dsv4_comparison *compare, size_t slot);

/* Makes `undone` what is expected, but in output `slot` what was got, without the mistake. Returns how many wrong bytes
 * that concerns; of neighbours that are alike one counts. */
int64_t dsv4_undo(struct dsv4_arena *undone, const struct dsv4_comparison *compare, size_t slot,
                  const struct dsv4_mistake *mistake);

/* "its values lie one token too far" */
void dsv4_mistake_text(char *text, size_t size, const struct dsv4_case *c, size_t slot,
                       const struct dsv4_mistake *mistake);

#endif
