/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_sched_metadata: one block. All lanes count the blocks of 256 requests at a time, the first one walks over them:
 * every part depends on where the one before it ended.
 */
#include "call.h"

enum { SCHED_KEYS = 64, SCHED_WORDS = 8 };

struct sched_args {
    const int32_t *lens, *extra_lens;
    int32_t *metadata, *num_splits;
    int64_t row; /* int32 words between rows of metadata */
    int requests, parts, width, extra_width, overhead;
};

GPU_DEVICE int sched_blocks(const struct sched_args &a, int request) {
    int n = a.lens == NULL ? a.width : a.lens[request];
    n = n == 0 ? 1 : n;
    if (a.extra_width > 0) {
        n = (n + SCHED_KEYS - 1) / SCHED_KEYS * SCHED_KEYS;
        n += a.extra_lens == NULL ? a.extra_width : a.extra_lens[request];
    }
    return (n + SCHED_KEYS - 1) / SCHED_KEYS;
}

/* Where the walk stands. */
struct sched_walk {
    int payload, part, left; /* left of this part's payload */
    int request, block, split, all_splits;
    int first_request, first_block, first_split; /* of this part */
    int before;                                  /* blocks of the request before */
};

GPU_DEVICE void sched_finish(const struct sched_args &a, struct sched_walk &walk, int blocks) {
    const int last = walk.block > 0 ? walk.request : walk.request - 1;
    const int end = walk.block > 0 ? walk.block : walk.before;
    int first_split = walk.first_block != 0, last_split = walk.block > 0 && end != blocks;
    if (walk.first_request == last) first_split = last_split = first_split | last_split;
    int32_t *const row = a.metadata + walk.part * a.row;
    row[0] = walk.first_request;
    row[1] = last;
    row[2] = walk.first_block;
    row[3] = end;
    row[4] = walk.first_split;
    row[5] = first_split;
    row[6] = last_split;
    row[7] = 0;
    walk.part++;
    walk.left = walk.payload;
    walk.first_request = walk.request;
    walk.first_block = walk.block;
    walk.first_split = walk.split;
}

/* Walks over requests first .. first + n - 1. */
GPU_DEVICE void sched_chunk(const struct sched_args &a, struct sched_walk &walk, const int *blocks,
                            int first, int n) {
    while (walk.part < a.parts && walk.request < first + n) {
        const int all = blocks[walk.request - first], rest = all - walk.block;
        if (walk.left < rest + a.overhead) {
            if (walk.left > a.overhead) {
                walk.block += walk.left - a.overhead;
                walk.split++;
            }
            sched_finish(a, walk, all);
            continue;
        }
        walk.left -= rest + a.overhead;
        walk.all_splits += walk.split + 1;
        a.num_splits[++walk.request] = walk.all_splits;
        walk.block = walk.split = 0;
        walk.before = all;
    }
    while (walk.part < a.parts && walk.request == a.requests) sched_finish(a, walk, 0);
}

__global__ void __launch_bounds__(CALL_THREADS) sched_kernel(const struct sched_args a) {
    __shared__ int blocks[CALL_THREADS], sums[CALL_TEAMS];
    const int thread = (int)gpu_thread();
    int total = 0;
    struct sched_walk walk;
    for (int i = thread; i < a.requests; i += CALL_THREADS)
        total += sched_blocks(a, i) + a.overhead;
    total += (int)team_xor_u32(total, 16);
    total += (int)team_xor_u32(total, 8);
    total += (int)team_xor_u32(total, 4);
    total += (int)team_xor_u32(total, 2);
    total += (int)team_xor_u32(total, 1);
    if (gpu_lane() == 0) sums[gpu_team()] = total;
    gpu_barrier();
    total = 0;
    for (int i = 0; i < CALL_TEAMS; i++) total += sums[i];
    walk.payload = walk.left = (total + a.parts - 1) / a.parts + a.overhead;
    walk.part = walk.request = walk.block = walk.split = walk.all_splits = walk.before = 0;
    walk.first_request = walk.first_block = walk.first_split = 0;
    if (thread == 0) a.num_splits[0] = 0;
    for (int first = 0; first < a.requests; first += CALL_THREADS) {
        const int left = a.requests - first, n = left < CALL_THREADS ? left : CALL_THREADS;
        if (thread < n) blocks[thread] = sched_blocks(a, first + thread);
        gpu_barrier();
        if (thread == 0) sched_chunk(a, walk, blocks, first, n);
        gpu_barrier();
    }
}

static int supports(const dsv4_call *call, struct call_why why) {
    if (!call_absent(dsv4_find(call, "lens"))) CALL_NEED(call, "lens", DSV4_I32, 1, why);
    if (!call_absent(dsv4_find(call, "extra_lens")))
        CALL_NEED(call, "extra_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "metadata", DSV4_I32, 2, why);
    CALL_NEED(call, "num_splits", DSV4_I32, 1, why);
    if (dsv4_find(call, "metadata")->shape[1] != SCHED_WORDS)
        return call_unsupported(why, "metadata: rows of %lld words; there are 8",
                                (long long)dsv4_find(call, "metadata")->shape[1]);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const lens = dsv4_find(call, "lens");
    const dsv4_tensor *const extra_lens = dsv4_find(call, "extra_lens");
    const dsv4_tensor *const metadata = dsv4_find(call, "metadata");
    const dsv4_tensor *const num_splits = dsv4_find(call, "num_splits");
    struct sched_args a;
    a.lens = call_absent(lens) ? NULL : (const int32_t *)lens->data;
    a.extra_lens = call_absent(extra_lens) ? NULL : (const int32_t *)extra_lens->data;
    a.metadata = (int32_t *)metadata->data;
    a.row = metadata->stride[0] / 4;
    a.num_splits = (int32_t *)num_splits->data;
    a.requests = (int)num_splits->shape[0] - 1;
    a.parts = (int)metadata->shape[0];
    a.width = (int)dsv4_int(call, "width", 0);
    a.extra_width = (int)dsv4_int(call, "extra_width", 0);
    a.overhead = (int)dsv4_int(call, "overhead", 0);
    if (a.parts == 0) return DSV4_OK;
    GPU_LAUNCH(sched_kernel, dim3(1), CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(attn_sched_metadata)
