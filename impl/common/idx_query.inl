/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the indexer's queries. Half a team takes a row, eight neighbouring channels per lane, so that loads and stores
 * are 16 and 8 bytes; a team takes 2 STEPS heads of one token, all loads of which are under way at once, and one angle
 * for all of them. Lanes 8..15 of a half hold the channels that rotate; V3.2's are those of lanes 0..7.
 */
#ifndef DSV4_IDX_QUERY_INL
#define DSV4_IDX_QUERY_INL

#include "../../reference/layout/indexer_page.h"
#include "call.h"
#include "num.inl"

enum { QUERY_HALF = TEAM / 2 };

struct query_args {
    const char *q, *table, *weights;
    char *out, *scales, *weights_out;
    const int64_t *positions;
    int64_t q_token, q_head, table_row, out_token, out_head, scales_token, scales_head;
    int64_t weights_token, weights_out_token, tokens, units;
    struct gpu_divisor chunks; /* of 2 STEPS heads, per token */
    int heads, fp8, fused, v32, weights_bf16, shuffled;
    float softmax_scale, head_scale;
};

/* A row's codes and scale, spread over half a team. */
struct query_row {
    float x[8], scale;
    uint32_t codes[2], byte;
};

template <bool WIDE> GPU_DEVICE gpu_u4 query_load(const char *at) {
    gpu_u4 v;
    if (WIDE) return *(const gpu_u4 *)at;
    const uint16_t *const codes = (const uint16_t *)at;
    v.x = codes[0] | (uint32_t)codes[1] << 16;
    v.y = codes[2] | (uint32_t)codes[3] << 16;
    v.z = codes[4] | (uint32_t)codes[5] << 16;
    v.w = codes[6] | (uint32_t)codes[7] << 16;
    return v;
}

/* cos and sin of this lane's four pairs, the first of which is `pair`. NARROW: the table is bf16. */
template <bool NARROW>
GPU_DEVICE void query_angle(const char *row, int pair, float *cos, float *sin) {
    const float *const angle = (const float *)row;
    const uint16_t *const codes = (const uint16_t *)row;
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const int at = pair + i;
        cos[i] = NARROW ? num_bf16_low(codes[at]) : angle[at];
        sin[i] = NARROW ? num_bf16_low(codes[KV_ROPE / 2 + at]) : angle[KV_ROPE / 2 + at];
    }
}

/* Rotates this lane's four pairs and rounds to bf16. */
GPU_DEVICE void query_rotate(float *x, const float *cos, const float *sin, int fused) {
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const float e = x[2 * i], o = x[2 * i + 1];
        const float os = o * sin[i], es = e * sin[i];
        const float a = fused ? gpu_fma(e, cos[i], -os) : e * cos[i] - os;
        const float b = fused ? gpu_fma(o, cos[i], es) : o * cos[i] + es;
        const uint32_t codes = num_bf16x2_of_numbers(a, b);
        x[2 * i] = num_bf16_low(codes);
        x[2 * i + 1] = num_bf16_high(codes);
    }
}

GPU_DEVICE void query_butterfly(float *x, int stride) {
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        if ((i & stride) != 0) continue;
        const float a = x[i], b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
    }
}

#define QUERY_BUTTERFLY_ACROSS(x, mask)                                                            \
    GPU_UNROLL for (int i = 0; i < 8; i++) {                                                       \
        const float other = team_xor_float((x)[i], mask);                                          \
        (x)[i] = (gpu_lane() & (mask)) != 0 ? other - (x)[i] : (x)[i] + other;                     \
    }

GPU_DEVICE void query_hadamard(float *x) {
    query_butterfly(x, 1);
    query_butterfly(x, 2);
    query_butterfly(x, 4);
    QUERY_BUTTERFLY_ACROSS(x, 1)
    QUERY_BUTTERFLY_ACROSS(x, 2)
    QUERY_BUTTERFLY_ACROSS(x, 4)
    QUERY_BUTTERFLY_ACROSS(x, 8)
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const uint32_t codes =
            num_bf16x2(x[2 * i] * 0.08838834764831845f, x[2 * i + 1] * 0.08838834764831845f);
        x[2 * i] = num_bf16_low(codes);
        x[2 * i + 1] = num_bf16_high(codes);
    }
}

