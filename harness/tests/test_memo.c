/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds that are kept judge like bounds that are worked out anew, whatever answers came before. */
#include <criterion/criterion.h>

#include "../../reference/bound/arithmetic.h"
#include "../../reference/memory.h"
#include "../bounds.h"
#include "../compare.h"
#include "../suite.h"
#include "../vector.h"

enum { POISON = 1 };

struct outcome {
    struct dsv4_result result;
    enum dsv4_whole whole;
    int64_t first; /* byte that is still wrong */
};

struct images {
    struct dsv4_arena got, want, before;
};

/* Some elements of every output, one unit in the last place off: every `every`th from `start` on. */
static void move(struct dsv4_arena *got, const struct dsv4_vector *v, int64_t start,
                 int64_t every) {
    for (size_t s = 0; s < v->c.op->n_slots; s++) {
        const struct dsv4_case_tensor *const t = &v->c.tensors[s];
        if (v->tensors[s].out == NULL) continue;
        const int64_t unit = dsv4_dtype_bytes(t->t.dtype), n = dsv4_packed_bytes(t) / unit;
        for (int64_t i = start; i < n; i += every)
            if (v->tensors[s].keep == NULL || v->tensors[s].keep[i * unit] == 0)
                got->base[t->offset + dsv4_storage_offset(t, i * unit)] ^= 1;
    }
}

static struct outcome judge(const struct dsv4_vector *v, struct images *at,
                            const dsv4_arithmetic *arithmetic) {
    struct outcome o = {0};
    struct dsv4_ceded ceded = {NULL};
    struct dsv4_arena raw;
    dsv4_arena_private(&raw, &v->c);
    dsv4_arena_copy(&raw, &at->got);
    const struct dsv4_comparison compare = {v, &at->got, &at->want, NULL};
    const struct dsv4_bounds bounds = {v, arithmetic, &at->before, &at->got, &ceded, &at->want};
    o.whole = dsv4_bounds_judge(&bounds, &o.result);
    o.first = dsv4_compare_at(&compare, 0);
    dsv4_ceded_return(&ceded, at->got.base);
    dsv4_ceded_free(&ceded);
    cr_assert_arr_eq(at->got.base, raw.base, (size_t)raw.bytes, "%s: something was not put back",
                     v->c.op->name);
    dsv4_arena_close(&raw);
    return o;
}

static void expect_alike(const struct dsv4_vector *v, const struct outcome *a,
                         const struct outcome *b, const char *what) {
    const char *const op = v->c.op->name;
    cr_assert_eq(a->first, b->first, "%s: %s", op, what);
    cr_assert_eq(a->whole, b->whole, "%s: %s", op, what);
    cr_assert_eq(a->result.verdict, b->result.verdict, "%s: %s", op, what);
    cr_assert_eq(a->result.n_outputs, b->result.n_outputs, "%s: %s", op, what);
    for (size_t i = 0; i < a->result.n_outputs; i++) {
        const struct dsv4_output *const x = &a->result.outputs[i], *const y = &b->result.outputs[i];
        cr_assert_str_eq(x->tensor, y->tensor);
        cr_assert_eq(x->elements, y->elements, "%s %s: %s", op, x->tensor, what);
        cr_assert_eq(x->differ, y->differ, "%s %s: %s", op, x->tensor, what);
        cr_assert_eq(x->slack, y->slack, "%s %s: %s", op, x->tensor, what);
        cr_assert_arr_eq(x->bins, y->bins, sizeof x->bins, "%s %s: %s", op, x->tensor, what);
    }
}

