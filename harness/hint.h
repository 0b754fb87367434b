/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence about a failure: the inputs behind a byte, and suspects that give the same bits. */
#ifndef DSV4_HINT_H
#define DSV4_HINT_H

#include "compare.h"
#include "notes.h"
#include "runner.h"

void dsv4_note_trace(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     const struct dsv4_mismatch *mismatch);
/* `suspects`: a runner without a plug-in; NULL: no search. */
void dsv4_note_hints(struct dsv4_notes *notes, const struct dsv4_comparison *compare,
                     uint64_t poison, struct dsv4_runner *suspects, double seconds);

#endif
