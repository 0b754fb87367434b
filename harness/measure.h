/* SPDX-License-Identifier: Apache-2.0 */
/* Timing of one case in the worker, and the yardsticks of the device it runs on. */
#ifndef DSV4_MEASURE_H
#define DSV4_MEASURE_H

#include "session.h"

/* Times run() on a placed case for about `seconds`. */
void dsv4_measure(struct dsv4_session *w, struct dsv4_case *c, double seconds,
                  struct dsv4_reply *reply);

/* The host's peaks. */
double dsv4_host_copy_rate(void);
double dsv4_host_exp_rate(void);
double dsv4_host_fma_rate(void);

#endif
