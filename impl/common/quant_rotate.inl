/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_rotate: a row's columns lie eight by eight in the 4 to 32 lanes that share it, in as many steps as it takes: where
 * lanes and steps are at odds with a group or a butterfly, few shuffles are left. Butterflies are inside a lane, across
 * lanes, then across steps; RoPE's 64 columns are in as many lanes as possible.
 */
#include "../../reference/layout/kv_page.h"
#include "quant_lane.inl"

enum { ROTATE_FP4, ROTATE_FP8, ROTATE_BF16 };

/* Steps of any row. With 8 for rows of 512 a stage less goes across lanes, but registers leave fewer of them: of fp4 and fp8
 * it is slower on an H200, of bf16 faster. */
enum { ROTATE_STEPS = 4 };

struct quant_rotate_args {
    const char *x, *table, *weight;
    char *q, *scales;
    const int64_t *positions, *slots; /* slots: of a cache's pages; NULL: rows by token and head */
    int64_t q_chunk, s_group; /* bytes from 16 bytes of fp4 codes, and from a scale, to the next */
    /* Strides and rows of 32 bits: addresses are a good part of what a kernel computes. */
    int x_token, x_head, q_token, q_head, s_token, s_head, table_row, rows;
    struct gpu_divisor heads, block;
    int norm, rope, hadamard, lanes, per_row;
    int wide_q, wide_table; /* may be loaded and stored by 16, by 8 bytes */
    float eps;
    struct quant_rule rule;
};

/* Column 8 * (lane + s * LANES) + j of a row is x[s][j] of its lane. */
template <int DIM> struct quant_rotate_shape {
    enum { STEPS = ROTATE_STEPS, LANES = DIM / 8 / STEPS };
};
template <int DIM> GPU_DEVICE int quant_rotate_lane(void) {
    return gpu_lane() % quant_rotate_shape<DIM>::LANES;
}

/* Adds the squares to 64 partials, ascending by 64 columns. Up to eight lanes have their own ones; of more, eight by turns. */
template <int DIM> GPU_DEVICE float quant_rotate_squares(float (*x)[8]) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
    enum { OWN = LANES < 8 ? 8 / LANES : 1, TURNS = LANES > 8 ? LANES / 8 : 1 };
    float partials[OWN][8] = {}, *const partial = partials[0];
    GPU_UNROLL for (int m = 0; m < STEPS * TURNS; m++) {
        const int owner = m % TURNS * 8 + gpu_lane() % 8 + (gpu_lane() & ~(LANES - 1));
        GPU_UNROLL for (int j = 0; j < 8; j++) {
            const float v = x[m / TURNS][j];
            float *const to = &partials[m % OWN][j];
            *to = gpu_fma(v, v, *to);
            if (TURNS > 1) *to = gpu_float(team_read_u32(gpu_bits(*to), owner));
        }
    }
    GPU_UNROLL for (int j = 0; j < 8; j++) {
        if (LANES > 4)
            partial[j] += team_xor_float(partial[j], 4);
        else
            partial[j] += partials[OWN - 1][j];
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

/* cos or sin of four pairs. */
template <bool WIDE> GPU_DEVICE void quant_rotate_four(float *x, const char *from) {
    if (WIDE) {
        const gpu_u2 codes = *(const gpu_u2 *)from;
        x[0] = num_bf16_low(codes.x);
        x[1] = num_bf16_high(codes.x);
        x[2] = num_bf16_low(codes.y);
        x[3] = num_bf16_high(codes.y);
    } else {
        GPU_UNROLL for (int i = 0; i < 4; i++) x[i] = num_bf16_low(((const uint16_t *)from)[i]);
    }
}

/* Eight of the last 64 columns, from pair `pair` on. */
template <bool WIDE> GPU_DEVICE void quant_rotate_turn(float *x, const char *angle, int pair) {
    float cos[4], sin[4];
    quant_rotate_four<WIDE>(cos, angle + 2 * pair);
    quant_rotate_four<WIDE>(sin, angle + KV_ROPE + 2 * pair);
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const float e = x[2 * i], o = x[2 * i + 1];
        const float os = o * sin[i], es = e * sin[i];
        x[2 * i] = e * cos[i] - os;
        x[2 * i + 1] = o * cos[i] + es;
    }
}

