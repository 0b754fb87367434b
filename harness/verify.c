/* SPDX-License-Identifier: Apache-2.0 */
/* verify-vectors: every case made anew is what MANIFEST and the .npz files say; with --stream, the
 * frames of another build of the reference are what MANIFEST says. */
#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "chain.h"
#include "hash.h"
#include "manifest.h"
#include "meta.h"
#include "options.h"
#include "sequence.h"
#include "store.h"
#include "vector.h"
#include "verbs.h"

struct verify {
    struct dsv4_filter filter;
    const char *dir, *layer;
    bool stream;
    struct dsv4_suite suite;
    struct dsv4_layers layers;
    struct dsv4_manifest manifest;
    const struct dsv4_suite_case **cases;
    size_t n_cases, n_layers, n_differences, n_faults;
};

/* ---- against MANIFEST ---- */

static void check_hash(struct verify *v, const struct dsv4_manifest_entry *e, const char *what,
                       const char *made, const char *listed) {
    if (strcmp(made, listed) == 0) return;
    printf("DIFFERS  %s: the %s is %.12s; MANIFEST line %d says %.12s\n", e->name, what, made,
           e->line, listed);
    v->n_differences++;
}

static void check_entry(struct verify *v, const char *op, const char *name, enum dsv4_tier tier,
                        const char *prompt, const char *answer) {
    const struct dsv4_manifest_entry *e = dsv4_manifest_find(&v->manifest, op, name);
    if (e == NULL) {
        printf("MISSING  %s/%s: not in MANIFEST\n", op, name);
        v->n_differences++;
        return;
    }
    check_hash(v, e, "prompt", prompt, e->prompt);
    check_hash(v, e, "answer", answer, e->answer);
    if (e->tier == tier) return;
    printf("DIFFERS  %s: the tier is %s; MANIFEST line %d says %s\n", e->name,
           dsv4_tier_names[tier], e->line, dsv4_tier_names[e->tier]);
    v->n_differences++;
}

static const size_t nowhere = SIZE_MAX;

/* Where MANIFEST lists a layer's step: after all cases. */
static size_t layer_index(const struct verify *v, const char *name) {
    char full[3 * DSV4_NAME_SIZE];
    size_t at = v->suite.n_cases;
    for (size_t i = 0; i < v->layers.n; i++)
        for (size_t step = 0; step < v->layers.at[i].n_steps; step++, at++) {
            snprintf(full, sizeof full, "%s/%s.%s", DSV4_LAYER_FAMILY, v->layers.at[i].name,
                     v->layers.at[i].steps[step]);
            if (strcmp(full, name) == 0) return at;
        }
    return nowhere;
}

static size_t suite_index(const struct verify *v, const char *name) {
    const struct dsv4_suite *const suite = &v->suite;
    for (size_t i = 0; i < suite->n_cases; i++) {
        const struct dsv4_suite_case *s = &suite->cases[i];
        const size_t length = strlen(s->op->name);
        if (s->tier != DSV4_BENCH && strncmp(name, s->op->name, length) == 0 &&
            name[length] == '/' && strcmp(name + length + 1, s->name) == 0)
            return i;
    }
    return layer_index(v, name);
}

/* Entries without a case, and the order, which gen alone decides. */
static void check_list(struct verify *v) {
    size_t before = 0;
    for (size_t i = 0; i < v->manifest.n; i++) {
        const struct dsv4_manifest_entry *e = &v->manifest.entries[i];
        const size_t at = suite_index(v, e->name);
        if (at == nowhere) {
            printf("SURPLUS  %s: MANIFEST line %d names no case or layer of the suites\n", e->name,
                   e->line);
            v->n_differences++;
        } else if (at < before) {
            printf("DIFFERS  %s: MANIFEST line %d is out of order\n", e->name, e->line);
            v->n_differences++;
        } else {
            before = at;
        }
    }
}

/* ---- against the files ---- */

static bool is_same(const unsigned char *a, const unsigned char *b, int64_t n) {
    if (a == NULL || b == NULL) return a == b;
    return n == 0 || memcmp(a, b, (size_t)n) == 0;
}

