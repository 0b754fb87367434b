/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../reference/memory.h"
#include "../options.h"
#include "../sequence.h"
#include "../suite.h"
#include "toy_op.h"

#define HEAD "op: toy\ntags:\n  t: {bug: \"goes wrong\"}\ncases:\n"
#define GOOD "  - {name: a, tier: smoke, tags: [t]}\n"

static void read_text(struct dsv4_suite *suite, const char *text, size_t size, int *status,
                      struct dsv4_err *err) {
    char path[] = "/tmp/dsv4-suite-XXXXXX";
    const int file = mkstemp(path);
    cr_assert(file >= 0 && write(file, text, size) == (ssize_t)size);
    close(file);
    memset(suite, 0, sizeof *suite);
    memset(err, 0, sizeof *err);
    *status = dsv4_suite_read(suite, &toy_op, path, err);
    unlink(path);
}

Test(suite, reads_every_field) {
    struct dsv4_suite suite;
    struct dsv4_err err;
    int status;
    const char text[] =
        "op: toy\ntags:\n  one: {bug: \"goes wrong\", link: \"https://example.org/1\"}\n"
        "  two: {bug: 'goes worse'}\ncases:\n"
        "  - name: plain\n    tier: smoke\n    tags: [one]\n    seed: 0x1F\n"
        "    with: {tokens: 17, eps: 0.5}\n"
        "  - name: swept-{dialect}-{tokens}\n    tier: stress\n    tags: [two, one]\n"
        "    with: {eps: 1e-6}\n    sweep: {dialect: [east, west], tokens: [1, 2, 3]}\n";
    read_text(&suite, text, sizeof text - 1, &status, &err);
    cr_assert_eq(status, 0, "%s", err.text);
    cr_assert_eq(suite.n_cases, 7);
    cr_assert_eq(suite.n_tags, 2);
    cr_assert_str_eq(suite.tags[0].link, "https://example.org/1");
    cr_assert_null(suite.tags[1].link);
    cr_assert_str_eq(suite.tags[1].bug, "goes worse");
    const struct dsv4_suite_case *s = &suite.cases[0];
    cr_assert_str_eq(s->name, "plain");
    cr_assert_eq(s->seed, 31);
    cr_assert_eq(s->tier, DSV4_SMOKE);
    cr_assert_eq(s->line, 6);
    cr_assert_eq(s->n_params, 2);
    cr_assert_str_eq(s->params[0], "tokens");
    cr_assert_str_eq(s->params[1], "17");
    static const char *const names[] = {"swept-east-1", "swept-east-2", "swept-east-3",
                                        "swept-west-1", "swept-west-2", "swept-west-3"};
    for (size_t i = 0; i < 6; i++) cr_assert_str_eq(suite.cases[i + 1].name, names[i]);
    s = &suite.cases[6];
    cr_assert_eq(s->tier, DSV4_STRESS);
    cr_assert_eq(s->tags[0], &suite.tags[1]);
    cr_assert_eq(s->n_params, 3);
    struct dsv4_case c;
    cr_assert_eq(dsv4_suite_case_make(s, &c, &err), 0);
    cr_assert_eq(dsv4_case_int(&c, "tokens"), 3);
    cr_assert(dsv4_case_is(&c, "dialect", "west"));
    cr_assert_neq(c.seed, 0);
    dsv4_case_free(&c);
    dsv4_suite_free(&suite);
}

Test(suite, tags_survive_a_second_file) {
    struct dsv4_suite suite = {0};
    struct dsv4_err err = {0};
    char path[] = "/tmp/dsv4-suite-XXXXXX";
    const int file = mkstemp(path);
    cr_assert(file >= 0 && write(file, HEAD GOOD, sizeof HEAD GOOD - 1) > 0);
    close(file);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(dsv4_suite_read(&suite, &toy_op, path, &err), 0, "%s", err.text);
    unlink(path);
    cr_assert_eq(suite.n_cases, 5);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(suite.cases[i].tags[0], &suite.tags[i]);
        cr_assert_str_eq(suite.cases[i].tags[0]->name, "t");
        cr_assert_eq(suite.cases[i].file, suite.files[i]);
    }
    dsv4_suite_free(&suite);
}