GPU_DEVICE float query_amax(const float *x) {
    float amax = 0.0f;
    GPU_UNROLL for (int i = 0; i < 8; i++) amax =
        gpu_max(amax, gpu_float(gpu_bits(x[i]) & 0x7FFFFFFFu));
    return amax;
}

/* Codes of 32 channels are those of four lanes. */
GPU_DEVICE void query_mxfp4(struct query_row &row) {
    float amax = query_amax(row.x);
    amax = gpu_max(amax, team_xor_float(amax, 2));
    amax = gpu_max(amax, team_xor_float(amax, 1));
    row.byte = num_e8m0_ceil(gpu_max(amax, 6.0f * 0x1p-126f) * (1.0f / 6.0f));
    row.codes[0] = num_e2m1_x8_of_bf16(row.x, num_e8m0_inverse(row.byte));
    row.scale = 1.0f;
}

template <bool HADAMARD> GPU_DEVICE void query_fp8(struct query_row &row, int fp8, int v32) {
    const float inverse_most = fp8 == NUM_OCP       ? 1.0f / 448.0f
                               : fp8 == NUM_FNUZ224 ? 1.0f / 224.0f
                                                    : 1.0f / 240.0f;
    float amax = query_amax(row.x), factor;
    amax = gpu_max(amax, team_xor_float(amax, 8));
    amax = gpu_max(amax, team_xor_float(amax, 4));
    amax = gpu_max(amax, team_xor_float(amax, 2));
    amax = gpu_max(amax, team_xor_float(amax, 1));
    if (HADAMARD) {
        row.scale = gpu_max(amax, 1e-10f) * inverse_most;
        factor = gpu_divide_float(1.0f, row.scale);
    } else {
        /* The quotient's power of two is the product's: amax is a bf16 value, or the floor. */
        const uint32_t byte = num_e8m0_ceil(gpu_max(amax, v32 ? 1e-10f : 1e-4f) * inverse_most);
        row.scale = num_e8m0_value(byte);
        factor = num_e8m0_inverse(byte);
    }
    GPU_UNROLL for (int i = 0; i < 2; i++) {
        const float *const x = row.x + 4 * i;
        row.codes[i] = num_fp8_x2(x[0] * factor, x[1] * factor, fp8) |
                       num_fp8_x2(x[2] * factor, x[3] * factor, fp8) << 16;
    }
}

/* A scale byte, and after the last tile of heads those of the tiles that pad. */
GPU_DEVICE void query_store_byte(const struct query_args &a, uint32_t byte, int64_t t, int head,
                                 int group) {
    uint8_t *const scales = (uint8_t *)(a.scales + t * a.scales_token);
    if (!a.shuffled) {
        scales[head * a.scales_head + group] = (uint8_t)byte;
        return;
    }
    uint8_t *const at = scales + indexer_query_scale_offset(a.heads, head, group);
    const int tile = head / INDEXER_TILE, left = (int)indexer_query_tiles(a.heads) - tile;
    *at = (uint8_t)byte;
    for (int i = 1; i < left && tile == a.heads / INDEXER_TILE - 1; i++) at[i] = 0;
}

/* Stores a row's codes, and with mxfp4 its scale bytes. */
template <bool MXFP4, bool WIDE>
GPU_DEVICE void query_store(const struct query_args &a, const struct query_row &row, int64_t t,
                            int head) {
    const int lane = gpu_lane() % QUERY_HALF;
    char *const out = a.out + t * a.out_token + head * a.out_head;
    if (MXFP4) {
        *(uint32_t *)(out + 4 * lane) = row.codes[0];
        if (lane % 4 == 0) query_store_byte(a, row.byte, t, head, lane / 4);
    } else if (WIDE) {
        gpu_u2 codes;
        codes.x = row.codes[0];
        codes.y = row.codes[1];
        *(gpu_u2 *)(out + 8 * lane) = codes;
    } else {
        *(uint32_t *)(out + 8 * lane) = row.codes[0];
        *(uint32_t *)(out + 8 * lane + 4) = row.codes[1];
    }
}

