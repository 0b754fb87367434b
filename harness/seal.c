/* SPDX-License-Identifier: Apache-2.0 */
#include "seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "../reference/memory.h"
#include "file.h"
#include "hash.h"
#include "options.h"

enum { DIGITS = 64, LEAST_KEY = 16, MOST_KEY = 1 << 16 };

#define BLANK "0000000000000000000000000000000000000000000000000000000000000000"
#define PLAIN "dsv4cts statement, sealed by sha256 "
#define KEYED "dsv4cts statement, sealed by hmac-sha256 "

int dsv4_key_read(struct dsv4_key *key, const char *path, struct dsv4_err *err) {
    if (dsv4_file_read(&key->bytes, &key->size, path, MOST_KEY, err) != 0) return -1;
    if (key->size >= LEAST_KEY) return 0;
    dsv4_free(key->bytes);
    key->bytes = NULL;
    dsv4_fail(err, "has %zu bytes; a key has at least %d", key->size, LEAST_KEY);
    return dsv4_err_at(err, path, 0);
}

const char *dsv4_seal_blank(const struct dsv4_key *key) {
    return key->bytes != NULL ? KEYED BLANK : PLAIN BLANK;
}

static int digest(char hex[DIGITS + 1], const unsigned char *bytes, size_t size,
                  const struct dsv4_key *key, struct dsv4_err *err) {
    if (key->bytes == NULL) {
        struct dsv4_hash *const hash = dsv4_hash_start();
        dsv4_hash_add(hash, bytes, size);
        dsv4_hash_finish(hash, hex);
        return 0;
    }
    unsigned char code[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (HMAC(EVP_sha256(), key->bytes, (int)key->size, bytes, size, code, &n) == NULL ||
        n != DIGITS / 2)
        return dsv4_fail(err, "OpenSSL has no HMAC-SHA256 here");
    for (unsigned int i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", code[i]);
    return 0;
}

int dsv4_seal_set(unsigned char *bytes, size_t size, const struct dsv4_key *key,
                  struct dsv4_err *err) {
    char hex[DIGITS + 1];
    if (size < DIGITS || digest(hex, bytes, size - DIGITS, key, err) != 0) return -1;
    memcpy(bytes + size - DIGITS, hex, DIGITS);
    return 0;
}

static bool ends_with(const unsigned char *bytes, size_t size, const char *text) {
    const size_t n = strlen(text);
    return size >= n && memcmp(bytes + size - n, text, n) == 0;
}

int dsv4_seal_check(const unsigned char *bytes, size_t size, const struct dsv4_key *key,
                    struct dsv4_err *err) {
    char hex[DIGITS + 1];
    const size_t sealed = size > DIGITS ? size - DIGITS : 0;
    const bool keyed = ends_with(bytes, sealed, KEYED);
    if (!keyed && !ends_with(bytes, sealed, PLAIN))
        return dsv4_fail(err, "it does not end with a seal: it is no statement, or was cut short");
    if (keyed && key->bytes == NULL)
        return dsv4_fail(err, "it is sealed with a key: give it as --key");
    if (!keyed && key->bytes != NULL)
        return dsv4_fail(err, "it is sealed without a key, so anybody may have made it");
    if (digest(hex, bytes, sealed, key, err) != 0) return -1;
    if (CRYPTO_memcmp(hex, bytes + sealed, DIGITS) == 0) return 0;
    return dsv4_fail(err, keyed ? "the seal is broken: it was changed, or sealed with another key"
                                : "the seal is broken: it was changed after it was made");
}
