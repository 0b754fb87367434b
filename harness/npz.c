/* SPDX-License-Identifier: Apache-2.0 */
#include "npz.h"

#include <stdio.h>
#include <zip.h>

#include "../reference/memory.h"

enum {
    MAX_ENTRIES = 4 * DSV4_MAX_TENSORS + 1,
    HEADER_SIZE = 512,
    HEADER_ALIGN = 64,
    MAGIC_BYTES = 10
};

/* The zip epoch, 1980-01-01 00:00: files must not depend on when they were written. */
enum { DOS_DATE = 1 << 5 | 1, DOS_TIME = 0 };

/* Deflate cannot do better than 1032:1, so an entry that claims more lies. */
enum { DEFLATE_LIMIT = 1040 };

const char *dsv4_npy_descr(uint32_t dtype) {
    switch (dtype) {
    case DSV4_I32: return "<i4";
    case DSV4_I64: return "<i8";
    case DSV4_F32: return "<f4";
    case DSV4_BF16: return "<u2";
    default: return "|u1";
    }
}

int64_t dsv4_npy_bytes(const struct dsv4_npy *npy) {
    int64_t bytes = npy->descr[2] - '0';
    for (int d = 0; d < npy->ndim; d++) bytes *= npy->shape[d];
    return bytes;
}

/* Writes the whole header, magic included, exactly as numpy does; returns its size. */
static size_t npy_header(char header[HEADER_SIZE], const struct dsv4_npy *npy) {
    char *const text = header + MAGIC_BYTES;
    const size_t room = HEADER_SIZE - MAGIC_BYTES;
    size_t n = (size_t)snprintf(text, room, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                                npy->descr);
    for (int d = 0; d < npy->ndim; d++)
        n += (size_t)snprintf(text + n, room - n, "%s%lld%s", d > 0 ? " " : "",
                              (long long)npy->shape[d],
                              d + 1 < npy->ndim || npy->ndim == 1 ? "," : "");
    n += (size_t)snprintf(text + n, room - n, "), }");
    while ((MAGIC_BYTES + n + 1) % HEADER_ALIGN != 0) text[n++] = ' ';
    text[n++] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(n & 0xFF);
    header[9] = (char)(n >> 8);
    return MAGIC_BYTES + n;
}

/* ---- writing ---- */

struct dsv4_npz_writer {
    zip_t *zip;
    zip_source_t *image;
    void *blocks[MAX_ENTRIES]; /* libzip reads the entries only when the archive is closed */
    size_t n;
    bool failed;
    char why[200];
};

static void writer_fail(struct dsv4_npz_writer *w, const char *why) {
    if (!w->failed) snprintf(w->why, sizeof w->why, "%s", why);
    w->failed = true;
}

struct dsv4_npz_writer *dsv4_npz_start(void) {
    struct dsv4_npz_writer *w = dsv4_alloc(sizeof *w);
    zip_error_t error;
    zip_error_init(&error);
    w->image = zip_source_buffer_create(NULL, 0, 0, &error);
    if (w->image != NULL) {
        zip_source_keep(w->image);
        w->zip = zip_open_from_source(w->image, ZIP_TRUNCATE, &error);
        if (w->zip == NULL) zip_source_free(w->image);
    }
    if (w->zip == NULL) writer_fail(w, zip_error_strerror(&error));
    zip_error_fini(&error);
    return w;
}

/* Takes over `block`. */
static void add(struct dsv4_npz_writer *w, const char *name, void *block, size_t size) {
    if (w->failed || w->n == MAX_ENTRIES) {
        dsv4_free(block);
        if (!w->failed) writer_fail(w, "too many entries");
        return;
    }
    w->blocks[w->n++] = block;
    zip_source_t *source = zip_source_buffer(w->zip, block, size, 0);
    const zip_int64_t index =
        source != NULL ? zip_file_add(w->zip, name, source, ZIP_FL_ENC_GUESS) : -1;
    if (source != NULL && index < 0) zip_source_free(source);
    if (index < 0 ||
        zip_set_file_compression(w->zip, (zip_uint64_t)index, ZIP_CM_DEFLATE, 9) != 0 ||
        zip_file_set_dostime(w->zip, (zip_uint64_t)index, DOS_TIME, DOS_DATE, 0) != 0)
        writer_fail(w, zip_strerror(w->zip));
}

void dsv4_npz_add_array(struct dsv4_npz_writer *w, const char *name, const struct dsv4_npy *npy,
                        const void *data) {
    char header[HEADER_SIZE];
    const size_t head = npy_header(header, npy), bytes = (size_t)dsv4_npy_bytes(npy);
    unsigned char *block = dsv4_alloc(head + bytes);
    memcpy(block, header, head);
    if (bytes > 0) memcpy(block + head, data, bytes);
    add(w, name, block, head + bytes);
}

