/* SPDX-License-Identifier: Apache-2.0 */
/* --shard: which part of a run is this process's. */
#ifndef DSV4_SHARD_H
#define DSV4_SHARD_H

#include "../reference/op.h"

struct dsv4_shard {
    int64_t index, n; /* 1 <= index <= n */
    char from[128];   /* the variables that said so; "" when it was written out */
};

/* "I/N", or "env": what Bazel, GitLab, Slurm or MPI say in the environment. */
int dsv4_shard_read(struct dsv4_shard *shard, const char *text, struct dsv4_err *err);

#endif