static void try_vector(struct dsv4_vector *v, const dsv4_arithmetic *arithmetic) {
    static const int64_t starts[] = {0, 3, 0, 1}, everies[] = {64, 7, 64, 1};
    struct images at;
    struct dsv4_memo *const memo = dsv4_memo_open();
    dsv4_arena_private(&at.got, &v->c);
    dsv4_arena_private(&at.want, &v->c);
    dsv4_arena_private(&at.before, &v->c);
    dsv4_arena_fill(&at.want, v, POISON, DSV4_AFTER);
    dsv4_arena_fill(&at.before, v, POISON, DSV4_BEFORE);
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        dsv4_arena_copy(&at.got, &at.want);
        move(&at.got, v, starts[i], everies[i]);
        struct outcome anew = judge(v, &at, arithmetic);
        v->memo = memo;
        struct outcome kept = judge(v, &at, arithmetic), again = judge(v, &at, arithmetic);
        v->memo = NULL;
        expect_alike(v, &anew, &kept, "what was kept of other answers");
        expect_alike(v, &anew, &again, "what was kept of this answer");
        dsv4_result_free(&anew.result);
        dsv4_result_free(&kept.result);
        dsv4_result_free(&again.result);
    }
    dsv4_memo_close(memo);
    dsv4_arena_close(&at.before);
    dsv4_arena_close(&at.want);
    dsv4_arena_close(&at.got);
}

/* Of every op with a bound, two smoke cases that the class applies to. */
Test(memo, judges_as_if_nothing_were_kept, .timeout = 300) {
    struct dsv4_suite suite = {0};
    struct dsv4_err err = {0};
    dsv4_arithmetic arithmetic;
    const struct dsv4_op *op = NULL;
    int n = 0, tried = 0;
    cr_assert_eq(dsv4_arithmetic_parse(&arithmetic, "TC25-RZ", &err), 0);
    cr_assert_eq(dsv4_suite_load(&suite, "suites", &err), 0, "%s", err.text);
    for (size_t i = 0; i < suite.n_cases; i++) {
        struct dsv4_vector v = {0};
        if (suite.cases[i].op != op) n = 0;
        op = suite.cases[i].op;
        if (op->bound == NULL || suite.cases[i].tier != DSV4_SMOKE || n == 2) continue;
        cr_assert_eq(dsv4_vector_make(&v, &suite.cases[i], &err), 0, "%s", err.text);
        dsv4_case_place(&v.c, dsv4_case_is_skewed(&v.c));
        if (dsv4_bounds_apply(&v, &arithmetic)) {
            try_vector(&v, &arithmetic);
            n++;
            tried++;
        }
        dsv4_vector_free(&v);
    }
    cr_assert_geq(tried, 60);
    dsv4_suite_free(&suite);
}

Test(memo, one_part_for_each_arithmetic) {
    struct dsv4_memo *const memo = dsv4_memo_open();
    const struct dsv4_case c = {.op = dsv4_ops[0]};
    dsv4_arithmetic a, b;
    struct dsv4_err err;
    dsv4_arithmetic_parse(&a, "F32-ANY", &err);
    dsv4_arithmetic_parse(&b, "F32-ANY exp=1", &err);
    struct dsv4_kept *const first = dsv4_memo_for(memo, &c, &a);
    cr_assert_not_null(first);
    cr_assert_neq(first, dsv4_memo_for(memo, &c, &b));
    cr_assert_eq(first, dsv4_memo_for(memo, &c, &a));
    cr_assert_null(dsv4_memo_for(NULL, &c, &a));
    dsv4_memo_close(memo);
    dsv4_memo_close(NULL);
}

Test(memo, keeps_rows_by_place_and_length_while_there_is_room) {
    struct dsv4_kept *const kept = dsv4_kept_open(1, 4096);
    struct dsv4_kept_row *const row = dsv4_kept_add(kept, 1, 64, 8, true);
    cr_assert_not_null(row);
    cr_assert(!dsv4_ball_known(row->balls[7]));
    cr_assert_eq(row->variances[7], 0);
    for (int64_t offset = 0; offset < 640; offset += 64) dsv4_kept_add(kept, 2, offset, 8, false);
    cr_assert_eq(dsv4_kept_find(kept, 1, 64, 8), row);
    cr_assert_null(dsv4_kept_find(kept, 1, 64, 7));
    cr_assert_null(dsv4_kept_find(kept, 0, 64, 8));
    cr_assert_null(dsv4_kept_find(kept, 1, 128, 8));
    cr_assert_null(dsv4_kept_add(kept, 3, 0, 200, false), "more than there is room for");
    cr_assert_null(dsv4_kept_find(NULL, 1, 64, 8));
    dsv4_kept_close(kept);
}
