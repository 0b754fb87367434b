/* SPDX-License-Identifier: Apache-2.0 */
/* gen, verify-vectors, list, show and diff as whole verbs, over suites of one small case per op. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

#include "../../reference/golden.h"
#include "../../reference/memory.h"
#include "../file.h"
#include "../manifest.h"
#include "../options.h"
#include "../vector.h"
#include "../verbs.h"
#include "temporary.h"

enum { PATH = 256 };

struct room {
    char dir[TEMPORARY_SIZE];
    char suites[PATH / 2], vectors[PATH / 2], manifest[PATH], first[PATH];
    char *said; /* standard output and error of the last verb */
};

static void enter(struct room *r) {
    memset(r, 0, sizeof *r);
    temporary_make(r->dir);
    snprintf(r->suites, sizeof r->suites, "%s/suites", r->dir);
    snprintf(r->vectors, sizeof r->vectors, "%s/vectors", r->dir);
    snprintf(r->manifest, PATH, "%s/vectors/MANIFEST", r->dir);
    snprintf(r->first, PATH, "%s/vectors/%s/plain.npz", r->dir, dsv4_ops[0]->name);
    temporary_suites(r->suites);
}

static void leave(struct room *r) {
    temporary_remove(r->dir);
    dsv4_free(r->said);
}

/* Runs a verb with standard input from `input` (NULL: empty) and keeps what it says. */
static int run(struct room *r, int (*verb)(int, char **), const char *input,
               const char *const *words) {
    char *argv[16] = {(char[]){"verb"}}, path[PATH], in_path[PATH];
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++) argv[argc] = dsv4_copy_text(words[argc - 1]);
    snprintf(path, sizeof path, "%s/said", r->dir);
    snprintf(in_path, sizeof in_path, "%s", input != NULL ? input : "/dev/null");
    const int said = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), in = open(in_path, O_RDONLY);
    cr_assert(said >= 0 && in >= 0);
    fflush(NULL);
    const int out = dup(1), error = dup(2), before = dup(0);
    dup2(said, 1);
    dup2(said, 2);
    dup2(in, 0);
    __fpurge(stdin); /* what an earlier verb left unread */
    clearerr(stdin);
    const int status = verb(argc, argv);
    fflush(NULL);
    dup2(out, 1);
    dup2(error, 2);
    dup2(before, 0);
    close(out);
    close(error);
    close(before);
    close(in);
    const off_t size = lseek(said, 0, SEEK_END);
    dsv4_free(r->said);
    r->said = dsv4_alloc((size_t)size + 1);
    cr_assert_eq(pread(said, r->said, (size_t)size, 0), size);
    close(said);
    unlink(path);
    for (int i = 1; i < argc; i++) dsv4_free(argv[i]);
    return status;
}

#define RUN(r, verb, ...) run(r, verb, NULL, (const char *const[]){__VA_ARGS__, NULL})

static int gen(struct room *r) {
    return RUN(r, dsv4_verb_gen, "--suites", r->suites, "--out", r->vectors);
}

static int verify(struct room *r) {
    return RUN(r, dsv4_verb_verify, "--suites", r->suites, "--vectors", r->vectors);
}

static void expect_said(const struct room *r, const char *what) {
    cr_expect_not_null(strstr(r->said, what), "'%s' is not in:\n%s", what, r->said);
}

static void read_all(const char *path, unsigned char **bytes, size_t *size) {
    struct dsv4_err err = {0};
    cr_assert_eq(dsv4_file_read(bytes, size, path, 64 << 20, &err), 0, "%s", err.text);
}

static void write_all(const char *path, const void *bytes, size_t size) {
    struct dsv4_err err = {0};
    cr_assert_eq(dsv4_file_write(path, bytes, size, &err), 0, "%s", err.text);
}

Test(cli, gen_then_verify) {
    struct room r;
    unsigned char *a, *b;
    size_t n, m;
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    read_all(r.manifest, &a, &n);
    cr_assert_eq(verify(&r), DSV4_EXIT_PASS, "%s", r.said);
    expect_said(&r, ": 0 differences, 0 faults");
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    expect_said(&r, " 0 of them changed, 0 removed");
    read_all(r.manifest, &b, &m);
    cr_assert(n == m && memcmp(a, b, n) == 0);
    cr_assert_null(strstr((char *)a, "/timed"), "bench cases have no stored answers");
    dsv4_free(a);
    dsv4_free(b);
    leave(&r);
}

