/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope_inverse_quant: turns attention outputs back by RoPE and quantises them for the grouped output projection.
 *
 * 1. x = o in fp32; channels 448..511 turned back by positions[t]: even = e*c + o*s, odd = o*c - e*s, each product
 *    rounded, then one sum. dialect `rounding`: f32, kept so (vllm on CUDA); bf16, rounded to bf16 first (model.py, ROCm).
 * 2. dialect `scales`
 *    f32     per quant_group channels, 128 (the last ones of a head: 64 that do not rotate, 64 that do) or 32: amax at
 *            least 1e-10; s = 2^ceil(log2(fl(amax * fl(1/448)))) by exponent bits; code = e4m3(x / s), saturating; codes
 *            [G, T, K]; scales fp32 [G, K / quant_group, T up to a multiple of 4], tokens innermost; 0 in the columns
 *            beyond T                                                                                          (SM90)
 *    packed  the same codes; four exponent bytes in one i32, the first in the low byte,
 *            [G, K / quant_group / 4, T up to a multiple of 4], 0 beyond T                                    (SM100)
 *    mxfp8   per 32 channels: amax at least 2^-126; byte = ceil(log2(fl(amax / 448))) + 127, clamped to 0..254;
 *            code = e4m3(x * 2^(127 - byte)); codes [T, H * 512], bytes [T, H * 16]                           (gfx950)
 *    with K = heads_per_group * 512.
 * Every row is written, those of padded tokens too. Domain: values that stay finite when they are rotated.
 *
 * Source: vllm fused_inv_rope_fp8_quant.py; vllm rocm MXFP8 rows (rocm_aiter_mla_sparse.py).
 * Latitude: kernels with log2f instead of exponent bits differ where the fp32 amax of a rotated group lies a few units
 * above 448 * 2^k: log2f rounds to k there. Bounds allow what the declared error of log2f can do, which at k = 0 is less
 * than the mutant scale-log2 does.
 */
#include <math.h>
#include <stdio.h>

#include "../num/e8m0.h"
#include "kv_bound.h"
#include "rope_family.h"

enum { O, POSITIONS, ROPE_TABLE, CODES, SCALES };
enum { GROUP = 128, MX_GROUP = 32, MOST_GROUPS = KV_HEAD / MX_GROUP, STREAM_PEAK = 200 };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("scales", DIALECT, "f32", "f32 packed mxfp8",
                    "fp32 or packed exponents per 128 channels, or a byte per 32"),
    DSV4_PARAM_NAME("rounding", DIALECT, "f32", "f32 bf16",
                    "rotated values as they are, or rounded"),
    DSV4_PARAM_INT("quant_group", CALL, 128, MX_GROUP, GROUP,
                   "channels under one scale of f32 and packed: 128 or 32"),
    DSV4_PARAM_INT("groups", CALL, 8, 1, 16,
                   "groups of the output projection: 8 (Flash), 16 (Pro)"),
    DSV4_PARAM_INT("heads_per_group", INPUT, 8, 1, 16, "heads of a group"),
    ROPE_POSITION_PARAM,
    KV_STEP_PARAMS("3@5"),
    KV_MAX_POSITION_PARAM,
    ROPE_GAP_PARAM,
    DSV4_PARAM_NAME("values", INPUT, "normal", DSV4_VALUE_WORDS, "outputs of attention"),
    DSV4_PARAM_NAME("peaks", INPUT, "none", "none turned",
                    "turned: a rotated channel lies a few units of fp32 above 448 * 2^k"),
};

static const struct dsv4_slot slots[] = {
    {"o",          DSV4_IN,  "[T, heads, 512] bf16, strided",                                     "attention outputs"  },
    {"positions",  DSV4_IN,  "[T] i64 or i32",                                                    "token positions"    },
    {"rope_table", DSV4_IN,  "[max_position, 64] f32, rows strided",                              "32 cos, then 32 sin"},
    {"codes",      DSV4_OUT, "[G, T, K] e4m3fn, or [T, heads * 512] with mxfp8",                  "codes"              },
    {"scales",     DSV4_OUT, "[G, K / 128, T4] f32, [G, K / 512, T4] i32, or [T, heads * 16] u8",
     "their scales"                                                                                                    },
};

