/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workgroup runs on one thread, its waves in turn: each until a barrier, its end, or the end of its slice.
 *
 * A wave that waits for another (a spin on memory) would burn its slices. After each slice a probe looks whether the wave
 * comes back to the same instruction with the same registers, twice over: then only memory can set it free. A workgroup
 * whose waves all stand at a barrier or wait like this is set aside, and others run.
 *
 * Registers, LDS and scratch start with a pattern, the same on every run, so that results do not depend on what ran before.
 */
#include <pthread.h>
#include <string.h>

#include "group.h"
#include "race.h"
#include "reference/memory.h"

enum {
    PATTERN = 0xa5,
    FIRST_SLICE = 1 << 11,
    LAST_SLICE = 1 << 18,
    PROBE = 512,
    LDS_PAD = 64,
    KEPT = 64
};
static const size_t WAVE_BYTES =
    sizeof(uint32_t[EMU_VGPRS][EMU_LANES]) + sizeof(uint64_t[EMU_VGPRS]);

/* ---- memory ---- */

static pthread_mutex_t store_lock = PTHREAD_MUTEX_INITIALIZER;
static struct emu_resident *store;
static unsigned n_stored;

static size_t scratch_size(uint32_t scratch_bytes) {
    return ((size_t)scratch_bytes * EMU_LANES + LDS_PAD + 63) & ~(size_t)63;
}

static struct emu_resident *create(const struct emu_start *start) {
    const struct emu_launch *const launch = start->launch;
    const size_t lds = ((size_t)launch->lds_bytes + LDS_PAD + 63) & ~(size_t)63;
    const size_t scratch = scratch_size(start->scratch_bytes);
    const size_t waves = (start->n_waves * sizeof(struct emu_wave) + 63) & ~(size_t)63;
    const size_t head = (sizeof(struct emu_resident) + 63) & ~(size_t)63;
    const size_t total = head + waves + start->n_waves * (WAVE_BYTES + scratch) + 2 * lds;
    uint8_t *at = dsv4_map(total);
    struct emu_resident *const r = (void *)at;
    *r = (struct emu_resident){.map_bytes = total,
                               .n_waves = start->n_waves,
                               .lds_bytes = launch->lds_bytes,
                               .scratch_bytes = start->scratch_bytes};
    at += head;
    r->group.waves = (void *)at;
    at += waves;
    for (uint32_t k = 0; k < start->n_waves; k++) {
        struct emu_wave *const w = &r->group.waves[k];
        w->v = (void *)at;
        w->v_defined = (void *)(at + sizeof(uint32_t[EMU_VGPRS][EMU_LANES]));
        w->scratch = at + WAVE_BYTES;
        at += WAVE_BYTES + scratch;
    }
    r->group.lds = at;
    r->group.lds_defined = at + lds;
    if (emu_options()->race) r->group.race = emu_race_create(launch->lds_bytes);
    return r;
}

struct emu_resident *emu_resident_take(const struct emu_start *start) {
    pthread_mutex_lock(&store_lock);
    struct emu_resident *found = NULL;
    for (struct emu_resident **at = &store; *at != NULL; at = &(*at)->next) {
        if ((*at)->n_waves < start->n_waves || (*at)->lds_bytes < start->launch->lds_bytes ||
            (*at)->scratch_bytes < start->scratch_bytes)
            continue;
        found = *at;
        *at = found->next;
        n_stored--;
        break;
    }
    pthread_mutex_unlock(&store_lock);
    return found != NULL ? found : create(start);
}

void emu_resident_give(struct emu_resident *r) {
    if (r == NULL) return;
    pthread_mutex_lock(&store_lock);
    const bool keep = n_stored < KEPT;
    if (keep) {
        r->next = store;
        store = r;
        n_stored++;
    }
    pthread_mutex_unlock(&store_lock);
    if (keep) return;
    if (r->group.race != NULL) emu_race_free(r->group.race);
    dsv4_unmap(r, r->map_bytes);
}

