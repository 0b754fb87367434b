/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares the kernels' numbers with the reference on the device it runs on: exp, exp2, log, log2, log1p, rsqrt and sqrt,
 * and every conversion, for all 2^32 inputs; decoding for all codes. moe_topk's estimate of scores is compared within a
 * distance with the five kinds of scores on the device, whose parts the others prove.
 * `--plant` spoils one result of each first, and succeeds if all are found.
 * `--chunks N` does the first N of 64 chunks alone.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../impl/common/moe_router.inl"
#include "../../../impl/common/num.inl"
#include "../../../reference/num/bf16.h"
#include "../../../reference/num/e2m1.h"
#include "../../../reference/num/exp.h"
#include "../../../reference/num/fp8.h"
#include "../../../reference/num/log.h"
#include "../../../reference/num/rsqrt.h"

enum { CHUNKS = 64, THREADS = 256 };
#define CHUNK_SIZE (UINT32_C(1) << 26)

enum function {
    EXP,
    EXP2,
    LOG,
    LOG2,
    LOG1P,
    RSQRT,
    SQRT,
    ROUTER,
    BF16,
    OCP,
    FNUZ224,
    FNUZ240,
    E2M1,
    N_FUNCTIONS
};
static const char *const names[] = {"exp",         "exp2",        "log",    "log2", "log1p",
                                    "rsqrt",       "sqrt",        "router", "bf16", "fp8 ocp",
                                    "fp8 fnuz224", "fp8 fnuz240", "e2m1"};

/* The other half of a pair: another input, so that halves cannot be mixed up. */
GPU_HOST_DEVICE uint32_t partner(uint32_t bits) { return bits ^ 0x5A5AA5A5u; }

template <int SOFTPLUS> GPU_DEVICE bool is_near(float x, float estimate) {
    const float score = router_score<SOFTPLUS>(x), off = estimate - score;
    return (off < 0.0f ? -off : off) <= 4e-4f * (1.0f + score);
}

/* Scores of which the estimate says too little. */
GPU_DEVICE uint32_t router(float x) {
#if GPU_CUDA
    if (!(x < ROUTER_ESTIMATED)) return 0;
    const float y = router_estimate(x);
    return (is_near<ROUTER_LOG1P>(x, y) ? 0 : 1) | (is_near<ROUTER_LOG_ONE_PLUS>(x, y) ? 0 : 2) |
           (is_near<ROUTER_MAX_FORM>(x, y) ? 0 : 4) | (is_near<ROUTER_NO_THRESHOLD>(x, y) ? 0 : 8) |
           (is_near<ROUTER_BASE_TWO>(x, y) ? 0 : 16);
#else
    return 0;
#endif
}

struct chunk_args {
    uint32_t *results;
    uint32_t first;
    int function;
};

GPU_DEVICE uint32_t compute(int function, float x, float y) {
    switch (function) {
    case EXP: return gpu_bits(elementary_exp(x));
    case EXP2: return gpu_bits(elementary_exp2(x));
    case LOG: return gpu_bits(elementary_log(x));
    case LOG2: return gpu_bits(elementary_log2(x));
    case LOG1P: return gpu_bits(elementary_log1p(x));
    case RSQRT: return gpu_bits(elementary_rsqrt(x));
    case SQRT: return gpu_bits(elementary_sqrt(x));
    case ROUTER: return router(x);
    case BF16: return num_bf16x2(x, y);
    case OCP: return num_fp8_x2(x, y, NUM_OCP);
    case FNUZ224: return num_fp8_x2(x, y, NUM_FNUZ224);
    case FNUZ240: return num_fp8_x2(x, y, NUM_FNUZ240);
    default: return num_e2m1(x);
    }
}

__global__ void chunk_kernel(const struct chunk_args a) {
    const uint32_t i = (uint32_t)gpu_block() * THREADS + gpu_thread();
    const uint32_t bits = a.first + i;
    a.results[i] = compute(a.function, gpu_float(bits), gpu_float(partner(bits)));
}

static uint32_t expected(int function, float x, float y) {
    switch (function) {
    case EXP: return dsv4_bits(dsv4_exp(x));
    case EXP2: return dsv4_bits(dsv4_exp2(x));
    case LOG: return dsv4_bits(dsv4_log(x));
    case LOG2: return dsv4_bits(dsv4_log2(x));
    case LOG1P: return dsv4_bits(dsv4_log1p(x));
    case RSQRT: return dsv4_bits(dsv4_rsqrt(x));
    case SQRT: return x < 0.0f || x != x ? DSV4_NAN_BITS : dsv4_bits(sqrtf(x));
    case ROUTER: return 0;
    case BF16: return dsv4_bf16_from_f32(x) | (uint32_t)dsv4_bf16_from_f32(y) << 16;
    case OCP: return dsv4_fp8_from_f32(x, DSV4_OCP) | (uint32_t)dsv4_fp8_from_f32(y, DSV4_OCP) << 8;
    case FNUZ224:
        return dsv4_fp8_from_f32(x, DSV4_FNUZ224) | (uint32_t)dsv4_fp8_from_f32(y, DSV4_FNUZ224)
                                                        << 8;
    case FNUZ240:
        return dsv4_fp8_from_f32(x, DSV4_FNUZ240) | (uint32_t)dsv4_fp8_from_f32(y, DSV4_FNUZ240)
                                                        << 8;
    default: return dsv4_e2m1_from_f32(x);
    }
}

