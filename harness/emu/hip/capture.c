/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream capture. A capture belongs to the stream that began it; others join by waiting for an event that was recorded
 * in it. What must not happen meanwhile fails and invalidates it: everywhere for a global capture, in its own thread
 * for a thread-local one, nowhere for a relaxed one, unless it waits for the very stream that captures.
 */
#include <string.h>

#include "../../../reference/memory.h"
#include "hip.h"

static struct emu_list captures;
static uint64_t last_id;
static _Thread_local enum emu_capture_mode thread_mode; /* global unless exchanged */

void emu_capture_invalidate(struct emu_capture *capture) { capture->status = EMU_CAPTURE_INVALID; }

struct emu_capture *emu_capture_by_id(uint64_t id) {
    for (size_t i = 0; i < captures.n; i++) {
        struct emu_capture *const capture = captures.items[i];
        if (capture->id == id) return capture;
    }
    return NULL;
}

static bool concerns(const struct emu_capture *capture, enum emu_capture_mode mode) {
    if (mode == EMU_CAPTURE_RELAXED || capture->mode == EMU_CAPTURE_RELAXED) return false;
    return (mode == EMU_CAPTURE_GLOBAL && capture->mode == EMU_CAPTURE_GLOBAL) ||
           pthread_equal(capture->thread, pthread_self());
}

static bool invalidate(enum emu_capture_mode mode, bool all, bool blocking) {
    bool any = false;
    for (size_t i = 0; i < captures.n; i++) {
        struct emu_capture *const capture = captures.items[i];
        if (!all && !concerns(capture, mode)) continue;
        if (blocking && (capture->origin->flags & EMU_STREAM_NON_BLOCKING) != 0) continue;
        emu_capture_invalidate(capture);
        any = true;
    }
    return any;
}

int emu_capture_forbids(void) {
    return invalidate(thread_mode, false, false) ? hipErrorStreamCaptureUnsupported : hipSuccess;
}

int emu_capture_forbids_implicit(void) {
    return invalidate(EMU_CAPTURE_GLOBAL, false, true) ? hipErrorStreamCaptureImplicit : hipSuccess;
}

int emu_capture_forbids_all(void) {
    return invalidate(EMU_CAPTURE_GLOBAL, true, false) ? hipErrorStreamCaptureUnsupported
                                                       : hipSuccess;
}

int emu_capture_forbids_stream(struct emu_stream *stream) {
    if (stream->capture == NULL) return hipSuccess;
    emu_capture_invalidate(stream->capture);
    return hipErrorStreamCaptureUnsupported;
}

static void finish(struct emu_capture *capture) {
    for (size_t i = 0; i < capture->streams.n; i++) {
        struct emu_stream *const stream = capture->streams.items[i];
        stream->capture = NULL;
        emu_list_free(&stream->last);
    }
    emu_list_remove(&captures, capture);
    emu_list_free(&capture->streams);
    if (capture->graph != NULL) emu_graph_free(capture->graph);
    dsv4_free(capture);
}

void emu_capture_leave(struct emu_stream *stream) {
    struct emu_capture *const capture = stream->capture;
    if (capture == NULL) return;
    if (capture->origin == stream) {
        finish(capture);
        return;
    }
    emu_capture_invalidate(capture);
    emu_list_remove(&capture->streams, stream);
}

static int begin(void *handle, int mode) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (mode < EMU_CAPTURE_GLOBAL || mode > EMU_CAPTURE_RELAXED) return hipErrorInvalidValue;
    if (stream == NULL) return hipErrorContextIsDestroyed;
    if (stream == emu_stream_legacy()) return hipErrorStreamCaptureUnsupported;
    if (stream->capture != NULL) return hipErrorIllegalState;
    struct emu_capture *const capture = dsv4_alloc(sizeof *capture);
    *capture = (struct emu_capture){.id = ++last_id,
                                    .mode = (enum emu_capture_mode)mode,
                                    .status = EMU_CAPTURING,
                                    .graph = emu_graph_create(),
                                    .origin = stream,
                                    .thread = pthread_self()};
    emu_list_add(&capture->streams, stream);
    emu_list_add(&captures, capture);
    stream->capture = capture;
    return hipSuccess;
}

/* Whether all that was captured comes before what the origin would do next. */
static bool joined(const struct emu_capture *capture) {
    for (size_t i = 0; i < capture->graph->nodes.n; i++) {
        const struct emu_node *const node = capture->graph->nodes.items[i];
        bool leaf = !emu_list_has(&capture->origin->last, node);
        for (size_t k = 0; k < capture->graph->nodes.n && leaf; k++) {
            const struct emu_node *const other = capture->graph->nodes.items[k];
            leaf = !emu_list_has(&other->dependencies, node);
        }
        if (leaf) return false;
    }
    return true;
}

