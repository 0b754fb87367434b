/* SPDX-License-Identifier: Apache-2.0 */
/* list: what there is. Everything comes from the registry, the layouts and the suites. */
#include <stdio.h>

#include "../reference/layout/layout.h"
#include "../reference/memory.h"
#include "list_layer.h"
#include "options.h"
#include "sequence.h"
#include "verbs.h"

static const char *const kind_names[] = {"integer", "number", "name"};
static const char *const use_names[] = {"input", "call", "dialect"};
static const char *const role_names[] = {"in", "out", "inout"};

static void list_param(const struct dsv4_param_def *p) {
    char range[256];
    if (p->kind == DSV4_NAME)
        snprintf(range, sizeof range, "%s", p->names != NULL ? p->names : "(any word)");
    else
        snprintf(range, sizeof range, "%.9g .. %.9g", p->min, p->max);
    printf("  %-16s %-7s %-7s default %-10s %s\n", p->name, kind_names[p->kind], use_names[p->use],
           p->initial, range);
    if (p->doc != NULL && p->doc[0] != '\0') printf("  %-16s %s\n", "", p->doc);
}

static void list_op(const struct dsv4_op *op) {
    printf("%s\n  %s\n  source: %s\n\nparameters (input: shapes and fills the inputs; call: passed "
           "on; dialect: passed on, and "
           "shipping kernels differ)\n",
           op->name, op->summary, op->source);
    for (size_t i = 0; i < op->n_params; i++) list_param(&op->params[i]);
    printf("\ntensors\n");
    for (size_t i = 0; i < op->n_slots; i++) {
        printf("  %-16s %-7s %s\n", op->slots[i].name, role_names[op->slots[i].role],
               op->slots[i].shape);
        if (op->slots[i].doc != NULL && op->slots[i].doc[0] != '\0')
            printf("  %-16s %s\n", "", op->slots[i].doc);
    }
    printf("\nin other arithmetic\n  %s%s\n",
           op->exact != NULL ? "the same bits: " : "within a bound derived in the op's file",
           op->exact != NULL ? op->exact : "");
    printf("\nmutants\n");
    for (size_t i = 0; i < op->n_mutants; i++)
        printf("  %-28s %s\n", op->mutants[i].name, op->mutants[i].why);
}

/* Is this the first op that declares this dialect parameter? */
static bool is_first(size_t op, const char *name) {
    for (size_t i = 0; i < op; i++)
        for (size_t p = 0; p < dsv4_ops[i]->n_params; p++)
            if (dsv4_ops[i]->params[p].use == DSV4_USE_DIALECT &&
                strcmp(dsv4_ops[i]->params[p].name, name) == 0)
                return false;
    return true;
}

static void list_all(void) {
    printf("ops (`dsv4cts list OP` shows one)\n");
    for (size_t i = 0; i < dsv4_n_ops; i++)
        printf("  %-28s %s\n  %-28s %zu parameters, %zu tensors, %zu mutants\n", dsv4_ops[i]->name,
               dsv4_ops[i]->summary, "", dsv4_ops[i]->n_params, dsv4_ops[i]->n_slots,
               dsv4_ops[i]->n_mutants);
    printf("\ndialects\n");
    for (size_t i = 0; i < dsv4_n_ops; i++)
        for (size_t p = 0; p < dsv4_ops[i]->n_params; p++) {
            const struct dsv4_param_def *def = &dsv4_ops[i]->params[p];
            if (def->use == DSV4_USE_DIALECT && is_first(i, def->name))
                printf("  %-28s %s\n", def->name,
                       def->names != NULL ? def->names : kind_names[def->kind]);
        }
    printf("\nlayouts\n");
    for (size_t i = 0; i < dsv4_n_layouts; i++)
        printf("  %-28s %s\n", dsv4_layouts[i]->name, dsv4_layouts[i]->doc);
}

static void list_case(const struct dsv4_suite_case *s) {
    printf("%-7s %s/%s  ", dsv4_tier_names[s->tier], s->op->name, s->name);
    for (size_t t = 0; t < s->n_tags; t++) printf("%s%s", t > 0 ? "," : "", s->tags[t]->name);
    printf("  %s:%d\n", s->file, s->line);
}

