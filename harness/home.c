/* SPDX-License-Identifier: Apache-2.0 */
#include "home.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Within libdsv4cts.so the executable is an interpreter that lies elsewhere. */
static bool in_library(char *path, size_t size) {
    static const char own = 0;
    Dl_info info;
    char whole[PATH_MAX];
    if (dladdr(&own, &info) == 0 || strstr(info.dli_fname, ".so") == NULL) return false;
    if (realpath(info.dli_fname, whole) == NULL) return false;
    return snprintf(path, size, "%s", whole) < (int)size;
}

void dsv4_build_directory(char *directory, size_t size) {
    if (!in_library(directory, size)) {
        const ssize_t length = readlink("/proc/self/exe", directory, size - 1);
        directory[length > 0 ? length : 0] = '\0';
    }
    char *const slash = strrchr(directory, '/');
    if (slash != NULL)
        *slash = '\0';
    else
        snprintf(directory, size, ".");
}

/* `whole` has PATH_MAX bytes. */
static const char *find(char *whole, const char *name) {
    char directory[PATH_MAX], path[PATH_MAX + 64];
    dsv4_build_directory(directory, sizeof directory);
    snprintf(path, sizeof path, "%s/share/%s", directory, name);
    return realpath(path, whole) != NULL ? whole : name;
}

const char *dsv4_suites_home(void) {
    static char path[PATH_MAX];
    return find(path, "suites");
}

const char *dsv4_vectors_home(void) {
    static char path[PATH_MAX];
    return find(path, "vectors");
}
