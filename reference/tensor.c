/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of a case: shapes, strides, places in the arena, and the packed form that vectors store.
 */
#include <assert.h>
#include <stdlib.h>

#include "memory.h"
#include "op.h"

enum { GUARD_BYTES = 4096, PAGE_BYTES = 4096 };

int64_t dsv4_dtype_bytes(uint32_t dtype) { return (int64_t)(dtype >> 8 & 0xFF) / 8; }

const char *dsv4_dtype_name(uint32_t dtype) {
    switch (dtype) {
    case DSV4_I32: return "i32";
    case DSV4_I64: return "i64";
    case DSV4_U8: return "u8";
    case DSV4_F32: return "f32";
    case DSV4_BF16: return "bf16";
    case DSV4_E4M3FN: return "e4m3fn";
    case DSV4_E4M3FNUZ: return "e4m3fnuz";
    case DSV4_E8M0: return "e8m0";
    default: return "unknown";
    }
}

void dsv4_shape(struct dsv4_case *c, size_t slot, uint32_t dtype, int ndim, const int64_t *shape) {
    struct dsv4_case_tensor *tensor = &c->tensors[slot];
    assert(ndim >= 1 && ndim <= DSV4_MAX_DIMS);
    tensor->t.dtype = dtype;
    tensor->t.ndim = ndim;
    int64_t stride = dsv4_dtype_bytes(dtype);
    for (int d = ndim - 1; d >= 0; d--) {
        tensor->t.shape[d] = shape[d];
        tensor->t.stride[d] = stride;
        stride *= shape[d];
    }
    tensor->n_rows = shape[0];
}

void dsv4_widen(struct dsv4_case *c, size_t slot, int dim, int64_t extra_bytes) {
    dsv4_tensor *t = &c->tensors[slot].t;
    assert(dim < t->ndim);
    t->stride[dim] += extra_bytes;
    for (int d = dim - 1; d >= 0; d--) t->stride[d] = t->stride[d + 1] * t->shape[d + 1];
}

void dsv4_live_rows(struct dsv4_case *c, size_t slot, const int64_t *rows, int64_t n_rows) {
    struct dsv4_case_tensor *tensor = &c->tensors[slot];
    tensor->rows = dsv4_case_alloc(c, (size_t)n_rows * sizeof *rows);
    memcpy(tensor->rows, rows, (size_t)n_rows * sizeof *rows);
    tensor->n_rows = n_rows;
}

void dsv4_absent(struct dsv4_case *c, size_t slot) {
    c->tensors[slot].t.ndim = 0;
    c->tensors[slot].n_rows = 0;
}

static int check_rows(const struct dsv4_case_tensor *tensor, struct dsv4_err *err) {
    for (int64_t i = 0; tensor->rows != NULL && i < tensor->n_rows; i++)
        if (tensor->rows[i] < (i > 0 ? tensor->rows[i - 1] + 1 : 0) ||
            tensor->rows[i] >= tensor->t.shape[0])
            return dsv4_fail(err, "%s: live row %lld is out of order or range", tensor->t.name,
                             (long long)tensor->rows[i]);
    return 0;
}

static int64_t span_of(const dsv4_tensor *t) {
    int64_t span = dsv4_dtype_bytes(t->dtype);
    for (int d = 0; d < t->ndim; d++) {
        if (t->shape[d] == 0) return 0;
        span += (t->shape[d] - 1) * t->stride[d];
    }
    return t->ndim > 0 ? span : 0;
}

int dsv4_case_shape(struct dsv4_case *c, struct dsv4_err *err) {
    for (size_t s = 0; s < c->op->n_slots; s++) {
        struct dsv4_case_tensor *tensor = &c->tensors[s];
        tensor->t.name = c->op->slots[s].name;
        tensor->t.layout = "linear";
        tensor->role = c->op->slots[s].role;
        tensor->compare = DSV4_BITS;
        tensor->align = 16;
    }
    if (c->seed == 0) {
        uint64_t hash = UINT64_C(0xCBF29CE484222325);
        for (const char *at = c->op->name; *at != '\0'; at++)
            hash = (hash ^ (uint64_t)(unsigned char)*at) * UINT64_C(0x100000001B3);
        for (const char *at = c->name; *at != '\0'; at++)
            hash = (hash ^ (uint64_t)(unsigned char)*at) * UINT64_C(0x100000001B3);
        c->seed = hash | 1;
    }
    if (c->op->shape(c, err) != 0) return -1;
    for (size_t s = 0; s < c->op->n_slots; s++) {
        struct dsv4_case_tensor *tensor = &c->tensors[s];
        if (check_rows(tensor, err) != 0) return -1;
        tensor->span = span_of(&tensor->t);
        for (int d = 0; d < tensor->t.ndim; d++)
            if (tensor->t.shape[d] < 0 || tensor->span < 0 || tensor->span > INT64_C(1) << 40)
                return dsv4_fail(err, "%s: %lld bytes are more than a case may span",
                                 tensor->t.name, (long long)tensor->span);
    }
    return 0;
}

void dsv4_row_band(const struct dsv4_case_tensor *tensor, int64_t row, int64_t *first,
                   int64_t *last) {
    const dsv4_tensor *const t = &tensor->t;
    const int64_t begin = row * t->stride[0],
                  bytes = tensor->span - (t->shape[0] - 1) * t->stride[0];
    const int64_t end = begin + bytes + GUARD_BYTES;
    *first = tensor->offset + (begin > GUARD_BYTES ? begin - GUARD_BYTES : 0);
    *last = tensor->offset + (end < tensor->span ? end : tensor->span);
}

