/* SPDX-License-Identifier: Apache-2.0 */
/* diff: two vectors against each other. Verdict, counts and lines come from one walk over the
 * bytes. */
#include <stdio.h>

#include "options.h"
#include "peek.h"
#include "verbs.h"

enum { MAX_PARTS = 8 };

/* Counts of different units by what they are: "3 scale bytes, 9 codes". */
struct tally {
    char part[MAX_PARTS][24];
    int64_t n[MAX_PARTS];
    size_t n_parts;
};

static void tally_add(struct tally *t, const char *part) {
    size_t i = 0;
    while (i < t->n_parts && strcmp(t->part[i], part) != 0) i++;
    if (i == MAX_PARTS) i--; /* more kinds than any layout has: the last one takes them */
    if (i == t->n_parts) snprintf(t->part[t->n_parts++], sizeof t->part[i], "%s", part);
    t->n[i]++;
}

static size_t diff_text(const char *what, const char *a, const char *b) {
    if (strcmp(a, b) == 0) return 0;
    printf("DIFFERS  %s: %s | %s\n", what, a, b);
    return 1;
}

static size_t diff_case(const struct dsv4_vector *a, const struct dsv4_vector *b) {
    char x[DSV4_WORD_SIZE], y[DSV4_WORD_SIZE], what[80];
    size_t n = diff_text("op", a->c.op->name, b->c.op->name) +
               diff_text("case", a->c.name, b->c.name) +
               diff_text("tier", dsv4_tier_names[a->tier], dsv4_tier_names[b->tier]);
    bool same_tags = a->n_tags == b->n_tags;
    for (size_t i = 0; same_tags && i < a->n_tags; i++)
        same_tags = strcmp(a->tags[i], b->tags[i]) == 0;
    n += diff_text("tags", same_tags ? "same" : "A's", same_tags ? "same" : "B's");
    if (a->c.op != b->c.op) return n;
    snprintf(x, sizeof x, "%llu", (unsigned long long)a->c.seed);
    snprintf(y, sizeof y, "%llu", (unsigned long long)b->c.seed);
    n += diff_text("seed", x, y);
    for (size_t p = 0; p < a->c.op->n_params; p++) {
        dsv4_case_text(&a->c, p, x, sizeof x);
        dsv4_case_text(&b->c, p, y, sizeof y);
        snprintf(what, sizeof what, "parameter %.60s", a->c.op->params[p].name);
        n += diff_text(what, x, y);
    }
    return n;
}

static bool same_shape(const struct dsv4_case_tensor *a, const struct dsv4_case_tensor *b) {
    if (a->t.ndim != b->t.ndim || a->n_rows != b->n_rows) return false;
    if (a->t.ndim == 0) return true;
    if (a->t.dtype != b->t.dtype || strcmp(a->t.layout, b->t.layout) != 0) return false;
    for (int d = 0; d < a->t.ndim; d++)
        if (a->t.shape[d] != b->t.shape[d] || a->t.stride[d] != b->t.stride[d]) return false;
    if ((a->rows == NULL) != (b->rows == NULL)) return false;
    return a->rows == NULL || a->n_rows == 0 ||
           memcmp(a->rows, b->rows, (size_t)a->n_rows * sizeof *a->rows) == 0;
}

static bool same_byte(const struct dsv4_vector_tensor *a, const struct dsv4_vector_tensor *b,
                      bool after, int64_t i) {
    if (!after) return a->in[i] == b->in[i];
    const bool keep_a = a->keep != NULL && a->keep[i] != 0,
               keep_b = b->keep != NULL && b->keep[i] != 0;
    return a->out[i] == b->out[i] && keep_a == keep_b;
}

static void print_difference(const struct dsv4_vector *a, const struct dsv4_vector *b, size_t slot,
                             bool after, int64_t offset, const struct dsv4_site *site) {
    char x[200], y[200];
    dsv4_peek_value(a, slot, after, site, x, sizeof x);
    dsv4_peek_value(b, slot, after, site, y, sizeof y);
    printf("  byte %lld: %s: %s | %s\n", (long long)offset, site->where, x, y);
}

