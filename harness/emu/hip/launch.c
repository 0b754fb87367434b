/* SPDX-License-Identifier: Apache-2.0 */
/* Launches. A cooperative one must fit on the device as a whole; a barrier of the grid by GWS is not emulated. */
#include <string.h>

#include "../../../reference/memory.h"
#include "../machine.h"
#include "hip.h"

int emu_launch_check(const struct emu_launch_op *launch) {
    const struct emu_kernel *kernel = NULL;
    const uint32_t *const block = launch->block, *const grid = launch->grid;
    if (launch->function == NULL) return hipErrorInvalidDeviceFunction;
    const int error = emu_function_kernel(launch->function, &kernel);
    if (error != hipSuccess) return error;
    for (int i = 0; i < 3; i++) {
        if (grid[i] == 0 || block[i] == 0)
            return emu_explain(hipErrorInvalidConfiguration,
                               "%s: a grid of %u x %u x %u, blocks of %u x %u x %u", kernel->name,
                               grid[0], grid[1], grid[2], block[0], block[1], block[2]);
        if (block[i] > EMU_MAX_BLOCK || (uint64_t)grid[i] * block[i] > UINT32_MAX)
            return emu_explain(hipErrorInvalidConfiguration, "%s: dimension %d: %u blocks of %u",
                               kernel->name, i, grid[i], block[i]);
    }
    const uint64_t threads = (uint64_t)block[0] * block[1] * block[2];
    if (threads > EMU_MAX_BLOCK)
        return emu_explain(hipErrorInvalidConfiguration,
                           "%s: a block of %u threads, %d are possible", kernel->name,
                           (unsigned)threads, EMU_MAX_BLOCK);
    if (kernel->max_workgroup != 0 && threads > kernel->max_workgroup)
        return emu_explain(hipErrorLaunchFailure,
                           "%s: a block of %u threads, its launch bounds say %u", kernel->name,
                           (unsigned)threads, kernel->max_workgroup);
    if (launch->dynamic_lds > EMU_LDS_BYTES ||
        kernel->lds_bytes + launch->dynamic_lds > EMU_LDS_BYTES)
        return emu_explain(hipErrorInvalidValue,
                           "%s: %u bytes of static and %u of dynamic LDS, %d are there",
                           kernel->name, kernel->lds_bytes, launch->dynamic_lds, EMU_LDS_BYTES);
    const int fit = emu_occupancy(launch->function, (int)threads, launch->dynamic_lds);
    if (launch->cooperative &&
        (uint64_t)grid[0] * grid[1] * grid[2] > (uint64_t)fit * EMU_COMPUTE_UNITS)
        return hipErrorCooperativeLaunchTooLarge;
    return hipSuccess;
}

int emu_launch_run(const struct emu_launch_op *launch) {
    struct emu_request request = {.dynamic_lds = launch->dynamic_lds,
                                  .arguments = launch->arguments,
                                  .argument_bytes = launch->bytes};
    struct emu_fault fault = {EMU_NO_FAULT, ""};
    const int error = emu_function_kernel(launch->function, &request.kernel);
    if (error != hipSuccess) return error;
    memcpy(request.grid, launch->grid, sizeof request.grid);
    memcpy(request.block, launch->block, sizeof request.block);
    if (launch->start != NULL) emu_event_stamp(launch->start);
    if (emu_machine_run(&request, &fault) != 0) return emu_faulted(&fault);
    if (launch->stop != NULL) emu_event_stamp(launch->stop);
    return hipSuccess;
}

/* HIP's `extra`: a list of keys and values, here always a buffer and its size. */
static int read_extra(void **extra, const void **buffer, size_t *bytes) {
    enum { END = 3, BUFFER = 1, SIZE = 2, MAX_KEYS = 8 };
    for (int i = 0; i < MAX_KEYS; i++, extra += 2) {
        const uintptr_t key = (uintptr_t)extra[0];
        if (key == END) return *buffer != NULL ? hipSuccess : hipErrorInvalidValue;
        if (key == BUFFER)
            *buffer = extra[1];
        else if (key == SIZE)
            *bytes = *(const size_t *)extra[1];
        else
            return hipErrorInvalidValue;
    }
    return hipErrorInvalidValue;
}

static size_t argument_bytes(const struct emu_kernel *kernel, size_t *n) {
    size_t bytes = 0;
    *n = 0;
    for (size_t i = 0; i < kernel->n_arguments; i++) {
        const struct emu_argument *const argument = &kernel->arguments[i];
        if (argument->kind != EMU_ARG_VALUE) continue;
        const size_t end = (size_t)argument->offset + argument->size;
        if (end > bytes) bytes = end;
        ++*n;
    }
    return bytes;
}

