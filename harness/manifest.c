/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "file.h"
#include "options.h"

void dsv4_manifest_add(struct dsv4_manifest *m, const struct dsv4_manifest_entry *entry) {
    if ((m->n & (m->n - 1)) == 0) /* grow at powers of two */
        m->entries = dsv4_resize(m->entries, (2 * m->n + 1) * sizeof *m->entries);
    m->entries[m->n++] = *entry;
}

const struct dsv4_manifest_entry *dsv4_manifest_find(const struct dsv4_manifest *m, const char *op,
                                                     const char *name) {
    const size_t length = strlen(op);
    for (size_t i = 0; i < m->n; i++) {
        const char *at = m->entries[i].name;
        if (strncmp(at, op, length) == 0 && at[length] == '/' && strcmp(at + length + 1, name) == 0)
            return &m->entries[i];
    }
    return NULL;
}

static bool is_hash(const char *text) {
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* One line, without its newline. */
static int parse_line(struct dsv4_manifest_entry *entry, const char *line, struct dsv4_err *err) {
    char tier[16], again[400];
    int t = 0;
    if (sscanf(line, "%64s %64s %15s %190s", entry->prompt, entry->answer, tier, entry->name) != 4)
        return dsv4_fail(err, "not '<prompt sha256> <answer sha256> <tier> <op>/<case>'");
    snprintf(again, sizeof again, "%s %s %s %s", entry->prompt, entry->answer, tier, entry->name);
    if (strcmp(again, line) != 0)
        return dsv4_fail(
            err, "not '<prompt sha256> <answer sha256> <tier> <op>/<case>' with single spaces");
    if (!is_hash(entry->prompt) ||
        (!is_hash(entry->answer) && strcmp(entry->answer, "refused") != 0))
        return dsv4_fail(err, "the first two words are not hashes of 64 hex digits (or 'refused')");
    while (t < DSV4_BENCH && strcmp(dsv4_tier_names[t], tier) != 0) t++;
    if (t == DSV4_BENCH)
        return dsv4_fail(err, "the tier '%s' is not one of smoke, full, stress", tier);
    const char *slash = strchr(entry->name, '/');
    if (slash == NULL || slash == entry->name || slash[1] == '\0')
        return dsv4_fail(err, "'%s' is not <op>/<case>", entry->name);
    entry->tier = (enum dsv4_tier)t;
    return 0;
}

int dsv4_manifest_parse(struct dsv4_manifest *m, const char *text, const char *path,
                        struct dsv4_err *err) {
    char line[400];
    int n = 0;
    for (const char *at = text; *at != '\0';) {
        struct dsv4_manifest_entry entry = {.line = ++n};
        const size_t length = strcspn(at, "\n");
        if (at[length] == '\0' || length >= sizeof line) {
            dsv4_fail(err, at[length] == '\0' ? "the last line has no end; the file was cut"
                                              : "the line is too long");
            return dsv4_err_at(err, path, n);
        }
        snprintf(line, sizeof line, "%.*s", (int)length, at);
        if (parse_line(&entry, line, err) != 0) return dsv4_err_at(err, path, n);
        for (size_t i = 0; i < m->n; i++)
            if (strcmp(m->entries[i].name, entry.name) == 0) {
                dsv4_fail(err, "%s is listed already, in line %d", entry.name, m->entries[i].line);
                return dsv4_err_at(err, path, n);
            }
        dsv4_manifest_add(m, &entry);
        at += length + 1;
    }
    return 0;
}

int dsv4_manifest_read(struct dsv4_manifest *m, const char *dir, bool may_lack,
                       struct dsv4_err *err) {
    enum { LIMIT = 16 << 20 };
    char path[4096];
    unsigned char *bytes;
    size_t size;
    snprintf(path, sizeof path, "%.4000s/MANIFEST", dir);
    if (may_lack && access(path, F_OK) != 0 && errno == ENOENT) return 0;
    if (dsv4_file_read(&bytes, &size, path, LIMIT, err) != 0) return -1;
    int status;
    if (memchr(bytes, 0, size) != NULL) {
        dsv4_fail(err, "a zero byte; this is not a text file");
        status = dsv4_err_at(err, path, 0);
    } else {
        status = dsv4_manifest_parse(m, (const char *)bytes, path, err);
    }
    dsv4_free(bytes);
    return status;
}

static size_t write_line(char *line, size_t size, const struct dsv4_manifest_entry *e) {
    return (size_t)snprintf(line, size, "%s %s %s %s\n", e->prompt, e->answer,
                            dsv4_tier_names[e->tier], e->name);
}

size_t dsv4_manifest_size(const struct dsv4_manifest *m) {
    size_t size = 0;
    for (size_t i = 0; i < m->n; i++) size += write_line(NULL, 0, &m->entries[i]);
    return size;
}

int dsv4_manifest_write(const struct dsv4_manifest *m, const char *dir, struct dsv4_err *err) {
    char path[4096];
    const size_t size = dsv4_manifest_size(m) + 1;
    char *text = dsv4_alloc(size);
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) n += write_line(text + n, size - n, &m->entries[i]);
    snprintf(path, sizeof path, "%.4000s/MANIFEST", dir);
    const int status = dsv4_file_write(path, text, n, err);
    dsv4_free(text);
    return status;
}

void dsv4_manifest_free(struct dsv4_manifest *m) {
    dsv4_free(m->entries);
    memset(m, 0, sizeof *m);
}
