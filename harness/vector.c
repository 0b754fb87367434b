/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors: made from recipe and reference, written, hashed. */
#include "vector.h"

#include <stdio.h>

#include "../reference/memory.h"
#include "file.h"
#include "hash.h"
#include "meta.h"
#include "npz.h"
#include "options.h"
#include "vector_parts.h"

int dsv4_vector_make(struct dsv4_vector *v, const struct dsv4_suite_case *s, struct dsv4_err *err) {
    memset(v, 0, sizeof *v);
    v->tier = s->tier;
    v->tags = dsv4_alloc(s->n_tags * sizeof *v->tags);
    for (; v->n_tags < s->n_tags; v->n_tags++)
        v->tags[v->n_tags] = dsv4_copy_text(s->tags[v->n_tags]->name);
    if (dsv4_suite_case_make(s, &v->c, err) == 0 && dsv4_golden_make(v->tensors, &v->c, err) == 0)
        return 0;
    return s->file != NULL ? dsv4_err_at(err, s->file, s->line) : -1;
}

void dsv4_vector_free(struct dsv4_vector *v) {
    dsv4_golden_free(v->tensors);
    if (v->c.op != NULL) dsv4_case_free(&v->c);
    for (size_t i = 0; i < v->n_tags; i++) dsv4_free(v->tags[i]);
    dsv4_free(v->tags);
    dsv4_memo_close(v->memo);
    memset(v, 0, sizeof *v);
}

void dsv4_vector_hash(const struct dsv4_vector *v, char prompt[65], char answer[65]) {
    struct dsv4_hash *hash = dsv4_hash_start();
    dsv4_golden_prompt(&v->c, v->tensors, dsv4_hash_add, hash);
    dsv4_hash_finish(hash, prompt);
    if (v->c.refused) {
        snprintf(answer, 65, "refused");
        return;
    }
    hash = dsv4_hash_start();
    dsv4_golden_answer(&v->c, v->tensors, dsv4_hash_add, hash);
    dsv4_hash_finish(hash, answer);
}

size_t dsv4_vector_parts(const struct dsv4_case *c, struct dsv4_part parts[DSV4_MAX_PARTS]) {
    size_t n = 0;
    for (size_t s = 0; s < c->op->n_slots; s++) {
        const struct dsv4_case_tensor *t = &c->tensors[s];
        if (t->t.ndim == 0) continue;
        struct dsv4_npy array = {.descr = dsv4_npy_descr(t->t.dtype), .ndim = t->t.ndim};
        for (int d = 0; d < t->t.ndim; d++) array.shape[d] = d == 0 ? t->n_rows : t->t.shape[d];
        const struct dsv4_npy rows = {.descr = "<i8", .ndim = 1, .shape = {t->n_rows}};
        const struct dsv4_npy bits = {
            .descr = "|u1", .ndim = 1, .shape = {(dsv4_packed_bytes(t) + 7) / 8}};
        const bool answered = t->role != DSV4_IN && !c->refused;
        if (t->rows != NULL) parts[n++] = (struct dsv4_part){DSV4_PART_ROWS, s, rows, ""};
        if (t->role != DSV4_OUT) parts[n++] = (struct dsv4_part){DSV4_PART_IN, s, array, ""};
        if (answered) parts[n++] = (struct dsv4_part){DSV4_PART_OUT, s, array, ""};
        if (answered && t->role == DSV4_OUT)
            parts[n++] = (struct dsv4_part){DSV4_PART_KEEP, s, bits, ""};
    }
    static const char *const sides[] = {"rows", "in", "out", "keep"};
    for (size_t i = 0; i < n; i++)
        snprintf(parts[i].name, sizeof parts[i].name, "%s.%s.npy", sides[parts[i].side],
                 c->op->slots[parts[i].slot].name);
    return n;
}

/* Bits, first byte in the highest, as numpy.packbits does. */
static unsigned char *pack_bits(const unsigned char *flags, int64_t n) {
    unsigned char *bits = dsv4_alloc((size_t)(n + 7) / 8);
    for (int64_t i = 0; i < n; i++)
        if (flags[i] != 0) bits[i / 8] = (unsigned char)(bits[i / 8] | 0x80 >> i % 8);
    return bits;
}

static int check_size(const struct dsv4_part *parts, size_t n, struct dsv4_err *err) {
    int64_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += dsv4_npy_bytes(&parts[i].npy);
    if (bytes <= DSV4_VECTOR_LIMIT) return 0;
    return dsv4_fail(err, "the case has %lld bytes; a vector file holds at most %lld",
                     (long long)bytes, (long long)DSV4_VECTOR_LIMIT);
}

