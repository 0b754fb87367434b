/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libdsv4cts.so: the worker as a library, for a process that is no dsv4cts: an interpreter whose plug-in is not a shared
 * object. harness/python is its user.
 */
#ifndef DSV4_EMBED_H
#define DSV4_EMBED_H

#include "worker.h"

/* What libdsv4cts.so and its user must agree on; one more whenever something here or in dsv4_plugin changes. */
int dsv4_embed_version(void);

/* Serves requests until the other end closes; `open` makes the plug-in. The result is the process' exit code. */
int dsv4_embed_serve(int socket, dsv4_worker_open *open);

/* What the registry knows, so that a slip in a name is told when a plug-in is opened: ops by number, tensors and
 * parameters of an op by number. NULL and false after the last, or if there is no such op. */
struct dsv4_embed_param {
    const char *name, *initial,
        *names; /* names: the allowed words, separated by spaces; NULL: any */
    int is_dialect;
};
const char *dsv4_embed_op(size_t i);
const char *dsv4_embed_tensor(const char *op, size_t i);
int dsv4_embed_param(struct dsv4_embed_param *param, const char *op, size_t i);

/* Declared arithmetic from text, "F32-ANY exp=2"; 0, or -1 with `why` set. */
int dsv4_embed_arithmetic(dsv4_arithmetic *arithmetic, const char *text, char *why,
                          size_t why_size);

#endif
