/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attn_combine: a team per head of a token. Lane i finds the weight of split first + i, 32 splits at a time; the sums run
 * over the splits in order in every lane alike, a lane keeps 16 channels. Four parts are loaded at once.
 */
#include "call.h"
#include "num.inl"

enum combine_epilogue { COMBINE_PLAIN, COMBINE_TURNED, COMBINE_MXFP8 };
enum combine_form { COMBINE_ML, COMBINE_NATURAL, COMBINE_LOG2 };
enum { COMBINE_AHEAD = 4 };
#define COMBINE_LOG2E 1.44269504f

struct combine_args {
    const char *m, *l, *parts; /* m: maxima or logarithms */
    const int32_t *counts;
    const float *sink;
    const int64_t *positions;
    const char *table;
    char *o, *lse, *codes, *scales;
    int64_t m_token, m_split, l_token, l_split, part_token, part_split, part_head;
    int64_t o_token, o_head, lse_token, rows;
    int64_t table_row, codes_token, codes_head, scales_token, scales_head;
    struct gpu_divisor heads;
    int n;
};

template <int FORM> GPU_DEVICE float combine_power(float x) {
    return FORM == COMBINE_LOG2 ? elementary_exp2(x) : elementary_exp(x);
}

template <int FORM> GPU_DEVICE float combine_log(float x) {
    const float natural = elementary_log(x);
    return FORM == COMBINE_LOG2 ? natural * COMBINE_LOG2E : natural;
}

/* One head of a token. */
struct combine_head {
    const char *m, *l, *parts;
    int64_t m_split, l_split, part_split;
    int n;
};

template <int FORM> GPU_DEVICE bool combine_used(float m) {
    return FORM == COMBINE_ML ? m != gpu_float(0xFF7FFFFFu) : m != -gpu_float(0x7F800000u);
}

/* This lane's split: its maximum or logarithm; -inf where there is none. */
template <int FORM> GPU_DEVICE float combine_load(const struct combine_head &head, int first) {
    const int split = first + gpu_lane();
    if (split >= head.n) return -gpu_float(0x7F800000u);
    const float m = *(const float *)(head.m + split * head.m_split);
    return combine_used<FORM>(m) ? m : -gpu_float(0x7F800000u);
}

template <int FORM> GPU_DEVICE float combine_most(const struct combine_head &head) {
    float most = -gpu_float(0x7F800000u);
    for (int first = 0; first < head.n; first += TEAM)
        most = gpu_max(most, combine_load<FORM>(head, first));
    most = gpu_max(most, team_xor_float(most, 16));
    most = gpu_max(most, team_xor_float(most, 8));
    most = gpu_max(most, team_xor_float(most, 4));
    most = gpu_max(most, team_xor_float(most, 2));
    return gpu_max(most, team_xor_float(most, 1));
}

/* ml: chain of fma(w, l, sum); else the sum of w; with w relative to `most`. */
template <int FORM> GPU_DEVICE float combine_sum(const struct combine_head &head, float most) {
    float sum = 0.0f;
    for (int first = 0; first < head.n; first += TEAM) {
        const float m = combine_load<FORM>(head, first);
        const bool used = m != -gpu_float(0x7F800000u);
        const uint32_t mask = team_ballot(used);
        const float w = used ? combine_power<FORM>(m - most) : 0.0f;
        float l = 0.0f;
        if (FORM == COMBINE_ML && used)
            l = *(const float *)(head.l + (first + gpu_lane()) * head.l_split);
        for (int i = 0; i < TEAM && first + i < head.n; i++) {
            const float wi = gpu_float(team_read_u32(gpu_bits(w), i));
            const float li = gpu_float(team_read_u32(gpu_bits(l), i));
            if ((mask >> i & 1u) == 0) continue;
            sum = FORM == COMBINE_ML ? gpu_fma(wi, li, sum) : sum + wi;
        }
    }
    return sum;
}

