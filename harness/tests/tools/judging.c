/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What judging costs, against reading the tensors: both images, what was got and what is expected, at this machine's copy
 * bandwidth.
 *   bits     nothing differs
 *   derived  by bounds that must be worked out first: the first answer to a case. What differs needs them, no more
 *   ready    by bounds that are there: a replay, the next implementation
 * Of bf16, one element in `EVERY` is one unit off, about as many as another order of fp32 sums changes; of fp32 all are.
 */
#include <stdio.h>
#include <time.h>

#include "../../../reference/bound/arithmetic.h"
#include "../../bounds.h"
#include "../../compare.h"
#include "../../measure.h"
#include "../../options.h"
#include "../../vector.h"

enum { ROUNDS = 5, EVERY = 4096, POISON = 1 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double least(double a, double b) { return a > 0 && a < b ? a : b; }

static void move_elements(struct dsv4_arena *got, const struct dsv4_vector *v) {
    for (size_t s = 0; s < v->c.op->n_slots; s++) {
        const struct dsv4_case_tensor *const t = &v->c.tensors[s];
        const int64_t unit = dsv4_dtype_bytes(t->t.dtype), bytes = dsv4_packed_bytes(t);
        const int64_t every = t->t.dtype == DSV4_F32 ? 1 : EVERY;
        if (v->tensors[s].out == NULL || (t->t.dtype != DSV4_F32 && t->t.dtype != DSV4_BF16))
            continue;
        for (int64_t i = 0; i < bytes; i += unit * every)
            if (v->tensors[s].keep == NULL || v->tensors[s].keep[i] == 0)
                got->base[t->offset + dsv4_storage_offset(t, i)] ^= 1;
    }
}

struct images {
    struct dsv4_arena got, want, before;
};

static double time_bits(const struct dsv4_vector *v, const struct images *at) {
    const struct dsv4_comparison compare = {v, &at->got, &at->want, NULL};
    const double start = now();
    if (dsv4_compare_at(&compare, 0) >= 0) printf("differs\n");
    return now() - start;
}

/* What the bounds refuse goes back, so that all is judged to the end. */
static void put_back(const struct dsv4_vector *v, struct images *at,
                     const dsv4_arithmetic *arithmetic) {
    struct dsv4_arena judged;
    struct dsv4_result result = {0};
    const struct dsv4_bounds bounds = {v, arithmetic, &at->before, &judged, NULL, &at->want};
    dsv4_arena_private(&judged, &v->c);
    dsv4_arena_copy(&judged, &at->got);
    dsv4_bounds_judge(&bounds, &result);
    for (int64_t i = 0; i < v->c.arena_bytes; i++)
        if (judged.base[i] != at->want.base[i]) at->got.base[i] = at->want.base[i];
    dsv4_result_free(&result);
    dsv4_arena_close(&judged);
}

/* As judge.c does it. */
static double time_bounds(const struct dsv4_vector *v, struct images *at,
                          const dsv4_arithmetic *arithmetic, bool *refused) {
    const struct dsv4_comparison compare = {v, &at->got, &at->want, NULL};
    struct dsv4_ceded ceded = {NULL};
    struct dsv4_result result = {0};
    const double start = now();
    const int64_t first = dsv4_compare_at(&compare, 0);
    const struct dsv4_bounds bounds = {v, arithmetic, &at->before, &at->got, &ceded, &at->want};
    dsv4_bounds_judge(&bounds, &result);
    *refused |= first >= 0 && dsv4_compare_at(&compare, first) >= 0;
    dsv4_ceded_return(&ceded, at->got.base);
    dsv4_ceded_free(&ceded);
    const double seconds = now() - start;
    dsv4_result_free(&result);
    return seconds;
}

static void print_bounds(struct dsv4_vector *v, struct images *at, double reading) {
    dsv4_arithmetic arithmetic;
    struct dsv4_err err = {0};
    double derived = 0, ready = 0;
    bool refused = false;
    dsv4_arithmetic_parse(&arithmetic, "F32-ANY", &err);
    if (!dsv4_bounds_apply(v, &arithmetic)) return;
    move_elements(&at->got, v);
    put_back(v, at, &arithmetic);
    for (int round = 0; round < ROUNDS; round++) {
        v->memo = dsv4_memo_open();
        derived = least(derived, time_bounds(v, at, &arithmetic, &refused));
        ready = least(ready, time_bounds(v, at, &arithmetic, &refused));
        dsv4_memo_close(v->memo);
        v->memo = NULL;
    }
    printf("   derived %9.2f ms, %7.2f x   ready %8.2f ms, %5.2f x%s", 1e3 * derived,
           derived / reading, 1e3 * ready, ready / reading, refused ? "   (some are refused)" : "");
}

/* One case: its line. Seconds are the least of several rounds. */
static int measure(struct dsv4_vector *v, double rate, struct dsv4_err *err) {
    struct images at;
    double bits = 0;
    if (dsv4_arena_open(&at.got, &v->c, err) != 0) return -1;
    dsv4_arena_private(&at.want, &v->c);
    dsv4_arena_private(&at.before, &v->c);
    dsv4_arena_fill(&at.want, v, POISON, DSV4_AFTER);
    dsv4_arena_fill(&at.before, v, POISON, DSV4_BEFORE);
    dsv4_arena_copy(&at.got, &at.want);
    for (int round = 0; round < ROUNDS; round++) bits = least(bits, time_bits(v, &at));
    const double reading = 2.0 * (double)v->c.arena_bytes / rate;
    printf("%s/%-20s %9.1f MB %8.2f ms to read   bits %8.2f ms, %5.2f x", v->c.op->name, v->c.name,
           2e-6 * (double)v->c.arena_bytes, 1e3 * reading, 1e3 * bits, bits / reading);
    print_bounds(v, &at, reading);
    printf("\n");
    fflush(stdout);
    dsv4_arena_close(&at.before);
    dsv4_arena_close(&at.want);
    dsv4_arena_close(&at.got);
    return 0;
}

int main(int argc, char **argv) {
    struct dsv4_suite suite = {0};
    struct dsv4_err err = {0};
    if (dsv4_suite_load(&suite, "suites", &err) != 0) return dsv4_err_print(&err);
    const double rate = dsv4_host_copy_rate();
    printf("copy: %.1f GB/s read and written\n", rate / 1e9);
    for (size_t i = 0; i < suite.n_cases; i++) {
        const struct dsv4_suite_case *const s = &suite.cases[i];
        struct dsv4_vector v = {0};
        char name[400];
        bool wanted = false;
        snprintf(name, sizeof name, "%s/%s", s->op->name, s->name);
        for (int a = 1; a < argc; a++) wanted |= strcmp(argv[a], name) == 0;
        if (!wanted) continue;
        if (dsv4_vector_make(&v, s, &err) != 0) return dsv4_err_print(&err);
        dsv4_case_place(&v.c, dsv4_case_is_skewed(&v.c));
        if (measure(&v, rate, &err) != 0) return dsv4_err_print(&err);
        dsv4_vector_free(&v);
    }
    dsv4_suite_free(&suite);
    return 0;
}
