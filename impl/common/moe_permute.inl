/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_permute: the sort by expert, then a launch for the rows. There a block takes a token, whose row it reads once and
 * stores wherever its slots have a place. Scales that lie group by group are copied by further blocks among them, a lane per
 * place, so that stores lie side by side; those also zero rows without a slot. For few slots one launch does all: every
 * block counts all slots by itself, which tells it the places of its own.
 */
#include "moe_sort.inl"

/* More have a sort even if slots are few. */
enum { PERMUTE_FEW_PLACES = 1 << 16 };

struct permute_scales {
    const char *from;
    char *to; /* NULL: there are none */
    int64_t from_row, from_column, to_row, to_column;
    int columns, size;
    bool by_row; /* of what is written */
};

struct permute_args : sort_args {
    struct permute_scales scales;
    const char *x;
    char *permuted;
    int32_t *offsets, *inverse, *row_ids, *row_sources;
    int64_t x_row, permuted_row;
    int places, vectors, tokens, topk;
    int sides, period; /* blocks for places, and how far they are apart */
    bool zero;

    IDX_METHOD void place(int slot, int at, int e) const {
        inverse[slot] = at;
        row_ids[at] = e;
        row_sources[at] = slot;
    }
    IDX_METHOD void none(int slot) const { inverse[slot] = -1; }
    IDX_METHOD void free(int begin, int end, int lane, int lanes) const {
        for (int64_t p = begin + lane; p < end; p += lanes) row_ids[p] = row_sources[p] = -1;
    }
    IDX_METHOD void finish(const struct sort_tables &t, int thread, int threads) const {
        if (thread <= d.experts) offsets[thread] = t.starts[thread];
        for (int e = thread / TEAM; align > 1 && e < d.experts; e += threads / TEAM)
            free(t.ends[e], t.starts[e + 1], gpu_lane(), TEAM);
        free(t.starts[d.experts], places, thread, threads);
    }
};

GPU_DEVICE void permute_scale(const struct permute_scales &s, int64_t from, int64_t to,
                              int column) {
    const char *const in = s.from + from * s.from_row + column * s.from_column;
    char *const out = s.to + to * s.to_row + column * s.to_column;
    if (s.size == 1)
        *out = from < 0 ? 0 : *in;
    else
        *(uint32_t *)out = from < 0 ? 0u : *(const uint32_t *)in;
}

/* ---- for few slots: places without a sort ---- */

/* Place of the token's slot k in lane k; the first team stores what is known of them. */
GPU_DEVICE int32_t permute_find(const struct sort_counts &t, const struct permute_args &a,
                                int token) {
    const int lane = gpu_lane(), slot = token * a.topk + lane;
    const int e = lane < a.topk ? dispatch_expert_of(a.d, dispatch_id(a.d, slot)) : -1;
    int at = e >= 0 ? t.next[e] : -1;
    for (int k = 0; k < a.topk; k++) {
        const int other = (int)team_read_u32((uint32_t)e, k);
        at += k < lane && e >= 0 && other == e;
    }
    if (gpu_team() == 0 && lane < a.topk) {
        if (at >= 0)
            a.place(slot, at, e);
        else
            a.none(slot);
    }
    return at;
}

/* Whether a place has a slot; -1: none. */
GPU_DEVICE int permute_taken(const struct sort_counts &t, const struct permute_args &a, int p) {
    return p < t.ends[idx_find(t.starts, a.d.experts, p)] ? 0 : -1;
}

/* ---- rows ---- */

enum { PERMUTE_EACH = 2, PERMUTE_STEP = PERMUTE_EACH * CALL_THREADS };

GPU_DEVICE void permute_load(gpu_u4 *v, const struct permute_args &a, int token, int first) {
    const gpu_u4 *const row = (const gpu_u4 *)(a.x + token * a.x_row);
    GPU_UNROLL
    for (int i = 0; i < PERMUTE_EACH; i++) {
        const int at = first + i * CALL_THREADS + (int)gpu_thread();
        v[i].x = v[i].y = v[i].z = v[i].w = 0;
        if (at < a.vectors) v[i] = row[at];
    }
}

GPU_DEVICE void permute_store(const gpu_u4 *v, const struct permute_args &a, int32_t place,
                              int first) {
    char *const out = a.permuted + place * a.permuted_row;
    GPU_UNROLL
    for (int i = 0; i < PERMUTE_EACH; i++) {
        const int at = first + i * CALL_THREADS + (int)gpu_thread();
        if (at < a.vectors) gpu_stream_u4(out + 16 * (int64_t)at, v[i]);
    }
}