GPU_DEVICE void combine_add(float *acc, const gpu_f4 *part, float w) {
    GPU_UNROLL for (int j = 0; j < 4; j++) {
        acc[4 * j] = gpu_fma(w, part[j].x, acc[4 * j]);
        acc[4 * j + 1] = gpu_fma(w, part[j].y, acc[4 * j + 1]);
        acc[4 * j + 2] = gpu_fma(w, part[j].z, acc[4 * j + 2]);
        acc[4 * j + 3] = gpu_fma(w, part[j].w, acc[4 * j + 3]);
    }
}

/* acc: chain of fma(w, part, acc), w relative to `most`; parts of empty splits are not read. */
template <int FORM>
GPU_DEVICE void combine_weigh(float *acc, const struct combine_head &head, float most) {
    GPU_UNROLL for (int c = 0; c < 16; c++) acc[c] = 0.0f;
    for (int first = 0; first < head.n; first += TEAM) {
        const float m = combine_load<FORM>(head, first);
        const bool used = m != -gpu_float(0x7F800000u);
        const uint32_t mask = team_ballot(used);
        const float w = used ? combine_power<FORM>(m - most) : 0.0f;
        for (int i = 0; i < TEAM && first + i < head.n; i += COMBINE_AHEAD) {
            gpu_f4 part[COMBINE_AHEAD][4];
            float weights[COMBINE_AHEAD];
            GPU_UNROLL for (int k = 0; k < COMBINE_AHEAD; k++) {
                weights[k] = gpu_float(team_read_u32(gpu_bits(w), i + k));
                if ((mask >> (i + k) & 1u) == 0) continue;
                const char *const at = head.parts + (first + i + k) * head.part_split;
                GPU_UNROLL for (int j = 0; j < 4; j++) part[k][j] =
                    *(const gpu_f4 *)(at + 512 * j + 16 * gpu_lane());
            }
            GPU_UNROLL for (int k = 0; k < COMBINE_AHEAD; k++) if ((mask >> (i + k) & 1u) != 0)
                combine_add(acc, part[k], weights[k]);
        }
    }
}

/* acc becomes the row; returns the logarithm. For a head with at least one split in use. */
template <int FORM>
GPU_DEVICE float combine_row(float *acc, const struct combine_head &head, float m, float sink) {
    if (FORM == COMBINE_ML) {
        const float most = sink > m ? sink : m;
        const float lse = m + elementary_log(combine_sum<FORM>(head, m));
        const float den = combine_sum<FORM>(head, most) + elementary_exp(sink - most);
        combine_weigh<FORM>(acc, head, most);
        GPU_UNROLL for (int c = 0; c < 16; c++) acc[c] = gpu_divide_float(acc[c], den);
        return lse;
    }
    const float bias = FORM == COMBINE_LOG2 ? sink * COMBINE_LOG2E : sink;
    const float g = combine_log<FORM>(combine_sum<FORM>(head, m)) + m;
    const float with_sink = g + combine_log<FORM>(1.0f + combine_power<FORM>(bias - g));
    combine_weigh<FORM>(acc, head, with_sink);
    return FORM == COMBINE_LOG2 ? gpu_divide_float(g, COMBINE_LOG2E) : g;
}

/* The last 64 channels turned back: lanes 16 to 31 have two pairs each. */
GPU_DEVICE void combine_turn(float *x, const struct combine_args &a, int64_t token) {
    if (gpu_lane() < 16) return;
    const float *const angle =
        (const float *)(a.table + a.positions[token] * a.table_row) + 2 * (gpu_lane() - 16);
    GPU_UNROLL for (int i = 0; i < 2; i++) {
        const float e = x[2 * i], o = x[2 * i + 1], c = angle[i], s = angle[KV_ROPE / 2 + i];
        const float os = o * s, es = e * s;
        x[2 * i] = e * c + os;
        x[2 * i + 1] = o * c - es;
    }
}

