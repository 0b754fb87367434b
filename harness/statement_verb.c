/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs `statement`, which packs a report, and `verify`, which checks what was packed. */
#include <stdio.h>
#include <time.h>

#include "../reference/memory.h"
#include "file.h"
#include "options.h"
#include "statement.h"
#include "verbs.h"

enum { MOST_STATEMENT = 1 << 28 };

struct ground {
    const char *vectors, *key_path;
    struct dsv4_manifest manifest;
    char manifest_sha256[65];
    struct dsv4_key key;
};

static int open_ground(struct ground *g, struct dsv4_err *err) {
    char path[4200];
    snprintf(path, sizeof path, "%.4000s/MANIFEST", g->vectors);
    if (g->key_path != NULL && dsv4_key_read(&g->key, g->key_path, err) != 0) return -1;
    if (dsv4_manifest_read(&g->manifest, g->vectors, false, err) != 0) return -1;
    return dsv4_file_hash(path, g->manifest_sha256, err);
}

static void close_ground(struct ground *g) {
    dsv4_manifest_free(&g->manifest);
    dsv4_free(g->key.bytes);
}

/* One implementation, held to the MANIFEST of this tree. */
static int take_report(struct dsv4_statement *s, struct dsv4_reports *all, const struct ground *g,
                       const struct dsv4_texts *paths, struct dsv4_err *err) {
    for (size_t i = 0; i < paths->n; i++)
        if (dsv4_reports_read(all, paths->at[i], err) != 0) return -1;
    if (dsv4_reports_join(all, err) != 0) return -1;
    if (all->n != 1)
        return dsv4_fail(err,
                         "a statement is of one implementation on one kind of device; these "
                         "reports are of %zu",
                         all->n);
    const struct dsv4_report *const r = &all->at[0];
    if (r->manifest_sha256[0] == '\0')
        return dsv4_fail(err,
                         "%s: the answers were made on the spot (--fresh); a statement wants "
                         "results that were held to MANIFEST",
                         all->paths[0]);
    if (strcmp(r->manifest_sha256, g->manifest_sha256) != 0)
        return dsv4_fail(err,
                         "%s: the results were held to another MANIFEST than %s/MANIFEST of "
                         "today: run `check` again",
                         all->paths[0], g->vectors);
    s->report = *r; /* owned by `all` */
    return 0;
}

static int make_statement(const struct ground *g, const struct dsv4_texts *paths,
                          const char *output, struct dsv4_err *err) {
    struct dsv4_statement s = {0};
    struct dsv4_reports all = {0};
    unsigned char *bytes = NULL;
    size_t size = 0;
    struct tm utc;
    const time_t now = time(NULL);
    int code = DSV4_EXIT_ERROR;
    if (take_report(&s, &all, g, paths, err) != 0) goto done;
    snprintf(s.version, sizeof s.version, "%s", DSV4_GENERATOR);
    if (gmtime_r(&now, &utc) != NULL) strftime(s.made, sizeof s.made, "%Y-%m-%dT%H:%M:%SZ", &utc);
    memcpy(s.manifest_sha256, g->manifest_sha256, sizeof s.manifest_sha256);
    dsv4_tree_look(&s.tree);
    if (dsv4_statement_pack(&s, &g->manifest, &g->key, &bytes, &size, err) != 0 ||
        dsv4_file_write(output, bytes, size, err) != 0)
        goto done;
    char *const text = dsv4_statement_text(&s, &g->manifest);
    fputs(text, stdout);
    dsv4_free(text);
    code = dsv4_report_exit(&s.report);
done:
    dsv4_free(bytes);
    dsv4_reports_free(&all);
    return code;
}

