/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"
void dsv4_measure(struct dsv4_session *w, struct dsv4_case *c, double seconds,
                  struct dsv4_reply *reply) { (void)w; (void)c; (void)seconds; (void)reply; }
