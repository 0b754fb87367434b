/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim of gpu.h on the CPU: every lane of a block is a fiber, exchanges of a team and barriers of a block are
 * where fibers change. Slow, deterministic, and strict: a team whose lanes take different ways to an exchange, or a
 * block that does so to a barrier, stops with a message. Conversions are the integer code of num.inl.
 */
#ifndef DSV4_GPU_EMULATED_H
#define DSV4_GPU_EMULATED_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define GPU_DEVICE_NAME "cpu"
#define GPU_PLUGIN_NAME "emulated"
#define GPU_DEVICE __attribute__((unused)) static inline
#define GPU_HOST_DEVICE GPU_DEVICE
#define GPU_UNROLL
#define GPU_NO_UNROLL
#define __global__ static
#define __shared__ static /* blocks run one after the other */
#define __launch_bounds__(...)

struct gpu_u2 {
    uint32_t x, y;
} __attribute__((aligned(8)));
struct gpu_u4 {
    uint32_t x, y, z, w;
} __attribute__((aligned(16)));
struct gpu_f2 {
    float x, y;
} __attribute__((aligned(8)));
struct gpu_f4 {
    float x, y, z, w;
} __attribute__((aligned(16)));
typedef void *gpu_stream;
typedef int gpu_error;
struct dim3 {
    uint32_t x;
    dim3(uint32_t x_ = 1) : x(x_) {}
};

static inline gpu_error gpu_last_error(void) { return 0; }
static inline const char *gpu_error_text(gpu_error) { return "out of memory"; }
template <typename T> static gpu_error gpu_malloc(T **pointer, size_t bytes) {
    *pointer = (T *)malloc(bytes);
    return *pointer == NULL;
}
static inline gpu_error gpu_free(void *pointer) {
    free(pointer);
    return 0;
}
static inline gpu_error gpu_copy_back(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return 0;
}

/* ---- fibers ---- */

enum { EMULATED_LANES = 1024, EMULATED_TEAM = 32, EMULATED_STACK = 1 << 16 };

struct emulated_block {
    ucontext_t scheduler, fibers[EMULATED_LANES];
    char *stacks;
    bool done[EMULATED_LANES];
    /* What each lane waits for: the number of meetings it has come to, of its team and of its block. */
    int64_t team_meetings[EMULATED_LANES], block_meetings[EMULATED_LANES];
    uint32_t values[2][EMULATED_LANES]; /* by turns, so that one meeting per exchange is enough */
    int lanes;
    void (*body)(const void *args);
    const void *args;
};

static struct emulated_block emulated;
static uint32_t emulated_thread;
static int64_t emulated_index;

__attribute__((noreturn)) static inline void emulated_stop(const char *what) {
    fprintf(stderr, "emulated GPU: block %lld: %s\n", (long long)emulated_index, what);
    abort();
}

static inline void emulated_yield(void) {
    const uint32_t me = emulated_thread;
    swapcontext(&emulated.fibers[me], &emulated.scheduler);
    emulated_thread = me;
}

/* Waits until lanes begin .. end - 1 have come to as many meetings as this one. */
static inline void emulated_meet(int64_t *meetings, int begin, int end, const char *diverged) {
    const int64_t mine = ++meetings[emulated_thread];
    for (int lane = begin; lane < end; lane++)
        while (meetings[lane] < mine) {
            if (emulated.done[lane]) emulated_stop(diverged);
            emulated_yield();
        }
}

static inline uint32_t emulated_exchange(uint32_t value, int from) {
    const uint32_t me = emulated_thread;
    const int begin = (int)me / EMULATED_TEAM * EMULATED_TEAM;
    const int turn = (int)(emulated.team_meetings[me] & 1);
    emulated.values[turn][me] = value;
    emulated_meet(emulated.team_meetings, begin, begin + EMULATED_TEAM,
                  "a lane left while its team exchanges values");
    return from < 0 ? 0 : emulated.values[turn][begin + from];
}

static void emulated_fiber(void) {
    emulated.body(emulated.args);
    emulated.done[emulated_thread] = true;
    swapcontext(&emulated.fibers[emulated_thread], &emulated.scheduler);
}

static inline void emulated_start(int lane) {
    ucontext_t *const fiber = &emulated.fibers[lane];
    getcontext(fiber);
    fiber->uc_stack.ss_sp = emulated.stacks + (size_t)lane * EMULATED_STACK;
    fiber->uc_stack.ss_size = EMULATED_STACK;
    fiber->uc_link = NULL;
    makecontext(fiber, emulated_fiber, 0);
    emulated.done[lane] = false;
    emulated.team_meetings[lane] = emulated.block_meetings[lane] = 0;
}

