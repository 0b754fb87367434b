/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_swiglu_quant: moe_swiglu's product a, quantised to FP8 under one scale per group. By recipe:
 *
 *            group  a                                      least amax   byte of             scales
 *   ref      128    fp32, times weight, rounded to bf16    1e-4         amax * fl(1 / M)    e8m0
 *   mega     32     fp32, times weight; limit in bf16      none         amax * fl(1 / M)    e8m0
 *   aiter    32     fp32, times weight                     none         amax / M            e8m0
 *   aiter_f32 128   fp32, times weight                     1e-10        see below           f32
 *   dspark   128    silu and product rounded to bf16,      1e-10        amax * fl(1 / M)    f32, 2^(byte - 127)
 *                   no weight; limit in bf16
 *
 * aiter_f32: the scale is s = amax / M as it is, no power of two; codes = fp8(a * fl(1 / s)), saturating.
 * Others: byte = exponent field + (mantissa != 0); codes = fp8(a * 2^(127 - byte)); M = 448, 224 or 240 by dialect.
 * A group of zeros without a least amax has byte 0 and codes +-0. Rows from n_rows[0] on stay untouched.
 * Rounding points: as moe_swiglu; amax * fl(1 / M) or amax / M, fl(1 / s), its product with a; the code. Domain: products that stay finite.
 *
 * Source: DeepSeek's act_quant after Expert's silu (ref), DeepGEMM mega_moe (mega), aiter fused_clamp_act_mul
 * (aiter with scale_dtype_fmt ue8m0, which takes groups of 32; aiter_f32 with its default),
 * vllm models/deepseek_v4/nvidia/ops/shared_experts.py (dspark).
 * Latitude: none here. ceil(log2(x)) in place of exponent bits differs for fp32 amax just above a power of two.
 */
#include "../num/bf16.h"
#include "../num/e8m0.h"
#include "../num/fp8.h"
#include "moe_activation.h"

enum { CODES = MOE_ACTIVATION_OUT, SCALES };
enum recipe { REF, MEGA, AITER, AITER_F32, DSPARK };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("recipe", DIALECT, "ref", "ref mega aiter aiter_f32 dspark",
                    "what is rounded before, how wide a group is, how small its amax"),
    DSV4_PARAM_NAME("fp8", DIALECT, "ocp", "ocp fnuz224 fnuz240", "format of the codes"),
    MOE_ACTIVATION_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"gate_up", DSV4_IN,  "[rows, 2 * width] bf16, rows strided",                  "gate, then up"  },
    {"weights", DSV4_IN,  "[rows] f32, or absent",                                 "routing weights"},
    {"n_rows",  DSV4_IN,  "[1] i32, or absent",                                    "rows in use"    },
    {"codes",   DSV4_OUT, "[rows, width] e4m3, rows strided",                      "codes"          },
    {"scales",  DSV4_OUT, "[rows, width / 32 or / 128] e8m0 or f32, rows strided",
     "scales of groups"                                                                             },
};

static const struct dsv4_mutant mutants[] = {
    MOE_MUTANTS_OF_ACTIVATION,
    {"limit-unrounded", "limit in fp32 where it is bf16",                                         MOE_ACT_LIMIT_UNROUNDED},
    {"rounding-mixed",  "rounded to bf16 before quantising, or not, against the recipe",
      MOE_ACT_ROUNDING_MIXED                                                                                              },
    {"weight-late",     "weighed after quantising: the scale takes no part in it",                MOE_ACT_WEIGHT_LATE    },
    {"scale-floor",     "scale's exponent rounded down; it is rounded up",                        MOE_ACT_SCALE_FLOOR    },
    {"scale-pow2",      "an fp32 scale rounded up to a power of two, or not, against the recipe",
      MOE_ACT_SCALE_POW2                                                                                                  },
    {"floor-mixed",     "another recipe's least amax",                                            MOE_ACT_FLOOR_MIXED    },
    {"group-start",     "amax of a group's first quarter taken for all of it",                    MOE_ACT_GROUP_START    },
    {"group-whole",     "one scale for the row",                                                  MOE_ACT_GROUP_WHOLE    },
    {"fnuz-max",        "amax scaled to 448 in every dialect",                                    MOE_ACT_FNUZ_MAX       },
};

static int64_t group_of(enum recipe recipe) { return recipe == MEGA || recipe == AITER ? 32 : 128; }
static bool has_f32(enum recipe recipe) { return recipe == AITER_F32 || recipe == DSPARK; }

