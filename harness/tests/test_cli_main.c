/* SPDX-License-Identifier: Apache-2.0 */
/* The program itself: verbs, exit codes, and output that cannot be written. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAID = 1 << 16 };

/* Runs dsv4cts, which lies beside this program's directory, with standard output going to `out`. */
static int run(const char *out, char said[SAID], const char *first, const char *second) {
    char path[4096], name[] = "dsv4cts";
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    cr_assert_gt(n, 0);
    path[n] = '\0';
    *strrchr(path, '/') = '\0'; /* build/tests */
    strcpy(strrchr(path, '/'), "/dsv4cts");
    cr_assert_eq(access(path, X_OK), 0, "%s is not built", path);
    const int file = open(out, O_RDWR | O_CREAT, 0600);
    cr_assert_geq(file, 0);
    const pid_t child = fork();
    if (child == 0) {
        char one[64], two[64];
        snprintf(one, sizeof one, "%s", first != NULL ? first : "");
        snprintf(two, sizeof two, "%s", second != NULL ? second : "");
        char *argv[] = {name, first != NULL ? one : NULL, second != NULL ? two : NULL, NULL};
        dup2(file, 1);
        dup2(file, 2);
        execv(path, argv);
        _exit(99);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    const ssize_t got = pread(file, said, SAID - 1, 0);
    said[got > 0 ? got : 0] = '\0';
    close(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(cli, main_returns_what_the_design_says) {
    static const struct {
        const char *first, *second, *says;
        int status;
    } wanted[] = {
        {NULL,        NULL,               "usage: dsv4cts VERB",                2},
        {"help",      NULL,               "verify-vectors",                     0},
        {"--help",    NULL,               "exit codes:",                        0},
        {"--version", NULL,               "dsv4cts ",                           0},
        {"lisst",     NULL,               "there is no verb 'lisst'",           2},
        {"list",      NULL,               "layouts",                            0},
        {"list",      "--speed",          "there is no option '--speed'",       2},
        {"show",      "/nonexistent.npz", "/nonexistent.npz: cannot be opened", 2},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char path[] = "/tmp/dsv4-main-XXXXXX", said[SAID];
        close(mkstemp(path));
        cr_expect_eq(run(path, said, wanted[i].first, wanted[i].second), wanted[i].status, "%s",
                     said);
        cr_expect_not_null(strstr(said, wanted[i].says), "'%s' is not in: %s", wanted[i].says,
                           said);
        unlink(path);
    }
}

/* A list that nobody could read must not end in success. */
Test(cli, main_sees_a_full_disk) {
    char said[SAID];
    cr_expect_eq(run("/dev/full", said, "list", NULL), 2);
}
