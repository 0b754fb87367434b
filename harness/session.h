/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker holds, and the steps that its requests share. */
#ifndef DSV4_SESSION_H
#define DSV4_SESSION_H

#include <sys/types.h>

#include "arena.h"
#include "device.h"
#include "worker.h"

/* What stays between the steps of a sequence. */
struct dsv4_held {
    struct dsv4_arena arena;
    void *memory; /* the device's; NULL on the CPU */
    void *graph;
    int next; /* the step that must follow */
};

/* What a worker holds. */
struct dsv4_session {
    int socket;
    pid_t pid;
    enum dsv4_stage stage;
    dsv4_worker_open *open; /* NULL: dlopen */
    const dsv4_plugin *plugin;
    const struct dsv4_device *device;
    void *stream;
    bool emulated; /* as in dsv4_plugin_info */
    bool has_yardsticks;
    struct dsv4_timing yardsticks;
    struct dsv4_held held;
    struct dsv4_reply note;
};

/* Says what is about to begin, so that the parent can place a crash. */
void dsv4_announce(struct dsv4_session *w, enum dsv4_stage stage);

/* Sets status and text of a reply; returns -1. */
int dsv4_session_refuse(struct dsv4_reply *reply, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with what the device says; the worker should not be used any more. */
int dsv4_session_failed(struct dsv4_session *w, struct dsv4_reply *reply, const char *what);

/* A plug-in that forks has two processes come back from its call. Only the first is the worker. */
void dsv4_session_leave_if_forked(const struct dsv4_session *w);

/* Tells a device that watches where kernels read and write what the bound tensors are. */
void dsv4_session_declare(struct dsv4_session *w, const struct dsv4_case *c);
/* Whether a plug-in says what its arithmetic is. */
bool dsv4_session_declares(const dsv4_plugin *plugin);
/* Asks supports(). true: run() may be called. */
bool dsv4_session_supports(struct dsv4_session *w, const struct dsv4_case *c,
                           struct dsv4_reply *reply);
/* Calls run() on a bound case; reply->status is what it returned. */
void dsv4_session_run(struct dsv4_session *w, const struct dsv4_case *c, struct dsv4_reply *reply);
/* Waits for the device, if there is one. */
void dsv4_session_sync(struct dsv4_session *w, struct dsv4_reply *reply);

/* Copies an arena's segments to the device, and the whole arena back. DSV4_OK, or a failed reply. */
int dsv4_session_upload(struct dsv4_session *w, const struct dsv4_arena *a, char *memory,
                        struct dsv4_reply *reply);
int dsv4_session_download(struct dsv4_session *w, struct dsv4_arena *a, const char *memory,
                          struct dsv4_reply *reply);

double dsv4_session_now(void); /* seconds on the monotonic clock */

/* One step of a sequence (replay.c). */
void dsv4_session_step(struct dsv4_session *w, const struct dsv4_request *request, int fd,
                       struct dsv4_reply *reply);

#endif
