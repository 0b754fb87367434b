/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of a failure: a key and a text each, in the order in which they were found. */
#ifndef DSV4_NOTES_H
#define DSV4_NOTES_H

#include <stddef.h>

enum { DSV4_MAX_NOTES = 16 };

struct dsv4_note {
    char key[16];
    char *text; /* several lines, separated by newlines, when a key was added more than once */
};

struct dsv4_notes {
    struct dsv4_note at[DSV4_MAX_NOTES];
    size_t n;
};

void dsv4_notes_add(struct dsv4_notes *notes, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with a text of any length, as it is. */
void dsv4_notes_put(struct dsv4_notes *notes, const char *key, const char *text);
void dsv4_notes_free(struct dsv4_notes *notes);

#endif