/* ---- start ---- */

static void start_registers(struct emu_wave *w, const struct emu_kernel *kernel, bool tracked) {
    memset(w->v, PATTERN, sizeof *w->v * kernel->n_vgprs);
    memset(w->v + EMU_AGPR, PATTERN, sizeof *w->v * kernel->n_agprs);
    const int defined = tracked ? 0 : 0xff;
    memset(w->v_defined, defined, sizeof *w->v_defined * kernel->n_vgprs);
    memset(w->v_defined + EMU_AGPR, defined, sizeof *w->v_defined * kernel->n_agprs);
}

static void start_wave(struct emu_wave *w, struct emu_group *group, const struct emu_start *start,
                       uint32_t index) {
    const struct emu_launch *const launch = start->launch;
    w->group = group;
    w->index = index;
    start_registers(w, launch->kernel, launch->tracked);
    memcpy(w->v[0], start->items[index], sizeof *w->v);
    w->v_defined[0] = launch->tracked ? start->exec[index] : UINT64_MAX;
    memcpy(w->s, start->s, sizeof w->s);
    memcpy(w->s_defined, start->s_defined, sizeof w->s_defined);
    for (unsigned axis = 0; axis < 3; axis++)
        if (start->group_id_sreg[axis] < EMU_SREGS)
            w->s[start->group_id_sreg[axis]] = group->id[axis];
    emu_write_s64(w, EMU_EXEC, start->exec[index]);
    w->scc = false;
    w->scc_defined = !launch->tracked;
    w->mode = launch->kernel->mode;
    w->scratch_bytes = start->scratch_bytes;
    memset(w->scratch, PATTERN, scratch_size(start->scratch_bytes));
    w->state = EMU_RUNNING;
    w->next = start->entry;
    w->steps = 0;
}

void emu_group_start(struct emu_resident *r, const struct emu_start *start, uint64_t flat_id) {
    struct emu_group *const group = &r->group;
    const uint32_t *const grid = start->launch->grid;
    const uint32_t lds_bytes = start->launch->lds_bytes;
    group->launch = start->launch;
    group->id[0] = (uint32_t)(flat_id % grid[0]);
    group->id[1] = (uint32_t)(flat_id / grid[0] % grid[1]);
    group->id[2] = (uint32_t)(flat_id / grid[0] / grid[1]);
    group->n_waves = start->n_waves;
    group->barrier_epoch = 0;
    memset(group->lds, PATTERN, (size_t)lds_bytes + LDS_PAD);
    memset(group->lds_defined, 0, (size_t)lds_bytes + LDS_PAD);
    if (group->race != NULL) emu_race_reset(group->race);
    for (uint32_t k = 0; k < start->n_waves; k++) {
        start_wave(&group->waves[k], group, start, k);
        r->turns[k] = (struct emu_turn){.slice = FIRST_SLICE};
    }
}

/* ---- turns ---- */

static uint64_t hash_of(const struct emu_wave *w) {
    const struct emu_kernel *const kernel = w->group->launch->kernel;
    uint32_t lanes[EMU_LANES] = {0};
    for (uint32_t k = 0; k < kernel->n_vgprs + kernel->n_agprs; k++) {
        const uint32_t reg = k < kernel->n_vgprs ? k : k - kernel->n_vgprs + EMU_AGPR;
#pragma omp simd
        for (unsigned lane = 0; lane < EMU_LANES; lane++)
            lanes[lane] = lanes[lane] * 0x9e3779b1u + w->v[reg][lane];
    }
    uint64_t hash = (uint64_t)(uintptr_t)w->next + w->mode * 2u + w->scc;
    for (unsigned lane = 0; lane < EMU_LANES; lane++)
        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + lanes[lane];
    for (unsigned reg = 0; reg < EMU_SREGS; reg++)
        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + w->s[reg];
    return hash;
}

