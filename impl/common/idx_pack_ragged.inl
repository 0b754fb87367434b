/* SPDX-License-Identifier: Apache-2.0 */
/* idx_pack_ragged: a block takes some requests, adds up the lens before them and moves rows as bytes, 16 at a time where
 * they allow it; with few requests a team takes a part of a row, and adds up for itself. */
#include "idx_common.inl"

struct pack_args {
    const int32_t *lens;
    char *flat, *packed;
    int64_t flat_stride, request_stride, row_stride, bytes;
    int requests, most, per_block;
    struct gpu_divisor rows, parts; /* of a request, and of a row */
    uint32_t pad[2];                /* of even and odd bytes */
    bool pack, wide;
};

enum { PACK_EACH = 4 };

/* A row by lane `lane` of `lanes`: loads first, EACH at a time. */
GPU_DEVICE void pack_row(const struct pack_args &a, char *packed, char *flat, bool padding,
                         int lane, int lanes) {
    enum { EACH = PACK_EACH };
    const char *const from = a.pack ? flat : packed;
    char *const to = a.pack ? packed : flat;
    if (padding && !a.pack) return;
    if (!a.wide) {
        for (int64_t k = lane; k < a.bytes; k += lanes)
            to[k] = padding ? (char)a.pad[k % 2] : from[k];
        return;
    }
    const uint32_t word = a.pad[0] | a.pad[1] << 8 | a.pad[0] << 16 | a.pad[1] << 24;
    const int n = (int)(a.bytes / 16);
    for (int first = lane; first < n; first += EACH * lanes) {
        gpu_u4 x[EACH];
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) {
            x[i].x = x[i].y = x[i].z = x[i].w = word;
            if (!padding && first + i * lanes < n) x[i] = ((const gpu_u4 *)from)[first + i * lanes];
        }
        GPU_UNROLL
        for (int i = 0; i < EACH; i++)
            if (first + i * lanes < n) ((gpu_u4 *)to)[first + i * lanes] = x[i];
    }
}

/* The rows of all requests before `b`, in every lane. */
GPU_DEVICE int pack_before(const struct pack_args &a, int b, int *sums) {
    int before = 0;
    for (int i = (int)gpu_thread(); i < b; i += CALL_THREADS) before += a.lens[i];
    return idx_block_sum(before, sums);
}

GPU_DEVICE void pack_place(const struct pack_args &a, int b, int j, int start, int n, int lane,
                           int lanes) {
    pack_row(a, a.packed + b * a.request_stride + j * a.row_stride,
             a.flat + ((int64_t)start + (j < n ? j : 0)) * a.flat_stride, j >= n, lane, lanes);
}

__global__ void __launch_bounds__(CALL_THREADS) pack_parts_kernel(const struct pack_args a) {
    const int64_t team = gpu_block() * CALL_TEAMS + gpu_team(), row = gpu_quotient(team, a.parts);
    const int b = (int)gpu_quotient(row, a.rows), j = (int)(row - b * a.rows.value);
    int before = 0;
    if (b >= a.requests) return;
    const int n = a.lens[b];
    for (int i = gpu_lane(); i < b; i += TEAM) before += a.lens[i];
    pack_place(a, b, j, team_sum(before), n, (int)(team - row * a.parts.value) * TEAM + gpu_lane(),
               (int)a.parts.value * TEAM);
}

__global__ void __launch_bounds__(CALL_THREADS) pack_kernel(const struct pack_args a) {
    __shared__ int sums[CALL_TEAMS];
    const int first = (int)gpu_block() * a.per_block;
    const int end = first + a.per_block < a.requests ? first + a.per_block : a.requests;
    int start = pack_before(a, first, sums), next = a.lens[first];
    for (int b = first; b < end; b++) {
        const int n = next;
        next = b + 1 < end ? a.lens[b + 1] : 0;
        for (int j = gpu_team(); j < a.most; j += CALL_TEAMS)
            pack_place(a, b, j, start, n, gpu_lane(), TEAM);
        start += n;
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const flat = dsv4_find(call, "flat");
    CALL_NEED(call, "lens", DSV4_I32, 1, why);
    if (call_absent(flat) ||
        (flat->dtype != DSV4_BF16 && flat->dtype != DSV4_E4M3FN && flat->dtype != DSV4_U8))
        return call_unsupported(why, "flat: these kernels take bf16, e4m3fn and u8");
    CALL_NEED(call, "flat", flat->dtype, 2, why);
    CALL_NEED(call, "packed", flat->dtype, 3, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const flat = dsv4_find(call, "flat");
    const dsv4_tensor *const packed = dsv4_find(call, "packed");
    struct pack_args a;
    dim3 grid;
    a.lens = idx_i32(call, "lens");
    a.flat = (char *)flat->data;
    a.packed = (char *)packed->data;
    a.flat_stride = flat->stride[0];
    a.request_stride = packed->stride[0];
    a.row_stride = packed->stride[1];
    a.bytes = flat->shape[1] * (flat->dtype == DSV4_BF16 ? 2 : 1);
    a.most = (int)packed->shape[1];
    a.pack = dsv4_is(call, "direction", "pack");
    a.wide = call_aligned(flat, 16) && call_aligned(packed, 16) && a.bytes % 16 == 0;
    a.pad[0] = a.pad[1] = (uint32_t)dsv4_int(call, "pad_byte", 0);
    if (flat->dtype == DSV4_E4M3FN) a.pad[0] = a.pad[1] = 0xFF;
    if (flat->dtype == DSV4_BF16) {
        a.pad[0] = 0x80;
        a.pad[1] = 0xFF;
    }
    if (flat->shape[1] != packed->shape[2])
        return idx_refused(why, "rows of flat and of packed have different widths");
    if (packed->shape[0] == 0 || a.most == 0) return DSV4_OK;
    const bool few = packed->shape[0] * a.most <= 4 * GPU_BUSY_BLOCKS;
    const int64_t parts = a.wide ? 1 + (a.bytes - 1) / (PACK_EACH * TEAM * 16) : 1;
    a.requests = (int)packed->shape[0];
    a.rows = call_divisor(a.most);
    a.parts = call_divisor(parts);
    a.per_block = (int)call_ceil(a.requests, 4 * GPU_BUSY_BLOCKS + 1);
    const int64_t blocks = few ? call_ceil(a.requests * a.most * parts, CALL_TEAMS)
                               : call_ceil(a.requests, a.per_block);
    const int status = call_grid(&grid, blocks, why);
    if (status != DSV4_OK) return status;
    if (few)
        GPU_LAUNCH(pack_parts_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    else
        GPU_LAUNCH(pack_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_pack_ragged)
