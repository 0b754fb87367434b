/* SPDX-License-Identifier: Apache-2.0 */
#include "assemble.h"

#include <stdlib.h>
#include <unistd.h>

static const char path[] = "PATH=/usr/lib/llvm-19/bin:$PATH clang-19";

FILE *isa_source_open(char *name) {
    const int handle = mkstemp(name);
    return handle < 0 ? NULL : fdopen(handle, "w");
}

static void *read_all(const char *name, size_t *bytes) {
    FILE *const file = fopen(name, "rb");
    if (file == NULL) return NULL;
    char *data = NULL;
    *bytes = 0;
    for (size_t n = 1; n > 0;) {
        char *const more = realloc(data, *bytes + (1 << 20));
        if (more == NULL) break;
        data = more;
        n = fread(data + *bytes, 1, 1 << 20, file);
        *bytes += n;
    }
    fclose(file);
    return data;
}

static void *run(const char *command, const char *output, size_t *bytes) {
    const int status = system(command);
    void *const data = status == 0 ? read_all(output, bytes) : NULL;
    if (status != 0) fprintf(stderr, "isa: this failed: %s\n", command);
    unlink(output);
    return data;
}

void *isa_assemble(const char *source, size_t *bytes) {
    char command[1024], output[256];
    snprintf(output, sizeof output, "%s.co", source);
    snprintf(command, sizeof command,
             "%s --target=amdgcn-amd-amdhsa -mcpu=gfx942 -x assembler %s -o %s", path, source,
             output);
    void *const data = run(command, output, bytes);
    if (data != NULL) unlink(source);
    return data;
}

void *isa_compile_hip(const char *source, const char *flags, size_t *bytes) {
    char command[1024], output[] = P_tmpdir "/dsv4-hip-XXXXXX";
    const int handle = mkstemp(output);
    if (handle < 0) return NULL;
    close(handle);
    snprintf(command, sizeof command,
             "%s -x hip --offload-arch=gfx942 %s -ffp-contract=off -std=c++17 -nogpulib -nogpuinc "
             "-nostdinc++ --hip-path=/nonexistent --cuda-device-only -o %s %s",
             path, flags, output, source);
    return run(command, output, bytes);
}
