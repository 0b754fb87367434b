/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does this build, on this device, keep the canon's arithmetic? Operands come in as arguments, so that nothing is
 * computed by the compiler. Built with contraction (-fmad=true, -ffp-contract=fast) the first check fails.
 */
#ifndef DSV4_CANARY_INL
#define DSV4_CANARY_INL

#include "call.h"
#include "num.inl"

/* One check: an operation on three operands, and the bits that it must give. */
struct canary_check {
    const char *what;
    int op;
    float a, b, c;
    uint32_t want;
};

enum canary_op {
    CANARY_MULTIPLY_ADD,
    CANARY_FMA,
    CANARY_ADD,
    CANARY_MULTIPLY,
    CANARY_DIVIDE,
    CANARY_EXP,
    CANARY_RSQRT,
    CANARY_BF16,
    CANARY_OCP,
    CANARY_FNUZ240,
    CANARY_FNUZ224,
    CANARY_OCP_VALUE,
    CANARY_FNUZ_VALUE,
    CANARY_E2M1,
};

/* `b` and `c` of conversions: the other half of a pair must not leak, so it gets another value. */
static const struct canary_check canary_checks[] = {
    {"a * b + c is contracted",         CANARY_MULTIPLY_ADD, 0x1.001p0f,       0x1.001p0f, -0x1.002p0f, 0         },
    {"fma rounds twice",                CANARY_FMA,          0x1.001p0f,       0x1.001p0f, -0x1.002p0f, 0x33800000},
    {"subnormal products are flushed",  CANARY_MULTIPLY,     0x1p-126f,        0.5f,       0,           0x00400000},
    {"subnormal operands are flushed",  CANARY_MULTIPLY,     0x1p-149f,        0x1p23f,    0,           0x00800000},
    {"subnormal sums are flushed",      CANARY_ADD,          0x1p-149f,        0x1p-149f,  0,           0x00000002},
    {"subnormal quotients are flushed", CANARY_DIVIDE,       0x1p-126f,        3.0f,       0,           0x002AAAAB},
    {"ties round up",                   CANARY_ADD,          1.0f,             0x1p-24f,   0,           0x3F800000},
    {"ties round down",                 CANARY_ADD,          0x1.000002p0f,    0x1p-24f,   0,           0x3F800002},
    {"division is approximate",         CANARY_DIVIDE,       1.0f,             3.0f,       0,           0x3EAAAAAB},
    {"exp(1)",                          CANARY_EXP,          1.0f,             0,          0,           0x402DF854},
    {"exp of a subnormal result",       CANARY_EXP,          -103.0f,          0,          0,           0x00000001},
    {"rsqrt(2)",                        CANARY_RSQRT,        2.0f,             0,          0,           0x3F3504F3},
    {"rsqrt of a subnormal",            CANARY_RSQRT,        0x1p-148f,        0,          0,           0x64800000},
    {"bf16 ties round up",              CANARY_BF16,         0x1.01p0f,        3.0f,       0,           0x40403F80},
    {"bf16 ties round down",            CANARY_BF16,         0x1.03p0f,        3.0f,       0,           0x40403F82},
    {"e4m3fn ties round up",            CANARY_OCP,          17.0f,            1.0f,       0,           0x3858    },
    {"e4m3fn ties round down",          CANARY_OCP,          19.0f,            1.0f,       0,           0x385A    },
    {"e4m3fn does not saturate",        CANARY_OCP,          1000.0f,          -1000.0f,   0,           0xFE7E    },
    {"e4m3fn loses the sign of zero",   CANARY_OCP,          -0x1p-20f,        0x1p-9f,    0,           0x0180    },
    {"e4m3fnuz ties round up",          CANARY_FNUZ240,      17.0f,            1.0f,       0,           0x4060    },
    {"e4m3fnuz ties round down",        CANARY_FNUZ240,      19.0f,            1.0f,       0,           0x4062    },
    {"e4m3fnuz does not saturate",      CANARY_FNUZ240,      1000.0f,          -1000.0f,   0,           0xFF7F    },
    {"e4m3fnuz writes NaN for zero",    CANARY_FNUZ240,      -0x1p-20f,        0x1p-10f,   0,           0x0100    },
    {"e4m3fnuz below 240 rounds wrong", CANARY_FNUZ240,      232.0f,           -233.0f,    0,           0xFF7E    },
    {"e4m3fnuz does not stop at 224",   CANARY_FNUZ224,      1000.0f,          -1000.0f,   0,           0xFE7E    },
    {"e4m3fn 0x7E is not 448",          CANARY_OCP_VALUE,    0x1p-149f * 0x7E, 0,          0,           0x43E00000},
    {"e4m3fn 0x01 is not 2^-9",         CANARY_OCP_VALUE,    0x1p-149f,        0,          0,           0x3B000000},
    {"e4m3fnuz 0x7F is not 240",        CANARY_FNUZ_VALUE,   0x1p-149f * 0x7F, 0,          0,           0x43700000},
    {"e4m3fnuz 0x01 is not 2^-10",      CANARY_FNUZ_VALUE,   0x1p-149f,        0,          0,           0x3A800000},
    {"e2m1 ties round up",              CANARY_E2M1,         2.5f,             0,          0,           4         },
    {"e2m1 ties round down",            CANARY_E2M1,         3.5f,             0,          0,           6         },
};
enum { CANARY_N = sizeof canary_checks / sizeof *canary_checks };

