/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a sequence in the worker: one arena at one place from the first step to the last. On a device the whole
 * image is copied there before a step and back after it, so that what an earlier step left behind is there again.
 */
#include <unistd.h>

#include "session.h"

static int drop(struct dsv4_session *w, struct dsv4_reply *reply) {
    struct dsv4_held *const held = &w->held;
    if (held->graph != NULL && w->device->graph_destroy(held->graph) != DSV4_OK)
        reply->fatal = true;
    if (held->memory != NULL && w->device->release(held->memory) != DSV4_OK) reply->fatal = true;
    if (held->arena.base != NULL) dsv4_arena_close(&held->arena);
    *held = (struct dsv4_held){.arena.fd = -1};
    return -1;
}

static int begin(struct dsv4_session *w, const struct dsv4_request *request,
                 const struct dsv4_case *c, int fd, struct dsv4_reply *reply) {
    struct dsv4_held *const held = &w->held;
    struct dsv4_err err = {0};
    drop(w, reply);
    if (dsv4_arena_attach(&held->arena, c, fd, &err) != 0) {
        held->arena = (struct dsv4_arena){.fd = -1};
        return dsv4_session_refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
    }
    if (request->dense) dsv4_arena_dense(&held->arena);
    if (w->device == &dsv4_device_host) return 0;
    if (w->device->alloc(&held->memory, (size_t)held->arena.bytes) != DSV4_OK)
        return dsv4_session_failed(w, reply, "cannot allocate the tensors");
    if (held->arena.n_segments > 1 &&
        w->device->zero(held->memory, (size_t)held->arena.bytes) != DSV4_OK)
        return dsv4_session_failed(w, reply, "cannot clear the tensors");
    return 0;
}

/* Captures run(). It has run once before, as an engine warms up, so that what it allocates once is there. */
static int capture(struct dsv4_session *w, const struct dsv4_case *c, struct dsv4_reply *reply) {
    size_t nodes = 0;
    dsv4_announce(w, DSV4_STAGE_RUN);
    dsv4_session_run(w, c, reply);
    dsv4_session_sync(w, reply);
    if (reply->fatal || reply->status != DSV4_OK) return -1;
    if (dsv4_session_upload(w, &w->held.arena, w->held.memory, reply) != DSV4_OK) return -1;
    dsv4_announce(w, DSV4_STAGE_CAPTURE);
    if (w->device->graph_begin(w->stream, true) != DSV4_OK)
        return dsv4_session_failed(w, reply, "cannot begin to capture a graph");
    dsv4_session_run(w, c, reply);
    const int status = reply->status;
    const bool ended = w->device->graph_end(w->stream, &w->held.graph, &nodes) == DSV4_OK;
    if (status != DSV4_OK || ended) {
        reply->graph_nodes = (long)nodes;
        if (status != DSV4_OK) return -1;
        /* Work done beside the stream must not pass for the replay's. */
        return dsv4_session_upload(w, &w->held.arena, w->held.memory, reply) == DSV4_OK ? 0 : -1;
    }
    return dsv4_session_refuse(reply, DSV4_ERROR, "%.600s", w->device->error());
}

static void replay(struct dsv4_session *w, struct dsv4_reply *reply) {
    double seconds = 0;
    dsv4_announce(w, DSV4_STAGE_REPLAY);
    if (w->device->graph_time(w->held.graph, w->stream, 1, &seconds) != DSV4_OK)
        dsv4_session_failed(w, reply, "the device");
    else
        dsv4_session_sync(w, reply);
    reply->seconds = seconds;
}

static void call(struct dsv4_session *w, const struct dsv4_case *c, struct dsv4_reply *reply) {
    dsv4_announce(w, DSV4_STAGE_RUN);
    const double start = dsv4_session_now();
    dsv4_session_run(w, c, reply);
    dsv4_session_sync(w, reply);
    reply->seconds = dsv4_session_now() - start;
}

static int on_host(struct dsv4_session *w, const struct dsv4_request *request, struct dsv4_case *c,
                   struct dsv4_reply *reply) {
    dsv4_case_bind(c, w->held.arena.base);
    if (request->step == 0 && !dsv4_session_supports(w, c, reply)) return -1;
    call(w, c, reply);
    return reply->status == DSV4_OK ? 0 : -1;
}

static int on_device(struct dsv4_session *w, const struct dsv4_request *request,
                     struct dsv4_case *c, struct dsv4_reply *reply) {
    struct dsv4_held *const held = &w->held;
    if (dsv4_session_upload(w, &held->arena, held->memory, reply) != DSV4_OK) return -1;
    dsv4_case_bind(c, held->memory);
    dsv4_session_declare(w, c);
    if (request->step == 0 && !dsv4_session_supports(w, c, reply)) return -1;
    if (request->step == 0 && request->graph && capture(w, c, reply) != 0) return -1;
    if (request->graph)
        replay(w, reply);
    else
        call(w, c, reply);
    if (reply->fatal) return -1;
    if (dsv4_session_download(w, &held->arena, held->memory, reply) != DSV4_OK) return -1;
    return reply->status == DSV4_OK ? 0 : -1;
}

void dsv4_session_step(struct dsv4_session *w, const struct dsv4_request *request, int fd,
                       struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    struct dsv4_case c = {0};
    int status = -1;
    reply->graph_nodes = -1;
    dsv4_announce(w, DSV4_STAGE_PREPARE);
    const bool first = request->step == 0;
    if (!first && request->step != w->held.next)
        dsv4_session_refuse(reply, DSV4_ERROR, "the harness: step %d where %d must follow",
                            request->step, w->held.next);
    else if (dsv4_request_case(request, &c, &err) != 0)
        dsv4_session_refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
    else if (!first || begin(w, request, &c, fd, reply) == 0)
        status = w->device == &dsv4_device_host ? on_host(w, request, &c, reply)
                                                : on_device(w, request, &c, reply);
    if (!first || w->held.arena.fd != fd) close(fd); /* the first step's mapping stays */
    w->held.next = request->step + 1;
    if (status != 0 || request->last_step) drop(w, reply);
    dsv4_case_free(&c);
}
