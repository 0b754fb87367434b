/* SPDX-License-Identifier: Apache-2.0 */
/* Every instruction of the table, and random sequences of them, against the formulations of this directory. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "matrix.h"
#include "memory.h"
#include "special.h"

static void check(struct isa_program *programs, size_t n, size_t forms) {
    const struct isa_program **const list = calloc(n, sizeof *list);
    struct isa_result result;
    cr_assert_not_null(list);
    for (size_t i = 0; i < n; i++) list[i] = &programs[i];
    cr_assert_eq(isa_execute(&result, list, n), 0, "the instructions were not assembled or loaded");
    free(list);
    cr_expect_eq(result.ran, n);
    cr_expect_lt(result.refused, n, "nothing of it is implemented");
    cr_expect_leq(result.forms, forms, "%zu forms of implemented instructions are refused",
                  result.forms);
    cr_expect_eq(result.failed, 0, "%zu of %zu differ; the first: %s", result.failed, n,
                 result.first);
}

static void check_rows(const struct isa_row *rows, size_t forms) {
    size_t n = 0;
    while (rows[n].name != NULL) n++;
    struct isa_program *const programs = calloc(ISA_PARTS * n, sizeof *programs);
    cr_assert_not_null(programs);
    size_t made = 0;
    for (size_t i = 0; i < n; i++)
        for (unsigned part = 0; part < ISA_PARTS; part++)
            if (isa_build_row(&programs[made], &rows[i], part)) made++;
    check(programs, made, forms);
    free(programs);
}

Test(isa, integer) { check_rows(isa_integer_rows, 0); }
Test(isa, scalar) { check_rows(isa_scalar_rows, 0); }
Test(isa, floating_point) { check_rows(isa_float_rows, 0); }
Test(isa, comparisons) { check_rows(isa_compare_rows, 0); }
/* v_cvt_pk_u8_f32 of numbers that are not whole is refused: its rounding is not documented. */
Test(isa, conversions) { check_rows(isa_convert_rows, 1); }
Test(isa, dot_products) { check_rows(isa_dot_rows, 0); }
Test(isa, approximate) { check_rows(isa_approximate_rows, 0); }
Test(isa, packed) { check_rows(isa_packed_rows, 0); }

Test(isa, memory) {
    const struct isa_memory_row *rows;
    const size_t n = isa_memory_rows(&rows);
    struct isa_program *const programs = calloc(n, sizeof *programs);
    cr_assert_not_null(programs);
    for (size_t i = 0; i < n; i++) isa_build_memory(&programs[i], &rows[i]);
    check(programs, n, 0);
    free(programs);
}

Test(isa, matrices) {
    size_t n = 0;
    while (isa_matrix_rows[n].name != NULL) n++;
    struct isa_program *const programs = calloc(n, sizeof *programs);
    cr_assert_not_null(programs);
    for (size_t i = 0; i < n; i++) isa_build_matrix(&programs[i], &isa_matrix_rows[i]);
    check(programs, n, 0);
    free(programs);
}

Test(isa, specials) {
    size_t n = 0;
    while (isa_specials[n].names != NULL) n++;
    struct isa_program *const programs = calloc(n, sizeof *programs);
    cr_assert_not_null(programs);
    for (size_t i = 0; i < n; i++) isa_build_special(&programs[i], &isa_specials[i]);
    check(programs, n, 0);
    free(programs);
}

enum { RANDOM_PROGRAMS = 200 };

Test(isa, random_sequences) {
    struct isa_program *const programs = calloc(RANDOM_PROGRAMS, sizeof *programs);
    cr_assert_not_null(programs);
    for (size_t i = 0; i < RANDOM_PROGRAMS; i++) isa_build_random(&programs[i], i + 1);
    check(programs, RANDOM_PROGRAMS, 0);
    free(programs);
}

/* A wrong formulation must be seen: subtraction in the place of addition. */
static void wrong(struct isa_lane *x) { x->d = (uint32_t)(x->a - x->b); }

Test(isa, a_wrong_formulation_is_seen) {
    const struct isa_row row = {
        "v_add_u32", VOP2, 0, I32, {I32, I32, NONE},
            wrong
    };
    struct isa_program *const program = calloc(1, sizeof *program);
    struct isa_result result;
    cr_assert_not_null(program);
    isa_build_row(program, &row, ISA_PLAIN);
    const struct isa_program *const list[] = {program};
    cr_assert_eq(isa_execute(&result, list, 1), 0);
    cr_expect_eq(result.failed, 1);
    cr_expect(strstr(result.first, "v_add_u32") != NULL && strstr(result.first, "want 0x") != NULL,
              "%s", result.first);
    free(program);
}

static void unreached(struct isa_state *state, const void *argument) {
    (void)state;
    (void)argument;
}

Test(isa, a_trap_ends_the_program) {
    static const struct isa_special trap = {"s_trap", "\ts_trap 2\n", unreached};
    struct isa_program *const program = calloc(1, sizeof *program);
    struct isa_result result;
    cr_assert_not_null(program);
    isa_build_special(program, &trap);
    const struct isa_program *const list[] = {program};
    cr_assert_eq(isa_execute(&result, list, 1), 0);
    cr_expect_eq(result.failed, 1);
    cr_expect(strstr(result.first, "trap") != NULL, "%s", result.first);
    free(program);
}
