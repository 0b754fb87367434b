/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: what was packed comes back, and nothing that was changed does. */
#include "../../reference/memory.h"
#include "../npz.h"
#include "../statement.h"
#include "../verbs.h"
#include "support.h"

static const char manifest_hash[] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/* Two of the three smoke cases of a small MANIFEST passed. */
static void make(struct dsv4_statement *s, struct dsv4_manifest *manifest) {
    static const char *const names[] = {"op_a/first", "op_a/second", "op_b/third"};
    memset(s, 0, sizeof *s);
    memset(manifest, 0, sizeof *manifest);
    for (size_t i = 0; i < 3; i++) {
        struct dsv4_manifest_entry entry = {.tier = DSV4_SMOKE};
        snprintf(entry.name, sizeof entry.name, "%s", names[i]);
        dsv4_manifest_add(manifest, &entry);
    }
    struct dsv4_report *const r = &s->report;
    strcpy(s->version, "dsv4cts test");
    strcpy(s->made, "2026-01-31T12:00:00Z");
    strcpy(s->tree.commit, "0123456789012345678901234567890123456789");
    strcpy(s->manifest_sha256, manifest_hash);
    strcpy(r->manifest_sha256, manifest_hash);
    strcpy(r->version, "dsv4cts test");
    strcpy(r->impl, "acme");
    strcpy(r->arithmetic, "BITS");
    dsv4_report_part(r, 1, 1);
    r->parts[0] = (struct dsv4_part){.shard = 1, .planned = 2, .results = 2, .complete = true};
    dsv4_report_add(r, DSV4_PASS, "op_a", "first")->grade = DSV4_EXACT;
    dsv4_report_add(r, DSV4_PASS, "op_a", "second")->grade = DSV4_EXACT;
}

static void unmake(struct dsv4_statement *s, struct dsv4_manifest *manifest) {
    dsv4_report_free(&s->report);
    dsv4_manifest_free(manifest);
}

static int unpack(const unsigned char *bytes, size_t size, const struct dsv4_manifest *manifest,
                  const struct dsv4_key *key, struct dsv4_err *err) {
    struct dsv4_statement s;
    memset(err, 0, sizeof *err);
    const int status = dsv4_statement_unpack(&s, bytes, size, manifest, manifest_hash, key, err);
    dsv4_report_free(&s.report);
    return status;
}

Test(statement, comes_back_as_it_was_packed) {
    struct dsv4_statement s, again;
    struct dsv4_manifest manifest;
    struct dsv4_err err = {{0}, {0}, 0};
    const struct dsv4_key key = {NULL, 0};
    unsigned char *bytes;
    size_t size;
    make(&s, &manifest);
    cr_assert_eq(dsv4_statement_pack(&s, &manifest, &key, &bytes, &size, &err), 0, "%s", err.text);
    cr_assert_eq(dsv4_statement_unpack(&again, bytes, size, &manifest, manifest_hash, &key, &err),
                 0, "%s", err.text);
    cr_assert_eq(again.report.n_results, 2);
    cr_assert_not(dsv4_statement_complete(&again, &manifest)); /* op_b/third has no result */
    char *const text = dsv4_statement_text(&again, &manifest);
    ASSERT_HAS(text, "verdict   exact, but incomplete\n");
    ASSERT_HAS(text, "smoke: 2 of 3 cases\n");
    dsv4_free(text);
    manifest.n = 2;
    cr_assert(dsv4_statement_complete(&again, &manifest));
    again.report.parts[0].complete = false;
    cr_assert_not(dsv4_statement_complete(&again, &manifest));
    dsv4_report_free(&again.report);
    dsv4_free(bytes);
    unmake(&s, &manifest);
}

/* The seal is over the whole file: zip headers, their unused fields and the seal's own digits included. */
Test(statement, every_flipped_bit_and_every_cut_is_refused, .timeout = 120) {
    struct dsv4_statement s;
    struct dsv4_manifest manifest;
    struct dsv4_err err = {{0}, {0}, 0};
    unsigned char secret[16] = "sixteen bytes..", *bytes;
    const struct dsv4_key keys[] = {
        {NULL,   0            },
        {secret, sizeof secret}
    };
    size_t size;
    make(&s, &manifest);
    for (size_t k = 0; k < 2; k++) {
        cr_assert_eq(dsv4_statement_pack(&s, &manifest, &keys[k], &bytes, &size, &err), 0);
        for (size_t i = 0; i < size; i++)
            for (int bit = 0; bit < 8; bit++) {
                bytes[i] = (unsigned char)(bytes[i] ^ 1U << bit);
                cr_assert_eq(unpack(bytes, size, &manifest, &keys[k], &err), -1,
                             "bit %d of byte %zu of %zu", bit, i, size);
                bytes[i] = (unsigned char)(bytes[i] ^ 1U << bit);
            }
        for (size_t n = 0; n < size; n++)
            cr_assert_eq(unpack(bytes, n, &manifest, &keys[k], &err), -1, "%zu bytes", n);
        cr_assert_eq(unpack(bytes, size, &manifest, &keys[k], &err), 0, "%s", err.text);
        dsv4_free(bytes);
    }
    unmake(&s, &manifest);
}

