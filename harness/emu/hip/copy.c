/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies and fills. A copy follows the pointers, as ROCm's does: what is known to the device must be live and large
 * enough; what is not is taken for pageable host memory, on one side, or on both if the caller says host to host.
 */
#include <string.h>
#include <sys/mman.h>

#include "../space.h"
#include "hip.h"

/* 1: device-accessible throughout; 0: not known; -1: known, but freed or too short. */
static int known(const void *memory, size_t bytes, const char *what) {
    struct emu_region region;
    uintptr_t at = (uintptr_t)memory;
    const uintptr_t end = at + bytes;
    if (!emu_space_find(at, &region)) return 0;
    if (end < at) return -1;
    while (at < end) {
        if (!emu_space_find(at, &region) || region.freed) {
            emu_explain(hipErrorInvalidValue, "%s: %zu bytes at %p, but %s%s %zu bytes on", what,
                        bytes, memory, region.name, region.freed ? " was freed" : " ends",
                        at - (uintptr_t)memory);
            return -1;
        }
        at = region.end;
    }
    return 1;
}

/* Bytes from the first to the last one that a pitched block covers. */
static size_t span(struct emu_extent extent, size_t pitch, size_t slice) {
    return (extent.depth - 1) * slice + (extent.height - 1) * pitch + extent.width;
}

static bool empty(struct emu_extent extent) {
    return extent.width == 0 || extent.height == 0 || extent.depth == 0;
}

int emu_copy_check(const struct emu_copy_op *copy) {
    if (copy->kind != EMU_DEVICE_TO_DEVICE_NO_CU &&
        (copy->kind < 0 || copy->kind > EMU_COPY_DEFAULT))
        return hipErrorInvalidMemcpyDirection;
    if (empty(copy->extent)) return hipSuccess;
    if (copy->to == NULL || copy->from == NULL) return hipErrorInvalidValue;
    const bool lines = copy->extent.height > 1 || copy->extent.depth > 1;
    if (lines && (copy->to_pitch < copy->extent.width || copy->from_pitch < copy->extent.width))
        return hipErrorInvalidPitchValue;
    const int to = known(copy->to, span(copy->extent, copy->to_pitch, copy->to_slice), "copy to");
    const int from =
        known(copy->from, span(copy->extent, copy->from_pitch, copy->from_slice), "copy from");
    if (to < 0 || from < 0) return hipErrorInvalidValue;
    if (to == 0 && from == 0 && copy->kind != EMU_HOST_TO_HOST && copy->kind != EMU_COPY_DEFAULT)
        return emu_explain(hipErrorInvalidValue,
                           "copy: neither %p nor %p is known to the device, the kind says %d",
                           (const void *)copy->to, (const void *)copy->from, copy->kind);
    return hipSuccess;
}

void emu_copy_run(const struct emu_copy_op *copy) {
    for (size_t z = 0; z < copy->extent.depth; z++)
        for (size_t y = 0; y < copy->extent.height; y++)
            memmove(copy->to + z * copy->to_slice + y * copy->to_pitch,
                    copy->from + z * copy->from_slice + y * copy->from_pitch, copy->extent.width);
}

int emu_copy_line(struct emu_op *op, void *to, const void *from, size_t bytes, int kind) {
    *op = (struct emu_op){.kind = EMU_OP_COPY};
    op->copy.to = to;
    op->copy.from = from;
    op->copy.extent = (struct emu_extent){bytes, 1, 1};
    op->copy.kind = kind;
    return emu_copy_check(&op->copy);
}

static int copy_2d(struct emu_op *op, void *to, size_t to_pitch, const void *from,
                   size_t from_pitch, size_t width, size_t height, int kind) {
    emu_copy_line(op, to, from, 0, kind);
    op->copy.extent = (struct emu_extent){width, height, 1};
    op->copy.to_pitch = to_pitch;
    op->copy.from_pitch = from_pitch;
    if (width > to_pitch || width > from_pitch) return hipErrorInvalidPitchValue;
    return emu_copy_check(&op->copy);
}