template <int DIM, bool WIDE> GPU_DEVICE void quant_rotate_rope(float (*x)[8], const char *angle) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        if ((s + 1) * LANES <= DIM / 8 - KV_ROPE / 8) continue;
        const int eight = quant_rotate_lane<DIM>() + (s * LANES - (DIM / 8 - KV_ROPE / 8));
        if (eight >= 0) quant_rotate_turn<WIDE>(x[s], angle, 4 * eight);
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

/* The lane with the bit has b: other - x; a product with +-1 is exact. */
#define QUANT_ROTATE_ACROSS(x, mask)                                                               \
    {                                                                                              \
        const float sign = (gpu_lane() & (mask)) != 0 ? -1.0f : 1.0f;                              \
        GPU_UNROLL for (int i = 0; i < 8; i++)(x)[i] =                                             \
            gpu_fma((x)[i], sign, team_xor_float((x)[i], mask));                                   \
    }

template <int DIM> GPU_DEVICE void quant_rotate_hadamard(float (*x)[8]) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
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
        if (LANES > 4) QUANT_ROTATE_ACROSS(x[s], 4)
        if (LANES > 8) QUANT_ROTATE_ACROSS(x[s], 8)
        if (LANES > 16) QUANT_ROTATE_ACROSS(x[s], 16)
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

/* Of finite values. */
GPU_DEVICE float quant_rotate_amax(const float *x) {
    float amax = gpu_abs(x[0]);
    GPU_UNROLL for (int i = 1; i < 8; i++) amax = gpu_max(amax, gpu_abs(x[i]));
    return amax;
}

/* Greatest magnitudes of steps to those of groups of 8 * lanes columns; `lanes` is 4, 8 or 16. */
template <int DIM> GPU_DEVICE void quant_rotate_groups(float *amax, int lanes) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
    GPU_UNROLL for (int s = 0; s < STEPS; s++) amax[s] =
        quant_amax_group(amax[s], lanes < LANES ? lanes : (int)LANES);
    GPU_UNROLL for (int apart = 1; apart * LANES < 16; apart *= 2) {
        if (apart * LANES >= lanes) continue;
        GPU_UNROLL for (int s = 0; s < STEPS; s++) {
            if ((s & apart) == 0) amax[s] = amax[s + apart] = gpu_max(amax[s], amax[s + apart]);
        }
    }
}

/* Four lanes have four words each, one of every step: to lane i those of step i. */
GPU_DEVICE gpu_u4 quant_rotate_transposed(const uint32_t *words) {
    const bool odd = (gpu_lane() & 1) != 0, upper = (gpu_lane() & 2) != 0;
    uint32_t a[4];
    GPU_UNROLL for (int i = 0; i < 4; i += 2) {
        const uint32_t other = team_xor_u32(odd ? words[i] : words[i + 1], 1);
        a[i] = odd ? other : words[i];
        a[i + 1] = odd ? words[i + 1] : other;
    }
    const uint32_t b = team_xor_u32(upper ? a[0] : a[2], 2);
    const uint32_t c = team_xor_u32(upper ? a[1] : a[3], 2);
    return upper ? quant_four(b, c, a[2], a[3]) : quant_four(a[0], a[1], b, c);
}

/* Groups of 32: lane i of a group's four lanes has what is one of the group of step i: scale, factor, 16 bytes of codes. */
template <int DIM>
GPU_DEVICE void quant_rotate_fp4_by_32(const struct quant_rotate_args &a, float (*x)[8], char *q,
                                       char *scales, bool there) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
    const int lane = quant_rotate_lane<DIM>(), first = gpu_lane() & ~3;
    GPU_UNROLL for (int s = 0; s < STEPS; s += 4) {
        uint32_t words[4];
        GPU_UNROLL for (int i = 0; i < 4; i++) words[i] = gpu_bits(quant_rotate_amax(x[s + i]));
        const gpu_u4 most = quant_rotate_transposed(words);
        const uint32_t greatest =
            quant_max_u32(quant_max_u32(most.x, most.y), quant_max_u32(most.z, most.w));
        const uint32_t byte = quant_fp4_byte(a.rule, gpu_float(greatest));
        const float inverse = num_e8m0_inverse(byte);
        GPU_UNROLL for (int i = 0; i < 4; i++) words[i] =
            quant_fp4_floats(x[s + i], team_read_float(inverse, first + i), 0);
        const gpu_u4 codes = quant_rotate_transposed(words);
        const int group = (lane >> 2) + (s + (lane & 3)) * (LANES / 4);
        if (there) {
            *(gpu_u4 *)(q + group * a.q_chunk) = codes;
            scales[group * a.s_group] = (char)byte;
        }
    }
}

