/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stable sort by expert in one launch: a block per expert, and every block reads all ids, which lie in a cache.
 * Teams take a stretch of the ids each. First they count: the slots of this expert, and those of all experts (ALIGNED) or
 * of experts before this one and of any. Then they know where their stretch's slots go, and place them by ballots.
 */
#ifndef DSV4_MOE_SORT_INL
#define DSV4_MOE_SORT_INL

#include "moe_dispatch.inl"

enum { SORT_EACH = 4, SORT_STEP = 4 * SORT_EACH * TEAM };

/* What a block knows about its expert. */
struct sort_expert {
    int e, start, count, end; /* end: of its places, rounded up */
    int total;                /* end of all experts' places */
    int mine;                 /* slots of the expert in stretches before this team's */
    int first, last;          /* this team's stretch */
};

#if GPU_CUDA && !GPU_EMULATED
GPU_DEVICE int sort_bits(uint32_t mask) { return __popc(mask); }
#else
GPU_DEVICE int sort_bits(uint32_t mask) { return __builtin_popcount(mask); }
#endif

GPU_DEVICE int sort_up(int n, int align) { return (n + align - 1) / align * align; }

/* Sum over the teams before this one; every lane has its team's x. */
GPU_DEVICE int sort_teams_before(int x, int *total, int *sums) {
    gpu_barrier();
    if (gpu_lane() == 0) sums[gpu_team()] = x;
    gpu_barrier();
    int before = 0;
    *total = 0;
    GPU_UNROLL
    for (int i = 0; i < CALL_TEAMS; i++) {
        before += i < gpu_team() ? sums[i] : 0;
        *total += sums[i];
    }
    return before;
}

GPU_DEVICE int sort_team_sum(int x) {
    x += (int)team_xor_u32(x, 16);
    x += (int)team_xor_u32(x, 8);
    x += (int)team_xor_u32(x, 4);
    x += (int)team_xor_u32(x, 2);
    return x + (int)team_xor_u32(x, 1);
}

/* counters: one per expert, used if ALIGNED; sums: CALL_TEAMS. */
template <bool ALIGNED>
GPU_DEVICE struct sort_expert sort_count(const struct dispatch_ids &d, int align, int *counters,
                                         int *sums) {
    struct sort_expert s;
    const int stretch = (d.n + 4 * CALL_TEAMS - 1) / (4 * CALL_TEAMS) * 4;
    int less = 0, any = 0, mine = 0;
    s.e = (int)gpu_block();
    s.first = stretch * gpu_team() < d.n ? stretch * gpu_team() : d.n;
    s.last = s.first + stretch < d.n ? s.first + stretch : d.n;
    if (ALIGNED) {
        for (int e = (int)gpu_thread(); e < d.experts; e += CALL_THREADS) counters[e] = 0;
        gpu_barrier();
    }
    GPU_NO_UNROLL
    for (int i = s.first; i < s.last; i += SORT_STEP) {
        struct idx_four x[SORT_EACH];
        GPU_UNROLL
        for (int j = 0; j < SORT_EACH; j++) {
            const int at = i + 4 * (j * TEAM + gpu_lane());
            idx_set(x[j], -1);
            if (at < s.last) x[j] = dispatch_four(d, at);
        }
        GPU_UNROLL
        for (int j = 0; j < 4 * SORT_EACH; j++) {
            const int e = x[j / 4].x[j % 4];
            mine += e == s.e;
            less += e >= 0 && e < s.e;
            any += e >= 0;
            if (ALIGNED && e >= 0) dispatch_add_shared(&counters[e], 1);
        }
    }
    s.mine = sort_teams_before(sort_team_sum(mine), &s.count, sums);
    if (ALIGNED) {
        less = any = 0;
        for (int e = (int)gpu_thread(); e < d.experts; e += CALL_THREADS) {
            const int rounded = sort_up(counters[e], align);
            less += e < s.e ? rounded : 0;
            any += rounded;
        }
    }
    s.start = idx_block_sum(less, sums);
    s.total = idx_block_sum(any, sums);
    s.end = s.start + (ALIGNED ? sort_up(s.count, align) : s.count);
    return s;
}

/* Calls op.place(slot, place) for the expert's slots, and op.none(slot) in the first block for those of no expert. */
template <typename Op>
GPU_DEVICE void sort_place(const Op &op, const struct dispatch_ids &d,
                           const struct sort_expert &s) {
    int next = s.start + s.mine;
    const int lane = gpu_lane();
    GPU_NO_UNROLL
    for (int i = s.first; i < s.last; i += SORT_STEP) {
        struct idx_four x[SORT_EACH];
        GPU_UNROLL
        for (int j = 0; j < SORT_EACH; j++) {
            const int at = i + 4 * (j * TEAM + lane);
            idx_set(x[j], -2);
            if (at < s.last) x[j] = dispatch_four(d, at);
        }
        GPU_UNROLL
        for (int j = 0; j < SORT_EACH; j++) {
            const int at = i + 4 * (j * TEAM + lane);
            int n = 0;
            GPU_UNROLL
            for (int k = 0; k < 4; k++) {
                n += x[j].x[k] == s.e;
                if (s.e == 0 && x[j].x[k] == -1 && at + k < s.last) op.none(at + k);
            }
            if (team_ballot(n > 0) == 0) continue;
            int before = 0, all = 0;
            GPU_UNROLL
            for (int bit = 0; bit < 3; bit++) {
                const uint32_t mask = team_ballot((n >> bit & 1) != 0);
                before += sort_bits(mask & ((1u << lane) - 1)) << bit;
                all += sort_bits(mask) << bit;
            }
            int place = next + before;
            GPU_UNROLL
            for (int k = 0; k < 4; k++)
                if (x[j].x[k] == s.e) op.place(at + k, place++);
            next += all;
        }
    }
}

#endif
