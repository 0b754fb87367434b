/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that hardware computes approximately: MPFR's value, and a distance from it that is allowed. Documented
 * classes: 1 ULP for single and half, 2^29 ULP for V_RCP, V_RSQ and V_SQRT_F64; V_SIN and V_COS within 2^-20 of arguments
 * up to 256. Denormals and what lies beyond are left open.
 */
#include "rows.h"

static void approximate(struct isa_lane *x, enum isa_operation operation, enum isa_type type) {
    D = isa_compute(operation, type, 0x3f0, LA, 0, 0);
    if (operation == RSQ && isa_zero(type, LA)) /* as IEEE 754 has it: the infinity of its sign */
        D = isa_compute(RCP, type, 0x3f0, LA, 0, 0);
    if (isa_denormal(type, LA) || isa_denormal(type, D)) x->open = true;
    if (isa_nan(type, LA) || isa_nan(type, D)) x->open = true;
    /* The largest and the smallest finite results have a neighbour that overflows or underflows. */
    if (!isa_zero(type, LA) && (isa_zero(type, D) || isa_zero(type, D - 1))) x->open = true;
    if (!isa_infinite(type, LA) && !isa_zero(type, LA) &&
        (isa_infinite(type, D) || isa_infinite(type, D + 1)))
        x->open = true;
}

static void angle(struct isa_lane *x, enum isa_operation operation, enum isa_type type) {
    const uint64_t limit = type == F32 ? 0x43800000 : 0x5c00;
    const uint64_t magnitude = type == F32 ? LA & 0x7fffffff : LA & 0x7fff;
    approximate(x, operation, type);
    if (magnitude > limit) x->open = true;
}

#define EACH(ROW, name, operation, type)                                                           \
    ROW(name, VOP2, FLAGS, type, type, NONE, NONE, approximate(x, operation, type))
#define ROWS(ROW)                                                                                  \
    EACH(ROW, v_exp_f32, EXP2, F32)                                                                \
    EACH(ROW, v_exp_f16, EXP2, F16)                                                                \
    EACH(ROW, v_log_f32, LOG2, F32)                                                                \
    EACH(ROW, v_log_f16, LOG2, F16)                                                                \
    EACH(ROW, v_rcp_f32, RCP, F32)                                                                 \
    EACH(ROW, v_rcp_iflag_f32, RCP, F32)                                                           \
    EACH(ROW, v_rcp_f16, RCP, F16)                                                                 \
    EACH(ROW, v_rcp_f64, RCP, F64)                                                                 \
    EACH(ROW, v_rsq_f32, RSQ, F32)                                                                 \
    EACH(ROW, v_rsq_f16, RSQ, F16)                                                                 \
    EACH(ROW, v_rsq_f64, RSQ, F64)                                                                 \
    EACH(ROW, v_sqrt_f32, SQRT, F32)                                                               \
    EACH(ROW, v_sqrt_f16, SQRT, F16)                                                               \
    EACH(ROW, v_sqrt_f64, SQRT, F64)                                                               \
    ROW(v_sin_f32, VOP2, FLAGS | ANGLE, F32, F32, NONE, NONE, angle(x, SIN, F32))                  \
    ROW(v_cos_f32, VOP2, FLAGS | ANGLE, F32, F32, NONE, NONE, angle(x, COS, F32))                  \
    ROW(v_sin_f16, VOP2, FLAGS | ANGLE, F16, F16, NONE, NONE, angle(x, SIN, F16))                  \
    ROW(v_cos_f16, VOP2, FLAGS | ANGLE, F16, F16, NONE, NONE, angle(x, COS, F16))

enum { FLAGS = PLAIN | NO_RANDOM | USUAL_MODE | NO_CLAMP | APPROXIMATE };

DEFINE_ROWS(isa_approximate_rows)
