/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment is looked at only where it is asked for: a variable that some job left behind must not make a run
 * quietly smaller. Who deals out jobs (Bazel, GitLab, a Slurm array) and who starts processes inside of one (MPI, srun)
 * may both be there; their parts multiply.
 */
#include "shard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_SHARDS = 1000000 }; /* that a report may have */

/* Variables that name a part, and how they count. */
struct source {
    const char *index, *count;
    int64_t first;             /* the number of the first part */
    const char *lowest, *step; /* variables that say it instead; NULL: none */
    const char *only;          /* counts only where this is set too; NULL: always */
};

static const struct source dealers[] = {
    {"TEST_SHARD_INDEX",    "TEST_TOTAL_SHARDS",      0, NULL,                   NULL, NULL},
    {"CI_NODE_INDEX",       "CI_NODE_TOTAL",          1, NULL,                   NULL, NULL},
    {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", 0, "SLURM_ARRAY_TASK_MIN",
     "SLURM_ARRAY_TASK_STEP",                                                          NULL},
};

/* mpirun inside of a Slurm job sets the variables of both; its own are the right ones. A batch script has SLURM_PROCID
 * as well, but is no step of its job and runs once. */
static const struct source starters[] = {
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", 0, NULL, NULL, NULL           },
    {"PMI_RANK",             "PMI_SIZE",             0, NULL, NULL, NULL           },
    {"SLURM_PROCID",         "SLURM_NTASKS",         0, NULL, NULL, "SLURM_STEP_ID"},
};

static int number(int64_t *value, const char *name, struct dsv4_err *err) {
    const char *const text = getenv(name);
    char *end = NULL;
    if (text == NULL) return dsv4_fail(err, "--shard env: %s is not set beside its partner", name);
    errno = 0;
    const long long got = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || got < 0 || got > INT32_MAX)
        return dsv4_fail(err, "--shard env: %s is '%.60s', not a whole number of at least 0", name,
                         text);
    *value = got;
    return 0;
}

/* Slurm leaves the step out where it is 1. */
static int number_or(int64_t *value, const char *name, int64_t other, struct dsv4_err *err) {
    *value = other;
    return name == NULL || getenv(name) == NULL ? 0 : number(value, name, err);
}

static int read_source(struct dsv4_shard *shard, const struct source *s, struct dsv4_err *err) {
    int64_t index, n, lowest, step;
    if (number(&index, s->index, err) != 0 || number(&n, s->count, err) != 0 ||
        number_or(&lowest, s->lowest, s->first, err) != 0 || number_or(&step, s->step, 1, err) != 0)
        return -1;
    if (step < 1) return dsv4_fail(err, "--shard env: %s is 0", s->step);
    const int64_t part = (index - lowest) / step;
    if (index < lowest || part >= n || lowest + part * step != index)
        return dsv4_fail(err,
                         "--shard env: %s is %lld, which is none of %s=%lld parts from %lld in "
                         "steps of %lld",
                         s->index, (long long)index, s->count, (long long)n, (long long)lowest,
                         (long long)step);
    if (shard->n > MOST_SHARDS / n) return dsv4_fail(err, "--shard env: too many parts");
    const size_t used = strlen(shard->from);
    shard->index = (shard->index - 1) * n + part + 1;
    shard->n *= n;
    snprintf(shard->from + used, sizeof shard->from - used, "%s%s, %s", used > 0 ? ", " : "",
             s->index, s->count);
    return 0;
}

/* The first of the sources that is set. */
static int read_first(struct dsv4_shard *shard, const struct source *sources, size_t n,
                      struct dsv4_err *err) {
    for (size_t i = 0; i < n; i++) {
        const struct source *const s = &sources[i];
        if ((getenv(s->index) != NULL || getenv(s->count) != NULL) &&
            (s->only == NULL || getenv(s->only) != NULL))
            return read_source(shard, s, err);
    }
    return 0;
}

/* Bazel wants to see that its shards are known about. */
static int touch_status_file(struct dsv4_err *err) {
    const char *const path = getenv("TEST_SHARD_STATUS_FILE");
    if (path == NULL) return 0;
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0)
        return dsv4_fail(err, "--shard env: TEST_SHARD_STATUS_FILE: %.300s: %s", path,
                         strerror(errno));
    close(file);
    return 0;
}

static int read_environment(struct dsv4_shard *shard, struct dsv4_err *err) {
    *shard = (struct dsv4_shard){.index = 1, .n = 1};
    if (read_first(shard, dealers, sizeof dealers / sizeof *dealers, err) != 0 ||
        read_first(shard, starters, sizeof starters / sizeof *starters, err) != 0 ||
        touch_status_file(err) != 0)
        return -1;
    if (shard->from[0] != '\0') return 0;
    return dsv4_fail(err, "--shard env: the environment names no part: none of TEST_SHARD_INDEX, "
                          "CI_NODE_INDEX, SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK, PMI_RANK and "
                          "(in a step) SLURM_PROCID is set");
}

int dsv4_shard_read(struct dsv4_shard *shard, const char *text, struct dsv4_err *err) {
    if (strcmp(text, "env") == 0) return read_environment(shard, err);
    char *end = NULL;
    errno = 0;
    const long long index = strtoll(text, &end, 10);
    const long long n = *end == '/' ? strtoll(end + 1, &end, 10) : 0;
    if (*end != '\0' || errno != 0 || index < 1 || index > n || n > MOST_SHARDS)
        return dsv4_fail(err, "--shard: '%.60s' is not I/N with 1 <= I <= N, nor 'env'", text);
    *shard = (struct dsv4_shard){.index = index, .n = n};
    return 0;
}
