/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of dsv4cts. argv[0] is the verb's own name; the result is the exit code. */
#ifndef DSV4_VERBS_H
#define DSV4_VERBS_H

enum dsv4_exit {
    DSV4_EXIT_PASS = 0,
    DSV4_EXIT_DIFFERENT = 1, /* mismatch, crash, timeout, unexpected pass */
    DSV4_EXIT_ERROR = 2,     /* usage, suite, vector or plug-in error */
    DSV4_EXIT_NOTHING = 3,   /* nothing matched, nothing ran */
};

int dsv4_verb_list(int argc, char **argv);
int dsv4_verb_gen(int argc, char **argv);
int dsv4_verb_verify(int argc, char **argv);
int dsv4_verb_show(int argc, char **argv);
int dsv4_verb_diff(int argc, char **argv);
int dsv4_verb_check(int argc, char **argv);
int dsv4_verb_selftest(int argc, char **argv);
int dsv4_verb_bench(int argc, char **argv);
int dsv4_verb_report(int argc, char **argv);
int dsv4_verb_statement(int argc, char **argv);
int dsv4_verb_verify_statement(int argc, char **argv);
int dsv4_verb_worker(
    int argc, char **argv); /* the process that loads a plug-in; started by check and bench */

#endif