/* Lane i < 2 STEPS gets the scale of row i: that of step i / 2, half i % 2. */
template <int STEPS> GPU_DEVICE float query_scale(const struct query_row *rows) {
    const int lane = gpu_lane();
    float scale = 1.0f;
    GPU_UNROLL for (int i = 0; i < STEPS; i++) {
        const uint32_t one = team_read_u32(gpu_bits(rows[i].scale), lane % 2 * QUERY_HALF);
        scale = lane / 2 == i ? gpu_float(one) : scale;
    }
    return scale;
}

GPU_DEVICE void query_weigh(const struct query_args &a, int64_t t, int head, float scale) {
    const char *const from = a.weights + t * a.weights_token;
    float w =
        a.weights_bf16 ? num_bf16_low(((const uint16_t *)from)[head]) : ((const float *)from)[head];
    w = ((w * scale) * a.softmax_scale) * a.head_scale;
    ((float *)(a.weights_out + t * a.weights_out_token))[head] =
        w != w ? gpu_float(0x7FC00000u) : w;
}

template <bool HADAMARD, bool MXFP4, bool WIDE, int STEPS, bool NARROW>
__global__ void __launch_bounds__(CALL_THREADS) query_kernel(const struct query_args a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team();
    if (unit >= a.units) return;
    const int64_t t = gpu_quotient(unit, a.chunks);
    const int first = (int)(unit - t * a.chunks.value) * 2 * STEPS;
    const int lane = gpu_lane() % QUERY_HALF, half = gpu_lane() / QUERY_HALF;
    const char *const q = a.q + t * a.q_token + 16 * lane;
    gpu_u4 loaded[STEPS];
    GPU_UNROLL for (int i = 0; i < STEPS; i++) {
        const int head = first + 2 * i + half, last = a.heads - 1;
        loaded[i] = query_load<WIDE>(q + (head < last ? head : last) * a.q_head);
    }
    float cos[4], sin[4];
    query_angle<NARROW>(a.table + a.positions[t] * a.table_row, (lane & 7) * 4, cos, sin);
    struct query_row rows[STEPS];
    GPU_UNROLL for (int i = 0; i < STEPS; i++) {
        const uint32_t codes[4] = {loaded[i].x, loaded[i].y, loaded[i].z, loaded[i].w};
        GPU_UNROLL for (int j = 0; j < 4; j++) {
            rows[i].x[2 * j] = num_bf16_low(codes[j]);
            rows[i].x[2 * j + 1] = num_bf16_high(codes[j]);
        }
        if ((lane >= QUERY_HALF / 2) != (a.v32 != 0)) query_rotate(rows[i].x, cos, sin, a.fused);
        if (HADAMARD) query_hadamard(rows[i].x);
        if (MXFP4)
            query_mxfp4(rows[i]);
        else
            query_fp8<HADAMARD>(rows[i], a.fp8, a.v32);
        const int head = first + 2 * i + half;
        if (head < a.heads) query_store<MXFP4, WIDE>(a, rows[i], t, head);
    }
    if (HADAMARD && MXFP4) return;
    const float scale = query_scale<STEPS>(rows);
    const int head = first + gpu_lane();
    if (gpu_lane() >= 2 * STEPS || head >= a.heads) return;
    if (HADAMARD)
        *(float *)(a.scales + t * a.scales_token + head * a.scales_head) = scale;
    else
        query_weigh(a, t, head, scale);
}

static inline int query_fp8_of(const dsv4_call *call) {
    return dsv4_is(call, "fp8", "fnuz224")   ? NUM_FNUZ224
           : dsv4_is(call, "fp8", "fnuz240") ? NUM_FNUZ240
                                             : NUM_OCP;
}

