/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stable sort by expert in one launch. The slots are dealt to the blocks of a cluster (ranks; where there are no
 * clusters, one block has them all), and a rank's to `parts` clusters, each of which counts all slots, but places one part
 * of every rank's only: counting takes an addition in shared memory, placing some fifty instructions. Inside of a part
 * each team has a stretch and counters of its own. A place is the expert's start, plus its slots in earlier ranks, in earlier parts,
 * in earlier stretches and, by ballots, before this one in the stretch.
 *
 * An op derives its arguments from sort_args and gives
 *   place(slot, at, e), none(slot): of each slot once
 *   finish(tables, thread, threads): what is known when all slots have places, by all threads of all blocks
 *
 * Few slots need no sort: each block of an op's own kernel counts them all (sort_count), those before its own apart.
 */
#ifndef DSV4_MOE_SORT_INL
#define DSV4_MOE_SORT_INL

#include "moe_dispatch.inl"

#if defined(GPU_CLUSTERS) && GPU_CUDA
#include <cooperative_groups.h>
#define SORT_CLUSTER __cluster_dims__(SORT_RANKS)
enum { SORT_RANKS = 8 };
GPU_DEVICE void sort_meet(void) { cooperative_groups::this_cluster().sync(); }
GPU_DEVICE const int *sort_of_rank(int *at, int rank) {
    return cooperative_groups::this_cluster().map_shared_rank(at, rank);
}
#else
#define SORT_CLUSTER
enum { SORT_RANKS = 1 };
GPU_DEVICE void sort_meet(void) { gpu_barrier(); }
GPU_DEVICE const int *sort_of_rank(int *at, int) { return at; }
#endif

/* A thread per expert; up to SORT_FEW slots need no sort, but on a tiny GPU; PART: slots that make a further part worth
 * its counting; MOST_PARTS: clusters that place. More would place faster, but each counts all slots: eight are the fastest as
 * measured on an H100. */
enum { SORT_THREADS = 1024, SORT_TEAMS = SORT_THREADS / TEAM, SORT_EACH = 4 };
enum {
    SORT_FEW = 3 * GPU_BUSY_BLOCKS,
    SORT_PART = GPU_BUSY_BLOCKS > 0 ? 1024 : 8,
    SORT_MOST_PARTS = 8
};

struct sort_args {
    struct dispatch_ids d;
    int align;
    int region, part, stretch; /* slots of a rank, of one part of them, of a team: multiples of 4 */
    int teams, bits;           /* teams that place; bits of an expert */
    int parts;
};

/* In shared memory. Expert e has places starts[e] .. starts[e + 1] - 1, slots as far as ends[e]. */
struct sort_tables {
    const int *starts, *ends;
};

#if GPU_CUDA && !GPU_EMULATED
GPU_DEVICE int sort_bits(uint32_t mask) { return __popc(mask); }
#else
GPU_DEVICE int sort_bits(uint32_t mask) { return __builtin_popcount(mask); }
#endif

GPU_HOST_DEVICE int sort_up(int n, int align) { return (n + align - 1) / align * align; }
GPU_DEVICE int sort_least(int a, int b) { return a < b ? a : b; }

/* Adds slots begin .. end - 1 (begin a multiple of 4, end too or the end of all) to counters; this is lane `lane` of
 * `lanes`. */
GPU_DEVICE void sort_add(const struct dispatch_ids &d, int begin, int end, int lane, int lanes,
                         int *counters) {
    GPU_NO_UNROLL
    for (int64_t first = begin + 4 * lane; first < end; first += 4 * SORT_EACH * lanes) {
        struct idx_four x[SORT_EACH];
        GPU_UNROLL
        for (int j = 0; j < SORT_EACH; j++) {
            const int64_t i = first + 4 * j * lanes;
            idx_set(x[j], -1);
            if (i < end) x[j] = dispatch_four(d, (int)i);
        }
        GPU_UNROLL
        for (int j = 0; j < 4 * SORT_EACH; j++) {
            const int e = x[j / 4].x[j % 4];
            if (e >= 0) dispatch_add_shared(&counters[e], 1);
        }
    }
}

