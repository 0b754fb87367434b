/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "../../reference/memory.h"
#include "../file.h"
#include "../vector.h"
#include "../vector_parts.h"
#include "temporary.h"

static void make(struct dsv4_vector *v, const struct dsv4_op *op) {
    struct dsv4_suite_case s = {.op = op, .name = "plain", .tier = DSV4_FULL};
    struct dsv4_tag tag = {.name = (char[]){"some-tag"}};
    const struct dsv4_tag *tags[] = {&tag};
    struct dsv4_err err = {0};
    s.tags = tags;
    s.n_tags = 1;
    cr_assert_eq(dsv4_vector_make(v, &s, &err), 0, "%s", err.text);
}

static void image_of(const struct dsv4_op *op, unsigned char **bytes, size_t *size) {
    struct dsv4_vector v;
    struct dsv4_err err = {0};
    make(&v, op);
    cr_assert_eq(dsv4_vector_image(&v, bytes, size, &err), 0, "%s", err.text);
    dsv4_vector_free(&v);
}

static void same(const unsigned char *a, const unsigned char *b, int64_t n) {
    cr_assert_eq(a == NULL, b == NULL);
    if (a != NULL && n > 0) cr_assert_eq(memcmp(a, b, (size_t)n), 0);
}

Test(vector, comes_back_from_a_file) {
    char dir[TEMPORARY_SIZE], path[128], hash[4][65];
    temporary_make(dir);
    snprintf(path, sizeof path, "%s/v.npz", dir);
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        struct dsv4_vector a, b;
        struct dsv4_err err = {0};
        make(&a, dsv4_ops[i]);
        cr_assert_eq(dsv4_vector_write(&a, path, &err), 0, "%s", err.text);
        cr_assert_eq(dsv4_vector_read(&b, path, &err), 0, "%s", err.text);
        cr_assert_eq(a.c.op, b.c.op);
        cr_assert_str_eq(b.c.name, "plain");
        cr_assert_eq(a.c.seed, b.c.seed);
        cr_assert_eq(b.tier, DSV4_FULL);
        cr_assert_eq(b.n_tags, 1);
        cr_assert_str_eq(b.tags[0], "some-tag");
        for (size_t s = 0; s < a.c.op->n_slots; s++) {
            const int64_t n = dsv4_packed_bytes(&a.c.tensors[s]);
            cr_assert_eq(n, dsv4_packed_bytes(&b.c.tensors[s]));
            cr_assert_eq(a.c.tensors[s].offset, b.c.tensors[s].offset);
            same(a.tensors[s].in, b.tensors[s].in, n);
            same(a.tensors[s].out, b.tensors[s].out, n);
            same(a.tensors[s].keep, b.tensors[s].keep, n);
        }
        dsv4_vector_hash(&a, hash[0], hash[1]);
        dsv4_vector_hash(&b, hash[2], hash[3]);
        cr_assert_str_eq(hash[0], hash[2]);
        cr_assert_str_eq(hash[1], hash[3]);
        dsv4_vector_free(&a);
        dsv4_vector_free(&b);
    }
    temporary_remove(dir);
}

/* Files must not depend on the clock, the time zone or the process. */
Test(vector, gives_the_same_bytes_every_time) {
    unsigned char *a, *b;
    size_t n, m;
    setenv("TZ", "UTC+3", 1);
    image_of(dsv4_ops[0], &a, &n);
    setenv("TZ", "Asia/Tokyo", 1);
    sleep(2); /* zip times count in units of two seconds */
    image_of(dsv4_ops[0], &b, &m);
    cr_assert(n == m && memcmp(a, b, n) == 0);
    dsv4_free(a);
    dsv4_free(b);
}

/* ---- hostile files ---- */

static int parse(const unsigned char *bytes, size_t size, struct dsv4_err *err) {
    struct dsv4_vector v;
    memset(err, 0, sizeof *err);
    const int status = dsv4_vector_parse(&v, bytes, size, "hostile.npz", err);
    dsv4_vector_free(&v);
    if (status != 0) {
        cr_expect_neq(err->text[0], '\0');
        cr_expect_null(strchr(err->text, '\n'), "%s", err->text);
        cr_expect_str_eq(err->file, "hostile.npz");
    }
    return status;
}

/* The op whose default case has the smallest image: the loops below visit every byte of it. */
static const struct dsv4_op *smallest(unsigned char **bytes, size_t *size) {
    const struct dsv4_op *best = NULL;
    *bytes = NULL;
    *size = 0;
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        unsigned char *b;
        size_t n;
        image_of(dsv4_ops[i], &b, &n);
        if (best == NULL || n < *size) {
            if (best != NULL) dsv4_free(*bytes);
            best = dsv4_ops[i];
            *bytes = b;
            *size = n;
        } else {
            dsv4_free(b);
        }
    }
    return best;
}

