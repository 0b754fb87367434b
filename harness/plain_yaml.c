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
