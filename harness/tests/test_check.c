/* SPDX-License-Identifier: Apache-2.0 */
/* The verb as a user meets it: exit codes, sentences, files. */
#include "../known.h"
#include "support.h"

enum { OUTPUT = 1 << 18 };
static char output[OUTPUT];

static int check(const char *suites, const char *plugin, const char *rest) {
    char line[14000], path[4100];
    if (strchr(plugin, '.') != NULL)
        support_build(path, sizeof path, plugin);
    else
        snprintf(path, sizeof path, "%s", plugin);
    snprintf(line, sizeof line, "check --suites %s --impl %s %s", suites, path, rest);
    return support_run(output, OUTPUT, line);
}

Test(check, usage_errors_are_2_and_an_empty_selection_is_3) {
    char suites[64];
    support_suites(suites);
    cr_assert_eq(check(suites, "ref", "--fresh --format yaml"), 2);
    ASSERT_HAS(output, "'yaml' is not text, json or junit");
    cr_assert_eq(check(suites, "ref", "--fresh --repeat 0"), 2);
    cr_assert_eq(check(suites, "ref", "--fresh --no-such-option"), 2);
    cr_assert_eq(check(suites, "opencl", "--fresh"), 2);
    ASSERT_HAS(output, "give ref, cuda, hip or a plug-in's path");
    cr_assert_eq(check("/nonexistent", "ref", "--fresh"), 2);
    cr_assert_eq(check(suites, "ref", "--fresh --op no_such_op"), 3);
    cr_assert_eq(check(suites, "ref", "--fresh --device 7"), 3);
}

Test(check, the_reference_passes_its_own_answers) {
    char suites[64];
    support_suites(suites);
    cr_assert_eq(check(suites, "ref", "--fresh --verbose --op 'kv_q*'"), 0, "%s", output);
    ASSERT_HAS(output, "PASS        kv_quantize_insert/small");
    ASSERT_HAS(output, "canary   contraction off, subnormals kept, ties to even");
    cr_assert_eq(check(suites, "ref", "--fresh --poison 99 --repeat 2 --op 'kv_q*'"), 0, "%s",
                 output);
}

/* Without a vector, or without its line in MANIFEST, a case has no answer: that is an error, and the rest still runs. */
Test(check, missing_and_damaged_vectors) {
    char suites[64], vectors[64], line[400], path[200];
    support_suites(suites);
    support_directory(vectors);
    snprintf(line, sizeof line, "--vectors %s --op kv_quantize_insert", vectors);
    cr_assert_eq(check(suites, "ref", line), 2);
    ASSERT_HAS(output, "ERROR       kv_quantize_insert/small");
    snprintf(line, sizeof line, "gen --suites %s --out %s --op kv_quantize_insert", suites,
             vectors);
    const int made = support_run(output, OUTPUT, line);
    cr_assert_eq(made, 0, "%s", output);
    snprintf(line, sizeof line, "--vectors %s --verbose --op kv_quantize_insert", vectors);
    cr_assert_eq(check(suites, "ref", line), 0, "%s", output);
    snprintf(path, sizeof path, "%s/kv_quantize_insert/small.npz", vectors);
    cr_assert_eq(truncate(path, 1000), 0);
    cr_assert_eq(check(suites, "ref", line), 2);
    ASSERT_HAS(output, "ERROR       kv_quantize_insert/small");
    ASSERT_HAS(output, "PASS        kv_quantize_insert/second");
    ASSERT_HAS(output, "small.npz: ");
}

Test(check, an_entry_changed_after_its_vector_was_made) {
    char suites[64], vectors[64], line[400];
    support_suites(suites);
    support_directory(vectors);
    snprintf(line, sizeof line, "gen --suites %s --out %s --op kv_quantize_insert", suites,
             vectors);
    cr_assert_eq(support_run(output, OUTPUT, line), 0, "%s", output);
    support_write(
        suites, "kv_quantize_insert.yaml",
        "op: kv_quantize_insert\ntags:\n  plain:\n    bug: any\ncases:\n"
        "  - name: small\n    tier: smoke\n    tags: [plain]\n    with: {block_size: 32}\n");
    snprintf(line, sizeof line, "--vectors %s --op kv_quantize_insert", vectors);
    cr_assert_eq(check(suites, "ref", line), 2);
    ASSERT_HAS(output, "made with block_size = 64, but the suite says 32");
}

