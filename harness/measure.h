/* SPDX-License-Identifier: Apache-2.0 */
/* Timing of one case in the worker, and the yardsticks of the device it runs on. */
#ifndef DSV4_MEASURE_H
#define DSV4_MEASURE_H

#include <sys/types.h>

#include "device.h"
#include "worker.h"

/* What a worker holds. */
struct dsv4_session {
    int socket;
    pid_t pid;
    enum dsv4_stage stage;
    const dsv4_plugin *plugin;
    const struct dsv4_device *device;
    void *stream;
    bool has_yardsticks;
    struct dsv4_timing yardsticks;
    struct dsv4_reply note;
};

/* Says what is about to begin, so that the parent can place a crash. */
void dsv4_announce(struct dsv4_session *w, enum dsv4_stage stage);

/* Times run() on a placed case for about `seconds`. */
void dsv4_measure(struct dsv4_session *w, struct dsv4_case *c, double seconds,
                  struct dsv4_reply *reply);

/* The host's peaks. */
double dsv4_host_copy_rate(void);
double dsv4_host_exp_rate(void);
double dsv4_host_fma_rate(void);

#endif
