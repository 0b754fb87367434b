/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_dequantize_gather: cache rows back to bf16. A team per row, four rows at a time so that their loads overlap; a
 * block covers 32 rows of one request.
 *
 * Wide: lane l makes 8 channels from 8 codes in 16-byte stores, twice; lanes 24..31 of the second half copy RoPE.
 * Without the alignment for that, two channels at a time.
 */
#include "kv_row.inl"

enum { GATHER_ROWS = 4, GATHER_BLOCK_ROWS = GATHER_ROWS * CALL_TEAMS };

struct gather_args {
    const char *table;
    const int32_t *seq_lens, *gather_lens; /* gather_lens NULL: whole sequences */
    char *out;
    int64_t table_stride, request_stride, row_stride, offset, max_rows;
    struct gpu_divisor chunks; /* blocks per request */
    struct kv_cache cache;
};

/* A row of the cache: its codes and its scale bytes. */
struct gather_place {
    const char *data, *scales;
};

GPU_DEVICE struct gather_place gather_find(const struct gather_args &a, int64_t request,
                                           int64_t position) {
    const int64_t entry = gpu_quotient(position, a.cache.block);
    const int64_t at = position - entry * a.cache.block.value;
    const int64_t block = *(const int32_t *)(a.table + request * a.table_stride + entry * 4);
    const char *const page = a.cache.data + block * a.cache.page_stride;
    struct gather_place place;
    place.data = page + kv_data_offset(a.cache.interleaved, at);
    place.scales = page + kv_scale_offset(a.cache.interleaved, a.cache.block.value, at);
    return place;
}

/* Eight codes to eight bf16; one look for NaN at all of them. */
template <int FP8> GPU_DEVICE gpu_u4 gather_eight(uint32_t low, uint32_t high, float scale) {
    const uint32_t codes[4] = {low & 0xFFFFu, low >> 16, high & 0xFFFFu, high >> 16};
    uint32_t made[4];
    gpu_f2 x[4];
    bool nan = false;
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        x[i] = num_fp8_x2_decode(codes[i], FP8);
        x[i].x *= scale;
        x[i].y *= scale;
        made[i] = num_bf16x2_of_numbers(x[i].x, x[i].y);
        nan |= num_any_nan(x[i].x, x[i].y);
    }
    if (nan) {
        GPU_UNROLL for (int i = 0; i < 4; i++) made[i] = num_bf16x2(x[i].x, x[i].y);
    }
    gpu_u4 v;
    v.x = made[0];
    v.y = made[1];
    v.z = made[2];
    v.w = made[3];
    return v;
}

/* This lane's scale: byte lane / 8 of a word. */
GPU_DEVICE float gather_scale(uint32_t word) {
    return num_e8m0_value(word >> 8 * (gpu_lane() / 8) & 0xFFu);
}

struct gather_loads {
    gpu_u2 first, scales;
    gpu_u4 second; /* codes in x and y, or eight RoPE channels */
};

template <bool ROPE_WIDE> GPU_DEVICE struct gather_loads gather_load(struct gather_place place) {
    const int lane = gpu_lane();
    struct gather_loads v;
    v.first = *(const gpu_u2 *)(place.data + 8 * lane);
    v.scales = *(const gpu_u2 *)place.scales;
    const char *const rope = place.data + KV_NOPE + 16 * (lane - 24);
    if (ROPE_WIDE && lane >= 24) {
        v.second = *(const gpu_u4 *)rope;
    } else {
        const gpu_u2 low = *(const gpu_u2 *)(lane < 24 ? place.data + 256 + 8 * lane : rope);
        v.second.x = low.x;
        v.second.y = low.y;
        v.second.z = v.second.w = 0;
        if (!ROPE_WIDE && lane >= 24) {
            const gpu_u2 high = *(const gpu_u2 *)(rope + 8);
            v.second.z = high.x;
            v.second.w = high.y;
        }
    }
    return v;
}

template <int FP8, bool ROPE_WIDE>
__global__ void __launch_bounds__(CALL_THREADS) gather_wide_kernel(const struct gather_args a) {
    const int64_t request = gpu_quotient(gpu_block(), a.chunks);
    const int64_t first =
        (gpu_block() - request * a.chunks.value) * GATHER_BLOCK_ROWS + gpu_team() * GATHER_ROWS;
    const int64_t length = a.seq_lens[request];
    int64_t rows = a.gather_lens == NULL ? length : a.gather_lens[request];
    const int64_t start = length - rows;
    const int lane = gpu_lane();
    rows = rows < a.max_rows ? rows : a.max_rows;
    if (first >= rows) return;
    char *const out = a.out + request * a.request_stride + (a.offset + first) * a.row_stride;
    /* Lane i finds row i % 4: all table look-ups at once. Beyond the end, the last row again. */
    const int64_t wanted = first + lane % GATHER_ROWS;
    const struct gather_place mine =
        gather_find(a, request, start + (wanted < rows ? wanted : rows - 1));
    struct gather_loads v[GATHER_ROWS];
    GPU_UNROLL for (int i = 0; i < GATHER_ROWS; i++) {
        struct gather_place place;
        place.data = a.cache.data + team_read_i64(mine.data - a.cache.data, i);
        place.scales = a.cache.data + team_read_i64(mine.scales - a.cache.data, i);
        v[i] = gather_load<ROPE_WIDE>(place);
    }
    GPU_UNROLL for (int i = 0; i < GATHER_ROWS; i++) {
        if (first + i >= rows) return;
        char *const row = out + i * a.row_stride + 16 * lane;
        *(gpu_u4 *)row = gather_eight<FP8>(v[i].first.x, v[i].first.y, gather_scale(v[i].scales.x));
        gpu_u4 second = v[i].second;
        if (lane < 24) second = gather_eight<FP8>(second.x, second.y, gather_scale(v[i].scales.y));
        *(gpu_u4 *)(row + 512) = second;
    }
}