Test(vector, refuses_every_truncation) {
    unsigned char *bytes;
    size_t size;
    struct dsv4_err err;
    smallest(&bytes, &size);
    const size_t step = size / 1500 + 1;
    for (size_t n = 0; n < size; n += n + 400 < size ? step : 1) {
        unsigned char *cut = dsv4_alloc(n); /* its own block, so that a read past the end is seen */
        memcpy(cut, bytes, n);
        cr_expect_eq(parse(cut, n, &err), -1, "%zu of %zu bytes are accepted", n, size);
        dsv4_free(cut);
    }
    dsv4_free(bytes);
}

/* A flipped bit is refused, or lies in a field without meaning (a time stamp, a version) and changes nothing. */
Test(vector, survives_every_flipped_bit) {
    unsigned char *bytes;
    size_t size, accepted = 0, tried = 0;
    char hash[4][65];
    struct dsv4_err err = {0};
    struct dsv4_vector good, v;
    smallest(&bytes, &size);
    cr_assert_eq(dsv4_vector_parse(&good, bytes, size, "good.npz", &err), 0);
    dsv4_vector_hash(&good, hash[0], hash[1]);
    const size_t step = size / 3000 + 1;
    for (size_t at = 0; at < size; at += at + 1000 < size ? step : 1, tried++) {
        const unsigned char bit = (unsigned char)(1U << (at * 5 + at / 8) % 8);
        bytes[at] ^= bit;
        if (dsv4_vector_parse(&v, bytes, size, "flipped.npz", &err) == 0) {
            accepted++;
            dsv4_vector_hash(&v, hash[2], hash[3]);
            cr_expect(strcmp(hash[0], hash[2]) == 0 && strcmp(hash[1], hash[3]) == 0, "byte %zu",
                      at);
        }
        dsv4_vector_free(&v);
        bytes[at] ^= bit;
    }
    cr_expect_lt(accepted, tried / 4, "%zu of %zu flips are accepted", accepted, tried);
    dsv4_vector_free(&good);
    dsv4_free(bytes);
}

/* An archive taken apart, to be put together wrongly. */
struct archive {
    struct {
        char name[80];
        unsigned char *bytes;
        size_t size;
    } entries[80];
    size_t n;
};

static void take_apart(struct archive *a, const unsigned char *bytes, size_t size) {
    zip_source_t *source = zip_source_buffer_create(bytes, size, 0, NULL);
    zip_t *zip = zip_open_from_source(source, ZIP_RDONLY, NULL);
    cr_assert_not_null(zip);
    a->n = (size_t)zip_get_num_entries(zip, 0);
    for (size_t i = 0; i < a->n; i++) {
        zip_stat_t info;
        cr_assert_eq(zip_stat_index(zip, i, 0, &info), 0);
        snprintf(a->entries[i].name, sizeof a->entries[i].name, "%s", info.name);
        a->entries[i].size = (size_t)info.size;
        a->entries[i].bytes = dsv4_alloc(a->entries[i].size + 1);
        zip_file_t *file = zip_fopen_index(zip, i, 0);
        cr_assert_eq(zip_fread(file, a->entries[i].bytes, info.size), (zip_int64_t)info.size);
        zip_fclose(file);
    }
    zip_discard(zip);
}

static void put_together(const struct archive *a, unsigned char **bytes, size_t *size) {
    zip_stat_t info;
    zip_source_t *image = zip_source_buffer_create(NULL, 0, 0, NULL);
    zip_source_keep(image);
    zip_t *zip = zip_open_from_source(image, ZIP_TRUNCATE, NULL);
    for (size_t i = 0; i < a->n; i++)
        cr_assert_geq(
            zip_file_add(zip, a->entries[i].name,
                         zip_source_buffer(zip, a->entries[i].bytes, a->entries[i].size, 0), 0),
            0);
    cr_assert_eq(zip_close(zip), 0);
    cr_assert_eq(zip_source_stat(image, &info), 0);
    *size = (size_t)info.size;
    *bytes = dsv4_alloc(*size);
    cr_assert_eq(zip_source_open(image), 0);
    cr_assert_eq(zip_source_read(image, *bytes, *size), (zip_int64_t)*size);
    zip_source_close(image);
    zip_source_free(image);
}

static void throw_away(struct archive *a) {
    for (size_t i = 0; i < a->n; i++) dsv4_free(a->entries[i].bytes);
}

