/* SPDX-License-Identifier: Apache-2.0 */
/* One case against one implementation: run it, compare everything, put the outcome into words. */
#ifndef DSV4_JUDGE_H
#define DSV4_JUDGE_H

#include "arena.h"
#include "report.h"
#include "runner.h"
#include "vector.h"

struct dsv4_judge {
    uint64_t poison;
    int64_t repeat;               /* runs of each case */
    struct dsv4_runner *suspects; /* a runner without a plug-in: explains failures; NULL: do not */
    double hint_seconds;          /* how long a failure may search for what explains it */
    const dsv4_arithmetic
        *arithmetic;   /* what calls are judged by; NULL: what the plug-in declares */
    const char *dump;  /* directory for wrong outputs; NULL: none */
    bool graph;        /* capture run() once and replay it; on the CPU it is called */
    const char *again; /* options that choose the case again; NULL: --case and --tier do */
    /* Sees what the first run left, before it is compared, if run() came back. NULL: nobody does. */
    void (*take)(void *context, const struct dsv4_arena *got);
    void *context;
};

/* Fills verdict, seconds, message and notes of `result`. The vector must be placed to be judged. */
void dsv4_judge_case(struct dsv4_result *result, struct dsv4_runner *r, const struct dsv4_vector *v,
                     const struct dsv4_suite_case *s, const struct dsv4_judge *judge);

/*
 * The same over steps that share their buffers. Before each step only its inputs are written; the whole arena is
 * compared after it. A step that repeats the vector before it finds its outputs inverted, for nothing else could show
 * that it wrote them. Ends at the first step that is wrong.
 */
void dsv4_judge_steps(struct dsv4_result *result, struct dsv4_runner *r,
                      const struct dsv4_vector *const *vectors, size_t n,
                      const struct dsv4_suite_case *s, const struct dsv4_judge *judge);

/* A single call: dsv4_judge_case, or where graphs are asked for and there are any, its replay twice over. */
void dsv4_judge_call(struct dsv4_result *result, struct dsv4_runner *r, const struct dsv4_vector *v,
                     const struct dsv4_suite_case *s, const struct dsv4_judge *judge);

#endif