bool dsv4_case_is_skewed(const struct dsv4_case *c) {
    uint64_t spans = 0;
    for (size_t s = 0; s < c->op->n_slots; s++)
        spans = (spans ^ (uint64_t)c->tensors[s].span) * UINT64_C(0x9E3779B97F4A7C15);
    return spans >> 63 != 0;
}

void dsv4_case_place(struct dsv4_case *c, bool skew) {
    int64_t end = 0;
    for (size_t s = 0; s < c->op->n_slots; s++) {
        struct dsv4_case_tensor *tensor = &c->tensors[s];
        end = (end + GUARD_BYTES + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        tensor->offset = end + (skew ? tensor->align : 0);
        end = tensor->offset + tensor->span;
    }
    c->arena_bytes = (end + GUARD_BYTES + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

void dsv4_case_bind(struct dsv4_case *c, void *arena) {
    for (size_t s = 0; s < c->op->n_slots; s++) {
        struct dsv4_case_tensor *tensor = &c->tensors[s];
        tensor->t.data = tensor->t.ndim > 0 ? (char *)arena + tensor->offset : NULL;
    }
}

int64_t dsv4_packed_bytes(const struct dsv4_case_tensor *tensor) {
    const dsv4_tensor *t = &tensor->t;
    if (t->ndim == 0) return 0;
    int64_t bytes = dsv4_dtype_bytes(t->dtype) * tensor->n_rows;
    for (int d = 1; d < t->ndim; d++) bytes *= t->shape[d];
    return bytes;
}

/* How many innermost dimensions are contiguous, and the bytes of one such run. */
static int runs_of(const dsv4_tensor *t, int64_t *run_bytes) {
    int64_t bytes = dsv4_dtype_bytes(t->dtype);
    int d = t->ndim;
    while (d > 1 && t->stride[d - 1] == bytes) bytes *= t->shape[--d];
    *run_bytes = bytes;
    return d;
}

/* Calls for every contiguous run, in C order; `pack` chooses the direction. */
static void copy_runs(unsigned char *packed, const struct dsv4_case_tensor *tensor, char *data,
                      bool pack) {
    const dsv4_tensor *t = &tensor->t;
    int64_t run_bytes, n_runs = 1;
    if (dsv4_packed_bytes(tensor) == 0) return;
    const int outer = runs_of(t, &run_bytes);
    for (int d = 1; d < outer; d++) n_runs *= t->shape[d];
#pragma omp parallel for schedule(static) if (tensor->n_rows * n_runs * run_bytes > 1 << 20)
    for (int64_t row = 0; row < tensor->n_rows; row++)
        for (int64_t run = 0; run < n_runs; run++) {
            char *at = data + (tensor->rows != NULL ? tensor->rows[row] : row) * t->stride[0];
            int64_t rest = run;
            for (int d = outer - 1; d >= 1; d--) {
                at += rest % t->shape[d] * t->stride[d];
                rest /= t->shape[d];
            }
            unsigned char *const flat = packed + (row * n_runs + run) * run_bytes;
            if (pack)
                memcpy(flat, at, (size_t)run_bytes);
            else
                memcpy(at, flat, (size_t)run_bytes);
        }
}

void dsv4_pack(void *packed, const struct dsv4_case_tensor *tensor, const void *data) {
    copy_runs(packed, tensor, (char *)(uintptr_t)data, true);
}

void dsv4_unpack(void *data, const struct dsv4_case_tensor *tensor, const void *packed) {
    copy_runs((unsigned char *)(uintptr_t)packed, tensor, data, false);
}

int64_t dsv4_storage_offset(const struct dsv4_case_tensor *tensor, int64_t packed_offset) {
    const dsv4_tensor *t = &tensor->t;
    const int64_t unit = dsv4_dtype_bytes(t->dtype);
    int64_t rest = packed_offset / unit, offset = packed_offset % unit;
    for (int d = t->ndim - 1; d >= 1; d--) {
        offset += rest % t->shape[d] * t->stride[d];
        rest /= t->shape[d];
    }
    return offset + (tensor->rows != NULL ? tensor->rows[rest] : rest) * t->stride[0];
}

static int compare_rows(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t dsv4_packed_offset(const struct dsv4_case_tensor *tensor, int64_t storage_offset) {
    const dsv4_tensor *t = &tensor->t;
    if (storage_offset < 0 || storage_offset >= tensor->span) return -1;
    int64_t row = storage_offset / t->stride[0], rest = storage_offset % t->stride[0];
    if (tensor->rows != NULL) {
        const int64_t *at =
            bsearch(&row, tensor->rows, (size_t)tensor->n_rows, sizeof row, compare_rows);
        if (at == NULL) return -1;
        row = at - tensor->rows;
    }
    int64_t element = row;
    for (int d = 1; d < t->ndim; d++) {
        const int64_t i = rest / t->stride[d];
        if (i >= t->shape[d]) return -1;
        rest %= t->stride[d];
        element = element * t->shape[d] + i;
    }
    const int64_t unit = dsv4_dtype_bytes(t->dtype);
    return rest < unit ? element * unit + rest : -1;
}
