/* SPDX-License-Identifier: Apache-2.0 */
#include "../../reference/memory.h"
#include "../report.h"
#include "../verbs.h"
#include "support.h"

static const char hostile[] = "\033[2Jred <b>&\"bold\"</b> ]]> \xff\xc3\x28 \xe2\x82\xac\nsecond";

static void make_report(struct dsv4_report *report) {
    memset(report, 0, sizeof *report);
    strcpy(report->version, "dsv4cts test");
    strcpy(report->impl, "acme");
    strcpy(report->path, "/lib/acme.so");
    strcpy(report->info.name, "acme-kernels");
    strcpy(report->info.version, "1.2.3");
    strcpy(report->info.device, "cuda");
    strcpy(report->info.describe, "H200");
    report->info.has_canary = true;
    strcpy(report->info.canary_line, "contraction off");
    dsv4_report_part(report, 1, 1);
    report->parts[0] = (struct dsv4_part){
        .shard = 1, .planned = 3, .results = 3, .complete = true, .seconds = 1.5};
    struct dsv4_result *const good = dsv4_report_add(report, DSV4_PASS, "op_a", "first");
    good->seconds = 0.25;
    good->grade = DSV4_CONFORMANT;
    good->dialects = dsv4_copy_text("fp8=ocp layout=planar");
    good->n_outputs = 1;
    good->outputs = dsv4_alloc(sizeof *good->outputs);
    good->outputs[0] = (struct dsv4_output){
        .tensor = "out", .elements = 100, .differ = 7, .slack = 0.5, .bins = {[1] = 3, [11] = 4}
    };
    struct dsv4_result *const bad = dsv4_report_add(report, DSV4_FAILED, "op_a", "second");
    dsv4_result_say(bad, "%s", hostile);
    dsv4_notes_add(&bad->notes, "want", "0x79");
    dsv4_notes_add(&bad->notes, "hint", "%s", hostile);
    bad->file = dsv4_copy_text("suites/op_a.yaml");
    bad->line = 31;
    bad->tags = dsv4_copy_text("scale-ceil");
    dsv4_result_say(dsv4_report_add(report, DSV4_DECLINED, "op_b", "third"), "no kernel");
}

static char *render(void (*write)(const struct dsv4_report *, FILE *),
                    const struct dsv4_report *report) {
    static char *text;
    static size_t size;
    FILE *const out = open_memstream(&text, &size);
    write(report, out);
    fclose(out);
    return text;
}

static void junit(const struct dsv4_report *report, FILE *out) {
    dsv4_report_junit(report, 1, out);
}
static void html(const struct dsv4_report *report, FILE *out) { dsv4_report_html(report, 1, out); }

Test(report, exit_codes) {
    static const struct {
        enum dsv4_verdict first, second;
        int code;
    } rows[] = {
        {DSV4_PASS,     DSV4_PASS,     DSV4_EXIT_PASS     },
        {DSV4_PASS,     DSV4_DECLINED, DSV4_EXIT_PASS     },
        {DSV4_XFAIL,    DSV4_SKIP,     DSV4_EXIT_PASS     },
        {DSV4_PASS,     DSV4_FAILED,   DSV4_EXIT_DIFFERENT},
        {DSV4_CRASH,    DSV4_PASS,     DSV4_EXIT_DIFFERENT},
        {DSV4_PASS,     DSV4_TIMEOUT,  DSV4_EXIT_DIFFERENT},
        {DSV4_XPASS,    DSV4_PASS,     DSV4_EXIT_DIFFERENT},
        {DSV4_BROKEN,   DSV4_PASS,     DSV4_EXIT_ERROR    },
        {DSV4_BROKEN,   DSV4_FAILED,   DSV4_EXIT_ERROR    },
        {DSV4_DECLINED, DSV4_DECLINED, DSV4_EXIT_NOTHING  },
        {DSV4_SKIP,     DSV4_DECLINED, DSV4_EXIT_NOTHING  },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsv4_report report = {.n_results = 0};
        cr_assert_eq(dsv4_report_exit(&report), DSV4_EXIT_NOTHING);
        dsv4_report_add(&report, rows[i].first, "op", "a");
        dsv4_report_add(&report, rows[i].second, "op", "b");
        cr_assert_eq(dsv4_report_exit(&report), rows[i].code, "row %zu", i);
        dsv4_report_free(&report);
    }
}