GPU_DEVICE void gather_row(const struct gather_args &a, char *out, struct gather_place place) {
    const int lane = gpu_lane();
    GPU_UNROLL for (int g = 0; g < KV_GROUPS; g++) {
        const uint32_t codes = *(const uint16_t *)(place.data + KV_GROUP * g + 2 * lane);
        const float scale = num_e8m0_value(*(const uint8_t *)(place.scales + g));
        const gpu_f2 x = num_fp8_x2_decode(codes, a.cache.fp8);
        *(uint32_t *)(out + 128 * g + 4 * lane) = num_bf16x2(x.x * scale, x.y * scale);
    }
    *(uint32_t *)(out + 2 * KV_NOPE + 4 * lane) =
        *(const uint32_t *)(place.data + KV_NOPE + 4 * lane);
}

__global__ void __launch_bounds__(CALL_THREADS) gather_kernel(const struct gather_args a) {
    const int64_t request = gpu_quotient(gpu_block(), a.chunks);
    const int64_t first =
        (gpu_block() - request * a.chunks.value) * GATHER_BLOCK_ROWS + gpu_team() * GATHER_ROWS;
    const int64_t length = a.seq_lens[request];
    int64_t rows = a.gather_lens == NULL ? length : a.gather_lens[request];
    const int64_t start = length - rows;
    rows = rows < a.max_rows ? rows : a.max_rows;
    for (int64_t row = first; row < first + GATHER_ROWS && row < rows; row++)
        gather_row(a, a.out + request * a.request_stride + (a.offset + row) * a.row_stride,
                   gather_find(a, request, start + row));
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "cache", DSV4_U8, 2, why);
    CALL_NEED_ALIGNED(call, "cache", 4, why);
    CALL_NEED(call, "seq_lens", DSV4_I32, 1, why);
    if (!call_absent(dsv4_find(call, "gather_lens")))
        CALL_NEED(call, "gather_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED_ALIGNED(call, "block_table", 4, why);
    CALL_NEED(call, "out", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "out", 4, why);
    if (dsv4_find(call, "out")->shape[2] != KV_HEAD)
        return call_unsupported(why, "out: rows of %lld; these kernels make rows of 512",
                                (long long)dsv4_find(call, "out")->shape[2]);
    return DSV4_OK;
}

template <int FP8>
static void launch_wide(const struct gather_args a, dim3 grid, bool rope_wide, gpu_stream stream) {
    if (rope_wide)
        GPU_LAUNCH((gather_wide_kernel<FP8, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((gather_wide_kernel<FP8, false>), grid, CALL_THREADS, stream, a);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const out = dsv4_find(call, "out"), *const cache = dsv4_find(call, "cache");
    const dsv4_tensor *const table = dsv4_find(call, "block_table");
    const dsv4_tensor *const lens = dsv4_find(call, "gather_lens");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct gather_args a;
    dim3 grid;
    a.table = (const char *)table->data;
    a.table_stride = table->stride[0];
    a.seq_lens = (const int32_t *)dsv4_find(call, "seq_lens")->data;
    a.gather_lens = call_absent(lens) ? NULL : (const int32_t *)lens->data;
    a.out = (char *)out->data;
    a.request_stride = out->stride[0];
    a.row_stride = out->stride[1];
    a.offset = dsv4_int(call, "offset", 0);
    a.max_rows = out->shape[1] - a.offset;
    a.cache = kv_cache_of(call, false);
    if (a.max_rows <= 0 || out->shape[0] == 0) return DSV4_OK;
    a.chunks = call_divisor(call_ceil(a.max_rows, GATHER_BLOCK_ROWS));
    const int status = call_grid(&grid, out->shape[0] * a.chunks.value, why);
    if (status != DSV4_OK) return status;
    const bool rope_wide = !a.cache.interleaved && call_aligned(cache, 16);
    if (!call_aligned(out, 16) || !call_aligned(cache, 8))
        GPU_LAUNCH(gather_kernel, grid, CALL_THREADS, stream, a);
    else if (a.cache.fp8 == NUM_OCP)
        launch_wide<NUM_OCP>(a, grid, rope_wide, stream);
    else if (a.cache.fp8 == NUM_FNUZ224)
        launch_wide<NUM_FNUZ224>(a, grid, rope_wide, stream);
    else
        launch_wide<NUM_FNUZ240>(a, grid, rope_wide, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(kv_dequantize_gather)
