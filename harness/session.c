/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "../reference/memory.h"

enum { DOWNLOAD_BYTES = 64 << 20, PAGE_BYTES = 4096 };

void dsv4_announce(struct dsv4_session *w, enum dsv4_stage stage) {
    struct dsv4_reply *const note = &w->note;
    memset(note, 0, sizeof *note);
    note->note = true;
    note->stage = w->stage = stage;
    dsv4_message_send(w->socket, note, sizeof *note, -1);
}

void dsv4_session_leave_if_forked(const struct dsv4_session *w) {
    if (getpid() != w->pid) _exit(0);
}

int dsv4_session_refuse(struct dsv4_reply *reply, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(reply->text, sizeof reply->text, format, args);
    va_end(args);
    reply->status = status;
    return -1;
}

int dsv4_session_failed(struct dsv4_session *w, struct dsv4_reply *reply, const char *what) {
    reply->fatal = true;
    return dsv4_session_refuse(reply, DSV4_ERROR, "%s: %.900s", what, w->device->error());
}

double dsv4_session_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

bool dsv4_session_declares(const dsv4_plugin *plugin) {
    return plugin->size >= offsetof(dsv4_plugin, declare) + sizeof plugin->declare &&
           plugin->declare != NULL;
}

/* Asks what the kernel's arithmetic is. false: nothing that can be judged. */
static bool declared(struct dsv4_session *w, const dsv4_call *call, struct dsv4_reply *reply) {
    const dsv4_plugin *const plugin = w->plugin;
    struct dsv4_err err = {0};
    reply->arithmetic = dsv4_arithmetic_canon();
    if (!dsv4_session_declares(plugin)) return true;
    const int status = plugin->declare(call, &reply->arithmetic);
    dsv4_session_leave_if_forked(w);
    if (status != DSV4_OK)
        dsv4_session_refuse(reply, DSV4_ERROR, "declare() returned %d", status);
    else if (dsv4_arithmetic_check(&reply->arithmetic, &err) != 0)
        dsv4_session_refuse(reply, DSV4_ERROR, "declare(): %s", err.text);
    return reply->status == DSV4_OK;
}

bool dsv4_session_supports(struct dsv4_session *w, const struct dsv4_case *c,
                           struct dsv4_reply *reply) {
    dsv4_call call;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param params[DSV4_MAX_PARAMS];
    dsv4_case_call(c, &call, tensors, params);
    call.stream = w->stream;
    dsv4_announce(w, DSV4_STAGE_SUPPORTS);
    reply->status = w->plugin->supports(&call, reply->text, sizeof reply->text);
    dsv4_session_leave_if_forked(w);
    return reply->status == DSV4_OK && declared(w, &call, reply);
}

void dsv4_session_declare(struct dsv4_session *w, const struct dsv4_case *c) {
    if (w->device->declare == NULL) return;
    for (size_t i = 0; i < c->op->n_slots; i++) {
        const struct dsv4_case_tensor *const tensor = &c->tensors[i];
        if (tensor->t.data != NULL && tensor->span > 0)
            w->device->declare(tensor->t.data, (size_t)tensor->span, c->op->slots[i].name);
    }
}

void dsv4_session_run(struct dsv4_session *w, const struct dsv4_case *c, struct dsv4_reply *reply) {
    dsv4_call call;
    dsv4_tensor tensors[DSV4_MAX_TENSORS];
    dsv4_param params[DSV4_MAX_PARAMS];
    /* Fresh structs: supports() may have scribbled on its own. */
    dsv4_case_call(c, &call, tensors, params);
    call.stream = w->stream;
    reply->text[0] = '\0';
    reply->status = w->plugin->run(&call, reply->text, sizeof reply->text);
    dsv4_session_leave_if_forked(w);
}

void dsv4_session_sync(struct dsv4_session *w, struct dsv4_reply *reply) {
    if (w->device == &dsv4_device_host) return;
    dsv4_announce(w, DSV4_STAGE_SYNC);
    if (w->device->stream_sync(w->stream) != DSV4_OK) dsv4_session_failed(w, reply, "the device");
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
        if (a->n_segments > 1 && w->device->untouched != NULL &&
            w->device->untouched(memory + at, (size_t)bytes))
            continue;
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

int dsv4_session_upload(struct dsv4_session *w, const struct dsv4_arena *a, char *memory,
                        struct dsv4_reply *reply) {
    for (size_t i = 0; i < a->n_segments; i++) {
        const struct dsv4_segment *const s = &a->segments[i];
        if (w->device->upload(memory + s->offset, a->base + s->offset, (size_t)s->bytes) != DSV4_OK)
            return dsv4_session_failed(w, reply, "cannot copy the inputs to the device");
    }
    return DSV4_OK;
}

int dsv4_session_download(struct dsv4_session *w, struct dsv4_arena *a, const char *memory,
                          struct dsv4_reply *reply) {
    clear_segments(a);
    return download(w, a, memory) == DSV4_OK ? DSV4_OK
                                             : dsv4_session_failed(w, reply, "the device");
}
