/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "arena.h"
#include "measure.h"
#include "plugin.h"
#include "verbs.h"

enum { DOWNLOAD_BYTES = 64 << 20, PAGE_BYTES = 4096 };

void dsv4_announce(struct dsv4_session *w, enum dsv4_stage stage) {
    struct dsv4_reply *const note = &w->note;
    memset(note, 0, sizeof *note);
    note->note = true;
    note->stage = w->stage = stage;
    dsv4_message_send(w->socket, note, sizeof *note, -1);
}

/* A plug-in that forks has two processes come back from its call. Only the first is the worker. */
static void leave_if_forked(const struct dsv4_session *w) {
    if (getpid() != w->pid) _exit(0);
}

static int refuse(struct dsv4_reply *reply, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(struct dsv4_reply *reply, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(reply->text, sizeof reply->text, format, args);
    va_end(args);
    reply->status = status;
    return -1;
}

static int device_failed(struct dsv4_session *w, struct dsv4_reply *reply, const char *what) {
    reply->fatal = true;
    return refuse(reply, DSV4_ERROR, "%s: %.600s", what, w->device->error());
}

/* Opens the back end for `name` unless it is open. */
static int open_device(struct dsv4_session *w, const char *name, int index,
                       struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    char directory[4200];
    if (w->device != NULL && strcmp(w->device->name, name) == 0) return 0;
    dsv4_build_directory(directory, sizeof directory);
    dsv4_announce(w, DSV4_STAGE_DEVICE);
    w->device = dsv4_device_find(name, directory, &err);
    if (w->device == NULL) return refuse(reply, DSV4_ERROR, "%s", err.text);
    const int status = w->device->open(index);
    if (status == DSV4_OK) return 0;
    return refuse(reply, status == DSV4_UNSUPPORTED ? DSV4_UNSUPPORTED : DSV4_ERROR, "%.600s",
                  w->device->error());
}

/* A HIP plug-in may leave hip* symbols undefined, for ROCm need not be there where it is built. They come from the
 * runtime library, which the back end makes global. */
static int load_plugin(struct dsv4_session *w, const struct dsv4_request *request,
                       struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    w->plugin = dsv4_plugin_open(request->path, &err);
    leave_if_forked(w);
    if (w->plugin == NULL && (strstr(err.text, "undefined symbol: hip") != NULL ||
                              strstr(err.text, "undefined symbol: __hip") != NULL)) {
        if (open_device(w, "hip", request->device, reply) != 0) return -1;
        dsv4_announce(w, DSV4_STAGE_LOAD);
        w->plugin = dsv4_plugin_open(request->path, &err);
    }
    return w->plugin != NULL ? 0 : refuse(reply, DSV4_ERROR, "%s", err.text);
}

static void open_plugin(struct dsv4_session *w, const struct dsv4_request *request,
                        struct dsv4_reply *reply) {
    struct dsv4_plugin_info *const info = &reply->info;
    if (load_plugin(w, request, reply) != 0) return;
    snprintf(info->name, sizeof info->name, "%s", w->plugin->name);
    snprintf(info->version, sizeof info->version, "%s", w->plugin->version);
    snprintf(info->device, sizeof info->device, "%s", w->plugin->device);
    if (open_device(w, w->plugin->device, request->device, reply) != 0) return;
    w->device->describe(info->describe, sizeof info->describe);
    info->emulated =
        strstr(info->describe, "emulated") != NULL || strstr(info->name, "emulated") != NULL;
    if (w->device->stream_create(&w->stream) != DSV4_OK) {
        device_failed(w, reply, "cannot make a stream");
        return;
    }
    info->has_canary = w->plugin->size >= sizeof *w->plugin && w->plugin->canary != NULL;
    if (info->has_canary) {
        dsv4_announce(w, DSV4_STAGE_CANARY);
        info->canary = w->plugin->canary(info->canary_line, sizeof info->canary_line);
        leave_if_forked(w);
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Calls the plug-in on a bound case. reply->status is what it returned. */
static void call_plugin(struct dsv4_session *w, const struct dsv4_case *c,
                        struct dsv4_reply *reply) {
    dsv4_call call;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param params[DSV4_MAX_PARAMS];
    dsv4_case_call(c, &call, tensors, params);
    call.stream = w->stream;
    dsv4_announce(w, DSV4_STAGE_SUPPORTS);
    reply->status = w->plugin->supports(&call, reply->text, sizeof reply->text);
    leave_if_forked(w);
    if (reply->status != DSV4_OK) return;
    /* Fresh structs: supports() may have scribbled on its own. */
    dsv4_case_call(c, &call, tensors, params);
    call.stream = w->stream;
    reply->text[0] = '\0';
    dsv4_announce(w, DSV4_STAGE_RUN);
    const double start = now();
    reply->status = w->plugin->run(&call, reply->text, sizeof reply->text);
    leave_if_forked(w);
    if (w->device != &dsv4_device_host) {
        dsv4_announce(w, DSV4_STAGE_SYNC);
        if (w->device->stream_sync(w->stream) != DSV4_OK) device_failed(w, reply, "the device");
    }
    reply->seconds = now() - start;
}

static bool is_zero(const unsigned char *bytes, int64_t n) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)n - 1) == 0;
}

