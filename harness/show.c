/* SPDX-License-Identifier: Apache-2.0 */
/* show: a vector as a whole, or one element or byte of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "options.h"
#include "peek.h"
#include "verbs.h"

static const char *const role_names[] = {"in", "out", "inout"};
static const char *const compare_names[] = {"bits", "bound", "set"};

static int64_t count_kept(const unsigned char *keep, int64_t n) {
    int64_t kept = 0;
    for (int64_t i = 0; keep != NULL && i < n; i++) kept += keep[i] != 0;
    return kept;
}

static void show_tensor(const struct dsv4_vector *v, size_t slot) {
    const struct dsv4_case_tensor *tensor = &v->c.tensors[slot];
    const dsv4_tensor *t = &tensor->t;
    const char *name = v->c.op->slots[slot].name;
    if (t->ndim == 0) {
        printf("  %-16s absent\n", name);
        return;
    }
    printf("  %-16s %-6s %s [", name, role_names[tensor->role], dsv4_dtype_name(t->dtype));
    for (int d = 0; d < t->ndim; d++) printf("%s%lld", d > 0 ? ", " : "", (long long)t->shape[d]);
    printf("] strides [");
    for (int d = 0; d < t->ndim; d++) printf("%s%lld", d > 0 ? ", " : "", (long long)t->stride[d]);
    const int64_t bytes = dsv4_packed_bytes(tensor);
    printf("] %s, %lld bytes", t->layout, (long long)bytes);
    if (tensor->role != DSV4_IN) printf(", compared as %s", compare_names[tensor->compare]);
    if (tensor->rows != NULL)
        printf(", %lld of %lld rows live", (long long)tensor->n_rows, (long long)t->shape[0]);
    if (v->tensors[slot].keep != NULL)
        printf(", %lld bytes never written", (long long)count_kept(v->tensors[slot].keep, bytes));
    printf("\n");
}

static void show_vector(const struct dsv4_vector *v) {
    char text[DSV4_WORD_SIZE], prompt[65], answer[65];
    dsv4_vector_hash(v, prompt, answer);
    printf("%s/%s\n  tier             %s\n  tags            ", v->c.op->name, v->c.name,
           dsv4_tier_names[v->tier]);
    for (size_t i = 0; i < v->n_tags; i++) printf(" %s", v->tags[i]);
    printf("\n  seed             %llu\n  prompt           %s\n  answer           %s\n",
           (unsigned long long)v->c.seed, prompt, answer);
    if (v->c.refused) printf("  The contract refuses these parameters: there is no answer.\n");
    printf("parameters\n");
    for (size_t p = 0; p < v->c.op->n_params; p++) {
        dsv4_case_text(&v->c, p, text, sizeof text);
        printf("  %-16s %s%s\n", v->c.op->params[p].name, text,
               v->c.op->params[p].use == DSV4_USE_DIALECT ? "   (dialect)" : "");
    }
    printf("tensors\n");
    for (size_t s = 0; s < v->c.op->n_slots; s++) show_tensor(v, s);
}

/* "[1,2]" to a storage offset. */
static int read_index(const struct dsv4_case_tensor *tensor, const char *name, const char *text,
                      int64_t *offset, struct dsv4_err *err) {
    const dsv4_tensor *t = &tensor->t;
    const char *at = text;
    *offset = 0;
    for (int d = 0; d < t->ndim; d++) {
        char *end = NULL;
        errno = 0;
        const long long i = strtoll(at + 1, &end, 10);
        if (end == at + 1 || errno != 0 || *end != (d + 1 < t->ndim ? ',' : ']'))
            return dsv4_fail(err, "'%.60s' is not %d indices as in %s[0%s]", text, t->ndim, name,
                             t->ndim > 1 ? ",0..." : "");
        if (i < 0 || i >= t->shape[d])
            return dsv4_fail(err, "%s: index %lld of dimension %d is not in 0 .. %lld", name, i, d,
                             (long long)t->shape[d] - 1);
        *offset += i * t->stride[d];
        at = end;
    }
    return at[1] == '\0' ? 0 : dsv4_fail(err, "'%.60s' goes on after the indices", text);
}

static int read_place(const struct dsv4_vector *v, const char *place, size_t *slot, int64_t *offset,
                      struct dsv4_err *err) {
    const size_t length = strcspn(place, "[@");
    const struct dsv4_op *op = v->c.op;
    *slot = 0;
    while (*slot < op->n_slots && (strlen(op->slots[*slot].name) != length ||
                                   strncmp(op->slots[*slot].name, place, length) != 0))
        ++*slot;
    if (*slot == op->n_slots)
        return dsv4_fail(err, "%s has no tensor '%.*s'", op->name, (int)(length < 60 ? length : 60),
                         place);
    const struct dsv4_case_tensor *tensor = &v->c.tensors[*slot];
    if (tensor->t.ndim == 0)
        return dsv4_fail(err, "the tensor %s is absent in this case", op->slots[*slot].name);
    if (place[length] == '[') {
        if (read_index(tensor, op->slots[*slot].name, place + length, offset, err) != 0) return -1;
    } else {
        char *end = NULL;
        errno = 0;
        *offset = place[length] == '@' ? strtoll(place + length + 1, &end, 0) : -1;
        if (place[length] != '@' || end == place + length + 1 || *end != '\0' || errno != 0)
            return dsv4_fail(err, "'%.60s' is not TENSOR[i,j,...] or TENSOR@byte", place);
        if (*offset < 0 || *offset >= tensor->span)
            return dsv4_fail(err, "%s: byte %lld is not in 0 .. %lld", op->slots[*slot].name,
                             (long long)*offset, (long long)tensor->span - 1);
    }
    if (dsv4_packed_offset(tensor, *offset) < 0)
        return dsv4_fail(err, "%s: byte %lld lies in a gap or in a row that is not live",
                         op->slots[*slot].name, (long long)*offset);
    return 0;
}

static int show_place(const struct dsv4_vector *v, const char *place, struct dsv4_err *err) {
    size_t slot;
    int64_t offset = 0;
    struct dsv4_site site;
    char before[200], after[200];
    if (read_place(v, place, &slot, &offset, err) != 0) return -1;
    const enum dsv4_role role = v->c.tensors[slot].role;
    dsv4_peek_site(v, slot, offset, &site);
    dsv4_peek_value(v, slot, false, &site, before, sizeof before);
    dsv4_peek_value(v, slot, true, &site, after, sizeof after);
    printf("%s byte %lld: %s = ", v->c.op->slots[slot].name, (long long)offset, site.where);
    if (role == DSV4_IN || v->c.refused)
        printf("%s\n", role == DSV4_OUT ? "no answer" : before);
    else if (role == DSV4_OUT)
        printf("%s\n", after);
    else
        printf("%s before, %s after\n", before, after);
    return 0;
}

int dsv4_verb_show(int argc, char **argv) {
    struct dsv4_err err = {0};
    struct dsv4_vector v;
    struct dsv4_command command = {.usage = "show VECTOR [TENSOR[i,j,...] | TENSOR@byte]...",
                                   .min_positional = 1,
                                   .max_positional = DSV4_MAX_TEXTS};
    int status = dsv4_command_start(&command, argc, argv);
    if (status >= 0) return status;
    status = dsv4_vector_read(&v, command.positional.at[0], &err);
    if (status == 0 && command.positional.n == 1) show_vector(&v);
    for (size_t i = 1; status == 0 && i < command.positional.n; i++)
        status = show_place(&v, command.positional.at[i], &err);
    dsv4_vector_free(&v);
    return status == 0 ? DSV4_EXIT_PASS : dsv4_err_print(&err);
}
