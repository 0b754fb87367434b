/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rope_table: rows first .. first + rows - 1 of a RoPE table: 32 cos, then 32 sin.
 *
 *   f_i by ../num/rope.h, every operation rounded to fp32: p_i = theta^(2i / 64), f_i = 1 / p_i, with YaRN on layers
 *   that compress; angle = fl(position * f_i); table[position, i] = cos(angle), table[position, 32 + i] = sin(angle),
 *   correctly rounded. No mscale: attention is not scaled with the context.
 * The same in Flash and Pro: SWA layers, and the one that drafts, have theta 10000 and no YaRN; compressed ones theta 160000 and YaRN of factor 16 from 65,536 positions:
 *   low = floor(64 ln(65536 / (32 * 2 pi)) / (2 ln theta)) = 15, high = ceil(64 ln(65536 / (2 pi)) / (2 ln theta)) = 25.
 * dialect `yarn`: none; ref, f / factor, as DeepSeek's model.py; vllm, 1 / (factor * p). vllm sends SWA layers through
 *   that formula with factor 1 (low 29, high 42 of 1,048,576 positions): the same but for the last bit where 0 < s < 1.
 * param `table`: f32; bf16, those fp32 entries rounded to nearest even. That is two roundings, as the sources do it: torch
 *   computes fp32, then .to(bf16). One in 2^17 entries differs from cos or sin rounded once.
 * Rounding points: each operation named, once.
 * Source: DeepSeek inference/model.py precompute_freqs_cis; vllm deepseek_v4 rotary embedding. bf16: what aiter's
 * ops/flydsl/kernels/fused_compress_attn.py and dsv4_rotate_quant.cu read.
 * Latitude: libraries differ in the last bit of pow, sin and cos, and reduce large angles differently: ops take the
 * table as an input. An angle that is rounded to fp32 has an error of up to 2^-5 at position 2^20: it is part of the
 * model.
 */
#include <math.h>
#include <stdio.h>

#include "../bound/admit.h"
#include "../input/input.h"
#include "../num/bf16.h"
#include "../num/rope.h"

enum { OUT };
enum { PAIRS = 32 };
enum wrong {
    RIGHT,
    YARN_ON_SWA,
    YARN_LOST,
    YARN_OTHER,
    RAMP_REVERSED,
    BOUNDS_UNFLOORED,
    THETA_SWAPPED,
    MSCALE,
    INTERLEAVED,
    SIN_FIRST,
    ANGLE_WIDE,
    FREQUENCY_WIDE,
    REDUCED_NARROW,
    FIRST_LOST,
    ROUNDED,
    SIGN,
    TRUNCATED,
    ROUNDED_ONCE,
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_FLOAT("theta", CALL, 10000, 2, 1e9, "base of the frequencies"),
    DSV4_PARAM_NAME("yarn", DIALECT, "none", "none ref vllm",
                    "no YaRN, or YaRN as model.py or as vllm"),
    DSV4_PARAM_FLOAT("factor", CALL, 16, 1, 1024, "YaRN: slow pairs turn slower by this"),
    DSV4_PARAM_INT("low", CALL, 15, 0, 63, "YaRN: pairs up to this one are kept"),
    DSV4_PARAM_INT("high", CALL, 25, 1, 63, "YaRN: pairs from this one on are slowed"),
    DSV4_PARAM_INT("first", CALL, 0, 0, 1 << 24, "position of the first row"),
    DSV4_PARAM_INT("rows", INPUT, 3, 0, 1 << 24, "positions"),
    DSV4_PARAM_NAME("table", INPUT, "f32", "f32 bf16", "dtype of out"),
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide", "wide: rows lie apart"),
};

static const struct dsv4_slot slots[] = {
    {"out", DSV4_OUT, "[rows, 64] f32 or bf16, rows strided", "32 cos, then 32 sin"},
};