/* A part is made anew; the rest of MANIFEST stays. */
Test(cli, gen_of_one_op_keeps_the_rest) {
    struct room r;
    unsigned char *a, *b;
    size_t n, m;
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    read_all(r.manifest, &a, &n);
    cr_assert_eq(RUN(&r, dsv4_verb_gen, "--suites", r.suites, "--out", r.vectors, "--op",
                     dsv4_ops[0]->name, "--tier", "smoke"),
                 DSV4_EXIT_PASS, "%s", r.said);
    expect_said(&r, "1 cases made");
    read_all(r.manifest, &b, &m);
    cr_assert(n == m && memcmp(a, b, n) == 0);
    dsv4_free(a);
    dsv4_free(b);
    leave(&r);
}

Test(cli, nothing_matched_is_not_success) {
    struct room r;
    enter(&r);
    cr_expect_eq(
        RUN(&r, dsv4_verb_gen, "--suites", r.suites, "--out", r.vectors, "--case", "no-such"), 3);
    cr_expect_eq(
        RUN(&r, dsv4_verb_gen, "--suites", r.suites, "--out", r.vectors, "--tier", "bench"), 3);
    cr_expect_neq(access(r.manifest, F_OK), 0);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS);
    cr_expect_eq(
        RUN(&r, dsv4_verb_verify, "--suites", r.suites, "--vectors", r.vectors, "--op", "no_such"),
        3);
    cr_expect_eq(RUN(&r, dsv4_verb_list, "--cases", "--suites", r.suites, "--tag", "no-such"), 3);
    leave(&r);
}