Test(report, json_reads_back_what_it_wrote) {
    struct dsv4_report report, again;
    struct dsv4_err err = {{0}, {0}, 0};
    char directory[64], path[200], spent[64];
    make_report(&report);
    support_directory(directory);
    cr_assert_eq(dsv4_report_save(&report, directory, &err), 0, "%s", err.text);
    snprintf(path, sizeof path, "%s/acme.json", directory);
    cr_assert_eq(dsv4_report_read(&again, path, &err), 0, "%s", err.text);
    cr_assert_eq(again.n_results, 3);
    cr_assert_str_eq(again.impl, "acme");
    cr_assert_eq(again.results[1].verdict, DSV4_FAILED);
    cr_assert_eq(again.results[1].line, 31);
    cr_assert_eq(again.results[1].notes.n, 2);
    cr_assert_str_eq(again.results[1].notes.at[0].key, "want");
    cr_assert_float_eq(again.results[0].seconds, 0.25, 1e-12);
    cr_assert_eq(again.results[0].grade, DSV4_CONFORMANT);
    cr_assert_str_eq(again.results[0].dialects, "fp8=ocp layout=planar");
    cr_assert_eq(again.results[0].n_outputs, 1);
    cr_assert_eq(again.results[0].outputs[0].differ, 7);
    cr_assert_eq(again.results[0].outputs[0].bins[11], 4);
    cr_assert_float_eq(again.results[0].outputs[0].slack, 0.5, 1e-12);
    cr_assert(again.parts[0].complete);
    cr_assert_eq(again.parts[0].seconds, 1.5);
    dsv4_report_time(&again, spent, sizeof spent);
    cr_assert_str_eq(spent, "1.5 s, 0.2 s of them in calls");
    cr_assert_eq(dsv4_report_exit(&again), DSV4_EXIT_DIFFERENT);
    dsv4_report_free(&report);
    dsv4_report_free(&again);
}

Test(report, no_control_character_reaches_a_reader) {
    struct dsv4_report report;
    void (*const writers[])(const struct dsv4_report *, FILE *) = {dsv4_report_text, junit, html,
                                                                   dsv4_report_json};
    make_report(&report);
    for (size_t w = 0; w < sizeof writers / sizeof *writers; w++) {
        char *const text = render(writers[w], &report);
        for (const char *at = text; *at != '\0'; at++)
            cr_assert((unsigned char)*at >= 0x20 || *at == '\n', "writer %zu lets 0x%02x through",
                      w, *at);
        free(text);
    }
    dsv4_report_free(&report);
}

Test(report, junit_is_escaped_and_counts) {
    struct dsv4_report report;
    make_report(&report);
    char *const text = render(junit, &report);
    ASSERT_HAS(text, "tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\"");
    ASSERT_HAS(
        text,
        "\\x1b[2Jred &lt;b&gt;&amp;&quot;bold&quot;&lt;/b&gt; ]]&gt; \\xff\\xc3( \xe2\x82\xac");
    ASSERT_HAS(text, "<skipped message=\"UNSUPPORTED: no kernel\">");
    cr_assert_null(strstr(text, "<b>"));
    free(text);
    dsv4_report_free(&report);
}

Test(report, text_names_device_canary_and_emulation) {
    struct dsv4_report report;
    make_report(&report);
    report.info.emulated = true;
    char *const text = render(dsv4_report_text, &report);
    ASSERT_HAS(text, "emulated dsv4cts test\n");
    ASSERT_HAS(text, "emulated device   cuda: H200\n");
    ASSERT_HAS(text, "emulated canary   contraction off\n");
    ASSERT_HAS(text, "emulated FAIL        op_a/second");
    ASSERT_HAS(text, "suites/op_a.yaml:31   tags: scale-ceil\n");
    ASSERT_HAS(text, "emulated acme: 1 passed (0 exact, 1 conformant), 1 failed, 1 unsupported\n");
    free(text);
    dsv4_report_free(&report);
}