static const struct dsv4_mutant mutants[] = {
    ROPE_MUTANTS,
    {"rounding-other",     "rounded to bf16 before the scale where it is not, or not where it is",
      ROPE_ROUNDING_OTHER                                                                                                  },
    {"scale-floor",        "the scale's exponent rounded down; it is rounded up",                  ROPE_SCALE_FLOOR       },
    {"scale-log2",         "exponent by log2f: a few units above 2^k count as 2^k",                ROPE_SCALE_LOG2        },
    {"floor-raised",       "1e-4 is the least amax; here it is 1e-10 or 2^-126",                   ROPE_FLOOR_RAISED      },
    {"group-apart",        "rotated channels left out of the amax of their group",                 ROPE_GROUP_APART       },
    {"group-of-128",       "a scale per 128 channels, whatever the call says",                     ROPE_GROUP_OF_128      },
    {"ties-away",          "codes round half away from zero; they round half to even",             ROPE_TIES_AWAY         },
    {"subnormals-flushed", "codes below the least normal become zero",                             ROPE_SUBNORMALS_FLUSHED},
    {"padding-kept",       "scales beyond the last token left as they were; they are 0",
      ROPE_PADDING_KEPT                                                                                                    },
    {"tokens-first",       "codes stored [T, G, K]; groups come first",                            ROPE_TOKENS_FIRST      },
    {"scales-row-major",   "scales stored token by token; tokens are innermost",
      ROPE_SCALES_ROW_MAJOR                                                                                                },
    {"bytes-reversed",     "the first exponent in the high byte; it is in the low one",
      ROPE_BYTES_REVERSED                                                                                                  },
    {"divisor-flushed",
      "values divided by a scale of 2^-127 that was flushed to 0; they are multiplied by its "
     "inverse",                                                                                     ROPE_DIVISOR_FLUSHED   },
    {"token-wraps",        "byte offset of a token of o computed in 32 bits",                      ROPE_TOKEN_WRAPS       },
    {"out-wraps",          "byte offset of a group, or mxfp8 token, of codes computed in 32 bits",
      ROPE_OUT_WRAPS                                                                                                       },
};

static bool is_mx(const struct dsv4_case *c) { return dsv4_case_is(c, "scales", "mxfp8"); }
static int64_t group_of(const struct dsv4_case *c) {
    return is_mx(c) ? (int64_t)MX_GROUP : dsv4_case_int(c, "quant_group");
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const struct kv_step *const step = kv_step_make(c, err);
    if (step == NULL) return -1;
    const int64_t rows = step->batch.n_rows, groups = dsv4_case_int(c, "groups");
    const int64_t per = dsv4_case_int(c, "heads_per_group"), heads = groups * per;
    const int64_t padded = (rows + 3) / 4 * 4, group = dsv4_case_int(c, "quant_group");
    if (group != GROUP && group != MX_GROUP)
        return dsv4_fail(err, "quant_group: %lld; it is 128 or 32", (long long)group);
    DSV4_SHAPE(c, O, DSV4_BF16, rows, heads, KV_HEAD);
    kv_widen(c, O, 1, 64);
    kv_widen(c, O, 0, 32);
    rope_spread(c, O);
    if (is_mx(c)) {
        DSV4_SHAPE(c, CODES, DSV4_E4M3FN, rows, heads * KV_HEAD);
        rope_spread(c, CODES);
        DSV4_SHAPE(c, SCALES, DSV4_U8, rows, heads * (KV_HEAD / MX_GROUP));
        return rope_shape_positions(c, POSITIONS, ROPE_TABLE, err);
    }
    DSV4_SHAPE(c, CODES, DSV4_E4M3FN, groups, rows, per * KV_HEAD);
    rope_spread(c, CODES);
    if (dsv4_case_is(c, "scales", "f32"))
        DSV4_SHAPE(c, SCALES, DSV4_F32, groups, per * KV_HEAD / group, padded);
    else
        DSV4_SHAPE(c, SCALES, DSV4_I32, groups, per * KV_HEAD / group / 4, padded);
    return rope_shape_positions(c, POSITIONS, ROPE_TABLE, err);
}

static uint16_t *head_of(const dsv4_tensor *o, int64_t t, int64_t h) {
    return (void *)((char *)o->data + t * o->stride[0] + h * o->stride[1]);
}