/* Sum of n over the threads before this one; *total over all. sums: SORT_TEAMS. */
GPU_DEVICE int sort_scan(int n, int *total, int *sums) {
    const int lane = gpu_lane();
    int scan = n;
    GPU_UNROLL
    for (int d = 1; d < TEAM; d *= 2) {
        const int other = (int)team_read_u32((uint32_t)scan, lane < d ? lane : lane - d);
        scan += lane < d ? 0 : other;
    }
    if (lane == TEAM - 1) sums[gpu_team()] = scan;
    gpu_barrier();
    const int team = sums[lane];
    *total = team_sum(team);
    return team_sum(lane < gpu_team() ? team : 0) + scan - n;
}

/* What earlier teams of this block have, in the place of each team's counter of the expert. Returns the sum of all. */
GPU_DEVICE int sort_teams_before(int *counters, int teams, int experts) {
    enum { BATCH = 8 };
    int before = 0;
    for (int first = 0; first < teams; first += BATCH) {
        int n[BATCH];
        GPU_UNROLL
        for (int i = 0; i < BATCH; i++)
            n[i] = first + i < teams ? counters[(first + i) * experts] : 0;
        GPU_UNROLL
        for (int i = 0; i < BATCH; i++) {
            if (first + i < teams) counters[(first + i) * experts] = before;
            before += n[i];
        }
    }
    return before;
}

/* Lanes of the team with the same expert as this one, which has one. */
GPU_DEVICE uint32_t sort_same(int e, int bits) {
    uint32_t same = team_ballot(e >= 0);
    for (int bit = 0; bit < bits; bit++) {
        const bool set = (e >> bit & 1) != 0;
        const uint32_t mask = team_ballot(set);
        same &= set ? mask : ~mask;
    }
    return same;
}

/* Places of slots begin .. end - 1, a team's stretch: next[e] the expert's first place, minus what seen[e] holds at first. */
template <typename Op>
GPU_DEVICE void sort_place(const Op &op, int begin, int end, const int *next, int *seen) {
    const int lane = gpu_lane();
    GPU_NO_UNROLL
    for (int first = begin; first < end; first += SORT_EACH * TEAM) {
        int e[SORT_EACH];
        GPU_UNROLL
        for (int j = 0; j < SORT_EACH; j++) {
            const int slot = first + j * TEAM + lane;
            e[j] = slot < end ? dispatch_expert_of(op.d, dispatch_id(op.d, slot)) : -1;
        }
        GPU_UNROLL
        for (int j = 0; j < SORT_EACH; j++) {
            const int slot = first + j * TEAM + lane;
            const uint32_t same = sort_same(e[j], op.bits);
            const int before = sort_bits(same & ((1u << lane) - 1));
            int n = 0;
            if (e[j] >= 0) {
                n = seen[e[j]];
                op.place(slot, next[e[j]] + n + before, e[j]);
            } else if (slot < end) {
                op.none(slot);
            }
            team_barrier();
            if (e[j] >= 0 && before == 0) seen[e[j]] = n + sort_bits(same);
            team_barrier();
        }
    }
}

template <typename Op>
__global__ void SORT_CLUSTER __launch_bounds__(SORT_THREADS) sort_kernel(const Op op) {
    GPU_SHARED(shared);
    const int experts = op.d.experts, e = (int)gpu_thread(), team = gpu_team();
    int *const seen = (int *)shared, *const next = seen + op.teams * experts;
    int *const counts = next + experts, *const ends = counts + experts;
    int *const starts = ends + experts, *const sums = starts + experts + 1;
    const int rank = (int)gpu_block() % SORT_RANKS, part = (int)gpu_block() / SORT_RANKS;
    const int from = sort_least(rank * op.region, op.d.n);
    const int to = sort_least(from + op.region, op.d.n);
    const int first = sort_least(from + part * op.part, to);
    const int last = sort_least(first + op.part, to);
    const int begin = team < op.teams ? sort_least(first + team * op.stretch, last) : last;
    const int end = sort_least(begin + op.stretch, last);
    for (int i = e; i < (op.teams + 2) * experts; i += SORT_THREADS) seen[i] = 0;
    gpu_barrier();
    sort_add(op.d, begin, end, gpu_lane(), TEAM, seen + team * experts);
    sort_add(op.d, from, first, e, SORT_THREADS, next);
    sort_add(op.d, last, to, e, SORT_THREADS, counts);
    gpu_barrier();
    int all = 0, earlier = 0, total;
    if (e < experts) counts[e] += next[e] + sort_teams_before(seen + e, op.teams, experts);
    sort_meet();
    GPU_UNROLL
    for (int r = 0; r < SORT_RANKS; r++) {
        const int n = e < experts ? sort_of_rank(counts, r)[e] : 0;
        earlier += r < rank ? n : 0;
        all += n;
    }
    const int start = sort_scan(sort_up(all, op.align), &total, sums);
    if (e < experts) {
        next[e] += start + earlier;
        starts[e] = start;
        ends[e] = start + all;
    }
    if (e == 0) starts[experts] = total;
    sort_meet(); /* no rank leaves before its counts have been read */
    sort_place(op, begin, end, next, seen + team * experts);
    const struct sort_tables tables = {starts, ends};
    op.finish(tables, (int)gpu_block() * SORT_THREADS + e, SORT_RANKS * op.parts * SORT_THREADS);
}