int emu_launch_bind(struct emu_launch_op *launch, const void *symbol, void **arguments,
                    void **extra) {
    const struct emu_kernel *kernel = NULL;
    const void *buffer = NULL;
    size_t buffer_bytes = 0, n = 0;
    launch->symbol = symbol;
    launch->function = emu_function_find(symbol);
    if (launch->function == NULL)
        return emu_explain(hipErrorInvalidDeviceFunction, "%p is no kernel that was registered",
                           symbol);
    int error = emu_function_kernel(launch->function, &kernel);
    if (error == hipSuccess && extra != NULL)
        error =
            arguments != NULL ? hipErrorInvalidValue : read_extra(extra, &buffer, &buffer_bytes);
    if (error != hipSuccess) return error;
    launch->bytes = argument_bytes(kernel, &n);
    if (extra == NULL && arguments == NULL && n > 0)
        return emu_explain(hipErrorInvalidValue, "%s: no arguments, it takes %zu", kernel->name, n);
    if (extra != NULL && buffer_bytes < launch->bytes)
        return emu_explain(hipErrorInvalidValue, "%s: arguments of %zu bytes, it takes %zu",
                           kernel->name, buffer_bytes, launch->bytes);
    launch->arguments = dsv4_alloc(launch->bytes);
    launch->pointers = dsv4_alloc(n * sizeof *launch->pointers);
    if (extra != NULL) memcpy(launch->arguments, buffer, launch->bytes);
    for (size_t i = 0; i < kernel->n_arguments; i++) {
        const struct emu_argument *const argument = &kernel->arguments[i];
        if (argument->kind != EMU_ARG_VALUE) continue;
        char *const to = (char *)launch->arguments + argument->offset;
        if (extra == NULL) memcpy(to, arguments[launch->n_pointers], argument->size);
        launch->pointers[launch->n_pointers++] = to;
    }
    return hipSuccess;
}

int emu_launch_from_params(struct emu_op *op, const struct emu_kernel_params *p) {
    *op = (struct emu_op){.kind = EMU_OP_KERNEL};
    if (p == NULL || p->function == NULL) return hipErrorInvalidValue;
    op->launch.dynamic_lds = p->dynamic_lds;
    memcpy(op->launch.grid, &p->grid, sizeof op->launch.grid);
    memcpy(op->launch.block, &p->block, sizeof op->launch.block);
    const int error = emu_launch_bind(&op->launch, p->function, p->arguments, p->extra);
    return error != hipSuccess ? error : emu_launch_check(&op->launch);
}

/* ---- the public functions ---- */

struct where {
    struct emu_dim3 grid, block;
    size_t dynamic_lds;
    void *stream;
    struct emu_event *start, *stop;
    bool cooperative;
};

static int launch(const void *symbol, struct where where, void **arguments, void **extra) {
    struct emu_op op = {.kind = EMU_OP_KERNEL};
    if (where.dynamic_lds > UINT32_MAX) return hipErrorInvalidValue;
    if ((where.start != NULL && !emu_event_live(where.start)) ||
        (where.stop != NULL && !emu_event_live(where.stop)))
        return hipErrorInvalidHandle;
    memcpy(op.launch.grid, &where.grid, sizeof op.launch.grid);
    memcpy(op.launch.block, &where.block, sizeof op.launch.block);
    op.launch.dynamic_lds = (uint32_t)where.dynamic_lds;
    op.launch.start = where.start;
    op.launch.stop = where.stop;
    op.launch.cooperative = where.cooperative;
    int error = emu_launch_bind(&op.launch, symbol, arguments, extra);
    if (error == hipSuccess) error = emu_submit(where.stream, &op);
    emu_op_free(&op);
    return error;
}

HIP(hipLaunchKernel, const void *symbol, struct emu_dim3 grid, struct emu_dim3 block,
    void **arguments, size_t dynamic_lds, void *stream) {
    const struct where where = {grid, block, dynamic_lds, stream, NULL, NULL, false};
    RETURN_WORK(launch(symbol, where, arguments, NULL));
}

HIP(hipLaunchCooperativeKernel, const void *symbol, struct emu_dim3 grid, struct emu_dim3 block,
    void **arguments, unsigned dynamic_lds, void *stream) {
    const struct where where = {grid, block, dynamic_lds, stream, NULL, NULL, true};
    RETURN_WORK(launch(symbol, where, arguments, NULL));
}

HIP(hipExtLaunchKernel, const void *symbol, struct emu_dim3 grid, struct emu_dim3 block,
    void **arguments, size_t dynamic_lds, void *stream, struct emu_event *start,
    struct emu_event *stop, int flags) {
    const struct where where = {grid, block, dynamic_lds, stream, start, stop, false};
    (void)flags; /* 1 permits any order */
    RETURN_WORK(launch(symbol, where, arguments, NULL));
}