/* Whether a pair, turned back, has its first channel above `peak` by at most four units of fp32, the other one below. */
static bool is_peak(const uint16_t *pair, float peak, float cos, float sin) {
    const float e = dsv4_bf16_to_f32(pair[0]), o = dsv4_bf16_to_f32(pair[1]);
    const float ec = e * cos, os = o * sin, oc = o * cos, es = e * sin, turned = ec + os;
    return turned > peak && turned <= peak * (1.0f + 0x1p-21f) && fabsf(oc - es) < peak;
}

/* Puts such a pair into a row's rotated channels: the first is near the peak, the second fills what is left. */
static void put_peak(uint16_t *rotated, float peak, const float *angle, uint64_t bits) {
    for (int k = 0; k < KV_ROPE / 2; k++) {
        const int p = (int)(((uint64_t)k + bits) % (KV_ROPE / 2));
        const float cos = angle[p], sin = angle[KV_ROPE / 2 + p];
        if (cos < 0.5f || fabsf(sin) < 0x1p-6f) continue;
        for (int step = 0; step < 25; step++) {
            uint16_t pair[2];
            pair[0] = (uint16_t)(dsv4_bf16_from_f32(peak / cos) + step / 5 - 2);
            const float left = peak - dsv4_bf16_to_f32(pair[0]) * cos;
            pair[1] = (uint16_t)(dsv4_bf16_from_f32(left / sin) + step % 5 - 2);
            if (!is_peak(pair, peak, cos, sin)) continue;
            memcpy(rotated + 2 * p, pair, sizeof pair);
            return;
        }
    }
}

/* One rotated channel of every head decides its group's scale. */
static void put_peaks(const struct dsv4_case *c) {
    const dsv4_tensor *const o = &c->tensors[O].t;
    for (int64_t i = 0; i < o->shape[0] * o->shape[1]; i++) {
        const int64_t t = i / o->shape[1];
        const uint64_t bits = dsv4_random(c->seed, STREAM_PEAK, (uint64_t)i);
        put_peak(head_of(o, t, i % o->shape[1]) + KV_HEAD - KV_ROPE,
                 448.0f * (float)(1 << dsv4_below(bits, 4)),
                 rope_angle(&c->tensors[ROPE_TABLE].t, &c->tensors[POSITIONS].t, t, ROPE_RIGHT),
                 bits >> 8);
    }
}

/* Rotating may add the magnitudes of two channels: the greatest ones are lowered. */
static void lower_greatest(const struct dsv4_case *c) {
    const dsv4_tensor *const o = &c->tensors[O].t;
    for (int64_t i = 0; i < o->shape[0] * o->shape[1]; i++) {
        uint16_t *const row = head_of(o, i / o->shape[1], i % o->shape[1]);
        for (int d = KV_HEAD - KV_ROPE; d < KV_HEAD; d++)
            if ((row[d] & 0x7F80) >= 0x7F00) row[d] = (uint16_t)(row[d] - 0x0100);
    }
}

static void fill(struct dsv4_case *c) {
    rope_fill_positions(c, POSITIONS, ROPE_TABLE);
    dsv4_fill_bf16(c, O, dsv4_case_word(c, "values"), 1, group_of(c));
    lower_greatest(c);
    if (dsv4_case_is(c, "peaks", "turned")) put_peaks(c);
}

struct quant {
    const dsv4_tensor *o, *positions, *table, *codes, *scales;
    bool packed, rounded;
    int64_t groups, per; /* heads per group */
    struct rope_rule rule;
    enum rope_wrong wrong;
};

static void turn(const struct quant *q, float *x, int64_t t, int64_t h) {
    float *const turned = x + KV_HEAD - KV_ROPE;
    const int64_t token = rope_offset(q->o, t, q->wrong == ROPE_TOKEN_WRAPS);
    kv_load_bf16(x, (const char *)q->o->data + token + h * q->o->stride[1], KV_HEAD);
    rope_back(x, rope_angle(q->table, q->positions, t, q->wrong), false, q->wrong);
    if (q->rounded != (q->wrong == ROPE_ROUNDING_OTHER))
#pragma omp simd
        for (int i = 0; i < KV_ROPE; i++)
            turned[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(turned[i]));
}

static void mx_head(const struct quant *q, const float *x, int64_t t, int64_t h) {
    uint8_t *const codes = (uint8_t *)q->codes->data +
                           rope_offset(q->codes, t, q->wrong == ROPE_OUT_WRAPS) + h * KV_HEAD;
    uint8_t *const bytes =
        (uint8_t *)q->scales->data + t * q->scales->stride[0] + h * (KV_HEAD / MX_GROUP);
    rope_quantise(&q->rule, codes, bytes, x);
}

