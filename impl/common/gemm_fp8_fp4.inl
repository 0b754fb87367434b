/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_fp8_fp4. FP8 activations, on CUDA: exact sums on the integer matrix units. Twice an e2m1 value is an integer up to
 * 12; an e4m3 value is an integer of 18 bits and a sign in units of 2^-9 (fnuz 2^-10), three digits of 6 bits, all of the
 * value's sign. Three products of bytes give the 32 k of a block, whose sum fits an int32. The activations' digits lie in
 * shared memory in the order of B fragments, 128 k at a time in two buffers. The weights come straight from global memory,
 * 32 codes per lane and row, which four lanes deal among themselves; they take their bytes from a table of 8 in two
 * registers.
 *
 * On HIP weights become e4m3 codes, and FP64 matrix units sum (gemm_exact.inl). bf16 activations: gemm_chain.inl.
 *
 * A block looks for its expert and tile of rows itself: offsets are the device's alone.
 */
#include "gemm_chain.inl"
#include "gemm_exact.inl"

enum { EXPERTS_MAX = 1024, EXPERTS_ROWS = EXACT_UNITS * EXACT_ROWS };

struct experts_args {
    struct chain_args c; /* what both activations share */
    struct exact_scales a_scale;
    /* a_shift: blocks of 32 k under one scale of A, as a power of two; wide_scales: four of B at once */
    int a_shift, fnuz, wide_scales;
};

/* ---- experts ---- */

struct experts_found {
    int expert, first; /* first row */
    uint32_t totals[CALL_TEAMS];
};

/* Tiles of expert e. */
GPU_DEVICE uint32_t experts_tiles(const struct chain_args &a, int e, int tokens) {
    return e < a.experts ? (uint32_t)((a.offsets[e + 1] - a.offsets[e] + tokens - 1) / tokens) : 0;
}

/* Looks for tile `tile`; expert is -1 if there are fewer. */
GPU_DEVICE void experts_find(struct experts_found &found, const struct chain_args &a, int tokens,
                             int64_t tile) {
    enum { EACH = EXPERTS_MAX / CALL_THREADS };
    uint32_t tiles[EACH], own = 0;
    GPU_UNROLL for (int i = 0; i < EACH; i++) {
        tiles[i] = experts_tiles(a, (int)gpu_thread() * EACH + i, tokens);
        own += tiles[i];
    }
    uint32_t sum = own;
    for (int d = 1; d < TEAM; d *= 2) {
        const int from = gpu_lane() - d;
        const uint32_t other = team_read_u32(sum, from < 0 ? 0 : from);
        if (from >= 0) sum += other;
    }
    if (gpu_thread() == 0) found.expert = -1;
    if (gpu_lane() == TEAM - 1) found.totals[gpu_team()] = sum;
    gpu_barrier();
    int64_t at = (int64_t)sum - own;
    for (int t = 0; t < gpu_team(); t++) at += found.totals[t];
    GPU_UNROLL for (int i = 0; i < EACH; i++) {
        const int e = (int)gpu_thread() * EACH + i;
        if (tile >= at && tile < at + tiles[i]) {
            found.expert = e;
            found.first = a.offsets[e] + (int)(tile - at) * tokens;
        }
        at += tiles[i];
    }
    gpu_barrier();
}

/* This block's place; false: there is nothing to do. */
GPU_DEVICE bool experts_place(struct chain_place &at, struct experts_found &found,
                              const struct chain_args &a, int tokens, int rows) {
    const int64_t tile = gpu_quotient(gpu_block(), a.n_tiles);
    experts_find(found, a, tokens, tile);
    if (found.expert < 0) return false;
    at.group = found.expert;
    at.m = found.first;
    at.end = a.offsets[found.expert + 1];
    at.n = (gpu_block() - tile * a.n_tiles.value) * rows;
    return true;
}

template <int TM>
__global__ void __launch_bounds__(CALL_THREADS) experts_chain_kernel(const struct chain_args a) {
    __shared__ struct experts_found found;
    __shared__ struct chain_shared<TM> s;
    struct chain_place at;
    if (experts_place(at, found, a, TM, TEAM)) chain_multiply(s, a, at);
}