struct launch_config {
    struct emu_dim3 grid, block;
    size_t dynamic_lds;
    void *stream, *attributes;
    unsigned n_attributes;
};

static int launch_config(const struct launch_config *config, const void *symbol, void **arguments) {
    if (config == NULL) return hipErrorInvalidConfiguration;
    if (config->n_attributes != 0)
        return emu_explain(hipErrorNotSupported,
                           "hipLaunchKernelExC: launch attributes are not emulated");
    const struct where where = {
        config->grid, config->block, config->dynamic_lds, config->stream, NULL, NULL, false};
    return launch(symbol, where, arguments, NULL);
}

HIP(hipLaunchKernelExC, const struct launch_config *config, const void *symbol, void **arguments) {
    RETURN_WORK(launch_config(config, symbol, arguments));
}

#define MODULE_LAUNCH                                                                              \
    struct emu_function *function, unsigned x, unsigned y, unsigned z, unsigned block_x,           \
        unsigned block_y, unsigned block_z, unsigned dynamic_lds, void *stream, void **arguments

static int module_launch(const struct emu_function *function, struct where where, void **arguments,
                         void **extra) {
    return emu_function_find(function) != function || function == NULL
               ? hipErrorInvalidHandle
               : launch(function, where, arguments, extra);
}

HIP(hipModuleLaunchKernel, MODULE_LAUNCH, void **extra) {
    const struct where where = {
        {x,       y,       z      },
        {block_x, block_y, block_z},
        dynamic_lds, stream, NULL, NULL, false
    };
    RETURN_WORK(module_launch(function, where, arguments, extra));
}

HIP(hipModuleLaunchCooperativeKernel, MODULE_LAUNCH) {
    const struct where where = {
        {x,       y,       z      },
        {block_x, block_y, block_z},
        dynamic_lds, stream, NULL, NULL, true
    };
    RETURN_WORK(module_launch(function, where, arguments, NULL));
}

/* Its grid counts threads. In C++ the function has a mangled name. */
#define EXT_LAUNCH                                                                                 \
    struct emu_function *function, uint32_t x, uint32_t y, uint32_t z, uint32_t block_x,           \
        uint32_t block_y, uint32_t block_z, size_t dynamic_lds, void *stream, void **arguments,    \
        void **extra, struct emu_event *start, struct emu_event *stop, uint32_t flags

HIP(hipExtModuleLaunchKernel, EXT_LAUNCH) {
    const bool whole = block_x != 0 && block_y != 0 && block_z != 0 && x % block_x == 0 &&
                       y % block_y == 0 && z % block_z == 0;
    struct where where = {
        {0,       0,       0      },
        {block_x, block_y, block_z},
        dynamic_lds, stream, start, stop, false
    };
    (void)flags;
    if (whole) where.grid = (struct emu_dim3){x / block_x, y / block_y, z / block_z};
    RETURN_WORK(whole ? module_launch(function, where, arguments, extra)
                      : emu_explain(hipErrorInvalidConfiguration,
                                    "the grid of %u x %u x %u threads is no multiple of its blocks",
                                    x, y, z));
}

HIP(_Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j,
    EXT_LAUNCH) {
    return hipExtModuleLaunchKernel(function, x, y, z, block_x, block_y, block_z, dynamic_lds,
                                    stream, arguments, extra, start, stop, flags);
}

/* ---- kernel<<<...>>>(...) ---- */

struct configuration {
    struct emu_dim3 grid, block;
    size_t dynamic_lds;
    void *stream;
};

enum { MAX_CONFIGURATIONS = 16 };
static _Thread_local struct configuration configurations[MAX_CONFIGURATIONS];
static _Thread_local int n_configurations;

HIP(__hipPushCallConfiguration, struct emu_dim3 grid, struct emu_dim3 block, size_t dynamic_lds,
    void *stream) {
    if (n_configurations == MAX_CONFIGURATIONS) RETURN(hipErrorMissingConfiguration);
    configurations[n_configurations++] = (struct configuration){grid, block, dynamic_lds, stream};
    return hipSuccess;
}

HIP(__hipPopCallConfiguration, struct emu_dim3 *grid, struct emu_dim3 *block, size_t *dynamic_lds,
    void **stream) {
    if (n_configurations == 0) RETURN(hipErrorMissingConfiguration);
    const struct configuration c = configurations[--n_configurations];
    *grid = c.grid;
    *block = c.block;
    *dynamic_lds = c.dynamic_lds;
    *stream = c.stream;
    return hipSuccess;
}