int emu_copy_from_params(struct emu_op *op, const struct emu_copy3d_params *p) {
    if (p == NULL || p->from_array != NULL || p->to_array != NULL) return hipErrorInvalidValue;
    if (!empty(p->extent) && (p->from.memory == NULL || p->to.memory == NULL))
        return hipErrorInvalidValue;
    emu_copy_line(op, p->to.memory, p->from.memory, 0, p->kind);
    struct emu_copy_op *const copy = &op->copy;
    copy->extent = p->extent;
    copy->to_pitch = p->to.pitch;
    copy->to_slice = p->to.pitch * p->to.height;
    copy->from_pitch = p->from.pitch;
    copy->from_slice = p->from.pitch * p->from.height;
    copy->to +=
        p->to_position.z * copy->to_slice + p->to_position.y * p->to.pitch + p->to_position.x;
    copy->from += p->from_position.z * copy->from_slice + p->from_position.y * p->from.pitch +
                  p->from_position.x;
    return emu_copy_check(copy);
}

/* ---- fills ---- */

int emu_fill_check(const struct emu_fill_op *fill) {
    if (fill->element != 1 && fill->element != 2 && fill->element != 4) return hipErrorInvalidValue;
    if (empty(fill->extent)) return hipSuccess;
    if (fill->to == NULL || (uintptr_t)fill->to % fill->element != 0) return hipErrorInvalidValue;
    struct emu_extent bytes = fill->extent;
    if (bytes.width > SIZE_MAX / fill->element) return hipErrorInvalidValue;
    bytes.width *= fill->element;
    if ((bytes.height > 1 || bytes.depth > 1) && fill->pitch < bytes.width)
        return hipErrorInvalidValue;
    const int to = known(fill->to, span(bytes, fill->pitch, fill->slice), "fill");
    if (to > 0) return hipSuccess;
    return to < 0 ? hipErrorInvalidValue
                  : emu_explain(hipErrorInvalidValue, "fill: %p is not known to the device",
                                (const void *)fill->to);
}

/* Large stretches of device memory become zero by giving their pages back: a sparse allocation stays sparse. */
static void clear(char *to, size_t n) {
    enum { PAGE = 4096, LARGE = 1 << 20 };
    struct emu_region region;
    const size_t head = (size_t)(-(uintptr_t)to % PAGE);
    if (n < LARGE || !emu_space_find((uintptr_t)to, &region) || region.kind != EMU_REGION_DEVICE ||
        (uintptr_t)to + n > region.end) {
        memset(to, 0, n);
        return;
    }
    const size_t pages = (n - head) / PAGE * PAGE;
    if (madvise(to + head, pages, MADV_DONTNEED) != 0) memset(to + head, 0, pages);
    memset(to, 0, head);
    memset(to + head + pages, 0, n - head - pages);
}

static void fill_line(char *to, size_t n, uint32_t element, uint32_t value) {
    if (value == 0) {
        clear(to, n * element);
        return;
    }
    if (element == 1) {
        memset(to, (int)(value & 0xff), n);
        return;
    }
    for (size_t i = 0; i < n; i++) memcpy(to + i * element, &value, element);
}

void emu_fill_run(const struct emu_fill_op *fill) {
    for (size_t z = 0; z < fill->extent.depth; z++)
        for (size_t y = 0; y < fill->extent.height; y++)
            fill_line(fill->to + z * fill->slice + y * fill->pitch, fill->extent.width,
                      fill->element, fill->value);
}

int emu_fill_from_params(struct emu_op *op, const struct emu_fill_params *p) {
    if (p == NULL) return hipErrorInvalidValue;
    *op = (struct emu_op){.kind = EMU_OP_FILL};
    op->fill = (struct emu_fill_op){
        p->to, p->pitch, 0, {p->width, p->height, 1},
           p->element, p->value
    };
    if (p->to == NULL || p->width == 0 || p->height == 0) return hipErrorInvalidValue;
    return emu_fill_check(&op->fill);
}

/* ---- the public functions ---- */

/* A blocking copy on the legacy stream. */
static int run_now(const struct emu_op *op, int error) {
    const int forbidden = emu_capture_forbids_implicit();
    if (forbidden != hipSuccess) return forbidden;
    return error != hipSuccess ? error : emu_op_run(op);
}

static int run_on(void *stream, const struct emu_op *op, int error) {
    return error != hipSuccess ? error : emu_submit(stream, op);
}

#define COPY_NOW(check)                                                                            \
    do {                                                                                           \
        struct emu_op op;                                                                          \
        RETURN_WORK(run_now(&op, check));                                                          \
    } while (0)
