/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launch: what the command processor does before the first wave runs.
 *
 * Registers at start are as LLVM's AMDGPU usage guide has them for gfx942 (architected flat scratch, packed work item ids):
 * user SGPRs in the kernel descriptor's order, preloaded kernel arguments, workgroup ids; v0 = x | y << 10 | z << 20.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "group.h"
#include "reference/memory.h"
#include "space.h"

enum {
    PACKET_BYTES = 64,
    PACKET_ROOM = 128,      /* the kernel arguments begin behind it */
    PRELOAD_PROLOGUE = 256, /* loads for firmware that does not preload: skipped */
    STACK_BYTES = 16384,    /* for kernels whose stack the compiler could not bound */
    MAX_WAVES_PER_SIMD = 8,
    SIMDS = 4,
    REGISTERS_PER_SIMD = 512,
    REGISTER_GRANULE = 8,
    MAX_LDS_GROUPS = 32
};

static uint64_t total_executed;
static double total_seconds;

__attribute__((format(printf, 2, 3))) static int refuse(struct emu_fault *fault, const char *format,
                                                        ...) {
    va_list arguments;
    va_start(arguments, format);
    fault->kind = EMU_BAD_LAUNCH;
    (void)vsnprintf(fault->text, sizeof fault->text, format, arguments);
    va_end(arguments);
    return -1;
}

static uint32_t up(uint32_t value, uint32_t granule) {
    return (value + granule - 1) / granule * granule;
}

uint32_t emu_machine_occupancy(const struct emu_kernel *kernel, uint32_t block_size,
                               uint32_t dynamic_lds) {
    if (block_size == 0 || block_size > EMU_MAX_BLOCK) return 0;
    const uint32_t n_waves = (block_size + EMU_LANES - 1) / EMU_LANES;
    const uint32_t registers = up(kernel->n_vgprs + kernel->n_agprs, REGISTER_GRANULE);
    uint32_t per_simd = registers > 0 ? REGISTERS_PER_SIMD / registers : MAX_WAVES_PER_SIMD;
    if (per_simd > MAX_WAVES_PER_SIMD) per_simd = MAX_WAVES_PER_SIMD;
    const uint32_t by_waves = per_simd * SIMDS / n_waves;
    const uint64_t lds = (uint64_t)kernel->lds_bytes + dynamic_lds;
    if (lds > EMU_LDS_BYTES) return 0;
    const uint32_t by_lds = lds > 0 ? (uint32_t)(EMU_LDS_BYTES / lds) : MAX_LDS_GROUPS;
    return by_waves < by_lds ? by_waves : by_lds;
}

static int check(const struct emu_request *q, struct emu_fault *fault) {
    const struct emu_kernel *const kernel = q->kernel;
    uint64_t items = 1, groups = 1;
    if (emu_options_error() != NULL) return refuse(fault, "%s", emu_options_error());
    for (unsigned axis = 0; axis < 3; axis++) {
        if (q->grid[axis] == 0 || q->block[axis] == 0 || q->block[axis] > EMU_MAX_BLOCK ||
            (uint64_t)q->grid[axis] * q->block[axis] > UINT32_MAX)
            return refuse(fault,
                          "kernel %s: grid (%u, %u, %u) of blocks (%u, %u, %u) is outside the "
                          "device's limits: 1 to 2^32 - 1 threads along each axis, 1024 in a block",
                          kernel->name, q->grid[0], q->grid[1], q->grid[2], q->block[0],
                          q->block[1], q->block[2]);
        items *= q->block[axis];
        if (groups > UINT32_MAX) return refuse(fault, "the grid has more than 2^63 blocks");
        groups *= q->grid[axis];
    }
    const uint32_t limit = kernel->max_workgroup > 0 && kernel->max_workgroup < EMU_MAX_BLOCK
                               ? kernel->max_workgroup
                               : EMU_MAX_BLOCK;
    if (items > limit)
        return refuse(fault, "kernel %s takes blocks of %u threads at most, not %" PRIu64,
                      kernel->name, limit, items);
    if ((uint64_t)kernel->lds_bytes + q->dynamic_lds > EMU_LDS_BYTES)
        return refuse(fault, "kernel %s asks for %" PRIu64 " bytes of LDS; a workgroup has 65536",
                      kernel->name, (uint64_t)kernel->lds_bytes + q->dynamic_lds);
    if (kernel->n_vgprs > EMU_AGPR || kernel->n_agprs > EMU_AGPR || kernel->n_vgprs == 0)
        return refuse(fault, "kernel %s has %u vector and %u accumulation registers, not 1 to 256",
                      kernel->name, kernel->n_vgprs, kernel->n_agprs);
    if (emu_machine_occupancy(kernel, (uint32_t)items, q->dynamic_lds) == 0)
        return refuse(fault,
                      "kernel %s: a compute unit has too few registers for %" PRIu64
                      " threads with %u each",
                      kernel->name, items, kernel->n_vgprs + kernel->n_agprs);
    return 0;
}

