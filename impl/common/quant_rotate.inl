/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_rotate: a team takes a row, eight neighbouring columns per lane and step of 256, or two rows of 128. Butterflies are inside a lane, across lanes, then across steps.
 */
#include "../../reference/layout/kv_page.h"
#include "quant_lane.inl"

enum { ROTATE_FP4, ROTATE_FP8, ROTATE_BF16 };

struct quant_rotate_args {
    const char *x, *table, *weight;
    char *q, *scales;
    const int64_t *positions, *slots; /* slots: of a cache's pages; NULL: rows by token and head */
    int64_t x_token, x_head, q_token, q_head, s_token, s_head, table_row, rows;
    int64_t q_chunk, s_group; /* bytes from 16 bytes of fp4 codes, and from a scale, to the next */
    struct gpu_divisor heads, block;
    int norm, rope, hadamard, lanes, format, per_row;
    float eps;
    struct quant_rule rule;
};

/* Lanes of a row, and this one among them. */
template <int DIM> GPU_DEVICE constexpr int quant_rotate_lanes(void) {
    return DIM < 8 * TEAM ? DIM / 8 : (int)TEAM;
}
template <int DIM> GPU_DEVICE int quant_rotate_lane(void) {
    return gpu_lane() % quant_rotate_lanes<DIM>();
}

/* Adds the squares to 64 partials, ascending by 64 columns; a lane holds partials lane % 8 * 8 + j. */
template <int DIM> GPU_DEVICE float quant_rotate_squares(float (*x)[8]) {
    float partial[8] = {};
    GPU_UNROLL for (int m = 0; m < DIM / 64; m++) {
        const int owner =
            m % 4 * 8 + gpu_lane() % 8 + (gpu_lane() & ~(quant_rotate_lanes<DIM>() - 1));
        GPU_UNROLL for (int j = 0; j < 8; j++) {
            const float v = x[m / 4][j];
            partial[j] = gpu_float(team_read_u32(gpu_bits(gpu_fma(v, v, partial[j])), owner));
        }
    }
    GPU_UNROLL for (int j = 0; j < 8; j++) {
        partial[j] += team_xor_float(partial[j], 4);
        partial[j] += team_xor_float(partial[j], 2);
        partial[j] += team_xor_float(partial[j], 1);
    }
    GPU_UNROLL for (int j = 0; j < 4; j++) partial[j] += partial[j + 4];
    return (partial[0] + partial[2]) + (partial[1] + partial[3]);
}

GPU_DEVICE void quant_rotate_weigh(float *x, float factor, const char *weight) {
    GPU_UNROLL for (int j = 0; j < 8; j++) x[j] =
        (x[j] * factor) * num_bf16_low(((const uint16_t *)weight)[j]);
}

/* The last 64 columns are those of eight lanes of the last step; `pair` is the lane's first. */
GPU_DEVICE void quant_rotate_turn(float *x, const char *angle, int pair) {
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const float e = x[2 * i], o = x[2 * i + 1];
        const float cos = num_bf16_low(((const uint16_t *)angle)[pair + i]);
        const float sin = num_bf16_low(((const uint16_t *)angle)[KV_ROPE / 2 + pair + i]);
        const float os = o * sin, es = e * sin;
        x[2 * i] = e * cos - os;
        x[2 * i + 1] = o * cos + es;
    }
}

GPU_DEVICE void quant_rotate_pairs(float *x, int stride) {
    GPU_UNROLL for (int i = 0; i < 8; i++) {
        if ((i & stride) != 0) continue;
        const float a = x[i], b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
    }
}

#define QUANT_ROTATE_ACROSS(x, mask)                                                               \
    GPU_UNROLL for (int i = 0; i < 8; i++) {                                                       \
        const float other = team_xor_float((x)[i], mask);                                          \
        (x)[i] = (gpu_lane() & (mask)) != 0 ? other - (x)[i] : (x)[i] + other;                     \
    }

