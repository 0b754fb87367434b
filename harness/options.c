/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

#include "../reference/memory.h"
#include "shard.h"
#include "verbs.h"

enum { N_FILTER_OPTIONS = 7 };

static void filter_options(struct dsv4_filter *filter, struct dsv4_option *options) {
    const struct dsv4_option rows[N_FILTER_OPTIONS] = {
        {"--op",      DSV4_OPTION_TEXT, &filter->op,      "GLOB",  "only these ops"                   },
        {"--case",    DSV4_OPTION_TEXT, &filter->name,    "GLOB",  "only these cases: CASE or OP/CASE"},
        {"--tag",     DSV4_OPTION_TEXT, &filter->tag,     "GLOB",  "only cases with such a tag"       },
        {"--tier",    DSV4_OPTION_TEXT, &filter->tier,    "TIERS",
         "smoke, full, stress, bench, or several with commas"                                         },
        {"--dialect", DSV4_OPTION_TEXT, &filter->dialect, "NAME",  "only cases of this dialect"       },
        {"--shard",   DSV4_OPTION_TEXT, &filter->shard,   "I/N",
         "only part I of N; env: as Slurm, MPI, Bazel or GitLab say"                                  },
        {"--suites",  DSV4_OPTION_TEXT, &filter->suites,  "DIR",
         "where the suites are (suites, or those installed)"                                          },
    };
    memcpy(options, rows, sizeof rows);
}

static void print_help(const struct dsv4_command *command, const struct dsv4_option *filters,
                       size_t n_filters) {
    char left[64];
    printf("usage: dsv4cts %s\n", command->usage);
    for (size_t i = 0; i < command->n_options + n_filters; i++) {
        const struct dsv4_option *o =
            i < command->n_options ? &command->options[i] : &filters[i - command->n_options];
        snprintf(left, sizeof left, "%s%s%s", o->name, o->argument != NULL ? " " : "",
                 o->argument != NULL ? o->argument : "");
        printf("  %-18s %s\n", left, o->help);
    }
}

static int store(const struct dsv4_option *o, const char *text, struct dsv4_err *err) {
    struct dsv4_texts *texts = o->value;
    char *end = NULL;
    switch (o->kind) {
    case DSV4_OPTION_FLAG: *(bool *)o->value = true; break;
    case DSV4_OPTION_TEXT: *(const char **)o->value = text; break;
    case DSV4_OPTION_TEXTS:
        if (texts->n == DSV4_MAX_TEXTS)
            return dsv4_fail(err, "%s is given more than %d times", o->name, DSV4_MAX_TEXTS);
        texts->at[texts->n++] = text;
        break;
    case DSV4_OPTION_NUMBER:
        errno = 0;
        const long long number = strtoll(text, &end, 10);
        if (end == text || *end != '\0' || errno != 0 || number < 0)
            return dsv4_fail(err, "%s: '%.60s' is not a whole number of at least 0", o->name, text);
        *(int64_t *)o->value = number;
        break;
    }
    return 0;
}

/* Finds the option that `word` names; *text becomes what follows its '=', or NULL. */
static const struct dsv4_option *find(const struct dsv4_option *options, size_t n, const char *word,
                                      const char **text) {
    const size_t length = strcspn(word, "=");
    for (size_t i = 0; i < n; i++)
        if (strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0) {
            *text = word[length] == '=' ? word + length + 1 : NULL;
            return &options[i];
        }
    return NULL;
}

static int parse_tiers(struct dsv4_filter *filter, struct dsv4_err *err) {
    const char *at = filter->tier;
    while (at != NULL) {
        const size_t length = strcspn(at, ",");
        int tier = 0;
        while (tier < DSV4_N_TIERS && (strlen(dsv4_tier_names[tier]) != length ||
                                       strncmp(dsv4_tier_names[tier], at, length) != 0))
            tier++;
        if (tier == DSV4_N_TIERS)
            return dsv4_fail(err, "--tier: '%.*s' is not one of smoke, full, stress, bench",
                             (int)(length < 60 ? length : 60), at);
        filter->tiers |= 1U << tier;
        at = at[length] == ',' ? at + length + 1 : NULL;
    }
    return 0;
}

