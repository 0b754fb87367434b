/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of a worker: starts it, asks it, times it out, and says how it died. */
#ifndef DSV4_RUNNER_H
#define DSV4_RUNNER_H

#include <sys/types.h>

#include "worker.h"

enum dsv4_outcome { DSV4_ANSWERED, DSV4_CRASHED, DSV4_TIMED_OUT };

struct dsv4_runner {
    char executable[4200]; /* what to start with `worker FD` */
    char path[4200];       /* the plug-in; empty: none, for suspects alone */
    char
        python[4200]; /* the interpreter and the script that open a plug-in in Python; else empty */
    char script[4200];
    int device;
    double timeout; /* seconds a request may take */

    struct dsv4_plugin_info info; /* after the first start */
    pid_t pid;                    /* 0: no worker at the moment */
    int socket, output;           /* output: what plug-in and worker print */
    enum dsv4_stage stage;        /* of the last request */
    char death[256];              /* after CRASHED or TIMED_OUT: "SIGSEGV in run()" */
    char tail[4096];              /* the last bytes printed during the last request */
    size_t tail_bytes;
    bool tail_cut;
};

void dsv4_runner_init(struct dsv4_runner *r, const char *executable, const char *path);

/* Starts a worker and opens the plug-in. DSV4_OK, DSV4_UNSUPPORTED (no such device here), DSV4_ERROR. */
int dsv4_runner_start(struct dsv4_runner *r, struct dsv4_err *err);

/* Sends a request to the worker, which is started if there is none, and waits. After CRASHED and TIMED_OUT the worker
 * is gone. `fd` may be -1. */
enum dsv4_outcome dsv4_runner_ask(struct dsv4_runner *r, const struct dsv4_request *request, int fd,
                                  struct dsv4_reply *reply);
void dsv4_runner_stop(struct dsv4_runner *r);

#endif
