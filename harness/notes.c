/* SPDX-License-Identifier: Apache-2.0 */
#include "notes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../reference/memory.h"

void dsv4_notes_add(struct dsv4_notes *notes, const char *key, const char *format, ...) {
    char text[4608];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dsv4_notes_put(notes, key, text);
}

void dsv4_notes_put(struct dsv4_notes *notes, const char *key, const char *text) {
    size_t i = 0;
    while (i < notes->n && strcmp(notes->at[i].key, key) != 0) i++;
    struct dsv4_note *const note = &notes->at[i];
    if (i == notes->n) {
        assert(notes->n < DSV4_MAX_NOTES);
        notes->n++;
        snprintf(note->key, sizeof note->key, "%s", key);
        note->text = dsv4_copy_text(text);
        return;
    }
    const size_t before = strlen(note->text), after = strlen(text);
    note->text = dsv4_resize(note->text, before + after + 2);
    note->text[before] = '\n';
    memcpy(note->text + before + 1, text, after + 1);
}

void dsv4_notes_free(struct dsv4_notes *notes) {
    for (size_t i = 0; i < notes->n; i++) dsv4_free(notes->at[i].text);
    memset(notes, 0, sizeof *notes);
}
