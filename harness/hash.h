/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, in pieces. */
#ifndef DSV4_HASH_H
#define DSV4_HASH_H

#include <stddef.h>

struct dsv4_hash;
struct dsv4_hash *dsv4_hash_start(void);
void dsv4_hash_add(void *hash, const void *bytes, size_t size); /* a dsv4_sink */
void dsv4_hash_finish(struct dsv4_hash *hash, char hex[65]);    /* frees it */

#endif