Test(check, first_stops_and_says_so) {
    char suites[64];
    support_suites(suites);
    cr_assert_eq(
        check(suites, "tests/planted/guard_after.so", "--fresh --first 1 --op kv_quantize_insert"),
        1);
    ASSERT_HAS(output, "1 failed, 1 skipped");
}

Test(check, crashes_cost_one_case_each) {
    char suites[64];
    support_suites(suites);
    cr_assert_eq(check(suites, "tests/planted/segfaults.so", "--fresh --op 'kv_q*insert'"), 1);
    ASSERT_HAS(output, "2 crashed");
    ASSERT_HAS(output, "2 unsupported");
}

Test(check, known_failures) {
    char suites[64];
    support_suites(suites);
    support_write(suites, "known.yaml",
                  "- impl: guard_after\n  case: kv_quantize_insert/small\n  reason: a known one\n"
                  "  link: https://example.com/1\n");
    cr_assert_eq(
        check(suites, "tests/planted/guard_after.so", "--fresh --case kv_quantize_insert/small"), 0,
        "%s", output);
    ASSERT_HAS(output, "XFAIL");
    ASSERT_HAS(output, "1 failed as expected");
    cr_assert_eq(
        check(suites, "tests/planted/guard_after.so", "--fresh --case kv_quantize_insert/second"),
        1);
    cr_assert_null(strstr(output, "known failure"));
    support_write(suites, "known.yaml",
                  "- impl: guard_after\n  case: kv_quantize_insert/smal\n  reason: a slip\n"
                  "  link: https://example.com/1\n");
    cr_assert_eq(check(suites, "tests/planted/guard_after.so", "--fresh --op kv_quantize_insert"),
                 1);
    ASSERT_HAS(output, "known.yaml:1: this known failure fits no case of the suites");
    support_write(suites, "known.yaml",
                  "- impl: right\n  case: kv_quantize_insert/*\n  reason: fixed by now\n"
                  "  link: https://example.com/2\n");
    cr_assert_eq(check(suites, "tests/planted/right.so", "--fresh --op kv_quantize_insert"), 1);
    ASSERT_HAS(output, "XPASS");
    ASSERT_HAS(output, "passes although it is listed as a known failure");
    support_write(suites, "known.yaml", "- impl: right\n  tset: x\n");
    cr_assert_eq(check(suites, "tests/planted/right.so", "--fresh --op kv_quantize_insert"), 2);
    ASSERT_HAS(output, "known.yaml:2: 'tset' is not a key");
}

Test(check, hostile_known_files) {
    static const char *const texts[] = {
        "a: b",
        "- just a word",
        "- impl: [a, b]",
        "- {impl: a, impl: b}",
        "- impl: a\n  case: b\n",
        "- {",
        "\xff\xff",
        "- impl: a\n  case: b\n  reason: c\n  link: {d: e}\n",
    };
    char directory[64], path[200];
    support_directory(directory);
    snprintf(path, sizeof path, "%s/known.yaml", directory);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct dsv4_known known;
        struct dsv4_err err = {{0}, {0}, 0};
        support_write(directory, "known.yaml", texts[i]);
        cr_assert_eq(dsv4_known_read(&known, path, &err), -1, "text %zu is accepted", i);
        cr_assert_gt(err.line, 0);
        cr_assert_str_eq(err.file, path);
        dsv4_known_free(&known);
    }
    support_write(directory, "known.yaml", "# nothing is known to fail\n[]\n");
    struct dsv4_known known;
    struct dsv4_err err = {{0}, {0}, 0};
    cr_assert_eq(dsv4_known_read(&known, path, &err), 0, "%s", err.text);
    cr_assert_eq(known.n, 0);
    dsv4_known_free(&known);
}