/* Four codes of each quarter, whose groups of 32 channels are eight lanes'. */
GPU_DEVICE void combine_quantise(const struct combine_args &a, const float *acc, int64_t token,
                                 int64_t h) {
    char *const codes = a.codes + token * a.codes_token + h * a.codes_head + 4 * gpu_lane();
    char *const scales = a.scales + token * a.scales_token + h * a.scales_head + gpu_lane() / 8;
    GPU_UNROLL for (int j = 0; j < 4; j++) {
        const float *const x = acc + 4 * j;
        float amax = 0x1p-126f;
        GPU_UNROLL for (int i = 0; i < 4; i++) amax =
            gpu_max(amax, gpu_float(gpu_bits(x[i]) & 0x7FFFFFFFu));
        amax = gpu_max(amax, team_xor_float(amax, 4));
        amax = gpu_max(amax, team_xor_float(amax, 2));
        amax = gpu_max(amax, team_xor_float(amax, 1));
        const float s = gpu_divide_float(amax, 448.0f);
        const uint32_t byte = gpu_bits(s) <= 0x00400000u ? 0u : num_e8m0_ceil(s);
        const float factor = num_e8m0_inverse(byte);
        *(uint32_t *)(codes + 128 * j) = num_fp8_x2(x[0] * factor, x[1] * factor, NUM_OCP) |
                                         num_fp8_x2(x[2] * factor, x[3] * factor, NUM_OCP) << 16;
        if (gpu_lane() % 8 == 0) scales[4 * j] = (char)byte;
    }
}

GPU_DEVICE void combine_store(const struct combine_args &a, const float *acc, int64_t token,
                              int64_t h) {
    GPU_UNROLL for (int j = 0; j < 4; j++) {
        gpu_u2 made;
        made.x = num_bf16x2(acc[4 * j], acc[4 * j + 1]);
        made.y = num_bf16x2(acc[4 * j + 2], acc[4 * j + 3]);
        *(gpu_u2 *)(a.o + token * a.o_token + h * a.o_head + 256 * j + 8 * gpu_lane()) = made;
    }
}

template <int FORM, int EPILOGUE>
__global__ void __launch_bounds__(CALL_THREADS) combine_kernel(const struct combine_args a) {
    const int64_t row = gpu_block() * CALL_TEAMS + gpu_team();
    if (row >= a.rows) return;
    const int64_t token = gpu_quotient(row, a.heads), h = row - token * a.heads.value;
    const float infinity = gpu_float(0x7F800000u);
    const float sink = a.sink == NULL ? -infinity : a.sink[h];
    float acc[16], lse = infinity;
    struct combine_head head;
    head.m = a.m + token * a.m_token + 4 * h;
    head.l = a.l + token * a.l_token + 4 * h;
    head.parts = a.parts + token * a.part_token + h * a.part_head;
    head.m_split = a.m_split;
    head.l_split = a.l_split;
    head.part_split = a.part_split;
    head.n = a.counts == NULL || a.counts[token] > a.n ? a.n : a.counts[token];
    if (FORM != COMBINE_ML && head.n == 1) return; /* the first stage finished it */
    const float m = combine_most<FORM>(head);
    if (m != -infinity) lse = combine_row<FORM>(acc, head, m, sink);
    if (m == -infinity || sink == infinity) {
        GPU_UNROLL for (int c = 0; c < 16; c++) acc[c] = 0.0f;
    }
    if (EPILOGUE != COMBINE_PLAIN) combine_turn(acc + 12, a, token);
    if (EPILOGUE == COMBINE_MXFP8)
        combine_quantise(a, acc, token, h);
    else
        combine_store(a, acc, token, h);
    if (gpu_lane() == 0) *(float *)(a.lse + token * a.lse_token + 4 * h) = lse;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const bool ml = dsv4_is(call, "form", "ml");
    CALL_NEED(call, ml ? "part_m" : "part_lse", DSV4_F32, 3, why);
    if (ml) CALL_NEED(call, "part_l", DSV4_F32, 3, why);
    CALL_NEED(call, "part_o", DSV4_F32, 4, why);
    CALL_NEED_ALIGNED(call, "part_o", 16, why);
    CALL_NEED(call, "lse", DSV4_F32, 2, why);
    if (dsv4_is(call, "epilogue", "mxfp8")) {
        CALL_NEED(call, "codes", DSV4_E4M3FN, 3, why);
        CALL_NEED_ALIGNED(call, "codes", 4, why);
        CALL_NEED(call, "scales", DSV4_U8, 3, why);
    } else {
        CALL_NEED(call, "o", DSV4_BF16, 3, why);
        CALL_NEED_ALIGNED(call, "o", 8, why);
    }
    if (!dsv4_is(call, "epilogue", "none")) {
        CALL_NEED(call, "positions", DSV4_I64, 1, why);
        CALL_NEED(call, "rope_table", DSV4_F32, 2, why);
        if (!ml) return call_unsupported(why, "epilogue: these kernels have it for form ml");
    }
    if (dsv4_find(call, "part_o")->shape[3] != KV_HEAD)
        return call_unsupported(why, "part_o: heads of %lld channels; these kernels take 512",
                                (long long)dsv4_find(call, "part_o")->shape[3]);
    return DSV4_OK;
}

