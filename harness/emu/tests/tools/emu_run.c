/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: emu_run FILE KERNEL GRID BLOCK [ARGUMENT...]
 * Runs one kernel of a code object (or of a bundle that holds one) and says how fast. GRID and BLOCK are X, X,Y or X,Y,Z;
 * an argument is a number of 32 bits, a number of 64 bits with l behind it, or buffer:BYTES (zeroed device memory, printed
 * as a checksum afterwards).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../machine.h"
#include "../../space.h"

enum { MAX_BUFFERS = 16, ARGUMENT_BYTES = 4096 };

static struct {
    uint8_t *memory;
    size_t bytes;
} buffers[MAX_BUFFERS];
static size_t n_buffers;

static void *read_file(const char *path, size_t *size) {
    FILE *const file = fopen(path, "rb");
    if (file == NULL) return NULL;
    const size_t room = (size_t)256 << 20;
    void *const bytes = malloc(room);
    *size = bytes != NULL ? fread(bytes, 1, room, file) : 0;
    (void)fclose(file);
    return bytes;
}

static void parse_axes(const char *text, uint32_t axes[3]) {
    for (unsigned axis = 0; axis < 3; axis++) {
        char *end = NULL;
        axes[axis] = *text != '\0' ? (uint32_t)strtoul(text, &end, 0) : 1;
        if (end != NULL) text = *end == ',' ? end + 1 : end;
    }
}

/* Puts one argument behind the others, naturally aligned; returns the new size. */
static size_t add_argument(uint8_t *arguments, size_t used, const char *text) {
    uint64_t value = strtoull(text, NULL, 0);
    size_t size = text[strlen(text) - 1] == 'l' ? sizeof(uint64_t) : sizeof(uint32_t);
    if (strncmp(text, "buffer:", 7) == 0 && n_buffers < MAX_BUFFERS) {
        const size_t bytes = strtoull(text + 7, NULL, 0);
        uint8_t *const memory = emu_space_alloc(bytes, EMU_REGION_DEVICE);
        if (memory != NULL) memset(memory, 0, bytes);
        buffers[n_buffers].memory = memory;
        buffers[n_buffers++].bytes = memory != NULL ? bytes : 0;
        value = (uint64_t)(uintptr_t)memory;
        size = sizeof value;
    }
    used = (used + size - 1) / size * size;
    if (used + size > ARGUMENT_BYTES) return used;
    memcpy(arguments + used, &value, size);
    return used + size;
}

int main(int argc, char **argv) {
    static uint8_t arguments[ARGUMENT_BYTES];
    static struct emu_fault fault;
    struct emu_error error = {""};
    size_t size = 0, used = 0;
    if (argc < 5) {
        (void)fprintf(stderr,
                      "usage: emu_run FILE KERNEL GRID BLOCK [NUMBER|NUMBERl|buffer:BYTES]...\n");
        return 2;
    }
    void *const bytes = read_file(argv[1], &size);
    struct emu_code *const code = bytes != NULL ? emu_code_load(bytes, size, &error) : NULL;
    struct emu_request request = {.kernel = code != NULL ? emu_code_kernel(code, argv[2]) : NULL};
    if (request.kernel == NULL) {
        (void)fprintf(stderr, "emu_run: %s: %s\n", argv[1],
                      code == NULL ? error.text : "no such kernel");
        return 2;
    }
    parse_axes(argv[3], request.grid);
    parse_axes(argv[4], request.block);
    for (int k = 5; k < argc; k++) used = add_argument(arguments, used, argv[k]);
    request.arguments = arguments;
    request.argument_bytes = used;
    const int status = emu_machine_run(&request, &fault);
    uint64_t executed = 0;
    double seconds = 0;
    emu_machine_statistics(&executed, &seconds);
    if (status != 0) printf("fault: %s\n", fault.text);
    for (size_t k = 0; k < n_buffers; k++) {
        uint64_t sum = 0;
        for (size_t n = 0; n < buffers[k].bytes; n++) sum = sum * 31 + buffers[k].memory[n];
        printf("buffer %zu: %016" PRIx64 "\n", k, sum);
    }
    printf("%" PRIu64 " wave instructions in %.6f s: %.1f million/s\n", executed, seconds,
           (double)executed / seconds * 1e-6);
    emu_code_free(code);
    free(bytes);
    return status == 0 ? 0 : 1;
}
