/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that calls malloc and mmap. Running out of memory ends the program with a message
 * and exit code 2: no caller can do better, and no caller has to pretend. */
#ifndef DSV4_MEMORY_H
#define DSV4_MEMORY_H

#include <stddef.h>

void *dsv4_alloc(size_t bytes);                /* zeroed */
void *dsv4_resize(void *memory, size_t bytes); /* new bytes are not zeroed */
char *dsv4_copy_text(const char *text);
void dsv4_free(void *memory);

/* Zeroed, page-aligned, backed only where touched: the size may exceed the machine's memory. */
void *dsv4_map(size_t bytes);

/* As dsv4_map, with an inaccessible page before and one behind; NULL if there is no room. bytes: whole pages. */
void *dsv4_map_guarded(size_t bytes);
/* Gives the pages of a guarded map back and keeps its addresses: every access faults. */
void dsv4_forbid_guarded(void *memory, size_t bytes);
void dsv4_unmap_guarded(void *memory, size_t bytes);
size_t dsv4_page_bytes(void);

/* Whether no page of the mapping that holds these bytes is backed: nobody has touched them. */
int dsv4_map_is_untouched(const void *memory, size_t bytes);

/* The first bytes of an open file, shared with every other process that maps it. */
void *dsv4_map_shared(int fd, size_t bytes);
void dsv4_unmap(void *memory, size_t bytes);

#endif
