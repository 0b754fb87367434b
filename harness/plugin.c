/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int check(const dsv4_plugin *plugin, const char *path, struct dsv4_err *err) {
    if (plugin == NULL) return dsv4_fail(err, "%s: dsv4_plugin_v1() returned NULL", path);
    if (plugin->abi != DSV4_ABI_VERSION)
        return dsv4_fail(err,
                         "%s: the plug-in speaks ABI %u, this harness ABI %u; rebuild the plug-in "
                         "with harness/include/dsv4_plugin.h of this version",
                         path, plugin->abi, DSV4_ABI_VERSION);
    if (plugin->size < offsetof(dsv4_plugin, canary))
        return dsv4_fail(err, "%s: the plug-in's struct has %u bytes, at least %zu are needed",
                         path, plugin->size, offsetof(dsv4_plugin, canary));
    if (plugin->name == NULL || plugin->version == NULL || plugin->device == NULL)
        return dsv4_fail(err, "%s: the plug-in leaves name, version or device NULL", path);
    if (plugin->supports == NULL || plugin->run == NULL)
        return dsv4_fail(err, "%s: the plug-in leaves supports() or run() NULL", path);
    return 0;
}

const dsv4_plugin *dsv4_plugin_open(const char *path, struct dsv4_err *err) {
    if (access(path, R_OK) != 0) {
        dsv4_fail(err, "%s: %s", path, strerror(errno));
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        dsv4_fail(err, "cannot load the plug-in: %.400s", dlerror());
        return NULL;
    }
    const dsv4_plugin *(*entry)(void) = NULL;
    *(void **)(&entry) = dlsym(library, "dsv4_plugin_v1");
    if (entry == NULL) {
        dsv4_fail(err, "%s: no symbol dsv4_plugin_v1; a plug-in must export it with C linkage",
                  path);
        return NULL;
    }
    const dsv4_plugin *plugin = entry();
    return check(plugin, path, err) == 0 ? plugin : NULL;
}

bool dsv4_plugin_is_python(const char *path) {
    const size_t n = strlen(path);
    return n > 3 && strcmp(path + n - 3, ".py") == 0;
}

static int find_built(char *path, size_t size, const char *impl, const char *directory,
                      struct dsv4_err *err) {
    glob_t found = {0};
    char pattern[4200];
    int status = -1;
    snprintf(pattern, sizeof pattern, "%s/*/%s.so", directory, impl);
    if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc == 0) {
        dsv4_fail(err, "--impl %s: nothing at %.300s; `make build` makes it", impl, pattern);
    } else if (found.gl_pathc > 1) {
        dsv4_fail(err,
                  "--impl %s: %zu of them are built (%.120s, %.120s, ...); name one by its path",
                  impl, found.gl_pathc, found.gl_pathv[0], found.gl_pathv[1]);
    } else {
        snprintf(path, size, "%s", found.gl_pathv[0]);
        status = 0;
    }
    globfree(&found);
    return status;
}

int dsv4_plugin_path(char *path, size_t size, const char *impl, const char *directory,
                     struct dsv4_err *err) {
    if (strcmp(impl, "ref") == 0 || strcmp(impl, "cuda") == 0 || strcmp(impl, "hip") == 0)
        return find_built(path, size, impl, directory, err);
    if (access(impl, R_OK) != 0)
        return dsv4_fail(err, "--impl %.300s: %s; give ref, cuda, hip or a plug-in's path", impl,
                         strerror(errno));
    char *const whole = realpath(impl, NULL);
    const int fits = whole != NULL && strlen(whole) < size;
    if (fits) snprintf(path, size, "%s", whole);
    free(whole);
    return fits ? 0 : dsv4_fail(err, "--impl: the path of %.200s is too long", impl);
}
