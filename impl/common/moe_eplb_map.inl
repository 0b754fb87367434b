/* SPDX-License-Identifier: Apache-2.0 */
/* moe_eplb_map: a lane takes four slots; a block counts loads in shared memory, then adds them. */
#include "moe_dispatch.inl"

enum { EPLB_HASH, EPLB_POSITION, EPLB_RANK, EPLB_MOST = 4096 };
/* Blocks that a multiprocessor has room for at once. */
enum { EPLB_RESIDENT = 8 };

struct eplb_args {
    struct dispatch_ids d;
    const int32_t *replicas, *counts, *record, *n_tokens;
    char *physical;
    int32_t *load;
    struct gpu_divisor topk;
    int most, loads, rank, per_block;
};

template <int CHOICE>
GPU_DEVICE uint32_t eplb_replica(const struct eplb_args &a, int i, uint32_t n) {
    const uint32_t t = CHOICE == EPLB_POSITION ? (uint32_t)i : (uint32_t)gpu_quotient(i, a.topk);
    if (CHOICE == EPLB_HASH) return t * 2654435769u % n;
    if (CHOICE == EPLB_POSITION) return t % n;
    /* Products of remainders fit into 32 bits, as n is at most 1024 or so. */
    return ((uint32_t)a.rank % n + t % n * (23333u % n)) % n;
}

template <int CHOICE> GPU_DEVICE int eplb_map(const struct eplb_args &a, int i, int e) {
    if (e < 0) return -1;
    const int32_t count = a.counts[e];
    const uint32_t n = count > 1 ? (uint32_t)count : 1u;
    return a.replicas[(int64_t)e * a.most + (n > 1 ? eplb_replica<CHOICE>(a, i, n) : 0u)];
}

template <int CHOICE>
__global__ void __launch_bounds__(CALL_THREADS, EPLB_RESIDENT)
    eplb_kernel(const struct eplb_args a) {
    __shared__ int counters[EPLB_MOST];
    const int64_t begin = gpu_block() * a.per_block, last = begin + a.per_block;
    const int end = (int)(last < a.d.n ? last : a.d.n);
    const int64_t counted = a.n_tokens != NULL ? *a.n_tokens * a.topk.value : a.d.n;
    const bool record = *a.record != 0;
    for (int p = (int)gpu_thread(); p < a.loads; p += CALL_THREADS) counters[p] = 0;
    gpu_barrier();
    GPU_NO_UNROLL
    for (int first = (int)begin; first < end; first += 4 * CALL_THREADS) {
        struct idx_four x = dispatch_load(a.d, first);
        GPU_UNROLL
        for (int k = 0; k < 4; k++)
            x.x[k] = eplb_map<CHOICE>(a, dispatch_slot(a.d.wide, first, k), x.x[k]);
        dispatch_store(a.physical, a.d, first, x);
        GPU_UNROLL
        for (int k = 0; k < 4; k++)
            if (record && dispatch_slot(a.d.wide, first, k) < counted && x.x[k] >= 0 &&
                x.x[k] < a.loads)
                dispatch_add_shared(&counters[x.x[k]], 1);
    }
    gpu_barrier();
    for (int p = (int)gpu_thread(); p < a.loads; p += CALL_THREADS)
        if (counters[p] != 0) dispatch_add_global(&a.load[p], counters[p]);
}

/* Slots of a block, so that no block waits for another one to end. */
static int eplb_per_block(int64_t slots) {
#if GPU_HIP
    const int64_t blocks = GPU_BUSY_BLOCKS + 1;
#else
    const int64_t blocks = EPLB_RESIDENT * gpu_multiprocessors();
#endif
    return (int)call_ceil(slots, 4 * CALL_THREADS * blocks) * 4 * CALL_THREADS;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const ids = dsv4_find(call, "ids"), *const load = dsv4_find(call, "load");
    CALL_NEED(call, "physical", ids->dtype, 2, why);
    CALL_NEED(call, "replicas", DSV4_I32, 2, why);
    CALL_NEED(call, "replica_count", DSV4_I32, 1, why);
    CALL_NEED(call, "record", DSV4_I32, 1, why);
    CALL_NEED(call, "load", DSV4_I32, 1, why);
    if (!call_absent(dsv4_find(call, "n_tokens"))) CALL_NEED(call, "n_tokens", DSV4_I32, 1, why);
    if (load->shape[0] > EPLB_MOST || dsv4_find(call, "replicas")->shape[1] > 1024)
        return call_unsupported(why, "these kernels take up to %d physical experts, 1024 replicas",
                                (int)EPLB_MOST);
    if ((uintptr_t)dsv4_find(call, "physical")->data % 16 != 0)
        return call_unsupported(why, "physical: these kernels write it in pieces of 16 bytes");
    return dispatch_supports(call, dsv4_find(call, "replica_count")->shape[0], why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const n_tokens = dsv4_find(call, "n_tokens");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct eplb_args a;
    a.d = dispatch_ids_of(call, dsv4_find(call, "replica_count")->shape[0]);
    a.replicas = (const int32_t *)dsv4_find(call, "replicas")->data;
    a.counts = (const int32_t *)dsv4_find(call, "replica_count")->data;
    a.record = (const int32_t *)dsv4_find(call, "record")->data;
    a.n_tokens = call_absent(n_tokens) ? NULL : (const int32_t *)n_tokens->data;
    a.physical = (char *)dsv4_find(call, "physical")->data;
    a.load = (int32_t *)dsv4_find(call, "load")->data;
    a.topk = call_divisor(dsv4_find(call, "ids")->shape[1]);
    a.most = (int)dsv4_find(call, "replicas")->shape[1];
    a.loads = (int)dsv4_find(call, "load")->shape[0];
    a.rank = (int)dsv4_int(call, "rank", 0);
    if (a.d.n == 0) return DSV4_OK;
    a.per_block = eplb_per_block(a.d.n);
    const dim3 grid((uint32_t)call_ceil(a.d.n, a.per_block));
    if (dsv4_is(call, "choice", "rank"))
        GPU_LAUNCH(eplb_kernel<EPLB_RANK>, grid, CALL_THREADS, stream, a);
    else if (dsv4_is(call, "choice", "position"))
        GPU_LAUNCH(eplb_kernel<EPLB_POSITION>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(eplb_kernel<EPLB_HASH>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_eplb_map)