static const struct {
    const char *text;
    int line; /* of the error */
    const char *message;
} hostile[] = {
    {"",                                                                                      1, "empty"                      },
    {"# nothing\n",                                                                           1, "empty"                      },
    {"[1, 2]\n",                                                                              1, "must be a map"              },
    {"op: toy\n",                                                                             1, "lacks the key 'tags'"       },
    {"op: toy\ntags: {}\n",                                                                   1, "lacks the key 'cases'"      },
    {"op: other\ntags: {}\ncases: []\n",                                                      1, "this is the suite of toy"   },
    {"op: [toy]\ntags: {}\ncases: []\n",                                                      1, "must be a scalar"           },
    {"op: toy\ntags: []\ncases: []\n",                                                        2, "must be a map"              },
    {"op: toy\ntags: {}\ncases: {}\n",                                                        3, "must be a list"             },
    {"op: toy\ntags: {}\ncases: []\n",                                                        3, "cases is empty"             },
    {"op: toy\nop: toy\ntags: {}\ncases: []\n",                                               2, "twice"                      },
    {"op: toy\nspeed: 1\ntags: {}\ncases: []\n",                                              2, "unknown key 'speed'"        },
    {"? [a]\n: b\n",                                                                          1, "must be a scalar"           },
    {"op: toy\ntags: {T_1: {bug: x}}\ncases: []\n",                                           2, "not kebab-case"             },
    {"op: toy\ntags: {t: {}}\ncases: []\n",                                                   2, "lacks the key 'bug'"        },
    {"op: toy\ntags: {t: {bug: ''}}\ncases: []\n",                                            2, "does not say which bug"     },
    {"op: toy\ntags: {t: {bug: [x]}}\ncases: []\n",                                           2, "must be a scalar"           },
    {"op: toy\ntags: {t: x}\ncases: []\n",                                                    2, "must be a map"              },
    {"op: toy\ntags: {t: {bug: x, link: 'http://x'}}\ncases: []\n",                           2, "https://"                   },
    {"op: toy\ntags: {t: {bug: x, note: y}}\ncases: []\n",                                    2, "unknown key 'note'"         },
    {"op: toy\ntags:\n  t: {bug: x}\n  t: {bug: y}\ncases: []\n",                             4, "declared twice"             },
    {"op: toy\ntags:\n  t: {bug: x}\n  u: {bug: y}\ncases:\n" GOOD,                           4, "no case uses the tag 'u'"   },
    {HEAD "  - a\n",                                                                          5, "must be a map"              },
    {HEAD "  - {tier: smoke, tags: [t]}\n",                                                   5, "lacks the key 'name'"       },
    {HEAD "  - {name: a, tags: [t]}\n",                                                       5, "lacks the key 'tier'"       },
    {HEAD "  - {name: a, tier: smoke}\n",                                                     5, "lacks the key 'tags'"       },
    {HEAD "  - {name: a, tier: smoke, tags: []}\n",                                           5, "tags is empty"              },
    {HEAD "  - {name: a, tier: smoke, tags: [t, t]}\n",                                       5, "given twice"                },
    {HEAD "  - {name: a, tier: smoke, tags: [u]}\n",                                          5, "not declared"               },
    {HEAD "  - {name: a, tier: smoke, tags: t}\n",                                            5, "must be a list"             },
    {HEAD "  - {name: a, tier: quick, tags: [t]}\n",                                          5, "not one of smoke"           },
    {HEAD "  - {name: A, tier: smoke, tags: [t]}\n",                                          5, "not kebab-case"             },
    {HEAD "  - {name: '', tier: smoke, tags: [t]}\n",                                         5, "not kebab-case"             },
    {HEAD "  - {name: a_b, tier: smoke, tags: [t]}\n",                                        5, "not kebab-case"             },
    {HEAD "  - {name: ../a, tier: smoke, tags: [t]}\n",                                       5, "not kebab-case"             },
    {HEAD "  - {name: a--b, tier: smoke, tags: [t]}\n",                                       5, "not kebab-case"             },
    {HEAD "  - {name: 'a-{tokens}', tier: smoke, tags: [t], with: {tokens: 1}}\n",            5, "not swept"                  },
    {HEAD "  - {name: 'a-{tokens', tier: smoke, tags: [t], sweep: {tokens: [1]}}\n",          5,
     "not swept"                                                                                                              },
    {HEAD "  - {name: a, tier: smoke, tags: [t], sweep: {tokens: [1, 2]}}\n",                 5,
     "name every swept parameter"                                                                                             },
    {HEAD "  - {name: 'a-{tokens}', tier: smoke, tags: [t], sweep: {tokens: [1, 1]}}\n",      5,
     "exists already"                                                                                                         },
    {HEAD "  - {name: a, tier: smoke, tags: [t], sweep: {tokens: []}}\n",                     5, "has no values"              },
    {HEAD "  - {name: a, tier: smoke, tags: [t], sweep: {tokens: 1}}\n",                      5, "must be a list"             },
    {HEAD "  - {name: a, tier: smoke, tags: [t], sweep: [tokens]}\n",                         5, "must be a map"              },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {tokens: 1}, sweep: {tokens: [1]}}\n", 5,
     "set twice"                                                                                                              },
    {HEAD GOOD GOOD,                                                                          6, "exists already, from line 5"},
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {tokens: 1, tokens: 2}}\n",            5, "set twice"                  },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {token: 1}}\n",                        5, "no parameter 'token'"       },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {tokens: x}}\n",                       5, "not an integer"             },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {tokens: 1.5}}\n",                     5, "not an integer"             },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {tokens: 65}}\n",                      5, "outside"                    },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {tokens: 99999999999999999999}}\n",    5,
     "not an integer"                                                                                                         },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {eps: nan}}\n",                        5, "outside"                    },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {dialect: north}}\n",                  5, "not one of"                 },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {dialect: }}\n",                       5, "not one of"                 },
    {HEAD "  - {name: a, tier: smoke, tags: [t], with: {tokens: [1]}}\n",                     5, "must be a scalar"           },
    {HEAD "  - name: a\n    tier: smoke\n    tags: [t]\n    with:\n      tokens: x\n",        9,
     "not an integer"                                                                                                         },
    {HEAD "  - {name: a, tier: smoke, tags: [t], seed: 0}\n",                                 5, "seed"                       },
    {HEAD "  - {name: a, tier: smoke, tags: [t], seed: -1}\n",                                5, "seed"                       },
    {HEAD "  - {name: a, tier: smoke, tags: [t], seed: 18446744073709551616}\n",              5, "seed"                       },
    {HEAD "  - {name: a, tier: smoke, tags: [t], seed: 1x}\n",                                5, "seed"                       },
    {HEAD "  - {name: a, tier: smoke, tags: [t]\n",                                           6, "not YAML"                   },
    {HEAD "  - {name: \"a\n",                                                                 6, "not YAML"                   },
    {HEAD "\t- a\n",                                                                          5, "not YAML"                   },
    {HEAD "  - {name: a\x01, tier: smoke, tags: [t]}\n",                                      5, "not YAML"                   },
    {HEAD "  - {name: \"a\\0b\", tier: smoke, tags: [t]}\n",                                  5, "byte 0x00"                  },
    {HEAD "  - {name: \"a\\nb\", tier: smoke, tags: [t]}\n",                                  5, "byte 0x0a"                  },
    {HEAD "  - {name: a\xC3\xA4, tier: smoke, tags: [t]}\n",                                  5, "byte 0xc3"                  },
    {HEAD "  - {name: a\xFF, tier: smoke, tags: [t]}\n",                                      5, "not YAML"                   },
    {HEAD "  - &x {name: a, tier: smoke, tags: [t]}\n",                                       5, "anchors"                    },
    {HEAD "  - *x\n",                                                                         5, "anchors"                    },
    {HEAD "  - !!str a\n",                                                                    5, "anchors"                    },
    {"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c, *c, *c]\n",                   1, "anchors"                    },
    {"a: [[[[[[[[[[[[x]]]]]]]]]]]]\n",                                                        1, "nested more than"           },
    {HEAD GOOD "---\nop: toy\n",                                                              6, "second document"            },
    {"%YAML 3.0\n---\nop: toy\n",                                                             1, "not YAML"                   },
};