/* The line that reference/stream.c reads. */
static int list_resolved(const struct dsv4_suite_case *s, struct dsv4_err *err) {
    char text[DSV4_WORD_SIZE];
    struct dsv4_case c;
    const int status = dsv4_suite_case_make(s, &c, err);
    if (status == 0) {
        printf("%s %s %llu", c.op->name, c.name, (unsigned long long)c.seed);
        for (size_t p = 0; p < c.op->n_params; p++) {
            dsv4_case_text(&c, p, text, sizeof text);
            printf(" %s=%s", c.op->params[p].name, text);
        }
        printf("\n");
    }
    dsv4_case_free(&c);
    return status;
}

static int list_sequences(const struct dsv4_filter *filter) {
    struct dsv4_err err = {0};
    struct dsv4_suite suite = {0};
    size_t n = 0;
    int status = DSV4_EXIT_PASS;
    if (dsv4_suite_load(&suite, filter->suites, &err) != 0) {
        dsv4_suite_free(&suite);
        return dsv4_err_print(&err);
    }
    const struct dsv4_suite_sequence **const sequences = dsv4_filter_sequences(filter, &suite, &n);
    for (size_t i = 0; status == DSV4_EXIT_PASS && i < n; i++) {
        const struct dsv4_suite_sequence *const q = sequences[i];
        if (dsv4_sequence_check(&suite, q, &err) != 0) {
            status = dsv4_err_print(&err);
            break;
        }
        list_case(&q->head);
        for (size_t k = 0; k < q->n_steps; k++)
            printf("        %zu  %s\n", k + 1, suite.cases[q->steps[k]].name);
    }
    if (n == 0) {
        fprintf(stderr, "dsv4cts: no sequence matches\n");
        status = DSV4_EXIT_NOTHING;
    }
    dsv4_free(sequences);
    dsv4_suite_free(&suite);
    return status;
}

static int list_cases(const struct dsv4_filter *filter, bool resolved) {
    struct dsv4_err err = {0};
    struct dsv4_suite suite = {0};
    size_t n = 0;
    int status = DSV4_EXIT_PASS;
    if (dsv4_suite_load(&suite, filter->suites, &err) != 0) {
        dsv4_suite_free(&suite);
        return dsv4_err_print(&err);
    }
    const struct dsv4_suite_case **cases = dsv4_filter_select(filter, &suite, &n);
    for (size_t i = 0; status == DSV4_EXIT_PASS && i < n; i++)
        if (!resolved)
            list_case(cases[i]);
        else if (list_resolved(cases[i], &err) != 0)
            status = dsv4_err_print(&err);
    if (n == 0) {
        fprintf(stderr, "dsv4cts: no case matches\n");
        status = DSV4_EXIT_NOTHING;
    }
    dsv4_free(cases);
    dsv4_suite_free(&suite);
    return status;
}

int dsv4_verb_list(int argc, char **argv) {
    bool cases = false, resolved = false, sequences = false, layer = false;
    struct dsv4_texts impls = {0};
    struct dsv4_filter filter = DSV4_FILTER;
    const struct dsv4_option options[] = {
        {"--cases",     DSV4_OPTION_FLAG,  &cases,     NULL,   "the cases of the suites"},
        {"--resolved",  DSV4_OPTION_FLAG,  &resolved,  NULL,
         "the cases with seed and every parameter"                                      },
        {"--sequences", DSV4_OPTION_FLAG,  &sequences, NULL,
         "the sequences of the suites, with their steps"                                },
        {"--layer",     DSV4_OPTION_FLAG,  &layer,     NULL,
         "the steps of a layer: the ops of each, and which implementations have them"   },
        {"--impl",      DSV4_OPTION_TEXTS, &impls,     "IMPL",
         "with --layer: ask these (whatever is built)"                                  },
    };
    struct dsv4_command command = {.usage = "list [OP] [OPTIONS]",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .filter = &filter,
                                   .max_positional = 1};
    const int status = dsv4_command_start(&command, argc, argv);
    if (status >= 0) return status;
    if (layer) return dsv4_list_layer(filter.suites, &impls);
    if (cases || resolved || sequences || dsv4_filter_narrows(&filter)) {
        if (command.positional.n > 0) filter.op = command.positional.at[0];
        if (sequences) return list_sequences(&filter);
        return list_cases(&filter, resolved);
    }
    if (command.positional.n == 0) {
        list_all();
        return DSV4_EXIT_PASS;
    }
    const struct dsv4_op *op = dsv4_op_find(command.positional.at[0]);
    if (op == NULL) {
        fprintf(stderr, "dsv4cts: there is no op '%.60s'; `dsv4cts list` shows them\n",
                command.positional.at[0]);
        return DSV4_EXIT_ERROR;
    }
    list_op(op);
    return DSV4_EXIT_PASS;
}