static const struct dsv4_mutant mutants[] = {
    {"yarn-on-swa",      "YaRN of factor 16 on a layer without compression: its ramp is 20 to 33",
     YARN_ON_SWA                                                                                                   },
    {"yarn-lost",        "YaRN left out",                                                          YARN_LOST       },
    {"yarn-other",       "the factor divided out of f where it multiplies p, or the reverse",      YARN_OTHER      },
    {"ramp-reversed",    "fast pairs slowed and slow ones kept",                                   RAMP_REVERSED   },
    {"bounds-unfloored", "the ramp from 15.453 to 24.708; its ends are whole",                     BOUNDS_UNFLOORED},
    {"theta-swapped",    "theta of the other kind of layer: 10000 and 160000",                     THETA_SWAPPED   },
    {"mscale",           "values times 0.1 ln(factor) + 1; DeepSeek-V4 has no mscale",             MSCALE          },
    {"interleaved",      "cos and sin by turns; 32 cos come first",                                INTERLEAVED     },
    {"sin-first",        "32 sin, then 32 cos",                                                    SIN_FIRST       },
    {"angle-wide",       "position times f not rounded to fp32",                                   ANGLE_WIDE      },
    {"frequency-wide",   "1 / p not rounded to fp32",                                              FREQUENCY_WIDE  },
    {"reduction-narrow", "the angle reduced modulo 2 pi in fp32",                                  REDUCED_NARROW  },
    {"first-lost",       "rows from position 0; they start at `first`",                            FIRST_LOST      },
    {"rounded",          "cos and sin rounded to bf16; the table is fp32",                         ROUNDED         },
    {"negative-sin",     "sin negated, as for the inverse rotation",                               SIGN            },
    {"truncated",        "bf16 cut off; it is rounded",                                            TRUNCATED       },
    {"rounded-once",     "bf16 of the exact cos and sin; it is that of fp32",                      ROUNDED_ONCE    },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (dsv4_case_int(c, "high") <= dsv4_case_int(c, "low"))
        return dsv4_fail(err, "high: %lld; more than low", (long long)dsv4_case_int(c, "high"));
    DSV4_SHAPE(c, OUT, dsv4_case_is(c, "table", "bf16") ? DSV4_BF16 : DSV4_F32,
               dsv4_case_int(c, "rows"), 2 * PAIRS);
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, OUT, 0, 32);
    return 0;
}

static void fill(struct dsv4_case *c) { (void)c; }

/* Wrong on purpose: YaRN as a compressed layer has it, on a layer that does not compress, whose theta moves the ramp. */
static void turn_on_yarn(struct dsv4_rope_rule *rule) {
    const double per_turn = 65536 / (2 * 3.141592653589793), pairs = 32 / log((double)rule->theta);
    rule->yarn = DSV4_YARN_REF;
    rule->low = (float)floor(pairs * log(per_turn / 32));
    rule->high = (float)ceil(pairs * log(per_turn));
}

static struct dsv4_rope_rule rule_of(const dsv4_call *call, enum wrong wrong) {
    struct dsv4_rope_rule rule;
    rule.theta = dsv4_float(call, "theta", 1e4f);
    rule.yarn = dsv4_is(call, "yarn", "none")  ? DSV4_YARN_NONE
                : dsv4_is(call, "yarn", "ref") ? DSV4_YARN_REF
                                               : DSV4_YARN_VLLM;
    rule.factor = dsv4_float(call, "factor", 16.0f);
    rule.low = (float)dsv4_int(call, "low", 15);
    rule.high = (float)dsv4_int(call, "high", 25);
    if (wrong == YARN_ON_SWA && rule.yarn == DSV4_YARN_NONE) turn_on_yarn(&rule);
    if (wrong == YARN_LOST) rule.yarn = DSV4_YARN_NONE;
    if (wrong == YARN_OTHER && rule.yarn != DSV4_YARN_NONE)
        rule.yarn = rule.yarn == DSV4_YARN_REF ? DSV4_YARN_VLLM : DSV4_YARN_REF;
    if (wrong == THETA_SWAPPED) rule.theta = rule.theta > 1e5f ? 1e4f : 1.6e5f;
    if (wrong == BOUNDS_UNFLOORED) rule.low += 0.453f, rule.high -= 0.292f;
    return rule;
}

static float frequency(const struct dsv4_rope_rule *rule, int i, enum wrong wrong) {
    struct dsv4_rope_rule other = *rule;
    if (wrong != RAMP_REVERSED || rule->yarn == DSV4_YARN_NONE) return dsv4_rope_frequency(rule, i);
    const float kept = 1.0f / dsv4_theta_power(rule->theta, i), turned = kept / rule->factor;
    other.factor = 1.0f;
    return (float)i < rule->low    ? turned
           : (float)i > rule->high ? dsv4_rope_frequency(&other, i)
                                   : dsv4_rope_frequency(rule, i);
}

