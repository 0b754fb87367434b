/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_topk: a block per row. A threshold is guessed from a sample of the row, some places of 256 neighbours; one pass
 * collects all values from the guess on into shared memory, where the choice is made digit by digit; a bit per position
 * then puts the chosen in order. A row of at most TOPK_ROOM is collected whole. When the guess misses (fewer than k, or
 * more than there is room for), or columns lie apart, the digits are counted over the row itself and the chosen are
 * written in a pass in order.
 */
#include "call.h"

enum {
    TOPK_ROOM = 5120,
    TOPK_BINS = 2048,
    TOPK_PLACES = 16, /* times CALL_THREADS sampled values; twice as many of a long row */
    TOPK_LONG = 131072,
    TOPK_AHEAD = 8,
    TOPK_WORDS = 2 * TOPK_ROOM /* of bits, when the keys are no longer needed */
};

struct topk_shared {
    uint32_t kept[TOPK_WORDS], bins[TOPK_BINS]; /* keys, then their positions */
    uint32_t sums[CALL_TEAMS];
    uint32_t bin, above, count;
};

struct topk_args {
    const char *logits;
    const int32_t *starts, *ends, *lens;
    char *out;
    int64_t logits_row, out_row;
    struct gpu_divisor next_n;
    int columns, k, step; /* step: floats from a column to the next */
};

#if GPU_EMULATED
#define TOPK_MEMBER
GPU_DEVICE uint32_t topk_add(uint32_t *counter, uint32_t n) {
    const uint32_t old = *counter;
    *counter += n;
    return old;
}
GPU_DEVICE void topk_set(uint32_t *word, uint32_t bit) { *word |= bit; }
#elif GPU_CUDA
#define TOPK_MEMBER __device__ __forceinline__
GPU_DEVICE uint32_t topk_add(uint32_t *counter, uint32_t n) { return atomicAdd(counter, n); }
GPU_DEVICE void topk_set(uint32_t *word, uint32_t bit) { atomicOr(word, bit); }
#else
#define TOPK_MEMBER __device__ __attribute__((always_inline))
GPU_DEVICE uint32_t topk_add(uint32_t *counter, uint32_t n) {
    return __hip_atomic_fetch_add(counter, n, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP);
}
GPU_DEVICE void topk_set(uint32_t *word, uint32_t bit) {
    __hip_atomic_fetch_or(word, bit, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_WORKGROUP);
}
#endif

