/* SPDX-License-Identifier: Apache-2.0 */
/* Host side of the launchers: reading a call, choosing grids, reporting. */
#ifndef DSV4_CALL_H
#define DSV4_CALL_H

#include <stdarg.h>
#include <stdio.h>

#include "../../harness/include/dsv4_plugin.h"
#include "../../reference/layout/kv_page.h"
#include "gpu.h"

enum { CALL_THREADS = 256, CALL_TEAMS = CALL_THREADS / TEAM };
/* Blocks that keep a large GPU busy; grids below that trade throughput for latency. */
#ifndef GPU_BUSY_BLOCKS
#define GPU_BUSY_BLOCKS 1024
#endif

struct call_why {
    char *text;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static inline int call_unsupported(struct call_why why,
                                                                         const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (why.size > 0) vsnprintf(why.text, why.size, format, args);
    va_end(args);
    return DSV4_UNSUPPORTED;
}

static inline bool call_absent(const dsv4_tensor *t) { return t == NULL || t->ndim == 0; }

/* Whether the tensor is there with this dtype and rank and a contiguous innermost dimension. */
static inline bool call_has(const dsv4_tensor *t, uint32_t dtype, int ndim) {
    if (call_absent(t) || t->dtype != dtype || t->ndim != ndim) return false;
    const int64_t bytes = (int64_t)(dtype >> 8 & 0xFF) / 8;
    return t->shape[ndim - 1] <= 1 || t->stride[ndim - 1] == bytes;
}

/* Whether base and outer strides are multiples of `bytes`. Holds for NULL data. */
static inline bool call_aligned(const dsv4_tensor *t, int64_t bytes) {
    if ((uintptr_t)t->data % (uintptr_t)bytes != 0) return false;
    for (int i = 0; i + 1 < t->ndim; i++)
        if (t->shape[i] > 1 && t->stride[i] % bytes != 0) return false;
    return true;
}

#define CALL_NEED(call, name, dtype, ndim, why)                                                    \
    do {                                                                                           \
        if (!call_has(dsv4_find(call, name), dtype, ndim))                                         \
            return call_unsupported(why,                                                           \
                                    "%s: not a %d-dimensional contiguous-row tensor of the "       \
                                    "dtype that these kernels take",                               \
                                    name, ndim);                                                   \
    } while (0)

#define CALL_NEED_ALIGNED(call, name, bytes, why)                                                  \
    do {                                                                                           \
        if (!call_aligned(dsv4_find(call, name), bytes))                                           \
            return call_unsupported(why, "%s: base or strides are not multiples of %d bytes",      \
                                    name, (int)(bytes));                                           \
    } while (0)

static inline struct gpu_divisor call_divisor(int64_t value) {
    struct gpu_divisor d = {value, -1};
    for (int shift = 0; shift < 62; shift++)
        if (value == INT64_C(1) << shift) d.shift = shift;
    return d;
}

static inline int64_t call_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t call_ceil(int64_t n, int64_t d) { return (n + d - 1) / d; }

/* Rows that slot_mapping covers. */
static inline int64_t call_covered(const dsv4_call *call, int64_t rows) {
    return call_min(dsv4_find(call, "slot_mapping")->shape[0], rows);
}

/* Tokens per block: as many as `most`, fewer while that leaves the GPU idle. */
static inline int call_group(int64_t rows, int64_t blocks_per_group, int least, int most) {
    int group = most;
    while (group > least && call_ceil(rows, group) * blocks_per_group < GPU_BUSY_BLOCKS) group /= 2;
    return group;
}

static inline int call_grid(dim3 *grid, int64_t blocks, struct call_why why) {
    if (blocks > INT32_MAX)
        return call_unsupported(why, "%lld blocks: more than one launch can have",
                                (long long)blocks);
    *grid = dim3((uint32_t)blocks);
    return DSV4_OK;
}

static inline int call_launched(struct call_why why) {
    const gpu_error error = gpu_last_error();
    if (error == GPU_SUCCESS) return DSV4_OK;
    if (why.size > 0)
        snprintf(why.text, why.size, "kernel launch failed: %s", gpu_error_text(error));
    return DSV4_ERROR;
}

/* The entry points of one op, which the table in plugin.inl names. */
#define CALL_ENTRY_POINTS(op)                                                                      \
    extern "C" int dsv4_gpu_##op##_supports(const dsv4_call *call, char *text, size_t size) {      \
        return supports(call, {text, size});                                                       \
    }                                                                                              \
    extern "C" int dsv4_gpu_##op##_run(const dsv4_call *call, char *text, size_t size) {           \
        const struct call_why why = {text, size};                                                  \
        const int status = supports(call, why);                                                    \
        return status == DSV4_OK ? run(call, why) : status;                                        \
    }

#endif