/* ---- kernel arguments and the dispatch packet ---- */

static uint64_t hidden_value(const struct emu_request *q, enum emu_argument_kind kind) {
    const unsigned x = 0, y = 1, z = 2;
    switch (kind) {
    case EMU_ARG_BLOCK_COUNT_X: return q->grid[x];
    case EMU_ARG_BLOCK_COUNT_Y: return q->grid[y];
    case EMU_ARG_BLOCK_COUNT_Z: return q->grid[z];
    case EMU_ARG_GROUP_SIZE_X: return q->block[x];
    case EMU_ARG_GROUP_SIZE_Y: return q->block[y];
    case EMU_ARG_GROUP_SIZE_Z: return q->block[z];
    case EMU_ARG_GRID_DIMS:
        return q->grid[z] * q->block[z] > 1 ? 3 : q->grid[y] * q->block[y] > 1 ? 2 : 1;
    case EMU_ARG_DYNAMIC_LDS_SIZE: return q->dynamic_lds;
    case EMU_ARG_PRIVATE_BASE: return EMU_PRIVATE_APERTURE >> 32;
    case EMU_ARG_SHARED_BASE: return EMU_SHARED_APERTURE >> 32;
    default: return 0; /* remainders and offsets too: HIP's grids are whole and start at 0 */
    }
}

static int fill_arguments(uint8_t *kernarg, const struct emu_request *q, struct emu_fault *fault) {
    const struct emu_kernel *const kernel = q->kernel;
    const size_t bytes = kernel->kernarg_bytes;
    if (q->argument_bytes > 0)
        memcpy(kernarg, q->arguments, q->argument_bytes < bytes ? q->argument_bytes : bytes);
    for (size_t k = 0; k < kernel->n_arguments; k++) {
        const struct emu_argument *const a = &kernel->arguments[k];
        if ((size_t)a->offset + a->size > bytes)
            return refuse(fault, "kernel %s: argument %zu lies outside the %zu argument bytes",
                          kernel->name, k, bytes);
        if (a->kind == EMU_ARG_VALUE) continue;
        const uint64_t value = hidden_value(q, a->kind);
        memset(kernarg + a->offset, 0, a->size);
        memcpy(kernarg + a->offset, &value, a->size < sizeof value ? a->size : sizeof value);
    }
    return 0;
}

static void put16(uint8_t *to, uint32_t value) {
    const uint16_t word = (uint16_t)value;
    memcpy(to, &word, sizeof word);
}

static void put32(uint8_t *to, uint32_t value) { memcpy(to, &value, sizeof value); }

static void put64(uint8_t *to, uint64_t value) { memcpy(to, &value, sizeof value); }

/* hsa_kernel_dispatch_packet_t. */
static void fill_packet(uint8_t *packet, const struct emu_request *q, const uint8_t *kernarg) {
    const uint64_t dimensions = hidden_value(q, EMU_ARG_GRID_DIMS);
    put16(packet, 2); /* a kernel dispatch */
    put16(packet + 2, (uint32_t)dimensions);
    for (unsigned axis = 0; axis < 3; axis++) {
        put16(packet + 4 + 2 * axis, q->block[axis]);
        put32(packet + 12 + 4 * axis, q->grid[axis] * q->block[axis]);
    }
    put32(packet + 24, q->kernel->scratch_bytes);
    put32(packet + 28, q->kernel->lds_bytes + q->dynamic_lds);
    put64(packet + 40, (uint64_t)(uintptr_t)kernarg);
}

