/* SPDX-License-Identifier: Apache-2.0 */
/* kv_compress: pools each window that ends at a boundary token into a scratch row. How: kv_pool.inl. */
#include "kv_pool.inl"

struct compress_args {
    struct kv_pool pool;
    char *scratch;
    int64_t scratch_stride;
};

GPU_DEVICE void compress_store(char *row, int j, struct pool_pair values) {
    gpu_f2 pair;
    pair.x = values.a != values.a ? ELEMENTARY_NAN : values.a;
    pair.y = values.b != values.b ? ELEMENTARY_NAN : values.b;
    *(gpu_f2 *)(row + (ROW_STEP * j + 2 * gpu_lane()) * 4) = pair;
}

/* Team i of a block takes the block's live tokens i, i + 8, ...; blockIdx covers pool.group <= 32 tokens. */
template <int J, bool BF16>
__global__ void __launch_bounds__(CALL_THREADS) compress4_kernel(const struct compress_args a) {
    const struct kv_pool &p = a.pool;
    const int64_t first = gpu_block() * p.group, t = first + gpu_lane();
    const bool mine = gpu_lane() < p.group && t < p.rows;
    const int64_t slot = mine ? p.slots[t] : -1, position = mine ? p.positions[t] : 0;
    const uint32_t live = pool_live(position, slot, 4);
    for (int n = gpu_team();; n += CALL_TEAMS) {
        const int i = gpu_nth_bit(live, n);
        if (i < 0) return;
        const int64_t last = team_read_i64(position, i);
        const int64_t offset = pool4_offset(p, p.requests[first + i], last);
        char *const row = a.scratch + (first + i) * a.scratch_stride;
        GPU_NO_UNROLL for (int j = 0; j < J; j++)
            compress_store(row, j, pool4_channels<64 * J, BF16>(p, offset, last < 7, j));
    }
}

/* For few tokens: a block per token, a team per 64 channels. */
template <int J, bool BF16>
__global__ void __launch_bounds__(CALL_THREADS)
    compress4_wide_kernel(const struct compress_args a) {
    const struct kv_pool &p = a.pool;
    const int64_t t = gpu_block(), slot = p.slots[t], position = p.positions[t];
    if (slot < 0 || ((position + 1) & 3) != 0 || gpu_team() >= J) return;
    const int64_t offset = pool4_offset(p, p.requests[t], position);
    compress_store(a.scratch + t * a.scratch_stride, gpu_team(),
                   pool4_channels<64 * J, BF16>(p, offset, position < 7, gpu_team()));
}

/* Many tokens: a block pools the slices of a token in turn, so that the pages it reads stay open. Few tokens (SPLIT):
 * block b takes slice b % 8 of the tokens of group b / 8. */
template <bool BF16, bool SPLIT>
__global__ void __launch_bounds__(CALL_THREADS, 2)
    compress128_kernel(const struct compress_args a) {
    __shared__ struct pool_shared shared;
    const struct kv_pool &p = a.pool;
    const int first = SPLIT ? (int)(gpu_block() % POOL_SLICES) : 0;
    const int end = SPLIT ? first + 1 : POOL_SLICES;
    struct pool_group group = pool128_group(p, SPLIT ? gpu_block() / POOL_SLICES : gpu_block());
    for (int64_t t = pool_take(&group); t >= 0; t = pool_take(&group)) {
        const int64_t offset = pool128_offset(p, p.requests[t], p.positions[t]);
        GPU_NO_UNROLL for (int slice = first; slice < end; slice++) {
            const struct pool_pair values = pool128_slice<BF16>(p, &shared, offset, slice);
            if (gpu_team() == 0) compress_store(a.scratch + t * a.scratch_stride, slice, values);
        }
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const scratch = dsv4_find(call, "scratch");
    const int status = kv_supports_pool(call, why);
    if (status != DSV4_OK) return status;
    CALL_NEED(call, "scratch", DSV4_F32, 2, why);
    CALL_NEED_ALIGNED(call, "scratch", 8, why);
    if (scratch->shape[1] != pool_head_of(call))
        return call_unsupported(why, "scratch: rows of %lld, head is %d",
                                (long long)scratch->shape[1], pool_head_of(call));
    return DSV4_OK;
}

template <int J, bool BF16>
static void launch4(struct compress_args a, dim3 grid, bool wide, gpu_stream stream) {
    if (wide)
        GPU_LAUNCH((compress4_wide_kernel<J, BF16>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((compress4_kernel<J, BF16>), grid, CALL_THREADS, stream, a);
}

template <bool BF16>
static void launch128(struct compress_args a, dim3 grid, bool split, gpu_stream stream) {
    if (split)
        GPU_LAUNCH((compress128_kernel<BF16, true>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((compress128_kernel<BF16, false>), grid, CALL_THREADS, stream, a);
}

static int run(const dsv4_call *call, struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    struct compress_args a;
    dim3 grid;
    int status = kv_pool_refused(call, why);
    if (status != DSV4_OK) return status;
    a.pool = kv_pool_of(call);
    a.scratch = (char *)dsv4_find(call, "scratch")->data;
    a.scratch_stride = dsv4_find(call, "scratch")->stride[0];
    if (a.pool.rows == 0) return DSV4_OK;
    if (a.pool.ratio == 128) {
        const bool split = a.pool.rows < POOL_MAX_GROUP * GPU_BUSY_BLOCKS;
        const int blocks = split ? POOL_SLICES : 1;
        a.pool.group = call_group(a.pool.rows, blocks, 1, POOL_MAX_GROUP);
        status = call_grid(&grid, call_ceil(a.pool.rows, a.pool.group) * blocks, why);
        if (status != DSV4_OK) return status;
        if (a.pool.bf16)
            launch128<true>(a, grid, split, stream);
        else
            launch128<false>(a, grid, split, stream);
        return call_launched(why);
    }
    const bool wide = a.pool.head == KV_HEAD && a.pool.rows <= 2 * GPU_BUSY_BLOCKS;
    a.pool.group = wide ? 1 : call_group(a.pool.rows, 1, CALL_TEAMS, TEAM);
    status = call_grid(&grid, call_ceil(a.pool.rows, a.pool.group), why);
    if (status != DSV4_OK) return status;
    if (a.pool.head == KV_HEAD && a.pool.bf16)
        launch4<8, true>(a, grid, wide, stream);
    else if (a.pool.head == KV_HEAD)
        launch4<8, false>(a, grid, wide, stream);
    else if (a.pool.bf16)
        launch4<2, true>(a, grid, wide, stream);
    else
        launch4<2, false>(a, grid, wide, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(kv_compress)