template <int DIM> GPU_DEVICE void quant_rotate_hadamard(float (*x)[8]) {
    enum { STEPS = DIM > 256 ? DIM / 256 : 1 };
    const float factor = DIM == 128   ? 0.08838834764831845f
                         : DIM == 256 ? 0.0625f
                         : DIM == 512 ? 0.04419417382415922f
                                      : 0.03125f;
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        quant_rotate_pairs(x[s], 1);
        quant_rotate_pairs(x[s], 2);
        quant_rotate_pairs(x[s], 4);
        QUANT_ROTATE_ACROSS(x[s], 1)
        QUANT_ROTATE_ACROSS(x[s], 2)
        QUANT_ROTATE_ACROSS(x[s], 4)
        QUANT_ROTATE_ACROSS(x[s], 8)
        if (DIM > 128) QUANT_ROTATE_ACROSS(x[s], 16)
    }
    GPU_UNROLL for (int apart = 1; apart < STEPS; apart *= 2) {
        GPU_UNROLL for (int s = 0; s < STEPS; s++) {
            if ((s & apart) != 0) continue;
            GPU_UNROLL for (int i = 0; i < 8; i++) {
                const float a = x[s][i], b = x[s + apart][i];
                x[s][i] = a + b;
                x[s + apart][i] = a - b;
            }
        }
    }
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        GPU_UNROLL for (int i = 0; i < 8; i++) x[s][i] *= factor;
    }
}

template <int DIM>
GPU_DEVICE void quant_rotate_fp4(const struct quant_rotate_args &a, float (*x)[8], char *q,
                                 char *scales, bool there) {
    enum { STEPS = DIM > 256 ? DIM / 256 : 1 };
    const int shift = a.lanes == 16 ? 4 : a.lanes == 8 ? 3 : 2;
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        const int lane = quant_rotate_lane<DIM>() + s * TEAM;
        const uint32_t byte =
            quant_byte(a.rule, quant_amax_group(quant_amax_floats(x[s]), a.lanes));
        const uint32_t codes = quant_fp4_floats(x[s], num_e8m0_inverse(byte), 0);
        if (!there) continue;
        *(uint32_t *)(q + (lane >> 2) * a.q_chunk + (lane & 3) * 4) = codes;
        if ((lane & (a.lanes - 1)) == 0) scales[(lane >> shift) * a.s_group] = (char)byte;
    }
}

template <int DIM>
GPU_DEVICE void quant_rotate_fp8(const struct quant_rotate_args &a, float (*x)[8], char *q,
                                 char *scales, bool there) {
    enum { STEPS = DIM > 256 ? DIM / 256 : 1 };
    float amax = 0.0f;
    GPU_UNROLL for (int s = 0; s < STEPS; s++) amax = gpu_max(amax, quant_amax_floats(x[s]));
    amax = DIM == 128 ? quant_amax_group(amax, 16) : gpu_float(team_max_u32(gpu_bits(amax)));
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        const int lane = quant_rotate_lane<DIM>() + s * TEAM;
        if (!a.per_row) amax = quant_amax_group(quant_amax_floats(x[s]), 16);
        if (!there) continue;
        const float scale = gpu_max(amax, 1e-10f) * a.rule.inverse_most;
        const float factor = gpu_divide_float(1.0f, scale);
        if (lane == 0 || (!a.per_row && lane % 16 == 0)) ((float *)scales)[lane / 16] = scale;
        *(uint32_t *)(q + 8 * lane) = quant_fp8_four<QUANT_FNUZ>(x[s], factor, a.rule.fp8);
        *(uint32_t *)(q + 8 * lane + 4) = quant_fp8_four<QUANT_FNUZ>(x[s] + 4, factor, a.rule.fp8);
    }
}