template <int DIM>
GPU_DEVICE void quant_rotate_fp4(const struct quant_rotate_args &a, float (*x)[8], char *q,
                                 char *scales, bool there) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
    const int shift = a.lanes == 16 ? 4 : a.lanes == 8 ? 3 : 2;
    float amax[STEPS];
    GPU_UNROLL for (int s = 0; s < STEPS; s++) amax[s] = quant_rotate_amax(x[s]);
    quant_rotate_groups<DIM>(amax, a.lanes);
    if (!there) return;
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        const int lane = quant_rotate_lane<DIM>() + s * LANES;
        const uint32_t byte = quant_fp4_byte(a.rule, amax[s]);
        *(uint32_t *)(q + (lane >> 2) * a.q_chunk + (lane & 3) * 4) =
            quant_fp4_floats(x[s], num_e8m0_inverse(byte), 0);
        if ((lane & (a.lanes - 1)) == 0) scales[(lane >> shift) * a.s_group] = (char)byte;
    }
}

GPU_DEVICE gpu_u2 quant_rotate_fp8_eight(const struct quant_rule &rule, const float *x,
                                         float factor) {
    if (rule.fp8 == NUM_OCP) return quant_encode<true, QUANT_OCP>(rule, {}, x, factor);
    return quant_encode<true, QUANT_FNUZ>(rule, {}, x, factor);
}

template <int DIM>
GPU_DEVICE void quant_rotate_fp8(const struct quant_rotate_args &a, float (*x)[8], char *q,
                                 char *scales, bool there) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
    float amax[STEPS];
    GPU_UNROLL for (int s = 0; s < STEPS; s++) amax[s] = quant_rotate_amax(x[s]);
    if (a.per_row) {
        GPU_UNROLL for (int s = 1; s < STEPS; s++) amax[0] = gpu_max(amax[0], amax[s]);
        amax[0] = quant_amax_group(amax[0], LANES < 16 ? (int)LANES : 16);
        if (LANES > 16) amax[0] = gpu_max(amax[0], team_xor_float(amax[0], 16));
    } else {
        quant_rotate_groups<DIM>(amax, 16);
    }
    if (!there) return;
    float factor = 0.0f;
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        const int lane = quant_rotate_lane<DIM>() + s * LANES;
        if (s == 0 || (!a.per_row && s * LANES % 16 == 0)) {
            const float scale = gpu_max(amax[s], 1e-10f) * a.rule.inverse_most;
            factor = gpu_divide_float(1.0f, scale);
            if (lane == 0 || (!a.per_row && lane % 16 == 0)) ((float *)scales)[lane / 16] = scale;
        }
        const gpu_u2 codes = quant_rotate_fp8_eight(a.rule, x[s], factor);
        if (a.wide_q) {
            *(gpu_u2 *)(q + 8 * lane) = codes;
        } else {
            *(uint32_t *)(q + 8 * lane) = codes.x;
            *(uint32_t *)(q + 8 * lane + 4) = codes.y;
        }
    }
}

template <int DIM> GPU_DEVICE void quant_rotate_bf16(float (*x)[8], char *q, bool there) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
    if (!there) return;
    GPU_UNROLL for (int s = 0; s < STEPS; s++) {
        const int lane = quant_rotate_lane<DIM>() + s * LANES;
        uint32_t words[4];
        GPU_UNROLL for (int i = 0; i < 4; i++) words[i] = num_bf16x2(x[s][2 * i], x[s][2 * i + 1]);
        *(gpu_u4 *)(q + 16 * lane) = quant_four(words[0], words[1], words[2], words[3]);
    }
}

