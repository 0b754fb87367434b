/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and events. Work is done when it is submitted, so that waiting is only checking. */
#include <string.h>
#include <time.h>

#include "../../../reference/memory.h"
#include "hip.h"

enum { HIGHEST_PRIORITY = -1, LOWEST_PRIORITY = 1 };

static struct emu_list streams, events;
static struct emu_stream legacy;
static _Thread_local struct emu_stream per_thread = {.flags = 0};

struct emu_stream *emu_stream_legacy(void) {
    return &legacy;
}

struct emu_stream *emu_stream_find(void *handle) {
    enum { LEGACY = 1, PER_THREAD = 2 };
    if (handle == NULL || (uintptr_t)handle == LEGACY) return &legacy;
    if ((uintptr_t)handle == PER_THREAD) return &per_thread;
    return emu_list_has(&streams, handle) ? handle : NULL;
}

static int create(void **handle, unsigned flags, int priority) {
    if (handle == NULL || flags > EMU_STREAM_NON_BLOCKING) return hipErrorInvalidValue;
    struct emu_stream *const stream = dsv4_alloc(sizeof *stream);
    stream->flags = flags;
    stream->priority = priority < HIGHEST_PRIORITY  ? HIGHEST_PRIORITY
                       : priority > LOWEST_PRIORITY ? LOWEST_PRIORITY
                                                    : priority;
    emu_list_add(&streams, stream);
    *handle = stream;
    return hipSuccess;
}

HIP(hipStreamCreate, void **handle) { RETURN_WORK(create(handle, 0, 0)); }
HIP(hipStreamCreateWithFlags, void **handle, unsigned flags) {
    RETURN_WORK(create(handle, flags, 0));
}
HIP(hipStreamCreateWithPriority, void **handle, unsigned flags, int priority) {
    RETURN_WORK(create(handle, flags, priority));
}
/* All compute units do all the work, whatever the mask says. */
HIP(hipExtStreamCreateWithCUMask, void **handle, uint32_t words, const uint32_t *mask) {
    RETURN_WORK(words == 0 || mask == NULL ? hipErrorInvalidValue : create(handle, 0, 0));
}

static int destroy(void *handle) {
    struct emu_stream *const stream = handle;
    if (stream == NULL || (uintptr_t)handle <= 2) return hipErrorInvalidHandle;
    if (!emu_list_remove(&streams, stream)) return hipErrorContextIsDestroyed;
    emu_capture_leave(stream);
    emu_list_free(&stream->last);
    dsv4_free(stream);
    return hipSuccess;
}

HIP(hipStreamDestroy, void *handle) { RETURN(destroy(handle)); }

static int wait(void *handle) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (stream == NULL) return hipErrorContextIsDestroyed;
    return stream == &legacy ? emu_capture_forbids_implicit() : emu_capture_forbids_stream(stream);
}

HIP(hipStreamSynchronize, void *handle) { RETURN_WORK(wait(handle)); }
HIP(hipStreamQuery, void *handle) { RETURN_WORK(wait(handle)); }

static int priority_range(int *least, int *greatest) {
    if (least != NULL) *least = LOWEST_PRIORITY;
    if (greatest != NULL) *greatest = HIGHEST_PRIORITY;
    return hipSuccess;
}

HIP(hipDeviceGetStreamPriorityRange, int *least, int *greatest) {
    RETURN(priority_range(least, greatest));
}

enum field { FLAGS, PRIORITY, DEVICE };

static int get(void *handle, enum field field, void *to) {
    const struct emu_stream *const stream = emu_stream_find(handle);
    const int device = 0;
    if (to == NULL) return hipErrorInvalidValue;
    if (stream == NULL) return hipErrorContextIsDestroyed;
    memcpy(to,
           field == FLAGS      ? (const void *)&stream->flags
           : field == PRIORITY ? (const void *)&stream->priority
                               : (const void *)&device,
           sizeof(int));
    return hipSuccess;
}

HIP(hipStreamGetFlags, void *handle, unsigned *flags) { RETURN(get(handle, FLAGS, flags)); }
HIP(hipStreamGetPriority, void *handle, int *priority) { RETURN(get(handle, PRIORITY, priority)); }
HIP(hipStreamGetDevice, void *handle, int *device) { RETURN(get(handle, DEVICE, device)); }

HIP(hipGetStreamDeviceId, void *handle) {
    (void)handle;
    return 0;
}

static int call_host(void *handle, emu_host_function *function, void *data) {
    if (function == NULL) return hipErrorInvalidValue;
    return emu_submit(handle, &(struct emu_op){
                                  .kind = EMU_OP_HOST, .host = {function, data}
    });
}

HIP(hipLaunchHostFunc, void *handle, emu_host_function *function, void *data) {
    RETURN_WORK(call_host(handle, function, data));
}

typedef void stream_callback(void *stream, int status, void *data);

static int call_back(void *handle, stream_callback *callback, void *data, unsigned flags) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (callback == NULL || flags != 0) return hipErrorInvalidValue;
    if (stream == NULL) return hipErrorContextIsDestroyed;
    const int error = emu_capture_forbids_stream(stream);
    if (error == hipSuccess) callback(handle, hipSuccess, data);
    return error;
}

HIP(hipStreamAddCallback, void *handle, stream_callback *callback, void *data, unsigned flags) {
    RETURN_WORK(call_back(handle, callback, data, flags));
}

/* ---- events ---- */