Test(suite, refuses_hostile_text) {
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct dsv4_suite suite;
        struct dsv4_err err;
        int status;
        read_text(&suite, hostile[i].text, strlen(hostile[i].text), &status, &err);
        cr_expect_eq(status, -1, "accepted: %s", hostile[i].text);
        cr_expect(strstr(err.text, hostile[i].message) != NULL, "of\n%s\nit says: %s, not: %s",
                  hostile[i].text, err.text, hostile[i].message);
        cr_expect_eq(err.line, hostile[i].line, "of\n%s\nline %d (%s), not %d", hostile[i].text,
                     err.line, err.text, hostile[i].line);
        cr_expect(strchr(err.text, '\n') == NULL, "%s", err.text);
        cr_expect_neq(err.file[0], '\0');
        dsv4_suite_free(&suite);
    }
}

/* Builds `head`, then `piece` n times, then `tail`, and expects the message. */
static void refuse_large(const char *head, const char *piece, size_t n, const char *tail,
                         const char *message) {
    struct dsv4_suite suite;
    struct dsv4_err err;
    int status;
    const size_t length = strlen(piece), size = strlen(head) + n * length + strlen(tail);
    char *text = dsv4_alloc(size + 1), *at = text + strlen(head);
    memcpy(text, head, strlen(head));
    for (size_t i = 0; i < n; i++, at += length) memcpy(at, piece, length);
    memcpy(at, tail, strlen(tail));
    read_text(&suite, text, size, &status, &err);
    cr_expect_eq(status, -1);
    cr_expect(strstr(err.text, message) != NULL, "%s, not: %s", err.text, message);
    dsv4_suite_free(&suite);
    dsv4_free(text);
}

