/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device back end: memory, copies, one stream and timing for one kind of device. The host's is built in; CUDA's and
 * HIP's are shared objects beside the executable, opened only when a plug-in asks for that kind of device.
 *
 * Every function that returns int returns an enum dsv4_status; on anything but DSV4_OK error() says why in one
 * sentence.
 */
#ifndef DSV4_DEVICE_H
#define DSV4_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "../reference/op.h"

struct dsv4_device {
    uint32_t size;    /* sizeof(struct dsv4_device) of the back end; must equal the harness's */
    const char *name; /* "cpu", "cuda", "hip": what dsv4_plugin.device says */

    /* DSV4_UNSUPPORTED: this machine has no such device. Called once, before anything else. */
    int (*open)(int index);
    void (*describe)(char *text, size_t size); /* one line: device, architecture, driver, runtime */
    const char *(*error)(void);

    int (*alloc)(void **memory, size_t bytes);
    int (*release)(void *memory);
    int (*zero)(void *memory, size_t bytes);
    int (*upload)(void *device, const void *host, size_t bytes);
    int (*download)(void *host, const void *device, size_t bytes);
    /* Optional: whether nobody has written to these bytes since zero(), or they are 0 again; they need not be downloaded
     * then. */
    bool (*untouched)(const void *device, size_t bytes);

    int (*stream_create)(void **stream);
    int (*stream_destroy)(void *stream);
    int (*stream_sync)(
        void *stream); /* waits, and reports what went wrong on the device since the last call */

    /* Seconds that `count` device-to-device copies on a stream take: the yardstick for bandwidth. A copy in a graph may
     * run on a copy engine, which is slower. */
    int (*copy_time)(void *destination, const void *source, size_t bytes, void *stream, int count,
                     double *seconds);
    /* Launches the smallest kernel there is: the yardstick for latency. */
    int (*empty)(void *stream);

    /* Everything between begin and end on this stream becomes one graph. strict: synchronising or allocating meanwhile
     * is an error, as it is in an engine that captures. graph_end says how many nodes there are. */
    int (*graph_begin)(void *stream, bool strict);
    int (*graph_end)(void *stream, void **graph, size_t *nodes);
    int (*graph_destroy)(void *graph);
    /* Replays the graph `count` times and times the whole with events. */
    int (*graph_time)(void *graph, void *stream, int count, double *seconds);
    /* Optional, for devices that can tell. After the plug-in is loaded: DSV4_UNSUPPORTED if this device has no code of
     * it. A tensor in allocated memory, until that is released: kernels must not leave it. */
    int (*accepts)(void);
    int (*declare)(void *memory, size_t bytes, const char *name);
    /* Peaks of this device measured now, for ops that are not bound by memory; 0 where not measured. */
    int64_t
        cache_bytes; /* set by open(): the last-level cache, so that `bench` can step beyond it */
    int count;       /* set by open(): devices of this kind in this machine */
};

extern const struct dsv4_device dsv4_device_host;

/* The back end for a plug-in's `device`; `directory` holds device_<name>.so. NULL with err set. */
const struct dsv4_device *dsv4_device_find(const char *name, const char *directory,
                                           struct dsv4_err *err);

#endif