void dsv4_npz_add_bytes(struct dsv4_npz_writer *w, const char *name, const void *bytes,
                        size_t size) {
    void *block = dsv4_alloc(size);
    if (size > 0) memcpy(block, bytes, size);
    add(w, name, block, size);
}

void dsv4_npz_comment(struct dsv4_npz_writer *w, const char *text) {
    if (!w->failed && zip_set_archive_comment(w->zip, text, (zip_uint16_t)strlen(text)) != 0)
        writer_fail(w, zip_strerror(w->zip));
}

static int take_image(struct dsv4_npz_writer *w, unsigned char **bytes, size_t *size) {
    zip_stat_t info;
    if (zip_source_stat(w->image, &info) != 0 || zip_source_open(w->image) != 0) return -1;
    *size = (size_t)info.size;
    *bytes = dsv4_alloc(*size);
    const zip_int64_t got = zip_source_read(w->image, *bytes, *size);
    zip_source_close(w->image);
    return got == (zip_int64_t)*size ? 0 : -1;
}

int dsv4_npz_finish(struct dsv4_npz_writer *w, unsigned char **bytes, size_t *size,
                    struct dsv4_err *err) {
    *bytes = NULL;
    *size = 0;
    if (!w->failed && zip_close(w->zip) == 0)
        w->zip = NULL;
    else if (!w->failed)
        writer_fail(w, zip_strerror(w->zip));
    if (w->zip != NULL) zip_discard(w->zip);
    if (!w->failed && take_image(w, bytes, size) != 0)
        writer_fail(w, "the image cannot be read back");
    if (w->image != NULL) zip_source_free(w->image);
    for (size_t i = 0; i < w->n; i++) dsv4_free(w->blocks[i]);
    const int status = w->failed ? dsv4_fail(err, "the .npz cannot be made: %s", w->why) : 0;
    if (status != 0) {
        dsv4_free(*bytes);
        *bytes = NULL;
    }
    dsv4_free(w);
    return status;
}

/* ---- reading ---- */

struct dsv4_npz {
    zip_t *zip;
    zip_uint64_t n;
    bool read[MAX_ENTRIES];
};

struct dsv4_npz *dsv4_npz_open(const unsigned char *bytes, size_t size, struct dsv4_err *err) {
    struct dsv4_npz *z = dsv4_alloc(sizeof *z);
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(bytes, size, 0, &error);
    if (source != NULL) z->zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (z->zip == NULL) {
        dsv4_fail(err, "not a vector: %s", zip_error_strerror(&error));
        if (source != NULL) zip_source_free(source);
    } else {
        const zip_int64_t n = zip_get_num_entries(z->zip, 0);
        z->n = (zip_uint64_t)n;
        if (n <= MAX_ENTRIES) {
            zip_error_fini(&error);
            return z;
        }
        dsv4_fail(err, "not a vector: %lld entries; at most %d belong into one", (long long)n,
                  MAX_ENTRIES);
    }
    zip_error_fini(&error);
    dsv4_npz_close(z);
    return NULL;
}

void dsv4_npz_close(struct dsv4_npz *z) {
    if (z == NULL) return;
    if (z->zip != NULL) zip_discard(z->zip);
    dsv4_free(z);
}

bool dsv4_npz_has(const struct dsv4_npz *z, const char *name) {
    return zip_name_locate(z->zip, name, ZIP_FL_ENC_RAW) >= 0;
}

/* Finds an entry and checks what its directory record says before anything is inflated. */
static int find(struct dsv4_npz *z, const char *name, zip_stat_t *info, struct dsv4_err *err) {
    const zip_uint64_t wanted = ZIP_STAT_INDEX | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    const zip_int64_t index = zip_name_locate(z->zip, name, ZIP_FL_ENC_RAW);
    if (index < 0) return dsv4_fail(err, "%s is missing", name);
    if (zip_stat_index(z->zip, (zip_uint64_t)index, 0, info) != 0 ||
        (info->valid & wanted) != wanted)
        return dsv4_fail(err, "%s: its zip record is unreadable", name);
    if (info->encryption_method != ZIP_EM_NONE ||
        (info->comp_method != ZIP_CM_STORE && info->comp_method != ZIP_CM_DEFLATE))
        return dsv4_fail(err, "%s is encrypted or not deflated", name);
    if (info->size / DEFLATE_LIMIT > info->comp_size)
        return dsv4_fail(err, "%s: %llu bytes cannot come out of %llu", name,
                         (unsigned long long)info->size, (unsigned long long)info->comp_size);
    return 0;
}

