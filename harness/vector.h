/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden vectors: a shaped case with the packed bytes of its inputs and of the answers.
 *
 * On disk an .npz: `in.<tensor>.npy`, `out.<tensor>.npy`, `keep.<tensor>.npy` (bits, 1 = the op
 * never writes this byte; left out when every byte is written; such bytes are zero in `out.`), and
 * `meta.json`. Narrow types are stored as uint8 / uint16. A row-sparse tensor is stored as its live
 * rows, and `rows.<tensor>.npy` lists them.
 */
#ifndef DSV4_VECTOR_H
#define DSV4_VECTOR_H

#include "../reference/golden.h" /* struct dsv4_vector_tensor */
#include "memo.h"
#include "suite.h"

#define DSV4_VECTOR_VERSION 1

struct dsv4_vector {
    struct dsv4_case c; /* shaped and placed, not bound */
    struct dsv4_vector_tensor tensors[DSV4_MAX_TENSORS];
    enum dsv4_tier tier;
    char **tags; /* tag names */
    size_t n_tags;
    struct dsv4_memo *memo; /* opened by who will judge it more than once; NULL: nothing is kept */
};

/* Runs recipe and reference. The reference runs twice over different poison: bytes that differ are
 * untouched ones. A refused case (c.refused) has inputs and no answers; the reference must return
 * DSV4_REFUSED for it. */
int dsv4_vector_make(struct dsv4_vector *v, const struct dsv4_suite_case *s, struct dsv4_err *err);

/* The file is not trusted: arrays must have exactly the dtypes, shapes and rows that the case's
 * parameters imply. */
int dsv4_vector_read(struct dsv4_vector *v, const char *path, struct dsv4_err *err);
/* From bytes in memory; `name` stands in errors for the file. */
int dsv4_vector_parse(struct dsv4_vector *v, const unsigned char *bytes, size_t size,
                      const char *name, struct dsv4_err *err);
int dsv4_vector_write(const struct dsv4_vector *v, const char *path,
                      struct dsv4_err *err); /* temporary + rename */
void dsv4_vector_free(struct dsv4_vector *v);

/* The bytes of the .npz; dsv4_free(*bytes). The same vector always gives the same bytes. */
int dsv4_vector_image(const struct dsv4_vector *v, unsigned char **bytes, size_t *size,
                      struct dsv4_err *err);

/* Hex SHA-256 over the uncompressed tensors (name, dtype, shape, strides, rows, bytes), prompts and
 * answers apart. The answer of a refused case is the word "refused". */
void dsv4_vector_hash(const struct dsv4_vector *v, char prompt[65], char answer[65]);

#endif