static size_t entry(const struct archive *a, const char *start) {
    for (size_t i = 0; i < a->n; i++)
        if (strncmp(a->entries[i].name, start, strlen(start)) == 0) return i;
    return SIZE_MAX;
}

static void refuse(const struct archive *a, const char *message) {
    unsigned char *bytes;
    size_t size;
    struct dsv4_err err;
    put_together(a, &bytes, &size);
    cr_expect_eq(parse(bytes, size, &err), -1, "accepted; expected: %s", message);
    cr_expect_not_null(strstr(err.text, message), "'%s' is not '%s'", err.text, message);
    dsv4_free(bytes);
}

/* Replaces the first `from` of meta.json. */
static void edit(struct archive *a, const char *from, const char *to) {
    const size_t m = entry(a, "meta.json");
    char *old = (char *)a->entries[m].bytes, *at = strstr(old, from);
    cr_assert_not_null(at, "meta.json has no %s", from);
    const size_t size = a->entries[m].size + strlen(to) - strlen(from);
    char *text = dsv4_alloc(size + 1);
    memcpy(text, old, (size_t)(at - old));
    memcpy(text + (at - old), to, strlen(to));
    strcpy(text + (at - old) + strlen(to), at + strlen(from));
    a->entries[m].bytes = (unsigned char *)text;
    a->entries[m].size = size;
    dsv4_free(old);
}

static const struct {
    const char *from, *to, *message;
} edits[] = {
    {"{",                    "[",                                   "meta.json, line"                  },
    {"{",                    "",                                    "meta.json, line"                  },
    {"\"version\": 1",       "\"version\": 2",                      "regenerate"                       },
    {"\"version\": 1",       "\"version\": \"1\"",                  "version"                          },
    {"\"version\": 1,",      "\"version\": 1, \"version\": 1,",     "duplicate"                        },
    {"\"version\": 1,",      "\"version\": 1, \"speed\": 1,",       "speed is surplus"                 },
    {"\"op\": \"",           "\"op\": \"no_such_",                  "there is no op"                   },
    {"\"op\": \"",           "\"op\": 1, \"op2\": \"",              "op is missing or not a string"    },
    {"\"case\": \"plain\"",  "\"case\": \"../../etc\"",             "no name for a case"               },
    {"\"case\": \"plain\"",  "\"case\": \"\"",                      "no name for a case"               },
    {"\"case\": \"plain\"",  "\"case\": null",                      "case is missing"                  },
    {"\"tier\": \"full\"",   "\"tier\": \"quick\"",                 "tier"                             },
    {"\"seed\": \"",         "\"seed\": \"x",                       "seed"                             },
    {"\"seed\": \"",         "\"seed\": \"0",                       "seed"                             },
    {"\"seed\": \"",         "\"seed\": \"99999999999999999999999", "seed"                             },
    {"\"params\": {",        "\"params\": {\"no_such\": \"1\",",    "no parameter 'no_such'"           },
    {"\"params\": {",        "\"params\": {\"x\": 1,",              "not a string"                     },
    {"\"params\": {",        "\"params\": [], \"params2\": {",      "params is missing"                },
    {"\"tags\": [",          "\"tags\": [1,",                       "tags[0]"                          },
    {"\"tags\": [",          "\"tags\": [\"A B\",",                 "tags[0]"                          },
    {"\"refused\": false",   "\"refused\": true",                   "refused is true; it must be false"},
    {"\"refused\": false",   "\"refused\": 0",                      "refused is 0; it must be false"   },
    {"\"refused\": false,",  "",                                    "refused is missing"               },
    {"\"generator\": \"",    "\"generator\": 7, \"g\": \"",         "generator"                        },
    {"\"shape\": [",         "\"shape\": [1,",                      "shape is"                         },
    {"\"strides\": [",       "\"strides\": [1,",                    "strides is"                       },
    {"\"dtype\": \"",        "\"dtype\": \"x",                      "dtype is"                         },
    {"\"layout\": \"linear", "\"layout\": \"xlinear",               "layout is"                        },
    {"\"role\": \"",         "\"role\": \"x",                       "role is"                          },
    {"\"tensors\": {",       "\"tensors\": {\"more\": null,",       "tensors.more is surplus"          },
};

Test(vector, refuses_hostile_meta) {
    unsigned char *bytes;
    size_t size;
    struct archive a;
    smallest(&bytes, &size);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        take_apart(&a, bytes, size);
        edit(&a, edits[i].from, edits[i].to);
        refuse(&a, edits[i].message);
        throw_away(&a);
    }
    dsv4_free(bytes);
}