GPU_DEVICE const char *experts_weight(const struct chain_args &a, const struct chain_place &at,
                                      int64_t n) {
    return a.b + at.group * a.b_group + n * a.b_row;
}

GPU_DEVICE float experts_scale(const struct chain_args &a, const struct chain_place &at, int64_t n,
                               int block) {
    const char *const row = a.b_scale + at.group * a.scale_group + n * a.scale_row;
    return num_e8m0_value(((const uint8_t *)row)[block]);
}

#if GPU_HIP
/* Four codes of e2m1, in the nibbles of a half word, as those of e4m3. */
GPU_DEVICE uint32_t experts_e4m3(uint32_t nibbles) {
    const uint64_t table = 0x4C4844403C383000u;
    uint32_t codes = 0;
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const uint32_t code = nibbles >> 4 * i;
        const uint32_t byte = (uint32_t)(table >> 8 * (code & 7u)) & 0x7Fu;
        codes |= (byte | (code & 8u) << 4) << 8 * i;
    }
    return codes;
}

template <int NT>
__global__ void __launch_bounds__(CALL_THREADS) experts_kernel(const struct experts_args args) {
    __shared__ struct experts_found found;
    const struct chain_args &a = args.c;
    struct chain_place at;
    float acc[NT][4];
    if (!experts_place(at, found, a, NT * EXACT_TOKENS, EXPERTS_ROWS)) return;
    at.n += exact_unit() * EXACT_ROWS;
    GPU_UNROLL for (int j = 0; j < NT; j++) acc[j][0] = acc[j][1] = acc[j][2] = acc[j][3] = 0.0f;
    const int64_t own = at.n + exact_own();
    GPU_NO_UNROLL for (int block = 0; block < a.k / 32; block++) {
        const int k = block * 32 + 8 * exact_part();
        uint32_t weights[1][EXACT_WORDS], tokens[NT][EXACT_WORDS / 2];
        double sums[NT][4];
        const uint32_t codes =
            own < a.n ? *(const uint32_t *)(experts_weight(a, at, own) + k / 2) : 0;
        weights[0][0] = experts_e4m3(codes);
        weights[0][1] = experts_e4m3(codes >> 16);
        GPU_UNROLL for (int j = 0; j < NT; j++) {
            const int64_t m = at.m + j * EXACT_TOKENS + exact_own();
            const uint32_t *const from = (const uint32_t *)(a.a + m * a.a_row + k);
            tokens[j][0] = m < at.end ? from[0] : 0;
            tokens[j][1] = m < at.end ? from[1] : 0;
            sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0;
        }
        exact_step<NT>(sums, weights, tokens, 0);
        exact_step<NT>(sums, weights, tokens, 1);
        GPU_UNROLL for (int j = 0; j < NT; j++) GPU_UNROLL for (int i = 0; i < 4; i++) {
            const int64_t m = at.m + j * EXACT_TOKENS + exact_token(i), n = at.n + exact_row(i);
            if (m >= at.end || n >= a.n) continue;
            const float partial = (float)(sums[j][i] * (args.fnuz ? 0.5 : 1.0));
            const float x = partial * exact_scale(args.a_scale, 0, m, block >> args.a_shift);
            acc[j][i] += x * experts_scale(a, at, n, block);
        }
    }
    GPU_UNROLL for (int j = 0; j < NT; j++) GPU_UNROLL for (int i = 0; i < 4; i++) chain_store(
        a, at, at.m + j * EXACT_TOKENS + exact_token(i), at.n + exact_row(i), acc[j][i]);
}
#else
/* ---- bytes ---- */

/* Bytes of b:a, chosen by the nibbles of `choice`, as PTX prmt has it. */
GPU_DEVICE uint32_t experts_bytes(uint32_t a, uint32_t b, uint32_t choice) {
#if GPU_CUDA
    return __byte_perm(a, b, choice);
#else
    uint32_t made = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t from = choice >> 4 * i & 7u;
        made |= ((from < 4 ? a : b) >> 8 * (from & 3u) & 0xFFu) << 8 * i;
    }
    return made;
