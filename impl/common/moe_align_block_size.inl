/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_align_block_size: the sort by expert; then teams fill up an expert each, and all blocks what lies beyond. Of few slots a
 * block places a team's, and there are as many blocks as give each expert a team.
 */
#include "moe_sort.inl"

enum { ALIGN_TAIL_MINUS_ONE, ALIGN_TAIL_ZERO, ALIGN_TAIL_UNTOUCHED };

GPU_DEVICE void align_fill(int32_t *to, int begin, int end, int32_t value, int lane, int lanes) {
    for (int64_t i = begin + lane; i < end; i += lanes) to[i] = value;
}

struct align_args : sort_args {
    const int32_t *marks; /* NULL: expert_ids hold experts as they are sorted by */
    int32_t *sorted, *experts, *total;
    struct gpu_divisor block;
    int places, blocks, tail, few_blocks;

    IDX_METHOD void place(int slot, int at, int) const { sorted[at] = slot; }
    IDX_METHOD void none(int) const {}
    IDX_METHOD int32_t mark(int e) const { return marks != NULL ? marks[e] : e; }

    /* Places without a slot, and blocks. */
    IDX_METHOD void finish(const struct sort_tables &t, int thread, int threads) const {
        const int end = t.starts[d.experts], used = (int)gpu_quotient(end, block);
        for (int e = thread / TEAM; e < d.experts; e += threads / TEAM) {
            const int next = t.starts[e + 1];
            align_fill(sorted, t.ends[e], next, d.n, gpu_lane(), TEAM);
            align_fill(experts, (int)gpu_quotient(t.starts[e], block),
                       (int)gpu_quotient(next, block), mark(e), gpu_lane(), TEAM);
        }
        align_fill(sorted, end, places, d.n, thread, threads);
        if (tail == ALIGN_TAIL_MINUS_ONE) align_fill(experts, used, blocks, -1, thread, threads);
        if (tail == ALIGN_TAIL_ZERO)
            align_fill(experts, used, blocks, marks != NULL ? marks[0] : 0, thread, threads);
        if (thread == 0) *total = end;
    }
};

__global__ void __launch_bounds__(CALL_THREADS) align_few_kernel(const struct align_args a) {
    __shared__ struct sort_counts counts;
    const int first = (int)gpu_block() * TEAM, slot = first + gpu_lane();
    sort_count(counts, a, first);
    if (gpu_team() == 0) {
        const int e = slot < a.d.n ? dispatch_expert_of(a.d, dispatch_id(a.d, slot)) : -1;
        const uint32_t same = sort_same(e, a.bits);
        if (e >= 0) a.place(slot, counts.next[e] + sort_bits(same & ((1u << gpu_lane()) - 1)), e);
    }
    const struct sort_tables tables = {counts.starts, counts.ends};
    a.finish(tables, (int)gpu_block() * CALL_THREADS + (int)gpu_thread(),
             a.few_blocks * CALL_THREADS);
}

static int64_t align_sorted_by(const dsv4_call *call) {
    const dsv4_tensor *const map = dsv4_find(call, "expert_map");
    const bool marked = dsv4_is(call, "invalid", "marked") && !call_absent(map);
    return marked ? map->shape[0] : dsv4_int(call, "experts", 1);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "sorted_token_ids", DSV4_I32, 1, why);
    CALL_NEED(call, "expert_ids", DSV4_I32, 1, why);
    CALL_NEED(call, "num_tokens_post_pad", DSV4_I32, 1, why);
    return dispatch_supports(call, align_sorted_by(call), why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const map = dsv4_find(call, "expert_map");
    const dsv4_tensor *const sorted = dsv4_find(call, "sorted_token_ids");
    const dsv4_tensor *const experts = dsv4_find(call, "expert_ids");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct align_args a;
    a.d = dispatch_ids_of(call, align_sorted_by(call));
    a.marks = NULL;
    if (dsv4_is(call, "invalid", "marked") && !call_absent(map)) {
        a.marks = (const int32_t *)map->data;
        a.d.map = NULL;
    }
    a.sorted = (int32_t *)sorted->data;
    a.experts = (int32_t *)experts->data;
    a.total = (int32_t *)dsv4_find(call, "num_tokens_post_pad")->data;
    a.block = call_divisor(dsv4_int(call, "block_size", 1));
    a.align = (int)a.block.value;
    sort_deal(a);
    a.places = (int)sorted->shape[0];
    a.blocks = (int)experts->shape[0];
    a.tail = dsv4_is(call, "tail", "zero")        ? ALIGN_TAIL_ZERO
             : dsv4_is(call, "tail", "untouched") ? ALIGN_TAIL_UNTOUCHED
                                                  : ALIGN_TAIL_MINUS_ONE;
    a.few_blocks = (int)call_ceil(a.d.n > 4 * a.d.experts ? a.d.n : 4 * a.d.experts, TEAM);
    if (a.d.n <= SORT_FEW)
        GPU_LAUNCH(align_few_kernel, dim3((uint32_t)a.few_blocks), CALL_THREADS, stream, a);
    else
        sort_launch(a, stream);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_align_block_size)
