/* SPDX-License-Identifier: Apache-2.0 */
/* From a list of wrong bytes to words: what, where, how much, from which inputs, and which known mistake gives these
 * very bits. */
#ifndef DSV4_DIAGNOSE_H
#define DSV4_DIAGNOSE_H

#include "../reference/layout/layout.h"
#include "compare.h"
#include "hint.h"

struct dsv4_count {
    int64_t wrong, all; /* all: -1 when the tensor is too large to count */
    char part[24];
    enum dsv4_site_kind kind;
};

enum { DSV4_MAX_SITE_PARTS = 8 };

/* What the walk over the differences found. */
struct dsv4_tally {
    struct dsv4_count parts[DSV4_MAX_TENSORS][DSV4_MAX_SITE_PARTS];
    int64_t codes_under_wrong_scale, codes_under_right_scale;
    bool has_value, has_scale;
    struct dsv4_mismatch value, scale;                   /* the first of each */
    int64_t outside[DSV4_MAX_TENSORS][DSV4_N_FAULTS][2]; /* bytes; [1]: a guard after the tensor */
    struct dsv4_mismatch first[DSV4_MAX_TENSORS][DSV4_N_FAULTS][2];
    bool cut; /* the walk stopped early: counts are lower bounds */
};

void dsv4_tally_make(struct dsv4_tally *tally, const struct dsv4_comparison *compare);

/* Writes notes and a one-line summary about a comparison that found something. */
void dsv4_diagnose(struct dsv4_notes *notes, char *summary, size_t size,
                   const struct dsv4_comparison *compare, const struct dsv4_inquiry *inquiry);

#endif
