/* SPDX-License-Identifier: Apache-2.0 */
/* kv_norm_rope_store: norm, RoPE, quantise and store pooled rows; a team per live row of 32 tokens. */
#include "kv_finish.inl"

struct norm_args {
    struct kv_finish finish;
    const char *scratch;
    const int64_t *positions, *slots;
    int64_t scratch_stride, rows;
    int group; /* tokens per block, at most 32 */
};

template <int J, bool NARROW>
__global__ void __launch_bounds__(CALL_THREADS) norm_rope_store_kernel(const struct norm_args a) {
    const int64_t first = gpu_block() * a.group, t = first + gpu_lane();
    const bool mine = gpu_lane() < a.group && t < a.rows;
    const int64_t slot = mine ? a.slots[t] : -1, position = mine ? a.positions[t] : 0;
    const int64_t kv_slot = mine ? a.finish.kv_slots[t] : -1;
    const bool ends = ((position + 1) & (a.finish.ratio - 1)) == 0;
    const uint32_t live = team_ballot(slot >= 0 && kv_slot >= 0 && ends);
    for (int n = gpu_team();; n += CALL_TEAMS) {
        const int i = gpu_nth_bit(live, n);
        if (i < 0) return;
        const char *const row = a.scratch + (first + i) * a.scratch_stride;
        float x[2 * J];
        GPU_UNROLL for (int j = 0; j < J; j++) {
            const gpu_f2 pair = row_load_f32(row, j);
            x[2 * j] = pair.x;
            x[2 * j + 1] = pair.y;
        }
        finish_row<J, NARROW>(a.finish, x, team_read_i64(position, i), team_read_i64(kv_slot, i));
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const scratch = dsv4_find(call, "scratch");
    const int64_t ratio = dsv4_int(call, "ratio", 4);
    CALL_NEED(call, "scratch", DSV4_F32, 2, why);
    CALL_NEED_ALIGNED(call, "scratch", 8, why);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "slot_mapping", DSV4_I64, 1, why);
    const int form = kv_form_of(call);
    const int64_t head =
        form == KV_INDEXER_FP8 || form == KV_INDEXER_MXFP4 ? INDEXER_HEAD : KV_HEAD;
    if (scratch->shape[1] != head)
        return call_unsupported(why, "scratch: rows of %lld; this store takes rows of %lld",
                                (long long)scratch->shape[1], (long long)head);
    if (ratio != 4 && ratio != 128)
        return call_unsupported(why, "ratio %lld; these kernels take 4 or 128", (long long)ratio);
    return kv_supports_finish(call, head, why);
}

template <bool NARROW>
static void launch(const struct norm_args &a, dim3 grid, int64_t head, gpu_stream stream) {
    if (head == KV_HEAD)
        GPU_LAUNCH((norm_rope_store_kernel<8, NARROW>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((norm_rope_store_kernel<2, NARROW>), grid, CALL_THREADS, stream, a);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const scratch = dsv4_find(call, "scratch");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct norm_args a;
    dim3 grid;
    a.finish = kv_finish_of(call);
    a.scratch = (const char *)scratch->data;
    a.scratch_stride = scratch->stride[0];
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.slots = (const int64_t *)dsv4_find(call, "slot_mapping")->data;
    a.rows = call_covered(call, scratch->shape[0]);
    a.group = call_group(a.rows, 1, CALL_TEAMS, TEAM);
    if (a.rows == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.rows, a.group), why);
    if (status != DSV4_OK) return status;
    if (kv_finish_is_narrow(call))
        launch<true>(a, grid, scratch->shape[1], stream);
    else
        launch<false>(a, grid, scratch->shape[1], stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(kv_norm_rope_store)
