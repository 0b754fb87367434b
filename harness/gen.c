/* SPDX-License-Identifier: Apache-2.0 */
/* gen: the smoke tier's .npz files and every tier's line in MANIFEST. Nothing is written before
 * every selected case has been made. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "chain.h"
#include "file.h"
#include "manifest.h"
#include "options.h"
#include "store.h"
#include "vector.h"
#include "verbs.h"

struct image {
    const struct dsv4_suite_case *s;
    unsigned char *bytes;
    size_t size;
};

struct gen {
    struct dsv4_filter filter;
    const char *out, *layer;
    struct dsv4_suite suite;
    struct dsv4_layers layers;
    struct dsv4_manifest before, made, after;
    struct image *images;
    size_t n_images, n_written, n_removed, n_layers, smoke_bytes;
};

static int make_case(struct gen *g, const struct dsv4_suite_case *s, struct dsv4_err *err) {
    struct dsv4_vector v;
    struct dsv4_manifest_entry entry = {.tier = s->tier};
    int status = dsv4_vector_make(&v, s, err);
    if (status == 0) {
        dsv4_vector_hash(&v, entry.prompt, entry.answer);
        snprintf(entry.name, sizeof entry.name, "%.90s/%s", s->op->name, s->name);
        dsv4_manifest_add(&g->made, &entry);
    }
    if (status == 0 && s->tier == DSV4_SMOKE) {
        struct image *image = &g->images[g->n_images];
        image->s = s;
        status = dsv4_vector_image(&v, &image->bytes, &image->size, err);
        if (status == 0) {
            g->smoke_bytes += image->size;
            g->n_images++;
        }
    }
    dsv4_vector_free(&v);
    return status;
}

/* Makes all selected cases; goes on after a faulty one, so that one run names every fault. */
static int make_all(struct gen *g, const struct dsv4_suite_case **cases, size_t n) {
    int faults = 0;
    g->images = dsv4_alloc(n * sizeof *g->images);
    for (size_t i = 0; i < n; i++) {
        struct dsv4_err err = {0};
        if (make_case(g, cases[i], &err) != 0) {
            dsv4_err_print(&err);
            faults++;
        }
        dsv4_progress("gen", i + 1, n);
        if (g->smoke_bytes > DSV4_STORE_LIMIT) break;
    }
    return faults == 0 ? 0 : -1;
}

static int make_layer(struct gen *g, const struct dsv4_layer *layer, struct dsv4_err *err) {
    struct dsv4_chain chain;
    const int status = dsv4_chain_make(&chain, layer, err);
    for (size_t step = 0; status == 0 && step < layer->n_steps; step++) {
        struct dsv4_manifest_entry entry = {.tier = DSV4_FULL};
        dsv4_chain_hash(&chain, step, entry.prompt, entry.answer);
        snprintf(entry.name, sizeof entry.name, "%s/%.90s.%.90s", DSV4_LAYER_FAMILY, layer->name,
                 layer->steps[step]);
        dsv4_manifest_add(&g->made, &entry);
    }
    dsv4_chain_free(&chain);
    return status;
}

static int make_layers(struct gen *g) {
    int faults = 0;
    for (size_t i = 0; i < g->layers.n; i++) {
        struct dsv4_err err = {0};
        const struct dsv4_layer *const layer = &g->layers.at[i];
        if (g->layer != NULL ? fnmatch(g->layer, layer->name, FNM_EXTMATCH) != 0
                             : !dsv4_layer_is_chosen(layer, &g->filter))
            continue;
        g->n_layers++;
        if (make_layer(g, layer, &err) == 0) continue;
        dsv4_err_print(&err);
        faults++;
    }
    return faults == 0 ? 0 : -1;
}

/* Smoke vectors that stay as they are count too. */
static int check_budget(const struct gen *g, struct dsv4_err *err) {
    char path[4096];
    struct stat info;
    size_t bytes = g->smoke_bytes + dsv4_manifest_size(&g->after);
    for (size_t i = 0; i < g->suite.n_cases; i++) {
        const struct dsv4_suite_case *s = &g->suite.cases[i];
        if (s->tier != DSV4_SMOKE || dsv4_manifest_find(&g->made, s->op->name, s->name) != NULL)
            continue;
        dsv4_store_path(path, sizeof path, g->out, s);
        if (stat(path, &info) == 0) bytes += (size_t)info.st_size;
    }
    if (bytes <= DSV4_STORE_LIMIT) return 0;
    return dsv4_fail(
        err,
        "the smoke vectors and MANIFEST would take over %d bytes in all; move cases to the full "
        "tier or shrink them; "
        "nothing was written",
        DSV4_STORE_LIMIT);
}

static bool is_same_file(const char *path, const struct image *image) {
    struct dsv4_err ignored = {0};
    unsigned char *bytes;
    size_t size;
    if (access(path, F_OK) != 0) return false;
    if (dsv4_file_read(&bytes, &size, path, DSV4_STORE_LIMIT, &ignored) != 0) return false;
    const bool same = size == image->size && memcmp(bytes, image->bytes, size) == 0;
    dsv4_free(bytes);
    return same;
}

