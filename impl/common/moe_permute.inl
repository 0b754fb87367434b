/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_permute: a launch for places, a block per expert, and one for the rows. There a block takes a token, whose row it
 * reads once and stores wherever its slots have a place; scales that lie group by group are copied by further blocks, a
 * lane per place, so that stores lie side by side. Those blocks also zero rows without a slot.
 */
#include "moe_sort.inl"

struct permute_scales {
    const char *from;
    char *to; /* NULL: there are none */
    int64_t from_row, from_column, to_row, to_column;
    int columns, size;
    bool by_row; /* of what is written */
};

struct permute_args {
    struct dispatch_ids d;
    struct permute_scales scales;
    const char *x;
    char *permuted;
    int32_t *offsets, *inverse, *row_ids, *row_sources;
    int64_t x_row, permuted_row;
    int align, places, vectors, tokens, topk;
    bool zero;

    IDX_METHOD void place(int slot, int at) const {
        inverse[slot] = at;
        row_ids[at] = (int)gpu_block();
        row_sources[at] = slot;
    }
    IDX_METHOD void none(int slot) const { inverse[slot] = -1; }
};

GPU_DEVICE void permute_free(const struct permute_args &a, int begin, int end) {
    for (int p = begin + (int)gpu_thread(); p < end; p += CALL_THREADS)
        a.row_ids[p] = a.row_sources[p] = -1;
}

template <bool ALIGNED>
__global__ void __launch_bounds__(CALL_THREADS) permute_place_kernel(const struct permute_args a) {
    __shared__ int counters[ALIGNED ? DISPATCH_MOST_EXPERTS : 1], sums[CALL_TEAMS];
    const struct sort_expert s = sort_count<ALIGNED>(a.d, a.align, counters, sums);
    sort_place(a, a.d, s);
    if (gpu_thread() == 0) a.offsets[s.e] = s.start;
    if (gpu_thread() == 0 && s.e == 0) a.offsets[a.d.experts] = s.total;
    if (ALIGNED) permute_free(a, s.start + s.count, s.end);
    if (s.total >= a.places) return;
    const int each = (a.places - s.total + a.d.experts - 1) / a.d.experts;
    const int first = s.total + each * s.e;
    permute_free(a, first, first + each < a.places ? first + each : a.places);
}

GPU_DEVICE void permute_scale(const struct permute_scales &s, int64_t from, int64_t to,
                              int column) {
    const char *const in = s.from + from * s.from_row + column * s.from_column;
    char *const out = s.to + to * s.to_row + column * s.to_column;
    if (s.size == 1)
        *out = from < 0 ? 0 : *in;
    else
        *(uint32_t *)out = from < 0 ? 0u : *(const uint32_t *)in;
}

/* A token's row, and scales that lie with it. */
GPU_DEVICE void permute_token(const struct permute_args &a, int t) {
    enum { EACH = 2 };
    const gpu_u4 *const row = (const gpu_u4 *)(a.x + t * a.x_row);
    const int32_t *const places = a.inverse + (int64_t)t * a.topk;
    GPU_NO_UNROLL
    for (int first = (int)gpu_thread(); first < a.vectors; first += EACH * CALL_THREADS) {
        gpu_u4 v[EACH];
        GPU_UNROLL
        for (int i = 0; i < EACH; i++) {
            v[i].x = v[i].y = v[i].z = v[i].w = 0;
            if (first + i * CALL_THREADS < a.vectors) v[i] = row[first + i * CALL_THREADS];
        }
        for (int k = 0; k < a.topk; k++) {
            const int32_t place = places[k];
            if (place < 0) continue;
            gpu_u4 *const out = (gpu_u4 *)(a.permuted + place * a.permuted_row);
            GPU_UNROLL
            for (int i = 0; i < EACH; i++)
                if (first + i * CALL_THREADS < a.vectors) out[first + i * CALL_THREADS] = v[i];
        }
    }
    if (a.scales.to == NULL || !a.scales.by_row) return;
    for (int k = 0; k < a.topk; k++)
        for (int c = (int)gpu_thread(); places[k] >= 0 && c < a.scales.columns; c += CALL_THREADS)
            permute_scale(a.scales, t, places[k], c);
}

/* CALL_THREADS places: their columns of scales, and rows without a slot. */
GPU_DEVICE void permute_places(const struct permute_args &a, int first) {
    const int p = first + (int)gpu_thread();
    const int source = p < a.places ? a.row_sources[p] : 0;
    const int token = source < 0 ? -1 : source / a.topk;
    if (a.scales.to != NULL && !a.scales.by_row && p < a.places && (source >= 0 || a.zero))
        for (int c = 0; c < a.scales.columns; c++) permute_scale(a.scales, token, p, c);
    if (!a.zero) return;
    gpu_u4 nothing;
    nothing.x = nothing.y = nothing.z = nothing.w = 0;
    for (int lane = 0; lane < TEAM; lane++) {
        const int at = first + gpu_team() * TEAM + lane;
        if ((int)team_read_u32((uint32_t)source, lane) >= 0 || at >= a.places) continue;
        gpu_u4 *const out = (gpu_u4 *)(a.permuted + at * a.permuted_row);
        for (int i = gpu_lane(); i < a.vectors; i += TEAM) out[i] = nothing;
        for (int c = gpu_lane(); a.scales.to != NULL && a.scales.by_row && c < a.scales.columns;
             c += TEAM)
            permute_scale(a.scales, -1, at, c);
    }
}

__global__ void __launch_bounds__(CALL_THREADS) permute_row_kernel(const struct permute_args a) {
    if (gpu_block() < a.tokens)
        permute_token(a, (int)gpu_block());
    else
        permute_places(a, (int)(gpu_block() - a.tokens) * CALL_THREADS);
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
    if (a.align > 1)
        GPU_LAUNCH(permute_place_kernel<true>, dim3((uint32_t)a.d.experts), CALL_THREADS, stream,
                   a);
    else
        GPU_LAUNCH(permute_place_kernel<false>, dim3((uint32_t)a.d.experts), CALL_THREADS, stream,
                   a);
    const bool columns = a.scales.to != NULL && !a.scales.by_row;
    const int64_t blocks = a.tokens + (columns || a.zero ? call_ceil(a.places, CALL_THREADS) : 0);
    if (blocks == 0) return call_launched(why);
    const int status = call_grid(&grid, blocks, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(permute_row_kernel, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_permute)
