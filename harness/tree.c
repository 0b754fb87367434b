/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <stdio.h>

#include "../reference/memory.h"
#include "file.h"
#include "hash.h"

enum { MOST_OUTPUT = 1 << 26 };

/* What a command prints; NULL: it failed. dsv4_free(). */
static char *output_of(const char *command, size_t *size) {
    char *text = dsv4_alloc(1);
    FILE *const pipe = popen(command, "r");
    *size = 0;
    if (pipe == NULL) {
        dsv4_free(text);
        return NULL;
    }
    size_t got = 1;
    while (got > 0 && *size < MOST_OUTPUT) {
        text = dsv4_resize(text, *size + 65536 + 1);
        got = fread(text + *size, 1, 65536, pipe);
        *size += got;
    }
    text[*size] = '\0';
    if (pclose(pipe) == 0 && *size < MOST_OUTPUT) return text;
    dsv4_free(text);
    return NULL;
}

static void hash_files(struct dsv4_tree *tree, const char *names, size_t size) {
    struct dsv4_hash *const all = dsv4_hash_start();
    for (size_t at = 0; at < size; at += strlen(names + at) + 1) {
        char hex[65];
        struct dsv4_err err = {0};
        /* One that is tracked and not there has no hash, and so changes the whole. */
        dsv4_file_hash(names + at, hex, &err);
        dsv4_hash_add(all, hex, strlen(hex));
        dsv4_hash_add(all, "  ", 2);
        dsv4_hash_add(all, names + at, strlen(names + at));
        dsv4_hash_add(all, "\n", 1);
        tree->files++;
    }
    dsv4_hash_finish(all, tree->sha256);
}

void dsv4_tree_look(struct dsv4_tree *tree) {
    size_t size;
    memset(tree, 0, sizeof *tree);
    char *text = output_of("git rev-parse HEAD 2>/dev/null", &size);
    if (text == NULL) return;
    snprintf(tree->commit, sizeof tree->commit, "%.*s", (int)strcspn(text, "\n"), text);
    dsv4_free(text);
    text = output_of("git status --porcelain 2>/dev/null", &size);
    tree->clean = text != NULL && size == 0;
    dsv4_free(text);
    text = output_of("git ls-files -z 2>/dev/null", &size);
    if (text != NULL) hash_files(tree, text, size);
    dsv4_free(text);
}
