/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Balls that were worked out for an answer, kept for the next answer to the same case in the same arithmetic. They depend
 * on the inputs alone, and working them out costs what a reference does; comparing with them costs little more than
 * reading. A row is known by its slot, its offset and its length. Balls that depend on what a kernel chose are not kept.
 *
 * Threads may look and add at once, each in rows of its own.
 */
#ifndef DSV4_BOUND_KEPT_H
#define DSV4_BOUND_KEPT_H

#include "ball.h"

/* An element whose ball nobody has needed. */
#define DSV4_BALL_UNKNOWN ((struct dsv4_ball){0, -1})
static inline bool dsv4_ball_known(struct dsv4_ball x) { return !(x.r < 0); }

struct dsv4_kept_row {
    struct dsv4_kept_row *next;
    size_t slot;
    int64_t offset, n;
    bool complete;          /* every ball is known */
    struct dsv4_ball scale; /* what a quantised group's scale follows from */
    double *variances;      /* or NULL */
    struct dsv4_ball balls[];
};

struct dsv4_kept;

/* `rows`: about how many are expected. Nothing is kept beyond `most_bytes`. */
struct dsv4_kept *dsv4_kept_open(int64_t rows, int64_t most_bytes);
void dsv4_kept_close(struct dsv4_kept *kept);

/* NULL: not kept; or `kept` is NULL. */
struct dsv4_kept_row *dsv4_kept_find(const struct dsv4_kept *kept, size_t slot, int64_t offset,
                                     int64_t n);

/* A row that is not there yet, its balls unknown, its variances 0. NULL: there is no room; or `kept` is NULL. */
struct dsv4_kept_row *dsv4_kept_add(struct dsv4_kept *kept, size_t slot, int64_t offset, int64_t n,
                                    bool with_variances);

#endif
