/* SPDX-License-Identifier: Apache-2.0 */
/* moe_align_block_size: a block writes the places of its expert, and its share of what lies beyond all of them. */
#include "moe_sort.inl"

enum { ALIGN_TAIL_MINUS_ONE, ALIGN_TAIL_ZERO, ALIGN_TAIL_UNTOUCHED };

struct align_args {
    struct dispatch_ids d;
    const int32_t *marks; /* NULL: expert_ids hold experts as they are sorted by */
    int32_t *sorted, *experts, *total;
    struct gpu_divisor block;
    int places, blocks, tail;

    IDX_METHOD void place(int slot, int at) const { sorted[at] = slot; }
    IDX_METHOD void none(int) const {}
};

GPU_DEVICE void align_fill(int32_t *to, int begin, int end, int32_t value) {
    for (int i = begin + (int)gpu_thread(); i < end; i += CALL_THREADS) to[i] = value;
}

/* This block's share of begin .. end - 1. */
GPU_DEVICE void align_share(int32_t *to, int begin, int end, int32_t value, int blocks) {
    if (end <= begin) return;
    const int each = (end - begin + blocks - 1) / blocks;
    const int first = begin + each * (int)gpu_block();
    align_fill(to, first, first + each < end ? first + each : end, value);
}

__global__ void __launch_bounds__(CALL_THREADS) align_kernel(const struct align_args a) {
    __shared__ int counters[DISPATCH_MOST_EXPERTS], sums[CALL_TEAMS];
    const int size = (int)a.block.value;
    const struct sort_expert s = sort_count<true>(a.d, size, counters, sums);
    const int used = (int)gpu_quotient(s.total, a.block);
    sort_place(a, a.d, s);
    align_fill(a.sorted, s.start + s.count, s.end, a.d.n);
    align_fill(a.experts, (int)gpu_quotient(s.start, a.block), (int)gpu_quotient(s.end, a.block),
               a.marks != NULL ? a.marks[s.e] : s.e);
    align_share(a.sorted, s.total, a.places, a.d.n, a.d.experts);
    if (a.tail == ALIGN_TAIL_MINUS_ONE) align_share(a.experts, used, a.blocks, -1, a.d.experts);
    if (a.tail == ALIGN_TAIL_ZERO)
        align_share(a.experts, used, a.blocks, a.marks != NULL ? a.marks[0] : 0, a.d.experts);
    if (gpu_block() == 0 && gpu_thread() == 0) *a.total = s.total;
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
    a.places = (int)sorted->shape[0];
    a.blocks = (int)experts->shape[0];
    a.tail = dsv4_is(call, "tail", "zero")        ? ALIGN_TAIL_ZERO
             : dsv4_is(call, "tail", "untouched") ? ALIGN_TAIL_UNTOUCHED
                                                  : ALIGN_TAIL_MINUS_ONE;
    GPU_LAUNCH(align_kernel, dim3((uint32_t)a.d.experts), CALL_THREADS, (gpu_stream)call->stream,
               a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_align_block_size)
