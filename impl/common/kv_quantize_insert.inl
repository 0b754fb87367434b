/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_quantize_insert: bf16 rows to 584-byte cache rows; a team per row.
 *
 * Wide: lane l takes channels 8l .. 8l + 7 of both halves of the row in 16-byte loads; a scale's 64 channels are
 * eight lanes; lanes 24..31 of the second half hold the RoPE channels, which are copied. Without the alignment for
 * that, the layout of kv_row.inl in 4-byte accesses.
 */
#include "kv_row.inl"

struct quantize_args {
    const char *k;
    const int64_t *slots;
    int64_t k_stride, rows;
    struct kv_cache cache;
};

/* Greatest magnitude of eight lanes. */
GPU_DEVICE float quantize_amax(gpu_u4 v) {
    uint32_t most = row_magnitude(v.x), other = row_magnitude(v.y);
    most = most > other ? most : other;
    other = row_magnitude(v.z);
    most = most > other ? most : other;
    other = row_magnitude(v.w);
    float amax = gpu_float(most > other ? most : other);
    amax = gpu_max(amax, team_xor_float(amax, 4));
    amax = gpu_max(amax, team_xor_float(amax, 2));
    return gpu_max(amax, team_xor_float(amax, 1));
}

template <int FP8> GPU_DEVICE uint32_t quantize_two(uint32_t codes, float inverse) {
    return num_fp8_x2(num_bf16_low(codes) * inverse, num_bf16_high(codes) * inverse, FP8);
}

template <int FP8> GPU_DEVICE gpu_u2 quantize_eight(gpu_u4 v, float inverse) {
    gpu_u2 codes;
    codes.x = quantize_two<FP8>(v.x, inverse) | quantize_two<FP8>(v.y, inverse) << 16;
    codes.y = quantize_two<FP8>(v.z, inverse) | quantize_two<FP8>(v.w, inverse) << 16;
    return codes;
}

/* The four bytes of the team's four groups in every lane. */
GPU_DEVICE uint32_t quantize_gather(uint32_t byte) {
    uint32_t word = byte << 8 * (gpu_lane() / 8);
    word |= team_xor_u32(word, 8);
    return word | team_xor_u32(word, 16);
}

/* ROPE_WIDE: RoPE in 16-byte stores; interleaved rows allow 8 bytes alone. */
template <int FP8, bool ROPE_WIDE>
__global__ void __launch_bounds__(CALL_THREADS) quantize_wide_kernel(const struct quantize_args a) {
    const int64_t t = gpu_block() * CALL_TEAMS + gpu_team();
    const int lane = gpu_lane();
    if (t >= a.rows) return;
    const int64_t slot = a.slots[t];
    const char *const row = a.k + t * a.k_stride;
    const gpu_u4 v0 = *(const gpu_u4 *)(row + 16 * lane);
    const gpu_u4 v1 = *(const gpu_u4 *)(row + 512 + 16 * lane);
    if (slot < 0) return;
    const int64_t block = gpu_quotient(slot, a.cache.block),
                  at = slot - block * a.cache.block.value;
    char *const page = a.cache.data + block * a.cache.page_stride;
    char *const data = page + kv_data_offset(a.cache.interleaved, at);
    const uint32_t byte0 = row_scale_byte(quantize_amax(v0), FP8, 0);
    uint32_t byte1 = row_scale_byte(quantize_amax(v1), FP8, 0);
    *(gpu_u2 *)(data + 8 * lane) = quantize_eight<FP8>(v0, num_e8m0_inverse(byte0));
    if (lane < 24) {
        *(gpu_u2 *)(data + 256 + 8 * lane) = quantize_eight<FP8>(v1, num_e8m0_inverse(byte1));
    } else {
        byte1 = 0; /* the pad byte */
        char *const rope = data + KV_NOPE + 16 * (lane - 24);
        if (ROPE_WIDE) {
            *(gpu_u4 *)rope = v1;
        } else {
            gpu_u2 half;
            half.x = v1.x;
            half.y = v1.y;
            *(gpu_u2 *)rope = half;
            half.x = v1.z;
            half.y = v1.w;
            *(gpu_u2 *)(rope + 8) = half;
        }
    }
    gpu_u2 words;
    words.x = quantize_gather(byte0);
    words.y = quantize_gather(byte1);
    if (lane == 0)
        *(gpu_u2 *)(page + kv_scale_offset(a.cache.interleaved, a.cache.block.value, at)) = words;
}

__global__ void __launch_bounds__(CALL_THREADS) quantize_kernel(const struct quantize_args a) {
    const int64_t t = gpu_block() * CALL_TEAMS + gpu_team();
    if (t >= a.rows) return;
    const int64_t slot = a.slots[t];
    if (slot < 0) return;
    float x[16];
    GPU_UNROLL for (int j = 0; j < 8; j++) {
        const uint32_t codes = row_load_bf16(a.k + t * a.k_stride, j);
        x[2 * j] = num_bf16_low(codes);
        x[2 * j + 1] = num_bf16_high(codes);
    }
    row_store<8>(a.cache, slot, x);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "k", DSV4_BF16, 2, why);
    CALL_NEED_ALIGNED(call, "k", 4, why);
    CALL_NEED(call, "slot_mapping", DSV4_I64, 1, why);
    CALL_NEED(call, "cache", DSV4_U8, 2, why);
    CALL_NEED_ALIGNED(call, "cache", 4, why);
    if (dsv4_find(call, "k")->shape[1] != KV_HEAD)
        return call_unsupported(why, "k: rows of %lld; these kernels take rows of 512",
                                (long long)dsv4_find(call, "k")->shape[1]);
    return DSV4_OK;
}

template <int FP8>
static void launch_wide(const struct quantize_args a, dim3 grid, bool rope_wide,
                        gpu_stream stream) {
    if (rope_wide)
        GPU_LAUNCH((quantize_wide_kernel<FP8, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((quantize_wide_kernel<FP8, false>), grid, CALL_THREADS, stream, a);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const k = dsv4_find(call, "k"), *const cache = dsv4_find(call, "cache");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct quantize_args a;
    dim3 grid;
    a.k = (const char *)k->data;
    a.k_stride = k->stride[0];
    a.slots = (const int64_t *)dsv4_find(call, "slot_mapping")->data;
    a.rows = call_covered(call, k->shape[0]);
    a.cache = kv_cache_of(call, false);
    if (a.rows == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.rows, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    const bool rope_wide = !a.cache.interleaved && call_aligned(cache, 16);
    if (!call_aligned(k, 16) || !call_aligned(cache, 8))
        GPU_LAUNCH(quantize_kernel, grid, CALL_THREADS, stream, a);
    else if (a.cache.fp8 == NUM_OCP)
        launch_wide<NUM_OCP>(a, grid, rope_wide, stream);
    else if (a.cache.fp8 == NUM_FNUZ224)
        launch_wide<NUM_FNUZ224>(a, grid, rope_wide, stream);
    else
        launch_wide<NUM_FNUZ240>(a, grid, rope_wide, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(kv_quantize_insert)
