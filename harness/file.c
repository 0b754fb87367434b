/* SPDX-License-Identifier: Apache-2.0 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../reference/memory.h"
#include "hash.h"
#include "options.h"

static int read_open(int file, unsigned char **bytes, size_t *size, size_t limit,
                     struct dsv4_err *err) {
    struct stat info;
    if (fstat(file, &info) != 0) return dsv4_fail(err, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(info.st_mode)) return dsv4_fail(err, "is not a regular file");
    if ((uint64_t)info.st_size > limit)
        return dsv4_fail(err, "has %lld bytes; at most %zu are read", (long long)info.st_size,
                         limit);
    const size_t wanted = (size_t)info.st_size;
    unsigned char *memory = dsv4_alloc(wanted + 1);
    size_t done = 0;
    while (done < wanted) {
        const ssize_t got = read(file, memory + done, wanted - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            dsv4_free(memory);
            return dsv4_fail(err, "cannot be read: %s",
                             got < 0 ? strerror(errno) : "it became shorter");
        }
        done += (size_t)got;
    }
    *bytes = memory;
    *size = wanted;
    return 0;
}

int dsv4_file_read(unsigned char **bytes, size_t *size, const char *path, size_t limit,
                   struct dsv4_err *err) {
    *bytes = NULL;
    *size = 0;
    /* Without O_NONBLOCK a FIFO in place of the file would hang the program. */
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        dsv4_fail(err, "cannot be opened: %s", strerror(errno));
        return dsv4_err_at(err, path, 0);
    }
    const int status = read_open(file, bytes, size, limit, err);
    close(file);
    return status == 0 ? 0 : dsv4_err_at(err, path, 0);
}

int dsv4_file_hash(const char *path, char hex[65], struct dsv4_err *err) {
    const size_t limit = (size_t)1 << 34;
    unsigned char *bytes;
    size_t size;
    hex[0] = '\0';
    if (dsv4_file_read(&bytes, &size, path, limit, err) != 0) return -1;
    struct dsv4_hash *const hash = dsv4_hash_start();
    dsv4_hash_add(hash, bytes, size);
    dsv4_hash_finish(hash, hex);
    dsv4_free(bytes);
    return 0;
}

static int write_all(int file, const unsigned char *bytes, size_t size) {
    while (size > 0) {
        const ssize_t done = write(file, bytes, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return -1;
        bytes += done;
        size -= (size_t)done;
    }
    return 0;
}

int dsv4_file_write(const char *path, const void *bytes, size_t size, struct dsv4_err *err) {
    char temporary[4096];
    const int n = snprintf(temporary, sizeof temporary, "%s.%ld.part", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary)
        return dsv4_fail(err, "the path is too long to write: %.200s", path);
    const int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = file >= 0 && write_all(file, bytes, size) == 0;
    int problem = errno;
    if (file >= 0 && close(file) != 0 && good) {
        good = false;
        problem = errno;
    }
    if (good && rename(temporary, path) != 0) {
        good = false;
        problem = errno;
    }
    if (good) return 0;
    if (file >= 0) unlink(temporary);
    dsv4_fail(err, "cannot be written: %s", strerror(problem));
    return dsv4_err_at(err, path, 0);
}

int dsv4_directory_make(const char *path, struct dsv4_err *err) {
    char part[4096];
    if (strlen(path) >= sizeof part)
        return dsv4_fail(err, "the path is too long for a directory: %.200s", path);
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1; *at != '\0'; at++) {
        if (*at != '/') continue;
        *at = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) break;
        *at = '/';
    }
    struct stat info;
    if (mkdir(path, 0777) == 0 || (stat(path, &info) == 0 && S_ISDIR(info.st_mode))) return 0;
    dsv4_fail(err, "the directory cannot be made: %s", strerror(errno));
    return dsv4_err_at(err, path, 0);
}