#endif
}

/* Twice the values of four codes, in the nibbles of a half word, as signed bytes. */
GPU_DEVICE uint32_t experts_twice(uint32_t nibbles) {
    const uint32_t choice = nibbles & 0x7777u;
    const uint32_t plus = experts_bytes(0x03020100u, 0x0C080604u, choice);
    const uint32_t minus = experts_bytes(0xFDFEFF00u, 0xF4F8FAFCu, choice);
    const uint32_t mask = experts_bytes(0x0000FF00u, 0, nibbles >> 3 & 0x1111u);
    return (plus & ~mask) | (minus & mask);
}

/* The digits of a code as bytes 0, 1 and 2. */
GPU_DEVICE uint32_t experts_digits(int code) {
    const int mantissa = code & 7, exponent = code >> 3 & 15;
    const int v = exponent == 0 ? mantissa : (8 | mantissa) << (exponent - 1);
    const int sign = (code & 0x80) != 0 ? -1 : 1;
    return ((uint32_t)(sign * (v & 63)) & 0xFFu) | ((uint32_t)(sign * (v >> 6 & 63)) & 0xFFu) << 8 |
           ((uint32_t)(sign * (v >> 12)) & 0xFFu) << 16;
}

/* Bytes 0, 1 and 2 of four words. */
GPU_DEVICE void experts_transpose(uint32_t *planes, const uint32_t *x) {
    const uint32_t low01 = experts_bytes(x[0], x[1], 0x5140);
    const uint32_t low23 = experts_bytes(x[2], x[3], 0x5140);
    const uint32_t high01 = experts_bytes(x[0], x[1], 0x7362);
    const uint32_t high23 = experts_bytes(x[2], x[3], 0x7362);
    planes[0] = experts_bytes(low01, low23, 0x5410);
    planes[1] = experts_bytes(low01, low23, 0x7632);
    planes[2] = experts_bytes(high01, high23, 0x5410);
}

/* ---- c += a b, m16n8k32 of signed bytes, fragments as PTX has them ---- */

#if GPU_EMULATED
static uint32_t experts_a[2][EMULATED_LANES][4], experts_b[2][EMULATED_LANES][2];

GPU_DEVICE int experts_dot4(uint32_t a, uint32_t b, int c) {
    for (int i = 0; i < 4; i++) c += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
    return c;
}

GPU_DEVICE void experts_mma(int *c, const uint32_t *a, const uint32_t *b) {
    const uint32_t me = gpu_thread();
    const int turn = (int)(emulated.team_meetings[me] & 1), row = gpu_lane() / 4;
    const uint32_t begin = me - (uint32_t)gpu_lane();
    for (int i = 0; i < 4; i++) experts_a[turn][me][i] = a[i];
    for (int i = 0; i < 2; i++) experts_b[turn][me][i] = b[i];
    team_read_u32(0, 0);
    for (int s = 0; s < 4; s++)
        for (int i = 0; i < 4; i++) {
            const uint32_t *const from = experts_a[turn][begin + 4 * row + s];
            const int column = 2 * (gpu_lane() % 4) + i % 2;
            const uint32_t *const with = experts_b[turn][begin + 4 * column + s];
            c[i] = experts_dot4(from[i / 2], with[0], c[i]);
            c[i] = experts_dot4(from[i / 2 + 2], with[1], c[i]);
        }
}
#else
GPU_DEVICE void experts_mma(int *c, const uint32_t *a, const uint32_t *b) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

/* ---- the kernel ---- */

enum { EXPERTS_PLANES = 3, EXPERTS_BLOCKS = EXACT_BLOCK / 32 };

template <int NT> struct experts_stage { /* of 128 k */
    gpu_u2 planes[EXPERTS_BLOCKS][NT][EXPERTS_PLANES][TEAM];
    float a_scale[EXPERTS_BLOCKS][NT * EXACT_TOKENS];
};