/* Wrong results of one chunk; prints the first. */
static int64_t judge(int function, uint32_t first, const uint32_t *results) {
    int64_t n_wrong = 0, at = CHUNK_SIZE;
#pragma omp parallel for schedule(static) reduction(+ : n_wrong) reduction(min : at)
    for (int64_t i = 0; i < (int64_t)CHUNK_SIZE; i++) {
        const uint32_t bits = first + (uint32_t)i;
        const uint32_t want = expected(function, gpu_float(bits), gpu_float(partner(bits)));
        if (results[i] == want) continue;
        n_wrong++;
        at = i < at ? i : at;
    }
    if (n_wrong > 0) {
        const uint32_t bits = first + (uint32_t)at;
        printf("  %s(0x%08X): got 0x%08X, the reference has 0x%08X\n", names[function],
               (unsigned)bits, (unsigned)results[at],
               (unsigned)expected(function, gpu_float(bits), gpu_float(partner(bits))));
    }
    return n_wrong;
}

static void demand(gpu_error error, const char *what) {
    if (error == GPU_SUCCESS) return;
    fprintf(stderr, "num_exhaustive: %s: %s\n", what, gpu_error_text(error));
    exit(2);
}

/* Results of one chunk into `results`; the first is spoilt on demand. */
static void measure(uint32_t *results, uint32_t *device, int function, uint32_t first, bool plant) {
    const struct chunk_args args = {device, first, function};
    GPU_LAUNCH(chunk_kernel, dim3(CHUNK_SIZE / THREADS), THREADS, (gpu_stream)0, args);
    demand(gpu_last_error(), "launch");
    demand(gpu_copy_back(results, device, CHUNK_SIZE * sizeof *results), "copy");
    if (plant) results[12345] ^= 32;
}

/* ---- decoding ---- */

struct decode_args {
    uint32_t *results;
};

/* 3 dialects x 256 codes x (low, high). */
__global__ void decode_kernel(const struct decode_args a) {
    const uint32_t code = gpu_thread(), other = code ^ 0x55u;
    for (int fp8 = NUM_OCP; fp8 <= NUM_FNUZ240; fp8++) {
        const gpu_f2 x = num_fp8_x2_decode(code | other << 8, fp8);
        a.results[512 * fp8 + code] = gpu_bits(x.x);
        a.results[512 * fp8 + 256 + other] = gpu_bits(x.y);
    }
}

static int64_t check_decoding(uint32_t *results, uint32_t *device, bool plant) {
    const struct decode_args args = {device};
    int64_t n_wrong = 0;
    GPU_LAUNCH(decode_kernel, dim3(1), 256, (gpu_stream)0, args);
    demand(gpu_last_error(), "launch");
    demand(gpu_copy_back(results, device, 1536 * sizeof *results), "copy");
    if (plant) results[5] ^= 1;
    for (uint32_t i = 0; i < 1536; i++) {
        const uint32_t want = dsv4_bits(dsv4_fp8_to_f32((uint8_t)i, (enum dsv4_fp8)(i / 512)));
        const bool nan = (want & 0x7FFFFFFFu) > 0x7F800000u;
        /* NaN payloads are canonised where values are stored. */
        if (nan ? (results[i] & 0x7FFFFFFFu) > 0x7F800000u : results[i] == want) continue;
        if (n_wrong++ == 0)
            printf("  fp8 decode, dialect %u, code 0x%02X: got 0x%08X, the reference has 0x%08X\n",
                   (unsigned)(i / 512), (unsigned)(i & 255), (unsigned)results[i], (unsigned)want);
    }
    printf("%-12s 1536 codes, %lld differ\n", "fp8 decode", (long long)n_wrong);
    return n_wrong;
}

int main(int argc, char **argv) {
    bool plant = false, found = true;
    uint32_t chunks = CHUNKS, *device;
    uint32_t *const results = (uint32_t *)malloc(CHUNK_SIZE * sizeof *results);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--plant") == 0) plant = true;
        if (strcmp(argv[i], "--chunks") == 0 && i + 1 < argc) chunks = (uint32_t)atoi(argv[++i]);
    }
    if (results == NULL || chunks < 1 || chunks > CHUNKS) return 2;
    if (plant) chunks = 1;
    demand(gpu_malloc(&device, CHUNK_SIZE * sizeof *device), "memory");
    int64_t n_wrong = check_decoding(results, device, plant);
    found = found && n_wrong > 0;
    for (int function = 0; function < N_FUNCTIONS; function++) {
        int64_t wrong = 0;
        for (uint32_t c = 0; c < chunks; c++) {
            measure(results, device, function, c * CHUNK_SIZE, plant);
            wrong += judge(function, c * CHUNK_SIZE, results);
        }
        printf("%-12s %lld inputs, %lld differ\n", names[function],
               (long long)chunks * (long long)CHUNK_SIZE, (long long)wrong);
        fflush(stdout);
        n_wrong += wrong;
        found = found && wrong > 0;
    }
    demand(gpu_free(device), "free");
    free(results);
    if (plant) printf("planted errors: %s\n", found ? "all found" : "NOT all found");
    return (plant ? found : n_wrong == 0) ? 0 : 1;
}
