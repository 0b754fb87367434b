/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *checked(void *memory, size_t bytes) {
    if (memory == NULL) {
        fprintf(stderr, "dsv4cts: out of memory: %zu bytes were asked for\n", bytes);
        _exit(2);
    }
    return memory;
}

void *dsv4_alloc(size_t bytes) { return checked(calloc(1, bytes > 0 ? bytes : 1), bytes); }

void *dsv4_resize(void *memory, size_t bytes) {
    return checked(realloc(memory, bytes > 0 ? bytes : 1), bytes);
}

char *dsv4_copy_text(const char *text) {
    const size_t bytes = strlen(text) + 1;
    return memcpy(dsv4_alloc(bytes), text, bytes);
}

void dsv4_free(void *memory) { free(memory); }

void *dsv4_map(size_t bytes) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *memory = mmap(NULL, bytes > 0 ? bytes : 1, PROT_READ | PROT_WRITE, flags, -1, 0);
    return checked(memory == MAP_FAILED ? NULL : memory, bytes);
}

void dsv4_unmap(void *memory, size_t bytes) {
    if (memory != NULL) munmap(memory, bytes > 0 ? bytes : 1);
}

size_t dsv4_page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

void *dsv4_map_guarded(size_t bytes) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    const size_t page = dsv4_page_bytes();
    uint8_t *const memory = mmap(NULL, bytes + 2 * page, PROT_NONE, flags, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    if (bytes == 0 || mprotect(memory + page, bytes, PROT_READ | PROT_WRITE) == 0)
        return memory + page;
    munmap(memory, bytes + 2 * page);
    return NULL;
}

void dsv4_forbid_guarded(void *memory, size_t bytes) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    /* A fresh mapping in its place drops the pages, and merges with the guards around it. */
    if (bytes > 0) mmap(memory, bytes, PROT_NONE, flags, -1, 0);
}

void dsv4_unmap_guarded(void *memory, size_t bytes) {
    const size_t page = dsv4_page_bytes();
    munmap((uint8_t *)memory - page, bytes + 2 * page);
}

void *dsv4_map_shared(int fd, size_t bytes) {
    void *memory = mmap(NULL, bytes > 0 ? bytes : 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return checked(memory == MAP_FAILED ? NULL : memory, bytes);
}

int dsv4_map_is_untouched(const void *memory, size_t bytes) {
    enum { PAGES = 2048 };
    uint64_t entries[PAGES];
    const size_t page = dsv4_page_bytes();
    const size_t begin = (uintptr_t)memory / page;
    const size_t end = ((uintptr_t)memory + bytes + page - 1) / page;
    const int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool untouched = file >= 0;
    for (size_t at = begin; at < end && untouched; at += PAGES) {
        const size_t size = (end - at < PAGES ? end - at : PAGES) * sizeof *entries;
        untouched = pread(file, entries, size, (off_t)(at * sizeof *entries)) == (ssize_t)size;
        for (size_t i = 0; i < size / sizeof *entries && untouched; i++)
            untouched = entries[i] >> 62 == 0; /* neither present nor swapped out */
    }
    if (file >= 0) close(file);
    return untouched;
}
