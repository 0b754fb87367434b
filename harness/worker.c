/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "arena.h"
#include "file.h"
#include "measure.h"
#include "plugin.h"
#include "verbs.h"

/* Opens the back end for `name` unless it is open. */
static int open_device(struct dsv4_session *w, const char *name, int index,
                       struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    char directory[4200];
    if (w->device != NULL && strcmp(w->device->name, name) == 0) return 0;
    dsv4_build_directory(directory, sizeof directory);
    dsv4_announce(w, DSV4_STAGE_DEVICE);
    w->device = dsv4_device_find(name, directory, &err);
    if (w->device == NULL) return dsv4_session_refuse(reply, DSV4_ERROR, "%s", err.text);
    const int status = w->device->open(index == DSV4_NO_DEVICE ? 0 : index);
    if (status == DSV4_OK) return 0;
    return dsv4_session_refuse(reply, status == DSV4_UNSUPPORTED ? DSV4_UNSUPPORTED : DSV4_ERROR,
                               "%.600s", w->device->error());
}

/* Whether a plug-in names ROCm's runtime. Then the back end comes first: what it chooses, hardware or emulator, must be
 * there before the loader looks for a library of that name. */
static bool names_hip(const char *path) {
    static const char name[] = "libamdhip64.so";
    enum { LARGEST = 1 << 30 };
    struct dsv4_err err = {0};
    unsigned char *bytes = NULL;
    size_t size = 0;
    if (dsv4_file_read(&bytes, &size, path, LARGEST, &err) != 0) return false;
    const bool found = memmem(bytes, size, name, sizeof name - 1) != NULL;
    dsv4_free(bytes);
    return found;
}

/* A plug-in that is no shared object: whoever embeds the worker makes it. */
static int load_foreign(struct dsv4_session *w, const struct dsv4_request *request,
                        struct dsv4_reply *reply) {
    char why[DSV4_TEXT_SIZE] = "it gave no reason";
    w->plugin = w->open(request->path, request->device, why, sizeof why);
    dsv4_session_leave_if_forked(w);
    return w->plugin != NULL ? 0 : dsv4_session_refuse(reply, DSV4_ERROR, "%s", why);
}

/* A HIP plug-in may leave hip* symbols undefined, for ROCm need not be there where it is built. They come from the
 * runtime library, which the back end makes global. */
static int load_plugin(struct dsv4_session *w, const struct dsv4_request *request,
                       struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    if (w->open != NULL) return load_foreign(w, request, reply);
    if (names_hip(request->path) && open_device(w, "hip", request->device, reply) != 0) return -1;
    w->plugin = dsv4_plugin_open(request->path, &err);
    dsv4_session_leave_if_forked(w);
    if (w->plugin == NULL && (strstr(err.text, "undefined symbol: hip") != NULL ||
                              strstr(err.text, "undefined symbol: __hip") != NULL)) {
        if (open_device(w, "hip", request->device, reply) != 0) return -1;
        dsv4_announce(w, DSV4_STAGE_LOAD);
        w->plugin = dsv4_plugin_open(request->path, &err);
    }
    return w->plugin != NULL ? 0 : dsv4_session_refuse(reply, DSV4_ERROR, "%s", err.text);
}

static void open_plugin(struct dsv4_session *w, const struct dsv4_request *request,
                        struct dsv4_reply *reply) {
    struct dsv4_plugin_info *const info = &reply->info;
    if (load_plugin(w, request, reply) != 0) return;
    snprintf(info->name, sizeof info->name, "%s", w->plugin->name);
    snprintf(info->version, sizeof info->version, "%s", w->plugin->version);
    snprintf(info->device, sizeof info->device, "%s", w->plugin->device);
    info->declares = dsv4_session_declares(w->plugin);
    if (request->device == DSV4_NO_DEVICE) return;
    if (open_device(w, w->plugin->device, request->device, reply) != 0) return;
    if (w->device->accepts != NULL && w->device->accepts() != DSV4_OK) {
        dsv4_session_refuse(reply, DSV4_UNSUPPORTED, "%.900s", w->device->error());
        return;
    }
    w->device->describe(info->describe, sizeof info->describe);
    info->n_devices = w->device->count;
    w->emulated = info->emulated =
        strstr(info->describe, "emulated") != NULL || strstr(info->name, "emulated") != NULL;
    if (w->device->stream_create(&w->stream) != DSV4_OK) {
        dsv4_session_failed(w, reply, "cannot make a stream");
        return;
    }
    info->has_canary =
        w->plugin->size >= offsetof(dsv4_plugin, declare) && w->plugin->canary != NULL;
    if (info->has_canary) {
        dsv4_announce(w, DSV4_STAGE_CANARY);
        info->canary = w->plugin->canary(info->canary_line, sizeof info->canary_line);
        dsv4_session_leave_if_forked(w);
    }
}

