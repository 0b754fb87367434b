/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_save_partial_states: kv and score + APE of each token into the paged state. Streaming: a thread moves four
 * channels of both halves of one row; blocks take 1, 2 or 4 rows.
 */
#include "kv_row.inl"

struct save_args {
    const char *kv, *score, *ape;
    const int64_t *positions, *slots;
    char *state;
    int64_t kv_stride, score_stride, ape_stride, page_stride, row_stride, rows;
    struct gpu_divisor block;
    int ratio, width;
};

/* Four consecutive floats; WIDE when 16-byte accesses are allowed. */
template <bool WIDE> GPU_DEVICE gpu_f4 load_four(const char *at) {
    if (WIDE) return *(const gpu_f4 *)at;
    const float *const from = (const float *)at;
    gpu_f4 x;
    x.x = from[0];
    x.y = from[1];
    x.z = from[2];
    x.w = from[3];
    return x;
}

template <bool WIDE> GPU_DEVICE void store_four(char *at, gpu_f4 x) {
    if (WIDE) {
        *(gpu_f4 *)at = x;
        return;
    }
    float *const to = (float *)at;
    to[0] = x.x;
    to[1] = x.y;
    to[2] = x.z;
    to[3] = x.w;
}

template <bool WIDE> GPU_DEVICE void store_four_bf16(char *at, gpu_f4 x) {
    gpu_u2 codes;
    codes.x = num_bf16x2(x.x, x.y);
    codes.y = num_bf16x2(x.z, x.w);
    if (WIDE) {
        *(gpu_u2 *)at = codes;
        return;
    }
    uint16_t *const to = (uint16_t *)at;
    to[0] = (uint16_t)codes.x;
    to[1] = (uint16_t)(codes.x >> 16);
    to[2] = (uint16_t)codes.y;
    to[3] = (uint16_t)(codes.y >> 16);
}

template <bool BF16, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) save_kernel(const struct save_args a) {
    const int threads_per_row = a.width / 4;
    const int64_t t =
        gpu_block() * (CALL_THREADS / threads_per_row) + gpu_thread() / (uint32_t)threads_per_row;
    const int column = 4 * (int)(gpu_thread() % (uint32_t)threads_per_row);
    if (t >= a.rows) return;
    /* Issued together: rows of padding are loaded in vain, the others wait once. */
    const int64_t slot = a.slots[t], position = BF16 ? 0 : a.positions[t];
    const gpu_f4 kv = load_four<WIDE>(a.kv + t * a.kv_stride + column * 4);
    gpu_f4 score = load_four<WIDE>(a.score + t * a.score_stride + column * 4);
    if (slot < 0) return;
    const int64_t page = gpu_quotient(slot, a.block);
    char *const row = a.state + page * a.page_stride + (slot - page * a.block.value) * a.row_stride;
    if (BF16) {
        store_four_bf16<WIDE>(row + column * 2, kv);
        store_four_bf16<WIDE>(row + (a.width + column) * 2, score);
        return;
    }
    /* ratio is a power of two */
    const int64_t phase = position & (a.ratio - 1);
    const gpu_f4 ape = load_four<WIDE>(a.ape + phase * a.ape_stride + column * 4);
    score.x += ape.x;
    score.y += ape.y;
    score.z += ape.z;
    score.w += ape.w;
    store_four<WIDE>(row + column * 4, kv);
    store_four<WIDE>(row + (a.width + column) * 4, score);
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const kv = dsv4_find(call, "kv"), *const state = dsv4_find(call, "state");
    const int64_t ratio = dsv4_int(call, "ratio", 4);
    CALL_NEED(call, "kv", DSV4_F32, 2, why);
    CALL_NEED(call, "score", DSV4_F32, 2, why);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "slot_mapping", DSV4_I64, 1, why);
    if (call_absent(state) || state->dtype != DSV4_BF16) {
        CALL_NEED(call, "state", DSV4_F32, 3, why);
        CALL_NEED(call, "ape", DSV4_F32, 2, why);
    } else {
        CALL_NEED(call, "state", DSV4_BF16, 3, why);
    }
    const int64_t width = kv->shape[1];
    if (width != 256 && width != 512 && width != 1024)
        return call_unsupported(why, "kv: %lld columns; these kernels take 256, 512 or 1024",
                                (long long)width);
    if (ratio != 4 && ratio != 128)
        return call_unsupported(why, "ratio %lld; these kernels take 4 or 128", (long long)ratio);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const kv = dsv4_find(call, "kv"), *const score = dsv4_find(call, "score");
    const dsv4_tensor *const ape = dsv4_find(call, "ape"), *const state = dsv4_find(call, "state");
    const bool bf16 = state->dtype == DSV4_BF16;
    struct save_args a;
    dim3 grid;
    a.kv = (const char *)kv->data;
    a.score = (const char *)score->data;
    a.ape = bf16 ? NULL : (const char *)ape->data;
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.slots = (const int64_t *)dsv4_find(call, "slot_mapping")->data;
    a.state = (char *)state->data;
    a.kv_stride = kv->stride[0];
    a.score_stride = score->stride[0];
    a.ape_stride = bf16 ? 0 : ape->stride[0];
    a.page_stride = state->stride[0];
    a.row_stride = state->stride[1];
    a.rows = call_covered(call, kv->shape[0]);
    a.block = call_divisor(state->shape[1]);
    a.ratio = (int)dsv4_int(call, "ratio", 4);
    a.width = (int)kv->shape[1];
    if (a.rows == 0) return DSV4_OK;
    const int rows_per_block = CALL_THREADS / (a.width / 4);
    const int status = call_grid(&grid, call_ceil(a.rows, rows_per_block), why);
    if (status != DSV4_OK) return status;
    const bool wide = call_aligned(kv, 16) && call_aligned(score, 16) &&
                      (bf16 || call_aligned(ape, 16)) && call_aligned(state, bf16 ? 8 : 16);
    const gpu_stream stream = (gpu_stream)call->stream;
    if (bf16 && wide)
        GPU_LAUNCH((save_kernel<true, true>), grid, CALL_THREADS, stream, a);
    else if (bf16)
        GPU_LAUNCH((save_kernel<true, false>), grid, CALL_THREADS, stream, a);
    else if (wide)
        GPU_LAUNCH((save_kernel<false, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((save_kernel<false, false>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(kv_save_partial_states)
