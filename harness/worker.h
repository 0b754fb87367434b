/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: the process that holds a plug-in. It answers requests over a socket, one message each. Parent and worker
 * are the same executable, so messages are plain structs.
 */
#ifndef DSV4_WORKER_H
#define DSV4_WORKER_H

#include "../reference/bound/arithmetic.h"

enum { DSV4_NO_DEVICE = -1 };
enum { DSV4_WORKER_CUT = 93 }; /* exit code of a worker that lost its connection */

enum dsv4_request_kind {
    DSV4_REQUEST_OPEN,
    DSV4_REQUEST_RUN,
    DSV4_REQUEST_STEP, /* one step of a sequence; the steps of a sequence follow each other */
    DSV4_REQUEST_BENCH,
    DSV4_REQUEST_SUPPORTS, /* asks supports() and runs nothing; needs no device */
    DSV4_REQUEST_SUSPECT,  /* runs the reference as a mutant; needs no plug-in */
};

/* How far a request has come: announced before the step begins, so that a crash can be placed. */
enum dsv4_stage {
    DSV4_STAGE_LOAD,
    DSV4_STAGE_DEVICE,
    DSV4_STAGE_CANARY,
    DSV4_STAGE_PREPARE,
    DSV4_STAGE_SUPPORTS,
    DSV4_STAGE_RUN,
    DSV4_STAGE_SYNC,
    DSV4_STAGE_CAPTURE, /* run() while its stream is captured */
    DSV4_STAGE_REPLAY,
};

struct dsv4_request {
    enum dsv4_request_kind kind;
    int device;      /* OPEN; DSV4_NO_DEVICE: none is opened, supports() alone may be asked */
    char path[4200]; /* OPEN: the plug-in */
    /* RUN, STEP, BENCH, SUSPECT: the case. RUN, STEP and SUSPECT carry the arena's file descriptor beside the message. */
    char op[64], name[DSV4_NAME_SIZE];
    uint64_t seed;
    char params[DSV4_MAX_PARAMS][DSV4_WORD_SIZE];
    int mutant;           /* SUSPECT: 0 is the truth */
    int step;             /* STEP: from 0 */
    bool last_step;       /* STEP */
    bool dense;           /* STEP: the arena is one segment, for steps have other live rows each */
    bool graph;           /* STEP: capture at step 0, replay at every step; ignored on the CPU */
    double bench_seconds; /* BENCH: how long to measure, about */
};

struct dsv4_plugin_info {
    char name[64], version[64], device[16];
    char describe[512]; /* the device, in words */
    int n_devices;      /* of its kind in this machine */
    bool has_canary;
    int canary; /* DSV4_OK or DSV4_ERROR */
    char canary_line[512];
    bool declares; /* its arithmetic, for each call */
    bool emulated; /* the device or the plug-in calls itself so; every line of a report then does */
};

enum { DSV4_BENCH_SAMPLES = 64 };

struct dsv4_timing {
    int n; /* samples */
    double median, low,
        high;   /* seconds of one call; low and high hold the middle half of the samples */
    int inputs; /* how many sets of tensors the calls rotated among */
    bool graph; /* replayed from a captured graph */
    double empty_seconds; /* an empty kernel the same way; 0 on the host */
    double copy_bytes_per_second, exps_per_second, fmas_per_second; /* yardsticks of this device */
};

struct dsv4_reply {
    bool note; /* only announces `stage`; the answer follows */
    enum dsv4_stage stage;
    int status; /* enum dsv4_status, or what the plug-in returned in its place */
    bool fatal; /* this process should not be used any more */
    double seconds;
    dsv4_arithmetic arithmetic;   /* RUN, STEP: what the plug-in declares for this call */
    char text[1024];              /* why, when status is not DSV4_OK */
    struct dsv4_plugin_info info; /* OPEN */
    struct dsv4_timing timing;    /* BENCH */
    long graph_nodes;             /* STEP 0: what was captured; -1: no graph */
};

/* Makes the plug-in that lies at `path`; NULL with `why` set. `device` may be DSV4_NO_DEVICE. */
typedef const dsv4_plugin *dsv4_worker_open(const char *path, int device, char *why,
                                            size_t why_size);

/* Serves requests on the file descriptor until the other end closes. `open` NULL: plug-ins are shared objects. */
int dsv4_worker_main(int socket, dsv4_worker_open *open);

/* One message with at most one file descriptor beside it. receive: 1, 0 at the end, -1. `fd` may be NULL. */
int dsv4_message_send(int socket, const void *message, size_t bytes, int fd);
int dsv4_message_receive(int socket, void *message, size_t bytes, int *fd);

/* Builds, shapes and places the case of a request. Free it in either outcome. */
int dsv4_request_case(const struct dsv4_request *request, struct dsv4_case *c,
                      struct dsv4_err *err);
void dsv4_request_set(struct dsv4_request *request, enum dsv4_request_kind kind,
                      const struct dsv4_case *c);

#endif
