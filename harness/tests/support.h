/* SPDX-License-Identifier: Apache-2.0 */
/* What the runner's tests share: vectors of one small case, places in the build directory, running dsv4cts itself. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../plugin.h"
#include "../vector.h"

/* The build directory: the tests lie in a folder of it. */
static inline void support_build(char *path, size_t size, const char *file) {
    char directory[3800];
    dsv4_build_directory(directory, sizeof directory);
    snprintf(path, size, "%s/../%s", directory, file);
}

/* The vector of one case of kv_quantize_insert: three tensors, one of them an output with every class of byte. */
static inline void support_vector(struct dsv4_vector *v, const char *const *params, size_t n) {
    struct dsv4_err err = {{0}, {0}, 0};
    struct dsv4_suite_case s = {.op = dsv4_op_find("kv_quantize_insert"),
                                .name = "test",
                                .tier = DSV4_SMOKE,
                                .params = (char **)(uintptr_t)params,
                                .n_params = n};
    cr_assert_not_null(s.op);
    cr_assert_eq(dsv4_vector_make(v, &s, &err), 0, "%s", err.text);
    dsv4_case_place(&v->c, dsv4_case_is_skewed(&v->c));
}

static const char *const support_wide[] = {"view", "wide", "padding", "2", "batch", "5@0"};
static const char *const support_high[] = {"address", "high", "batch", "5@0"};

/* A new empty directory. */
static inline void support_directory(char path[64]) {
    strcpy(path, "/tmp/dsv4cts-test-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
}

static inline void support_write(const char *directory, const char *name, const char *text) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *const file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

/* A directory of suites: two small cases of every op. */
static inline void support_suites(char path[64]) {
    char name[160], text[600];
    support_directory(path);
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        snprintf(name, sizeof name, "%s.yaml", dsv4_ops[i]->name);
        snprintf(text, sizeof text,
                 "op: %s\n"
                 "tags:\n"
                 "  plain:\n"
                 "    bug: anything at all\n"
                 "cases:\n"
                 "  - name: small\n    tier: smoke\n    tags: [plain]\n"
                 "  - name: second\n    tier: smoke\n    tags: [plain]\n",
                 dsv4_ops[i]->name);
        support_write(path, name, text);
    }
}

/* Runs dsv4cts with the words of `line` and returns its exit code; `output` is what it printed. */
static inline int support_run(char *output, size_t size, const char *line) {
    char command[32000], program[4100];
    int n = 0;
    support_build(program, sizeof program, "dsv4cts");
    cr_assert_eq(access(program, X_OK), 0, "%s is not built", program);
    snprintf(command, sizeof command, "%s %s 2>&1", program, line);
    FILE *const pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t got;
    output[0] = '\0';
    while ((size_t)n + 1 < size && (got = fread(output + n, 1, size - (size_t)n - 1, pipe)) > 0)
        n += (int)got;
    output[n] = '\0';
    const int status = pclose(pipe);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define ASSERT_HAS(text, part)                                                                     \
    cr_assert_not_null(strstr(text, part), "\"%s\" is not in:\n%s", part, text)

#endif
