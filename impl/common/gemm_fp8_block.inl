/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_fp8_block: units of 16 rows of the weight by NT tiles of activations (gemm_exact.inl). A unit goes through all
 * blocks of k itself where there are units enough; where there are not, the units of a block take blocks of k by turns and
 * leave partials and scales in shared memory, and a thread per output adds them in order.
 */
#include "gemm_exact.inl"

struct fp8_block_args {
    const char *a, *b;
    char *out;
    int64_t a_row, a_group, b_row, b_group, out_row, out_group, m, n;
    struct exact_scales a_scale, b_scale;
    struct gpu_divisor m_tiles, n_tiles;
    int k, blocks, fnuz, scale_per_row;
};

/* Where a unit is: 16 rows of the weight from n on, NT tiles of activations from m on. */
struct fp8_block_place {
    int64_t m, n, group;
};

template <int NT> struct fp8_block_codes { uint32_t weights[EXACT_LANE_ROWS][EXACT_WORDS]; };

template <int NT>
GPU_DEVICE void fp8_block_load(struct fp8_block_codes<NT> &codes, const struct fp8_block_args &a,
                               const struct fp8_block_place &at, int block) {
    const int first = block * EXACT_BLOCK + 32 * exact_part();
    GPU_UNROLL for (int r = 0; r < EXACT_LANE_ROWS; r++) {
        const int64_t n = at.n + exact_own() + 8 * r;
        const char *const row = a.b + at.group * a.b_group + n * a.b_row;
        const bool there = n < a.n && block < a.blocks;
        exact_load(codes.weights[r], row, there, first, a.k);
        exact_load(codes.weights[r] + 4, row, there, first + 16, a.k);
    }
}

/* The sums of a block. */
template <int NT>
GPU_DEVICE void fp8_block_sums(double (*sums)[4], const struct fp8_block_args &a,
                               const struct fp8_block_place &at,
                               const struct fp8_block_codes<NT> &codes, int block) {
    const int first = block * EXACT_BLOCK + 32 * exact_part();
    GPU_UNROLL for (int j = 0; j < NT; j++) sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0;
    GPU_UNROLL for (int half = 0; half < 2; half++) {
        uint32_t tokens[NT][EXACT_WORDS / 2];
        GPU_UNROLL for (int j = 0; j < NT; j++) {
            const int64_t m = at.m + j * EXACT_TOKENS + exact_own();
            exact_load(tokens[j], a.a + at.group * a.a_group + m * a.a_row, m < a.m,
                       first + 16 * half, a.k);
        }
        GPU_UNROLL for (int i = 0; i < EXACT_WORDS / 2; i++)
            exact_step<NT>(sums, codes.weights, tokens, 4 * half + i);
    }
}

/* The scale of activation m by row n, in a block; 0 where there is none. */
GPU_DEVICE float fp8_block_scale(const struct fp8_block_args &a, const struct fp8_block_place &at,
                                 int64_t m, int64_t n, int block) {
    if (m >= a.m || n >= a.n) return 0.0f;
    return exact_scale(a.a_scale, at.group, m, block) *
           exact_scale(a.b_scale, at.group, a.scale_per_row ? n : n / EXACT_BLOCK, block);
}

GPU_DEVICE void fp8_block_store(const struct fp8_block_args &a, const struct fp8_block_place &at,
                                int64_t m, int64_t n, float x) {
    if (m >= a.m || n >= a.n) return;
    *(uint16_t *)(a.out + at.group * a.out_group + m * a.out_row + 2 * n) =
        (uint16_t)num_bf16x2(x, x);
}

GPU_DEVICE struct fp8_block_place fp8_block_place_of(const struct fp8_block_args &a, int tokens,
                                                     int rows) {
    struct fp8_block_place at;
    const int64_t rest = gpu_quotient(gpu_block(), a.m_tiles);
    at.group = gpu_quotient(rest, a.n_tiles);
    at.m = (gpu_block() - rest * a.m_tiles.value) * tokens;
    at.n = (rest - at.group * a.n_tiles.value) * rows;
    return at;
}

/* Scales of some blocks of k at a time, for all units of a block. */
enum { FP8_BLOCK_STAGE = 16, FP8_BLOCK_ROWS = EXACT_UNITS * EXACT_ROWS };

template <int NT> struct fp8_block_stage {
    float a[FP8_BLOCK_STAGE][NT * EXACT_TOKENS], b[FP8_BLOCK_STAGE][FP8_BLOCK_ROWS];
};