Test(cli, usage_errors) {
    struct room r;
    enter(&r);
    static const struct {
        const char *words[4], *message;
    } wrong[] = {
        {{"--speed"},         "no option '--speed'"        },
        {{"--op"},            "--op wants a value"         },
        {{"--tier", "quick"}, "'quick' is not one of"      },
        {{"--tier=smoke,"},   "is not one of"              },
        {{"--shard", "0/3"},  "I/N"                        },
        {{"--shard=4/3"},     "I/N"                        },
        {{"--shard", "1"},    "I/N"                        },
        {{"--cases=yes"},     "takes no value"             },
        {{"a", "b"},          "one word too many"          },
        {{"no_such_op"},      "there is no op 'no_such_op'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_eq(run(&r, dsv4_verb_list, NULL, wrong[i].words), 2, "%s", wrong[i].words[0]);
        expect_said(&r, wrong[i].message);
    }
    cr_expect_eq(RUN(&r, dsv4_verb_diff, "one"), 2);
    expect_said(&r, "usage: dsv4cts diff A B");
    cr_expect_eq(RUN(&r, dsv4_verb_list, "--help"), 0);
    expect_said(&r, "--resolved");
    cr_expect_eq(RUN(&r, dsv4_verb_list, "--cases", "--suites", "/nonexistent"), 2);
    expect_said(&r, "/nonexistent");
    cr_expect_eq(verify(&r), 2, "there is no MANIFEST yet");
    expect_said(&r, "MANIFEST");
    leave(&r);
}

/* ---- planted: verify-vectors must see each ---- */

static void edit_file(const char *path, void (*edit)(unsigned char *bytes, size_t *size)) {
    unsigned char *bytes;
    size_t size;
    read_all(path, &bytes, &size);
    bytes = dsv4_resize(bytes, size + 1024);
    edit(bytes, &size);
    write_all(path, bytes, size);
    dsv4_free(bytes);
}

static void flip_first_hash(unsigned char *bytes, size_t *size) {
    (void)size;
    bytes[3] = bytes[3] == '0' ? '1' : '0';
}
static void flip_answer(unsigned char *bytes, size_t *size) {
    (void)size;
    bytes[65 + 3] = bytes[65 + 3] == '0' ? '1' : '0';
}
static void other_tier(unsigned char *bytes, size_t *size) {
    (void)size;
    unsigned char *at = (unsigned char *)strstr((char *)bytes, "stress");
    at = at != NULL ? at : (unsigned char *)strstr((char *)bytes, "smoke");
    memmove(at + 6, at + 5, *size - (size_t)(at + 5 - bytes));
    memcpy(at, "stress", 6);
    ++*size;
}
static void drop_first_line(unsigned char *bytes, size_t *size) {
    const size_t n = (size_t)((unsigned char *)memchr(bytes, '\n', *size) - bytes) + 1;
    memmove(bytes, bytes + n, *size - n);
    *size -= n;
}
static void add_line(unsigned char *bytes, size_t *size) {
    const size_t n = (size_t)((unsigned char *)memchr(bytes, '\n', *size) - bytes);
    memcpy(bytes + *size, bytes, n);
    memcpy(bytes + *size + n, "-gone\n", 6);
    *size += n + 6;
}
static void swap_lines(unsigned char *bytes, size_t *size) {
    const size_t n = (size_t)((unsigned char *)memchr(bytes, '\n', *size) - bytes) + 1;
    unsigned char first[512];
    memcpy(first, bytes, n);
    memmove(bytes, bytes + n, *size - n);
    memcpy(bytes + *size - n, first, n);
}
static void cut_end(unsigned char *bytes, size_t *size) {
    (void)bytes;
    --*size;
}
static void double_line(unsigned char *bytes, size_t *size) {
    const size_t n = (size_t)((unsigned char *)memchr(bytes, '\n', *size) - bytes) + 1;
    memcpy(bytes + *size, bytes, n);
    *size += n;
}
static void upper_case(unsigned char *bytes, size_t *size) {
    (void)size;
    bytes[0] = 'A';
}
static void two_spaces(unsigned char *bytes, size_t *size) {
    memmove(bytes + 65, bytes + 64, *size - 64);
    ++*size;
}

static const struct {
    void (*edit)(unsigned char *bytes, size_t *size);
    int status;
    const char *message;
} lists[] = {
    {flip_first_hash, 1, "the prompt is"                                 },
    {flip_answer,     1, "the answer is"                                 },
    {other_tier,      1, "the tier is smoke; MANIFEST line 1 says stress"},
    {drop_first_line, 1, "MISSING"                                       },
    {add_line,        1, "SURPLUS"                                       },
    {swap_lines,      1, "out of order"                                  },
    {cut_end,         2, "the file was cut"                              },
    {double_line,     2, "is listed already, in line 1"                  },
    {upper_case,      2, "64 hex digits"                                 },
    {two_spaces,      2, "single spaces"                                 },
};

Test(cli, verify_sees_a_wrong_manifest) {
    struct room r;
    unsigned char *good;
    size_t size;
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    read_all(r.manifest, &good, &size);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        edit_file(r.manifest, lists[i].edit);
        cr_expect_eq(verify(&r), lists[i].status, "%zu: %s", i, r.said);
        expect_said(&r, lists[i].message);
        write_all(r.manifest, good, size);
    }
    cr_assert_eq(verify(&r), DSV4_EXIT_PASS);
    dsv4_free(good);
    leave(&r);
}

/* A valid file whose golden byte is another: CRC and sizes are right, only the answer is not. */
static void change_vector(const char *path, bool answer) {
    struct dsv4_vector v;
    struct dsv4_err err = {0};
    cr_assert_eq(dsv4_vector_read(&v, path, &err), 0, "%s", err.text);
    for (size_t s = 0; s < v.c.op->n_slots; s++) {
        unsigned char *bytes = answer ? v.tensors[s].out : v.tensors[s].in;
        const unsigned char *keep = answer ? v.tensors[s].keep : NULL;
        for (int64_t i = 0; bytes != NULL && i < dsv4_packed_bytes(&v.c.tensors[s]); i++)
            if (keep == NULL || keep[i] == 0) {
                bytes[i] ^= 0x10;
                cr_assert_eq(dsv4_vector_write(&v, path, &err), 0, "%s", err.text);
                dsv4_vector_free(&v);
                return;
            }
    }
    cr_assert_fail("nothing to change");
}

static void flip_middle(unsigned char *bytes, size_t *size) { bytes[*size / 2] ^= 0x04; }
static void halve(unsigned char *bytes, size_t *size) {
    (void)bytes;
    *size /= 2;
}

