/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence about a failure: the inputs behind a byte, and suspects that give the same bits. */
#ifndef DSV4_HINT_H
#define DSV4_HINT_H

#include "../reference/bound/arithmetic.h"
#include "compare.h"
#include "notes.h"
#include "runner.h"

/* What is known of the call beside its answer. */
struct dsv4_inquiry {
    uint64_t poison;
    struct dsv4_runner *suspects;      /* a runner without a plug-in; NULL: no search */
    double seconds;                    /* how long the search may take */
    const dsv4_arithmetic *arithmetic; /* what it was judged by; NULL: as bits */
    const struct dsv4_arena *before; /* as the call found it; NULL: as poison and vector have it */
    const struct dsv4_vector *const *steps; /* of a sequence, the call's own last; NULL: none */
    size_t step;
};

void dsv4_note_trace(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     const struct dsv4_mismatch *mismatch);
void dsv4_note_hints(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     const struct dsv4_inquiry *inquiry);

#endif