/* ---- registers at start ---- */

struct sgprs {
    struct emu_start *start;
    uint32_t next;
};

static void give(struct sgprs *s, uint32_t value) {
    if (s->next >= EMU_FLAT_SCRATCH) return;
    s->start->s[s->next] = value;
    s->start->s_defined[s->next++] = UINT32_MAX;
}

static void give64(struct sgprs *s, uint64_t value) {
    give(s, (uint32_t)value);
    give(s, (uint32_t)(value >> 32));
}

static void fill_user_sgprs(struct sgprs *s, const struct emu_launch *launch) {
    const struct emu_kernel *const kernel = launch->kernel;
    if (kernel->private_segment_buffer) give64(s, 0), give64(s, 0);
    if (kernel->dispatch_ptr) give64(s, (uint64_t)(uintptr_t)launch->packet);
    if (kernel->queue_ptr) give64(s, 0);
    if (kernel->kernarg_ptr) give64(s, (uint64_t)(uintptr_t)launch->kernarg);
    if (kernel->dispatch_id) give64(s, 0);
    if (kernel->flat_scratch_init) give64(s, 0);
    if (kernel->private_segment_size) give(s, kernel->scratch_bytes);
    for (uint32_t k = 0; k < kernel->preload_length; k++) {
        const size_t at = ((size_t)kernel->preload_offset + k) * sizeof(uint32_t);
        uint32_t word = 0;
        if (at + sizeof word <= launch->kernarg_bytes)
            memcpy(&word, launch->kernarg + at, sizeof word);
        give(s, word);
    }
}

static void fill_sgprs(struct emu_start *start) {
    const struct emu_kernel *const kernel = start->launch->kernel;
    const uint32_t unset = start->launch->tracked ? 0 : UINT32_MAX;
    for (unsigned reg = 0; reg < EMU_SREGS; reg++) {
        start->s[reg] = 0xa5a5a5a5;
        start->s_defined[reg] = unset;
    }
    struct sgprs s = {start, 0};
    fill_user_sgprs(&s, start->launch);
    if (s.next < kernel->n_user_sgprs) s.next = kernel->n_user_sgprs;
    for (unsigned axis = 0; axis < 3; axis++) {
        start->group_id_sreg[axis] = kernel->workgroup_id[axis] ? s.next : EMU_SREGS;
        if (kernel->workgroup_id[axis]) give(&s, 0);
    }
    if (kernel->workgroup_info) give(&s, start->n_waves);
    const unsigned fixed[] = {EMU_FLAT_SCRATCH, EMU_FLAT_SCRATCH + 1, EMU_EXEC, EMU_EXEC + 1};
    for (unsigned k = 0; k < 4; k++) start->s_defined[fixed[k]] = UINT32_MAX;
    start->s[EMU_FLAT_SCRATCH] = (uint32_t)EMU_PRIVATE_APERTURE;
    start->s[EMU_FLAT_SCRATCH + 1] = EMU_PRIVATE_APERTURE >> 32;
}

static void fill_items(struct emu_start *start) {
    const struct emu_launch *const launch = start->launch;
    const uint32_t *const block = launch->block;
    const uint32_t n_items = block[0] * block[1] * block[2];
    const uint8_t axes = launch->kernel->workitem_ids;
    for (uint32_t k = 0; k < start->n_waves; k++) {
        start->exec[k] = 0;
        for (uint32_t lane = 0; lane < EMU_LANES; lane++) {
            const uint32_t item = k * EMU_LANES + lane;
            const uint32_t y = axes >= 1 ? item / block[0] % block[1] : 0;
            const uint32_t z = axes >= 2 ? item / block[0] / block[1] : 0;
            if (item < n_items) start->exec[k] |= UINT64_C(1) << lane;
            start->items[k][lane] = item < n_items ? item % block[0] | y << 10 | z << 20 : 0;
        }
    }
}

static int find_entry(struct emu_start *start, struct emu_fault *fault) {
    const struct emu_kernel *const kernel = start->launch->kernel;
    struct emu_error error = {""};
    const uint64_t skip = kernel->preload_length > 0 ? PRELOAD_PROLOGUE : 0;
    start->entry = emu_code_at(kernel->code, kernel->entry + skip, &error);
    if (start->entry != NULL) return emu_verify_registers(kernel, start->entry, fault);
    fault->kind = EMU_BAD_CODE;
    (void)snprintf(fault->text, sizeof fault->text, "kernel %s cannot be run: %s", kernel->name,
                   error.text);
    return -1;
}

