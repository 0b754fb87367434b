/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_compress_norm_rope_store: kv_compress and kv_norm_rope_store in one, without scratch.
 *
 * Ratio 4: a team pools its token's row piece by piece into lane-private shared memory and finishes it alone; for few
 * tokens a block's teams share one token. Ratio 128: a block pools the eight slices of a row in turn and one team
 * finishes; for few tokens, where there are clusters (FUSED_CLUSTER), eight blocks share one token.
 */
#include "kv_finish.inl"
#include "kv_pool.inl"

struct fused_args {
    struct kv_pool pool;
    struct kv_finish finish;
};

/* A pooled row as the lanes hold it. */
typedef struct pool_pair fused_row[KV_HEAD / ROW_STEP][TEAM];

template <int J, bool NARROW>
GPU_DEVICE void fused_finish(const struct fused_args &a, const fused_row &row, int64_t position,
                             int64_t slot) {
    float x[2 * J];
    GPU_UNROLL for (int j = 0; j < J; j++) {
        const struct pool_pair pair = row[j][gpu_lane()];
        x[2 * j] = pair.a;
        x[2 * j + 1] = pair.b;
    }
    finish_row<J, NARROW>(a.finish, x, position, slot);
}

template <int J, bool BF16, bool NARROW>
__global__ void __launch_bounds__(CALL_THREADS) fused4_kernel(const struct fused_args a) {
    __shared__ struct pool_pair rows[CALL_TEAMS][KV_HEAD / ROW_STEP][TEAM];
    const struct kv_pool &p = a.pool;
    const int64_t first = gpu_block() * p.group, t = first + gpu_lane();
    const bool mine = gpu_lane() < p.group && t < p.rows;
    const int64_t slot = mine ? p.slots[t] : -1, position = mine ? p.positions[t] : 0;
    const int64_t kv_slot = mine ? a.finish.kv_slots[t] : -1;
    const uint32_t live = pool_live(position, slot < 0 ? slot : kv_slot, 4);
    for (int n = gpu_team();; n += CALL_TEAMS) {
        const int i = gpu_nth_bit(live, n);
        if (i < 0) return;
        const int64_t last = team_read_i64(position, i);
        const int64_t offset = pool4_offset(p, p.requests[first + i], last);
        GPU_NO_UNROLL for (int j = 0; j < J; j++) rows[gpu_team()][j][gpu_lane()] =
            pool4_channels<64 * J, BF16>(p, offset, last < 7, j);
        fused_finish<J, NARROW>(a, rows[gpu_team()], last, team_read_i64(kv_slot, i));
    }
}

/* For few tokens: a block per token, a team per 64 channels. */
template <int J, bool BF16, bool NARROW>
__global__ void __launch_bounds__(CALL_THREADS) fused4_wide_kernel(const struct fused_args a) {
    __shared__ fused_row row;
    const struct kv_pool &p = a.pool;
    const int64_t t = gpu_block(), slot = p.slots[t], position = p.positions[t];
    const int64_t kv_slot = a.finish.kv_slots[t];
    if (slot < 0 || kv_slot < 0 || ((position + 1) & 3) != 0) return;
    if (gpu_team() < J) {
        const int64_t offset = pool4_offset(p, p.requests[t], position);
        row[gpu_team()][gpu_lane()] =
            pool4_channels<64 * J, BF16>(p, offset, position < 7, gpu_team());
    }
    gpu_barrier();
    if (gpu_team() == 0) fused_finish<J, NARROW>(a, row, position, kv_slot);
}

/* A block pools the slices of a token in turn, so that the pages it reads stay open. */
template <bool BF16, bool NARROW>
__global__ void __launch_bounds__(CALL_THREADS, 3) fused128_kernel(const struct fused_args a) {
    __shared__ struct pool_shared shared;
    __shared__ fused_row row;
    const struct kv_pool &p = a.pool;
    struct pool_group group = pool128_group(p, gpu_block());
    for (int64_t t = pool_take(&group); t >= 0; t = pool_take(&group)) {
        const int64_t position = p.positions[t], kv_slot = a.finish.kv_slots[t];
        if (kv_slot < 0) continue;
        const int64_t offset = pool128_offset(p, p.requests[t], position);
        GPU_NO_UNROLL for (int slice = 0; slice < POOL_SLICES; slice++) {
            const struct pool_pair values = pool128_slice<BF16>(p, &shared, offset, slice);
            if (gpu_team() == 0) row[slice][gpu_lane()] = values;
        }
        /* Written and read by the same lanes. */
        if (gpu_team() == 0) fused_finish<8, NARROW>(a, row, position, kv_slot);
    }
}