/* Calls the plug-in on a bound case. reply->status is what it returned. */
static void call_plugin(struct dsv4_session *w, const struct dsv4_case *c,
                        struct dsv4_reply *reply) {
    if (!dsv4_session_supports(w, c, reply)) return;
    dsv4_announce(w, DSV4_STAGE_RUN);
    const double start = dsv4_session_now();
    dsv4_session_run(w, c, reply);
    dsv4_session_sync(w, reply);
    reply->seconds = dsv4_session_now() - start;
}

static void run_on_device(struct dsv4_session *w, struct dsv4_case *c, struct dsv4_arena *a,
                          struct dsv4_reply *reply) {
    void *memory = NULL;
    const struct dsv4_device *const device = w->device;
    if (device->alloc(&memory, (size_t)a->bytes) != DSV4_OK) {
        dsv4_session_failed(w, reply, "cannot allocate the tensors");
        return;
    }
    if (device->zero(memory, (size_t)a->bytes) != DSV4_OK) {
        dsv4_session_failed(w, reply, "cannot clear the tensors");
    } else if (dsv4_session_upload(w, a, memory, reply) == DSV4_OK) {
        dsv4_case_bind(c, memory);
        dsv4_session_declare(w, c);
        call_plugin(w, c, reply);
        if (!reply->fatal) dsv4_session_download(w, a, memory, reply);
    }
    if (device->release(memory) != DSV4_OK) reply->fatal = true;
}

static void run_case(struct dsv4_session *w, const struct dsv4_request *request, int fd,
                     struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    struct dsv4_case c = {0};
    struct dsv4_arena a = {.fd = -1};
    dsv4_announce(w, DSV4_STAGE_PREPARE);
    if (dsv4_request_case(request, &c, &err) != 0 || dsv4_arena_attach(&a, &c, fd, &err) != 0) {
        dsv4_session_refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
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

/* The tensors lie in the host's memory: supports() looks at shapes, strides and parameters. */
static void ask_supports(struct dsv4_session *w, const struct dsv4_request *request,
                         struct dsv4_reply *reply) {
    struct dsv4_err err = {0};
    struct dsv4_case c = {0};
    dsv4_announce(w, DSV4_STAGE_PREPARE);
    if (dsv4_request_case(request, &c, &err) != 0) {
        dsv4_session_refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
    } else {
        void *const arena = dsv4_map((size_t)c.arena_bytes);
        dsv4_case_bind(&c, arena);
        dsv4_session_supports(w, &c, reply);
        dsv4_unmap(arena, (size_t)c.arena_bytes);
    }
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
        dsv4_session_refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
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
        dsv4_session_refuse(reply, DSV4_ERROR, "the harness: %s", err.text);
    else
        dsv4_measure(w, &c, request->bench_seconds, reply);
    dsv4_case_free(&c);
}

int dsv4_worker_main(int socket, dsv4_worker_open *open) {
    struct dsv4_session w = {.socket = socket, .pid = getpid(), .open = open, .held.arena.fd = -1};
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
            dsv4_session_refuse(&reply, DSV4_ERROR, "no plug-in is open");
        else if (request.kind == DSV4_REQUEST_SUPPORTS)
            ask_supports(&w, &request, &reply);
        else if (w.device == NULL)
            dsv4_session_refuse(&reply, DSV4_ERROR, "no device is open");
        else if (request.kind == DSV4_REQUEST_RUN)
            run_case(&w, &request, fd, &reply);
        else if (request.kind == DSV4_REQUEST_STEP)
            dsv4_session_step(&w, &request, fd, &reply);
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
    return dsv4_worker_main((int)fd, NULL);
}
