/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "verbs.h"

struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: internal, not listed */
};

static const struct verb verbs[] = {
    {"list",           dsv4_verb_list,             "ops, cases, dialects and layouts"                 },
    {"gen",            dsv4_verb_gen,              "write golden vectors and MANIFEST"                },
    {"verify-vectors", dsv4_verb_verify,
     "regenerate every case and compare with MANIFEST and the files"                                  },
    {"show",           dsv4_verb_show,             "decode a vector, or one element or byte of it"    },
    {"diff",           dsv4_verb_diff,             "compare two vectors"                              },
    {"check",          dsv4_verb_check,            "replay cases against implementations"             },
    {"selftest",       dsv4_verb_selftest,         "prove that every mutant and planted bug is caught"},
    {"bench",          dsv4_verb_bench,            "time implementations"                             },
    {"report",         dsv4_verb_report,           "merge and render JSON reports"                    },
    {"statement",      dsv4_verb_statement,        "pack a report as a conformance statement"         },
    {"verify",         dsv4_verb_verify_statement, "check a statement, and refuse a changed one"      },
    {"worker",         dsv4_verb_worker,           NULL                                               },
};

static void usage(FILE *out) {
    fprintf(out, "usage: dsv4cts VERB [OPTIONS]; `dsv4cts VERB --help` shows the options\n\n");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (verbs[i].help != NULL) fprintf(out, "  %-16s %s\n", verbs[i].name, verbs[i].help);
    fprintf(out, "\nexit codes: 0 passed, 1 mismatch, 2 usage, suite, vector or plug-in error, "
                 "3 nothing matched\n");
}

/* Output that nobody could read must not end in success. */
static int finish(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "dsv4cts: writing to standard output failed: %s\n", strerror(errno));
    return DSV4_EXIT_ERROR;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return DSV4_EXIT_ERROR;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return finish(DSV4_EXIT_PASS);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s\n", DSV4_GENERATOR);
        return finish(DSV4_EXIT_PASS);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(argv[1], verbs[i].name) == 0) return finish(verbs[i].run(argc - 1, argv + 1));
    fprintf(stderr, "dsv4cts: there is no verb '%.60s'; `dsv4cts help` lists them\n", argv[1]);
    return DSV4_EXIT_ERROR;
}
