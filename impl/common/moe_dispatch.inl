/* SPDX-License-Identifier: Apache-2.0 */
/* Slots and their experts, counters, and the sums of a block that order them. */
#ifndef DSV4_MOE_DISPATCH_INL
#define DSV4_MOE_DISPATCH_INL

#include "idx_common.inl"

enum { DISPATCH_MOST_EXPERTS = 1024 };

#if GPU_EMULATED
GPU_DEVICE void dispatch_add_shared(int *counter, int n) { *counter += n; }
GPU_DEVICE void dispatch_add_global(int32_t *counter, int n) { *counter += n; }
#elif GPU_CUDA
GPU_DEVICE void dispatch_add_shared(int *counter, int n) { atomicAdd(counter, n); }
GPU_DEVICE void dispatch_add_global(int32_t *counter, int n) { atomicAdd(counter, n); }
#else
GPU_DEVICE void dispatch_add_shared(int *counter, int n) {
    __hip_atomic_fetch_add(counter, n, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP);
}
GPU_DEVICE void dispatch_add_global(int32_t *counter, int n) {
    __hip_atomic_fetch_add(counter, n, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}
#endif

struct dispatch_ids {
    const char *ids;    /* on 16 bytes */
    const int32_t *map; /* NULL: ids are experts here */
    int n, limit, experts;
    bool wide; /* 64 bits */
};

/* Expert of an id; -1: none. */
GPU_DEVICE int dispatch_expert_of(const struct dispatch_ids &d, int64_t id) {
    if (id < 0 || id >= d.limit) return -1;
    if (d.map == NULL) return (int)id;
    const int32_t e = d.map[id];
    return e >= 0 && e < d.experts ? e : -1;
}

GPU_DEVICE int64_t dispatch_id(const struct dispatch_ids &d, int i) {
    return d.wide ? ((const int64_t *)d.ids)[i] : ((const int32_t *)d.ids)[i];
}

GPU_DEVICE int64_t dispatch_join(uint32_t low, uint32_t high) {
    return (int64_t)((uint64_t)high << 32 | low);
}

/* Experts of slots i .. i + 3, i a multiple of 4; -1 beyond the last. */
GPU_DEVICE struct idx_four dispatch_four(const struct dispatch_ids &d, int i) {
    struct idx_four four;
    idx_set(four, -1);
    if (i + 4 > d.n) {
        GPU_UNROLL
        for (int k = 0; k < 4; k++)
            if (i + k < d.n) four.x[k] = dispatch_expert_of(d, dispatch_id(d, i + k));
        return four;
    }
    if (d.wide) {
        const gpu_u4 a = ((const gpu_u4 *)d.ids)[i / 2], b = ((const gpu_u4 *)d.ids)[i / 2 + 1];
        four.x[0] = dispatch_expert_of(d, dispatch_join(a.x, a.y));
        four.x[1] = dispatch_expert_of(d, dispatch_join(a.z, a.w));
        four.x[2] = dispatch_expert_of(d, dispatch_join(b.x, b.y));
        four.x[3] = dispatch_expert_of(d, dispatch_join(b.z, b.w));
        return four;
    }
    const gpu_u4 a = ((const gpu_u4 *)d.ids)[i / 4];
    four.x[0] = dispatch_expert_of(d, (int32_t)a.x);
    four.x[1] = dispatch_expert_of(d, (int32_t)a.y);
    four.x[2] = dispatch_expert_of(d, (int32_t)a.z);
    four.x[3] = dispatch_expert_of(d, (int32_t)a.w);
    return four;
}

/*
 * A lane's four slots among the 4 * CALL_THREADS from `first` on. Lanes load and store 16 bytes next to each other: four
 * slots of 32 bits, or of 64 bits a pair and, behind all lanes' pairs, another one.
 */
GPU_DEVICE int dispatch_slot(bool wide, int first, int k) {
    const int thread = (int)gpu_thread();
    return wide ? first + 2 * (k / 2 * CALL_THREADS + thread) + k % 2 : first + 4 * thread + k;
}

/* Their experts; -1 beyond the last slot. */
GPU_DEVICE struct idx_four dispatch_load(const struct dispatch_ids &d, int first) {
    if (!d.wide) return dispatch_four(d, dispatch_slot(false, first, 0));
    const int64_t *const ids = (const int64_t *)d.ids;
    struct idx_four four;
    gpu_u4 pairs[2];
    GPU_UNROLL
    for (int p = 0; p < 2; p++) {
        const int i = dispatch_slot(true, first, 2 * p);
        pairs[p].x = pairs[p].y = pairs[p].z = pairs[p].w = 0xFFFFFFFFu;
        if (i + 2 <= d.n) {
            pairs[p] = *(const gpu_u4 *)(ids + i);
        } else if (i < d.n) {
            pairs[p].x = (uint32_t)ids[i];
            pairs[p].y = (uint32_t)((uint64_t)ids[i] >> 32);
        }
    }
    GPU_UNROLL
    for (int p = 0; p < 2; p++) {
        four.x[2 * p] = dispatch_expert_of(d, dispatch_join(pairs[p].x, pairs[p].y));
        four.x[2 * p + 1] = dispatch_expert_of(d, dispatch_join(pairs[p].z, pairs[p].w));
    }
    return four;
}

/* One number for each, of as many bits as ids have. */
GPU_DEVICE void dispatch_store(char *to, const struct dispatch_ids &d, int first,
                               const struct idx_four &four) {
    if (!d.wide) {
        idx_store<true>((int32_t *)to, dispatch_slot(false, first, 0), d.n, four);
        return;
    }
    GPU_UNROLL
    for (int p = 0; p < 2; p++) {
        const int i = dispatch_slot(true, first, 2 * p);
        const int64_t one = four.x[2 * p], other = four.x[2 * p + 1];
        gpu_u4 pair;
        pair.x = (uint32_t)one;
        pair.y = (uint32_t)((uint64_t)one >> 32);
        pair.z = (uint32_t)other;
        pair.w = (uint32_t)((uint64_t)other >> 32);
        if (i + 2 <= d.n)
            *(gpu_u4 *)((int64_t *)to + i) = pair;
        else if (i < d.n)
            ((int64_t *)to)[i] = one;
    }
}

/* Adds slots begin .. end - 1 (multiples of 4, or the end of all) to counters in shared memory, by a block. */
GPU_DEVICE void dispatch_histogram(const struct dispatch_ids &d, int64_t begin, int64_t end,
                                   int *counters) {
    enum { EACH = 4 };
    for (int64_t first = begin; first < end; first += 4 * EACH * CALL_THREADS) {
        struct idx_four x[EACH];
        GPU_UNROLL
        for (int j = 0; j < EACH; j++) {
            const int64_t i = first + 4 * (gpu_thread() + j * CALL_THREADS);
            idx_set(x[j], -1);
            if (i < end) x[j] = dispatch_four(d, (int)i);
        }
        GPU_UNROLL
        for (int j = 0; j < 4 * EACH; j++)
            if (x[j / 4].x[j % 4] >= 0) dispatch_add_shared(&counters[x[j / 4].x[j % 4]], 1);
    }
}

static inline struct dispatch_ids dispatch_ids_of(const dsv4_call *call, int64_t experts) {
    const dsv4_tensor *const ids = dsv4_find(call, "ids"), *const map =
                                                               dsv4_find(call, "expert_map");
    const bool mapped = !call_absent(map);
    struct dispatch_ids d;
    d.ids = (const char *)ids->data;
    d.wide = ids->dtype == DSV4_I64;
    d.n = (int)(ids->shape[0] * ids->shape[1]);
    d.map = mapped ? (const int32_t *)map->data : NULL;
    d.limit = (int)(mapped ? map->shape[0] : experts);
    d.experts = (int)experts;
    return d;
}

static inline int dispatch_supports(const dsv4_call *call, int64_t experts, struct call_why why) {
    const dsv4_tensor *const ids = dsv4_find(call, "ids"), *const map =
                                                               dsv4_find(call, "expert_map");
    if (!call_has(ids, DSV4_I64, 2)) CALL_NEED(call, "ids", DSV4_I32, 2, why);
    if ((uintptr_t)ids->data % 16 != 0)
        return call_unsupported(why, "ids: these kernels read them in pieces of 16 bytes");
    if (ids->shape[0] > 1 && ids->stride[0] != ids->shape[1] * (ids->dtype == DSV4_I64 ? 8 : 4))
        return call_unsupported(why, "ids: not contiguous");
    if (!call_absent(map)) CALL_NEED(call, "expert_map", DSV4_I32, 1, why);
    if (experts > DISPATCH_MOST_EXPERTS)
        return call_unsupported(why, "%lld experts; these kernels take up to %d",
                                (long long)experts, (int)DISPATCH_MOST_EXPERTS);
    if (ids->shape[0] * ids->shape[1] > INT32_MAX - (1 << 16))
        return call_unsupported(why, "more slots than these kernels count");
    return DSV4_OK;
}

#endif
