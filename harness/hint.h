/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence about a failure: the inputs behind a byte, and suspects that give the same bits. */
#ifndef DSV4_HINT_H
#define DSV4_HINT_H

#include "compare.h"
#include "notes.h"

void dsv4_note_trace(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     const struct dsv4_mismatch *mismatch);
void dsv4_note_hints(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     uint64_t poison, double seconds);

#endif
