/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_swiglu: y[t, i] = silu(min(gate, L)) * clamp(up, -L, L), gate = gate_up[t, i], up = gate_up[t, width + i].
 *
 * silu(g) = g / (1 + exp(-g)). L = 0: nothing is clamped. The gate has no lower limit. By recipe:
 *   ref           in fp32 throughout, times weights[t] if there are any, one rounding to bf16
 *   two_rounding  L rounded to bf16, silu rounded to bf16, the product rounded to bf16; weights are not looked at
 * Rounding points: exp, sum, quotient, product(s), bf16 where said. Rows from n_rows[0] on stay untouched.
 *
 * Source: DeepSeek's Expert.forward (ref); vllm silu_and_mul_with_clamp, csrc/activation_kernels.cu (two_rounding).
 * Latitude: none here. Kernels with an approximate exp or reciprocal differ in the last bit of bf16 at times.
 */
#include "../num/bf16.h"
#include "moe_activation.h"

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("recipe", DIALECT, "ref", "ref two_rounding",
                    "one rounding at the end; silu rounded to bf16 too"),
    MOE_ACTIVATION_PARAMS,
};

static const struct dsv4_slot slots[] = {
    {"gate_up", DSV4_IN,  "[rows, 2 * width] bf16, rows strided", "gate, then up"  },
    {"weights", DSV4_IN,  "[rows] f32, or absent",                "routing weights"},
    {"n_rows",  DSV4_IN,  "[1] i32, or absent",                   "rows in use"    },
    {"y",       DSV4_OUT, "[rows, width] bf16, rows strided",     "activations"    },
};

static const struct dsv4_mutant mutants[] = {
    MOE_MUTANTS_OF_ACTIVATION,
    {"limit-unrounded", "limit in fp32 where it is bf16",                       MOE_ACT_LIMIT_UNROUNDED},
    {"rounded-twice",   "silu rounded to bf16 by the recipe with one rounding",
      MOE_ACT_ROUNDED_TWICE                                                                             },
    {"rounded-once",    "silu kept in fp32 by the recipe with two roundings",   MOE_ACT_ROUNDED_ONCE   },
    {"weight-late",     "the rounded product weighed and rounded again",        MOE_ACT_WEIGHT_LATE    },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    (void)err;
    const int64_t width = dsv4_case_int(c, "width");
    moe_activation_shape(c);
    DSV4_SHAPE(c, MOE_ACTIVATION_OUT, DSV4_BF16, dsv4_case_int(c, "rows"), width);
    if (dsv4_case_is(c, "view", "wide")) dsv4_widen(c, MOE_ACTIVATION_OUT, 0, 80);
    c->tensors[MOE_ACTIVATION_OUT].align = width % 8 == 0 ? 16 : 2;
    return 0;
}

static void fill(struct dsv4_case *c) { moe_activation_fill(c); }

const struct dsv4_op dsv4_op_moe_swiglu;

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const bool two = dsv4_is(call, "recipe", "two_rounding");
    const dsv4_tensor *const y = &call->tensors[MOE_ACTIVATION_OUT];
    struct moe_activation activation;
    (void)err;
    moe_activation_open(&activation, call, two, two,
                        moe_activation_wrong_of(&dsv4_op_moe_swiglu, mutant));
    const float *const weights = two ? NULL : activation.weights;
    activation.weights = weights;
    if (two && activation.wrong == MOE_ACT_WEIGHT_LATE) activation.wrong = MOE_ACT_RIGHT;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < activation.rows; t++) {
        uint16_t *const row = (void *)((char *)y->data + t * y->stride[0]);
        float values[128];
        for (int64_t first = 0; first < activation.width; first += 128) {
            const int64_t left = activation.width - first;
            const int n = left < 128 ? (int)left : 128;
            moe_activate(&activation, values, t, first, n);
            if (n == 128) /* a number that the compiler knows */
                for (int i = 0; i < 128; i++) row[first + i] = dsv4_bf16_from_f32(values[i]);
            else
                for (int i = 0; i < n; i++) row[first + i] = dsv4_bf16_from_f32(values[i]);
            if (activation.wrong != MOE_ACT_WEIGHT_LATE || weights == NULL) continue;
            for (int i = 0; i < n; i++)
                row[first + i] = dsv4_bf16_from_f32(dsv4_bf16_to_f32(row[first + i]) * weights[t]);
        }
    }
    return DSV4_OK;
}

/*
 * Bound: gate and up are exact, clamped or not; sigmoid from exp, sum and division as declared; g times it (or g over the
 * sum) and times up, a rounding each; and what the recipe rounds to bf16 on the way.
 */
static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const bool two = dsv4_is(call, "recipe", "two_rounding");
    const dsv4_tensor *const y = &call->tensors[MOE_ACTIVATION_OUT];
    struct moe_activation activation;
    moe_activation_open(&activation, call, two, two, MOE_ACT_RIGHT);
    if (two) activation.weights = NULL;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < activation.rows; t++)
        for (int64_t first = 0; first < activation.width; first += 128) {
            struct dsv4_ball balls[128];
            const int64_t left = activation.width - first, n = left < 128 ? left : 128;
            const struct dsv4_row row = {
                MOE_ACTIVATION_OUT, t * y->stride[0] + 2 * first, 2, DSV4_AS_BF16, n, 1};
            if (dsv4_admit_settled(a, &row, 1)) continue;
            moe_activate_ball(&activation, &a->arithmetic, balls, t, first, (int)n);
            dsv4_admit(a, &row, balls, NULL);
        }
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    moe_activation_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    moe_activation_work(c, work);
    work->bytes_written = 2 * work->exponentials;
}

const struct dsv4_op dsv4_op_moe_swiglu = {
    .name = "moe_swiglu",
    .summary = "SwiGLU with a clamp: silu of the gate times up, to bf16",
    .source = "DeepSeek Expert.forward, vllm silu_and_mul_with_clamp",
    .bound = bound,
    DSV4_OP_PARTS,
};