template <int DIM> GPU_DEVICE void quant_rotate_bf16(float (*x)[8], char *q, bool there) {
    enum { STEPS = DIM > 256 ? DIM / 256 : 1 };
    if (!there) return;
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        const int lane = quant_rotate_lane<DIM>() + s * TEAM;
        *(gpu_u4 *)(q + 16 * lane) =
            quant_four(num_bf16x2(x[s][0], x[s][1]), num_bf16x2(x[s][2], x[s][3]),
                       num_bf16x2(x[s][4], x[s][5]), num_bf16x2(x[s][6], x[s][7]));
    }
}

/* Where the row goes; false: nowhere. A page has its codes and scales group by group, its scales shuffled by 16. */
GPU_DEVICE bool quant_rotate_place(const struct quant_rotate_args &a, int64_t t, int64_t h,
                                   char **q, char **scales) {
    if (a.slots == NULL) {
        *q = a.q + t * a.q_token + h * a.q_head;
        *scales = a.scales + t * a.s_token + h * a.s_head;
        return true;
    }
    const int64_t slot = a.slots[t];
    if (slot < 0) return false;
    const int64_t page = gpu_quotient(slot, a.block), j = slot - page * a.block.value;
    *q = a.q + page * a.q_token + 16 * j;
    *scales = a.scales + page * a.s_token + j % 16 * (a.block.value / 16) + j / 16;
    return true;
}

template <int DIM>
__global__ void __launch_bounds__(CALL_THREADS)
    quant_rotate_kernel(const struct quant_rotate_args a) {
    enum { STEPS = DIM > 256 ? DIM / 256 : 1, LAST = (DIM - 64) / 8 % TEAM };
    const int lane = quant_rotate_lane<DIM>(), lanes = quant_rotate_lanes<DIM>();
    const int64_t first = (gpu_block() * CALL_THREADS + gpu_team() * TEAM) / lanes;
    const int64_t mine = first + gpu_lane() / lanes, row = mine < a.rows ? mine : a.rows - 1;
    if (first >= a.rows) return;
    const int64_t t = gpu_quotient(row, a.heads), h = row - t * a.heads.value;
    const char *const from = a.x + t * a.x_token + h * a.x_head;
    float x[STEPS][8];
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        struct quant_raw raw = {};
        raw.a = *(const gpu_u4 *)(from + 16 * (lane + s * TEAM));
        quant_floats<false>(x[s], raw);
    }
    if (a.norm) {
        const float mean = quant_rotate_squares<DIM>(x) * (1.0f / DIM);
        const float factor = elementary_rsqrt(mean + a.eps);
        GPU_UNROLL for (int s = 0; s < STEPS; s++)
            quant_rotate_weigh(x[s], factor, a.weight + 16 * (lane + s * TEAM));
    }
    if (a.rope && lane >= LAST && lane < LAST + 8)
        quant_rotate_turn(x[STEPS - 1], a.table + a.positions[t] * a.table_row, (lane - LAST) * 4);
    if (a.hadamard) quant_rotate_hadamard<DIM>(x);
    char *q = NULL, *scales = NULL;
    const bool there = quant_rotate_place(a, t, h, &q, &scales) && mine < a.rows;
    if (a.format == ROTATE_FP4)
        quant_rotate_fp4<DIM>(a, x, q, scales, there);
    else if (a.format == ROTATE_FP8)
        quant_rotate_fp8<DIM>(a, x, q, scales, there);
    else
        quant_rotate_bf16<DIM>(x, q, there);
}