/* Executes up to limit instructions, also beyond s_sleep; false if the wave stopped. */
static bool advance(struct emu_wave *w, const struct emu_start *start, uint64_t limit) {
    while (limit > 0) {
        w->state = EMU_RUNNING;
        const uint64_t n = start->run(w, limit);
        w->steps += n;
        limit -= n;
        if (w->state != EMU_RUNNING && w->state != EMU_YIELDED) return false;
    }
    return true;
}

/* Whether the wave comes back to where it is with nothing changed, and does so again. */
static bool repeats(struct emu_wave *w, struct emu_turn *t, const struct emu_start *start) {
    const struct emu_insn *const origin = w->next;
    uint32_t s[EMU_SREGS];
    memcpy(s, w->s, sizeof s);
    t->period = 0;
    do {
        if (t->period == PROBE || !advance(w, start, 1)) return false;
        t->period++;
    } while (w->next != origin || memcmp(s, w->s, sizeof s) != 0);
    t->hash = hash_of(w);
    return advance(w, start, t->period) && hash_of(w) == t->hash;
}

static void turn(struct emu_wave *w, struct emu_turn *t, const struct emu_start *start,
                 bool *moved) {
    if (t->waits) {
        t->waits = advance(w, start, t->period) && hash_of(w) == t->hash;
        if (t->waits) return;
    }
    *moved = true;
    if (w->state == EMU_RUNNING || w->state == EMU_YIELDED) {
        w->state = EMU_RUNNING;
        w->steps += start->run(w, t->slice);
    }
    const uint64_t used = t->slice;
    t->slice = FIRST_SLICE;
    if (w->state != EMU_RUNNING && w->state != EMU_YIELDED) return;
    if (w->steps > start->launch->step_budget) {
        emu_fault(
            w, w->next, EMU_HANG, -1,
            "a wave has executed %llu instructions without an end (DSV4_EMU=steps=N allows more)",
            (unsigned long long)w->steps);
        return;
    }
    const bool ran = w->state == EMU_RUNNING;
    t->waits = repeats(w, t, start);
    if (ran && !t->waits) t->slice = used < LAST_SLICE ? 2 * used : LAST_SLICE;
}

static void open_barrier(struct emu_group *group) {
    group->barrier_epoch++;
    for (uint32_t k = 0; k < group->n_waves; k++)
        if (group->waves[k].state == EMU_AT_BARRIER) group->waves[k].state = EMU_RUNNING;
}

static bool stopped(struct emu_launch *launch) {
    int stop;
#pragma omp atomic read
    stop = launch->stop;
    return stop != 0;
}

enum emu_outcome emu_group_run(struct emu_resident *r, const struct emu_start *start,
                               uint64_t limit, uint64_t *executed, bool *moved) {
    struct emu_group *const group = &r->group;
    uint64_t used = 0;
    while (used < limit) {
        uint32_t n_live = 0, n_at_barrier = 0, n_waiting = 0;
        for (uint32_t k = 0; k < group->n_waves; k++) {
            struct emu_wave *const w = &group->waves[k];
            const uint64_t before = w->steps;
            if (w->state == EMU_RUNNING || w->state == EMU_YIELDED)
                turn(w, &r->turns[k], start, moved);
            used += w->steps - before;
            *executed += w->steps - before;
            if (stopped(start->launch)) return EMU_STOPPED;
            n_live += w->state != EMU_ENDED;
            n_at_barrier += w->state == EMU_AT_BARRIER;
            n_waiting += w->state != EMU_ENDED && w->state != EMU_AT_BARRIER && r->turns[k].waits;
        }
        if (n_live == 0) return EMU_FINISHED;
        if (n_at_barrier == n_live)
            open_barrier(group);
        else if (n_at_barrier + n_waiting == n_live)
            return EMU_WAITING;
    }
    return EMU_PREEMPTED;
}
