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
    dsv4_report_add(report, DSV4_PASS, "op_a", "first")->seconds = 0.25;
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
    char *text = NULL;
    size_t size = 0;
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
    char directory[64], path[200];
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
    ASSERT_HAS(text, "emulated acme: 1 passed, 1 failed, 1 unsupported\n");
    free(text);
    dsv4_report_free(&report);
}

Test(report, damaged_json_is_one_sentence) {
    static const struct {
        const char *text, *sentence;
    } rows[] = {
        {"",                                                    "not a report"                               },
        {"{\"format\": \"dsv4cts-report-1\"",                   "not a report"                               },
        {"[]",                                                  "'format' is missing"                        },
        {"{\"format\": \"other\"}",                             "the format is 'other', not dsv4cts-report-1"},
        {"{\"format\": \"dsv4cts-report-1\", \"results\": 3}",
         "'results' is missing or not a list"                                                                },
        {"{\"format\": \"dsv4cts-report-1\", \"results\": []}", "'version' is missing"                       },
    };
    char directory[64], path[200];
    support_directory(directory);
    snprintf(path, sizeof path, "%s/r.json", directory);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsv4_report report;
        struct dsv4_err err = {{0}, {0}, 0};
        support_write(directory, "r.json", rows[i].text);
        cr_assert_eq(dsv4_report_read(&report, path, &err), -1);
        ASSERT_HAS(err.text, rows[i].sentence);
        cr_assert_str_eq(err.file, path);
        dsv4_report_free(&report);
    }
}
