/* SPDX-License-Identifier: Apache-2.0 */
/* Suites: suites/<op>.yaml -> cases. Every name and value is checked against the op's descriptor;
 * an error carries the YAML file and line. Strings and arrays belong to the suite. */
#ifndef DSV4_SUITE_H
#define DSV4_SUITE_H

#include "../reference/op.h"

enum dsv4_tier { DSV4_SMOKE, DSV4_FULL, DSV4_STRESS, DSV4_BENCH, DSV4_N_TIERS };
extern const char *const dsv4_tier_names[DSV4_N_TIERS];

/* A tag says which bug its cases hunt. */
struct dsv4_tag {
    char *name; /* "scale-ceil" */
    char *bug;  /* one sentence: what goes wrong in a port that has this bug */
    char *link; /* public report, or NULL */
};

struct dsv4_suite_case {
    const struct dsv4_op *op;
    char name[DSV4_NAME_SIZE]; /* kebab-case, unique within the op */
    enum dsv4_tier tier;
    const struct dsv4_tag **tags;
    size_t n_tags;
    char **params; /* name, value, name, value, ... as written; n_params pairs */
    size_t n_params;
    uint64_t seed; /* 0: derived from op and name */
    const char *file;
    int line;
};

/*
 * Cases of one op that run one after the other in the same buffers, with nothing cleared in between, as a captured
 * graph is replayed over the steps of an engine. Their tensors and call parameters must be alike but for the contents
 * (dsv4_sequence_check). A step is a case like any other: its golden vector is the sequence's too.
 */
struct dsv4_suite_sequence {
    struct dsv4_suite_case head; /* op, name, tier, tags, file, line */
    size_t *steps;               /* indices into the suite's cases */
    size_t n_steps;
};

struct dsv4_suite {
    struct dsv4_suite_case *cases; /* in registry order, then file order */
    size_t n_cases;
    struct dsv4_suite_sequence *sequences;
    size_t n_sequences;
    struct dsv4_tag *tags;
    size_t n_tags;
    char **files;
    size_t n_files;
};

/* Reads suites/<op>.yaml under `dir` for every op of the registry. -1 with err (file, line) on the
 * first fault. */
int dsv4_suite_load(struct dsv4_suite *suite, const char *dir, struct dsv4_err *err);

/* Reads one file for one op, appending. */
int dsv4_suite_read(struct dsv4_suite *suite, const struct dsv4_op *op, const char *path,
                    struct dsv4_err *err);
/* The same from text in memory; `path` is what errors and cases name. */
int dsv4_suite_parse(struct dsv4_suite *suite, const struct dsv4_op *op, const unsigned char *text,
                     size_t size, const char *path, struct dsv4_err *err);
void dsv4_suite_free(struct dsv4_suite *suite);

/* Builds the shaped case (dsv4_case_init, _set..., _shape). Free it in either outcome. */
int dsv4_suite_case_make(const struct dsv4_suite_case *s, struct dsv4_case *c,
                         struct dsv4_err *err);

#endif