Test(check, reports_and_dump_are_written) {
    char suites[64], reports[64], line[400], path[200];
    static const char *const files[] = {"guard_after.txt", "guard_after.json", "guard_after.xml",
                                        "guard_after.html", "kv_quantize_insert.small.got.npz"};
    support_suites(suites);
    support_directory(reports);
    snprintf(line, sizeof line, "--fresh --op kv_quantize_insert --report %s --dump", reports);
    cr_assert_eq(check(suites, "tests/planted/guard_after.so", line), 1);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", reports, files[i]);
        cr_assert_eq(access(path, R_OK), 0, "%s is not there", path);
    }
    snprintf(line, sizeof line, "report %s/guard_after.json", reports);
    cr_assert_eq(support_run(output, OUTPUT, line), 1);
    ASSERT_HAS(output, "wrote 3 bytes into the guard after `cache`");
    snprintf(line, sizeof line, "report --format html %s/guard_after.json %s/no.json", reports,
             reports);
    cr_assert_eq(support_run(output, OUTPUT, line), 2);
}

Test(check, json_and_junit_alone_on_standard_output) {
    char suites[64], line[9000], program[4100], plugin[4100];
    support_suites(suites);
    support_build(program, sizeof program, "dsv4cts");
    support_build(plugin, sizeof plugin, "tests/planted/guard_after.so");
    snprintf(
        line, sizeof line,
        "check --fresh --suites %s --impl %s --op kv_quantize_insert --format json 2>/dev/null #",
        suites, plugin);
    cr_assert_eq(support_run(output, OUTPUT, line), 1);
    cr_assert_eq(output[0], '{');
    ASSERT_HAS(output, "\"verdict\": \"FAIL\"");
    snprintf(
        line, sizeof line,
        "check --fresh --suites %s --impl %s --op kv_quantize_insert --format junit 2>/dev/null #",
        suites, plugin);
    cr_assert_eq(support_run(output, OUTPUT, line), 1);
    cr_assert_eq(strncmp(output, "<?xml", 5), 0);
}

Test(check, several_implementations_in_one_run) {
    char suites[64], line[9000], right[4100];
    support_suites(suites);
    support_build(right, sizeof right, "tests/planted/right.so");
    snprintf(line, sizeof line, "--fresh --op kv_quantize_insert --impl %s --impl ref", right);
    cr_assert_eq(check(suites, "tests/planted/guard_after.so", line), 1);
    ASSERT_HAS(output, "guard_after: 2 failed");
    ASSERT_HAS(output, "right: 2 passed");
    ASSERT_HAS(output, "ref: 2 passed");
}

Test(bench, silence_is_not_green) {
    char suites[64], line[9000], plugin[4100];
    support_suites(suites);
    support_build(plugin, sizeof plugin, "tests/planted/declines.so");
    snprintf(line, sizeof line,
             "bench --suites %s --tier smoke --case kv_quantize_insert/small --time 10 --impl %s",
             suites, plugin);
    cr_assert_eq(support_run(output, OUTPUT, line), 3, "%s", output);
    ASSERT_HAS(output,
               "kv_quantize_insert/small: UNSUPPORTED: no kernel for kv_quantize_insert yet");
    support_build(plugin, sizeof plugin, "tests/planted/aborts.so");
    snprintf(line, sizeof line,
             "bench --suites %s --tier smoke --case kv_quantize_insert/small --time 10 --impl %s",
             suites, plugin);
    cr_assert_eq(support_run(output, OUTPUT, line), 1, "%s", output);
    ASSERT_HAS(output, "SIGABRT (Aborted) in run()");
}

Test(bench, a_fast_wrong_kernel_is_no_news) {
    char suites[64], line[9000], plugin[4100];
    support_suites(suites);
    support_build(plugin, sizeof plugin, "tests/planted/scale_floor.so");
    snprintf(line, sizeof line,
             "bench --suites %s --tier smoke --case kv_quantize_insert/small --time 10 --verify "
             "--impl %s --impl ref",
             suites, plugin);
    cr_assert_eq(support_run(output, OUTPUT, line), 1, "%s", output);
    ASSERT_HAS(output, "WRONG");
    ASSERT_HAS(output, "calls exact");
    ASSERT_HAS(output, "kv_quantize_insert/small: FAIL: ");
}
