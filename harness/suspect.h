/* SPDX-License-Identifier: Apache-2.0 */
/* Suspects: what the reference gives when it is wrong in a known way, on the inputs of a vector. */
#ifndef DSV4_SUSPECT_H
#define DSV4_SUSPECT_H

#include "arena.h"
#include "runner.h"

/* Runs the reference as mutant `mutant` (0: the truth) in `a`, a shared arena of this vector's case, in a worker without
 * a plug-in. Returns its status; -1: it crashed or hung. */
int dsv4_suspect_run(struct dsv4_runner *r, struct dsv4_arena *a, const struct dsv4_vector *v,
                     uint64_t poison, int mutant);

/* The same over what lies in `a`, as case `c`. */
int dsv4_suspect_ask(struct dsv4_runner *r, struct dsv4_arena *a, const struct dsv4_case *c,
                     int mutant);

/* The same case with one dialect parameter set to another word. False when shapes do not stay what they are, so that
 * nothing can be said. Free `variant` in either outcome. */
bool dsv4_suspect_dialect(struct dsv4_case *variant, const struct dsv4_case *c, size_t param,
                          const char *word);

/* Space-separated lists, which may be NULL: whether a word is in it; the next word, NULL at its end. */
bool dsv4_has_word(const char *list, const char *word);
const char *dsv4_next_word(char *word, size_t size, const char *list);

#endif
