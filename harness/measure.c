/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "arena.h"

enum { MAX_SETS = 16, LEAST_SAMPLES = 5, COPY_SAMPLES = 9 };
static const int64_t most_set_bytes = INT64_C(6) << 30;

/* Several arenas of one case: calls rotate among them, so that no call finds its inputs in a cache. */
struct sets {
    struct dsv4_case c
        [MAX_SETS]; /* copies that differ in where they are bound; only the first owns its blocks */
    void *memory[MAX_SETS];
    int n;
    int64_t bytes;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int failed(struct dsv4_session *w, struct dsv4_reply *reply, const char *what) {
    snprintf(reply->text, sizeof reply->text, "%s: %.600s", what, w->device->error());
    reply->status = DSV4_ERROR;
    reply->fatal = true;
    return -1;
}

static bool on_host(const struct dsv4_session *w) { return w->device == &dsv4_device_host; }

static int64_t cache_bytes(const struct dsv4_session *w) {
    const int64_t host = (int64_t)sysconf(_SC_LEVEL3_CACHE_SIZE);
    const int64_t bytes = on_host(w) ? host : w->device->cache_bytes;
    return bytes > 0 ? bytes : INT64_C(64) << 20;
}

/* Holes stay holes on the host and are never read on a device: rows that no input names. */
static int copy_set(struct dsv4_session *w, void *memory, const struct dsv4_arena *from,
                    struct dsv4_reply *reply) {
    for (size_t i = 0; i < from->n_segments; i++) {
        const struct dsv4_segment *const s = &from->segments[i];
        if (on_host(w))
            memcpy((char *)memory + s->offset, from->base + s->offset, (size_t)s->bytes);
        else if (w->device->upload((char *)memory + s->offset, from->base + s->offset,
                                   (size_t)s->bytes) != DSV4_OK)
            return failed(w, reply, "cannot copy the inputs to the device");
    }
    return 0;
}

static int make_sets(struct dsv4_session *w, struct dsv4_case *c, struct sets *sets,
                     struct dsv4_reply *reply) {
    const int64_t wanted = 3 * cache_bytes(w) / c->arena_bytes + 1;
    const int64_t room = most_set_bytes / c->arena_bytes;
    int64_t n = wanted < room ? wanted : room;
    if (n < 1) n = 1;
    if (n > MAX_SETS) n = MAX_SETS;
    sets->bytes = c->arena_bytes;
    struct dsv4_arena host;
    dsv4_arena_private(&host, c);
    dsv4_case_bind(c, host.base);
    c->op->fill(c);
    int status = 0;
    for (; sets->n < n && status == 0; sets->n += status == 0) {
        void **const memory = &sets->memory[sets->n];
        if (on_host(w))
            *memory = dsv4_map((size_t)sets->bytes);
        else if (w->device->alloc(memory, (size_t)sets->bytes) != DSV4_OK)
            status = failed(w, reply, "cannot allocate the tensors");
        if (status == 0) status = copy_set(w, *memory, &host, reply);
        sets->c[sets->n] = *c;
        dsv4_case_bind(&sets->c[sets->n], *memory);
    }
    dsv4_arena_close(&host);
    return status;
}

static void free_sets(struct dsv4_session *w, struct sets *sets) {
    for (int i = 0; i < sets->n; i++)
        if (on_host(w))
            dsv4_unmap(sets->memory[i], (size_t)sets->bytes);
        else
            w->device->release(sets->memory[i]);
}

static int call_once(struct dsv4_session *w, const struct dsv4_case *c, struct dsv4_reply *reply) {
    dsv4_call call;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param params[DSV4_MAX_PARAMS];
    dsv4_case_call(c, &call, tensors, params);
    call.stream = w->stream;
    reply->status = w->plugin->run(&call, reply->text, sizeof reply->text);
    return reply->status == DSV4_OK ? 0 : -1;
}

static int supported(struct dsv4_session *w, const struct dsv4_case *c, struct dsv4_reply *reply) {
    dsv4_call call;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param params[DSV4_MAX_PARAMS];
    dsv4_case_call(c, &call, tensors, params);
    call.stream = w->stream;
    dsv4_announce(w, DSV4_STAGE_SUPPORTS);
    reply->status = w->plugin->supports(&call, reply->text, sizeof reply->text);
    if (reply->status != DSV4_OK) return -1;
    dsv4_announce(w, DSV4_STAGE_RUN);
    return 0;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void summarise(struct dsv4_timing *timing, double *samples, int n) {
    qsort(samples, (size_t)n, sizeof *samples, by_size);
    timing->n = n;
    timing->median = n % 2 == 1 ? samples[n / 2] : 0.5 * (samples[n / 2 - 1] + samples[n / 2]);
    timing->low = samples[n / 4];
    timing->high = samples[n - 1 - n / 4];
}

/* Calls with a clock around them; on a device the queue is emptied before the clock is read. */
static int time_calls(struct dsv4_session *w, const struct sets *sets, double seconds,
                      struct dsv4_reply *reply) {
    double samples[DSV4_BENCH_SAMPLES];
    int n = 0, per_sample = 1, next = 0;
    double limit = 0;
    while (n < DSV4_BENCH_SAMPLES && (n < LEAST_SAMPLES || now() < limit)) {
        const double start = now();
        for (int i = 0; i < per_sample; i++, next = (next + 1) % sets->n)
            if (call_once(w, &sets->c[next], reply) != 0) return -1;
        if (w->device->stream_sync(w->stream) != DSV4_OK) return failed(w, reply, "the device");
        const double took = now() - start;
        if (took < 1e-3 && per_sample < 1 << 16) { /* too short for the clock: still warming up */
            per_sample *= 2;
            continue;
        }
        if (limit == 0)
            limit = now() + seconds; /* and the first long enough one is not counted */
        else
            samples[n++] = took / per_sample;
    }
    summarise(&reply->timing, samples, n);
    return 0;
}

/* Replays `graph` until the time is up; each replay holds `calls` calls. */
static int time_graph(struct dsv4_session *w, void *graph, int calls, double seconds,
                      struct dsv4_timing *timing) {
    double samples[DSV4_BENCH_SAMPLES], took = 0;
    int n = 0, replays = 1;
    while (w->device->graph_time(graph, w->stream, replays, &took) == DSV4_OK && took < 5e-3 &&
           replays < 1 << 14)
        replays *= 2;
    const double limit = now() + seconds;
    while (n < DSV4_BENCH_SAMPLES && (n < LEAST_SAMPLES || now() < limit)) {
        if (w->device->graph_time(graph, w->stream, replays, &took) != DSV4_OK) return -1;
        samples[n++] = took / replays / calls;
    }
    summarise(timing, samples, n);
    return 0;
}

/* Captures one call per set and replays. 1: the plug-in cannot be captured, and nothing is broken. */
static int time_on_device(struct dsv4_session *w, const struct sets *sets, double seconds,
                          struct dsv4_reply *reply) {
    const struct dsv4_device *const device = w->device;
    void *graph = NULL;
    size_t nodes = 0;
    for (int i = 0; i < sets->n; i++) /* the first calls may load code and allocate */
        if (call_once(w, &sets->c[i], reply) != 0) return -1;
    if (device->stream_sync(w->stream) != DSV4_OK) return failed(w, reply, "the device");
    if (device->graph_begin(w->stream, false) != DSV4_OK) return 1;
    int status = 0;
    for (int i = 0; i < sets->n && status == 0; i++) status = call_once(w, &sets->c[i], reply);
    if (device->graph_end(w->stream, &graph, &nodes) != DSV4_OK || status != 0) {
        if (graph != NULL) device->graph_destroy(graph);
        return 1;
    }
    status = time_graph(w, graph, sets->n, seconds, &reply->timing);
    device->graph_destroy(graph);
    reply->timing.graph = true;
    return status == 0 ? 0 : failed(w, reply, "the device");
}

/* The same number of empty kernels in a graph: what a launch alone costs. */
static double time_empty(struct dsv4_session *w) {
    struct dsv4_timing timing = {0};
    void *graph = NULL;
    size_t nodes = 0;
    if (w->device->graph_begin(w->stream, false) != DSV4_OK) return 0;
    int status = DSV4_OK;
    for (int i = 0; i < MAX_SETS && status == DSV4_OK; i++) status = w->device->empty(w->stream);
    if (w->device->graph_end(w->stream, &graph, &nodes) != DSV4_OK || status != DSV4_OK) return 0;
    status = time_graph(w, graph, MAX_SETS, 0.1, &timing);
    w->device->graph_destroy(graph);
    return status == 0 ? timing.median : 0;
}

/* Bytes read and written per second by a device-to-device copy: of 2 GB, or, on CPU threads, of 32 MB. */
static double copy_rate(struct dsv4_session *w) {
    const size_t bytes = (size_t)1 << (w->emulated ? 25 : 31);
    void *from = NULL, *to = NULL;
    double samples[COPY_SAMPLES], rate = 0;
    struct dsv4_timing timing = {0};
    int n = 0;
    if (w->device->alloc(&from, bytes) != DSV4_OK || w->device->alloc(&to, bytes) != DSV4_OK ||
        w->device->zero(from, bytes) != DSV4_OK ||
        w->device->copy_time(to, from, bytes, w->stream, 4, samples) != DSV4_OK)
        goto done;
    while (n < COPY_SAMPLES &&
           w->device->copy_time(to, from, bytes, w->stream, 4, &samples[n]) == DSV4_OK)
        n++;
    if (n == COPY_SAMPLES) {
        summarise(&timing, samples, n);
        rate = 4 * 2.0 * (double)bytes / timing.median;
    }
done:
    if (from != NULL) w->device->release(from);
    if (to != NULL) w->device->release(to);
    return rate;
}

static void measure_yardsticks(struct dsv4_session *w) {
    struct dsv4_timing *const y = &w->yardsticks;
    if (w->has_yardsticks) return;
    if (on_host(w)) {
        y->copy_bytes_per_second = dsv4_host_copy_rate();
        y->exps_per_second = dsv4_host_exp_rate();
        y->fmas_per_second = dsv4_host_fma_rate();
    } else {
        y->copy_bytes_per_second = copy_rate(w);
        y->empty_seconds = time_empty(w);
    }
    w->has_yardsticks = true;
}

void dsv4_measure(struct dsv4_session *w, struct dsv4_case *c, double seconds,
                  struct dsv4_reply *reply) {
    struct sets *const sets = dsv4_alloc(sizeof *sets);
    measure_yardsticks(w);
    if (make_sets(w, c, sets, reply) != 0) goto done;
    if (supported(w, &sets->c[0], reply) != 0) goto done;
    int status = on_host(w) ? 1 : time_on_device(w, sets, seconds, reply);
    if (status == 1) status = time_calls(w, sets, seconds, reply);
    if (status != 0) goto done;
    reply->timing.inputs = sets->n;
    reply->timing.empty_seconds = w->yardsticks.empty_seconds;
    reply->timing.copy_bytes_per_second = w->yardsticks.copy_bytes_per_second;
    reply->timing.exps_per_second = w->yardsticks.exps_per_second;
    reply->timing.fmas_per_second = w->yardsticks.fmas_per_second;
done:
    if (!reply->fatal) free_sets(w, sets);
    dsv4_free(sets);
}