static void check_file(struct verify *v, const struct dsv4_vector *made,
                       const struct dsv4_suite_case *s) {
    char path[4096];
    struct dsv4_err err = {0};
    struct dsv4_vector file;
    dsv4_store_path(path, sizeof path, v->dir, s);
    if (access(path, F_OK) != 0) {
        printf("MISSING  %s: a smoke case without its vector\n", path);
        v->n_differences++;
        return;
    }
    if (dsv4_vector_read(&file, path, &err) != 0) {
        printf("DIFFERS  %s: %s\n", path, err.text);
        v->n_differences++;
        dsv4_vector_free(&file);
        return;
    }
    char *made_meta = dsv4_meta_text(made), *file_meta = dsv4_meta_text(&file);
    const bool same_meta = strcmp(made_meta, file_meta) == 0;
    if (!same_meta) {
        printf("DIFFERS  %s: meta.json (parameters, seed, tags or shapes) is not the case's\n",
               path);
        v->n_differences++;
    }
    for (size_t i = 0; same_meta && i < made->c.op->n_slots; i++) {
        const struct dsv4_vector_tensor *a = &made->tensors[i], *b = &file.tensors[i];
        const int64_t bytes = dsv4_packed_bytes(&made->c.tensors[i]);
        if (is_same(a->in, b->in, bytes) && is_same(a->out, b->out, bytes) &&
            is_same(a->keep, b->keep, bytes))
            continue;
        printf("DIFFERS  %s: tensor %s\n", path, made->c.op->slots[i].name);
        v->n_differences++;
    }
    dsv4_free(made_meta);
    dsv4_free(file_meta);
    dsv4_vector_free(&file);
}

static int count_surplus(void *context, const char *path, struct dsv4_err *err) {
    struct verify *v = context;
    (void)err;
    printf("SURPLUS  %s: no smoke case of this name\n", path);
    v->n_differences++;
    return 0;
}

static void check_case(struct verify *v, const struct dsv4_suite_case *s) {
    char prompt[65], answer[65];
    struct dsv4_vector made;
    struct dsv4_err err = {0};
    if (dsv4_vector_make(&made, s, &err) != 0) {
        dsv4_err_print(&err);
        v->n_faults++;
    } else {
        dsv4_vector_hash(&made, prompt, answer);
        check_entry(v, s->op->name, s->name, s->tier, prompt, answer);
        if (s->tier == DSV4_SMOKE) check_file(v, &made, s);
    }
    dsv4_vector_free(&made);
}

static void check_layer(struct verify *v, const struct dsv4_layer *layer) {
    char name[2 * DSV4_NAME_SIZE], prompt[65], answer[65];
    struct dsv4_chain chain;
    struct dsv4_err err = {0};
    v->n_layers++;
    const int status = dsv4_chain_make(&chain, layer, &err);
    if (status != 0) {
        dsv4_err_print(&err);
        v->n_faults++;
    }
    for (size_t step = 0; status == 0 && step < layer->n_steps; step++) {
        dsv4_chain_hash(&chain, step, prompt, answer);
        snprintf(name, sizeof name, "%s.%s", layer->name, layer->steps[step]);
        check_entry(v, DSV4_LAYER_FAMILY, name, DSV4_FULL, prompt, answer);
    }
    dsv4_chain_free(&chain);
}

static void check_layers(struct verify *v) {
    for (size_t i = 0; i < v->layers.n; i++) {
        const struct dsv4_layer *const layer = &v->layers.at[i];
        if (v->layer != NULL ? fnmatch(v->layer, layer->name, FNM_EXTMATCH) == 0
                             : dsv4_layer_is_chosen(layer, &v->filter))
            check_layer(v, layer);
    }
}

static void check_sequences(struct verify *v) {
    size_t n = 0;
    const struct dsv4_suite_sequence **const sequences =
        dsv4_filter_sequences(&v->filter, &v->suite, &n);
    for (size_t i = 0; i < n; i++) {
        struct dsv4_err err = {0};
        if (dsv4_sequence_check(&v->suite, sequences[i], &err) == 0) continue;
        dsv4_err_print(&err);
        v->n_faults++;
    }
    dsv4_free(sequences);
}

static int verify_made(struct verify *v, struct dsv4_err *err) {
    for (size_t i = 0; i < v->n_cases; i++) {
        check_case(v, v->cases[i]);
        dsv4_progress("verify-vectors", i + 1, v->n_cases);
    }
    check_layers(v);
    check_list(v);
    if (v->layer == NULL) check_sequences(v);
    return dsv4_store_surplus(v->dir, &v->suite, count_surplus, v, err);
}

/* ---- against frames ---- */

/* Reads "WORD N\n<N bytes>" and hashes the bytes. */
static int read_frame(const char *line, const char *word, char hex[65], struct dsv4_err *err) {
    unsigned char bytes[1 << 14];
    char name[16];
    unsigned long long left;
    if (sscanf(line, "%15s %llu", name, &left) != 2 || strcmp(name, word) != 0)
        return dsv4_fail(err, "stream: '%.40s' where '%s BYTES' belongs", line, word);
    struct dsv4_hash *hash = dsv4_hash_start();
    while (left > 0) {
        const size_t got =
            fread(bytes, 1, left < sizeof bytes ? (size_t)left : sizeof bytes, stdin);
        if (got == 0) break;
        dsv4_hash_add(hash, bytes, got);
        left -= got;
    }
    dsv4_hash_finish(hash, hex);
    return left == 0
               ? 0
               : dsv4_fail(err, "stream: ends inside a %s; the program that wrote it failed", word);
}