/* Replaces the first `from` of a report's JSON by `to`, reads it, and returns the sentence. */
static void damage(const char *from, const char *to, struct dsv4_err *err) {
    struct dsv4_report report, again;
    make_report(&report);
    char *const text = render(dsv4_report_json, &report);
    ASSERT_HAS(text, from);
    const size_t before = (size_t)(strstr(text, from) - text);
    char *damaged = NULL;
    size_t size = 0;
    FILE *const out = open_memstream(&damaged, &size);
    fwrite(text, 1, before, out);
    fputs(to, out);
    fputs(text + before + strlen(from), out);
    fclose(out);
    memset(err, 0, sizeof *err);
    cr_assert_eq(dsv4_report_parse(&again, damaged, size, "r.json", err), -1, "%s -> %s", from, to);
    cr_assert_str_eq(err->file, "r.json");
    dsv4_report_free(&again);
    dsv4_report_free(&report);
    free(damaged);
    free(text);
}

Test(report, damaged_json_is_one_sentence) {
    static const struct {
        const char *from, *to, *sentence;
    } rows[] = {
        {"{\n \"format\"",            "\"format\"",                  "not a report"                       },
        {"\"results\": [",            "\"results\": [[",             "not a report"                       },
        {"dsv4cts-report-3",          "dsv4cts-report-1",
         "the format is 'dsv4cts-report-1', not dsv4cts-report-3"                                         },
        {"\"version\"",               "\"vrsion\"",                  "'version' is missing"               },
        {"\"impl\": \"acme\"",        "\"impl\": 3",                 "'impl' is missing or not a text"    },
        {"\"bench\": []",             "\"bench\": [], \"more\": 1",  "keys where"                         },
        {"\"bench\": []",             "\"bench\": {}",               "'bench' is missing or not a list"   },
        {"\"PASS\": 1",               "\"PASS\": 2",                 "'counts' is not what the results"   },
        {"\"verdict\": \"PASS\"",     "\"verdict\": \"FINE\"",       "'FINE' is no verdict"               },
        {"\"grade\": \"conformant\"", "\"grade\": \"\"",             "op_a/first passed without a grade"  },
        {"\"line\": 31",              "\"line\": -1",                "'line' is missing or not a whole"   },
        {"\"line\": 31",              "\"line\": 1e400",             "not a report"                       },
        {"\"seconds\": 0.25",         "\"seconds\": \"0.25\"",       "'seconds' is missing or not a num"  },
        {"\"shard\": 1",              "\"shard\": 2",                "shard 2 of 1: there is none"        },
        {"\"complete\": true",        "\"complete\": 1",             "'complete' is missing or not true"  },
        {"\"n_shards\": 1",           "\"n_shards\": 1099511627776", "'n_shards' is not from 1 to 1000000"},
        {"\"mode\": \"eager\"",       "\"mode\": \"lazy\"",          "'mode' is missing or not eager"     },
        {"\"canary\": \"passed\"",    "\"canary\": \"sings\"",       "'canary' is missing or not none"    },
        {"\"want\": \"0x79\"",        "\"want\": 79",                "notes of op_a/second are not"       },
        {"\"plugin_sha256\": \"\"",   "\"plugin_sha256\": \"x\"",    "'plugin_sha256' is no SHA-256"      },
        {"\"differ\": 7",             "\"differ\": 7.5",             "'differ' is missing or not a whole" },
        {"   3,\n",                   "",                            "'bins' has 11 entries, not 12"      },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsv4_err err;
        damage(rows[i].from, rows[i].to, &err);
        ASSERT_HAS(err.text, rows[i].sentence);
    }
}

/* A shard that died while it wrote leaves the beginning of a file. */
Test(report, every_beginning_of_a_report_is_refused) {
    struct dsv4_report report, again;
    make_report(&report);
    char *const text = render(dsv4_report_json, &report);
    const size_t size = strlen(text);
    for (size_t n = 0; n + 1 < size; n++) { /* the last byte is a newline */
        struct dsv4_err err = {{0}, {0}, 0};
        char *const part = malloc(n + 1); /* so that a sanitizer sees a byte too many read */
        memcpy(part, text, n);
        cr_assert_eq(dsv4_report_parse(&again, part, n, "r.json", &err), -1, "%zu bytes", n);
        free(part);
        dsv4_report_free(&again);
    }
    free(text);
    dsv4_report_free(&report);
}