#ifdef FUSED_CLUSTER
/* For few tokens: eight blocks of a cluster pool a slice each and leave it in the first block's row. */
template <bool BF16, bool NARROW>
__global__ void __cluster_dims__(POOL_SLICES) __launch_bounds__(CALL_THREADS, 3)
    fused128_wide_kernel(const struct fused_args a) {
    __shared__ struct pool_shared shared;
    __shared__ fused_row row;
    const struct kv_pool &p = a.pool;
    const int slice = (int)(gpu_block() % POOL_SLICES);
    const int64_t t = gpu_block() / POOL_SLICES, position = p.positions[t];
    const int64_t kv_slot = a.finish.kv_slots[t];
    if (p.slots[t] < 0 || kv_slot < 0 || ((position + 1) & 127) != 0) return;
    const int64_t offset = pool128_offset(p, p.requests[t], position);
    const struct pool_pair values = pool128_slice<BF16>(p, &shared, offset, slice);
    FUSED_CLUSTER_BARRIER(); /* the first block has entered: its shared memory is there */
    if (gpu_team() == 0) *FUSED_FIRST_BLOCK(&row[slice][gpu_lane()]) = values;
    FUSED_CLUSTER_BARRIER();
    if (slice == 0 && gpu_team() == 0) fused_finish<8, NARROW>(a, row, position, kv_slot);
}
#endif

static int supports(const dsv4_call *call, struct call_why why) {
    const int status = kv_supports_pool(call, why);
    return status == DSV4_OK ? kv_supports_finish(call, pool_head_of(call), why) : status;
}

template <int J, bool BF16, bool NARROW>
static void launch4(struct fused_args a, dim3 grid, bool wide, gpu_stream stream) {
    if (wide)
        GPU_LAUNCH((fused4_wide_kernel<J, BF16, NARROW>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((fused4_kernel<J, BF16, NARROW>), grid, CALL_THREADS, stream, a);
}

template <bool BF16, bool NARROW>
static int launch128(struct fused_args a, gpu_stream stream, struct call_why why) {
    dim3 grid;
    int status;
#ifdef FUSED_CLUSTER
    if (a.pool.rows <= GPU_BUSY_BLOCKS) {
        status = call_grid(&grid, a.pool.rows * POOL_SLICES, why);
        if (status != DSV4_OK) return status;
        GPU_LAUNCH((fused128_wide_kernel<BF16, NARROW>), grid, CALL_THREADS, stream, a);
        return call_launched(why);
    }
#endif
    a.pool.group = call_group(a.pool.rows, 1, 1, POOL_MAX_GROUP);
    status = call_grid(&grid, call_ceil(a.pool.rows, a.pool.group), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH((fused128_kernel<BF16, NARROW>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

template <bool NARROW> static int run_as(const dsv4_call *call, struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    struct fused_args a;
    dim3 grid;
    int status = kv_pool_refused(call, why);
    if (status != DSV4_OK) return status;
    a.pool = kv_pool_of(call);
    a.finish = kv_finish_of(call);
    if (a.pool.rows == 0) return DSV4_OK;
    if (a.pool.ratio == 128)
        return a.pool.bf16 ? launch128<true, NARROW>(a, stream, why)
                           : launch128<false, NARROW>(a, stream, why);
    const bool wide = a.pool.head == KV_HEAD && a.pool.rows <= 2 * GPU_BUSY_BLOCKS;
    a.pool.group = wide ? 1 : call_group(a.pool.rows, 1, CALL_TEAMS, TEAM);
    status = call_grid(&grid, call_ceil(a.pool.rows, a.pool.group), why);
    if (status != DSV4_OK) return status;
    if (a.pool.head == KV_HEAD && a.pool.bf16)
        launch4<8, true, NARROW>(a, grid, wide, stream);
    else if (a.pool.head == KV_HEAD)
        launch4<8, false, NARROW>(a, grid, wide, stream);
    else if (a.pool.bf16)
        launch4<2, true, NARROW>(a, grid, wide, stream);
    else
        launch4<2, false, NARROW>(a, grid, wide, stream);
    return call_launched(why);
}

static int run(const dsv4_call *call, struct call_why why) {
    return kv_finish_is_narrow(call) ? run_as<true>(call, why) : run_as<false>(call, why);
}

CALL_ENTRY_POINTS(kv_compress_norm_rope_store)