static int read_framed_case(struct verify *v, bool *seen, char *line, struct dsv4_err *err) {
    char name[256], prompt[65], answer[65] = "refused";
    if (sscanf(line, "case %255s", name) != 1)
        return dsv4_fail(err, "stream: '%.40s' is no frame", line);
    size_t i = 0;
    for (; i < v->n_cases; i++) {
        const size_t length = strlen(v->cases[i]->op->name);
        if (strncmp(name, v->cases[i]->op->name, length) == 0 && name[length] == '/' &&
            strcmp(name + length + 1, v->cases[i]->name) == 0)
            break;
    }
    if (i == v->n_cases)
        return dsv4_fail(err, "stream: '%.100s' is not one of the selected cases", name);
    if (seen[i]) return dsv4_fail(err, "stream: '%.100s' comes twice", name);
    seen[i] = true;
    if (fgets(line, 256, stdin) == NULL) return dsv4_fail(err, "stream: ends inside %.100s", name);
    if (read_frame(line, "prompt", prompt, err) != 0) return -1;
    if (fgets(line, 256, stdin) == NULL) return dsv4_fail(err, "stream: ends inside %.100s", name);
    if (strcmp(line, "refused\n") != 0 && read_frame(line, "answer", answer, err) != 0) return -1;
    const struct dsv4_suite_case *const s = v->cases[i];
    check_entry(v, s->op->name, s->name, s->tier, prompt, answer);
    return 0;
}

static int verify_stream(struct verify *v, struct dsv4_err *err) {
    char line[256] = "";
    int status = 0;
    bool *seen = dsv4_alloc(v->n_cases * sizeof *seen);
    while (status == 0) {
        if (fgets(line, sizeof line, stdin) == NULL) {
            status = dsv4_fail(err, "stream: no 'end'; the program that wrote it failed");
            break;
        }
        if (strcmp(line, "end\n") == 0) break;
        status = read_framed_case(v, seen, line, err);
    }
    for (size_t i = 0; status == 0 && i < v->n_cases; i++)
        if (!seen[i])
            status = dsv4_fail(err, "stream: %s/%s is missing", v->cases[i]->op->name,
                               v->cases[i]->name);
    dsv4_free(seen);
    return status;
}

/* ---- the verb ---- */

static int verify(struct verify *v, struct dsv4_err *err) {
    if (dsv4_suite_load(&v->suite, v->filter.suites, err) != 0 ||
        dsv4_layers_load(&v->layers, v->filter.suites, "*", err) != 0 ||
        dsv4_manifest_read(&v->manifest, v->dir, false, err) != 0)
        return dsv4_err_print(err);
    if (dsv4_filter_stored(&v->filter) && v->layer == NULL)
        v->cases = dsv4_filter_select(&v->filter, &v->suite, &v->n_cases);
    if (v->n_cases == 0 && v->layer == NULL) {
        fprintf(stderr, "dsv4cts: no case of the smoke, full or stress tier matches\n");
        return DSV4_EXIT_NOTHING;
    }
    if ((v->stream ? verify_stream(v, err) : verify_made(v, err)) != 0) return dsv4_err_print(err);
    if (v->n_cases + v->n_layers == 0) {
        fprintf(stderr, "dsv4cts: no layer matches '%s'\n", v->layer);
        return DSV4_EXIT_NOTHING;
    }
    if (v->n_layers > 0) printf("%zu layers and ", v->n_layers);
    printf("%zu cases verified: %zu differences, %zu faults\n", v->n_cases, v->n_differences,
           v->n_faults);
    if (v->n_faults > 0) return DSV4_EXIT_ERROR;
    return v->n_differences > 0 ? DSV4_EXIT_DIFFERENT : DSV4_EXIT_PASS;
}

int dsv4_verb_verify(int argc, char **argv) {
    struct dsv4_err err = {0};
    struct verify v = {.filter = DSV4_FILTER, .dir = dsv4_vectors_home()};
    const struct dsv4_option options[] = {
        {"--vectors", DSV4_OPTION_TEXT, &v.dir,    "DIR",  "where the vectors are (vectors)"},
        {"--layer",   DSV4_OPTION_TEXT, &v.layer,  "GLOB",
         "only these layers of suites/layers, no cases"                                     },
        {"--stream",  DSV4_OPTION_FLAG, &v.stream, NULL,
         "verify frames of reference/stream.c from standard input"                          },
    };
    struct dsv4_command command = {.usage = "verify-vectors [OPTIONS]",
                                   .options = options,
                                   .n_options = 3,
                                   .filter = &v.filter};
    int status = dsv4_command_start(&command, argc, argv);
    if (status >= 0) return status;
    status = verify(&v, &err);
    dsv4_free(v.cases);
    dsv4_manifest_free(&v.manifest);
    dsv4_layers_free(&v.layers);
    dsv4_suite_free(&v.suite);
    return status;
}
