/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mtp_argmax: a block per row. Threads keep the first of their largest logits, as numbers whose order is that of the
 * logits; teams, then the block, choose the largest and among equal ones the lowest id. Few rows are shared among the
 * eight blocks of a cluster, where there are clusters.
 */
#include "call.h"
#include "num.inl"

#if defined(GPU_CLUSTERS) && GPU_CUDA
#include <cooperative_groups.h>
enum { ARGMAX_RANKS = 8 };
#endif

enum { ARGMAX_EACH = 4 /* vectors of four logits under way together */ };

struct argmax_args {
    const char *logits;
    char *out;
    int64_t stride;
    int n, wide_ids;
};

struct argmax_best {
    uint32_t key, id;
};

/* NaN above all; zeros equal. */
GPU_DEVICE uint32_t argmax_key(float x) {
    const uint32_t bits = gpu_bits(x), magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return 0xFFFFFFFFu;
    return (bits >> 31) != 0 ? 0x80000000u - magnitude : 0x80000000u + magnitude;
}

GPU_DEVICE void argmax_look(struct argmax_best &best, float x, uint32_t id) {
    const uint32_t key = argmax_key(x);
    if (key <= best.key) return;
    best.key = key;
    best.id = id;
}

/* Of two, each the first of its own. */
GPU_DEVICE struct argmax_best argmax_better(struct argmax_best a, struct argmax_best b) {
    return b.key > a.key || (b.key == a.key && b.id < a.id) ? b : a;
}

#define ARGMAX_ACROSS(best, mask)                                                                  \
    do {                                                                                           \
        struct argmax_best other;                                                                  \
        other.key = team_xor_u32((best).key, mask);                                                \
        other.id = team_xor_u32((best).id, mask);                                                  \
        best = argmax_better(best, other);                                                         \
    } while (0)

GPU_DEVICE struct argmax_best argmax_team(struct argmax_best best) {
    ARGMAX_ACROSS(best, 16);
    ARGMAX_ACROSS(best, 8);
    ARGMAX_ACROSS(best, 4);
    ARGMAX_ACROSS(best, 2);
    ARGMAX_ACROSS(best, 1);
    return best;
}

/* The first of this thread's largest: its logits come in ascending order. */
template <bool WIDE> GPU_DEVICE struct argmax_best argmax_scan(const float *row, int n) {
    enum { STEP = CALL_THREADS * 4 };
    struct argmax_best best = {0, 0xFFFFFFFFu};
    int at = (int)gpu_thread() * 4;
    for (; WIDE && at + (ARGMAX_EACH - 1) * STEP + 4 <= n; at += ARGMAX_EACH * STEP) {
        gpu_f4 x[ARGMAX_EACH];
        GPU_UNROLL for (int i = 0; i < ARGMAX_EACH; i++) x[i] =
            *(const gpu_f4 *)(row + at + i * STEP);
        GPU_UNROLL for (int i = 0; i < ARGMAX_EACH; i++) {
            const uint32_t id = (uint32_t)(at + i * STEP);
            argmax_look(best, x[i].x, id);
            argmax_look(best, x[i].y, id + 1);
            argmax_look(best, x[i].z, id + 2);
            argmax_look(best, x[i].w, id + 3);
        }
    }
    for (; at < n; at += STEP)
        for (int i = at; i < at + 4 && i < n; i++) argmax_look(best, row[i], (uint32_t)i);
    return best;
}

/* Of the block: in its first thread. */
template <bool WIDE>
GPU_DEVICE struct argmax_best argmax_block(struct argmax_best *bests, const float *row, int n) {
    const struct argmax_best best = argmax_team(argmax_scan<WIDE>(row, n));
    if (gpu_lane() == 0) bests[gpu_team()] = best;
    gpu_barrier();
    struct argmax_best all = bests[0];
    for (int i = 1; i < CALL_TEAMS && gpu_thread() == 0; i++) all = argmax_better(all, bests[i]);
    return all;
}

GPU_DEVICE void argmax_store(const struct argmax_args &a, int64_t t, uint32_t id) {
    if (a.wide_ids)
        ((int64_t *)a.out)[t] = id;
    else
        ((int32_t *)a.out)[t] = (int32_t)id;
}

template <bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) argmax_kernel(const struct argmax_args a) {
    __shared__ struct argmax_best bests[CALL_TEAMS];
    const int64_t t = gpu_block();
    const struct argmax_best best =
        argmax_block<WIDE>(bests, (const float *)(a.logits + t * a.stride), a.n);
    if (gpu_thread() == 0) argmax_store(a, t, best.id);
}

#if defined(GPU_CLUSTERS) && GPU_CUDA
template <bool WIDE>
__global__ void __cluster_dims__(ARGMAX_RANKS) __launch_bounds__(CALL_THREADS)
    argmax_shared_kernel(const struct argmax_args a) {
    __shared__ struct argmax_best bests[CALL_TEAMS], ranks[ARGMAX_RANKS];
    const int64_t t = gpu_block() / ARGMAX_RANKS;
    const int rank = (int)(gpu_block() % ARGMAX_RANKS);
    const int each = ((a.n + ARGMAX_RANKS - 1) / ARGMAX_RANKS + 3) & ~3, first = rank * each;
    const int n = a.n - first < each ? a.n - first : each;
    auto cluster = cooperative_groups::this_cluster();
    struct argmax_best best =
        argmax_block<WIDE>(bests, (const float *)(a.logits + t * a.stride) + first, n);
    cluster.sync(); /* the first block has entered: its shared memory is there */
    if (gpu_thread() == 0) {
        if (n > 0) best.id += (uint32_t)first;
        *cluster.map_shared_rank(&ranks[rank], 0) = best;
    }
    cluster.sync();
    if (rank != 0 || gpu_thread() != 0) return;
    best = ranks[0];
    for (int i = 1; i < ARGMAX_RANKS; i++) best = argmax_better(best, ranks[i]);
    argmax_store(a, t, best.id);
}
#endif

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const out = dsv4_find(call, "out");
    const bool i32 = !call_absent(out) && out->dtype == DSV4_I32;
    CALL_NEED(call, "logits", DSV4_F32, 2, why);
    CALL_NEED(call, "out", i32 ? DSV4_I32 : DSV4_I64, 1, why);
    if (dsv4_find(call, "logits")->shape[1] > 1 << 28)
        return call_unsupported(why, "logits: more columns than these kernels count");
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "logits"), *const out = dsv4_find(call, "out");
    const gpu_stream stream = (gpu_stream)call->stream;
    const struct argmax_args a = {(const char *)x->data, (char *)out->data, x->stride[0],
                                  (int)x->shape[1], out->dtype == DSV4_I64};
    dim3 grid;
    if (x->shape[0] == 0) return DSV4_OK;
#if defined(GPU_CLUSTERS) && GPU_CUDA
    if (x->shape[0] < GPU_BUSY_BLOCKS / ARGMAX_RANKS && a.n >= CALL_THREADS * ARGMAX_RANKS) {
        grid = dim3((uint32_t)(x->shape[0] * ARGMAX_RANKS));
        if (call_aligned(x, 16))
            GPU_LAUNCH(argmax_shared_kernel<true>, grid, CALL_THREADS, stream, a);
        else
            GPU_LAUNCH(argmax_shared_kernel<false>, grid, CALL_THREADS, stream, a);
        return call_launched(why);
    }
#endif
    const int status = call_grid(&grid, x->shape[0], why);
    if (status != DSV4_OK) return status;
    if (call_aligned(x, 16))
        GPU_LAUNCH(argmax_kernel<true>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(argmax_kernel<false>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mtp_argmax)