/* Splits 128 k of the block's activations, from k = first on; four codes at a time. */
template <int NT>
GPU_DEVICE void experts_fill(struct experts_stage<NT> &s, const uint32_t *digits,
                             const struct experts_args &args, const struct chain_place &at,
                             int first) {
    const int word = (int)gpu_thread() % TEAM, block = word / 8, half = word % 2;
    GPU_UNROLL for (int j = 0; j < NT; j++) {
        const int token = gpu_team(), lane = token * 4 + word % 8 / 2;
        const int64_t m = at.m + j * EXACT_TOKENS + token;
        uint32_t codes = 0, x[4], planes[EXPERTS_PLANES];
        if (m < at.end && first + 4 * word < args.c.k)
            codes = *(const uint32_t *)(args.c.a + m * args.c.a_row + first + 4 * word);
        GPU_UNROLL for (int i = 0; i < 4; i++) x[i] = digits[codes >> 8 * i & 0xFFu];
        experts_transpose(planes, x);
        GPU_UNROLL for (int p = 0; p < EXPERTS_PLANES;
                        p++)((uint32_t *)&s.planes[block][j][p][lane])[half] = planes[p];
    }
    if ((int)gpu_thread() < EXPERTS_BLOCKS * NT * EXACT_TOKENS) {
        const int b = (int)gpu_thread() / (NT * EXACT_TOKENS);
        const int token = (int)gpu_thread() % (NT * EXACT_TOKENS);
        const bool there = at.m + token < at.end && first + 32 * b < args.c.k;
        s.a_scale[b][token] =
            there ? exact_scale(args.a_scale, 0, at.m + token, (first / 32 + b) >> args.a_shift)
                  : 0.0f;
    }
}

/* What a lane loads of two rows of the weight and 128 k: the codes of 32 k each, and all scales. */
struct experts_codes {
    uint32_t words[2][EXPERTS_BLOCKS], scales[2];
};

GPU_DEVICE void experts_load(struct experts_codes &w, const struct chain_args &a,
                             const struct chain_place &at, int first, int wide_scales) {
    GPU_UNROLL for (int r = 0; r < 2; r++) {
        const int64_t n = at.n + exact_own() + 8 * r;
        const int k = first + 32 * exact_part();
        const uint8_t *const scales =
            (const uint8_t *)a.b_scale + at.group * a.scale_group + n * a.scale_row + first / 32;
        gpu_u4 v;
        v.x = v.y = v.z = v.w = 0;
        if (n < a.n && k < a.k) v = *(const gpu_u4 *)(experts_weight(a, at, n) + k / 2);
        w.words[r][0] = v.x;
        w.words[r][1] = v.y;
        w.words[r][2] = v.z;
        w.words[r][3] = v.w;
        w.scales[r] = 0;
        if (wide_scales) {
            if (n < a.n && first < a.k) w.scales[r] = *(const uint32_t *)scales;
            continue;
        }
        GPU_UNROLL for (int b = 0; b < EXPERTS_BLOCKS; b++) w.scales[r] |=
            n < a.n && first + 32 * b < a.k ? (uint32_t)scales[b] << 8 * b : 0;
    }
}

/* The four lanes of a row turn what they have, a block each, into a word of every block each. */
GPU_DEVICE void experts_deal(uint32_t *words) {
    GPU_UNROLL for (int d = 1; d <= 2; d *= 2) {
        const bool upper = (exact_part() & d) != 0;
        GPU_UNROLL for (int i = 0; i < 2; i++) {
            const int low = d == 1 ? 2 * i : i, high = low + d;
            const uint32_t got = team_xor_u32(upper ? words[low] : words[high], d);
            words[low] = upper ? got : words[low];
            words[high] = upper ? words[high] : got;
        }
    }
}