static int parse_shard(struct dsv4_filter *filter, struct dsv4_err *err) {
    struct dsv4_shard shard;
    if (filter->shard == NULL) return 0;
    if (dsv4_shard_read(&shard, filter->shard, err) != 0) return -1;
    filter->shard_index = shard.index;
    filter->n_shards = shard.n;
    snprintf(filter->shard_from, sizeof filter->shard_from, "%s", shard.from);
    return 0;
}

static int read_words(struct dsv4_command *command, const struct dsv4_option *filters,
                      size_t n_filters, int argc, char **argv, struct dsv4_err *err) {
    bool only_positional = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *text = NULL;
        if (!only_positional && strcmp(word, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (only_positional || word[0] != '-' || word[1] == '\0') {
            if (command->positional.n >= command->max_positional)
                return dsv4_fail(err, "'%.60s' is one word too many; usage: dsv4cts %s", word,
                                 command->usage);
            command->positional.at[command->positional.n++] = word;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(command, filters, n_filters);
            return 1;
        }
        const struct dsv4_option *o = find(command->options, command->n_options, word, &text);
        if (o == NULL) o = find(filters, n_filters, word, &text);
        if (o == NULL)
            return dsv4_fail(err, "there is no option '%.60s'; `dsv4cts %s --help` lists them",
                             word, argv[0]);
        if (o->kind == DSV4_OPTION_FLAG && text != NULL)
            return dsv4_fail(err, "%s takes no value", o->name);
        if (o->kind != DSV4_OPTION_FLAG && text == NULL && ++i < argc) text = argv[i];
        if (o->kind != DSV4_OPTION_FLAG && text == NULL)
            return dsv4_fail(err, "%s wants a value: %s %s", o->name, o->name, o->argument);
        if (store(o, text, err) != 0) return -1;
    }
    return 0;
}

int dsv4_command_read(struct dsv4_command *command, int argc, char **argv, struct dsv4_err *err) {
    struct dsv4_option filters[N_FILTER_OPTIONS];
    size_t n_filters = 0;
    if (command->filter != NULL) {
        filter_options(command->filter, filters);
        n_filters = N_FILTER_OPTIONS;
    }
    const int status = read_words(command, filters, n_filters, argc, argv, err);
    if (status != 0) return status;
    if (command->positional.n < command->min_positional)
        return dsv4_fail(err, "usage: dsv4cts %s", command->usage);
    if (command->filter == NULL) return 0;
    return parse_tiers(command->filter, err) != 0 || parse_shard(command->filter, err) != 0 ? -1
                                                                                            : 0;
}

int dsv4_command_start(struct dsv4_command *command, int argc, char **argv) {
    struct dsv4_err err = {0};
    const int status = dsv4_command_read(command, argc, argv, &err);
    if (status < 0) return dsv4_err_print(&err);
    return status == 0 ? -1 : DSV4_EXIT_PASS;
}

/* The value of a parameter as the case will see it: the suite's, or the default. */
static const char *param_text(const struct dsv4_suite_case *s, const struct dsv4_param_def *def) {
    for (size_t i = 0; i < s->n_params; i++)
        if (strcmp(s->params[2 * i], def->name) == 0) return s->params[2 * i + 1];
    return def->initial;
}

static bool has_dialect(const struct dsv4_suite_case *s, const char *dialect) {
    for (size_t p = 0; p < s->op->n_params; p++)
        if (s->op->params[p].use == DSV4_USE_DIALECT &&
            strcmp(param_text(s, &s->op->params[p]), dialect) == 0)
            return true;
    return false;
}

static bool has_tag(const struct dsv4_suite_case *s, const char *glob) {
    for (size_t i = 0; i < s->n_tags; i++)
        if (fnmatch(glob, s->tags[i]->name, FNM_EXTMATCH) == 0) return true;
    return false;
}

static bool has_name(const struct dsv4_suite_case *s, const char *glob) {
    char both[2 * DSV4_NAME_SIZE];
    if (strchr(glob, '/') == NULL) return fnmatch(glob, s->name, FNM_EXTMATCH) == 0;
    snprintf(both, sizeof both, "%.90s/%s", s->op->name, s->name);
    return fnmatch(glob, both, FNM_EXTMATCH) == 0;
}

bool dsv4_filter_match(const struct dsv4_filter *filter, const struct dsv4_suite_case *s) {
    return (filter->op == NULL || fnmatch(filter->op, s->op->name, FNM_EXTMATCH) == 0) &&
           (filter->name == NULL || has_name(s, filter->name)) &&
           (filter->tag == NULL || has_tag(s, filter->tag)) &&
           (filter->tiers == 0 || (filter->tiers >> s->tier & 1U) != 0) &&
           (filter->dialect == NULL || has_dialect(s, filter->dialect));
}

bool dsv4_filter_narrows(const struct dsv4_filter *filter) {
    return filter->op != NULL || filter->name != NULL || filter->tag != NULL ||
           filter->dialect != NULL || filter->tier != NULL || filter->shard != NULL;
}

bool dsv4_filter_stored(struct dsv4_filter *filter) {
    const unsigned stored = (1U << DSV4_BENCH) - 1;
    filter->tiers = filter->tiers == 0 ? stored : filter->tiers & stored;
    return filter->tiers != 0; /* 0 would let everything pass */
}

/* Whether the n-th match, from 0, belongs to this shard. */
static bool in_shard(const struct dsv4_filter *filter, int64_t n) {
    return filter->n_shards == 0 || n % filter->n_shards == filter->shard_index - 1;
}

void dsv4_filter_text(const struct dsv4_filter *filter, char *text, size_t size) {
    const struct {
        const char *name, *value;
    } rows[] = {
        {"op",      filter->op     },
        {"case",    filter->name   },
        {"tag",     filter->tag    },
        {"tier",    filter->tier   },
        {"dialect", filter->dialect},
    };
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof rows / sizeof *rows && n < size; i++)
        if (rows[i].value != NULL)
            n += (size_t)snprintf(text + n, size - n, "%s%s=%.90s", n > 0 ? " " : "", rows[i].name,
                                  rows[i].value);
}