static enum recipe recipe_of(const char *word) {
    static const char *const words[] = {"ref", "mega", "aiter", "aiter_f32", "dspark"};
    int i = 0;
    while (strcmp(word, words[i]) != 0) i++;
    return (enum recipe)i;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t rows = dsv4_case_int(c, "rows"), width = dsv4_case_int(c, "width");
    const enum recipe recipe = recipe_of(dsv4_case_word(c, "recipe"));
    if (width % 128 != 0) return dsv4_fail(err, "width: %lld; a multiple of 128", (long long)width);
    moe_activation_shape(c);
    DSV4_SHAPE(c, CODES, dsv4_case_is(c, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ, rows, width);
    DSV4_SHAPE(c, SCALES, has_f32(recipe) ? DSV4_F32 : DSV4_E8M0, rows, width / group_of(recipe));
    if (dsv4_case_is(c, "view", "wide")) {
        dsv4_widen(c, CODES, 0, 48);
        dsv4_widen(c, SCALES, 0, 8);
    }
    c->tensors[CODES].align = 16;
    c->tensors[SCALES].align = has_f32(recipe) ? 4 : 1;
    return 0;
}

static void fill(struct dsv4_case *c) { moe_activation_fill(c); }

const struct dsv4_op dsv4_op_moe_swiglu_quant;

/* How one call quantises. */
struct quant {
    struct moe_activation activation;
    enum recipe recipe;
    enum dsv4_fp8 fp8;
    float least, most, inverse_most;
    int64_t group;
    bool rounded;
};

static void open(struct quant *q, const dsv4_call *call, enum moe_activation_wrong wrong) {
    q->recipe = recipe_of(dsv4_find_param(call, "recipe")->s);
    q->fp8 = dsv4_is(call, "fp8", "fnuz224")   ? DSV4_FNUZ224
             : dsv4_is(call, "fp8", "fnuz240") ? DSV4_FNUZ240
                                               : DSV4_OCP;
    q->most = wrong == MOE_ACT_FNUZ_MAX ? 448.0f : dsv4_fp8_max(q->fp8);
    q->inverse_most = 1.0f / q->most;
    q->least = q->recipe == REF ? 1e-4f : has_f32(q->recipe) ? 1e-10f : 0.0f;
    if (wrong == MOE_ACT_FLOOR_MIXED) q->least = q->recipe == REF ? 0.0f : 1e-4f;
    q->group = group_of(q->recipe);
    q->rounded = q->recipe == REF || q->recipe == DSPARK;
    if (wrong == MOE_ACT_ROUNDING_MIXED) q->rounded = !q->rounded;
    moe_activation_open(&q->activation, call, q->recipe == DSPARK,
                        q->recipe == MEGA || q->recipe == DSPARK, wrong);
    if (q->recipe == DSPARK) q->activation.weights = NULL;
}

static float amax_of(const float *x, int64_t n) {
    uint32_t most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++) {
        const uint32_t magnitude = dsv4_bits(x[i]) & 0x7FFFFFFFu;
        most = magnitude > most ? magnitude : most;
    }
    return dsv4_from_bits(most);
}

static uint8_t byte_of(const struct quant *q, float amax) {
    const float least = amax > q->least ? amax : q->least;
    const float s = q->recipe == AITER ? least / q->most : least * q->inverse_most;
    const uint8_t byte = dsv4_e8m0_ceil(s);
    return q->activation.wrong == MOE_ACT_SCALE_FLOOR ? (uint8_t)(dsv4_bits(s) >> 23) : byte;
}

/* The scale of group g, and x times what it divides by. */
static void scale_group(const struct quant *q, const dsv4_call *call, int64_t t, int64_t g,
                        float *x, float amax) {
    const dsv4_tensor *const scales = &call->tensors[SCALES];
    const uint8_t byte = byte_of(q, amax);
    const bool free = has_f32(q->recipe) &&
                      (q->recipe == AITER_F32) != (q->activation.wrong == MOE_ACT_SCALE_POW2);
    const float scale =
        free ? (amax > q->least ? amax : q->least) / q->most : dsv4_e8m0_to_f32(byte);
    const float inverse = free ? 1.0f / scale : dsv4_from_bits((254u - byte) << 23);
    char *const row = (char *)scales->data + t * scales->stride[0];
#pragma omp simd
    for (int64_t i = 0; i < q->group; i++) x[i] *= inverse;
    if (has_f32(q->recipe))
        ((float *)(void *)row)[g] = scale;
    else
        ((uint8_t *)row)[g] = byte;
}

/* 128 columns from `first` on. */
static void store_codes(const struct quant *q, const dsv4_call *call, int64_t t, int64_t first,
                        const float *x) {
    const dsv4_tensor *const codes = &call->tensors[CODES];
    const bool late = q->activation.wrong == MOE_ACT_WEIGHT_LATE && q->activation.weights != NULL;
    const float weight = late ? q->activation.weights[t] : 1.0f;
    uint8_t *const to = (uint8_t *)codes->data + t * codes->stride[0] + first;
    if (q->fp8 == DSV4_OCP)
#pragma omp simd
        for (int i = 0; i < 128; i++) to[i] = dsv4_fp8_from_f32(x[i], DSV4_OCP);
    else
        for (int i = 0; i < 128; i++) to[i] = dsv4_fp8_from_f32(x[i], q->fp8);
    for (int i = 0; late && i < 128; i++)
        to[i] = dsv4_fp8_from_f32(dsv4_fp8_to_f32(to[i], q->fp8) * weight, q->fp8);
}

