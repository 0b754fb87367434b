/* SPDX-License-Identifier: Apache-2.0 */
/* What judging one vector by bounds has worked out, for the answers that come after the first: of a replayed graph, of the
 * next implementation, of the next wrong reference. One part for each arithmetic. */
#ifndef DSV4_MEMO_H
#define DSV4_MEMO_H

#include "../reference/bound/kept.h"
#include "../reference/op.h"

struct dsv4_memo;

struct dsv4_memo *dsv4_memo_open(void);
void dsv4_memo_close(struct dsv4_memo *memo); /* NULL: nothing to close */

/* The balls of case `c` in this arithmetic. NULL: `memo` is NULL. */
struct dsv4_kept *dsv4_memo_for(struct dsv4_memo *memo, const struct dsv4_case *c,
                                const dsv4_arithmetic *arithmetic);

#endif