void dsv4_case_dialects(const struct dsv4_suite_case *s, char *text, size_t size) {
    size_t n = 0;
    text[0] = '\0';
    for (size_t p = 0; p < s->op->n_params && n < size; p++)
        if (s->op->params[p].use == DSV4_USE_DIALECT)
            n += (size_t)snprintf(text + n, size - n, "%s%s=%s", n > 0 ? " " : "",
                                  s->op->params[p].name, param_text(s, &s->op->params[p]));
}

const struct dsv4_suite_case **dsv4_filter_select(const struct dsv4_filter *filter,
                                                  const struct dsv4_suite *suite, size_t *n) {
    const struct dsv4_suite_case **cases = dsv4_alloc(suite->n_cases * sizeof *cases);
    int64_t matched = 0;
    *n = 0;
    for (size_t i = 0; i < suite->n_cases; i++) {
        if (!dsv4_filter_match(filter, &suite->cases[i])) continue;
        if (in_shard(filter, matched++)) cases[(*n)++] = &suite->cases[i];
    }
    return cases;
}

const struct dsv4_suite_sequence **
dsv4_filter_sequences(const struct dsv4_filter *filter, const struct dsv4_suite *suite, size_t *n) {
    const struct dsv4_suite_sequence **sequences =
        dsv4_alloc((suite->n_sequences + 1) * sizeof *sequences);
    int64_t matched = 0;
    *n = 0;
    for (size_t i = 0; i < suite->n_sequences; i++) {
        /* The dialect is that of the steps, which all have the same. */
        struct dsv4_suite_case head = suite->sequences[i].head;
        const struct dsv4_suite_case *const first = &suite->cases[suite->sequences[i].steps[0]];
        head.params = first->params;
        head.n_params = first->n_params;
        if (!dsv4_filter_match(filter, &head)) continue;
        if (in_shard(filter, matched++)) sequences[(*n)++] = &suite->sequences[i];
    }
    return sequences;
}