/* Two passes over one comparison: the headline with counts, then the first differences. */
static size_t diff_bytes(const struct dsv4_vector *a, const struct dsv4_vector *b, size_t slot,
                         bool after, int64_t first) {
    const struct dsv4_vector_tensor *x = &a->tensors[slot], *y = &b->tensors[slot];
    const struct dsv4_case_tensor *shape = &a->c.tensors[slot];
    const int64_t bytes = dsv4_packed_bytes(shape);
    struct tally tally = {0};
    struct dsv4_site site;
    int64_t n = 0, last_unit = -1, printed = 0;
    if ((after ? x->out : x->in) == NULL && (after ? y->out : y->in) == NULL) return 0;
    if ((after ? x->out : x->in) == NULL || (after ? y->out : y->in) == NULL) {
        printf("DIFFERS  %s.%s: only in one vector\n", after ? "out" : "in",
               a->c.op->slots[slot].name);
        return 1;
    }
    for (int64_t i = 0; i < bytes; i++) {
        if (same_byte(x, y, after, i)) continue;
        n++;
        dsv4_peek_site(a, slot, dsv4_storage_offset(shape, i), &site);
        if (site.unit != last_unit) tally_add(&tally, site.part);
        last_unit = site.unit;
    }
    if (n == 0) return 0;
    printf("DIFFERS  %s.%s: %lld of %lld bytes", after ? "out" : "in", a->c.op->slots[slot].name,
           (long long)n, (long long)bytes);
    for (size_t i = 0; i < tally.n_parts; i++)
        printf("%s %lld %s%s", i > 0 ? "," : ":", (long long)tally.n[i], tally.part[i],
               tally.n[i] > 1 ? "s" : "");
    printf("\n");
    last_unit = -1;
    for (int64_t i = 0; i < bytes && printed < first; i++) {
        if (same_byte(x, y, after, i)) continue;
        const int64_t offset = dsv4_storage_offset(shape, i);
        dsv4_peek_site(a, slot, offset, &site);
        if (site.unit == last_unit) continue;
        last_unit = site.unit;
        print_difference(a, b, slot, after, offset, &site);
        printed++;
    }
    return 1;
}

static size_t diff_tensors(const struct dsv4_vector *a, const struct dsv4_vector *b,
                           int64_t first) {
    size_t n = 0;
    if (a->c.op != b->c.op) return 0; /* told already */
    for (size_t s = 0; s < a->c.op->n_slots; s++) {
        if (!same_shape(&a->c.tensors[s], &b->c.tensors[s])) {
            printf("DIFFERS  %s: shape, strides, dtype, layout or live rows; its bytes are not "
                   "compared\n",
                   a->c.op->slots[s].name);
            n++;
            continue;
        }
        n += diff_bytes(a, b, s, false, first);
        n += diff_bytes(a, b, s, true, first);
    }
    return n;
}

int dsv4_verb_diff(int argc, char **argv) {
    struct dsv4_err err = {0};
    struct dsv4_vector a = {0}, b = {0};
    int64_t first = 5;
    const struct dsv4_option options[] = {
        {"--first", DSV4_OPTION_NUMBER, &first, "N", "differences shown per tensor (5)"},
    };
    struct dsv4_command command = {.usage = "diff A B [OPTIONS]",
                                   .options = options,
                                   .n_options = 1,
                                   .min_positional = 2,
                                   .max_positional = 2};
    int status = dsv4_command_start(&command, argc, argv);
    if (status >= 0) return status;
    if (dsv4_vector_read(&a, command.positional.at[0], &err) != 0 ||
        dsv4_vector_read(&b, command.positional.at[1], &err) != 0) {
        status = dsv4_err_print(&err);
    } else {
        const size_t n = diff_case(&a, &b) + diff_tensors(&a, &b, first);
        if (n == 0) printf("same\n");
        status = n == 0 ? DSV4_EXIT_PASS : DSV4_EXIT_DIFFERENT;
    }
    dsv4_vector_free(&a);
    dsv4_vector_free(&b);
    return status;
}