/* Where the row goes; false: nowhere. A page has its codes and scales group by group, its scales shuffled by 16. */
GPU_DEVICE bool quant_rotate_place(const struct quant_rotate_args &a, int t, int h, char **q,
                                   char **scales) {
    if (a.slots == NULL) {
        *q = a.q + (int64_t)t * a.q_token + (int64_t)h * a.q_head;
        *scales = a.scales + (int64_t)t * a.s_token + (int64_t)h * a.s_head;
        return true;
    }
    const int64_t slot = a.slots[t];
    if (slot < 0) return false;
    const int64_t page = gpu_quotient(slot, a.block), j = slot - page * a.block.value;
    *q = a.q + page * a.q_token + 16 * j;
    *scales = a.scales + page * a.s_token + j % 16 * (a.block.value / 16) + j / 16;
    return true;
}

template <int DIM, int FORMAT>
__global__ void __launch_bounds__(CALL_THREADS)
    quant_rotate_kernel(const struct quant_rotate_args a) {
    enum { STEPS = quant_rotate_shape<DIM>::STEPS, LANES = quant_rotate_shape<DIM>::LANES };
    const int64_t first = (gpu_block() * CALL_TEAMS + gpu_team()) * (TEAM / LANES);
    if (first >= a.rows) return;
    const int mine = (int)first + gpu_lane() / LANES, row = mine < a.rows ? mine : a.rows - 1;
    const int t = (int)(a.heads.shift >= 0 ? (uint32_t)row >> a.heads.shift
                                           : (uint32_t)row / (uint32_t)a.heads.value);
    const int h = row - t * (int)a.heads.value;
    const char *const from =
        a.x + (int64_t)t * a.x_token + (int64_t)h * a.x_head + 16 * quant_rotate_lane<DIM>();
    float x[STEPS][8];
    struct quant_raw raw[STEPS];
    GPU_UNROLL for (int s = 0; s < STEPS; s++) raw[s].a = *(const gpu_u4 *)(from + 16 * LANES * s);
    const char *const angle = a.rope ? a.table + a.positions[t] * a.table_row : NULL;
    GPU_UNROLL for (int s = 0; s < STEPS; s++) quant_floats<false>(x[s], raw[s]);
    if (a.norm) {
        const float mean = quant_rotate_squares<DIM>(x) * (1.0f / DIM);
        const float factor = elementary_rsqrt(mean + a.eps);
        GPU_UNROLL for (int s = 0; s < STEPS; s++) quant_rotate_weigh(
            x[s], factor, a.weight + 16 * (quant_rotate_lane<DIM>() + s * LANES));
    }
    if (a.rope && a.wide_table)
        quant_rotate_rope<DIM, true>(x, angle);
    else if (a.rope)
        quant_rotate_rope<DIM, false>(x, angle);
    if (a.hadamard) quant_rotate_hadamard<DIM>(x);
    char *q = NULL, *scales = NULL;
    const bool there = quant_rotate_place(a, t, h, &q, &scales) && mine < a.rows;
    if (FORMAT == ROTATE_FP4 && a.lanes == 4 && a.wide_q)
        quant_rotate_fp4_by_32<DIM>(a, x, q, scales, there);
    else if (FORMAT == ROTATE_FP4)
        quant_rotate_fp4<DIM>(a, x, q, scales, there);
    else if (FORMAT == ROTATE_FP8)
        quant_rotate_fp8<DIM>(a, x, q, scales, there);
    else
        quant_rotate_bf16<DIM>(x, q, there);
}

static int quant_rotate_format(const dsv4_call *call) {
    return dsv4_is(call, "format", "fp4")   ? ROTATE_FP4
           : dsv4_is(call, "format", "fp8") ? ROTATE_FP8
                                            : ROTATE_BF16;
}

/* Strides that 32 bits hold; of a dimension of one any. */
static bool quant_rotate_is_near(const dsv4_tensor *t) {
    if (call_absent(t)) return true;
    for (int i = 0; i + 1 < t->ndim; i++)
        if (t->shape[i] > 1 && (t->stride[i] > INT32_MAX || t->stride[i] < INT32_MIN)) return false;
    return true;
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
    if (x->shape[0] * x->shape[1] > INT32_MAX - TEAM)
        return call_unsupported(why, "x: %lld rows", (long long)(x->shape[0] * x->shape[1]));
    if (!quant_rotate_is_near(x) || !quant_rotate_is_near(dsv4_find(call, "q")) ||
        !quant_rotate_is_near(dsv4_find(call, "scales")) ||
        !quant_rotate_is_near(dsv4_find(call, "rope_table")))
        return call_unsupported(why, "rows farther than 2 GiB apart");
    return DSV4_OK;
}