/* Inflates an entry; libzip checks its CRC when the end is reached, which one byte of room past the
 * size makes sure. */
static unsigned char *inflate_entry(struct dsv4_npz *z, const char *name, const zip_stat_t *info,
                                    struct dsv4_err *err) {
    const size_t size = (size_t)info->size;
    zip_file_t *file = zip_fopen_index(z->zip, info->index, 0);
    if (file == NULL) {
        dsv4_fail(err, "%s: %s", name, zip_strerror(z->zip));
        return NULL;
    }
    unsigned char *bytes = dsv4_alloc(size + 1), past[1];
    size_t done = 0;
    zip_int64_t got = 0;
    while (done < size && (got = zip_fread(file, bytes + done, size - done)) > 0)
        done += (size_t)got;
    if (got >= 0 && done == size) got = zip_fread(file, past, 1);
    if (got == 0 && done == size) {
        zip_fclose(file);
        z->read[info->index] = true;
        return bytes;
    }
    dsv4_fail(err, "%s: %s", name,
              got < 0 ? zip_error_strerror(zip_file_get_error(file))
                      : "its size is not what its zip record says");
    zip_fclose(file);
    dsv4_free(bytes);
    return NULL;
}

/* The dictionary of a header as text, for messages. */
static void header_text(char *text, size_t size, const unsigned char *header, size_t n) {
    size_t from = MAGIC_BYTES < n ? MAGIC_BYTES : n, length = n - from;
    while (length > 0 && (header[from + length - 1] == '\n' || header[from + length - 1] == ' '))
        length--;
    snprintf(text, size, "%.*s", (int)(length < size ? length : size - 1),
             (const char *)header + from);
}

static int check_header(const char *name, const unsigned char *bytes, size_t size,
                        const char *wanted, size_t head, struct dsv4_err *err) {
    char found_text[120], wanted_text[120];
    if (size >= head && memcmp(bytes, wanted, head) == 0) return 0;
    if (size < MAGIC_BYTES || memcmp(bytes, wanted, 8) != 0)
        return dsv4_fail(err, "%s is not a .npy array of version 1.0", name);
    const size_t found = MAGIC_BYTES + (size_t)(bytes[8] | bytes[9] << 8);
    header_text(found_text, sizeof found_text, bytes, found < size ? found : size);
    header_text(wanted_text, sizeof wanted_text, (const unsigned char *)wanted, head);
    return dsv4_fail(err, "%s has the header %s; the case implies %s", name, found_text,
                     wanted_text);
}

int dsv4_npz_array(struct dsv4_npz *z, const char *name, const struct dsv4_npy *npy, void *data,
                   struct dsv4_err *err) {
    enum { PEEK = 1 << 16 };
    char header[HEADER_SIZE];
    zip_stat_t info;
    const size_t head = npy_header(header, npy), size = (size_t)dsv4_npy_bytes(npy);
    if (find(z, name, &info, err) != 0) return -1;
    const bool fits = info.size == head + size;
    if (!fits && info.size > PEEK) /* not worth inflating to say more */
        return dsv4_fail(err, "%s has %llu bytes; the case implies %zu", name,
                         (unsigned long long)info.size, head + size);
    unsigned char *bytes = inflate_entry(z, name, &info, err);
    if (bytes == NULL) return -1;
    int status = check_header(name, bytes, (size_t)info.size, header, head, err);
    if (status == 0 && !fits)
        status = dsv4_fail(err, "%s has %llu bytes; the case implies %zu", name,
                           (unsigned long long)info.size, head + size);
    if (status == 0 && size > 0) memcpy(data, bytes + head, size);
    dsv4_free(bytes);
    return status;
}

int dsv4_npz_text(struct dsv4_npz *z, const char *name, size_t limit, char **text, size_t *size,
                  struct dsv4_err *err) {
    zip_stat_t info;
    if (find(z, name, &info, err) != 0) return -1;
    if (info.size > limit)
        return dsv4_fail(err, "%s has %llu bytes; at most %zu are read", name,
                         (unsigned long long)info.size, limit);
    *text = (char *)inflate_entry(z, name, &info, err);
    *size = (size_t)info.size;
    return *text != NULL ? 0 : -1;
}

int dsv4_npz_all_read(const struct dsv4_npz *z, struct dsv4_err *err) {
    for (zip_uint64_t i = 0; i < z->n; i++) {
        if (z->read[i]) continue;
        const char *name = zip_get_name(z->zip, i, ZIP_FL_ENC_RAW);
        return dsv4_fail(err, "the entry '%.80s' is surplus", name != NULL ? name : "?");
    }
    return 0;
}