/* Where a scale or word of one group, k-th of its row, lies for token t. */
static void *scale_at(const struct quant *q, int64_t group, int64_t k, int64_t t) {
    const dsv4_tensor *const s = q->scales;
    int64_t i = k * s->shape[2] + t;
    if (q->wrong == ROPE_SCALES_ROW_MAJOR) i = t * s->shape[1] + k;
    return (char *)s->data + group * s->stride[0] + i * 4;
}

static void head(const struct quant *q, const float *x, int64_t t, int64_t h) {
    const int64_t group = h / q->per, k = h % q->per, width = q->per * KV_HEAD;
    int64_t at = rope_offset(q->codes, group, q->wrong == ROPE_OUT_WRAPS) + t * width;
    uint32_t word = 0;
    uint8_t bytes[MOST_GROUPS];
    const int n = KV_HEAD / q->rule.n;
    if (q->wrong == ROPE_TOKENS_FIRST) at = (t * q->groups + group) * width;
    uint8_t *const codes = (uint8_t *)q->codes->data + at + k * KV_HEAD;
    rope_quantise(&q->rule, codes, bytes, x);
    for (int g = 0; g < n; g++) {
        const float s = dsv4_e8m0_to_f32(bytes[g]);
        const int place = q->wrong == ROPE_BYTES_REVERSED ? 3 - g % 4 : g % 4;
        word = (g % 4 == 0 ? 0 : word) | (uint32_t)bytes[g] << 8 * place;
        if (!q->packed)
            memcpy(scale_at(q, group, k * n + g, t), &s, sizeof s);
        else if (g % 4 == 3)
            memcpy(scale_at(q, group, (k * n + g) / 4, t), &word, sizeof word);
    }
}

/* Columns beyond the last token. */
static void pad(const struct quant *q) {
    const dsv4_tensor *const s = q->scales;
    if (q->rule.mx || q->wrong == ROPE_PADDING_KEPT) return;
    for (int64_t g = 0; g < s->shape[0]; g++)
        for (int64_t k = 0; k < s->shape[1]; k++)
            for (int64_t t = q->o->shape[0]; t < s->shape[2]; t++)
                memset(scale_at(q, g, k, t), 0, 4);
}

const struct dsv4_op dsv4_op_rope_inverse_quant;

static struct quant open_quant(const dsv4_call *call, enum rope_wrong wrong) {
    const dsv4_tensor *const tensors = call->tensors;
    struct quant q = {.o = &tensors[O],
                      .positions = &tensors[POSITIONS],
                      .table = &tensors[ROPE_TABLE],
                      .codes = &tensors[CODES],
                      .scales = &tensors[SCALES],
                      .packed = dsv4_is(call, "scales", "packed"),
                      .rounded = dsv4_is(call, "rounding", "bf16"),
                      .groups = dsv4_int(call, "groups", 8),
                      .per = tensors[O].shape[1] / dsv4_int(call, "groups", 8),
                      .wrong = wrong};
    q.rule.wrong = wrong;
    q.rule.mx = dsv4_is(call, "scales", "mxfp8");
    q.rule.n = q.rule.mx ? MX_GROUP : (int)dsv4_int(call, "quant_group", GROUP);
    return q;
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const struct quant q = open_quant(call, rope_wrong_of(&dsv4_op_rope_inverse_quant, mutant));
    (void)err;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q.o->shape[0]; t++)
        for (int64_t h = 0; h < q.o->shape[1]; h++) {
            float x[KV_HEAD];
            turn(&q, x, t, h);
            if (q.rule.mx)
                mx_head(&q, x, t, h);
            else
                head(&q, x, t, h);
        }
    pad(&q);
    return DSV4_OK;
}

/* Offset of the code of channel 0 of a head. */
static int64_t codes_at(const struct quant *q, int64_t t, int64_t h) {
    if (q->rule.mx) return t * q->codes->stride[0] + h * KV_HEAD;
    const int64_t group = h / q->per, k = h % q->per;
    return group * q->codes->stride[0] + t * q->per * KV_HEAD + k * KV_HEAD;
}