/* Wrong on purpose: cut to fp32 with the last bit set where something is lost, so that rounding that is rounding `x`. */
static float cut(double x) {
    const float y = (float)x;
    const uint32_t below = dsv4_bits(y) - (fabs((double)y) > fabs(x) ? 1 : 0);
    return (double)y == x ? y : dsv4_from_bits(below | 1);
}

/* Wrong on purpose: cos and sin of one entry. */
static void entry_wrong(const struct dsv4_rope_rule *rule, int64_t position, int i, float f,
                        float *sine, float *cosine, enum wrong wrong) {
    const float angle = (float)position * f;
    dsv4_sincos(angle, sine, cosine);
    if (wrong == ANGLE_WIDE || wrong == FREQUENCY_WIDE) {
        const double wide =
            wrong == ANGLE_WIDE
                ? (double)position * (double)f
                : (double)(float)((double)position / (double)dsv4_theta_power(rule->theta, i));
        if (wrong == FREQUENCY_WIDE && rule->yarn != DSV4_YARN_NONE) return;
        const struct dsv4_reduced r = dsv4_angle_reduce(wide);
        const float s = dsv4_sin_kernel(r.high, r.low), c = dsv4_cos_kernel(r.high, r.low);
        const float a = r.quarter & 1u ? c : s, b = r.quarter & 1u ? s : c;
        *sine = r.quarter & 2u ? -a : a;
        *cosine = (r.quarter + 1u) & 2u ? -b : b;
    }
    if (wrong == REDUCED_NARROW) {
        const float turn = 6.2831855f, turns = (float)(int64_t)(angle / turn);
        const float left = angle - turns * turn;
        dsv4_sincos(left < 0.0f ? left + turn : left, sine, cosine);
    }
    if (wrong == MSCALE) *sine *= 1.2772589f, *cosine *= 1.2772589f;
    if (wrong == SIGN) *sine = -*sine;
    if (wrong == ROUNDED_ONCE) *sine = cut(sin((double)angle)), *cosine = cut(cos((double)angle));
    if (wrong == ROUNDED) {
        *sine = dsv4_bf16_to_f32(dsv4_bf16_from_f32(*sine));
        *cosine = dsv4_bf16_to_f32(dsv4_bf16_from_f32(*cosine));
    }
}

static void row_wrong(float *row, const struct dsv4_rope_rule *rule, const float *f,
                      int64_t position, enum wrong wrong) {
    for (int i = 0; i < PAIRS; i++) {
        float sine, cosine;
        entry_wrong(rule, position, i, f[i], &sine, &cosine, wrong);
        row[wrong == INTERLEAVED ? 2 * i : wrong == SIN_FIRST ? PAIRS + i : i] = cosine;
        row[wrong == INTERLEAVED ? 2 * i + 1 : wrong == SIN_FIRST ? i : PAIRS + i] = sine;
    }
}

static void store_row(const dsv4_tensor *out, int64_t r, const float *row, enum wrong wrong) {
    void *const to = (char *)out->data + r * out->stride[0];
    if (out->dtype == DSV4_F32) {
        memcpy(to, row, 2 * PAIRS * sizeof *row);
        return;
    }
    for (int i = 0; i < 2 * PAIRS; i++)
        ((uint16_t *)to)[i] =
            wrong == TRUNCATED ? (uint16_t)(dsv4_bits(row[i]) >> 16) : dsv4_bf16_from_f32(row[i]);
}