GPU_DEVICE uint32_t topk_key(float x) {
    const uint32_t bits = gpu_bits(x);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

/* Sum over the lanes before this one; *all: over the block. */
GPU_DEVICE uint32_t topk_before(struct topk_shared &s, uint32_t x, uint32_t *all) {
    const int lane = gpu_lane();
    uint32_t sum = x, before = 0, total = 0;
    GPU_UNROLL for (int step = 1; step < TEAM; step *= 2) {
        const uint32_t other = team_read_u32(sum, lane >= step ? lane - step : lane);
        if (lane >= step) sum += other;
    }
    if (lane == TEAM - 1) s.sums[gpu_team()] = sum;
    gpu_barrier();
    for (int team = 0; team < CALL_TEAMS; team++) {
        const uint32_t one = s.sums[team];
        if (team < gpu_team()) before += one;
        total += one;
    }
    gpu_barrier();
    *all = total;
    return before + sum - x;
}

/* Where keys come from. */
struct topk_row {
    const float *values;
    int64_t step;
    TOPK_MEMBER uint32_t key(int i) const { return topk_key(values[i * step]); }
};
/* A lane's own keys, in registers: the i-th of the block is asked for in turn i / CALL_THREADS. */
template <int PLACES> struct topk_sample {
    uint32_t keys[PLACES];
    TOPK_MEMBER uint32_t key(int i) const { return keys[i / CALL_THREADS]; }
};
struct topk_kept {
    const uint32_t *keys;
    TOPK_MEMBER uint32_t key(int i) const { return keys[i]; }
};
/* Positions of the keys that equal `tie`, the first ones greatest. */
struct topk_ties {
    const uint32_t *keys, *at;
    uint32_t tie;
    TOPK_MEMBER uint32_t key(int i) const { return keys[i] == tie ? ~at[i] : 0; }
};

/* The bin that holds the want-th greatest of those counted, and how many lie in bins above it. */
GPU_DEVICE void topk_find_bin(struct topk_shared &s, uint32_t want) {
    enum { EACH = TOPK_BINS / CALL_THREADS };
    const int first = TOPK_BINS - EACH * ((int)gpu_thread() + 1);
    uint32_t mine = 0, all;
    for (int i = 0; i < EACH; i++) mine += s.bins[first + i];
    uint32_t above = topk_before(s, mine, &all);
    if (above < want && above + mine >= want) {
        int bin = first + EACH - 1;
        for (; above + s.bins[bin] < want; bin--) above += s.bins[bin];
        s.bin = (uint32_t)bin;
        s.above = above;
    }
    gpu_barrier();
}

/* The want-th greatest of n keys; *above: how many are greater; *equal: how many are that one. N: n where it is known to
 * the compiler, whole turns of the block, so that a source of registers stays in them. */
template <int N, typename Source>
GPU_DEVICE uint32_t topk_threshold(struct topk_shared &s, const Source &source, int n,
                                   uint32_t want, uint32_t *above, uint32_t *equal) {
    uint32_t prefix = 0, mask = 0;
    *above = *equal = 0;
    GPU_NO_UNROLL for (int shift = 21; shift >= 0; shift -= shift == 21 ? 11 : 10) {
        const uint32_t digit = shift == 0 ? 1023u : 2047u;
        for (int i = (int)gpu_thread(); i < TOPK_BINS; i += CALL_THREADS) s.bins[i] = 0;
        gpu_barrier();
        GPU_UNROLL for (int turn = 0; turn < N / CALL_THREADS; turn++) {
            const uint32_t key = source.key(turn * CALL_THREADS);
            if ((key & mask) == prefix) topk_add(&s.bins[key >> shift & digit], 1);
        }
        for (int i = (int)gpu_thread(); N == 0 && i < n; i += CALL_THREADS) {
            const uint32_t key = source.key(i);
            if ((key & mask) == prefix) topk_add(&s.bins[key >> shift & digit], 1);
        }
        gpu_barrier();
        topk_find_bin(s, want - *above);
        prefix |= s.bin << shift;
        mask |= digit << shift;
        *above += s.above;
        *equal = s.bins[s.bin];
        gpu_barrier();
    }
    return prefix;
}

GPU_DEVICE void topk_keep(struct topk_shared &s, float value, int at, uint32_t guess) {
    const uint32_t key = topk_key(value);
    if (key < guess) return;
    const uint32_t place = topk_add(&s.count, 1);
    if (place >= TOPK_ROOM) return;
    s.kept[place] = key;
    s.kept[TOPK_ROOM + place] = (uint32_t)at;
}

/* Collects the values from `guess` on; returns how many there are. */
GPU_DEVICE uint32_t topk_collect(struct topk_shared &s, const float *values, int n,
                                 uint32_t guess) {
    const int thread = (int)gpu_thread();
    const int skew = (int)((16 - ((uintptr_t)values & 15)) % 16 / 4);
    const int head = skew < n ? skew : n, vectors = (n - head) / 4, tail = head + 4 * vectors;
    const gpu_f4 *const wide = (const gpu_f4 *)(values + head);
    if (thread == 0) s.count = 0;
    gpu_barrier();
    if (thread < head) topk_keep(s, values[thread], thread, guess);
    if (thread < n - tail) topk_keep(s, values[tail + thread], tail + thread, guess);
    for (int first = thread; first < vectors; first += TOPK_AHEAD * CALL_THREADS) {
        gpu_f4 v[TOPK_AHEAD];
        GPU_UNROLL for (int i = 0; i < TOPK_AHEAD; i++) {
            const int at = first + i * CALL_THREADS;
            v[i] = wide[at < vectors ? at : vectors - 1];
        }
        GPU_UNROLL for (int i = 0; i < TOPK_AHEAD; i++) {
            const int at = first + i * CALL_THREADS;
            if (at >= vectors) continue;
            topk_keep(s, v[i].x, head + 4 * at, guess);
            topk_keep(s, v[i].y, head + 4 * at + 1, guess);
            topk_keep(s, v[i].z, head + 4 * at + 2, guess);
            topk_keep(s, v[i].w, head + 4 * at + 3, guess);
        }
    }
    gpu_barrier();
    return s.count;
}

/* A key that some more than k values probably reach: the rank that k has in the sample, and four deviations more. */
template <int PLACES>
GPU_DEVICE uint32_t topk_guess(struct topk_shared &s, const float *values, int n, int k) {
    enum { SAMPLED = PLACES * CALL_THREADS };
    const int step = (n - CALL_THREADS) / (PLACES - 1);
    struct topk_sample<PLACES> sample;
    GPU_UNROLL for (int i = 0; i < PLACES; i++) sample.keys[i] =
        topk_key(values[(int64_t)i * step + gpu_thread()]);
    const int rank = (int)((int64_t)k * SAMPLED / n);
    int root = 1;
    while (root * root < rank) root++;
    uint32_t above, equal;
    return topk_threshold<SAMPLED>(s, sample, SAMPLED, (uint32_t)(rank + 4 * root + 4), &above,
                                   &equal);
}

/* Writes this lane's N chosen positions below n (0xFFFFFFFF: none) and those of the others in ascending order. */
template <int N>
GPU_DEVICE void topk_write(struct topk_shared &s, int32_t *out, const uint32_t *chosen, int n) {
    uint32_t written = 0;
    for (int base = 0; base < n; base += 32 * TOPK_WORDS) {
        const int left = (n - base + 31) / 32, words = left < TOPK_WORDS ? left : TOPK_WORDS;
        const int each = (words + CALL_THREADS - 1) / CALL_THREADS,
                  first = each * (int)gpu_thread();
        for (int i = (int)gpu_thread(); i < words; i += CALL_THREADS) s.kept[i] = 0;
        gpu_barrier();
        GPU_UNROLL for (int i = 0; i < N; i++) {
            const uint32_t at = chosen[i] - (uint32_t)base;
            if (chosen[i] != 0xFFFFFFFFu && at / 32 < (uint32_t)words)
                topk_set(&s.kept[at / 32], 1u << at % 32);
        }
        gpu_barrier();
        uint32_t mine = 0, all;
        for (int i = first; i < first + each && i < words; i++)
            mine += (uint32_t)__builtin_popcount(s.kept[i]);
        uint32_t place = written + topk_before(s, mine, &all);
        for (int i = first; i < first + each && i < words; i++)
            for (uint32_t bits = s.kept[i]; bits != 0; bits &= bits - 1)
                out[place++] = base + 32 * i + gpu_lowest_bit(bits);
        written += all;
        gpu_barrier();
    }
}

/* Chooses k of `count` kept values of a row of n and writes their positions. */
GPU_DEVICE void topk_choose_kept(struct topk_shared &s, int32_t *out, int count, int n, int k) {
    enum { EACH = TOPK_ROOM / CALL_THREADS };
    const uint32_t *const keys = s.kept, *const at = s.kept + TOPK_ROOM;
    struct topk_kept kept;
    struct topk_ties ties;
    uint32_t above, equal, last = 0xFFFFFFFFu, before, one;
    kept.keys = ties.keys = keys;
    ties.at = at;
    ties.tie = topk_threshold<0>(s, kept, count, (uint32_t)k, &above, &equal);
    if (above + equal > (uint32_t)k) /* of several ties, the first ones */
        last = ~topk_threshold<0>(s, ties, count, (uint32_t)k - above, &before, &one);
    uint32_t chosen[EACH];
    GPU_UNROLL for (int i = 0; i < EACH; i++) {
        const int place = (int)gpu_thread() + i * CALL_THREADS;
        bool yes = false;
        if (place < count)
            yes = keys[place] > ties.tie || (keys[place] == ties.tie && at[place] <= last);
        chosen[i] = yes ? at[place] : 0xFFFFFFFFu;
    }
    gpu_barrier();
    topk_write<EACH>(s, out, chosen, n);
}

/* The slow way: digits counted over the row, then a pass in order. */
GPU_DEVICE void topk_choose_in_order(struct topk_shared &s, int32_t *out, const float *values,
                                     int step, int n, int k) {
    struct topk_row row;
    uint32_t above, equal, ties_before = 0, written = 0;
    row.values = values;
    row.step = step;
    const uint32_t tie = topk_threshold<0>(s, row, n, (uint32_t)k, &above, &equal);
    const uint32_t ties = (uint32_t)k - above;
    for (int first = 0; first < n && written < (uint32_t)k; first += CALL_THREADS) {
        const int i = first + (int)gpu_thread();
        const uint32_t key = i < n ? row.key(i) : 0;
        const bool equal = i < n && key == tie;
        uint32_t all;
        const uint32_t rank = ties_before + topk_before(s, equal, &all);
        const bool yes = i < n && (key > tie || (equal && rank < ties));
        ties_before += all;
        const uint32_t place = written + topk_before(s, yes, &all);
        written += all;
        if (yes) out[place] = i;
    }
}

__global__ void __launch_bounds__(CALL_THREADS) topk_rows_kernel(const struct topk_args a) {
    GPU_SHARED(memory);
    struct topk_shared &s = *(struct topk_shared *)memory;
    const int64_t r = gpu_block();
    int64_t start = 0, length;
    if (a.starts != NULL) {
        start = a.starts[r];
        length = a.ends[r] - start;
    } else {
        const int64_t request = gpu_quotient(r, a.next_n);
        length = a.lens[request] - a.next_n.value + (r - request * a.next_n.value) + 1;
    }
    length = length > a.columns - start ? a.columns - start : length;
    const int n = length < 0 ? 0 : (int)length, k = a.k;
    int32_t *const out = (int32_t *)(a.out + r * a.out_row);
    const float *const values = (const float *)(a.logits + r * a.logits_row) + start * a.step;
    if (n <= k) {
        for (int i = (int)gpu_thread(); i < k; i += CALL_THREADS) out[i] = i < n ? i : -1;
        return;
    }
    if (2 * k <= TOPK_ROOM && a.step == 1) {
        const uint32_t guess = n <= 2 * TOPK_ROOM ? 0
                               : n <= TOPK_LONG   ? topk_guess<TOPK_PLACES>(s, values, n, k)
                                                  : topk_guess<2 * TOPK_PLACES>(s, values, n, k);
        if (guess != 0 || n <= TOPK_ROOM) {
            const uint32_t count = topk_collect(s, values, n, guess);
            if (count >= (uint32_t)k && count <= TOPK_ROOM) {
                topk_choose_kept(s, out, (int)count, n, k);
                return;
            }
        }
    }
    topk_choose_in_order(s, out, values, a.step, n, k);
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const logits = dsv4_find(call, "logits");
    if (logits->dtype != DSV4_F32 || logits->ndim != 2 || logits->stride[1] % 4 != 0)
        return call_unsupported(why, "logits: not rows of fp32");
    CALL_NEED_ALIGNED(call, "logits", 4, why);
    if (dsv4_is(call, "form", "rows")) {
        CALL_NEED(call, "row_starts", DSV4_I32, 1, why);
        CALL_NEED(call, "row_ends", DSV4_I32, 1, why);
    } else {
        CALL_NEED(call, "lens", DSV4_I32, 1, why);
    }
    CALL_NEED(call, "out", DSV4_I32, 2, why);
    if (logits->shape[1] > INT32_MAX / 2)
        return call_unsupported(why, "logits: %lld columns; positions are 32-bit here",
                                (long long)logits->shape[1]);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const logits = dsv4_find(call, "logits"), *const out =
                                                                     dsv4_find(call, "out");
    struct topk_args a;
    dim3 grid;
    a = {};
    a.logits = (const char *)logits->data;
    a.logits_row = logits->stride[0];
    a.columns = (int)logits->shape[1];
    a.step = (int)(logits->stride[1] / 4);
    if (dsv4_is(call, "form", "rows")) {
        a.starts = (const int32_t *)dsv4_find(call, "row_starts")->data;
        a.ends = (const int32_t *)dsv4_find(call, "row_ends")->data;
    } else {
        a.lens = (const int32_t *)dsv4_find(call, "lens")->data;
    }
    a.next_n = call_divisor(dsv4_is(call, "form", "lens") ? dsv4_int(call, "next_n", 1) : 1);
    a.out = (char *)out->data;
    a.out_row = out->stride[0];
    a.k = (int)dsv4_int(call, "k", 8);
    if (logits->shape[0] == 0) return DSV4_OK;
    const int status = call_grid(&grid, logits->shape[0], why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH_SHARED(topk_rows_kernel, grid, CALL_THREADS, sizeof(struct topk_shared),
                      (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_topk)
