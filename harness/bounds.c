/* SPDX-License-Identifier: Apache-2.0 */
#include "bounds.h"

#include "../reference/bound/admit.h"
#include "../reference/layout/layout.h"
#include "../reference/memory.h"
#include "compare.h"

bool dsv4_bounds_apply(const struct dsv4_vector *v, const dsv4_arithmetic *arithmetic) {
    if (arithmetic->accumulation == DSV4_CANON || v->c.op->bound == NULL || v->c.refused)
        return false;
    for (size_t i = 0; i < v->n_tags; i++)
        if (strcmp(v->tags[i], "exact") == 0) return false;
    return true;
}

/* Steps of a sequence add up. */
static struct dsv4_output *output_of(struct dsv4_result *result, const char *tensor) {
    for (size_t i = 0; i < result->n_outputs; i++)
        if (strcmp(result->outputs[i].tensor, tensor) == 0) return &result->outputs[i];
    result->outputs =
        dsv4_resize(result->outputs, (result->n_outputs + 1) * sizeof *result->outputs);
    struct dsv4_output *const output = &result->outputs[result->n_outputs++];
    memset(output, 0, sizeof *output);
    snprintf(output->tensor, sizeof output->tensor, "%s", tensor);
    return output;
}

static void note_refused(struct dsv4_result *result, const struct dsv4_admission *a, size_t slot) {
    const struct dsv4_admitted *const t = &a->at[slot];
    struct dsv4_site site = {0};
    char class[128];
    dsv4_arithmetic_text(class, sizeof class, &a->arithmetic);
    dsv4_layout_find(a->c->tensors[slot].t.layout)->locate(a->c, slot, t->first, &site);
    dsv4_notes_add(&result->notes, "bound",
                   "`%s` %s may lie in [%.9g, %.9g] under %s; %lld of %lld elements are outside",
                   a->c->tensors[slot].t.name, site.where, t->low, t->high, class,
                   (long long)t->refused, (long long)t->elements);
}

static void add_outputs(struct dsv4_result *result, const struct dsv4_admission *a) {
    _Static_assert((int)DSV4_ADMIT_BINS == (int)DSV4_ERROR_BINS, "one histogram");
    for (size_t slot = 0; slot < a->c->op->n_slots; slot++) {
        const struct dsv4_admitted *const t = &a->at[slot];
        if (t->elements == 0) continue;
        struct dsv4_output *const output = output_of(result, a->c->tensors[slot].t.name);
        output->elements += t->elements;
        output->differ += t->differ;
        if (t->slack > output->slack) output->slack = t->slack;
        for (int b = 0; b < DSV4_ERROR_BINS; b++) output->bins[b] += t->bins[b];
        if (t->refused > 0) note_refused(result, a, slot);
    }
}

/* A bound that the canon itself breaks would judge nobody. */
static bool holds(struct dsv4_result *result, const struct dsv4_admission *a) {
    for (size_t slot = 0; slot < a->c->op->n_slots; slot++) {
        if (a->at[slot].contradicted == 0) continue;
        result->verdict = DSV4_BROKEN;
        dsv4_result_say(result, "the bound of `%s` leaves out %lld of its golden values",
                        a->c->tensors[slot].t.name, (long long)a->at[slot].contradicted);
        return false;
    }
    return true;
}

static void walk(struct dsv4_admission *a, const struct dsv4_bounds *bounds, bool of_mistake) {
    struct dsv4_case c = bounds->v->c;
    dsv4_call call;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param params[DSV4_MAX_PARAMS];
    *a = (struct dsv4_admission){.arithmetic = *bounds->arithmetic,
                                 .c = &bounds->v->c,
                                 .golden = bounds->v->tensors,
                                 .got = bounds->got->base,
                                 .want = bounds->want->base,
                                 .of_mistake = of_mistake};
    dsv4_case_bind(&c, bounds->before->base);
    dsv4_case_call(&c, &call, tensors, params);
    c.op->bound(&call, a);
}

bool dsv4_bounds_admit(const struct dsv4_bounds *bounds, bool of_mistake) {
    const struct dsv4_comparison compare = {bounds->v, bounds->got, bounds->want, NULL};
    struct dsv4_admission a;
    double limit = 0;
    walk(&a, bounds, of_mistake);
    return dsv4_compare_at(&compare, 0) < 0 &&
           (of_mistake || dsv4_admit_excess(&a, &limit) == bounds->v->c.op->n_slots);
}

enum dsv4_whole dsv4_bounds_judge(const struct dsv4_bounds *bounds, struct dsv4_result *result) {
    const struct dsv4_case *const c = &bounds->v->c;
    struct dsv4_admission a;
    double limit = 0;
    int64_t refused = 0, n = 0;
    walk(&a, bounds, false);
    add_outputs(result, &a);
    if (!holds(result, &a)) return DSV4_WHOLE_UNKNOWN;
    for (size_t s = 0; s < c->op->n_slots; s++) {
        refused += a.at[s].refused;
        n += a.at[s].n_squares;
    }
    const size_t slot = dsv4_admit_excess(&a, &limit);
    if (slot == c->op->n_slots) return n > 0 ? DSV4_WHOLE_RIGHT : DSV4_WHOLE_UNKNOWN;
    if (refused == 0)
        dsv4_result_say(result,
                        "`%s` as a whole is worse than its class: errors squared, over their "
                        "variance, add up to %.4g; above %.4g is one chance in 1e9",
                        c->tensors[slot].t.name, a.at[slot].squares, limit);
    return DSV4_WHOLE_WORSE;
}