#define COPY_ON(stream, check)                                                                     \
    do {                                                                                           \
        struct emu_op op;                                                                          \
        RETURN_WORK(run_on(stream, &op, check));                                                   \
    } while (0)

HIP(hipMemcpy, void *to, const void *from, size_t bytes, int kind) {
    COPY_NOW(emu_copy_line(&op, to, from, bytes, kind));
}
HIP(hipMemcpyWithStream, void *to, const void *from, size_t bytes, int kind, void *stream) {
    COPY_ON(stream, emu_copy_line(&op, to, from, bytes, kind));
}
HIP(hipMemcpyAsync, void *to, const void *from, size_t bytes, int kind, void *stream) {
    COPY_ON(stream, emu_copy_line(&op, to, from, bytes, kind));
}
HIP(hipMemcpyHtoD, void *to, void *from, size_t bytes) {
    COPY_NOW(emu_copy_line(&op, to, from, bytes, EMU_HOST_TO_DEVICE));
}
HIP(hipMemcpyDtoH, void *to, void *from, size_t bytes) {
    COPY_NOW(emu_copy_line(&op, to, from, bytes, EMU_DEVICE_TO_HOST));
}
HIP(hipMemcpyDtoD, void *to, void *from, size_t bytes) {
    COPY_NOW(emu_copy_line(&op, to, from, bytes, EMU_DEVICE_TO_DEVICE));
}
HIP(hipMemcpyHtoDAsync, void *to, void *from, size_t bytes, void *stream) {
    COPY_ON(stream, emu_copy_line(&op, to, from, bytes, EMU_HOST_TO_DEVICE));
}
HIP(hipMemcpyDtoHAsync, void *to, void *from, size_t bytes, void *stream) {
    COPY_ON(stream, emu_copy_line(&op, to, from, bytes, EMU_DEVICE_TO_HOST));
}
HIP(hipMemcpyDtoDAsync, void *to, void *from, size_t bytes, void *stream) {
    COPY_ON(stream, emu_copy_line(&op, to, from, bytes, EMU_DEVICE_TO_DEVICE));
}
HIP(hipMemcpy2D, void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
    size_t height, int kind) {
    COPY_NOW(copy_2d(&op, to, to_pitch, from, from_pitch, width, height, kind));
}
HIP(hipMemcpy2DAsync, void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
    size_t height, int kind, void *stream) {
    COPY_ON(stream, copy_2d(&op, to, to_pitch, from, from_pitch, width, height, kind));
}
HIP(hipMemcpy3D, const struct emu_copy3d_params *p) { COPY_NOW(emu_copy_from_params(&op, p)); }
HIP(hipMemcpy3DAsync, const struct emu_copy3d_params *p, void *stream) {
    COPY_ON(stream, emu_copy_from_params(&op, p));
}
HIP(hipMemcpyPeer, void *to, int to_device, const void *from, int from_device, size_t bytes) {
    COPY_NOW(to_device != 0 || from_device != 0
                 ? hipErrorInvalidDevice
                 : emu_copy_line(&op, to, from, bytes, EMU_DEVICE_TO_DEVICE));
}
HIP(hipMemcpyPeerAsync, void *to, int to_device, const void *from, int from_device, size_t bytes,
    void *stream) {
    COPY_ON(stream, to_device != 0 || from_device != 0
                        ? hipErrorInvalidDevice
                        : emu_copy_line(&op, to, from, bytes, EMU_DEVICE_TO_DEVICE));
}

static int symbol_copy(struct emu_op *op, const void *symbol, void *host, const void *source,
                       size_t bytes, size_t offset, int kind) {
    void *address = NULL;
    size_t size = 0;
    const int error = emu_symbol_find(symbol, &address, &size);
    if (error != hipSuccess) return error;
    if (offset > size || bytes > size - offset)
        return emu_explain(hipErrorInvalidValue, "symbol of %zu bytes: %zu bytes at %zu", size,
                           bytes, offset);
    char *const place = (char *)address + offset;
    if (kind == (host == NULL ? EMU_DEVICE_TO_HOST : EMU_HOST_TO_DEVICE) ||
        kind == EMU_HOST_TO_HOST)
        return hipErrorInvalidMemcpyDirection;
    return host == NULL ? emu_copy_line(op, place, source, bytes, kind)
                        : emu_copy_line(op, host, place, bytes, kind);
}

