/* SPDX-License-Identifier: Apache-2.0 */
/* A run in parts: who says which part, joining the parts, and a part per device. */
#include "../report.h"
#include "../shard.h"
#include "support.h"

enum { OUTPUT = 1 << 18 };
static char output[OUTPUT];

static const char *const variables[] = {
    "TEST_SHARD_INDEX",
    "TEST_TOTAL_SHARDS",
    "TEST_SHARD_STATUS_FILE",
    "CI_NODE_INDEX",
    "CI_NODE_TOTAL",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_STEP",
    "SLURM_ARRAY_TASK_COUNT",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_STEP_ID",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_RANK",
    "PMI_SIZE",
};

/* Reads "env" with these variables alone: "A=1 B=2". */
static int read_env(struct dsv4_shard *shard, const char *settings, struct dsv4_err *err) {
    char text[400];
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) unsetenv(variables[i]);
    snprintf(text, sizeof text, "%s", settings);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        char *const value = strchr(word, '=');
        *value = '\0';
        cr_assert_eq(setenv(word, value + 1, 1), 0);
    }
    memset(err, 0, sizeof *err);
    return dsv4_shard_read(shard, "env", err);
}

Test(shard, the_environment_names_a_part) {
    static const struct {
        const char *settings;
        int64_t index, n;
    } rows[] = {
        {"TEST_SHARD_INDEX=0 TEST_TOTAL_SHARDS=4",                                       1, 4},
        {"CI_NODE_INDEX=4 CI_NODE_TOTAL=4",                                              4, 4},
        {"SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=1",        3, 4},
        {"SLURM_ARRAY_TASK_ID=8 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=2 "
         "SLURM_ARRAY_TASK_STEP=2",                                             4, 4},
        {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2",                                2, 2},
        {"PMI_RANK=0 PMI_SIZE=1",                                                        1, 1},
        {"SLURM_PROCID=5 SLURM_NTASKS=8 SLURM_STEP_ID=0",                                6, 8},
 /* a batch script has SLURM_PROCID too, and runs once */
        {"SLURM_PROCID=0 SLURM_NTASKS=8 SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2", 2, 2},
 /* an array of steps with tasks each */
        {"SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_PROCID=2 SLURM_NTASKS=4 "
         "SLURM_STEP_ID=0",                                                     7, 8},
 /* mpirun inside of a Slurm step: its own ranks */
        {"OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 SLURM_PROCID=0 SLURM_NTASKS=1 "
         "SLURM_STEP_ID=0",                                                     4, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsv4_shard shard;
        struct dsv4_err err;
        cr_assert_eq(read_env(&shard, rows[i].settings, &err), 0, "%s: %s", rows[i].settings,
                     err.text);
        cr_expect_eq(shard.index, rows[i].index, "%s: %d", rows[i].settings, (int)shard.index);
        cr_expect_eq(shard.n, rows[i].n, "%s: %d", rows[i].settings, (int)shard.n);
        cr_expect_neq(shard.from[0], '\0');
    }
}

Test(shard, garbage_in_the_environment_is_one_sentence) {
    static const struct {
        const char *settings, *sentence;
    } rows[] = {
        {"",                                                                                "the environment names no part"       },
        {"SLURM_PROCID=0 SLURM_NTASKS=8",                                                   "the environment names no part"       },
        {"CI_NODE_INDEX=1",                                                                 "CI_NODE_TOTAL is not set beside"     },
        {"TEST_TOTAL_SHARDS=2",                                                             "TEST_SHARD_INDEX is not set beside"  },
        {"CI_NODE_INDEX=0 CI_NODE_TOTAL=4",                                                 "CI_NODE_INDEX is 0, which is none of"},
        {"CI_NODE_INDEX=5 CI_NODE_TOTAL=4",                                                 "CI_NODE_INDEX is 5, which is none of"},
        {"TEST_SHARD_INDEX=2 TEST_TOTAL_SHARDS=2",                                          "TEST_TOTAL_SHARDS=2 parts from 0"    },
        {"PMI_RANK=0 PMI_SIZE=0",                                                           "PMI_SIZE=0 parts"                    },
        {"PMI_RANK=-1 PMI_SIZE=2",                                                          "'-1', not a whole number"            },
        {"PMI_RANK=1x PMI_SIZE=2",                                                          "'1x', not a whole number"            },
        {"PMI_RANK= PMI_SIZE=2",                                                            "'', not a whole number"              },
        {"PMI_RANK=1 PMI_SIZE=99999999999999999999",                                        "not a whole number"                  },
        {"PMI_RANK=1 PMI_SIZE=2147483647 CI_NODE_INDEX=1 CI_NODE_TOTAL=9",                  "too many parts"                      },
 /* not a range: the parts would not meet */
        {"SLURM_ARRAY_TASK_ID=9 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=1",
         "SLURM_ARRAY_TASK_ID is 9"                                                                                               },
        {"SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=1 "
         "SLURM_ARRAY_TASK_STEP=2",                                                "in steps of 2"                       },
        {"SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_STEP=0",
         "SLURM_ARRAY_TASK_STEP is 0"                                                                                             },
        {"TEST_SHARD_INDEX=0 TEST_TOTAL_SHARDS=1 TEST_SHARD_STATUS_FILE=/nonexistent/file",
         "No such file"                                                                                                           },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsv4_shard shard;
        struct dsv4_err err;
        cr_assert_eq(read_env(&shard, rows[i].settings, &err), -1, "%s", rows[i].settings);
        ASSERT_HAS(err.text, rows[i].sentence);
    }
}

Test(shard, bazel_sees_its_status_file) {
    char directory[64], settings[200], path[100];
    struct dsv4_shard shard;
    struct dsv4_err err;
    support_directory(directory);
    snprintf(path, sizeof path, "%s/status", directory);
    snprintf(settings, sizeof settings,
             "TEST_SHARD_INDEX=0 TEST_TOTAL_SHARDS=2 TEST_SHARD_STATUS_FILE=%s", path);
    cr_assert_eq(read_env(&shard, settings, &err), 0, "%s", err.text);
    cr_assert_eq(access(path, F_OK), 0);
}

/* Runs a verb; %D in its words is `directory`. */
static int run(const char *directory, const char *words) {
    char line[9000];
    size_t n = 0;
    for (const char *at = words; *at != '\0'; at++) {
        if (at[0] == '%' && at[1] == 'D') {
            n += (size_t)snprintf(line + n, sizeof line - n, "%s", directory);
            at++;
        } else {
            line[n++] = *at;
        }
    }
    line[n] = '\0';
    return support_run(output, OUTPUT, line);
}

/* %D/1.json, 2.json, 3.json: shards of two ops; %D/whole.json: the same in one piece. */
static void make_shards(char directory[64]) {
    char suites[64], line[2000];
    support_suites(suites);
    support_directory(directory);
    for (int i = 0; i <= 3; i++) {
        snprintf(line, sizeof line,
                 "check --fresh --suites %s --op 'kv_@(quantize_insert|dequantize_gather)' "
                 "--format json %s%.*d%s 2>/dev/null >%s/%s",
                 suites, i > 0 ? "--shard " : "", i > 0, i, i > 0 ? "/3" : "", directory,
                 i == 0   ? "whole.json #"
                 : i == 1 ? "1.json #"
                 : i == 2 ? "2.json #"
                          : "3.json #");
        cr_assert_eq(support_run(output, OUTPUT, line), 0, "%s", output);
    }
}

Test(shard, parts_make_the_whole_in_its_order) {
    char directory[64], path[100];
    struct dsv4_report whole, joined;
    struct dsv4_err err = {{0}, {0}, 0};
    make_shards(directory);
    cr_assert_eq(run(directory, "report --format json --output %D/m.json %D/3.json %D/1.json "
                                "%D/2.json"),
                 0, "%s", output);
    snprintf(path, sizeof path, "%s/m.json", directory);
    cr_assert_eq(dsv4_report_read(&joined, path, &err), 0, "%s", err.text);
    snprintf(path, sizeof path, "%s/whole.json", directory);
    cr_assert_eq(dsv4_report_read(&whole, path, &err), 0, "%s", err.text);
    cr_assert_eq(joined.n_results, whole.n_results);
    cr_assert_eq(joined.n_parts, 3);
    for (size_t i = 0; i < whole.n_results; i++) {
        cr_assert_str_eq(joined.results[i].op, whole.results[i].op);
        cr_assert_str_eq(joined.results[i].name, whole.results[i].name);
        cr_assert_eq(joined.results[i].index, (int64_t)i);
        cr_assert_str_eq(joined.results[i].dialects, whole.results[i].dialects);
    }
    dsv4_report_free(&whole);
    dsv4_report_free(&joined);
}

/* What a shard that died leaves: its report of the last half minute, or half of a file, or nothing. */
Test(shard, a_part_that_is_missing_is_named) {
    char directory[64];
    make_shards(directory);
    cr_assert_eq(run(directory, "report %D/1.json %D/3.json"), 2, "%s", output);
    ASSERT_HAS(output, "INCOMPLETE  missing: shard 2 of 3");
    ASSERT_HAS(output, "dsv4cts: ref: missing: shard 2 of 3");
    cr_assert_eq(run(directory, "report --partial %D/1.json %D/3.json"), 0, "%s", output);
    ASSERT_HAS(output, "missing: shard 2 of 3");
    cr_assert_eq(run(directory, "report --format junit %D/3.json 2>/dev/null #"), 2);
    ASSERT_HAS(output, "errors=\"1\"");
    ASSERT_HAS(output, "name=\"shards\" time=\"0\"><error message=\"missing: shard 1, 2 of 3\"/>");
    cr_assert_eq(run(directory, "report --format html %D/3.json 2>/dev/null #"), 2);
    ASSERT_HAS(output, "<b>Incomplete.</b> missing: shard 1, 2 of 3");
    cr_assert_eq(run(directory, "list >/dev/null; sed -i -e 's/\"complete\": true/\"complete\": "
                                "false/' -e 's/\"planned\": 2/\"planned\": 5/' %D/2.json #"),
                 0);
    cr_assert_eq(run(directory, "report %D/1.json %D/2.json %D/3.json"), 2, "%s", output);
    ASSERT_HAS(output, "shard 2 stopped after ");
    ASSERT_HAS(output, "results");
}

Test(shard, a_broken_part_ends_the_merge_and_writes_nothing) {
    char directory[64];
    make_shards(directory);
    support_write(directory, "out.html", "as it was\n");
    cr_assert_eq(run(directory, "list >/dev/null; head -c 700 %D/2.json >%D/cut.json #"), 0);
    cr_assert_eq(run(directory, "report --format html --output %D/out.html %D/1.json %D/cut.json"),
                 2);
    ASSERT_HAS(output, "cut.json:");
    ASSERT_HAS(output, "not a report: ");
    cr_assert_eq(run(directory, "report --format html --output %D/out.html %D/1.json %D/1.json"),
                 2);
    ASSERT_HAS(output, "is in two of the reports: give each shard once");
    cr_assert_eq(run(directory, "list >/dev/null; cat %D/out.html #"), 0);
    cr_assert_str_eq(output, "as it was\n");
}

/* Each of them lacks shards then, and says so. */
Test(shard, parts_of_other_runs_stay_apart) {
    char directory[64];
    make_shards(directory);
    static const char *const changes[] = {"s/\"n_shards\": 3/\"n_shards\": 4/",
                                          "s/\"selection\": \"op/\"selection\": \"po/"};
    for (size_t i = 0; i < 2; i++) {
        char words[200];
        snprintf(words, sizeof words, "list >/dev/null; sed '%s' %%D/2.json >%%D/other.json #",
                 changes[i]);
        cr_assert_eq(run(directory, words), 0);
        cr_assert_eq(run(directory, "report %D/1.json %D/other.json %D/whole.json"), 2);
        ASSERT_HAS(output, "dsv4cts: ref: missing: shard 2, 3 of 3");
        ASSERT_HAS(output, i == 0 ? "dsv4cts: ref: missing: shard 1, 3, 4 of 4"
                                  : "dsv4cts: ref: missing: shard 1, 3 of 3");
    }
}

Test(shard, a_report_directory_holds_all_parts) {
    char suites[64], directory[64], line[2000];
    support_suites(suites);
    support_directory(directory);
    for (int i = 1; i <= 2; i++) {
        snprintf(line, sizeof line,
                 "check --fresh --suites %s --op kv_quantize_insert --report %s --shard %d/2",
                 suites, directory, i);
        cr_assert_eq(support_run(output, OUTPUT, line), 0, "%s", output);
        ASSERT_HAS(output, i == 1 ? "shard    1 of 2" : "shard    2 of 2");
    }
    cr_assert_eq(run(directory, "report %D/ref.1-of-2.json %D/ref.2-of-2.json"), 0, "%s", output);
    ASSERT_HAS(output, "ref: 2 passed");
    cr_assert_eq(run(directory, "check --shard 3/2"), 2);
    ASSERT_HAS(output, "--shard: '3/2' is not I/N with 1 <= I <= N, nor 'env'");
    cr_assert_eq(run(directory, "check --shard ev"), 2);
}

/* ---- a machine with two devices ---- */

static int check_fake(const char *rest) {
    char suites[64], line[9000], root[4100], plugin[4100];
    support_suites(suites);
    support_write(suites, "kv_quantize_insert.yaml",
                  "op: kv_quantize_insert\ntags:\n  plain:\n    bug: any\ncases:\n"
                  "  - name: case-{padding}\n    tier: smoke\n    tags: [plain]\n"
                  "    sweep: {padding: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}\n");
    support_build(root, sizeof root, "tests/fake");
    support_build(plugin, sizeof plugin, "tests/fake/hip_plugin.so");
    cr_assert_eq(setenv("ROCM_PATH", root, 1), 0);
    cr_assert_eq(setenv("DSV4_EMULATE", "0", 1), 0);
    snprintf(line, sizeof line,
             "check --fresh --suites %s --impl %s --op kv_quantize_insert --mode graph %s", suites,
             plugin, rest);
    return support_run(output, OUTPUT, line);
}

Test(shard, cases_are_dealt_out_to_all_devices) {
    char directory[64], words[400], path[100];
    struct dsv4_report report;
    struct dsv4_err err = {{0}, {0}, 0};
    int64_t of_device[2] = {0};
    support_directory(directory);
    snprintf(words, sizeof words, "--devices all --verbose --report %s", directory);
    cr_assert_eq(check_fake(words), 0, "%s", output);
    ASSERT_HAS(output, "emulated devices  2, the cases are dealt out");
    ASSERT_HAS(output, "emulated hip_plugin: 10 passed");
    ASSERT_HAS(output, "PASS        kv_quantize_insert/case-9");
    snprintf(path, sizeof path, "%s/hip_plugin.json", directory);
    cr_assert_eq(dsv4_report_read(&report, path, &err), 0, "%s", err.text);
    cr_assert_eq(report.n_results, 10);
    for (size_t i = 0; i < 10; i++) {
        cr_assert_eq(report.results[i].index, (int64_t)i, "not in the order of the suite");
        of_device[report.results[i].device]++;
    }
    cr_assert(of_device[0] > 0 && of_device[1] > 0);
    dsv4_report_free(&report);
}

Test(shard, devices_that_are_not_there_or_fail) {
    cr_assert_eq(check_fake("--devices 1"), 0, "%s", output);
    cr_assert_eq(check_fake("--devices 0,2"), 2, "%s", output);
    ASSERT_HAS(output, "--devices: there is no device 2 here; there are 2");
    cr_assert_eq(check_fake("--devices 1,1"), 2, "%s", output);
    ASSERT_HAS(output, "'1,1' is not 'all', nor device numbers with commas");
    cr_assert_eq(check_fake("--devices ,"), 2, "%s", output);
    cr_assert_eq(check_fake("--devices all --device 1"), 2, "%s", output);
    ASSERT_HAS(output, "--device and --devices exclude each other");
    cr_assert_eq(setenv("DSV4_FAKE_HIP", "hipStreamSynchronize", 1), 0);
    cr_assert_eq(check_fake("--devices all --first 2"), 1, "%s", output);
    ASSERT_HAS(output, "crashed");
    ASSERT_HAS(output, "skipped");
}
