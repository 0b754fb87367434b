/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deals the units of a run out to processes, one per device: whoever is done gets the next one. The processes are forked
 * from this one, which must not have started threads (OpenMP's included) before.
 */
#ifndef DSV4_DEAL_H
#define DSV4_DEAL_H

#include "../reference/op.h"

enum { DSV4_MAX_DEVICES = 64, DSV4_DEAL_STATE = 16 };

/* What a process sends back: pieces, each with a number that says what it is. */
struct dsv4_pieces {
    char *bytes;
    size_t size;
};
void dsv4_pieces_add(struct dsv4_pieces *pieces, int32_t kind, const char *text);
/* The next piece from *at; NULL: there is none. *kind says what it is. */
const char *dsv4_pieces_next(const struct dsv4_pieces *pieces, size_t *at, int32_t *kind);

struct dsv4_deal {
    void *context;
    size_t n_units;
    int devices[DSV4_MAX_DEVICES];
    size_t n_devices;
    /* In a process of its own: opens the device; -1 with err. Then runs one unit, and says what came of it. */
    int (*open)(void *context, int device, struct dsv4_err *err);
    void (*run)(void *context, size_t unit, const uint64_t state[DSV4_DEAL_STATE],
                struct dsv4_pieces *pieces);
    void (*close)(void *context);
    /* Here: what a unit must know about the units before it; what came of one; that one has no outcome. */
    void (*state)(void *context, uint64_t state[DSV4_DEAL_STATE]);
    void (*take)(void *context, size_t unit, const struct dsv4_pieces *pieces);
    void (*lost)(void *context, size_t unit, const char *why);
};

/* Returns when every unit has come back or is lost; how many processes failed. */
size_t dsv4_deal(const struct dsv4_deal *deal);

/* "all", where `n_all` are there, or "0,2,3". */
int dsv4_deal_devices(struct dsv4_deal *deal, const char *text, int n_all, struct dsv4_err *err);

#endif
