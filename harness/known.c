/* SPDX-License-Identifier: Apache-2.0 */
#include "known.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <yaml.h>

#include "../reference/memory.h"

static int fail_at(struct dsv4_known *known, struct dsv4_err *err, size_t line) {
    snprintf(err->file, sizeof err->file, "%s", known->file);
    err->line = (int)line + 1;
    return -1;
}

static char **field_of(struct dsv4_known_failure *entry, const char *key) {
    return strcmp(key, "impl") == 0     ? &entry->impl
           : strcmp(key, "case") == 0   ? &entry->name
           : strcmp(key, "reason") == 0 ? &entry->reason
           : strcmp(key, "link") == 0   ? &entry->link
                                        : NULL;
}

static int read_entry(struct dsv4_known *known, yaml_document_t *document, const yaml_node_t *node,
                      struct dsv4_err *err) {
    if (node->type != YAML_MAPPING_NODE) {
        dsv4_fail(err, "an entry is a map with impl, case, reason and link");
        return fail_at(known, err, node->start_mark.line);
    }
    known->at = dsv4_resize(known->at, (known->n + 1) * sizeof *known->at);
    struct dsv4_known_failure *const entry = &known->at[known->n++];
    memset(entry, 0, sizeof *entry);
    entry->line = (int)node->start_mark.line + 1;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *const key = yaml_document_get_node(document, pair->key);
        const yaml_node_t *const value = yaml_document_get_node(document, pair->value);
        if (key->type != YAML_SCALAR_NODE || value->type != YAML_SCALAR_NODE) {
            dsv4_fail(err, "keys and values are single words or texts");
            return fail_at(known, err, key->start_mark.line);
        }
        const char *const name = (const char *)key->data.scalar.value;
        char **const field = field_of(entry, name);
        if (field == NULL || *field != NULL) {
            dsv4_fail(err, "'%.60s' is %s; an entry has impl, case, reason and link", name,
                      field == NULL ? "not a key" : "given twice");
            return fail_at(known, err, key->start_mark.line);
        }
        *field = dsv4_copy_text((const char *)value->data.scalar.value);
    }
    if (entry->impl == NULL || entry->name == NULL || entry->reason == NULL ||
        entry->link == NULL) {
        dsv4_fail(err, "an expected failure needs all of impl, case, reason and link");
        return fail_at(known, err, node->start_mark.line);
    }
    return 0;
}

static int read_document(struct dsv4_known *known, yaml_document_t *document,
                         struct dsv4_err *err) {
    const yaml_node_t *const root = yaml_document_get_root_node(document);
    if (root == NULL) return 0;
    /* A file of comments and `[]` is the usual one. */
    if (root->type != YAML_SEQUENCE_NODE) {
        dsv4_fail(err, "expected a list of entries with impl, case, reason and link");
        return fail_at(known, err, root->start_mark.line);
    }
    for (const yaml_node_item_t *item = root->data.sequence.items.start;
         item < root->data.sequence.items.top; item++)
        if (read_entry(known, document, yaml_document_get_node(document, *item), err) != 0)
            return -1;
    return 0;
}

int dsv4_known_read(struct dsv4_known *known, const char *path, struct dsv4_err *err) {
    yaml_parser_t parser;
    yaml_document_t document;
    int status = -1;
    memset(known, 0, sizeof *known);
    snprintf(known->file, sizeof known->file, "%s", path);
    FILE *const file = fopen(path, "rb");
    if (file == NULL && errno == ENOENT) return 0;
    if (file == NULL || yaml_parser_initialize(&parser) == 0) {
        dsv4_fail(err, "cannot be read: %s", strerror(errno));
        if (file != NULL) fclose(file);
        snprintf(err->file, sizeof err->file, "%s", path);
        return -1;
    }
    yaml_parser_set_input_file(&parser, file);
    if (yaml_parser_load(&parser, &document) == 0) {
        dsv4_fail(err, "not YAML: %s", parser.problem != NULL ? parser.problem : "unknown");
        fail_at(known, err, parser.problem_mark.line);
    } else {
        status = read_document(known, &document, err);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    fclose(file);
    return status;
}

void dsv4_known_free(struct dsv4_known *known) {
    for (size_t i = 0; i < known->n; i++) {
        dsv4_free(known->at[i].impl);
        dsv4_free(known->at[i].name);
        dsv4_free(known->at[i].reason);
        dsv4_free(known->at[i].link);
    }
    dsv4_free(known->at);
    memset(known, 0, sizeof *known);
}

const struct dsv4_known_failure *dsv4_known_find(struct dsv4_known *known, const char *impl,
                                                 const char *plugin, const char *op,
                                                 const char *name) {
    char both[2 * DSV4_NAME_SIZE];
    snprintf(both, sizeof both, "%.90s/%s", op, name);
    for (size_t i = 0; i < known->n; i++) {
        struct dsv4_known_failure *const entry = &known->at[i];
        if (fnmatch(entry->name, both, FNM_EXTMATCH) != 0) continue;
        if (fnmatch(entry->impl, impl, FNM_EXTMATCH) != 0 &&
            fnmatch(entry->impl, plugin, FNM_EXTMATCH) != 0)
            continue;
        entry->used = true;
        return entry;
    }
    return NULL;
}
