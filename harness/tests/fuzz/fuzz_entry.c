/* SPDX-License-Identifier: Apache-2.0 */
/* The vector reader behind zip's CRCs, which a mutation of the file hardly ever passes: the first
 * byte of the input chooses an entry of a good vector, the rest replaces that entry; the archive
 * around it is whole. */
#include "fuzz.h"

#include <stdio.h>

#include "../../../reference/memory.h"
#include "../../meta.h"
#include "../../vector_parts.h"

static struct dsv4_vector good;
static struct dsv4_part parts[DSV4_MAX_PARTS];
static size_t n_parts;
static char *good_meta;

/* The op whose default case is smallest, for speed. */
static void prepare(void) {
    int64_t best = INT64_MAX;
    const struct dsv4_op *op = NULL;
    struct dsv4_err err = {0};
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        struct dsv4_case c;
        int64_t bytes = 0;
        dsv4_case_init(&c, dsv4_ops[i], "plain");
        if (dsv4_case_shape(&c, &err) != 0) abort();
        for (size_t s = 0; s < c.op->n_slots; s++) bytes += dsv4_packed_bytes(&c.tensors[s]);
        if (bytes < best) {
            best = bytes;
            op = c.op;
        }
        dsv4_case_free(&c);
    }
    const struct dsv4_suite_case s = {.op = op, .name = "plain"};
    if (dsv4_vector_make(&good, &s, &err) != 0) abort();
    n_parts = dsv4_vector_parts(&good.c, parts);
    good_meta = dsv4_meta_text(&good);
}

static void add_good(struct dsv4_npz_writer *w, const struct dsv4_part *p) {
    const struct dsv4_vector_tensor *t = &good.tensors[p->slot];
    switch (p->side) {
    case DSV4_PART_ROWS:
        dsv4_npz_add_array(w, p->name, &p->npy, good.c.tensors[p->slot].rows);
        break;
    case DSV4_PART_IN: dsv4_npz_add_array(w, p->name, &p->npy, t->in); break;
    case DSV4_PART_OUT: dsv4_npz_add_array(w, p->name, &p->npy, t->out); break;
    case DSV4_PART_KEEP: break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dsv4_vector v;
    struct dsv4_err err = {0};
    unsigned char *image;
    size_t n;
    if (n_parts == 0) prepare();
    if (size == 0) return 0;
    const size_t chosen = data[0] % (n_parts + 2);
    struct dsv4_npz_writer *w = dsv4_npz_start();
    if (chosen == n_parts)
        dsv4_npz_add_bytes(w, "meta.json", data + 1, size - 1);
    else
        dsv4_npz_add_bytes(w, "meta.json", good_meta, strlen(good_meta));
    for (size_t i = 0; i < n_parts; i++)
        if (i == chosen)
            dsv4_npz_add_bytes(w, parts[i].name, data + 1, size - 1);
        else
            add_good(w, &parts[i]);
    if (chosen == n_parts + 1) { /* a name from the input */
        char name[40];
        snprintf(name, sizeof name, "%.*s", (int)(size - 1), (const char *)data + 1);
        dsv4_npz_add_bytes(w, name, "", 0);
    }
    if (dsv4_npz_finish(w, &image, &n, &err) == 0) {
        memset(&err, 0, sizeof err);
        fuzz_check(dsv4_vector_parse(&v, image, n, "fuzz.npz", &err), &err);
        dsv4_vector_free(&v);
    }
    dsv4_free(image);
    return 0;
}