/* ---- the launch ---- */

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void count(const struct emu_launch *launch, double seconds) {
#pragma omp atomic
    total_executed += launch->executed;
#pragma omp atomic
    total_seconds += seconds;
    if (emu_options()->stats)
        (void)fprintf(stderr,
                      "%s grid (%u, %u, %u) block (%u, %u, %u): %" PRIu64
                      " wave instructions in %.6f s, %.1f million/s\n",
                      launch->kernel->name, launch->grid[0], launch->grid[1], launch->grid[2],
                      launch->block[0], launch->block[1], launch->block[2], launch->executed,
                      seconds, (double)launch->executed / seconds * 1e-6);
}

void emu_machine_statistics(uint64_t *wave_instructions, double *seconds) {
#pragma omp atomic read
    *wave_instructions = total_executed;
#pragma omp atomic read
    *seconds = total_seconds;
}

static int run(struct emu_start *start, const struct emu_request *q, struct emu_fault *fault) {
    struct emu_launch *const launch = start->launch;
    const struct emu_options *const options = emu_options();
    if (find_entry(start, fault) != 0) return -1;
    fill_sgprs(start);
    fill_items(start);
    const bool observed = options->trace || options->coverage != NULL;
    start->run = observed ? emu_run_observed : launch->tracked ? emu_run_checked : emu_run_plain;
    const uint32_t block = q->block[0] * q->block[1] * q->block[2];
    const uint32_t occupancy = emu_machine_occupancy(q->kernel, block, q->dynamic_lds);
    const double begin = now();
    emu_schedule(start, (uint64_t)q->grid[0] * q->grid[1] * q->grid[2],
                 (uint64_t)EMU_DEVICE_UNITS * occupancy);
    count(launch, now() - begin);
    if (observed) emu_observe_end();
    *fault = launch->fault;
    return fault->kind == EMU_NO_FAULT ? 0 : -1;
}

int emu_machine_run(const struct emu_request *request, struct emu_fault *fault) {
    const struct emu_kernel *const kernel = request->kernel;
    *fault = (struct emu_fault){.kind = EMU_NO_FAULT};
    if (check(request, fault) != 0) return -1;
    uint8_t *const memory = dsv4_alloc(PACKET_ROOM + kernel->kernarg_bytes + PACKET_ROOM);
    uint8_t *const kernarg = memory + PACKET_ROOM;
    struct emu_launch launch = {
        .kernel = kernel,
        .grid = {request->grid[0],  request->grid[1],  request->grid[2] },
        .block = {request->block[0], request->block[1], request->block[2]},
        .lds_bytes = kernel->lds_bytes + request->dynamic_lds,
        .kernarg = kernarg,
        .kernarg_bytes = kernel->kernarg_bytes,
        .packet = memory,
        .step_budget = emu_options()->step_budget,
        .tracked = emu_options()->uninitialised,
    };
    struct emu_start start = {.launch = &launch};
    start.n_waves =
        (request->block[0] * request->block[1] * request->block[2] + EMU_LANES - 1) / EMU_LANES;
    start.scratch_bytes =
        up(kernel->scratch_bytes, 4) + (kernel->dynamic_stack ? (uint32_t)STACK_BYTES : 0);
    int status = fill_arguments(kernarg, request, fault);
    if (status != 0) goto done;
    fill_packet(memory, request, kernarg);
    if (kernel->kernarg_bytes > 0)
        emu_space_add(kernarg, kernel->kernarg_bytes, EMU_REGION_KERNARG, false,
                      "kernel arguments");
    if (kernel->dispatch_ptr)
        emu_space_add(memory, PACKET_BYTES, EMU_REGION_KERNARG, false, "dispatch packet");
    status = run(&start, request, fault);
    if (kernel->kernarg_bytes > 0) (void)emu_space_remove(kernarg);
    if (kernel->dispatch_ptr) (void)emu_space_remove(memory);
done:
    dsv4_free(memory);
    return status;
}
