/* SPDX-License-Identifier: Apache-2.0 */
/* idx_pack_ragged: a block per request, which adds up the lens before it and moves rows as bytes, 16 at a time where
 * they allow it. */
#include "idx_common.inl"

struct pack_args {
    const int32_t *lens;
    char *flat, *packed;
    int64_t flat_stride, request_stride, row_stride, bytes;
    int most;
    uint32_t pad[2]; /* of even and odd bytes */
    bool pack, wide;
};

/* Row j of a request whose rows start at `start`, by lane `lane` of `lanes`. */
GPU_DEVICE void pack_row(const struct pack_args &a, char *packed, char *flat, bool padding,
                         int lane, int lanes) {
    const char *const from = a.pack ? flat : packed;
    char *const to = a.pack ? packed : flat;
    if (padding && !a.pack) return;
    if (a.wide) {
        const uint32_t word = a.pad[0] | a.pad[1] << 8 | a.pad[0] << 16 | a.pad[1] << 24;
        gpu_u4 fill;
        fill.x = fill.y = fill.z = fill.w = word;
        GPU_UNROLL
        for (int64_t k = lane; k < a.bytes / 16; k += lanes)
            ((gpu_u4 *)to)[k] = padding ? fill : ((const gpu_u4 *)from)[k];
        return;
    }
    for (int64_t k = lane; k < a.bytes; k += lanes) to[k] = padding ? (char)a.pad[k % 2] : from[k];
}

__global__ void __launch_bounds__(CALL_THREADS) pack_kernel(const struct pack_args a) {
    __shared__ int sums[CALL_TEAMS];
    const int64_t b = gpu_block();
    int before = 0;
    for (int64_t i = gpu_thread(); i < b; i += CALL_THREADS) before += a.lens[i];
    const int64_t start = idx_block_sum(before, sums);
    const int n = a.lens[b];
    char *const packed = a.packed + b * a.request_stride;
    char *const flat = a.flat + start * a.flat_stride;
    for (int j = gpu_team(); j < a.most; j += CALL_TEAMS)
        pack_row(a, packed + j * a.row_stride, flat + (j < n ? j : 0) * a.flat_stride, j >= n,
                 gpu_lane(), TEAM);
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
    if (packed->shape[0] == 0) return DSV4_OK;
    const int status = call_grid(&grid, packed->shape[0], why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(pack_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_pack_ragged)
