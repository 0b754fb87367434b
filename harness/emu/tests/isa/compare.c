/* SPDX-License-Identifier: Apache-2.0 */
/* Comparisons: a lane mask, and exec of the V_CMPX forms. */
#include "rows.h"

/* Order of two numbers: -1, 0, 1, or 2 where one is NaN. */
#define FLOAT_ORDER(type) const int o = isa_order(type, x->mode, LA, LB)
#define INTEGER_ORDER(cast) const int o = ((cast)LA > (cast)LB) - ((cast)LA < (cast)LB)

#define EITHER(ROW, condition, suffix, type, order, expression)                                    \
    ROW(v_cmp_##condition##_##suffix, VOPC, NO_CLAMP, MASK, type, type, NONE, order; (void)o;      \
        x->carry = (expression))                                                                   \
    ROW(v_cmpx_##condition##_##suffix, VOPC, NO_CLAMP | WRITES_EXEC | NO_RANDOM, MASK, type, type, \
        NONE, order;                                                                               \
        (void)o; x->carry = (expression))

#define FLOATS(ROW, type, suffix)                                                                  \
    EITHER(ROW, f, suffix, type, FLOAT_ORDER(type), 0)                                             \
    EITHER(ROW, lt, suffix, type, FLOAT_ORDER(type), o == -1)                                      \
    EITHER(ROW, eq, suffix, type, FLOAT_ORDER(type), o == 0)                                       \
    EITHER(ROW, le, suffix, type, FLOAT_ORDER(type), o == -1 || o == 0)                            \
    EITHER(ROW, gt, suffix, type, FLOAT_ORDER(type), o == 1)                                       \
    EITHER(ROW, lg, suffix, type, FLOAT_ORDER(type), o == -1 || o == 1)                            \
    EITHER(ROW, ge, suffix, type, FLOAT_ORDER(type), o == 0 || o == 1)                             \
    EITHER(ROW, o, suffix, type, FLOAT_ORDER(type), o != 2)                                        \
    EITHER(ROW, u, suffix, type, FLOAT_ORDER(type), o == 2)                                        \
    EITHER(ROW, nge, suffix, type, FLOAT_ORDER(type), o == -1 || o == 2)                           \
    EITHER(ROW, nlg, suffix, type, FLOAT_ORDER(type), o == 0 || o == 2)                            \
    EITHER(ROW, ngt, suffix, type, FLOAT_ORDER(type), o != 1)                                      \
    EITHER(ROW, nle, suffix, type, FLOAT_ORDER(type), o == 1 || o == 2)                            \
    EITHER(ROW, neq, suffix, type, FLOAT_ORDER(type), o != 0)                                      \
    EITHER(ROW, nlt, suffix, type, FLOAT_ORDER(type), o != -1)                                     \
    EITHER(ROW, tru, suffix, type, FLOAT_ORDER(type), 1)

#define INTEGERS(ROW, type, suffix, cast)                                                          \
    EITHER(ROW, f, suffix, type, INTEGER_ORDER(cast), 0)                                           \
    EITHER(ROW, lt, suffix, type, INTEGER_ORDER(cast), o < 0)                                      \
    EITHER(ROW, eq, suffix, type, INTEGER_ORDER(cast), o == 0)                                     \
    EITHER(ROW, le, suffix, type, INTEGER_ORDER(cast), o <= 0)                                     \
    EITHER(ROW, gt, suffix, type, INTEGER_ORDER(cast), o > 0)                                      \
    EITHER(ROW, ne, suffix, type, INTEGER_ORDER(cast), o != 0)                                     \
    EITHER(ROW, ge, suffix, type, INTEGER_ORDER(cast), o >= 0)                                     \
    EITHER(ROW, t, suffix, type, INTEGER_ORDER(cast), 1)

#define ROWS(ROW)                                                                                  \
    FLOATS(ROW, F16, f16)                                                                          \
    FLOATS(ROW, F32, f32)                                                                          \
    FLOATS(ROW, F64, f64)                                                                          \
    INTEGERS(ROW, I16, i16, int16_t)                                                               \
    INTEGERS(ROW, I16, u16, uint16_t)                                                              \
    INTEGERS(ROW, I32, i32, int32_t)                                                               \
    INTEGERS(ROW, I32, u32, uint32_t)                                                              \
    INTEGERS(ROW, I64, i64, int64_t)                                                               \
    INTEGERS(ROW, I64, u64, uint64_t)

DEFINE_ROWS(isa_compare_rows)