static inline int query_supports(const dsv4_call *call, uint32_t table, struct call_why why) {
    const bool mxfp4 = dsv4_is(call, "format", "mxfp4");
    const dsv4_tensor *const q = dsv4_find(call, "q");
    CALL_NEED(call, "q", DSV4_BF16, 3, why);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "rope_table", table, 2, why);
    CALL_NEED(call, "q_out",
              mxfp4                           ? DSV4_U8
              : query_fp8_of(call) == NUM_OCP ? DSV4_E4M3FN
                                              : DSV4_E4M3FNUZ,
              3, why);
    CALL_NEED_ALIGNED(call, "q_out", 4, why);
    if (q->shape[2] != INDEXER_HEAD)
        return call_unsupported(why, "q: rows of %lld; these kernels take 128",
                                (long long)q->shape[2]);
    return DSV4_OK;
}

/* What both ops read; false where there is nothing to do. */
static inline bool query_open(const dsv4_call *call, struct query_args &a) {
    const dsv4_tensor *const q = dsv4_find(call, "q"), *const out = dsv4_find(call, "q_out");
    const dsv4_tensor *const table = dsv4_find(call, "rope_table");
    a = {};
    a.q = (const char *)q->data;
    a.q_token = q->stride[0];
    a.q_head = q->stride[1];
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.table = (const char *)table->data;
    a.table_row = table->stride[0];
    a.out = (char *)out->data;
    a.out_token = out->stride[0];
    a.out_head = out->stride[1];
    a.heads = (int)q->shape[1];
    a.fp8 = query_fp8_of(call);
    a.fused = dsv4_is(call, "rope", "fma");
    a.v32 = dsv4_is(call, "form", "v32");
    a.shuffled = dsv4_is(call, "scale_layout", "shuffled");
    a.tokens = q->shape[0];
    const dsv4_tensor *const scales = dsv4_find(call, "scales");
    if (!call_absent(scales)) {
        a.scales = (char *)scales->data;
        a.scales_token = scales->stride[0];
        a.scales_head = scales->stride[1];
    }
    return a.tokens > 0 && a.heads > 0;
}

template <bool HADAMARD, int STEPS, bool NARROW>
static int query_launch_as(const dsv4_call *call, struct query_args &a, struct call_why why) {
    const bool wide =
        call_aligned(dsv4_find(call, "q"), 16) && call_aligned(dsv4_find(call, "q_out"), 8);
    const bool mxfp4 = dsv4_is(call, "format", "mxfp4");
    const gpu_stream stream = (gpu_stream)call->stream;
    dim3 grid;
    a.chunks = call_divisor(call_ceil(a.heads, 2 * STEPS));
    a.units = a.tokens * a.chunks.value;
    const int status = call_grid(&grid, call_ceil(a.units, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (mxfp4 && wide)
        GPU_LAUNCH((query_kernel<HADAMARD, true, true, STEPS, NARROW>), grid, CALL_THREADS, stream,
                   a);
    else if (mxfp4)
        GPU_LAUNCH((query_kernel<HADAMARD, true, false, STEPS, NARROW>), grid, CALL_THREADS, stream,
                   a);
    else if (wide)
        GPU_LAUNCH((query_kernel<HADAMARD, false, true, STEPS, NARROW>), grid, CALL_THREADS, stream,
                   a);
    else
        GPU_LAUNCH((query_kernel<HADAMARD, false, false, STEPS, NARROW>), grid, CALL_THREADS,
                   stream, a);
    return call_launched(why);
}

/* Few tokens: fewer heads for a team, so that more of them work side by side. */
template <bool HADAMARD, bool NARROW>
static int query_launch(const dsv4_call *call, struct query_args a, struct call_why why) {
    if (a.tokens * a.heads < 2 * CALL_TEAMS * (int64_t)GPU_BUSY_BLOCKS)
        return query_launch_as<HADAMARD, 1, NARROW>(call, a, why);
    return query_launch_as<HADAMARD, 4, NARROW>(call, a, why);
}

#endif
