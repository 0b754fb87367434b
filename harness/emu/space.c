/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three lists, sorted by address: allocations, which never overlap and stay known until QUARANTINE later ones, or so many
 * bytes, have been freed; memory of others, which may lie inside other memory of others; declared tensors, which may overlap.
 */
#include "space.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "reference/memory.h"

enum { QUARANTINE = 16384, FILL_LIMIT = 1 << 20, CACHE = 8 };
static const size_t LIMIT = (size_t)192 << 30, QUARANTINE_BYTES = (size_t)16 << 40;

struct list {
    struct emu_region *at;
    size_t count, room;
};

static struct list allocations, others, tensors;
static size_t used, numbered, n_freed, oldest_freed, freed_bytes;
static void *quarantine[QUARANTINE];
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static atomic_size_t generation = 1;

/* What this thread was allowed to touch last. */
static _Thread_local struct {
    size_t generation;
    unsigned next;
    struct {
        uintptr_t base, end;
        bool writable;
    } entry[CACHE];
} cache;

/* How many regions begin at or before the address. */
static size_t up_to(const struct list *list, uintptr_t address) {
    size_t low = 0, high = list->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (list->at[middle].base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(struct list *list, const struct emu_region *region) {
    const size_t i = up_to(list, region->base);
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 64;
        list->at = dsv4_resize(list->at, list->room * sizeof *list->at);
    }
    memmove(&list->at[i + 1], &list->at[i], (list->count - i) * sizeof *list->at);
    list->at[i] = *region;
    list->count++;
}

static void erase(struct list *list, size_t i) {
    memmove(&list->at[i], &list->at[i + 1], (list->count - i - 1) * sizeof *list->at);
    list->count--;
}

/* The allocation that begins here, or NULL. */
static struct emu_region *allocation(const void *memory) {
    const size_t i = up_to(&allocations, (uintptr_t)memory);
    return i > 0 && allocations.at[i - 1].base == (uintptr_t)memory ? &allocations.at[i - 1] : NULL;
}

/* The smallest region of a list that holds all of [low, end), or NULL. */
static const struct emu_region *around(const struct list *list, uintptr_t low, uintptr_t end) {
    const struct emu_region *best = NULL;
    for (size_t i = 0; i < list->count && list->at[i].base <= low; i++) {
        const struct emu_region *const r = &list->at[i];
        if (end <= r->end && (best == NULL || r->end - r->base < best->end - best->base)) best = r;
    }
    return best;
}

/* What holds all of [low, end), live or freed, tensors apart. */
static const struct emu_region *holder(uintptr_t low, uintptr_t end) {
    const size_t i = up_to(&allocations, low);
    if (i > 0 && end <= allocations.at[i - 1].end && end >= low) return &allocations.at[i - 1];
    return around(&others, low, end);
}

static bool has_tensors(const struct emu_region *region) {
    return up_to(&tensors, region->end - 1) > 0 && tensors.count > 0 &&
           tensors.at[up_to(&tensors, region->end - 1) - 1].base >= region->base;
}

static void changed(void) { atomic_fetch_add(&generation, 1); }

static size_t whole_pages(const struct emu_region *region) {
    const size_t page = dsv4_page_bytes();
    return (region->end - region->base + page - 1) / page * page;
}

void *emu_space_alloc(size_t bytes, enum emu_region_kind kind) {
    struct emu_region region = {.kind = kind, .owned = true};
    region.writable = kind != EMU_REGION_KERNARG;
    region.end = bytes;
    void *memory = NULL;
    pthread_rwlock_wrlock(&lock);
    if (bytes > 0 && bytes <= LIMIT && used + bytes <= LIMIT)
        memory = dsv4_map_guarded(whole_pages(&region));
    if (memory != NULL) {
        region.base = (uintptr_t)memory;
        region.end = (uintptr_t)memory + bytes;
        snprintf(region.name, sizeof region.name, "allocation %zu of %zu bytes", ++numbered, bytes);
        insert(&allocations, &region);
        used += bytes;
        changed();
    }
    pthread_rwlock_unlock(&lock);
    if (memory != NULL && bytes <= FILL_LIMIT) memset(memory, 0xA5, bytes);
    return memory;
}

/* Gives the addresses that were freed longest ago back to the system. */
static void forget_oldest(void) {
    struct emu_region *const region = allocation(quarantine[oldest_freed]);
    dsv4_unmap_guarded(quarantine[oldest_freed], whole_pages(region));
    freed_bytes -= region->end - region->base;
    erase(&allocations, (size_t)(region - allocations.at));
    oldest_freed = (oldest_freed + 1) % QUARANTINE;
    n_freed--;
}

static void undeclare(uintptr_t base, uintptr_t end) {
    for (size_t i = tensors.count; i-- > 0;)
        if (tensors.at[i].base >= base && tensors.at[i].base < end) erase(&tensors, i);
}

int emu_space_free(void *memory) {
    pthread_rwlock_wrlock(&lock);
    struct emu_region *const region = allocation(memory);
    const bool live = region != NULL && !region->freed;
    if (live) {
        const size_t bytes = region->end - region->base;
        region->freed = true;
        used -= bytes;
        dsv4_forbid_guarded(memory, whole_pages(region));
        undeclare(region->base, region->end);
        freed_bytes += bytes;
        while (n_freed == QUARANTINE || (n_freed > 0 && freed_bytes > QUARANTINE_BYTES))
            forget_oldest();
        quarantine[(oldest_freed + n_freed++) % QUARANTINE] = memory;
        changed();
    }
    pthread_rwlock_unlock(&lock);
    return live ? 0 : -1;
}

void emu_space_add(void *memory, size_t bytes, enum emu_region_kind kind, bool writable,
                   const char *name) {
    struct emu_region region = {.base = (uintptr_t)memory,
                                .end = (uintptr_t)memory + bytes,
                                .kind = kind,
                                .writable = writable};
    snprintf(region.name, sizeof region.name, "%s", name);
    pthread_rwlock_wrlock(&lock);
    insert(kind == EMU_REGION_TENSOR ? &tensors : &others, &region);
    changed();
    pthread_rwlock_unlock(&lock);
}

int emu_space_remove(void *memory) {
    pthread_rwlock_wrlock(&lock);
    const size_t i = up_to(&others, (uintptr_t)memory);
    const bool known = i > 0 && others.at[i - 1].base == (uintptr_t)memory;
    if (known) erase(&others, i - 1);
    changed();
    pthread_rwlock_unlock(&lock);
    return known ? 0 : -1;
}

int dsv4_emu_declare(void *memory, size_t bytes, const char *name) {
    struct emu_region region;
    const uintptr_t base = (uintptr_t)memory;
    if (bytes == 0 || !emu_space_find(base, &region) || region.freed || base + bytes > region.end)
        return -1;
    emu_space_add(memory, bytes, EMU_REGION_TENSOR, true, name);
    return 0;
}

void dsv4_emu_undeclare_all(void) {
    pthread_rwlock_wrlock(&lock);
    tensors.count = 0;
    changed();
    pthread_rwlock_unlock(&lock);
}

bool emu_space_find(uintptr_t address, struct emu_region *region) {
    pthread_rwlock_rdlock(&lock);
    const struct emu_region *const found = holder(address, address + 1);
    if (found != NULL) *region = *found;
    pthread_rwlock_unlock(&lock);
    return found != NULL;
}

static void remember(const struct emu_region *limits, bool writable) {
    cache.entry[cache.next].base = limits->base;
    cache.entry[cache.next].end = limits->end;
    cache.entry[cache.next].writable = writable;
    cache.next = (cache.next + 1) % CACHE;
}

static bool search(uintptr_t low, uintptr_t end, bool write) {
    pthread_rwlock_rdlock(&lock);
    const struct emu_region *const region = end > low ? holder(low, end) : NULL;
    const struct emu_region *limits = region;
    bool allowed = region != NULL && !region->freed && (region->writable || !write);
    if (allowed && region->owned && has_tensors(region)) limits = around(&tensors, low, end);
    allowed = allowed && limits != NULL;
    if (allowed) remember(limits, region->writable);
    pthread_rwlock_unlock(&lock);
    return allowed;
}

bool emu_space_allows(uintptr_t low, uintptr_t end, bool write) {
    const size_t now = atomic_load_explicit(&generation, memory_order_acquire);
    if (cache.generation != now) {
        memset(&cache, 0, sizeof cache);
        cache.generation = now;
    }
    for (unsigned i = 0; i < CACHE; i++)
        if (low >= cache.entry[i].base && end <= cache.entry[i].end && low < end &&
            (cache.entry[i].writable || !write))
            return true;
    return search(low, end, write);
}

struct words {
    char *text;
    size_t size;
    uintptr_t low;
    size_t bytes;
};

/* "... 12 bytes behind the end of NAME" for the nearest of a list, within reach. */
static bool near(const struct words *words, const struct list *list, const char *prefix) {
    const uintptr_t reach = UINT64_C(1) << 32;
    const struct emu_region *best = NULL;
    uintptr_t distance = reach;
    for (size_t i = 0; i < list->count; i++) {
        const struct emu_region *const r = &list->at[i];
        const uintptr_t d = words->low >= r->end   ? words->low - r->end
                            : r->base > words->low ? r->base - words->low
                                                   : 0;
        if (d < distance) best = r, distance = d;
    }
    if (best == NULL) return false;
    const uintptr_t end = words->low + words->bytes;
    if (words->low >= best->end)
        snprintf(words->text, words->size,
                 "%zu bytes at 0x%zx begin %zu bytes behind the end of %s%s%s", words->bytes,
                 words->low, words->low - best->end, prefix, best->name,
                 best->freed ? ", which was freed" : "");
    else if (words->low < best->base)
        snprintf(words->text, words->size, "%zu bytes at 0x%zx begin %zu bytes before %s%s%s",
                 words->bytes, words->low, best->base - words->low, prefix, best->name,
                 best->freed ? ", which was freed" : "");
    else
        snprintf(words->text, words->size,
                 "%zu bytes at 0x%zx reach %zu bytes beyond the end of %s%s%s", words->bytes,
                 words->low, end - best->end, prefix, best->name,
                 best->freed ? ", which was freed" : "");
    return true;
}

static void explain(const struct words *words, bool write) {
    const uintptr_t low = words->low, end = low + words->bytes;
    const struct emu_region *const region = holder(low, end);
    if (region != NULL && region->freed)
        snprintf(words->text, words->size,
                 "%zu bytes at 0x%zx lie in %s, %zu bytes from its begin, which was freed",
                 words->bytes, low, region->name, low - region->base);
    else if (region != NULL && write && !region->writable)
        snprintf(words->text, words->size, "%zu bytes at 0x%zx lie in %s, which is read-only",
                 words->bytes, low, region->name);
    else if (region != NULL && region->owned && has_tensors(region))
        near(words, &tensors, "tensor ");
    else if (low < 65536)
        snprintf(words->text, words->size,
                 "%zu bytes at 0x%zx lie in no allocation: a null pointer and an offset?",
                 words->bytes, low);
    else if (!near(words, &allocations, "") && !near(words, &others, ""))
        snprintf(words->text, words->size, "%zu bytes at 0x%zx lie in no allocation, nor near one",
                 words->bytes, low);
}

void emu_space_explain(uintptr_t address, size_t bytes, bool write, char *text, size_t size) {
    const struct words words = {.text = text, .size = size, .low = address, .bytes = bytes};
    text[0] = '\0';
    pthread_rwlock_rdlock(&lock);
    explain(&words, write);
    pthread_rwlock_unlock(&lock);
}

void emu_space_usage(size_t *bytes, size_t *total) {
    pthread_rwlock_rdlock(&lock);
    *bytes = used;
    *total = LIMIT;
    pthread_rwlock_unlock(&lock);
}

int dsv4_emu_untouched(const void *memory, size_t bytes);
int dsv4_emu_untouched(const void *memory, size_t bytes) {
    return dsv4_map_is_untouched(memory, bytes);
}