Test(cli, verify_sees_wrong_files) {
    struct room r;
    char surplus[PATH + 32];
    unsigned char *good;
    size_t size;
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    read_all(r.first, &good, &size);
    for (int answer = 0; answer < 2; answer++) {
        change_vector(r.first, answer != 0);
        cr_expect_eq(verify(&r), 1, "%s", r.said);
        expect_said(&r, "plain.npz: tensor ");
        write_all(r.first, good, size);
    }
    edit_file(r.first, flip_middle);
    cr_expect_eq(verify(&r), 1, "%s", r.said);
    edit_file(r.first, halve);
    cr_expect_eq(verify(&r), 1, "%s", r.said);
    unlink(r.first);
    cr_expect_eq(verify(&r), 1, "%s", r.said);
    expect_said(&r, "MISSING");
    write_all(r.first, good, size);
    snprintf(surplus, sizeof surplus, "%s/%s/gone.npz", r.vectors, dsv4_ops[0]->name);
    write_all(surplus, good, size);
    cr_expect_eq(verify(&r), 1, "%s", r.said);
    expect_said(&r, "SURPLUS");
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS);
    expect_said(&r, "1 removed");
    cr_expect_neq(access(surplus, F_OK), 0);
    cr_assert_eq(verify(&r), DSV4_EXIT_PASS, "%s", r.said);
    dsv4_free(good);
    leave(&r);
}

/* Vectors that are not made anew count: a file too large stands in for them. */
Test(cli, gen_keeps_to_its_budget) {
    enum { LARGE = (8 << 20) + 1 };
    struct room r;
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    void *large = dsv4_alloc(LARGE);
    write_all(r.first, large, LARGE);
    unlink(r.manifest);
    cr_expect_eq(
        RUN(&r, dsv4_verb_gen, "--suites", r.suites, "--out", r.vectors, "--op", dsv4_ops[1]->name),
        DSV4_EXIT_ERROR);
    expect_said(&r, "over 8000000 bytes");
    cr_expect_neq(access(r.manifest, F_OK), 0, "nothing is written");
    dsv4_free(large);
    leave(&r);
}

Test(cli, suites_without_an_op_or_a_file) {
    struct room r;
    char path[PATH + 32];
    enter(&r);
    snprintf(path, sizeof path, "%s/no_such_op.yaml", r.suites);
    write_all(path, "x", 1);
    cr_expect_eq(gen(&r), 2);
    expect_said(&r, "there is no op 'no_such_op'");
    unlink(path);
    snprintf(path, sizeof path, "%s/%s.yaml", r.suites, dsv4_ops[0]->name);
    unlink(path);
    cr_expect_eq(gen(&r), 2);
    expect_said(&r, "cannot be opened");
    cr_expect_neq(access(r.manifest, F_OK), 0, "nothing is written");
    leave(&r);
}

/* ---- streams ---- */

static void put(void *context, const void *bytes, size_t size) { fwrite(bytes, 1, size, context); }
static void count(void *context, const void *bytes, size_t size) {
    (void)bytes;
    *(size_t *)context += size;
}

/* The frames of one case; `harm` as in the table below. */
static void write_frames(const char *path, int harm) {
    struct dsv4_vector v;
    struct dsv4_err err = {0};
    const struct dsv4_suite_case s = {.op = dsv4_ops[0], .name = "plain"};
    size_t prompt = 0, answer = 0;
    cr_assert_eq(dsv4_vector_make(&v, &s, &err), 0, "%s", err.text);
    FILE *file = fopen(path, "w");
    if (harm == 1) v.tensors[0].in[0] ^= 1;
    dsv4_golden_prompt(&v.c, v.tensors, count, &prompt);
    dsv4_golden_answer(&v.c, v.tensors, count, &answer);
    for (int turn = 0; turn < (harm == 3 ? 2 : 1); turn++) {
        if (harm != 2)
            fprintf(file, "case %s/%s\nprompt %zu\n", v.c.op->name, harm == 4 ? "alien" : "plain",
                    prompt);
        if (harm != 2) dsv4_golden_prompt(&v.c, v.tensors, put, file);
        if (harm == 5) break;
        if (harm == 6) fprintf(file, "refused\n");
        if (harm != 2 && harm != 6)
            fprintf(file, "answer %zu\n", harm == 7 ? answer + 9999 : answer);
        if (harm != 2 && harm != 6) dsv4_golden_answer(&v.c, v.tensors, put, file);
    }
    if (harm != 5 && harm != 8) fprintf(file, "end\n");
    fclose(file);
    dsv4_vector_free(&v);
}