/* Slots k .. k + n - 1 of a token, whose places the team's lanes have: what is in v, scales, and the rest of the row. */
GPU_DEVICE void permute_slots(gpu_u4 *v, const struct permute_args &a, int token, int32_t mine,
                              int n, bool scaled) {
    GPU_NO_UNROLL
    for (int first = 0; first < a.vectors; first += PERMUTE_STEP) {
        if (first > 0) permute_load(v, a, token, first);
        GPU_NO_UNROLL
        for (int k = 0; k < n; k++) {
            const int32_t place = (int32_t)team_read_u32((uint32_t)mine, k);
            if (place >= 0) permute_store(v, a, place, first);
        }
    }
    const int all = scaled ? n * a.scales.columns : 0;
    GPU_NO_UNROLL
    for (int first = 0; first < all; first += CALL_THREADS) {
        const int i = first + (int)gpu_thread(), k = i / a.scales.columns;
        const int32_t place = (int32_t)team_read_u32((uint32_t)mine, k % TEAM);
        if (i < all && place >= 0) permute_scale(a.scales, token, place, i - k * a.scales.columns);
    }
}

/* A token's row, and scales that lie with it. */
GPU_DEVICE void permute_token(const struct permute_args &a, int token) {
    const int32_t *const places = a.inverse + (int64_t)token * a.topk;
    const int lane = gpu_lane();
    gpu_u4 v[PERMUTE_EACH];
    GPU_NO_UNROLL
    for (int k = 0; k < a.topk; k += TEAM) {
        const int32_t mine = k + lane < a.topk ? places[k + lane] : -1;
        permute_load(v, a, token, 0);
        permute_slots(v, a, token, mine, a.topk - k < TEAM ? a.topk - k : (int)TEAM,
                      a.scales.to != NULL && a.scales.by_row);
    }
}

/* Scales of place p that lie column by column, eight under way. */
GPU_DEVICE void permute_columns(const struct permute_scales &s, int64_t from, int64_t p) {
    enum { EACH = 8 };
    const char *const in = s.from + from * s.from_row;
    char *const out = s.to + p * s.to_row;
    GPU_NO_UNROLL
    for (int first = 0; first < s.columns; first += EACH) {
        uint32_t x[EACH];
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) {
            x[i] = 0;
            if (from >= 0 && first + i < s.columns)
                x[i] = *(const uint32_t *)(in + (first + i) * s.from_column);
        }
        GPU_UNROLL
        for (int i = 0; i < EACH; i++)
            if (first + i < s.columns) *(uint32_t *)(out + (first + i) * s.to_column) = x[i];
    }
}

/* Zeros in the rows of those of the team's places from `first` on that have no slot: source is -1. */
GPU_DEVICE void permute_zero(const struct permute_args &a, int first, int source) {
    gpu_u4 nothing;
    nothing.x = nothing.y = nothing.z = nothing.w = 0;
    uint32_t none = team_ballot(source < 0);
    for (; none != 0; none &= none - 1) {
        const int at = first + gpu_lowest_bit(none);
        gpu_u4 *const out = (gpu_u4 *)(a.permuted + at * a.permuted_row);
        for (int i = gpu_lane(); i < a.vectors; i += TEAM) out[i] = nothing;
        for (int c = gpu_lane(); a.scales.to != NULL && a.scales.by_row && c < a.scales.columns;
             c += TEAM)
            permute_scale(a.scales, -1, at, c);
    }
}

/* CALL_THREADS places: their columns of scales, and rows without a slot. */
GPU_DEVICE void permute_places(const struct permute_args &a, int side) {
    const int p = side * CALL_THREADS + (int)gpu_thread();
    const int source = p < a.places ? a.row_sources[p] : 0;
    if (a.scales.to != NULL && !a.scales.by_row && p < a.places && (source >= 0 || a.zero))
        permute_columns(a.scales, source < 0 ? -1 : source / a.topk, p);
    if (a.zero) permute_zero(a, p - gpu_lane(), source);
}

/* The block's token, or its side as -1 - side: sides lie among tokens, so that they share the memory's time. */
GPU_DEVICE int permute_share(const struct permute_args &a) {
    const int block = (int)gpu_block();
    if (a.sides == 0) return block;
    const int i = block / a.period;
    if (i >= a.sides) return block - a.sides;
    return block == i * a.period ? -1 - i : block - i - 1;
}

__global__ void __launch_bounds__(CALL_THREADS) permute_row_kernel(const struct permute_args a) {
    const int share = permute_share(a);
    if (share >= 0)
        permute_token(a, share);
    else
        permute_places(a, -1 - share);
}

__global__ void __launch_bounds__(CALL_THREADS) permute_few_kernel(const struct permute_args a) {
    __shared__ struct sort_counts tables;
    const int share = permute_share(a), side = -1 - share;
    if (share >= 0) {
        gpu_u4 v[PERMUTE_EACH];
        permute_load(v, a, share, 0);
        sort_count(tables, a, share * a.topk);
        const int32_t mine = permute_find(tables, a, share);
        permute_slots(v, a, share, mine, a.topk, a.scales.to != NULL);
        return;
    }
    sort_count(tables, a, 0);
    for (int e = (int)gpu_thread(); side == 0 && e <= a.d.experts; e += CALL_THREADS)
        a.offsets[e] = tables.starts[e];
    const int p = side * CALL_THREADS + (int)gpu_thread();
    const int source = p < a.places ? permute_taken(tables, a, p) : 0;
    if (source < 0) a.free(p, p + 1, 0, 1);
    if (!a.zero) return;
    if (source < 0 && a.scales.to != NULL && !a.scales.by_row) permute_columns(a.scales, -1, p);
    permute_zero(a, p - gpu_lane(), source);
}

