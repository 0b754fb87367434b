/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files in and out. */
#ifndef DSV4_FILE_H
#define DSV4_FILE_H

#include "../reference/op.h"

/* Reads a regular file of at most `limit` bytes; a zero byte follows the last. dsv4_free(*bytes).
 */
int dsv4_file_read(unsigned char **bytes, size_t *size, const char *path, size_t limit,
                   struct dsv4_err *err);

/* The SHA-256 of a file's bytes; "" with err when it cannot be read. */
int dsv4_file_hash(const char *path, char hex[65], struct dsv4_err *err);

/* Writes under a temporary name in the same directory, then renames: a reader sees the old file or
 * the new one. */
int dsv4_file_write(const char *path, const void *bytes, size_t size, struct dsv4_err *err);

/* Makes a directory and the ones above it. */
int dsv4_directory_make(const char *path, struct dsv4_err *err);

#endif