template <int NT>
GPU_DEVICE void fp8_block_load_stage(struct fp8_block_stage<NT> &s, const struct fp8_block_args &a,
                                     const struct fp8_block_place &at, int first) {
    enum { TOKENS = NT * EXACT_TOKENS };
    const int left = a.blocks - first, n = left < FP8_BLOCK_STAGE ? left : FP8_BLOCK_STAGE;
    for (int i = (int)gpu_thread(); i < n * TOKENS; i += CALL_THREADS) {
        const int64_t m = at.m + i % TOKENS;
        s.a[i / TOKENS][i % TOKENS] =
            m < a.m ? exact_scale(a.a_scale, at.group, m, first + i / TOKENS) : 0.0f;
    }
    for (int i = (int)gpu_thread(); i < n * FP8_BLOCK_ROWS; i += CALL_THREADS) {
        const int64_t row = at.n + i % FP8_BLOCK_ROWS;
        s.b[i / FP8_BLOCK_ROWS][i % FP8_BLOCK_ROWS] =
            row < a.n ? exact_scale(a.b_scale, at.group, a.scale_per_row ? row : row / EXACT_BLOCK,
                                    first + i / FP8_BLOCK_ROWS)
                      : 0.0f;
    }
}

template <int NT>
__global__ void __launch_bounds__(CALL_THREADS, 2) fp8_block_kernel(const struct fp8_block_args a) {
    __shared__ struct fp8_block_stage<NT> stage;
    struct fp8_block_place at = fp8_block_place_of(a, NT * EXACT_TOKENS, FP8_BLOCK_ROWS);
    const struct fp8_block_place all = at;
    float acc[NT][4];
    struct fp8_block_codes<NT> codes, next;
    at.n += exact_unit() * EXACT_ROWS;
    GPU_UNROLL for (int j = 0; j < NT; j++) acc[j][0] = acc[j][1] = acc[j][2] = acc[j][3] = 0.0f;
    fp8_block_load(codes, a, at, 0);
    GPU_NO_UNROLL for (int block = 0; block < a.blocks; block++) {
        const int turn = block % FP8_BLOCK_STAGE;
        double sums[NT][4];
        if (turn == 0) {
            gpu_barrier();
            fp8_block_load_stage(stage, a, all, block);
            gpu_barrier();
        }
        if (NT < 4) fp8_block_load(next, a, at, block + 1);
        fp8_block_sums<NT>(sums, a, at, codes, block);
        GPU_UNROLL for (int j = 0; j < NT; j++) GPU_UNROLL for (int i = 0; i < 4; i++) {
            const float scale = stage.a[turn][j * EXACT_TOKENS + exact_token(i)] *
                                stage.b[turn][exact_unit() * EXACT_ROWS + exact_row(i)];
            acc[j][i] = gpu_fma(exact_partial(sums[j][i], a.fnuz), scale, acc[j][i]);
        }
        if (NT < 4)
            codes = next;
        else
            fp8_block_load(codes, a, at, block + 1);
    }
    GPU_UNROLL for (int j = 0; j < NT; j++) GPU_UNROLL for (int i = 0; i < 4; i++) fp8_block_store(
        a, at, at.m + j * EXACT_TOKENS + exact_token(i), at.n + exact_row(i), acc[j][i]);
}

/* The units of a block share 16 rows: unit u takes blocks u, u + EXACT_UNITS, ... of k. */
template <int NT>
__global__ void __launch_bounds__(CALL_THREADS)
    fp8_block_split_kernel(const struct fp8_block_args a) {
    enum { TOKENS = NT * EXACT_TOKENS, OUTPUTS = EXACT_ROWS * TOKENS };
    enum { OWN = (OUTPUTS + CALL_THREADS - 1) / CALL_THREADS };
    __shared__ gpu_f2 partials[2][EXACT_UNITS][OUTPUTS]; /* [token][row]: partial, scale */
    const struct fp8_block_place at = fp8_block_place_of(a, TOKENS, EXACT_ROWS);
    float acc[OWN];
    struct fp8_block_codes<NT> codes, next;
    GPU_UNROLL for (int o = 0; o < OWN; o++) acc[o] = 0.0f;
    fp8_block_load(codes, a, at, exact_unit());
    GPU_NO_UNROLL for (int first = 0, turn = 0; first < a.blocks; first += EXACT_UNITS, turn ^= 1) {
        const int block = first + exact_unit(), left = a.blocks - first;
        fp8_block_load(next, a, at, block + EXACT_UNITS);
        if (block < a.blocks) {
            double sums[NT][4];
            fp8_block_sums<NT>(sums, a, at, codes, block);
            GPU_UNROLL for (int j = 0; j < NT; j++) GPU_UNROLL for (int i = 0; i < 4; i++) {
                const int token = j * EXACT_TOKENS + exact_token(i), row = exact_row(i);
                gpu_f2 pair;
                pair.x = exact_partial(sums[j][i], a.fnuz);
                pair.y = fp8_block_scale(a, at, at.m + token, at.n + row, block);
                partials[turn][exact_unit()][token * EXACT_ROWS + row] = pair;
            }
        }
        gpu_barrier();
        GPU_UNROLL for (int o = 0; o < OWN; o++) {
            const int output = (int)gpu_thread() + o * CALL_THREADS;
            if (output >= OUTPUTS) break;
            GPU_UNROLL for (int u = 0; u < EXACT_UNITS; u++) {
                if (u >= left) break;
                const gpu_f2 pair = partials[turn][u][output];
                acc[o] = gpu_fma(pair.x, pair.y, acc[o]);
            }
        }
        codes = next;
    }
    GPU_UNROLL for (int o = 0; o < OWN; o++) {
        const int output = (int)gpu_thread() + o * CALL_THREADS;
        if (output < OUTPUTS)
            fp8_block_store(a, at, at.m + output / EXACT_ROWS, at.n + output % EXACT_ROWS, acc[o]);
    }
}

