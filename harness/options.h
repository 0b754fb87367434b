/* SPDX-License-Identifier: Apache-2.0 */
/* Command-line options, the case filters that list, gen and check share, and how errors are shown.
 */
#ifndef DSV4_OPTIONS_H
#define DSV4_OPTIONS_H

#include "home.h"
#include "suite.h"

#define DSV4_GENERATOR "dsv4cts 0.1.0"

/* Which cases: an unset field lets everything pass. Start with DSV4_FILTER. */
struct dsv4_filter {
    const char *suites;            /* directory */
    const char *op;                /* glob */
    const char *name;              /* glob over "case", or over "op/case" when it has a slash */
    const char *tag;               /* glob */
    const char *dialect;           /* a value of any dialect parameter */
    const char *tier;              /* as written: one tier or several with commas */
    const char *shard;             /* as written: "I/N", 1 <= I <= N, or "env" */
    unsigned tiers;                /* bit set of enum dsv4_tier; 0: all of them */
    int64_t shard_index, n_shards; /* from 1; n_shards 0: all */
    char shard_from[128];          /* the variables behind "env" */
};
#define DSV4_FILTER ((struct dsv4_filter){.suites = dsv4_suites_home()})

enum { DSV4_MAX_TEXTS = 1024 };

/* Values of an option that may be repeated. */
struct dsv4_texts {
    const char *at[DSV4_MAX_TEXTS];
    size_t n;
};

enum dsv4_option_kind {
    DSV4_OPTION_FLAG,   /* bool */
    DSV4_OPTION_TEXT,   /* const char * */
    DSV4_OPTION_TEXTS,  /* struct dsv4_texts */
    DSV4_OPTION_NUMBER, /* int64_t, not negative */
};

struct dsv4_option {
    const char *name; /* with its dashes: "--op" */
    enum dsv4_option_kind kind;
    void *value;
    const char *argument; /* "GLOB"; NULL for a flag */
    const char *help;
};

struct dsv4_command {
    const char *usage; /* "check [OPTIONS]" */
    const struct dsv4_option *options;
    size_t n_options;
    struct dsv4_filter *filter;   /* NULL: this verb takes no filters */
    struct dsv4_texts positional; /* filled in */
    size_t min_positional, max_positional;
};

/* 0: go on; 1: --help was asked for and printed; -1: err. Options may be written `--op X` or
 * `--op=X`. */
int dsv4_command_read(struct dsv4_command *command, int argc, char **argv, struct dsv4_err *err);

/* The same, and says what the verb has to return when it cannot go on: -1 for "go on", else an exit
 * code. */
int dsv4_command_start(struct dsv4_command *command, int argc, char **argv);

/* Does the case pass op, name, tag, tier and dialect? (Sharding is the list's business.) */
bool dsv4_filter_match(const struct dsv4_filter *filter, const struct dsv4_suite_case *s);

/* The matching cases of this shard, in suite order; dsv4_free() the array. */
const struct dsv4_suite_case **dsv4_filter_select(const struct dsv4_filter *filter,
                                                  const struct dsv4_suite *suite, size_t *n);

/* The matching sequences of this shard; dsv4_free() the array. */
const struct dsv4_suite_sequence **dsv4_filter_sequences(const struct dsv4_filter *filter,
                                                         const struct dsv4_suite *suite, size_t *n);

/* "op=kv_* tier=smoke,full": what narrows the cases, without the shard. */
void dsv4_filter_text(const struct dsv4_filter *filter, char *text, size_t size);

/* "fp8=ocp layout=planar": the dialects of a case. */
void dsv4_case_dialects(const struct dsv4_suite_case *s, char *text, size_t size);

/* Whether any option but --suites was given. */
bool dsv4_filter_narrows(const struct dsv4_filter *filter);

/* Leaves out the bench tier, whose answers are never stored. False: nothing but that was asked for.
 */
bool dsv4_filter_stored(struct dsv4_filter *filter);

/* Prints "file:line: sentence" or "dsv4cts: sentence" to standard error. Returns DSV4_EXIT_ERROR.
 */
int dsv4_err_print(const struct dsv4_err *err);

/* Sets the place unless one is set already, and makes the sentence one printable line. Returns
 * -1. */
int dsv4_err_at(struct dsv4_err *err, const char *file, int line);

/* A counter for long work: overwritten in place on a terminal, now and then a line in a log. */
void dsv4_progress(const char *what, size_t done, size_t all);

#endif
