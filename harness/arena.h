/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena: all tensors of one case in one stretch of memory that parent and worker share. Guard bands lie between
 * the tensors, gaps inside them, and every byte that nothing else defines holds poison, so that one comparison of the
 * whole arena finds a wrong output, a write beside it and a changed input alike.
 */
#ifndef DSV4_ARENA_H
#define DSV4_ARENA_H

#include "vector.h"

/* A stretch with bytes in it. What lies between segments is a hole: rows far from any live row, all zero. */
struct dsv4_segment {
    int64_t offset, bytes;
};

struct dsv4_arena {
    int fd; /* -1: private memory */
    unsigned char *base;
    int64_t bytes;
    struct dsv4_segment *segments;
    size_t n_segments;
};

/* For a placed case. `open` makes a new shared arena, `attach` maps one that the parent made, `private` is neither
 * shared nor backed by a file. All begin as zeros. */
int dsv4_arena_open(struct dsv4_arena *a, const struct dsv4_case *c, struct dsv4_err *err);
int dsv4_arena_attach(struct dsv4_arena *a, const struct dsv4_case *c, int fd,
                      struct dsv4_err *err);
void dsv4_arena_private(struct dsv4_arena *a, const struct dsv4_case *c);
void dsv4_arena_close(struct dsv4_arena *a);

/* Copies the segments of another arena of the same case. */
void dsv4_arena_copy(struct dsv4_arena *to, const struct dsv4_arena *from);

/* Makes one segment of everything: the steps of a sequence have other live rows each. */
void dsv4_arena_dense(struct dsv4_arena *a);

/* The next stretch of a hole, at or after `from`, that something was written to. false: there is none. */
bool dsv4_arena_stray(const struct dsv4_arena *a, int64_t from, struct dsv4_segment *stray);

enum dsv4_moment {
    DSV4_BEFORE, /* as the plug-in finds it: answers are inverted, so that writing nothing cannot pass */
    DSV4_AFTER, /* as a right plug-in leaves it */
    DSV4_NEXT,  /* inputs alone: what the step before it left behind stays */
};

/* Writes the image of a vector at one moment. The same poison gives the same bytes. */
void dsv4_arena_fill(struct dsv4_arena *a, const struct dsv4_vector *v, uint64_t poison,
                     enum dsv4_moment moment);

/* The same over what is there: writes tensors and no poison. */
void dsv4_arena_write(struct dsv4_arena *a, const struct dsv4_vector *v, enum dsv4_moment moment);

#endif
