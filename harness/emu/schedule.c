/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which workgroup runs next, on each thread.
 *
 * Workgroups start in order. One that waits or has used its slice makes room for others, as many at a time as the hardware
 * would hold; then they go round. So kernels that spin on each other's memory make progress, and need no more than the
 * hardware would give them. When every workgroup waits and nothing moves for a while, that is a hang.
 */
#include <fenv.h>
#include <omp.h>
#include <pthread.h>
#include <time.h>

#include "group.h"

enum {
    GROUP_SLICE = 1 << 19,
    ALONE = 1 << 15,  /* instructions of a launch before other threads are called in */
    PAUSE_SHIFT = 19, /* step budget per pause: the default's 2^28 steps are 512 pauses */
    MAX_PAUSES = 512,
    PAUSE_NANOSECONDS = 10000000,
    GLANCE_NANOSECONDS = 100000
};

struct schedule {
    const struct emu_start *start;
    pthread_mutex_t lock;
    uint64_t next, n_groups, n_resident, max_resident;
    struct emu_resident *first, *last; /* set aside */
    uint64_t progress;                 /* counts what moved */
    uint64_t n_idle;                   /* turns in a row in which nothing moved */
    unsigned n_busy;                   /* threads whose workgroup was not seen to wait */
    uint64_t n_pauses;
};

static void nap(long nanoseconds) {
    const struct timespec time = {0, nanoseconds};
    (void)nanosleep(&time, NULL);
}

static void set_aside(struct schedule *s, struct emu_resident *r) {
    r->next = NULL;
    if (s->first == NULL)
        s->first = r;
    else
        s->last->next = r;
    s->last = r;
}

static struct emu_resident *resume(struct schedule *s) {
    struct emu_resident *const r = s->first;
    if (r != NULL) s->first = r->next;
    return r;
}

static void report_hang(struct emu_resident *r) {
    for (uint32_t k = 0; k < r->group.n_waves; k++) {
        struct emu_wave *const w = &r->group.waves[k];
        if (!r->turns[k].waits) continue;
        emu_fault(w, w->next, EMU_HANG, -1,
                  "the kernel hangs: every workgroup on the device waits, and nothing changes");
        return;
    }
}

/* The workgroup that this thread runs next, or NULL. `room` is that of the one it has finished, or NULL. */
static struct emu_resident *choose(struct schedule *s, struct emu_resident *room, bool *idle) {
    struct emu_resident *r = NULL;
    uint64_t id = UINT64_MAX;
    int stop;
#pragma omp atomic read
    stop = s->start->launch->stop;
    pthread_mutex_lock(&s->lock);
    if (stop == 0 && s->next < s->n_groups && s->n_resident < s->max_resident) {
        id = s->next++;
        s->n_resident++;
    } else if (stop == 0) {
        r = resume(s);
    }
    *idle = r != NULL && r->waits && r->seen == s->progress;
    if ((r != NULL || id != UINT64_MAX) && !*idle) s->n_busy++;
    pthread_mutex_unlock(&s->lock);
    if (id == UINT64_MAX) {
        emu_resident_give(room);
        return r;
    }
    if (room == NULL) room = emu_resident_take(s->start);
    emu_group_start(room, s->start, id);
    return room;
}

/* Nothing has moved since this workgroup was last seen to wait: gives others, also the host, time to change that. */
static void bide(struct schedule *s, struct emu_resident *r) {
    pthread_mutex_lock(&s->lock);
    const bool others = s->n_busy > 0;
    const bool all = !others && ++s->n_idle > s->n_resident;
    if (all) s->n_idle = 0;
    const uint64_t n = all ? ++s->n_pauses : 0;
    pthread_mutex_unlock(&s->lock);
    const uint64_t limit = s->start->launch->step_budget >> PAUSE_SHIFT;
    if (n > (limit < MAX_PAUSES ? limit : MAX_PAUSES))
        report_hang(r);
    else if (all)
        nap(PAUSE_NANOSECONDS);
    else if (others)
        nap(GLANCE_NANOSECONDS);
}

static struct emu_resident *account(struct schedule *s, struct emu_resident *r,
                                    enum emu_outcome outcome, bool idle, bool moved) {
    pthread_mutex_lock(&s->lock);
    if (!idle) s->n_busy--;
    if (moved) {
        s->progress++;
        s->n_idle = 0;
        s->n_pauses = 0;
    }
    const bool stays = outcome == EMU_PREEMPTED || outcome == EMU_WAITING;
    r->waits = outcome == EMU_WAITING;
    r->seen = s->progress;
    if (stays)
        set_aside(s, r);
    else
        s->n_resident--;
    pthread_mutex_unlock(&s->lock);
    return stays ? NULL : r;
}

/* Runs workgroups until there are no more, or (alone) until it is clear that help pays. */
static void work(struct schedule *s, bool alone) {
    fenv_t environment;
    (void)fegetenv(&environment);
    (void)fesetenv(FE_DFL_ENV);
    uint64_t executed = 0;
    bool idle = false;
    struct emu_resident *r = choose(s, NULL, &idle);
    while (r != NULL) {
        if (idle) bide(s, r);
        bool moved = false;
        const enum emu_outcome outcome =
            emu_group_run(r, s->start, alone ? ALONE : GROUP_SLICE, &executed, &moved);
        r = account(s, r, outcome, idle, moved);
        if (alone && executed >= ALONE) {
            emu_resident_give(r);
            break;
        }
        r = choose(s, r, &idle);
    }
    struct emu_launch *const launch = s->start->launch;
#pragma omp atomic
    launch->executed += executed;
    (void)fesetenv(&environment);
}

void emu_schedule(const struct emu_start *start, uint64_t n_groups, uint64_t max_resident) {
    struct schedule s = {.start = start, .n_groups = n_groups, .max_resident = max_resident};
    pthread_mutex_init(&s.lock, NULL);
    const int wanted = emu_options()->threads;
    int n_threads = wanted > 0 ? wanted : omp_get_max_threads();
    if ((uint64_t)n_threads > n_groups) n_threads = (int)n_groups;
    work(&s, n_threads > 1);
    if (n_threads > 1 && (s.next < n_groups || s.first != NULL)) {
#pragma omp parallel num_threads(n_threads)
        work(&s, false);
    }
    for (struct emu_resident *r = resume(&s); r != NULL; r = resume(&s)) emu_resident_give(r);
    pthread_mutex_destroy(&s.lock);
}
