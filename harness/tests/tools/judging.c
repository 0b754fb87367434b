/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What judging costs, against reading the tensors: both images, what was got and what is expected, at this machine's copy
 * bandwidth. As bits, where nothing differs; and by bounds, where one element in `EVERY` is one unit off: in bf16 about
 * as many as another order of fp32 sums changes.
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
        if (v->tensors[s].out == NULL || (t->t.dtype != DSV4_F32 && t->t.dtype != DSV4_BF16))
            continue;
        for (int64_t i = 0; i < bytes; i += unit * EVERY)
            got->base[t->offset + dsv4_storage_offset(t, i)] ^= 1;
    }
}

/* One case: its line. Seconds are the least of several rounds. */
static void measure(const struct dsv4_vector *v, double rate) {
    struct dsv4_arena got, want, before;
    dsv4_arithmetic arithmetic;
    struct dsv4_err err = {0};
    double compared = 0, judged = 0;
    dsv4_arithmetic_parse(&arithmetic, "F32-ANY", &err);
    dsv4_arena_private(&got, &v->c);
    dsv4_arena_private(&want, &v->c);
    dsv4_arena_private(&before, &v->c);
    dsv4_arena_fill(&want, v, POISON, DSV4_AFTER);
    dsv4_arena_fill(&before, v, POISON, DSV4_BEFORE);
    dsv4_arena_copy(&got, &want);
    const struct dsv4_comparison compare = {v, &got, &want, NULL};
    const struct dsv4_bounds bounds = {v, &arithmetic, &before, &got, &want};
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        if (dsv4_compare_at(&compare, 0) >= 0) printf("differs\n");
        compared = least(compared, now() - start);
        if (!dsv4_bounds_apply(v, &arithmetic)) continue;
        struct dsv4_result result = {0};
        move_elements(&got, v);
        start = now();
        dsv4_bounds_judge(&bounds, &result);
        dsv4_compare_at(&compare, 0);
        judged = least(judged, now() - start);
        dsv4_result_free(&result);
        dsv4_arena_copy(&got, &want);
    }
    const double reading = 2.0 * (double)v->c.arena_bytes / rate;
    printf("%s/%-20s %9.1f MB %8.2f ms to read   bits %8.2f ms, %5.2f x", v->c.op->name, v->c.name,
           2e-6 * (double)v->c.arena_bytes, 1e3 * reading, 1e3 * compared, compared / reading);
    if (judged > 0) printf("   bounds %8.2f ms, %5.2f x", 1e3 * judged, judged / reading);
    printf("\n");
    dsv4_arena_close(&before);
    dsv4_arena_close(&want);
    dsv4_arena_close(&got);
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
        dsv4_case_place(&v.c, true);
        measure(&v, rate);
        dsv4_vector_free(&v);
    }
    dsv4_suite_free(&suite);
    return 0;
}