int dsv4_vector_image(const struct dsv4_vector *v, unsigned char **bytes, size_t *size,
                      struct dsv4_err *err) {
    struct dsv4_part parts[DSV4_MAX_PARTS];
    const size_t n = dsv4_vector_parts(&v->c, parts);
    if (check_size(parts, n, err) != 0) return -1;
    struct dsv4_npz_writer *w = dsv4_npz_start();
    char *meta = dsv4_meta_text(v);
    dsv4_npz_add_bytes(w, "meta.json", meta, strlen(meta));
    dsv4_free(meta);
    for (size_t i = 0; i < n; i++) {
        const struct dsv4_part *p = &parts[i];
        const struct dsv4_vector_tensor *t = &v->tensors[p->slot];
        const struct dsv4_case_tensor *shape = &v->c.tensors[p->slot];
        if (p->side == DSV4_PART_KEEP) {
            if (t->keep == NULL) continue;
            unsigned char *bits = pack_bits(t->keep, dsv4_packed_bytes(shape));
            dsv4_npz_add_array(w, p->name, &p->npy, bits);
            dsv4_free(bits);
        } else {
            dsv4_npz_add_array(w, p->name, &p->npy,
                               p->side == DSV4_PART_ROWS ? (const void *)shape->rows
                               : p->side == DSV4_PART_IN ? t->in
                                                         : t->out);
        }
    }
    return dsv4_npz_finish(w, bytes, size, err);
}

int dsv4_vector_write(const struct dsv4_vector *v, const char *path, struct dsv4_err *err) {
    unsigned char *bytes;
    size_t size;
    if (dsv4_vector_image(v, &bytes, &size, err) != 0) return dsv4_err_at(err, path, 0);
    const int status = dsv4_file_write(path, bytes, size, err);
    dsv4_free(bytes);
    return status;
}

/* ---- reading ---- */

static int check_rows(const struct dsv4_case_tensor *t, const char *name, const int64_t *rows,
                      struct dsv4_err *err) {
    for (int64_t i = 0; i < t->n_rows; i++)
        if (rows[i] != t->rows[i])
            return dsv4_fail(err, "%s[%lld] is row %lld; the case's live row there is %lld", name,
                             (long long)i, (long long)rows[i], (long long)t->rows[i]);
    return 0;
}

/* Unpacks the bits; they must be of use: at least one set, none past the end, zeros golden under
 * them. */
static int take_keep(struct dsv4_vector_tensor *t, int64_t n, const char *name,
                     const unsigned char *bits, struct dsv4_err *err) {
    int64_t kept = 0;
    t->keep = dsv4_alloc((size_t)n);
    for (int64_t i = 0; i < (n + 7) / 8 * 8; i++) {
        const bool set = (bits[i / 8] & 0x80 >> i % 8) != 0;
        if (set && i >= n) return dsv4_fail(err, "%s has bits past the tensor's last byte", name);
        if (set && t->out[i] != 0)
            return dsv4_fail(err,
                             "%s marks byte %lld as never written, but its golden value is 0x%02x",
                             name, (long long)i, t->out[i]);
        if (i < n) t->keep[i] = set;
        kept += set;
    }
    return kept > 0 ? 0 : dsv4_fail(err, "%s marks no byte; such an array is left out", name);
}

static int read_part(struct dsv4_vector *v, struct dsv4_npz *z, const struct dsv4_part *p,
                     struct dsv4_err *err) {
    struct dsv4_vector_tensor *t = &v->tensors[p->slot];
    const struct dsv4_case_tensor *shape = &v->c.tensors[p->slot];
    if (p->side == DSV4_PART_KEEP && !dsv4_npz_has(z, p->name)) return 0;
    void *data = dsv4_alloc((size_t)dsv4_npy_bytes(&p->npy));
    int status = dsv4_npz_array(z, p->name, &p->npy, data, err);
    if (status == 0 && p->side == DSV4_PART_IN) {
        t->in = data;
        return 0;
    }
    if (status == 0 && p->side == DSV4_PART_OUT) {
        t->out = data;
        return 0;
    }
    if (status == 0 && p->side == DSV4_PART_ROWS)
        status = check_rows(shape, p->name, data, err);
    else if (status == 0)
        status = take_keep(t, dsv4_packed_bytes(shape), p->name, data, err);
    dsv4_free(data);
    return status;
}

static int parse(struct dsv4_vector *v, struct dsv4_npz *z, struct dsv4_err *err) {
    enum { META_LIMIT = 1 << 20 };
    struct dsv4_part parts[DSV4_MAX_PARTS];
    char *meta;
    size_t size;
    if (dsv4_npz_text(z, "meta.json", META_LIMIT, &meta, &size, err) != 0) return -1;
    const int status = dsv4_meta_parse(v, meta, size, err);
    dsv4_free(meta);
    if (status != 0) return -1;
    const size_t n = dsv4_vector_parts(&v->c, parts);
    if (check_size(parts, n, err) != 0) return -1;
    for (size_t i = 0; i < n; i++)
        if (read_part(v, z, &parts[i], err) != 0) return -1;
    return dsv4_npz_all_read(z, err);
}

int dsv4_vector_parse(struct dsv4_vector *v, const unsigned char *bytes, size_t size,
                      const char *name, struct dsv4_err *err) {
    memset(v, 0, sizeof *v);
    struct dsv4_npz *z = dsv4_npz_open(bytes, size, err);
    const int status = z != NULL ? parse(v, z, err) : -1;
    dsv4_npz_close(z);
    return status == 0 ? 0 : dsv4_err_at(err, name, 0);
}

int dsv4_vector_read(struct dsv4_vector *v, const char *path, struct dsv4_err *err) {
    unsigned char *bytes;
    size_t size;
    memset(v, 0, sizeof *v);
    if (dsv4_file_read(&bytes, &size, path, DSV4_VECTOR_LIMIT, err) != 0) return -1;
    const int status = dsv4_vector_parse(v, bytes, size, path, err);
    dsv4_free(bytes);
    return status;
}