static int end(void *handle, struct emu_graph **graph) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (graph == NULL) return hipErrorInvalidValue;
    *graph = NULL;
    if (stream == NULL) return hipErrorContextIsDestroyed;
    struct emu_capture *const capture = stream->capture;
    if (capture == NULL) return hipErrorIllegalState;
    if (capture->origin != stream) return hipErrorStreamCaptureUnmatched;
    if (capture->mode != EMU_CAPTURE_RELAXED && !pthread_equal(capture->thread, pthread_self()))
        return hipErrorStreamCaptureWrongThread;
    int error = hipSuccess;
    if (capture->status == EMU_CAPTURE_INVALID)
        error = hipErrorStreamCaptureInvalidated;
    else if (!joined(capture))
        error = hipErrorStreamCaptureUnjoined;
    if (error == hipSuccess) {
        *graph = capture->graph;
        capture->graph = NULL;
        emu_graph_register(*graph);
    }
    finish(capture);
    return error;
}

HIP(hipStreamBeginCapture, void *handle, int mode) { RETURN_WORK(begin(handle, mode)); }
HIP(hipStreamEndCapture, void *handle, struct emu_graph **graph) { RETURN(end(handle, graph)); }

static int information(void *handle, int *status, unsigned long long *id, struct emu_graph **graph,
                       void ***dependencies, size_t *n) {
    const struct emu_stream *const stream = emu_stream_find(handle);
    if (status == NULL) return hipErrorInvalidValue;
    if (stream == NULL) return hipErrorContextIsDestroyed;
    const struct emu_capture *const capture = stream->capture;
    *status = capture == NULL ? EMU_NOT_CAPTURING : (int)capture->status;
    if (*status != EMU_CAPTURING) return hipSuccess;
    if (id != NULL) *id = capture->id;
    if (graph != NULL) *graph = capture->graph;
    if (dependencies != NULL) *dependencies = stream->last.items;
    if (n != NULL) *n = stream->last.n;
    return hipSuccess;
}

HIP(hipStreamIsCapturing, void *handle, int *status) {
    RETURN(information(handle, status, NULL, NULL, NULL, NULL));
}
HIP(hipStreamGetCaptureInfo, void *handle, int *status, unsigned long long *id) {
    RETURN(information(handle, status, id, NULL, NULL, NULL));
}
HIP(hipStreamGetCaptureInfo_v2, void *handle, int *status, unsigned long long *id,
    struct emu_graph **graph, void ***dependencies, size_t *n) {
    RETURN(information(handle, status, id, graph, dependencies, n));
}

static int update(void *handle, void **nodes, size_t n, unsigned flags) {
    enum { ADD, SET };
    struct emu_stream *const stream = emu_stream_find(handle);
    if (flags > SET || (n > 0 && nodes == NULL)) return hipErrorInvalidValue;
    if (stream == NULL) return hipErrorContextIsDestroyed;
    if (stream->capture == NULL) return hipErrorIllegalState;
    if (stream->capture->status == EMU_CAPTURE_INVALID) return hipErrorStreamCaptureInvalidated;
    for (size_t i = 0; i < n; i++)
        if (!emu_list_has(&stream->capture->graph->nodes, nodes[i])) return hipErrorInvalidValue;
    if (flags == SET) emu_list_free(&stream->last);
    for (size_t i = 0; i < n; i++)
        if (!emu_list_has(&stream->last, nodes[i])) emu_list_add(&stream->last, nodes[i]);
    return hipSuccess;
}

HIP(hipStreamUpdateCaptureDependencies, void *handle, void **nodes, size_t n, unsigned flags) {
    RETURN(update(handle, nodes, n, flags));
}

static int exchange(int *mode) {
    if (mode == NULL || *mode < EMU_CAPTURE_GLOBAL || *mode > EMU_CAPTURE_RELAXED)
        return hipErrorInvalidValue;
    const int before = (int)thread_mode;
    thread_mode = (enum emu_capture_mode) * mode;
    *mode = before;
    return hipSuccess;
}

HIP(hipThreadExchangeStreamCaptureMode, int *mode) { RETURN(exchange(mode)); }

/* ---- what streams do ---- */

static int capture_op(struct emu_stream *stream, const struct emu_op *op) {
    struct emu_op copy;
    if (stream->capture->status == EMU_CAPTURE_INVALID) return hipErrorStreamCaptureInvalidated;
    const int error = emu_op_check(op);
    if (error != hipSuccess) return error;
    emu_op_copy(&copy, op);
    struct emu_node *const node = emu_graph_add(stream->capture->graph, &stream->last, &copy);
    emu_list_free(&stream->last);
    emu_list_add(&stream->last, node);
    return hipSuccess;
}

int emu_submit(void *handle, const struct emu_op *op) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (stream == NULL) return hipErrorContextIsDestroyed;
    if (stream->capture != NULL) return capture_op(stream, op);
    int error = stream == emu_stream_legacy() ? emu_capture_forbids_implicit() : hipSuccess;
    if (error == hipSuccess) error = emu_op_check(op);
    return error != hipSuccess ? error : emu_op_run(op);
}