Test(suite, refuses_large_text) {
    refuse_large(HEAD "  - {name: ", "a", 100000, ", tier: smoke, tags: [t]}\n", "at most 400");
    refuse_large(HEAD "  - {name: ", "a", 200, ", tier: smoke, tags: [t]}\n", "too long");
    refuse_large(HEAD "  - {name: 'a", "-{tokens}", 44,
                 "', tier: smoke, tags: [t], sweep: {tokens: [10]}}\n", "too long");
    refuse_large("a: ", "[", 100000, "\n", "nested more than");
    refuse_large("a: [", "x, ", 500000, "x]\n", "more than");
    refuse_large("# ", "x", 5 << 20, "\n", "at most");
    refuse_large(HEAD "  - {name: 'a-{tokens}', tier: smoke, tags: [t], sweep: {tokens: [1", ", 1",
                 5000, "]}}\n", "more than 4096 cases");
}

Test(suite, refuses_what_is_no_file) {
    struct dsv4_suite suite = {0};
    struct dsv4_err err = {0};
    cr_assert_eq(dsv4_suite_read(&suite, &toy_op, "/nonexistent/toy.yaml", &err), -1);
    cr_assert(strstr(err.text, "cannot be opened") != NULL);
    memset(&err, 0, sizeof err);
    cr_assert_eq(dsv4_suite_read(&suite, &toy_op, "/tmp", &err), -1);
    cr_assert(strstr(err.text, "regular file") != NULL);
    memset(&err, 0, sizeof err);
    cr_assert_eq(dsv4_suite_load(&suite, "/nonexistent", &err), -1);
    cr_assert(strstr(err.text, "--suites") != NULL);
    dsv4_suite_free(&suite);
}

/* The suites of this repository. */
Test(suite, every_case_of_every_suite_has_a_shape) {
    struct dsv4_suite suite = {0};
    struct dsv4_err err = {0};
    cr_assert_eq(dsv4_suite_load(&suite, "suites", &err), 0, "%s:%d: %s", err.file, err.line,
                 err.text);
    cr_assert_gt(suite.n_cases, 0);
    for (size_t i = 0; i < suite.n_cases; i++) {
        struct dsv4_case c;
        cr_expect_eq(dsv4_suite_case_make(&suite.cases[i], &c, &err), 0, "%s:%d: %s", err.file,
                     err.line, err.text);
        dsv4_case_free(&c);
    }
    dsv4_suite_free(&suite);
}

static size_t count(const struct dsv4_suite *suite, struct dsv4_filter filter) {
    size_t n;
    dsv4_free(dsv4_filter_select(&filter, suite, &n));
    return n;
}

