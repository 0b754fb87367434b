/* SPDX-License-Identifier: Apache-2.0 */
#include "plain_yaml.h"

#include <stdarg.h>
#include <stdio.h>

#include "options.h"

enum { MAX_EVENTS = 400000, MAX_DEPTH = 8, MAX_SCALAR = 400 };

int dsv4_yaml_fail(struct dsv4_err *err, const char *file, size_t line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return dsv4_err_at(err, file, (int)line + 1);
}

/* A pass over the events, before libyaml builds anything from them. */
struct scan {
    const char *file;
    struct dsv4_err *err;
    int depth, documents, events;
};

#define FAIL(scan, line, ...) dsv4_yaml_fail((scan)->err, (scan)->file, line, __VA_ARGS__)

static int check_text(const struct scan *scan, const yaml_event_t *event) {
    const unsigned char *text = event->data.scalar.value;
    const size_t length = event->data.scalar.length, line = event->start_mark.line;
    if (length > MAX_SCALAR)
        return FAIL(scan, line, "a scalar of %zu bytes; at most %d are read", length, MAX_SCALAR);
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7E)
            return FAIL(scan, line, "byte 0x%02x in a scalar; write printable ASCII on one line",
                        text[i]);
    return 0;
}

static bool is_decorated(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_ALIAS_EVENT: return true;
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    default: return false;
    }
}

static int check_event(struct scan *scan, const yaml_event_t *event) {
    const size_t line = event->start_mark.line;
    if (++scan->events > MAX_EVENTS) return FAIL(scan, line, "more than %d nodes", MAX_EVENTS);
    if (is_decorated(event))
        return FAIL(scan, line,
                    "anchors, aliases and type tags are not allowed here; write it out");
    switch (event->type) {
    case YAML_SCALAR_EVENT: return check_text(scan, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++scan->depth > MAX_DEPTH)
            return FAIL(scan, line, "lists and maps are nested more than %d deep", MAX_DEPTH);
        return 0;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: --scan->depth; return 0;
    case YAML_DOCUMENT_START_EVENT:
        return ++scan->documents > 1 ? FAIL(scan, line, "a second document; one is read") : 0;
    default: return 0;
    }
}

static int fail_parser(const struct scan *scan, const yaml_parser_t *parser,
                       const unsigned char *text, size_t size) {
    size_t line = parser->problem_mark.line;
    if (parser->error == YAML_READER_ERROR) { /* has an offset only */
        line = 0;
        for (size_t i = 0; i < size && i < parser->problem_offset; i++) line += text[i] == '\n';
    }
    return FAIL(scan, line, "not YAML: %s%s%s",
                parser->problem != NULL ? parser->problem : "unknown",
                parser->context != NULL ? " " : "", parser->context != NULL ? parser->context : "");
}

static int scan_all(struct scan *scan, const unsigned char *text, size_t size) {
    yaml_parser_t parser;
    yaml_event_t event;
    int status = 0;
    bool end = false;
    if (yaml_parser_initialize(&parser) == 0) return FAIL(scan, 0, "the YAML parser has no memory");
    yaml_parser_set_input_string(&parser, text, size);
    while (status == 0 && !end) {
        if (yaml_parser_parse(&parser, &event) == 0) {
            status = fail_parser(scan, &parser, text, size);
            break;
        }
        status = check_event(scan, &event);
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    if (status == 0 && scan->documents == 0) status = FAIL(scan, 0, "the file is empty");
    yaml_parser_delete(&parser);
    return status;
}

int dsv4_yaml_load(yaml_document_t *document, const char *file, const unsigned char *text,
                   size_t size, struct dsv4_err *err) {
    struct scan scan = {.file = file, .err = err};
    yaml_parser_t parser;
    if (scan_all(&scan, text, size) != 0) return -1;
    if (yaml_parser_initialize(&parser) == 0)
        return FAIL(&scan, 0, "the YAML parser has no memory");
    yaml_parser_set_input_string(&parser, text, size);
    int status = 0;
    if (yaml_parser_load(&parser, document) == 0) {
        status = fail_parser(&scan, &parser, text, size);
    } else if (yaml_document_get_root_node(document) == NULL) {
        yaml_document_delete(document);
        status = FAIL(&scan, 0, "the file is empty");
    }
    yaml_parser_delete(&parser);
    return status;
}

/* ---- walking ---- */

const yaml_node_t *dsv4_yaml_node(const struct dsv4_yaml *y, int index) {
    return yaml_document_get_node(y->document, index);
}

const char *dsv4_yaml_text(const yaml_node_t *node) {
    return (const char *)node->data.scalar.value;
}

static const char *type_name(yaml_node_type_t type) {
    static const char *const names[] = {"nothing", "a scalar", "a list", "a map"};
    return names[type];
}

int dsv4_yaml_want(const struct dsv4_yaml *y, const yaml_node_t *node, yaml_node_type_t type,
                   const char *what) {
    if (node->type == type) return 0;
    return dsv4_yaml_fail(y->err, y->file, node->start_mark.line, "%s is %s; it must be %s", what,
                          type_name(node->type), type_name(type));
}

size_t dsv4_yaml_items(const yaml_node_t *node) {
    return (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
}

const yaml_node_t *dsv4_yaml_item(const struct dsv4_yaml *y, const yaml_node_t *node, size_t i) {
    return dsv4_yaml_node(y, node->data.sequence.items.start[i]);
}

size_t dsv4_yaml_pairs(const yaml_node_t *node) {
    return (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
}

int dsv4_yaml_pair(const struct dsv4_yaml *y, const yaml_node_t *node, size_t i, const char **key,
                   const yaml_node_t **key_node, const yaml_node_t **value) {
    *key_node = dsv4_yaml_node(y, node->data.mapping.pairs.start[i].key);
    *value = dsv4_yaml_node(y, node->data.mapping.pairs.start[i].value);
    if (dsv4_yaml_want(y, *key_node, YAML_SCALAR_NODE, "a key") != 0) return -1;
    *key = dsv4_yaml_text(*key_node);
    return 0;
}

int dsv4_yaml_map(const struct dsv4_yaml *y, const yaml_node_t *node, const char *what,
                  const char *const *keys, size_t n_keys, size_t n_required,
                  const yaml_node_t **values) {
    if (dsv4_yaml_want(y, node, YAML_MAPPING_NODE, what) != 0) return -1;
    for (size_t k = 0; k < n_keys; k++) values[k] = NULL;
    for (size_t i = 0; i < dsv4_yaml_pairs(node); i++) {
        const char *key;
        const yaml_node_t *key_node, *value;
        size_t k = 0;
        if (dsv4_yaml_pair(y, node, i, &key, &key_node, &value) != 0) return -1;
        while (k < n_keys && strcmp(keys[k], key) != 0) k++;
        if (k == n_keys)
            return dsv4_yaml_fail(y->err, y->file, key_node->start_mark.line,
                                  "%s has the unknown key '%.60s'", what, key);
        if (values[k] != NULL)
            return dsv4_yaml_fail(y->err, y->file, key_node->start_mark.line,
                                  "%s has the key '%s' twice", what, key);
        values[k] = value;
    }
    for (size_t k = 0; k < n_required; k++)
        if (values[k] == NULL)
            return dsv4_yaml_fail(y->err, y->file, node->start_mark.line, "%s lacks the key '%s'",
                                  what, keys[k]);
    return 0;
}

bool dsv4_is_kebab(const char *name) {
    char before = '-';
    for (const char *at = name; *at != '\0'; before = *at++) {
        const bool word = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (!word && (*at != '-' || before == '-')) return false;
    }
    return before != '-';
}