bool emu_event_live(const struct emu_event *event) { return emu_list_has(&events, event); }

void emu_event_stamp(struct emu_event *event) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    event->recorded = true;
    event->capture = 0;
}

static int create_event(struct emu_event **to, unsigned flags) {
    const unsigned known = 1 | 2 | 4 | 0x20000000 | 0x40000000 | 0x80000000;
    if (to == NULL || (flags & ~known) != 0) return hipErrorInvalidValue;
    struct emu_event *const event = dsv4_alloc(sizeof *event);
    event->flags = flags;
    emu_list_add(&events, event);
    *to = event;
    return hipSuccess;
}

HIP(hipEventCreate, struct emu_event **to) { RETURN_WORK(create_event(to, 0)); }
HIP(hipEventCreateWithFlags, struct emu_event **to, unsigned flags) {
    RETURN_WORK(create_event(to, flags));
}

static int destroy_event(struct emu_event *event) {
    if (event == NULL || !emu_list_remove(&events, event)) return hipErrorInvalidHandle;
    emu_list_free(&event->last);
    dsv4_free(event);
    return hipSuccess;
}

HIP(hipEventDestroy, struct emu_event *event) { RETURN(destroy_event(event)); }

static int record(struct emu_event *event, void *handle) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (event == NULL || !emu_event_live(event)) return hipErrorInvalidHandle;
    if (stream == NULL) return hipErrorContextIsDestroyed;
    if (stream->capture == NULL) {
        const int error = stream == &legacy ? emu_capture_forbids_implicit() : hipSuccess;
        if (error == hipSuccess) emu_event_stamp(event);
        return error;
    }
    if (stream->capture->status == EMU_CAPTURE_INVALID) return hipErrorStreamCaptureInvalidated;
    event->capture = stream->capture->id;
    emu_list_copy(&event->last, &stream->last);
    return hipSuccess;
}

HIP(hipEventRecord, struct emu_event *event, void *handle) { RETURN_WORK(record(event, handle)); }

/* Which capture an event stands in, if that still goes on. */
static struct emu_capture *capture_of(const struct emu_event *event) {
    return event->capture != 0 ? emu_capture_by_id(event->capture) : NULL;
}

static int check_event(const struct emu_event *event) {
    if (event == NULL || !emu_event_live(event)) return hipErrorInvalidHandle;
    if (event->capture == 0) return hipSuccess;
    struct emu_capture *const capture = capture_of(event);
    if (capture != NULL) emu_capture_invalidate(capture);
    return hipErrorCapturedEvent;
}

HIP(hipEventSynchronize, struct emu_event *event) { RETURN_WORK(check_event(event)); }
HIP(hipEventQuery, struct emu_event *event) { RETURN_WORK(check_event(event)); }

static int elapsed(float *milliseconds, const struct emu_event *start,
                   const struct emu_event *stop) {
    if (milliseconds == NULL) return hipErrorInvalidValue;
    int error = check_event(start);
    if (error == hipSuccess) error = check_event(stop);
    if (error != hipSuccess) return error;
    if (!start->recorded || !stop->recorded || ((start->flags | stop->flags) & EMU_EVENT_NO_TIMING))
        return hipErrorInvalidHandle;
    *milliseconds = (float)(1e-6 * (double)(int64_t)(stop->nanoseconds - start->nanoseconds));
    return hipSuccess;
}

HIP(hipEventElapsedTime, float *milliseconds, struct emu_event *start, struct emu_event *stop) {
    RETURN_WORK(elapsed(milliseconds, start, stop));
}

/* The stream goes on from what the event stands for; a stream that does not capture joins the event's capture. */
static int follow(struct emu_stream *stream, struct emu_event *event) {
    struct emu_capture *const capture = capture_of(event);
    if (stream->capture != NULL && stream->capture->status == EMU_CAPTURE_INVALID)
        return hipErrorStreamCaptureInvalidated;
    if (capture == NULL) {
        if (stream->capture == NULL) return hipSuccess;
        emu_capture_invalidate(stream->capture);
        return hipErrorStreamCaptureIsolation;
    }
    if (capture->status == EMU_CAPTURE_INVALID) return hipErrorStreamCaptureInvalidated;
    if (stream == &legacy) {
        emu_capture_invalidate(capture);
        return hipErrorStreamCaptureImplicit;
    }
    if (stream->capture != NULL && stream->capture != capture) {
        emu_capture_invalidate(stream->capture);
        emu_capture_invalidate(capture);
        return hipErrorStreamCaptureMerge;
    }
    if (stream->capture == NULL) {
        stream->capture = capture;
        emu_list_add(&capture->streams, stream);
        emu_list_copy(&stream->last, &event->last);
        return hipSuccess;
    }
    for (size_t i = 0; i < event->last.n; i++)
        if (!emu_list_has(&stream->last, event->last.items[i]))
            emu_list_add(&stream->last, event->last.items[i]);
    return hipSuccess;
}

static int wait_event(void *handle, struct emu_event *event, unsigned flags) {
    struct emu_stream *const stream = emu_stream_find(handle);
    if (flags > 1) return hipErrorInvalidValue;
    if (event == NULL || !emu_event_live(event)) return hipErrorInvalidHandle;
    if (stream == NULL) return hipErrorContextIsDestroyed;
    return follow(stream, event);
}

HIP(hipStreamWaitEvent, void *handle, struct emu_event *event, unsigned flags) {
    RETURN_WORK(wait_event(handle, event, flags));
}