Test(cli, verify_holds_streams_to_the_manifest) {
    static const struct {
        int status;
        const char *message;
    } wanted[] = {
        {0, "0 differences"          },
        {1, "the prompt is"          },
        {2, "is missing"             },
        {2, "comes twice"            },
        {2, "not one of the selected"},
        {2, "ends inside"            },
        {1, "the answer is refused"  },
        {2, "ends inside a answer"   },
        {2, "no 'end'"               },
    };
    struct room r;
    char path[PATH];
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    snprintf(path, sizeof path, "%s/frames", r.dir);
    for (int harm = 0; harm < 9; harm++) {
        write_frames(path, harm);
        const char *const words[] = {"--stream", "--suites", r.suites, "--vectors",       r.vectors,
                                     "--tier",   "smoke",    "--op",   dsv4_ops[0]->name, NULL};
        cr_expect_eq(run(&r, dsv4_verb_verify, path, words), wanted[harm].status, "%d: %s", harm,
                     r.said);
        expect_said(&r, wanted[harm].message);
    }
    leave(&r);
}

/* ---- list, show, diff ---- */

Test(cli, list_shows_every_op) {
    struct room r;
    enter(&r);
    cr_expect_eq(run(&r, dsv4_verb_list, NULL, (const char *const[]){NULL}), 0);
    for (size_t i = 0; i < dsv4_n_ops; i++) expect_said(&r, dsv4_ops[i]->name);
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        cr_expect_eq(RUN(&r, dsv4_verb_list, dsv4_ops[i]->name), 0);
        for (size_t p = 0; p < dsv4_ops[i]->n_params; p++)
            expect_said(&r, dsv4_ops[i]->params[p].name);
        for (size_t s = 0; s < dsv4_ops[i]->n_slots; s++)
            expect_said(&r, dsv4_ops[i]->slots[s].name);
        for (size_t m = 0; m < dsv4_ops[i]->n_mutants; m++)
            expect_said(&r, dsv4_ops[i]->mutants[m].name);
    }
    cr_expect_eq(RUN(&r, dsv4_verb_list, "--resolved", "--suites", r.suites, "--case", "plain"), 0);
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        struct dsv4_case c;
        struct dsv4_err err = {0};
        char line[128];
        dsv4_case_init(&c, dsv4_ops[i], "plain");
        cr_assert_eq(dsv4_case_shape(&c, &err), 0);
        snprintf(line, sizeof line, "%s plain %llu ", c.op->name, (unsigned long long)c.seed);
        expect_said(&r, line);
        dsv4_case_free(&c);
    }
    leave(&r);
}

Test(cli, diff_sees_one_bit) {
    struct room r;
    char other[PATH];
    unsigned char *good;
    size_t size;
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    snprintf(other, sizeof other, "%s/other.npz", r.dir);
    read_all(r.first, &good, &size);
    write_all(other, good, size);
    cr_expect_eq(RUN(&r, dsv4_verb_diff, r.first, other), 0);
    expect_said(&r, "same");
    change_vector(other, true);
    cr_expect_eq(RUN(&r, dsv4_verb_diff, r.first, other), 1);
    expect_said(&r, "DIFFERS  out.");
    expect_said(&r, ": 1 of ");
    write_all(other, good, size);
    change_vector(other, false);
    cr_expect_eq(RUN(&r, dsv4_verb_diff, r.first, other), 1);
    expect_said(&r, "DIFFERS  in.");
    cr_expect_eq(RUN(&r, dsv4_verb_diff, r.first, r.manifest), 2);
    expect_said(&r, "not a vector");
    cr_expect_eq(RUN(&r, dsv4_verb_diff, r.first, "/nonexistent"), 2);
    if (dsv4_n_ops > 1) {
        snprintf(other, sizeof other, "%.100s/%.60s/plain.npz", r.vectors, dsv4_ops[1]->name);
        cr_expect_eq(RUN(&r, dsv4_verb_diff, r.first, other), 1);
        expect_said(&r, "DIFFERS  op");
    }
    dsv4_free(good);
    leave(&r);
}