/* Whoever has no key can seal again what was changed; what follows from the results must still follow. */
struct edit {
    const char *entry, *from, *to, *sentence; /* entry NULL: an entry more */
};

static char *replaced(const char *text, const char *from, const char *to) {
    static char *copy;
    static size_t size;
    ASSERT_HAS(text, from);
    const size_t before = (size_t)(strstr(text, from) - text);
    FILE *const out = open_memstream(&copy, &size);
    fwrite(text, 1, before, out);
    fputs(to, out);
    fputs(text + before + strlen(from), out);
    fclose(out);
    return copy;
}

static void check_edit(const unsigned char *bytes, size_t size,
                       const struct dsv4_manifest *manifest, const struct edit *edit) {
    static const char *const names[] = {"STATEMENT.txt", "statement.json", "report.json",
                                        "SHA256SUMS"};
    const struct dsv4_key none = {NULL, 0};
    struct dsv4_err err = {{0}, {0}, 0};
    struct dsv4_npz *const z = dsv4_npz_open(bytes, size, &err);
    struct dsv4_npz_writer *const w = dsv4_npz_start();
    unsigned char *again;
    size_t n;
    for (size_t i = 0; i < 4; i++) {
        char *text;
        cr_assert_eq(dsv4_npz_text(z, names[i], 1 << 20, &text, &n, &err), 0);
        if (edit->entry != NULL && strcmp(edit->entry, names[i]) == 0) {
            char *const other = edit->from != NULL ? replaced(text, edit->from, edit->to) : NULL;
            if (other != NULL) dsv4_npz_add_bytes(w, names[i], other, strlen(other));
            free(other);
        } else {
            dsv4_npz_add_bytes(w, names[i], text, n);
        }
        dsv4_free(text);
    }
    if (edit->entry == NULL) dsv4_npz_add_bytes(w, "more", "", 0);
    dsv4_npz_comment(w, dsv4_seal_blank(&none));
    cr_assert_eq(dsv4_npz_finish(w, &again, &n, &err), 0, "%s", err.text);
    cr_assert_eq(dsv4_seal_set(again, n, &none, &err), 0);
    cr_assert_eq(unpack(again, n, manifest, &none, &err), -1, "%s: %s", edit->entry, edit->to);
    ASSERT_HAS(err.text, edit->sentence);
    dsv4_free(again);
    dsv4_npz_close(z);
}

Test(statement, an_edit_under_a_new_seal_is_refused) {
    static const struct edit edits[] = {
        {"statement.json", "\"verdict\": \"exact\"", "\"verdict\": \"conformant\"",
         "'verdict' is not what"                                                                            },
        {"statement.json", "\"complete\": false",    "\"complete\": true",          "'complete' is not what"},
        {"statement.json", "\"PASS\": 2",            "\"PASS\": 3",                 "'counts' is not what"  },
        {"statement.json", "\"results\": 2",         "\"results\": 3",              "'tiers' is not what"   },
        {"statement.json", "\"emulated\": false",    "\"emulated\": true",          "'emulated' is not what"},
        {"statement.json", "\"impl\": \"acme\"",     "\"impl\": \"emca\"",          "'impl' is not what"    },
        {"statement.json", "\"clean\": false",       "\"clean\": 0",                "'clean' is missing"    },
        {"statement.json", "{",                      "{\"more\": 1, ",              "keys where"            },
        {"statement.json", "{",                      "[",                           "not a statement"       },
        {"statement.json", "statement-1",            "statement-9",                 "the format is not"     },
        {"statement.json", "dsv4cts test",           "a\\nverdict exact",           "are not plain text"    },
        {"statement.json", "\"commit\": \"0",        "\"commit\": \"1",             "STATEMENT.txt does not"},
        {"statement.json", "\n",                     "\n\n",                        "'its form' is not what"},
        {"report.json",    "\"verdict\": \"PASS\"",  "\"verdict\": \"FAIL\"",       "'counts' is not what"  },
        {"report.json",    "\"case\": \"second\"",   "\"case\": \"third\"",         "STATEMENT.txt does not"},
        {"report.json",    "\n",                     "\n\n",                        "does not follow from"  },
        {"report.json",    manifest_hash,            "",                            "were held to MANIFEST" },
        {"report.json",    NULL,                     NULL,                          "report.json is missing"},
        {"STATEMENT.txt",  "incomplete",             "complete",                    "STATEMENT.txt does not"},
        {"SHA256SUMS",     "report.json",            "report.jsom",                 "SHA256SUMS does not"   },
        {NULL,             NULL,                     NULL,                          "'more' is surplus"     },
    };
    struct dsv4_statement s;
    struct dsv4_manifest manifest;
    struct dsv4_err err = {{0}, {0}, 0};
    const struct dsv4_key none = {NULL, 0};
    unsigned char *bytes;
    size_t size;
    make(&s, &manifest);
    cr_assert_eq(dsv4_statement_pack(&s, &manifest, &none, &bytes, &size, &err), 0);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++)
        check_edit(bytes, size, &manifest, &edits[i]);
    dsv4_free(bytes);
    unmake(&s, &manifest);
}