static void open_epilogue(const dsv4_call *call, struct combine_args &a) {
    const dsv4_tensor *const table = dsv4_find(call, "rope_table");
    const dsv4_tensor *const o = dsv4_find(call, "o"), *const codes = dsv4_find(call, "codes");
    const dsv4_tensor *const scales = dsv4_find(call, "scales");
    if (!call_absent(table)) {
        a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
        a.table = (const char *)table->data;
        a.table_row = table->stride[0];
    }
    if (!call_absent(o)) {
        a.o = (char *)o->data;
        a.o_token = o->stride[0];
        a.o_head = o->stride[1];
    }
    if (call_absent(codes)) return;
    a.codes = (char *)codes->data;
    a.codes_token = codes->stride[0];
    a.codes_head = codes->stride[1];
    a.scales = (char *)scales->data;
    a.scales_token = scales->stride[0];
    a.scales_head = scales->stride[1];
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const parts = dsv4_find(call, "part_o");
    const dsv4_tensor *const lse = dsv4_find(call, "lse"), *const l = dsv4_find(call, "part_l");
    const dsv4_tensor *const counts = dsv4_find(call, "counts"), *const sink =
                                                                     dsv4_find(call, "sink");
    const bool ml = dsv4_is(call, "form", "ml"), log2 = dsv4_is(call, "form", "lse_log2");
    const dsv4_tensor *const m = dsv4_find(call, ml ? "part_m" : "part_lse");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct combine_args a = {};
    dim3 grid;
    open_epilogue(call, a);
    a.m = (const char *)m->data;
    a.m_token = m->stride[0];
    a.m_split = m->stride[1];
    a.l = ml ? (const char *)l->data : a.m;
    a.l_token = ml ? l->stride[0] : 0;
    a.l_split = ml ? l->stride[1] : 0;
    a.parts = (const char *)parts->data;
    a.part_token = parts->stride[0];
    a.part_split = parts->stride[1];
    a.part_head = parts->stride[2];
    a.counts = call_absent(counts) ? NULL : (const int32_t *)counts->data;
    a.sink = call_absent(sink) ? NULL : (const float *)sink->data;
    a.lse = (char *)lse->data;
    a.lse_token = lse->stride[0];
    a.heads = call_divisor(dsv4_int(call, "heads", 1));
    a.n = (int)parts->shape[1];
    a.rows = parts->shape[0] * a.heads.value;
    if (a.rows == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.rows, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (dsv4_is(call, "epilogue", "turned"))
        GPU_LAUNCH((combine_kernel<COMBINE_ML, COMBINE_TURNED>), grid, CALL_THREADS, stream, a);
    else if (dsv4_is(call, "epilogue", "mxfp8"))
        GPU_LAUNCH((combine_kernel<COMBINE_ML, COMBINE_MXFP8>), grid, CALL_THREADS, stream, a);
    else if (ml)
        GPU_LAUNCH((combine_kernel<COMBINE_ML, COMBINE_PLAIN>), grid, CALL_THREADS, stream, a);
    else if (log2)
        GPU_LAUNCH((combine_kernel<COMBINE_LOG2, COMBINE_PLAIN>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((combine_kernel<COMBINE_NATURAL, COMBINE_PLAIN>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(attn_combine)