/* Adds a block of 32 k. */
template <int NT>
GPU_DEVICE void experts_add(float (*acc)[4], const struct experts_stage<NT> &s,
                            const struct experts_codes &w, int b, float unit) {
    const uint32_t a[4] = {experts_twice(w.words[0][b]), experts_twice(w.words[1][b]),
                           experts_twice(w.words[0][b] >> 16), experts_twice(w.words[1][b] >> 16)};
    const float scale[2] = {num_e8m0_value(w.scales[0] >> 8 * b & 0xFFu),
                            num_e8m0_value(w.scales[1] >> 8 * b & 0xFFu)};
    GPU_UNROLL for (int j = 0; j < NT; j++) {
        int sums[EXPERTS_PLANES][4];
        GPU_UNROLL for (int p = 0; p < EXPERTS_PLANES; p++) {
            const gpu_u2 v = s.planes[b][j][p][gpu_lane()];
            const uint32_t with[2] = {v.x, v.y};
            sums[p][0] = sums[p][1] = sums[p][2] = sums[p][3] = 0;
            experts_mma(sums[p], a, with);
        }
        GPU_UNROLL for (int i = 0; i < 4; i++) {
            const int whole = sums[0][i] + 64 * sums[1][i] + 4096 * sums[2][i];
            const float x = (float)whole * unit * s.a_scale[b][j * EXACT_TOKENS + exact_token(i)];
            acc[j][i] += x * scale[i / 2];
        }
    }
}

template <int NT>
__global__ void __launch_bounds__(CALL_THREADS) experts_kernel(const struct experts_args args) {
    __shared__ struct experts_found found;
    __shared__ struct experts_stage<NT> stages[2];
    __shared__ uint32_t digits[256];
    const struct chain_args &a = args.c;
    const float unit = args.fnuz ? 0x1p-11f : 0x1p-10f;
    struct chain_place at;
    struct experts_codes w, next;
    float acc[NT][4];
    digits[gpu_thread()] = experts_digits((int)gpu_thread());
    if (!experts_place(at, found, a, NT * EXACT_TOKENS, EXPERTS_ROWS)) return;
    const struct chain_place all = at;
    at.n += exact_unit() * EXACT_ROWS;
    GPU_UNROLL for (int j = 0; j < NT; j++) acc[j][0] = acc[j][1] = acc[j][2] = acc[j][3] = 0.0f;
    experts_load(w, a, at, 0, args.wide_scales);
    experts_fill(stages[0], digits, args, all, 0);
    gpu_barrier();
    GPU_NO_UNROLL for (int first = 0, turn = 0; first < a.k; first += EXACT_BLOCK, turn ^= 1) {
        experts_load(next, a, at, first + EXACT_BLOCK, args.wide_scales);
        experts_fill(stages[turn ^ 1], digits, args, all, first + EXACT_BLOCK);
        experts_deal(w.words[0]);
        experts_deal(w.words[1]);
        GPU_UNROLL for (int b = 0; b < EXPERTS_BLOCKS; b++) if (first + 32 * b < a.k)
            experts_add<NT>(acc, stages[turn], w, b, unit);
        w = next;
        gpu_barrier();
    }
    GPU_UNROLL for (int j = 0; j < NT; j++) GPU_UNROLL for (int i = 0; i < 4; i++) chain_store(
        a, at, at.m + j * EXACT_TOKENS + exact_token(i), at.n + exact_row(i), acc[j][i]);
}
#endif

/* ---- host ---- */

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const a = dsv4_find(call, "a"), *const b = dsv4_find(call, "b");
    const uint32_t fp8 = dsv4_is(call, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ;
    const bool bf16 = a->dtype == DSV4_BF16;
    const int64_t group = dsv4_int(call, "a_group", 128);
    CALL_NEED(call, "a", bf16 ? DSV4_BF16 : fp8, 2, why);
    CALL_NEED(call, "b", DSV4_U8, 3, why);
    CALL_NEED(call, "b_scale", DSV4_E8M0, 3, why);
    CALL_NEED(call, "offsets", DSV4_I32, 1, why);
    if (!call_absent(dsv4_find(call, "ids"))) CALL_NEED(call, "ids", DSV4_I32, 1, why);
    CALL_NEED(call, "out", DSV4_BF16, 2, why);
    CALL_NEED_ALIGNED(call, "a", 16, why);
    CALL_NEED_ALIGNED(call, "b", 16, why);
    CALL_NEED_ALIGNED(call, "out", 2, why);
    if (group != 32 && group != 128)
        return call_unsupported(why, "a_group: %lld; these kernels take 32 and 128",
                                (long long)group);
    if (b->shape[0] > EXPERTS_MAX || a->shape[1] % 32 != 0 || a->shape[1] > INT32_MAX / 4)
        return call_unsupported(why, "more than %d experts, or k is no multiple of 32",
                                EXPERTS_MAX);
    if (bf16) return DSV4_OK;
    return exact_supports_scales(call, "a_scale", dsv4_find_param(call, "a_scales")->s, 2, why);
}

