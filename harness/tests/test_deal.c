/* SPDX-License-Identifier: Apache-2.0 */
/* Units dealt out to processes, some of which die. */
#include <signal.h>
#include <time.h>

#include "../deal.h"
#include "support.h"

enum { N_UNITS = 40 };

struct table {
    int device;          /* in a process: its own */
    int aborts, refuses; /* the device whose process does so; -1: none */
    int came[N_UNITS];   /* 1: with an outcome; -1: lost */
    int of[DSV4_MAX_DEVICES];
};

static int open_one(void *context, int device, struct dsv4_err *err) {
    struct table *const t = context;
    t->device = device;
    return device == t->refuses ? dsv4_fail(err, "no light on it") : 0;
}

static void run_one(void *context, size_t unit, const uint64_t state[DSV4_DEAL_STATE],
                    struct dsv4_pieces *pieces) {
    const struct table *const t = context;
    char text[64];
    if (t->device == t->aborts && unit > 4) raise(SIGKILL);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    snprintf(text, sizeof text, "%zu %llu", unit, (unsigned long long)state[0]);
    dsv4_pieces_add(pieces, t->device, text);
    dsv4_pieces_add(pieces, -7, "");
}

static void close_one(void *context) { (void)context; }

static void tell_state(void *context, uint64_t state[DSV4_DEAL_STATE]) {
    (void)context;
    state[0] = 42;
}

static void take_one(void *context, size_t unit, const struct dsv4_pieces *pieces) {
    struct table *const t = context;
    char want[64];
    size_t at = 0;
    int32_t kind;
    const char *const text = dsv4_pieces_next(pieces, &at, &kind);
    snprintf(want, sizeof want, "%zu 42", unit);
    cr_assert_str_eq(text, want);
    t->of[kind]++;
    cr_assert_str_eq(dsv4_pieces_next(pieces, &at, &kind), "");
    cr_assert_eq(kind, -7);
    cr_assert_null(dsv4_pieces_next(pieces, &at, &kind));
    cr_assert_eq(t->came[unit], 0, "unit %zu came twice", unit);
    t->came[unit] = 1;
}

static void lose_one(void *context, size_t unit, const char *why) {
    struct table *const t = context;
    cr_assert_gt(strlen(why), 0);
    cr_assert_eq(t->came[unit], 0);
    t->came[unit] = -1;
}

static size_t deal(struct table *t, size_t n_devices, int *lost) {
    struct dsv4_deal d = {.context = t,
                          .n_units = N_UNITS,
                          .n_devices = n_devices,
                          .open = open_one,
                          .run = run_one,
                          .close = close_one,
                          .state = tell_state,
                          .take = take_one,
                          .lost = lose_one};
    for (size_t i = 0; i < n_devices; i++) d.devices[i] = (int)i;
    const size_t failed = dsv4_deal(&d);
    *lost = 0;
    for (size_t i = 0; i < N_UNITS; i++) {
        cr_assert_neq(t->came[i], 0, "unit %zu has no outcome", i);
        *lost += t->came[i] < 0;
    }
    return failed;
}

Test(deal, every_unit_comes_back_once) {
    struct table t = {.aborts = -1, .refuses = -1};
    int lost;
    cr_assert_eq(deal(&t, 3, &lost), 0);
    cr_assert_eq(lost, 0);
    cr_assert(t.of[0] > 0 && t.of[1] > 0 && t.of[2] > 0);
}

Test(deal, a_process_that_dies_costs_one_unit) {
    struct table t = {.aborts = 1, .refuses = -1};
    int lost;
    cr_assert_eq(deal(&t, 3, &lost), 1);
    cr_assert_eq(lost, 1);
    struct table alone = {.aborts = 0, .refuses = -1};
    cr_assert_eq(deal(&alone, 1, &lost), 1);
    cr_assert_eq(lost, N_UNITS - 5); /* nobody is left for the others */
}

Test(deal, a_device_that_does_not_open_gets_nothing) {
    struct table t = {.aborts = -1, .refuses = 0};
    int lost;
    cr_assert_eq(deal(&t, 2, &lost), 1);
    cr_assert_eq(lost, 0);
    cr_assert_eq(t.of[0], 0);
    struct table none = {.aborts = -1, .refuses = 0};
    cr_assert_eq(deal(&none, 1, &lost), 1);
    cr_assert_eq(lost, N_UNITS);
}