struct canary_args {
    uint32_t *results;
    int op[CANARY_N];
    float a[CANARY_N], b[CANARY_N], c[CANARY_N];
};

GPU_DEVICE uint32_t canary_arithmetic(int op, float a, float b, float c) {
    switch (op) {
    case CANARY_MULTIPLY_ADD: return gpu_bits(a * b + c);
    case CANARY_FMA: return gpu_bits(gpu_fma(a, b, c));
    case CANARY_ADD: return gpu_bits(a + b);
    case CANARY_MULTIPLY: return gpu_bits(a * b);
    case CANARY_DIVIDE: return gpu_bits(gpu_divide_float(a, b));
    case CANARY_EXP: return gpu_bits(elementary_exp(a));
    default: return gpu_bits(elementary_rsqrt(a));
    }
}

GPU_DEVICE uint32_t canary_conversion(int op, float a, float b) {
    switch (op) {
    case CANARY_BF16: return num_bf16x2(a, b);
    case CANARY_OCP: return num_fp8_x2(a, b, NUM_OCP);
    case CANARY_FNUZ240: return num_fp8_x2(a, b, NUM_FNUZ240);
    case CANARY_FNUZ224: return num_fp8_x2(a, b, NUM_FNUZ224);
    case CANARY_OCP_VALUE: return gpu_bits(num_fp8_x2_decode(gpu_bits(a), NUM_OCP).x);
    case CANARY_FNUZ_VALUE: return gpu_bits(num_fp8_x2_decode(gpu_bits(a), NUM_FNUZ240).x);
    default: return num_e2m1(a);
    }
}

__global__ void canary_kernel(const struct canary_args args) {
    const uint32_t i = gpu_thread();
    if (i >= CANARY_N) return;
    const int op = args.op[i];
    args.results[i] = op < CANARY_BF16 ? canary_arithmetic(op, args.a[i], args.b[i], args.c[i])
                                       : canary_conversion(op, args.a[i], args.b[i]);
}

static gpu_error canary_measure(uint32_t *results) {
    struct canary_args args;
    for (int i = 0; i < CANARY_N; i++) {
        args.op[i] = canary_checks[i].op;
        args.a[i] = canary_checks[i].a;
        args.b[i] = canary_checks[i].b;
        args.c[i] = canary_checks[i].c;
    }
    gpu_error error = gpu_malloc(&args.results, CANARY_N * sizeof *results);
    if (error != GPU_SUCCESS) return error;
    GPU_LAUNCH(canary_kernel, dim3(1), 2 * TEAM, (gpu_stream)0, args);
    error = gpu_last_error();
    if (error == GPU_SUCCESS)
        error = gpu_copy_back(results, args.results, CANARY_N * sizeof *results);
    const gpu_error freed = gpu_free(args.results);
    return error == GPU_SUCCESS ? freed : error;
}

static int canary(char *line, size_t size) {
    uint32_t results[CANARY_N];
    const gpu_error error = canary_measure(results);
    if (error != GPU_SUCCESS) {
        snprintf(line, size, "canary did not run: %s", gpu_error_text(error));
        return DSV4_ERROR;
    }
    for (int i = 0; i < CANARY_N; i++)
        if (results[i] != canary_checks[i].want) {
            snprintf(line, size, "%s: got 0x%08X, the canon has 0x%08X", canary_checks[i].what,
                     (unsigned)results[i], (unsigned)canary_checks[i].want);
            return DSV4_ERROR;
        }
    snprintf(line, size, "%d checks: no contraction, subnormals kept, ties to even, codes saturate",
             CANARY_N);
    return DSV4_OK;
}

#endif