Test(vector, refuses_the_meta_of_another_op) {
    for (size_t i = 0; i + 1 < dsv4_n_ops; i++) {
        unsigned char *bytes, *others;
        size_t size, n;
        struct archive a, b;
        image_of(dsv4_ops[i], &bytes, &size);
        image_of(dsv4_ops[i + 1], &others, &n);
        take_apart(&a, bytes, size);
        take_apart(&b, others, n);
        const size_t m = entry(&a, "meta.json"), k = entry(&b, "meta.json");
        a.entries[m].bytes = dsv4_resize(a.entries[m].bytes, b.entries[k].size + 1);
        memcpy(a.entries[m].bytes, b.entries[k].bytes, b.entries[k].size);
        a.entries[m].size = b.entries[k].size;
        refuse(&a, "");
        throw_away(&a);
        throw_away(&b);
        dsv4_free(bytes);
        dsv4_free(others);
    }
}

static void grow(struct archive *a, size_t i, size_t size) {
    a->entries[i].bytes = dsv4_resize(a->entries[i].bytes, size);
    if (size > a->entries[i].size)
        memset(a->entries[i].bytes + a->entries[i].size, 0, size - a->entries[i].size);
    a->entries[i].size = size;
}

/* Each takes a good archive and returns the message that its harm must give; NULL: this archive has no such part. */
static const char *no_meta(struct archive *a) {
    snprintf(a->entries[entry(a, "meta.json")].name, 80, "meta.yaml");
    return "meta.json is missing";
}
static const char *long_meta(struct archive *a) {
    grow(a, entry(a, "meta.json"), (1 << 20) + 1);
    return "at most 1048576";
}
static const char *missing_array(struct archive *a) {
    a->entries[entry(a, "in.")].name[0] = 'o';
    return "is missing";
}
static const char *surplus_array(struct archive *a) {
    snprintf(a->entries[a->n].name, 80, "in.extra.npy");
    a->entries[a->n].bytes = dsv4_alloc(1);
    a->entries[a->n++].size = 1;
    return "the entry 'in.extra.npy' is surplus";
}
static const char *many_entries(struct archive *a) {
    for (; a->n < 70; a->n++) {
        snprintf(a->entries[a->n].name, 80, "in.%zu.npy", a->n);
        a->entries[a->n].bytes = dsv4_alloc(1);
        a->entries[a->n].size = 1;
    }
    return "at most";
}
static const char *short_array(struct archive *a) {
    const size_t i = entry(a, "in.");
    a->entries[i].size--;
    return "the case implies";
}
static const char *long_array(struct archive *a) {
    const size_t i = entry(a, "in.");
    grow(a, i, a->entries[i].size + 1);
    return "the case implies";
}
static const char *bomb(struct archive *a) {
    grow(a, entry(a, "out."), 200 << 20);
    return "bytes; the case implies";
}
static const char *empty_array(struct archive *a) {
    a->entries[entry(a, "in.")].size = 0;
    return "is not a .npy array";
}
static const char *no_magic(struct archive *a) {
    a->entries[entry(a, "in.")].bytes[0] = 'x';
    return "is not a .npy array";
}
static const char *version_two(struct archive *a) {
    a->entries[entry(a, "in.")].bytes[6] = 2;
    return "version 1.0";
}
static const char *long_header(struct archive *a) {
    a->entries[entry(a, "in.")].bytes[9] = 0xFF;
    return "has the header";
}
static const char *fortran_order(struct archive *a) {
    char *at = strstr((char *)a->entries[entry(a, "in.")].bytes + 10, "False");
    memcpy(at, "True ", 5);
    return "True";
}
static const char *big_endian(struct archive *a) {
    *strstr((char *)a->entries[entry(a, "rows.")].bytes + 10, "<") = '>';
    return "'>i8'";
}
static const char *other_shape(struct archive *a) {
    char *at = strstr((char *)a->entries[entry(a, "out.")].bytes + 10, "(");
    at[1] = at[1] == '9' ? '8' : '9';
    return "the case implies {'descr'";
}
static const char *header_of_garbage(struct archive *a) {
    memset(a->entries[entry(a, "out.")].bytes + 10, 0x1B, 40);
    return "has the header";
}
static const char *rows_negative(struct archive *a) {
    const size_t i = entry(a, "rows.");
    memset(a->entries[i].bytes + a->entries[i].size - 8, 0xFF, 8);
    return "is row -1";
}
static const char *rows_equal(struct archive *a) {
    const size_t i = entry(a, "rows.");
    unsigned char *end = a->entries[i].bytes + a->entries[i].size;
    end[-8]++;
    return "live row there is";
}
static const char *keep_nothing(struct archive *a) {
    const size_t i = entry(a, "keep.");
    memset(a->entries[i].bytes + 128, 0, a->entries[i].size - 128);
    return "marks no byte";
}
static const char *keep_everything(struct archive *a) {
    const size_t i = entry(a, "keep.");
    memset(a->entries[i].bytes + 128, 0xFF, a->entries[i].size - 128);
    return "as never written";
}