/* Copies the device's arena back. Pages of zeros are skipped over holes, so that a sparse arena stays sparse. */
static int download(struct dsv4_session *w, struct dsv4_arena *a, const char *memory) {
    unsigned char *const chunk = dsv4_alloc(DOWNLOAD_BYTES);
    int status = DSV4_OK;
    for (int64_t at = 0; at < a->bytes && status == DSV4_OK; at += DOWNLOAD_BYTES) {
        const int64_t bytes = a->bytes - at < DOWNLOAD_BYTES ? a->bytes - at : DOWNLOAD_BYTES;
        status = w->device->download(chunk, memory + at, (size_t)bytes);
        if (a->n_segments == 1) {
            memcpy(a->base + at, chunk, (size_t)bytes);
            continue;
        }
        for (int64_t page = 0; page < bytes; page += PAGE_BYTES) {
            const int64_t n = bytes - page < PAGE_BYTES ? bytes - page : PAGE_BYTES;
            if (!is_zero(chunk + page, n)) memcpy(a->base + at + page, chunk + page, (size_t)n);
        }
    }
    dsv4_free(chunk);
    return status;
}

/* A page that held bytes before the call and is all zero now would keep its old bytes in download(). */
static void clear_segments(struct dsv4_arena *a) {
    if (a->n_segments > 1)
        for (size_t i = 0; i < a->n_segments; i++)
            memset(a->base + a->segments[i].offset, 0, (size_t)a->segments[i].bytes);
}

static void run_on_device(struct dsv4_session *w, struct dsv4_case *c, struct dsv4_arena *a,
                          struct dsv4_reply *reply) {
    void *memory = NULL;
    const struct dsv4_device *const device = w->device;
    if (device->alloc(&memory, (size_t)a->bytes) != DSV4_OK) {
        device_failed(w, reply, "cannot allocate the tensors");
        return;
    }
    if (device->zero(memory, (size_t)a->bytes) != DSV4_OK) {
        device_failed(w, reply, "cannot clear the tensors");
        goto done;
    }
    for (size_t i = 0; i < a->n_segments; i++) {
        const struct dsv4_segment *const s = &a->segments[i];
        if (device->upload((char *)memory + s->offset, a->base + s->offset, (size_t)s->bytes) !=
            DSV4_OK) {
            device_failed(w, reply, "cannot copy the inputs to the device");
            goto done;
        }
    }
    dsv4_case_bind(c, memory);
    call_plugin(w, c, reply);
    if (reply->fatal) goto done;
    clear_segments(a);
    if (download(w, a, memory) != DSV4_OK) device_failed(w, reply, "the device");
done:
    if (device->release(memory) != DSV4_OK) reply->fatal = true;
}

static void run_case(struct dsv4_session *w, const struct dsv4_request *request, int fd,
                     struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    struct dsv4_case c = {0};
    struct dsv4_arena a = {.fd = -1};
    dsv4_announce(w, DSV4_STAGE_PREPARE);
    if (dsv4_request_case(request, &c, &err) != 0 || dsv4_arena_attach(&a, &c, fd, &err) != 0) {
        refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
    } else if (w->device == &dsv4_device_host) {
        dsv4_case_bind(&c, a.base);
        call_plugin(w, &c, reply);
    } else {
        run_on_device(w, &c, &a, reply);
    }
    if (a.base == NULL && fd >= 0)
        close(fd);
    else
        dsv4_arena_close(&a);
    dsv4_case_free(&c);
}

/* A mutant may well read past a tensor: it runs where a crash costs nothing. */
static void run_suspect(struct dsv4_session *w, const struct dsv4_request *request, int fd,
                        struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    struct dsv4_case c = {0};
    struct dsv4_arena a = {.fd = -1};
    dsv4_call call;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param params[DSV4_MAX_PARAMS];
    if (dsv4_request_case(request, &c, &err) != 0 || dsv4_arena_attach(&a, &c, fd, &err) != 0) {
        refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
    } else {
        dsv4_case_bind(&c, a.base);
        dsv4_case_call(&c, &call, tensors, params);
        dsv4_announce(w, DSV4_STAGE_RUN);
        reply->status = c.op->run(&call, request->mutant, &err);
    }
    if (a.base == NULL && fd >= 0)
        close(fd);
    else
        dsv4_arena_close(&a);
    dsv4_case_free(&c);
}

static void bench_case(struct dsv4_session *w, const struct dsv4_request *request,
                       struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    struct dsv4_case c = {0};
    dsv4_announce(w, DSV4_STAGE_PREPARE);
    if (dsv4_request_case(request, &c, &err) != 0)
        refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
    else
        dsv4_measure(w, &c, request->bench_seconds, reply);
    dsv4_case_free(&c);
}

int dsv4_worker_main(int socket) {
    struct dsv4_session w = {.socket = socket, .pid = getpid()};
    struct dsv4_request request;
    struct dsv4_reply reply;
    int fd = -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (dsv4_message_receive(socket, &request, sizeof request, &fd) == 1) {
        memset(&reply, 0, sizeof reply);
        w.stage = DSV4_STAGE_LOAD;
        if (request.kind == DSV4_REQUEST_OPEN)
            open_plugin(&w, &request, &reply);
        else if (request.kind == DSV4_REQUEST_SUSPECT)
            run_suspect(&w, &request, fd, &reply);
        else if (w.plugin == NULL)
            refuse(&reply, DSV4_ERROR, "no plug-in is open");
        else if (request.kind == DSV4_REQUEST_RUN)
            run_case(&w, &request, fd, &reply);
        else
            bench_case(&w, &request, &reply);
        fflush(NULL);
        reply.stage = w.stage;
        if (dsv4_message_send(socket, &reply, sizeof reply, -1) != 0) return DSV4_WORKER_CUT;
    }
    return 0;
}

int dsv4_verb_worker(int argc, char **argv) {
    char *end = NULL;
    const long fd = argc == 2 ? strtol(argv[1], &end, 10) : -1;
    if (fd < 0 || end == argv[1] || *end != '\0') {
        fprintf(stderr, "dsv4cts: `worker` is started by `check` and `bench`, not by hand\n");
        return DSV4_EXIT_ERROR;
    }
    return dsv4_worker_main((int)fd);
}