/* +0 is not -0, and an untouched byte is not a written zero. */
Test(cli, diff_compares_bits_and_classes) {
    struct room r;
    char other[PATH];
    bool seen = false;
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    snprintf(other, sizeof other, "%s/other.npz", r.dir);
    for (size_t i = 0; i < dsv4_n_ops && !seen; i++) {
        struct dsv4_vector v;
        struct dsv4_err err = {0};
        char path[PATH + 32];
        snprintf(path, sizeof path, "%.100s/%.60s/plain.npz", r.vectors, dsv4_ops[i]->name);
        cr_assert_eq(dsv4_vector_read(&v, path, &err), 0, "%s", err.text);
        for (size_t s = 0; s < v.c.op->n_slots && !seen; s++) {
            unsigned char *keep = v.tensors[s].keep;
            const int64_t n = dsv4_packed_bytes(&v.c.tensors[s]);
            for (int64_t b = 0; keep != NULL && b + 1 < n && !seen; b++)
                if (keep[b] != 0 && keep[b + 1] != 0) {
                    keep[b] = 0; /* now a written zero; b + 1 still marks something */
                    seen = true;
                }
        }
        cr_assert_eq(dsv4_vector_write(&v, other, &err), 0, "%s", err.text);
        if (seen) {
            cr_expect_eq(RUN(&r, dsv4_verb_diff, path, other), 1);
            expect_said(&r, "never written");
        }
        dsv4_vector_free(&v);
    }
    cr_expect(seen, "no op leaves bytes unwritten");
    leave(&r);
}

Test(cli, show_decodes_elements_and_bytes) {
    struct room r;
    char place[PATH], line[PATH];
    enter(&r);
    cr_assert_eq(gen(&r), DSV4_EXIT_PASS, "%s", r.said);
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        struct dsv4_vector v;
        struct dsv4_err err = {0};
        char path[PATH + 32];
        snprintf(path, sizeof path, "%.100s/%.60s/plain.npz", r.vectors, dsv4_ops[i]->name);
        cr_expect_eq(RUN(&r, dsv4_verb_show, path), 0, "%s", r.said);
        cr_assert_eq(dsv4_vector_read(&v, path, &err), 0, "%s", err.text);
        for (size_t s = 0; s < v.c.op->n_slots; s++) {
            expect_said(&r, v.c.op->slots[s].name);
            const struct dsv4_case_tensor *t = &v.c.tensors[s];
            const char *name = v.c.op->slots[s].name;
            if (dsv4_packed_bytes(t) == 0) continue;
            struct room one = {0};
            memcpy(one.dir, r.dir, sizeof r.dir);
            const int64_t last = dsv4_storage_offset(t, dsv4_packed_bytes(t) - 1);
            snprintf(place, sizeof place, "%s@%lld", name, (long long)last);
            cr_expect_eq(RUN(&one, dsv4_verb_show, path, place), 0, "%s: %s", place, one.said);
            snprintf(line, sizeof line, "%s byte %lld: ", name, (long long)last);
            expect_said(&one, line);
            snprintf(place, sizeof place, "%s@%lld", name, (long long)t->span);
            cr_expect_eq(RUN(&one, dsv4_verb_show, path, place), 2, "%s: %s", place, one.said);
            int n = snprintf(place, sizeof place, "%s[%lld", name,
                             (long long)(t->rows != NULL ? t->rows[0] : 0));
            for (int d = 1; d < t->t.ndim; d++)
                n += snprintf(place + n, sizeof place - (size_t)n, ",0");
            snprintf(place + n, sizeof place - (size_t)n, "]");
            cr_expect_eq(RUN(&one, dsv4_verb_show, path, place), 0, "%s: %s", place, one.said);
            snprintf(place + n, sizeof place - (size_t)n, ",0]");
            cr_expect_eq(RUN(&one, dsv4_verb_show, path, place), 2, "%s: %s", place, one.said);
            snprintf(place, sizeof place, "%s[-1]", name);
            cr_expect_eq(RUN(&one, dsv4_verb_show, path, place), 2, "%s: %s", place, one.said);
            snprintf(place, sizeof place, "%s!", name);
            cr_expect_eq(RUN(&one, dsv4_verb_show, path, place), 2, "%s: %s", place, one.said);
            dsv4_free(one.said);
        }
        cr_expect_eq(RUN(&r, dsv4_verb_show, path, "no_such[0]"), 2);
        expect_said(&r, "has no tensor 'no_such'");
        dsv4_vector_free(&v);
    }
    cr_expect_eq(RUN(&r, dsv4_verb_show, r.manifest), 2);
    leave(&r);
}