static int quant_rotate_format(const dsv4_call *call) {
    return dsv4_is(call, "format", "fp4")   ? ROTATE_FP4
           : dsv4_is(call, "format", "fp8") ? ROTATE_FP8
                                            : ROTATE_BF16;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const x = dsv4_find(call, "x");
    const int format = quant_rotate_format(call), tiled = dsv4_is(call, "layout", "tiled");
    CALL_NEED(call, "x", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "x", 16, why);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "rope_table", DSV4_BF16, 2, why);
    if (dsv4_int(call, "norm", 0)) CALL_NEED(call, "weight", DSV4_BF16, 1, why);
    if (tiled) CALL_NEED(call, "slots", DSV4_I64, 1, why);
    CALL_NEED(call, "q",
              format == ROTATE_FP4   ? DSV4_U8
              : format == ROTATE_FP8 ? quant_fp8_dtype(call)
                                     : DSV4_BF16,
              tiled ? 4 : 3, why);
    CALL_NEED_ALIGNED(call, "q", format == ROTATE_BF16 ? 16 : 4, why);
    if (format != ROTATE_BF16)
        CALL_NEED(call, "scales", format == ROTATE_FP4 ? DSV4_E8M0 : DSV4_F32, 3, why);
    const int64_t dim = x->shape[2];
    if (dim != 128 && dim != 256 && dim != 512 && dim != 1024)
        return call_unsupported(why, "x: rows of %lld; these kernels take 128 to 1024",
                                (long long)dim);
    return DSV4_OK;
}

static void quant_rotate_open(const dsv4_call *call, struct quant_rotate_args &a) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const q = dsv4_find(call, "q");
    const dsv4_tensor *const s = dsv4_find(call, "scales"), *const w = dsv4_find(call, "weight");
    const dsv4_tensor *const table = dsv4_find(call, "rope_table");
    a.x = (const char *)x->data;
    a.x_token = x->stride[0];
    a.x_head = x->stride[1];
    a.format = quant_rotate_format(call);
    a.q = (char *)q->data;
    a.q_token = q->stride[0];
    a.q_head = q->stride[1];
    a.q_chunk = 16;
    a.s_group = 1;
    if (a.format != ROTATE_BF16) {
        a.scales = (char *)s->data;
        a.s_token = s->stride[0];
        a.s_head = s->stride[1];
    }
    if (dsv4_is(call, "layout", "tiled")) {
        a.slots = (const int64_t *)dsv4_find(call, "slots")->data;
        a.q_chunk = q->stride[1];
        a.s_group = s->stride[1];
        a.block = call_divisor(q->shape[2]);
    }
    a.table = (const char *)table->data;
    a.table_row = table->stride[0];
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.norm = (int)dsv4_int(call, "norm", 0);
    if (a.norm) a.weight = (const char *)w->data;
    a.rope = (int)dsv4_int(call, "rope", 1);
    a.hadamard = (int)dsv4_int(call, "hadamard", 1);
    a.lanes = (int)dsv4_int(call, "group", 32) / 8;
    a.per_row = (int)dsv4_int(call, "per_row", 1);
    a.eps = dsv4_float(call, "eps", 1e-6f);
    a.rule.fp8 = quant_fp8_of(call);
    a.rule.most = a.format == ROTATE_FP4 ? 6.0f : num_fp8_max(a.rule.fp8);
    a.rule.inverse_most = 1.0f / a.rule.most;
    a.rule.floor = 6.0f * 0x1p-126f;
    a.heads = call_divisor(x->shape[1]);
    a.rows = x->shape[0] * x->shape[1];
}

static int run(const dsv4_call *call, struct call_why why) {
    const int64_t dim = dsv4_find(call, "x")->shape[2];
    const gpu_stream stream = (gpu_stream)call->stream;
    struct quant_rotate_args a = {};
    dim3 grid;
    quant_rotate_open(call, a);
    if (a.rows == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.rows, CALL_TEAMS * (dim == 128 ? 2 : 1)), why);
    if (status != DSV4_OK) return status;
    if (dim == 128)
        GPU_LAUNCH(quant_rotate_kernel<128>, grid, CALL_THREADS, stream, a);
    else if (dim == 256)
        GPU_LAUNCH(quant_rotate_kernel<256>, grid, CALL_THREADS, stream, a);
    else if (dim == 512)
        GPU_LAUNCH(quant_rotate_kernel<512>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(quant_rotate_kernel<1024>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(quant_rotate)
