/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a kernel's that gave way to the expected ones, so that they can be put back. Threads may add at once. */
#ifndef DSV4_BOUND_CEDED_H
#define DSV4_BOUND_CEDED_H

#include <stdatomic.h>
#include <stdint.h>

struct dsv4_ceded_row;

struct dsv4_ceded {
    _Atomic(struct dsv4_ceded_row *) rows;
};

/* Remembers `n` elements of `unit` bytes, `stride` apart, the first at `offset` from `base`. Nobody else adds them.
 * `ceded` may be NULL. */
void dsv4_ceded_add(struct dsv4_ceded *ceded, const unsigned char *base, int64_t offset,
                    int64_t stride, int64_t unit, int64_t n);

/* Puts all of them back, into this image or a copy. */
void dsv4_ceded_return(const struct dsv4_ceded *ceded, unsigned char *base);
void dsv4_ceded_free(struct dsv4_ceded *ceded);

#endif