static struct chain_args args_of(const dsv4_call *call) {
    const dsv4_tensor *const a = dsv4_find(call, "a"), *const b = dsv4_find(call, "b");
    const dsv4_tensor *const out = dsv4_find(call, "out"), *const ids = dsv4_find(call, "ids");
    const dsv4_tensor *const scale = dsv4_find(call, "b_scale");
    struct chain_args args;
    args = {};
    args.a = (const char *)a->data;
    args.b = (const char *)b->data;
    args.b_scale = (const char *)scale->data;
    args.out = (char *)out->data;
    args.offsets = (const int32_t *)dsv4_find(call, "offsets")->data;
    args.ids = call_absent(ids) ? NULL : (const int32_t *)ids->data;
    args.a_row = a->stride[0];
    args.b_row = b->stride[1];
    args.b_group = b->stride[0];
    args.scale_row = scale->stride[1];
    args.scale_group = scale->stride[0];
    args.out_row = out->stride[0];
    args.m = a->shape[0];
    args.n = b->shape[1];
    args.k = (int)a->shape[1];
    args.blocks = (int)call_ceil(args.k, CHAIN_BLOCK);
    args.experts = (int)b->shape[0];
    return args;
}

/* Blocks for as many tiles as there can be; those that find none stop. */
static int experts_grid(dim3 *grid, struct chain_args &a, int tokens, int rows,
                        struct call_why why) {
    a.n_tiles = call_divisor(call_ceil(a.n, rows));
    const int64_t tiles = a.m / tokens + call_min(a.m, a.experts);
    return call_grid(grid, tiles * a.n_tiles.value, why);
}

template <int NT>
static int launch(struct experts_args &args, gpu_stream stream, struct call_why why) {
    dim3 grid;
    const int status = experts_grid(&grid, args.c, NT * EXACT_TOKENS, EXPERTS_ROWS, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(experts_kernel<NT>, grid, CALL_THREADS, stream, args);
    return call_launched(why);
}

template <int TM>
static int launch_chain(struct chain_args &args, gpu_stream stream, struct call_why why) {
    dim3 grid;
    const int status = experts_grid(&grid, args, TM, TEAM, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(experts_chain_kernel<TM>, grid, CALL_THREADS, stream, args);
    return call_launched(why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const a = dsv4_find(call, "a");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct experts_args args;
    args = {};
    args.c = args_of(call);
    const int64_t each = args.c.m / args.c.experts;
    if (args.c.m == 0) return DSV4_OK;
    if (a->dtype == DSV4_BF16)
        return each <= 4 ? launch_chain<4>(args.c, stream, why)
                         : launch_chain<8>(args.c, stream, why);
    args.a_scale =
        exact_scales_of(dsv4_find(call, "a_scale"), dsv4_find_param(call, "a_scales")->s, false);
    args.a_shift = dsv4_int(call, "a_group", 128) == 128 ? 2 : 0;
    args.fnuz = !dsv4_is(call, "fp8", "ocp");
    args.wide_scales = args.c.k % EXACT_BLOCK == 0 && call_aligned(dsv4_find(call, "b_scale"), 4);
    enum { MANY = EXACT_WAVES ? 2 : 4 };
    if (each <= EXACT_TOKENS) return launch<1>(args, stream, why);
    if (each <= 2 * EXACT_TOKENS) return launch<2>(args, stream, why);
    return launch<MANY>(args, stream, why);
}

CALL_ENTRY_POINTS(gemm_fp8_fp4)