/* ---- few slots ---- */

struct sort_counts {
    int starts[DISPATCH_MOST_EXPERTS + 1], ends[DISPATCH_MOST_EXPERTS];
    int next[DISPATCH_MOST_EXPERTS]; /* place of the expert's first slot from `first` on */
    int sums[CALL_TEAMS];
};

GPU_DEVICE void sort_count(struct sort_counts &t, const struct sort_args &a, int first) {
    enum { EACH = DISPATCH_MOST_EXPERTS / CALL_THREADS };
    const int thread = (int)gpu_thread(), experts = a.d.experts;
    for (int e = thread; e < experts; e += CALL_THREADS) t.next[e] = t.ends[e] = 0;
    gpu_barrier();
    for (int i = 4 * thread; i < a.d.n; i += 4 * CALL_THREADS) {
        const struct idx_four four = dispatch_four(a.d, i);
        GPU_UNROLL
        for (int k = 0; k < 4; k++)
            if (four.x[k] >= 0)
                dispatch_add_shared(&(i + k < first ? t.next : t.ends)[four.x[k]], 1);
    }
    gpu_barrier();
    int n[EACH], sum = 0, total;
    GPU_UNROLL
    for (int i = 0; i < EACH; i++) {
        const int e = EACH * thread + i;
        n[i] = e < experts ? t.next[e] + t.ends[e] : 0;
        sum += sort_up(n[i], a.align);
    }
    int start = idx_block_scan(sum, &total, t.sums);
    GPU_UNROLL
    for (int i = 0; i < EACH; i++) {
        const int e = EACH * thread + i;
        if (e >= experts) continue;
        t.next[e] += start;
        t.starts[e] = start;
        t.ends[e] = start + n[i];
        start += sort_up(n[i], a.align);
    }
    if (thread == 0) t.starts[experts] = total;
    gpu_barrier();
}

/* ---- host ---- */

static inline int64_t sort_bytes(const struct sort_args &a) {
    return 4 * ((a.teams + 4) * (int64_t)a.d.experts + 1 + SORT_TEAMS);
}

/* Given d and align, the rest. */
static inline void sort_deal(struct sort_args &a) {
    const int64_t room = gpu_shared_limit();
    a.region = sort_up((int)call_ceil(a.d.n, SORT_RANKS), 4);
    a.parts = (int)call_ceil(a.region, SORT_PART);
    a.parts = a.parts < 1 ? 1 : a.parts > SORT_MOST_PARTS ? (int)SORT_MOST_PARTS : a.parts;
    a.part = sort_up((int)call_ceil(a.region, a.parts), 4);
    a.teams = SORT_TEAMS;
    while (a.teams > 1 && (sort_bytes(a) > room || a.part <= a.teams / 2 * TEAM)) a.teams /= 2;
    a.stretch = sort_up((int)call_ceil(a.part, a.teams), TEAM);
    a.bits = 0;
    while (1 << a.bits < a.d.experts) a.bits++;
}

template <typename Op> static void sort_launch(const Op &op, gpu_stream stream) {
    const dim3 grid = dim3((uint32_t)(SORT_RANKS * op.parts));
    const int64_t bytes = sort_bytes(op);
    (void)bytes; /* on AMD */
    GPU_LAUNCH_SHARED(sort_kernel<Op>, grid, SORT_THREADS, bytes, stream, op);
}

#endif