Test(statement, another_tree_and_another_key_are_told_apart) {
    struct dsv4_statement s;
    struct dsv4_manifest manifest;
    struct dsv4_err err = {{0}, {0}, 0};
    unsigned char secret[16] = "sixteen bytes..", other[17] = "seventeen bytes.", *bytes;
    const struct dsv4_key none = {NULL, 0}, right = {secret, sizeof secret},
                          wrong = {other, sizeof other};
    size_t size;
    make(&s, &manifest);
    cr_assert_eq(dsv4_statement_pack(&s, &manifest, &right, &bytes, &size, &err), 0);
    cr_assert_eq(unpack(bytes, size, &manifest, &none, &err), -1);
    ASSERT_HAS(err.text, "sealed with a key: give it as --key");
    cr_assert_eq(unpack(bytes, size, &manifest, &wrong, &err), -1);
    ASSERT_HAS(err.text, "or sealed with another key");
    cr_assert_eq(unpack(bytes, size, &manifest, &right, &err), 0, "%s", err.text);
    dsv4_free(bytes);
    cr_assert_eq(dsv4_statement_pack(&s, &manifest, &none, &bytes, &size, &err), 0);
    cr_assert_eq(unpack(bytes, size, &manifest, &right, &err), -1);
    ASSERT_HAS(err.text, "anybody may have made it");
    struct dsv4_statement again;
    memset(&err, 0, sizeof err);
    cr_assert_eq(dsv4_statement_unpack(&again, bytes, size, &manifest, "00", &none, &err), -1);
    ASSERT_HAS(err.text, "verify it in a checkout of commit 012345678901");
    dsv4_report_free(&again.report);
    dsv4_free(bytes);
    unmake(&s, &manifest);
}

enum { OUTPUT = 1 << 16 };
static char output[OUTPUT];

/* From `gen` to `verify`, as commands. */
Test(statement, the_commands_from_end_to_end) {
    char suites[64], directory[64], line[4000];
    support_suites(suites);
    support_directory(directory);
    snprintf(line, sizeof line, "gen --suites %s --op kv_quantize_insert --out %s/vectors", suites,
             directory);
    cr_assert_eq(support_run(output, OUTPUT, line), 0, "%s", output);
    snprintf(line, sizeof line,
             "check --suites %s --vectors %s/vectors --op kv_quantize_insert --report %s", suites,
             directory, directory);
    cr_assert_eq(support_run(output, OUTPUT, line), 0, "%s", output);
    snprintf(line, sizeof line, "statement --vectors %s/vectors --output %s/s.zip %s/ref.json",
             directory, directory, directory);
    cr_assert_eq(support_run(output, OUTPUT, line), 0, "%s", output);
    ASSERT_HAS(output, "verdict   exact\nresults   2 passed\ntier      smoke: 2 of 2 cases");
    snprintf(line, sizeof line, "verify --vectors %s/vectors %s/s.zip", directory, directory);
    cr_assert_eq(support_run(output, OUTPUT, line), 0, "%s", output);
    ASSERT_HAS(output, "without a key it proves no author");
    support_write(directory, "short", "too short");
    snprintf(line, sizeof line, "verify --vectors %s/vectors --key %s/short %s/s.zip", directory,
             directory, directory);
    cr_assert_eq(support_run(output, OUTPUT, line), 2, "%s", output);
    ASSERT_HAS(output, "has 9 bytes; a key has at least 16");
    snprintf(line, sizeof line, "verify --vectors %s/vectors %s/ref.json", directory, directory);
    cr_assert_eq(support_run(output, OUTPUT, line), 2, "%s", output);
    ASSERT_HAS(output, "ref.json: refused: it does not end with a seal");
    snprintf(line, sizeof line, "check --fresh --suites %s --op kv_quantize_insert --report %s",
             suites, directory);
    cr_assert_eq(support_run(output, OUTPUT, line), 0, "%s", output);
    snprintf(line, sizeof line, "statement --vectors %s/vectors --output %s/t.zip %s/ref.json",
             directory, directory, directory);
    cr_assert_eq(support_run(output, OUTPUT, line), 2, "%s", output);
    ASSERT_HAS(output, "made on the spot (--fresh)");
}