const struct dsv4_op dsv4_op_rope_table;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum wrong wrong =
        mutant > 0 ? (enum wrong)dsv4_op_rope_table.mutants[mutant - 1].id : RIGHT;
    const dsv4_tensor *const out = &call->tensors[OUT];
    const struct dsv4_rope_rule rule = rule_of(call, wrong);
    const int64_t first = wrong == FIRST_LOST ? 0 : dsv4_int(call, "first", 0);
    float f[PAIRS];
    (void)err;
    for (int i = 0; i < PAIRS; i++) f[i] = frequency(&rule, i, wrong);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < out->shape[0]; r++) {
        float row[2 * PAIRS];
        if (wrong != RIGHT && !(wrong == ROUNDED_ONCE && out->dtype == DSV4_F32)) {
            row_wrong(row, &rule, f, first + r, wrong);
        } else {
#pragma omp simd
            for (int i = 0; i < PAIRS; i++)
                dsv4_sincos((float)(first + r) * f[i], &row[PAIRS + i], &row[i]);
        }
        store_row(out, r, row, wrong);
    }
    return DSV4_OK;
}

/*
 * The power, sin and cos have the declared error of exp; the steps between theirs. What the angle is off by, at large
 * positions a good part of a radian, is what sin and cos may be off by.
 */
static struct dsv4_ball frequency_ball(const dsv4_arithmetic *a, const struct dsv4_rope_rule *rule,
                                       int i) {
    const double power = pow((double)rule->theta, i / 32.0), low = (double)rule->low;
    const struct dsv4_ball p = dsv4_ball_within(power, 0, (double)a->exp_ulp);
    const struct dsv4_ball one = dsv4_ball_of(1), factor = dsv4_ball_of((double)rule->factor);
    const struct dsv4_ball kept = dsv4_ball_div(a, one, p);
    if (rule->yarn == DSV4_YARN_NONE) return kept;
    const struct dsv4_ball place =
        dsv4_ball_div(a, dsv4_ball_of(i - low), dsv4_ball_of((double)rule->high - low));
    const struct dsv4_ball ramp = dsv4_ball_clamp(place, 0, 1), s = dsv4_ball_sub(one, ramp);
    const struct dsv4_ball slow = dsv4_ball_div(a, kept, factor);
    return dsv4_ball_add(dsv4_ball_mul(slow, dsv4_ball_sub(one, s)), dsv4_ball_mul(kept, s));
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const out = &call->tensors[OUT];
    const struct dsv4_rope_rule rule = rule_of(call, RIGHT);
    const int64_t first = dsv4_int(call, "first", 0);
    const double ulp = (double)a->arithmetic.exp_ulp;
    const enum dsv4_form form = out->dtype == DSV4_F32 ? DSV4_AS_F32 : DSV4_AS_BF16;
    struct dsv4_ball f[PAIRS];
    for (int i = 0; i < PAIRS; i++) f[i] = frequency_ball(&a->arithmetic, &rule, i);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < out->shape[0]; r++) {
        const struct dsv4_row row = {OUT,  r * out->stride[0], dsv4_dtype_bytes(out->dtype),
                                     form, 2 * PAIRS,          1};
        struct dsv4_ball y[2 * PAIRS];
        if (dsv4_admit_settled(a, &row, 1)) continue;
        for (int i = 0; i < PAIRS; i++) {
            const struct dsv4_ball angle = dsv4_ball_mul(dsv4_ball_of((double)(first + r)), f[i]);
            y[i] = dsv4_ball_within(cos(angle.v), angle.r, ulp);
            y[PAIRS + i] = dsv4_ball_within(sin(angle.v), angle.r, ulp);
        }
        dsv4_admit(a, &row, y, NULL);
    }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t i = offset % out->stride[0] / dsv4_dtype_bytes(out->dtype);
    snprintf(line, size, "position %lld, pair %lld",
             (long long)(dsv4_case_int(c, "first") + offset / out->stride[0]),
             (long long)(i % PAIRS));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    work->bytes_written =
        (double)(dsv4_case_int(c, "rows") * 2 * PAIRS * dsv4_dtype_bytes(c->tensors[OUT].t.dtype));
    /* A sine, or a cosine, counts as an exponential. */
    work->exponentials = (double)dsv4_case_int(c, "rows") * 2 * PAIRS;
}

const struct dsv4_op dsv4_op_rope_table = {
    .name = "rope_table",
    .summary = "makes rows of a RoPE table, with or without YaRN",
    .source = "DeepSeek inference/model.py precompute_freqs_cis; vllm rotary embedding",
    .bound = bound,
    .latitude = "yarn-other angle-wide frequency-wide reduction-narrow rounded-once",
    DSV4_OP_PARTS,
};