static inline void emulated_run_block(void) {
    int left = emulated.lanes;
    for (int lane = 0; lane < emulated.lanes; lane++) emulated_start(lane);
    while (left > 0)
        for (int lane = 0; lane < emulated.lanes; lane++) {
            if (emulated.done[lane]) continue;
            emulated_thread = (uint32_t)lane;
            swapcontext(&emulated.scheduler, &emulated.fibers[lane]);
            left -= emulated.done[lane];
        }
}

template <typename Args> struct emulated_call {
    void (*kernel)(Args);
    const Args *args;
    static void body(const void *call) {
        const emulated_call *const c = (const emulated_call *)call;
        c->kernel(*c->args);
    }
};

template <typename Args>
static void emulated_launch(void (*kernel)(Args), uint32_t blocks, int lanes, const Args &args) {
    const struct emulated_call<Args> call = { kernel, &args };
    if (lanes > EMULATED_LANES) emulated_stop("more lanes than a block can have");
    emulated.lanes = lanes;
    emulated.body = emulated_call<Args>::body;
    emulated.args = &call;
    emulated.stacks = (char *)malloc((size_t)lanes * EMULATED_STACK);
    if (emulated.stacks == NULL) emulated_stop("no memory for its stacks");
    for (emulated_index = 0; emulated_index < (int64_t)blocks; emulated_index++)
        emulated_run_block();
    free(emulated.stacks);
}
#define GPU_LAUNCH(kernel, grid, threads, stream, args)                                            \
    ((void)(stream), emulated_launch(kernel, (grid).x, threads, args))

/* As much as an H200 has; the tiny GPU has as much as gfx9. */
#if defined(GPU_BUSY_BLOCKS) && GPU_BUSY_BLOCKS == 0
enum { GPU_SHARED_BYTES = 65536 };
#else
enum { GPU_SHARED_BYTES = 232448 };
#endif
#define GPU_SHARED(name) __attribute__((aligned(16))) static char name[GPU_SHARED_BYTES]
#define GPU_LAUNCH_SHARED(kernel, grid, threads, bytes, stream, args)                              \
    GPU_LAUNCH(kernel, grid, threads, stream, args)
static inline int64_t gpu_shared_limit(void) { return GPU_SHARED_BYTES; }
static inline int64_t gpu_multiprocessors(void) {
    return 3;
} /* so few that blocks go on from tile to tile */

/* ---- what kernels call ---- */

static inline uint32_t gpu_thread(void) { return emulated_thread; }
static inline int64_t gpu_block(void) { return emulated_index; }
static inline void gpu_barrier(void) {
    emulated_meet(emulated.block_meetings, 0, emulated.lanes,
                  "a lane left while its block is at a barrier");
}

template <int N> static inline void gpu_barrier_of(void) {
    emulated_meet(emulated.block_meetings, 0, N, "a lane left while others are at a barrier");
}

#define team_xor_u32(x, mask)                                                                      \
    emulated_exchange((uint32_t)(x), (int)(emulated_thread % EMULATED_TEAM) ^ (mask))
static inline uint32_t team_read_u32(uint32_t x, int lane) { return emulated_exchange(x, lane); }

/* What the lanes of this one's team brought to the meeting that it has just left. */
static inline const uint32_t *emulated_gather(uint32_t value) {
    emulated_exchange(value, -1);
    const int turn = (int)(~emulated.team_meetings[emulated_thread] & 1);
    return &emulated.values[turn][emulated_thread / EMULATED_TEAM * EMULATED_TEAM];
}

static inline void team_barrier(void) { emulated_exchange(0, -1); }

static inline uint32_t team_ballot(bool yes) {
    const uint32_t *const lanes = emulated_gather(yes);
    uint32_t mask = 0;
    for (int lane = 0; lane < EMULATED_TEAM; lane++) mask |= (lanes[lane] & 1u) << lane;
    return mask;
}

static inline uint32_t team_max_u32(uint32_t x) {
    const uint32_t *const lanes = emulated_gather(x);
    uint32_t most = 0;
    for (int lane = 0; lane < EMULATED_TEAM; lane++) most = lanes[lane] > most ? lanes[lane] : most;
    return most;
}

static inline float gpu_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float gpu_max(float a, float b) { return __builtin_fmaxf(a, b); }
static inline float gpu_min(float a, float b) { return __builtin_fminf(a, b); }
static inline float gpu_abs(float x) { return __builtin_fabsf(x); }
static inline float gpu_divide_float(float a, float b) { return a / b; }
static inline int gpu_lowest_bit(uint32_t mask) { return mask == 0 ? -1 : __builtin_ctz(mask); }

#endif
