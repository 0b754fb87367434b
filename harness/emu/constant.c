/* SPDX-License-Identifier: Apache-2.0 */
/* Constants spread over 64 lanes: one array per value, made on first use and never freed. */
#include <pthread.h>

#include "../../reference/memory.h"
#include "parse.h"

enum { CHUNK = 64, FIRST_SLOTS = 256 };

typedef uint32_t emu_pair[2][EMU_LANES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    uint64_t *values;
    emu_pair **lanes; /* NULL: the slot is free */
    size_t slots, used, left;
    emu_pair *chunk;
} pool;

static size_t slot_of(uint64_t value) {
    uint64_t hash = value * UINT64_C(0x9E3779B97F4A7C15);
    hash ^= hash >> 32;
    for (size_t slot = hash & (pool.slots - 1);; slot = (slot + 1) & (pool.slots - 1))
        if (pool.lanes[slot] == NULL || pool.values[slot] == value) return slot;
}

static void grow(void) {
    uint64_t *const values = pool.values;
    emu_pair **const lanes = pool.lanes;
    const size_t slots = pool.slots;
    pool.slots = slots > 0 ? 2 * slots : FIRST_SLOTS;
    pool.values = dsv4_alloc(pool.slots * sizeof *pool.values);
    pool.lanes = dsv4_alloc(pool.slots * sizeof *pool.lanes);
    for (size_t i = 0; i < slots; i++) {
        if (lanes[i] == NULL) continue;
        const size_t slot = slot_of(values[i]);
        pool.values[slot] = values[i];
        pool.lanes[slot] = lanes[i];
    }
    dsv4_free(values);
    dsv4_free(lanes);
}

static emu_pair *spread(uint64_t value) {
    if (pool.left == 0) {
        pool.chunk = dsv4_map(CHUNK * sizeof *pool.chunk);
        pool.left = CHUNK;
    }
    emu_pair *const pair = &pool.chunk[CHUNK - pool.left--];
    for (unsigned lane = 0; lane < EMU_LANES; lane++) {
        (*pair)[0][lane] = (uint32_t)value;
        (*pair)[1][lane] = (uint32_t)(value >> 32);
    }
    return pair;
}

const uint32_t (*emu_constant_lanes(uint64_t value))[EMU_LANES] {
    pthread_mutex_lock(&lock);
    if (2 * pool.used >= pool.slots) grow();
    const size_t slot = slot_of(value);
    if (pool.lanes[slot] == NULL) {
        pool.values[slot] = value;
        pool.lanes[slot] = spread(value);
        pool.used++;
    }
    emu_pair *const pair = pool.lanes[slot];
    pthread_mutex_unlock(&lock);
    return (const uint32_t(*)[EMU_LANES])pair;
}