static const struct {
    const char *needs;
    const char *(*harm)(struct archive *a);
} harms[] = {
    {"in.",   no_meta          },
    {"in.",   long_meta        },
    {"in.",   missing_array    },
    {"in.",   surplus_array    },
    {"in.",   many_entries     },
    {"in.",   short_array      },
    {"in.",   long_array       },
    {"out.",  bomb             },
    {"in.",   empty_array      },
    {"in.",   no_magic         },
    {"in.",   version_two      },
    {"in.",   long_header      },
    {"in.",   fortran_order    },
    {"rows.", big_endian       },
    {"out.",  other_shape      },
    {"out.",  header_of_garbage},
    {"rows.", rows_negative    },
    {"rows.", rows_equal       },
    {"keep.", keep_nothing     },
    {"keep.", keep_everything  },
};

/* Some op of the registry has such an array; the harm is done to the first of them. */
Test(vector, refuses_hostile_arrays) {
    for (size_t h = 0; h < sizeof harms / sizeof *harms; h++) {
        bool done = false;
        for (size_t i = 0; i < dsv4_n_ops && !done; i++) {
            unsigned char *bytes;
            size_t size;
            struct archive a;
            image_of(dsv4_ops[i], &bytes, &size);
            take_apart(&a, bytes, size);
            if (entry(&a, harms[h].needs) != SIZE_MAX) {
                const char *message = harms[h].harm(&a);
                refuse(&a, message);
                done = true;
            }
            throw_away(&a);
            dsv4_free(bytes);
        }
        cr_expect(done, "no op has an array %s...", harms[h].needs);
    }
}

/* libzip writes no such archives; one name is made into the other in the image. */
Test(vector, refuses_an_entry_twice) {
    unsigned char *bytes;
    size_t size;
    struct dsv4_err err;
    struct archive a;
    image_of(dsv4_ops[0], &bytes, &size);
    take_apart(&a, bytes, size);
    dsv4_free(bytes);
    const size_t i = entry(&a, "in.");
    memcpy(a.entries[a.n].name, a.entries[i].name, sizeof a.entries[i].name);
    a.entries[a.n].name[0] = 'X';
    a.entries[a.n].bytes = dsv4_alloc(a.entries[i].size);
    memcpy(a.entries[a.n].bytes, a.entries[i].bytes, a.entries[i].size);
    a.entries[a.n].size = a.entries[i].size;
    a.n++;
    put_together(&a, &bytes, &size);
    const char *name = a.entries[a.n - 1].name;
    for (size_t at = 0; at + strlen(name) < size; at++)
        if (memcmp(bytes + at, name, strlen(name)) == 0) bytes[at] = 'i';
    cr_assert_eq(parse(bytes, size, &err), -1);
    cr_assert_not_null(strstr(err.text, "not a vector"), "%s", err.text);
    throw_away(&a);
    dsv4_free(bytes);
}

Test(vector, refuses_what_is_no_file) {
    struct dsv4_vector v;
    struct dsv4_err err = {0};
    char dir[TEMPORARY_SIZE], path[128];
    cr_assert_eq(dsv4_vector_read(&v, "/nonexistent/a.npz", &err), -1);
    cr_assert_not_null(strstr(err.text, "cannot be opened"));
    temporary_make(dir);
    memset(&err, 0, sizeof err);
    cr_assert_eq(dsv4_vector_read(&v, dir, &err), -1);
    cr_assert_not_null(strstr(err.text, "regular file"));
    snprintf(path, sizeof path, "%s/fifo", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    memset(&err, 0, sizeof err);
    cr_assert_eq(dsv4_vector_read(&v, path, &err), -1, "a FIFO must not hang");
    cr_assert_not_null(strstr(err.text, "regular file"));
    snprintf(path, sizeof path, "%s/no/such/place.npz", dir);
    make(&v, dsv4_ops[0]);
    memset(&err, 0, sizeof err);
    cr_assert_eq(dsv4_vector_write(&v, path, &err), -1);
    cr_assert_str_eq(err.file, path);
    dsv4_vector_free(&v);
    temporary_remove(dir);
}
