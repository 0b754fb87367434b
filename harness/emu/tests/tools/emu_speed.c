/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: emu_speed KERNELS.co
 * What `make bench-emu` prints: executed wave instructions per second of ALU-heavy code with one and two threads, the time
 * of a vector add of a million floats, and FP8 matrix instructions per second. Best of five runs each.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../code.h"
#include "../../machine.h"
#include "../../space.h"

enum {
    RUNS = 5,
    MILLION = 1 << 20,
    GROUP = 256,
    GROUPS = 64,
    ALU_LOOPS = 500,
    MATRIX_LOOPS = 2000
};

/* With one thread the processor's time, which others on the machine do not lengthen. */
static double now(void) {
    struct timespec t;
    clock_gettime(omp_get_max_threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct emu_code *load(const char *path) {
    struct emu_error error = {0};
    FILE *const file = fopen(path, "rb");
    const size_t room = (size_t)16 << 20;
    void *const bytes = malloc(room);
    if (file == NULL || bytes == NULL) return NULL;
    const size_t size = fread(bytes, 1, room, file);
    (void)fclose(file);
    struct emu_code *const code = emu_code_load(bytes, size, &error);
    if (code == NULL) fprintf(stderr, "emu_speed: %s\n", error.text);
    free(bytes);
    return code;
}

/* Best seconds of one launch; instructions: those of one launch. */
static double measure(struct emu_code *code, const char *name, uint32_t groups,
                      const void *arguments, size_t bytes, uint64_t *instructions) {
    static struct emu_fault fault;
    const struct emu_request request = {
        .kernel = emu_code_kernel(code, name),
        .grid = {groups, 1, 1},
        .block = {GROUP,  1, 1},
        .arguments = arguments,
        .argument_bytes = bytes
    };
    double best = 1e9, total;
    if (request.kernel == NULL) {
        fprintf(stderr, "emu_speed: there is no kernel %s\n", name);
        exit(1);
    }
    for (int run = 0; run < RUNS; run++) {
        uint64_t before, after;
        emu_machine_statistics(&before, &total);
        const double start = now();
        if (emu_machine_run(&request, &fault) != 0) {
            fprintf(stderr, "emu_speed: %s\n", fault.text);
            exit(1);
        }
        const double seconds = now() - start;
        emu_machine_statistics(&after, &total);
        *instructions = after - before;
        if (seconds < best) best = seconds;
    }
    return best;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: emu_speed KERNELS.co\n");
        return 2;
    }
    struct emu_code *const code = load(argv[1]);
    if (code == NULL) return 1;
    float *const a = emu_space_alloc(MILLION * sizeof *a, EMU_REGION_DEVICE);
    float *const b = emu_space_alloc(MILLION * sizeof *b, EMU_REGION_DEVICE);
    float *const c = emu_space_alloc(MILLION * sizeof *c, EMU_REGION_DEVICE);
    if (a == NULL || b == NULL || c == NULL) return 1;
    for (size_t i = 0; i < MILLION; i++) a[i] = b[i] = (float)i;
    float *const x = emu_space_alloc(GROUPS * GROUP * sizeof *x, EMU_REGION_DEVICE);
    if (x == NULL) return 1;
    for (size_t i = 0; i < GROUPS * GROUP; i++) x[i] = (float)i;
    memset(c, 0, MILLION * sizeof *c);
    const struct {
        float *x;
        int loops;
    } alu = {x, ALU_LOOPS}, matrix = {x, MATRIX_LOOPS};
    uint64_t n;
    const int threads = omp_get_max_threads();
    for (int t = 1; t <= 2; t++) {
        omp_set_num_threads(t);
        const double s = measure(code, "speed_alu", GROUPS, &alu, sizeof alu, &n);
        printf("ALU, %d thread%s       %8.1f million wave instructions/s   (20 or more with 2)\n",
               t, t > 1 ? "s" : " ", (double)n / s * 1e-6);
    }
    omp_set_num_threads(threads);
    const void *const vectors[] = {a, b, c};
    const double add = measure(code, "speed_add", MILLION / GROUP, vectors, sizeof vectors, &n);
    printf("add of 1M floats     %8.4f s, %.1f million wave instructions/s   (0.16 s or less)\n",
           add, (double)n / add * 1e-6);
    const double matrices = 2.0 * (GROUP / 64) * 8 * MATRIX_LOOPS;
    for (int t = 1; t <= 2; t++) {
        omp_set_num_threads(t);
        const double s = measure(code, "speed_matrix", 2, &matrix, sizeof matrix, &n);
        printf("FP8 MFMA, %d thread%s  %8.0f per second   (116000 or more with 2)\n", t,
               t > 1 ? "s" : " ", matrices / s);
    }
    for (size_t i = 0; i < MILLION; i++)
        if (c[i] < 2 * (float)i || c[i] > 2 * (float)i) {
            fprintf(stderr, "emu_speed: the sum is wrong at %zu\n", i);
            return 1;
        }
    emu_code_free(code);
    return 0;
}