int dsv4_verb_statement(int argc, char **argv) {
    struct ground g = {.vectors = "vectors"};
    const char *output = NULL;
    const struct dsv4_option options[] = {
        {"--output",  DSV4_OPTION_TEXT, &output,     "FILE", "the archive (.zip) to write"     },
        {"--key",     DSV4_OPTION_TEXT, &g.key_path, "FILE", "seal with the bytes of this file"},
        {"--vectors", DSV4_OPTION_TEXT, &g.vectors,  "DIR",  "where MANIFEST is (vectors)"     },
    };
    struct dsv4_command command = {.usage = "statement --output FILE [OPTIONS] REPORT.json...",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .min_positional = 1,
                                   .max_positional = DSV4_MAX_TEXTS};
    struct dsv4_err err = {0};
    int code = dsv4_command_start(&command, argc, argv);
    if (code >= 0) return code;
    code = DSV4_EXIT_ERROR;
    if (output == NULL)
        dsv4_fail(&err, "--output: say where the statement is to go");
    else if (open_ground(&g, &err) == 0)
        code = make_statement(&g, &command.positional, output, &err);
    if (err.text[0] != '\0') dsv4_err_print(&err);
    close_ground(&g);
    return code;
}

/* What a statement says of its tree, beside what this one is. Not a fault: the MANIFEST alone decides. */
static void compare_trees(const struct dsv4_statement *s) {
    struct dsv4_tree here;
    dsv4_tree_look(&here);
    if (s->tree.sha256[0] == '\0' || here.sha256[0] == '\0')
        printf("note      trees were not compared: one of them is not in git\n");
    else if (strcmp(s->tree.sha256, here.sha256) == 0)
        printf("note      every tracked file here is as it was there\n");
    else
        printf("note      tracked files here are not all as they were there; MANIFEST is\n");
    if (strcmp(s->version, DSV4_GENERATOR) != 0)
        printf("note      made by %s, verified by %s\n", s->version, DSV4_GENERATOR);
}

static int verify(const struct ground *g, const char *path, struct dsv4_err *err) {
    struct dsv4_statement s = {0};
    unsigned char *bytes = NULL;
    size_t size = 0;
    int code = DSV4_EXIT_ERROR;
    if (dsv4_file_read(&bytes, &size, path, MOST_STATEMENT, err) != 0) goto done;
    if (dsv4_statement_unpack(&s, bytes, size, &g->manifest, g->manifest_sha256, &g->key, err) !=
        0) {
        char reason[sizeof err->text];
        memcpy(reason, err->text, sizeof reason);
        dsv4_fail(err, "refused: %.900s", reason);
        err->file[0] = '\0';
        dsv4_err_at(err, path, 0);
        goto done;
    }
    char *const text = dsv4_statement_text(&s, &g->manifest);
    fputs(text, stdout);
    dsv4_free(text);
    compare_trees(&s);
    printf("seal      holds%s: nothing was changed since it was made%s\n",
           g->key.bytes != NULL ? ", with this key" : "",
           g->key.bytes != NULL ? "" : ", by whomever: without a key it proves no author");
    code = dsv4_report_exit(&s.report);
done:
    dsv4_free(bytes);
    dsv4_report_free(&s.report);
    return code;
}

int dsv4_verb_verify_statement(int argc, char **argv) {
    struct ground g = {.vectors = "vectors"};
    const struct dsv4_option options[] = {
        {"--key",     DSV4_OPTION_TEXT, &g.key_path, "FILE", "the key it was sealed with" },
        {"--vectors", DSV4_OPTION_TEXT, &g.vectors,  "DIR",  "where MANIFEST is (vectors)"},
    };
    struct dsv4_command command = {.usage = "verify [OPTIONS] STATEMENT.zip",
                                   .options = options,
                                   .n_options = sizeof options / sizeof *options,
                                   .min_positional = 1,
                                   .max_positional = 1};
    struct dsv4_err err = {0};
    int code = dsv4_command_start(&command, argc, argv);
    if (code >= 0) return code;
    code = DSV4_EXIT_ERROR;
    if (open_ground(&g, &err) == 0) code = verify(&g, command.positional.at[0], &err);
    if (err.text[0] != '\0') dsv4_err_print(&err);
    close_ground(&g);
    return code;
}
