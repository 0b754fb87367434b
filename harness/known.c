/* SPDX-License-Identifier: Apache-2.0 */
#include "known.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "file.h"
#include "plain_yaml.h"

enum { KNOWN_MOST_BYTES = 1 << 20 };

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
        return dsv4_yaml_fail(err, known->file, node->start_mark.line,
                              "an entry is a map with impl, case, reason and link");
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
            return dsv4_yaml_fail(err, known->file, key->start_mark.line,
                                  "keys and values are single words or texts");
        }
        const char *const name = (const char *)key->data.scalar.value;
        char **const field = field_of(entry, name);
        if (field == NULL || *field != NULL) {
            return dsv4_yaml_fail(err, known->file, key->start_mark.line,
                                  "'%.60s' is %s; an entry has impl, case, reason and link", name,
                                  field == NULL ? "not a key" : "given twice");
        }
        *field = dsv4_copy_text((const char *)value->data.scalar.value);
    }
    if (entry->impl == NULL || entry->name == NULL || entry->reason == NULL ||
        entry->link == NULL) {
        return dsv4_yaml_fail(err, known->file, node->start_mark.line,
                              "an expected failure needs all of impl, case, reason and link");
    }
    return 0;
}

static int read_document(struct dsv4_known *known, yaml_document_t *document,
                         struct dsv4_err *err) {
    const yaml_node_t *const root = yaml_document_get_root_node(document);
    if (root == NULL) return 0;
    /* A file of comments and `[]` is the usual one. */
    if (root->type != YAML_SEQUENCE_NODE) {
        return dsv4_yaml_fail(err, known->file, root->start_mark.line,
                              "expected a list of entries with impl, case, reason and link");
    }
    for (const yaml_node_item_t *item = root->data.sequence.items.start;
         item < root->data.sequence.items.top; item++)
        if (read_entry(known, document, yaml_document_get_node(document, *item), err) != 0)
            return -1;
    return 0;
}

int dsv4_known_read(struct dsv4_known *known, const char *path, struct dsv4_err *err) {
    yaml_document_t document;
    unsigned char *text = NULL;
    size_t size = 0;
    memset(known, 0, sizeof *known);
    snprintf(known->file, sizeof known->file, "%s", path);
    if (access(path, F_OK) != 0 && errno == ENOENT) return 0;
    if (dsv4_file_read(&text, &size, path, KNOWN_MOST_BYTES, err) != 0) return -1;
    int status = dsv4_yaml_load(&document, path, text, size, err);
    if (status == 0) {
        status = read_document(known, &document, err);
        yaml_document_delete(&document);
    }
    dsv4_free(text);
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
