/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seal over a whole file: its last 64 bytes are the hash of all bytes before them, in hexadecimal digits. With a key
 * it is an HMAC, which nobody can make who does not have the key; without one anybody can.
 */
#ifndef DSV4_SEAL_H
#define DSV4_SEAL_H

#include "../reference/op.h"

struct dsv4_key {
    unsigned char *bytes; /* NULL: none */
    size_t size;
};

/* Reads a key file, as it is; at least 16 bytes. dsv4_free(key->bytes). */
int dsv4_key_read(struct dsv4_key *key, const char *path, struct dsv4_err *err);

/* What stands before the digits, and room for them: the end of a file that is to be sealed. */
const char *dsv4_seal_blank(const struct dsv4_key *key);

int dsv4_seal_set(unsigned char *bytes, size_t size, const struct dsv4_key *key,
                  struct dsv4_err *err);
int dsv4_seal_check(const unsigned char *bytes, size_t size, const struct dsv4_key *key,
                    struct dsv4_err *err);

#endif