static int write_images(struct gen *g, struct dsv4_err *err) {
    char path[4096];
    for (size_t i = 0; i < g->n_images; i++) {
        const struct image *image = &g->images[i];
        snprintf(path, sizeof path, "%.3800s/%s", g->out, image->s->op->name);
        if (dsv4_directory_make(path, err) != 0) return -1;
        dsv4_store_path(path, sizeof path, g->out, image->s);
        if (is_same_file(path, image)) continue;
        if (dsv4_file_write(path, image->bytes, image->size, err) != 0) return -1;
        g->n_written++;
    }
    return 0;
}

static int remove_file(void *context, const char *path, struct dsv4_err *err) {
    if (unlink(path) != 0) {
        dsv4_fail(err, "cannot be removed: %s", strerror(errno));
        return dsv4_err_at(err, path, 0);
    }
    printf("removed %s: no smoke case of this name\n", path);
    ++*(size_t *)context;
    return 0;
}

/* Suite order; a case that was not selected keeps the line it had. */
static void collect_manifest(struct gen *g) {
    for (size_t i = 0; i < g->suite.n_cases; i++) {
        const struct dsv4_suite_case *s = &g->suite.cases[i];
        const struct dsv4_manifest_entry *e = dsv4_manifest_find(&g->made, s->op->name, s->name);
        if (e == NULL) e = dsv4_manifest_find(&g->before, s->op->name, s->name);
        if (e != NULL && s->tier != DSV4_BENCH) {
            dsv4_manifest_add(&g->after, e);
            g->after.entries[g->after.n - 1].tier = s->tier;
        }
    }
    for (size_t i = 0; i < g->layers.n; i++)
        for (size_t step = 0; step < g->layers.at[i].n_steps; step++) {
            char name[2 * DSV4_NAME_SIZE];
            snprintf(name, sizeof name, "%s.%s", g->layers.at[i].name, g->layers.at[i].steps[step]);
            const struct dsv4_manifest_entry *e =
                dsv4_manifest_find(&g->made, DSV4_LAYER_FAMILY, name);
            if (e == NULL) e = dsv4_manifest_find(&g->before, DSV4_LAYER_FAMILY, name);
            if (e != NULL) dsv4_manifest_add(&g->after, e);
        }
}

static int write_manifest(const struct gen *g, struct dsv4_err *err) {
    if (dsv4_directory_make(g->out, err) != 0) return -1;
    return dsv4_manifest_write(&g->after, g->out, err);
}

static int gen(struct gen *g, struct dsv4_err *err) {
    size_t n = 0;
    if (dsv4_suite_load(&g->suite, g->filter.suites, err) != 0 ||
        dsv4_layers_load(&g->layers, g->filter.suites, "*", err) != 0)
        return dsv4_err_print(err);
    if (dsv4_manifest_read(&g->before, g->out, true, err) != 0) return dsv4_err_print(err);
    const struct dsv4_suite_case **cases = NULL;
    const bool stored = dsv4_filter_stored(&g->filter);
    if (stored && g->layer == NULL) cases = dsv4_filter_select(&g->filter, &g->suite, &n);
    int status = n > 0 ? make_all(g, cases, n) : 0;
    dsv4_free(cases);
    if (stored && make_layers(g) != 0) status = -1;
    if (n + g->n_layers == 0) {
        fprintf(stderr, "dsv4cts: no %s matches\n",
                g->layer != NULL ? "layer" : "case of the smoke, full or stress tier");
        return DSV4_EXIT_NOTHING;
    }
    if (status != 0) return DSV4_EXIT_ERROR;
    collect_manifest(g);
    if (check_budget(g, err) != 0 || write_images(g, err) != 0 ||
        dsv4_store_surplus(g->out, &g->suite, remove_file, &g->n_removed, err) != 0 ||
        write_manifest(g, err) != 0)
        return dsv4_err_print(err);
    printf("%zu cases made, %zu layers; %zu smoke vectors of %.2f MB, %zu of them changed, %zu "
           "removed; MANIFEST has %zu lines\n",
           n, g->n_layers, g->n_images, (double)g->smoke_bytes / 1e6, g->n_written, g->n_removed,
           g->after.n);
    return DSV4_EXIT_PASS;
}

int dsv4_verb_gen(int argc, char **argv) {
    struct dsv4_err err = {0};
    struct gen g = {.filter = DSV4_FILTER, .out = "vectors"};
    const struct dsv4_option options[] = {
        {"--out",   DSV4_OPTION_TEXT, &g.out,   "DIR",  "where the vectors are written (vectors)"},
        {"--layer", DSV4_OPTION_TEXT, &g.layer, "GLOB",
         "only these layers of suites/layers, no cases"                                          },
    };
    struct dsv4_command command = {
        .usage = "gen [OPTIONS]", .options = options, .n_options = 2, .filter = &g.filter};
    int status = dsv4_command_start(&command, argc, argv);
    if (status >= 0) return status;
    status = gen(&g, &err);
    for (size_t i = 0; i < g.n_images; i++) dsv4_free(g.images[i].bytes);
    dsv4_free(g.images);
    dsv4_manifest_free(&g.before);
    dsv4_manifest_free(&g.made);
    dsv4_manifest_free(&g.after);
    dsv4_layers_free(&g.layers);
    dsv4_suite_free(&g.suite);
    return status;
}