HIP(hipMemcpyToSymbol, const void *symbol, const void *from, size_t bytes, size_t offset,
    int kind) {
    COPY_NOW(symbol_copy(&op, symbol, NULL, from, bytes, offset, kind));
}
HIP(hipMemcpyToSymbolAsync, const void *symbol, const void *from, size_t bytes, size_t offset,
    int kind, void *stream) {
    COPY_ON(stream, symbol_copy(&op, symbol, NULL, from, bytes, offset, kind));
}
HIP(hipMemcpyFromSymbol, void *to, const void *symbol, size_t bytes, size_t offset, int kind) {
    COPY_NOW(to == NULL ? hipErrorInvalidValue
                        : symbol_copy(&op, symbol, to, NULL, bytes, offset, kind));
}
HIP(hipMemcpyFromSymbolAsync, void *to, const void *symbol, size_t bytes, size_t offset, int kind,
    void *stream) {
    COPY_ON(stream, to == NULL ? hipErrorInvalidValue
                               : symbol_copy(&op, symbol, to, NULL, bytes, offset, kind));
}

static int fill(struct emu_op *op, void *to, uint32_t element, uint32_t value, size_t n) {
    *op = (struct emu_op){.kind = EMU_OP_FILL};
    op->fill = (struct emu_fill_op){
        to, 0, 0, {n, 1, 1},
           element, value
    };
    if (to == NULL) return hipErrorInvalidValue;
    return emu_fill_check(&op->fill);
}

static int fill_3d(struct emu_op *op, struct emu_pitched to, int value, struct emu_extent extent) {
    *op = (struct emu_op){.kind = EMU_OP_FILL};
    op->fill =
        (struct emu_fill_op){to.memory, to.pitch, to.pitch * to.height, extent, 1, (uint8_t)value};
    if (to.memory == NULL) return hipErrorInvalidValue;
    return emu_fill_check(&op->fill);
}

HIP(hipMemset, void *to, int value, size_t bytes) {
    COPY_NOW(fill(&op, to, 1, (uint8_t)value, bytes));
}
HIP(hipMemsetAsync, void *to, int value, size_t bytes, void *stream) {
    COPY_ON(stream, fill(&op, to, 1, (uint8_t)value, bytes));
}
HIP(hipMemsetD8, void *to, unsigned char value, size_t n) { COPY_NOW(fill(&op, to, 1, value, n)); }
HIP(hipMemsetD8Async, void *to, unsigned char value, size_t n, void *stream) {
    COPY_ON(stream, fill(&op, to, 1, value, n));
}
HIP(hipMemsetD16, void *to, unsigned short value, size_t n) {
    COPY_NOW(fill(&op, to, 2, value, n));
}
HIP(hipMemsetD16Async, void *to, unsigned short value, size_t n, void *stream) {
    COPY_ON(stream, fill(&op, to, 2, value, n));
}
HIP(hipMemsetD32, void *to, int value, size_t n) { COPY_NOW(fill(&op, to, 4, (uint32_t)value, n)); }
HIP(hipMemsetD32Async, void *to, int value, size_t n, void *stream) {
    COPY_ON(stream, fill(&op, to, 4, (uint32_t)value, n));
}
HIP(hipMemset2D, void *to, size_t pitch, int value, size_t width, size_t height) {
    const struct emu_pitched pitched = {to, pitch, width, height};
    COPY_NOW(fill_3d(&op, pitched, value, (struct emu_extent){width, height, 1}));
}
HIP(hipMemset2DAsync, void *to, size_t pitch, int value, size_t width, size_t height,
    void *stream) {
    const struct emu_pitched pitched = {to, pitch, width, height};
    COPY_ON(stream, fill_3d(&op, pitched, value, (struct emu_extent){width, height, 1}));
}
HIP(hipMemset3D, struct emu_pitched to, int value, struct emu_extent extent) {
    COPY_NOW(fill_3d(&op, to, value, extent));
}
HIP(hipMemset3DAsync, struct emu_pitched to, int value, struct emu_extent extent, void *stream) {
    COPY_ON(stream, fill_3d(&op, to, value, extent));
}