static void quantise_row(const struct quant *q, const dsv4_call *call, int64_t t) {
    const enum moe_activation_wrong wrong = q->activation.wrong;
    float x[128], whole = 0.0f;
    for (int64_t first = 0; wrong == MOE_ACT_GROUP_WHOLE && first < q->activation.width;
         first += 128) {
        moe_activate(&q->activation, x, t, first, 128);
        const float amax = amax_of(x, 128);
        whole = amax > whole ? amax : whole;
    }
    for (int64_t first = 0; first < q->activation.width; first += 128) {
        moe_activate(&q->activation, x, t, first, 128);
        if (q->rounded)
#pragma omp simd
            for (int i = 0; i < 128; i++) x[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(x[i]));
        for (int64_t i = 0; i < 128; i += q->group) {
            const int64_t seen = wrong == MOE_ACT_GROUP_START ? q->group / 4 : q->group;
            const float amax = wrong == MOE_ACT_GROUP_WHOLE ? whole : amax_of(x + i, seen);
            scale_group(q, call, t, (first + i) / q->group, x + i, amax);
        }
        store_codes(q, call, t, first, x);
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    struct quant q;
    (void)err;
    open(&q, call, moe_activation_wrong_of(&dsv4_op_moe_swiglu_quant, mutant));
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < q.activation.rows; t++) quantise_row(&q, call, t);
    return DSV4_OK;
}

/* What moe_swiglu's bound allows before its last rounding, in bf16 where the recipe rounds; a scale from the amax of that. */
static void find_part(struct dsv4_ball *x, const struct quant *q, const dsv4_arithmetic *a,
                      int64_t t, int64_t first) {
    moe_activate_ball(&q->activation, a, x, t, first, 128);
    for (int i = 0; q->rounded && i < 128; i++) x[i] = dsv4_ball_bf16(x[i]);
}

/* A group of x, under a power of two or, by aiter_f32, under any float of amax / most. */
static void bound_group(struct dsv4_admission *a, const struct quant *q,
                        const struct dsv4_scale *scale, const struct dsv4_row *row,
                        struct dsv4_ball *x) {
    const double most = (double)q->most;
    struct dsv4_ball from = dsv4_ball_amax(x, q->group);
    if (scale->form == DSV4_AS_F32) {
        const struct dsv4_ball amax = dsv4_ball_max(from, dsv4_ball_of((double)q->least));
        from = dsv4_ball_within(amax.v / most, amax.r / most, 1);
        for (int64_t i = 0; i < q->group; i++) x[i] = dsv4_ball_within(x[i].v, x[i].r, 1);
    }
    dsv4_admit_scale(a, scale, from, row, x);
}

static enum dsv4_form scale_form(enum recipe recipe) {
    if (recipe == AITER_F32) return DSV4_AS_F32;
    return recipe == DSPARK ? DSV4_AS_POWER : DSV4_AS_E8M0;
}

static void bound_row(struct dsv4_admission *a, const struct quant *q, const dsv4_call *call,
                      int64_t t) {
    const dsv4_tensor *const codes = &call->tensors[CODES], *const scales = &call->tensors[SCALES];
    const enum dsv4_form fp8 = (enum dsv4_form)(DSV4_AS_OCP + (int)q->fp8);
    struct dsv4_ball x[128];
    for (int64_t first = 0; first < q->activation.width; first += 128) {
        bool found = false;
        for (int64_t i = 0; i < 128; i += q->group) {
            const int64_t g = (first + i) / q->group;
            const struct dsv4_row row = {CODES, t * codes->stride[0] + first + i, 1, fp8, q->group,
                                         1};
            const int64_t at = t * scales->stride[0] + g * (has_f32(q->recipe) ? 4 : 1);
            const struct dsv4_scale scale = {.slot = SCALES,
                                             .offset = at,
                                             .form = scale_form(q->recipe),
                                             .floor = (double)q->least,
                                             .most = (double)q->most};
            if (dsv4_admit_scale_settled(a, &scale, &row)) continue;
            if (!found) find_part(x, q, &a->arithmetic, t, first);
            found = true;
            bound_group(a, q, &scale, &row, x + i);
        }
    }
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    struct quant q;
    open(&q, call, MOE_ACT_RIGHT);
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < q.activation.rows; t++) bound_row(a, &q, call, t);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    moe_activation_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const enum recipe recipe = recipe_of(dsv4_case_word(c, "recipe"));
    moe_activation_work(c, work);
    work->bytes_written =
        work->exponentials * (1 + (has_f32(recipe) ? 4.0 : 1.0) / (double)group_of(recipe));
}

const struct dsv4_op dsv4_op_moe_swiglu_quant = {
    .name = "moe_swiglu_quant",
    .summary = "SwiGLU with a clamp, quantised to FP8 for the second expert GEMM",
    .source =
        "DeepSeek act_quant, DeepGEMM mega_moe, aiter fused_clamp_act_mul, vllm shared_experts.py",
    .bound = bound,
    DSV4_OP_PARTS,
};