static bool permute_by_row(const dsv4_call *call, const char *name) {
    return dsv4_is(call, name, "f32") || dsv4_is(call, name, "e8m0");
}

static struct permute_scales permute_scales_of(const dsv4_call *call) {
    const dsv4_tensor *const in = dsv4_find(call, "x_scale"), *const out = dsv4_find(call, "scale");
    const bool in_rows = permute_by_row(call, "x_scales");
    struct permute_scales s = {};
    if (call_absent(in)) return s;
    s.size = dsv4_is(call, "out_scales", "e8m0") ? 1 : 4;
    s.by_row = permute_by_row(call, "out_scales");
    s.from = (const char *)in->data;
    s.to = (char *)out->data;
    s.from_row = in_rows ? in->stride[0] : 4;
    s.from_column = in_rows ? s.size : in->stride[0];
    s.to_row = s.by_row ? out->stride[0] : 4;
    s.to_column = s.by_row ? s.size : out->stride[0];
    s.columns = (int)out->shape[s.by_row ? 1 : 0];
    return s;
}

static int permute_supports_scales(const dsv4_call *call, struct call_why why) {
    const bool packed = dsv4_is(call, "out_scales", "packed");
    const uint32_t dtype = dsv4_is(call, "out_scales", "e8m0") ? (uint32_t)DSV4_E8M0
                           : packed                            ? (uint32_t)DSV4_I32
                                                               : (uint32_t)DSV4_F32;
    if (call_absent(dsv4_find(call, "x_scale"))) return DSV4_OK;
    CALL_NEED(call, "x_scale", dtype, 2, why);
    CALL_NEED(call, "scale", dtype, 2, why);
    return DSV4_OK;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "x");
    if (!call_has(x, DSV4_E4M3FN, 2) && !call_has(x, DSV4_E4M3FNUZ, 2))
        CALL_NEED(call, "x", DSV4_BF16, 2, why);
    CALL_NEED(call, "permuted", x->dtype, 2, why);
    CALL_NEED_ALIGNED(call, "x", 16, why);
    CALL_NEED_ALIGNED(call, "permuted", 16, why);
    CALL_NEED(call, "offsets", DSV4_I32, 1, why);
    CALL_NEED(call, "inverse", DSV4_I32, 2, why);
    CALL_NEED(call, "row_ids", DSV4_I32, 1, why);
    CALL_NEED(call, "row_sources", DSV4_I32, 1, why);
    if (x->shape[1] % 16 != 0)
        return call_unsupported(why, "these kernels take multiples of 16 channels");
    const int status = permute_supports_scales(call, why);
    if (status != DSV4_OK) return status;
    return dispatch_supports(call, dsv4_find(call, "offsets")->shape[0] - 1, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const out = dsv4_find(call, "permuted");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct permute_args a;
    dim3 grid;
    a.d = dispatch_ids_of(call, dsv4_find(call, "offsets")->shape[0] - 1);
    a.scales = permute_scales_of(call);
    a.x = (const char *)x->data;
    a.x_row = x->stride[0];
    a.permuted = (char *)out->data;
    a.permuted_row = out->stride[0];
    a.offsets = (int32_t *)dsv4_find(call, "offsets")->data;
    a.inverse = (int32_t *)dsv4_find(call, "inverse")->data;
    a.row_ids = (int32_t *)dsv4_find(call, "row_ids")->data;
    a.row_sources = (int32_t *)dsv4_find(call, "row_sources")->data;
    a.align = (int)dsv4_int(call, "align", 1);
    a.places = (int)out->shape[0];
    a.vectors = (int)(x->shape[1] * (x->dtype == DSV4_BF16 ? 2 : 1) / 16);
    a.tokens = (int)x->shape[0];
    a.topk = (int)dsv4_find(call, "ids")->shape[1];
    a.zero = dsv4_is(call, "padding", "zero");
    const bool few = a.d.n <= SORT_FEW && a.topk <= TEAM && a.places <= PERMUTE_FEW_PLACES;
    const bool columns = a.scales.to != NULL && !a.scales.by_row;
    a.sides = (int)call_ceil(a.places, CALL_THREADS);
    if (few && a.sides == 0) a.sides = 1; /* it stores offsets */
    if (!few && !columns && !a.zero) a.sides = 0;
    a.period = a.sides > 0 ? (a.tokens + a.sides) / a.sides : 1;
    sort_deal(a);
    if (!few) sort_launch(a, stream);
    if (a.tokens + a.sides == 0) return call_launched(why);
    const int status = call_grid(&grid, (int64_t)a.tokens + a.sides, why);
    if (status != DSV4_OK) return status;
    if (few)
        GPU_LAUNCH(permute_few_kernel, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(permute_row_kernel, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_permute)