/* Offset of the scale of group g of a head: a byte, a float, or a byte of an i32. */
static int64_t scale_offset(const struct quant *q, int64_t t, int64_t h, int64_t g) {
    if (q->rule.mx) return t * q->scales->stride[0] + h * (KV_HEAD / MX_GROUP) + g;
    const int64_t group = h / q->per, k = h % q->per, base = group * q->scales->stride[0];
    const int64_t i = k * (KV_HEAD / q->rule.n) + g;
    if (q->packed) return base + (i / 4 * q->scales->shape[2] + t) * 4 + i % 4;
    return base + (i * q->scales->shape[2] + t) * 4;
}

/*
 * Channels 0..447 are exact; the others are what kv_bound.c makes of a rotation, rounded to bf16 or not. A group's scale
 * from the amax of those, its exponent by bits or by a log2f of the declared error; codes under the kernel's scale.
 */
static void find_head(struct dsv4_ball *x, const struct quant *q, int64_t t, int64_t h) {
    float values[KV_HEAD];
    kv_load_bf16(values, head_of(q->o, t, h), KV_HEAD);
    kv_balls_of(x, values, KV_HEAD);
    kv_rope_balls(x + KV_NOPE, rope_angle(q->table, q->positions, t, ROPE_RIGHT), true);
    for (int i = KV_NOPE; q->rounded && i < KV_HEAD; i++) x[i] = dsv4_ball_bf16(x[i]);
}

static void bound_head(struct dsv4_admission *a, const struct quant *q, int64_t t, int64_t h) {
    const int n = q->rule.n;
    struct dsv4_ball x[KV_HEAD];
    bool found = false;
    for (int64_t g = 0; g < KV_HEAD / n; g++) {
        const struct dsv4_row row = {CODES, codes_at(q, t, h) + g * n, 1, DSV4_AS_OCP, n, 1};
        const struct dsv4_scale scale = {.slot = SCALES,
                                         .offset = scale_offset(q, t, h, g),
                                         .form =
                                             q->rule.mx || q->packed ? DSV4_AS_E8M0 : DSV4_AS_POWER,
                                         .floor = q->rule.mx ? 0x1p-126 : (double)1e-10f,
                                         .most = 448,
                                         .zero_byte = q->rule.mx,
                                         .log2 = true};
        if (dsv4_admit_scale_settled(a, &scale, &row)) continue;
        if (!found) find_head(x, q, t, h);
        found = true;
        dsv4_admit_scale(a, &scale, dsv4_ball_amax(x + g * n, n), &row, x + g * n);
    }
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const struct quant q = open_quant(call, ROPE_RIGHT);
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q.o->shape[0]; t++)
        for (int64_t h = 0; h < q.o->shape[1]; h++) bound_head(a, &q, t, h);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t bytes = dsv4_dtype_bytes(out->dtype), i = offset / bytes;
    if (is_mx(c)) {
        const int64_t t = offset / out->stride[0], d = offset % out->stride[0];
        snprintf(line, size, "token %lld, head %lld", (long long)t,
                 (long long)(d / (slot == CODES ? KV_HEAD : KV_HEAD / MX_GROUP)));
    } else if (slot == CODES) {
        snprintf(line, size, "group %lld, token %lld, channel %lld",
                 (long long)(i / out->shape[2] / out->shape[1]),
                 (long long)(i / out->shape[2] % out->shape[1]), (long long)(i % out->shape[2]));
    } else {
        snprintf(line, size, "group %lld, scale %lld, token %lld",
                 (long long)(i / out->shape[2] / out->shape[1]),
                 (long long)(i / out->shape[2] % out->shape[1]), (long long)(i % out->shape[2]));
    }
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const o = &c->tensors[O].t;
    const double heads = (double)(o->shape[0] * o->shape[1]);
    const double bytes = dsv4_case_is(c, "scales", "f32") ? 4 : 1;
    const double scales = bytes * KV_HEAD / (double)group_of(c);
    work->bytes_read = heads * KV_HEAD * 2 + (double)o->shape[0] * (KV_ROPE_TABLE_ROW * 4 + 8);
    work->bytes_written = heads * (KV_HEAD + scales);
}

const struct dsv4_op dsv4_op_rope_inverse_quant = {
    .name = "rope_inverse_quant",
    .summary = "turns attention outputs back by RoPE and quantises them for the output projection",
    .source = "vllm fused_inv_rope_fp8_quant.py; vllm rocm_aiter_mla_sparse.py",
    .bound = bound,
    DSV4_OP_PARTS,
};
