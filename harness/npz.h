/* SPDX-License-Identifier: Apache-2.0 */
/* .npz files: a zip of .npy arrays (format version 1.0) and plain texts. */
#ifndef DSV4_NPZ_H
#define DSV4_NPZ_H

#include "../reference/op.h"

/* What a .npy header says. */
struct dsv4_npy {
    const char *descr; /* numpy's: "<f4", "|u1", ... */
    int ndim;
    int64_t shape[DSV4_MAX_DIMS];
};

const char *dsv4_npy_descr(uint32_t dtype); /* narrow types: the unsigned integer of their size */
int64_t dsv4_npy_bytes(const struct dsv4_npy *npy);

struct dsv4_npz_writer;
struct dsv4_npz_writer *dsv4_npz_start(void);
void dsv4_npz_add_array(struct dsv4_npz_writer *w, const char *name, const struct dsv4_npy *npy,
                        const void *data);
void dsv4_npz_add_bytes(struct dsv4_npz_writer *w, const char *name, const void *bytes,
                        size_t size);
/* A text at the very end of the file. */
void dsv4_npz_comment(struct dsv4_npz_writer *w, const char *text);
/* Ends the writer in either outcome. dsv4_free(*bytes). */
int dsv4_npz_finish(struct dsv4_npz_writer *w, unsigned char **bytes, size_t *size,
                    struct dsv4_err *err);

struct dsv4_npz;
/* Opens an image that must outlive the result; NULL with err when it is no zip. The image is not
 * trusted. */
struct dsv4_npz *dsv4_npz_open(const unsigned char *bytes, size_t size, struct dsv4_err *err);
void dsv4_npz_close(struct dsv4_npz *z);
bool dsv4_npz_has(const struct dsv4_npz *z, const char *name);
/* Reads `name` into `data` of dsv4_npy_bytes(npy); its entry must have exactly this header and
 * size. */
int dsv4_npz_array(struct dsv4_npz *z, const char *name, const struct dsv4_npy *npy, void *data,
                   struct dsv4_err *err);
/* Reads a text of at most `limit` bytes; a zero byte follows. dsv4_free(*text). */
int dsv4_npz_text(struct dsv4_npz *z, const char *name, size_t limit, char **text, size_t *size,
                  struct dsv4_err *err);
/* -1 when an entry was not read: nothing in a file goes unlooked at. */
int dsv4_npz_all_read(const struct dsv4_npz *z, struct dsv4_err *err);

#endif