/* What kernels do with more alignment than promised is judged, and what they do without. */
Test(suite, cases_of_every_op_are_placed_with_and_without_skew) {
    struct dsv4_suite suite = {0};
    struct dsv4_err err = {0};
    cr_assert_eq(dsv4_suite_load(&suite, "suites", &err), 0, "%s", err.text);
    for (size_t op = 0; op < dsv4_n_ops; op++) {
        int placed[2] = {0};
        for (size_t i = 0; i < suite.n_cases; i++) {
            struct dsv4_case c;
            if (suite.cases[i].op != dsv4_ops[op] || suite.cases[i].tier > DSV4_FULL) continue;
            cr_assert_eq(dsv4_suite_case_make(&suite.cases[i], &c, &err), 0, "%s", err.text);
            placed[dsv4_case_is_skewed(&c)]++;
            dsv4_case_free(&c);
        }
        cr_expect(placed[0] > 1 && placed[1] > 1, "%s: %d cases without skew, %d with it",
                  dsv4_ops[op]->name, placed[0], placed[1]);
    }
    dsv4_suite_free(&suite);
}

Test(suite, filters) {
    struct dsv4_suite suite;
    struct dsv4_err err;
    int status;
    const char text[] =
        "op: toy\ntags: {t: {bug: x}, other: {bug: y}}\ncases:\n"
        "  - {name: a, tier: smoke, tags: [t]}\n"
        "  - {name: 'b-{dialect}-{tokens}', tier: full, tags: [t, other], sweep: {dialect: "
        "[east, west], tokens: [1, 2, 3]}}\n";
    read_text(&suite, text, sizeof text - 1, &status, &err);
    cr_assert_eq(status, 0, "%s", err.text);
    cr_assert_eq(count(&suite, DSV4_FILTER), 7);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.op = "t?y"}), 7);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.op = "tea"}), 0);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.name = "b-*"}), 6);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.name = "toy/b-*-1"}), 2);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.name = "tea/*"}), 0);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.tag = "oth*"}), 6);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.dialect = "west"}), 3);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.dialect = "east"}), 4, "the default counts");
    cr_assert_eq(count(&suite, (struct dsv4_filter){.dialect = "no"}), 0,
                 "not a dialect parameter");
    cr_assert_eq(count(&suite, (struct dsv4_filter){.tiers = 1U << DSV4_SMOKE}), 1);
    size_t n = 0;
    for (int64_t i = 1; i <= 3; i++)
        n += count(&suite, (struct dsv4_filter){.shard_index = i, .n_shards = 3});
    cr_assert_eq(n, 7);
    cr_assert_eq(count(&suite, (struct dsv4_filter){.shard_index = 1, .n_shards = 3}), 3);
    dsv4_suite_free(&suite);
}

static void expect_sequence_error(const char *sequences, const char *wanted) {
    char text[2000];
    struct dsv4_suite suite = {0};
    struct dsv4_err err = {0};
    const struct dsv4_op *const op = dsv4_op_find("kv_quantize_insert");
    snprintf(text, sizeof text,
             "op: kv_quantize_insert\ntags:\n  plain:\n    bug: any\ncases:\n"
             "  - name: small\n    tier: smoke\n    tags: [plain]\n"
             "  - name: wide\n    tier: smoke\n    tags: [plain]\n    with: {batch: \"5@5\"}\n"
             "  - name: late\n    tier: full\n    tags: [plain]\n"
             "sequences:\n%s",
             sequences);
    int status = dsv4_suite_parse(&suite, op, (const unsigned char *)text, strlen(text),
                                  "planted.yaml", &err);
    if (status == 0) status = dsv4_sequence_check(&suite, &suite.sequences[0], &err);
    cr_assert_eq(status, -1, "accepted: %s", sequences);
    cr_assert_not_null(strstr(err.text, wanted), "\"%s\" is not in: %s", wanted, err.text);
    cr_assert_str_eq(err.file, "planted.yaml");
    cr_assert_gt(err.line, 14);
    dsv4_suite_free(&suite);
}

#define SEQUENCE(steps) "  - name: both\n    tier: smoke\n    tags: [plain]\n    steps: " steps "\n"

Test(suite, sequences_that_cannot_be_replayed_are_refused) {
    expect_sequence_error(SEQUENCE("[small]"), "at least two steps");
    expect_sequence_error(SEQUENCE("[small, nobody]"), "is no case of this file");
    expect_sequence_error(SEQUENCE("[small, late]"), "of a later tier than the sequence");
    expect_sequence_error(SEQUENCE("[small, wide]"), "give them the same `room`");
    expect_sequence_error("  - name: small\n    tier: smoke\n    tags: [plain]\n"
                          "    steps: [small, small]\n",
                          "is a case already");
    expect_sequence_error(SEQUENCE("[small, small]") SEQUENCE("[small, small]"), "exists already");
}