static void quant_rotate_open(const dsv4_call *call, struct quant_rotate_args &a) {
    const dsv4_tensor *const x = dsv4_find(call, "x"), *const q = dsv4_find(call, "q");
    const dsv4_tensor *const s = dsv4_find(call, "scales"), *const w = dsv4_find(call, "weight");
    const dsv4_tensor *const table = dsv4_find(call, "rope_table");
    a.x = (const char *)x->data;
    a.x_token = (int)x->stride[0];
    a.x_head = (int)x->stride[1];
    const int format = quant_rotate_format(call);
    a.q = (char *)q->data;
    a.q_token = (int)q->stride[0];
    a.q_head = (int)q->stride[1];
    a.wide_q = call_aligned(q, format == ROTATE_FP4 ? 16 : 8);
    a.q_chunk = 16;
    a.s_group = 1;
    if (format != ROTATE_BF16) {
        a.scales = (char *)s->data;
        a.s_token = (int)s->stride[0];
        a.s_head = (int)s->stride[1];
    }
    if (dsv4_is(call, "layout", "tiled")) {
        a.slots = (const int64_t *)dsv4_find(call, "slots")->data;
        a.q_chunk = q->stride[1];
        a.s_group = s->stride[1];
        a.block = call_divisor(q->shape[2]);
    }
    a.table = (const char *)table->data;
    a.table_row = (int)table->stride[0];
    a.wide_table = call_aligned(table, 8);
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.norm = (int)dsv4_int(call, "norm", 0);
    if (a.norm) a.weight = (const char *)w->data;
    a.rope = (int)dsv4_int(call, "rope", 1);
    a.hadamard = (int)dsv4_int(call, "hadamard", 1);
    a.lanes = (int)dsv4_int(call, "group", 32) / 8;
    a.per_row = (int)dsv4_int(call, "per_row", 1);
    a.eps = dsv4_float(call, "eps", 1e-6f);
    a.rule.fp8 = quant_fp8_of(call);
    a.rule.most = format == ROTATE_FP4 ? 6.0f : num_fp8_max(a.rule.fp8);
    a.rule.inverse_most = 1.0f / a.rule.most;
    a.rule.floor = 6.0f * 0x1p-126f;
    a.heads = call_divisor(x->shape[1]);
    a.rows = (int)(x->shape[0] * x->shape[1]);
}

template <int DIM>
static int quant_rotate_launch(const struct quant_rotate_args a, int format, gpu_stream stream,
                               struct call_why why) {
    enum { ROWS = CALL_THREADS / quant_rotate_shape<DIM>::LANES };
    dim3 grid;
    const int status = call_grid(&grid, call_ceil(a.rows, ROWS), why);
    if (status != DSV4_OK) return status;
    if (format == ROTATE_FP4)
        GPU_LAUNCH((quant_rotate_kernel<DIM, ROTATE_FP4>), grid, CALL_THREADS, stream, a);
    else if (format == ROTATE_FP8)
        GPU_LAUNCH((quant_rotate_kernel<DIM, ROTATE_FP8>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((quant_rotate_kernel<DIM, ROTATE_BF16>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const int format = quant_rotate_format(call);
    const gpu_stream stream = (gpu_stream)call->stream;
    struct quant_rotate_args a = {};
    quant_rotate_open(call, a);
    if (a.rows == 0) return DSV4_OK;
    switch (dsv4_find(call, "x")->shape[2]) {
    case 128: return quant_rotate_launch<128>(a, format, stream, why);
    case 256: return quant_rotate_launch<256>(a, format, stream, why);
    case 512: return quant_rotate_launch<512>(a, format, stream, why);
    default: return quant_rotate_launch<1024>(a, format, stream, why);
    }
}

CALL_ENTRY_POINTS(quant_rotate)