/* ---- host ---- */

static int supports(const dsv4_call *call, struct call_why why) {
    const uint32_t fp8 = dsv4_is(call, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ;
    const dsv4_tensor *const a = dsv4_find(call, "a");
    const int ndim = call_absent(a) ? 2 : a->ndim;
    CALL_NEED(call, "a", fp8, ndim, why);
    CALL_NEED(call, "b", fp8, ndim, why);
    CALL_NEED(call, "out", DSV4_BF16, ndim, why);
    CALL_NEED_ALIGNED(call, "a", 16, why);
    CALL_NEED_ALIGNED(call, "b", 16, why);
    CALL_NEED_ALIGNED(call, "out", 2, why);
    if (a->shape[ndim - 1] % 16 != 0 || a->shape[ndim - 1] > INT32_MAX)
        return call_unsupported(why, "a: %lld columns; these kernels take multiples of 16",
                                (long long)a->shape[ndim - 1]);
    const int status =
        exact_supports_scales(call, "a_scale", dsv4_find_param(call, "a_scales")->s, ndim, why);
    if (status != DSV4_OK) return status;
    return exact_supports_scales(call, "b_scale", dsv4_find_param(call, "b_scales")->s, ndim, why);
}

static struct fp8_block_args args_of(const dsv4_call *call) {
    const dsv4_tensor *const a = dsv4_find(call, "a"), *const b = dsv4_find(call, "b");
    const dsv4_tensor *const out = dsv4_find(call, "out");
    const char *const b_scales = dsv4_find_param(call, "b_scales")->s;
    const bool grouped = a->ndim == 3;
    struct fp8_block_args args;
    args = {};
    args.a = (const char *)a->data;
    args.b = (const char *)b->data;
    args.out = (char *)out->data;
    args.a_row = a->stride[0];
    args.out_row = out->stride[0];
    args.b_row = b->stride[grouped ? 1 : 0];
    args.a_group = grouped ? a->stride[1] : 0;
    args.b_group = grouped ? b->stride[0] : 0;
    args.out_group = grouped ? out->stride[1] : 0;
    args.m = a->shape[0];
    args.n = out->shape[out->ndim - 1];
    args.k = (int)a->shape[a->ndim - 1];
    args.blocks = (int)call_ceil(args.k, EXACT_BLOCK);
    args.fnuz = !dsv4_is(call, "fp8", "ocp");
    args.scale_per_row = strcmp(b_scales, "packed") == 0;
    args.a_scale =
        exact_scales_of(dsv4_find(call, "a_scale"), dsv4_find_param(call, "a_scales")->s, false);
    args.b_scale = exact_scales_of(dsv4_find(call, "b_scale"), b_scales, true);
    return args;
}

template <int NT>
static int launch(struct fp8_block_args &args, int64_t groups, bool split, gpu_stream stream,
                  struct call_why why) {
    dim3 grid;
    args.m_tiles = call_divisor(call_ceil(args.m, NT * EXACT_TOKENS));
    args.n_tiles = call_divisor(call_ceil(args.n, split ? EXACT_ROWS : EXACT_UNITS * EXACT_ROWS));
    const int status = call_grid(&grid, groups * args.m_tiles.value * args.n_tiles.value, why);
    if (status != DSV4_OK) return status;
    if (split)
        GPU_LAUNCH(fp8_block_split_kernel<(NT > 2 ? 2 : NT)>, grid, CALL_THREADS, stream, args);
    else
        GPU_LAUNCH(fp8_block_kernel<NT>, grid, CALL_THREADS, stream, args);
    return call_launched(why);
}

static int run(const dsv4_call *call, struct call_why why) {
    struct fp8_block_args args = args_of(call);
    const gpu_stream stream = (gpu_stream)call->stream;
    const dsv4_tensor *const a = dsv4_find(call, "a");
    const int64_t groups = a->ndim == 3 ? a->shape[1] : 1;
    if (args.m == 0 || groups == 0) return DSV4_OK;
    const bool one = args.m <= EXACT_TOKENS, two = args.m <= 2 * EXACT_TOKENS;
    /* Units that go through all of k: eight a multiprocessor keep it busy. */
    const int64_t units = groups * call_ceil(args.n, EXACT_ROWS) *
                          call_ceil(args.m, one ? EXACT_TOKENS : 2 * EXACT_TOKENS);
    if (units < 2 * GPU_BUSY_BLOCKS)
        return one ? launch<1>(args, groups, true, stream, why)
                   : launch<2>(args, groups, true, stream, why);
    if (one) return launch<1>(args, groups, false, stream, why);
    return two                    ? launch<2>(args, groups, false, stream, why)
           : launch < EXACT_WAVES ? 2
                                  : 4 > (args, groups, false, stream, why);
}

CALL_ENTRY_POINTS(gemm_fp8_block)
