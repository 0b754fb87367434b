/* SPDX-License-Identifier: Apache-2.0 */
/* The selftest's own failing examples: a survivor, a plug-in that is not caught as listed, a list with a gap. */
#include "support.h"

enum { OUTPUT = 1 << 20 };
static char output[OUTPUT];

static int selftest(const char *suites, const char *rest) {
    char line[1000];
    snprintf(line, sizeof line, "selftest --fresh --suites %s %s", suites, rest);
    return support_run(output, OUTPUT, line);
}

/* The default case has no padded row, so that nothing can kill the mutant that writes them. */
Test(selftest, survivors_are_named) {
    char suites[64];
    support_suites(suites);
    cr_assert_eq(selftest(suites, "--op kv_quantize_insert"), 1);
    ASSERT_HAS(output, "kv_quantize_insert scale-floor killed by small (");
    ASSERT_HAS(output, "kv_quantize_insert padding-writes SURVIVES 2 smoke cases");
    cr_assert_eq(selftest(suites, "--op no_such_op"), 3);
}

/* Mutants that one layer alone sees; without it they would survive. */
Test(selftest, the_matrix_says_which_layer_sees_a_mutant) {
    static const struct {
        const char *line, *mutant, *op, *rate;
    } rows[] = {
        {"selftest --fresh --op mtp_markov_bias --class F32-ANY",
         "mtp_markov_bias rounded killed by coarse-128 (4 bytes); seen by bits exact - -\n",         "mtp_markov_bias: 6 of 9 mutants killed, by bits 6, exact 4, bound 5, tensor 0\n",
         "exact 66.7 % (1 by it alone), bound 83.3 % (2 by it alone), tensor 0.0 % (0 by it "
         "alone)\n"                                                                                                                                                                                        },
        {"selftest --fresh --op gemm_fp8_fp4 --class CDNA3-FLOOR24",
         "gemm_fp8_fp4 partial-14-bits killed by group-128-ocp (1 byte); seen by bits - - tensor\n", "gemm_fp8_fp4: ",                                                                  "(1 by it alone)\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_eq(support_run(output, OUTPUT, rows[i].line), 0, "%s", output);
        ASSERT_HAS(output, rows[i].mutant);
        ASSERT_HAS(output, rows[i].op);
        ASSERT_HAS(output, rows[i].rate);
    }
}

/* Every planted plug-in with a wrong expectation: none of these lines may count as caught. */
Test(selftest, a_wrong_expectation_is_reported) {
    char suites[64], rest[200], line[400], *text = NULL;
    size_t size = 0;
    support_suites(suites);
    FILE *const file = fopen("harness/tests/planted/EXPECTED", "r");
    cr_assert_not_null(file, "run the tests in the project's root");
    FILE *const copy = open_memstream(&text, &size);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "right ", 6) == 0)
            fputs("right | 1 | --op kv_quantize_insert | passed\n", copy);
        else if (strncmp(line, "spams ", 6) == 0)
            fputs("spams | 0 | --op kv_quantize_insert | no such text\n", copy);
        else if (line[0] != '#')
            fprintf(copy, "%.*s | 0 | --op none | x\n", (int)strcspn(line, "|"), line);
    }
    fclose(file);
    fclose(copy);
    support_write(suites, "list", text);
    free(text);
    snprintf(rest, sizeof rest, "--op kv_quantize_insert --planted %s/list", suites);
    cr_assert_eq(selftest(suites, rest), 1, "%s", output);
    ASSERT_HAS(output, "planted right: NOT CAUGHT as listed: wants exit 1");
    ASSERT_HAS(output, "planted spams: NOT CAUGHT as listed");
}

Test(selftest, the_list_of_planted_plugins_is_complete_and_well_formed) {
    char suites[64], rest[200];
    support_suites(suites);
    snprintf(rest, sizeof rest, "--op kv_quantize_insert --planted %s/list", suites);
    support_write(suites, "list", "# nothing is listed\n");
    cr_assert_eq(selftest(suites, rest), 2);
    ASSERT_HAS(output, "is built but not listed");
    snprintf(rest, sizeof rest, "--op kv_quantize_insert --planted %s/none", suites);
    cr_assert_eq(selftest(suites, rest), 2);
}
