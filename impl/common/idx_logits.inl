/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scores of the indexer's keys, exactly, on the integer matrix units. An e4m3 value is an integer of 18 bits and a sign in
 * units of 2^-9 (fnuz 2^-10), that is three digits of 6 bits, all of the value's sign: v = d0 + 64 d1 + 4096 d2. The
 * product of two such numbers takes six products of bytes (Karatsuba): d0 e0, d1 e1, d2 e2 and those of the sums d0 + d1,
 * d0 + d2, d1 + d2, which stay below 127. Their sums over 128 channels are int32, the dot is put together in int64 and
 * rounded once.
 *
 * A block takes 128 keys, 16 per team, whose six planes stay in registers as A fragments of m16n8k32, and some rows; the
 * planes of a row's heads, 64 at a time, lie in shared memory in the order of B fragments. Channels are dealt to the k of
 * the fragments so that a lane's 32 lie side by side. A lane ends up with heads 8j + 2c and 8j + 2c + 1 (c = lane % 4) of
 * two keys: the canon's tree over heads is j inside the lane, c by two exchanges, and the pair.
 *
 * HIP: a lane's four dots by FP64 fma, codes looked up in a table. Right, not fast; a tuned route there is
 * v_mfma_i32_16x16x32_i8 on the six planes.
 */
#ifndef DSV4_IDX_LOGITS_INL
#define DSV4_IDX_LOGITS_INL

#include "../../reference/layout/indexer_page.h"
#include "call.h"
#include "num.inl"

enum {
    LOGITS_PLANES = 6,
    LOGITS_TEAM_KEYS = 16,
    LOGITS_KEYS = CALL_TEAMS * LOGITS_TEAM_KEYS,
    LOGITS_HEADS = 64, /* in shared memory at once */
    LOGITS_ROWS = 16,  /* of a block, at most, where rows do not belong to requests */
    LOGITS_CLEANED = 4 * CALL_THREADS
};

struct logits_args {
    const char *q, *k, *weights, *table;
    const float *k_scale;
    const int32_t *starts, *ends, *lens; /* lens: paged */
    char *out;
    int64_t q_row, k_row, weights_row, table_row, out_row, rows, columns, keys;
    struct gpu_divisor tiles, next_n, block; /* tiles: of keys, per block of rows */
    int heads, fnuz, compressed, rows_per_block, shuffled, lens_exact, wide_q, wide_k, bf16;
};

#if GPU_HIP
struct logits_shared {
    float values[256], weights[2 * LOGITS_HEADS];
    uint32_t heads[LOGITS_HEADS][INDEXER_HEAD / 4];
    uint32_t keys[LOGITS_KEYS][INDEXER_HEAD / 4 + 1];
};
#else
struct logits_shared {
    uint32_t digits[256], sums[256]; /* of a code: d0, d1, d2; d0 + d1, d0 + d2, d1 + d2 */
    float weights[2 * LOGITS_HEADS];
    /* [plane][8 heads][half of the lane's channels][lane][word] */
    gpu_u4 planes[LOGITS_PLANES][LOGITS_HEADS / 8][2][TEAM];
};
#endif

/* ---- keys and rows ---- */

struct logits_range {
    int64_t first, end, shift;
};

template <bool PAGED>
GPU_DEVICE struct logits_range logits_row_range(const struct logits_args &a, int64_t r) {
    struct logits_range range;
    range.shift = 0;
    if (!PAGED) {
        range.first = a.starts[r];
        range.end = a.ends[r] < a.keys ? a.ends[r] : a.keys;
        if (a.compressed) range.shift = range.first;
        return range;
    }
    const int64_t request = gpu_quotient(r, a.next_n), j = r - request * a.next_n.value;
    range.first = 0;
    range.end = a.lens_exact ? a.lens[r] : a.lens[request] - a.next_n.value + j + 1;
    range.end = range.end > a.columns ? a.columns : range.end;
    return range;
}

GPU_DEVICE void logits_store(const struct logits_args &a, int64_t r, int64_t column, float logit) {
    char *const row = a.out + r * a.out_row;
    if (a.bf16)
        ((uint16_t *)row)[column] = (uint16_t)num_bf16x2(logit, 0.0f);
    else
        ((float *)row)[column] = logit;
}

/* Sixteen codes of a key. */
GPU_DEVICE gpu_u4 logits_load(const char *at, int wide) {
    gpu_u4 v;
    if (wide) return *(const gpu_u4 *)at;
    const uint32_t *const words = (const uint32_t *)at;
    v.x = words[0];
    v.y = words[1];
    v.z = words[2];
    v.w = words[3];
    return v;
}

/* This lane's 32 channels of key n as eight words; returns the key's scale. */
template <bool PAGED>
GPU_DEVICE float logits_load_key(const struct logits_args &a, uint32_t *words, int64_t request,
                                 int64_t n) {
    const int chunk = 2 * (gpu_lane() % 4);
    const char *first, *second;
    float scale;
    if (!PAGED) {
        first = a.k + n * a.k_row + INDEXER_TILE * chunk;
        second = first + INDEXER_TILE;
        scale = a.k_scale[n];
    } else {
        const int64_t entry = gpu_quotient(n, a.block), j = n - entry * a.block.value;
        const int64_t block = ((const int32_t *)(a.table + request * a.table_row))[entry];
        const char *const page = a.k + block * a.k_row;
        first = page + indexer_chunk_offset(a.shuffled, j, chunk);
        second = page + indexer_chunk_offset(a.shuffled, j, chunk + 1);
        scale = *(const float *)(page + indexer_scale_offset(a.block.value, j));
    }
    const gpu_u4 low = logits_load(first, a.wide_k), high = logits_load(second, a.wide_k);
    words[0] = low.x;
    words[1] = low.y;
    words[2] = low.z;
    words[3] = low.w;
    words[4] = high.x;
    words[5] = high.y;
    words[6] = high.z;
    words[7] = high.w;
    return scale;
}

#if GPU_HIP
/* ---- doubles, which hold every sum ---- */

/* Fills the table: thread t has code t. */
GPU_DEVICE void logits_tables(struct logits_shared &s, int fnuz) {
    const int code = (int)gpu_thread(), mantissa = code & 7, exponent = code >> 3 & 15;
    const int v = exponent == 0 ? mantissa : (8 | mantissa) << (exponent - 1);
    const float unit = fnuz ? 0x1p-10f : 0x1p-9f;
    s.values[code] = (float)((code & 0x80) != 0 ? -v : v) * unit;
}

struct logits_keys {
    float scale[2];
};

template <bool PAGED>
GPU_DEVICE void logits_load_keys(const struct logits_args &a, struct logits_shared &s,
                                 struct logits_keys &keys, int64_t request, int64_t first,
                                 int64_t begin, int64_t end) {
    GPU_UNROLL for (int i = 0; i < 2; i++) {
        const int own = gpu_lane() / 4 + 8 * i;
        const int64_t n = first + own;
        uint32_t words[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        keys.scale[i] = 0.0f;
        if (n >= begin && n < end) keys.scale[i] = logits_load_key<PAGED>(a, words, request, n);
        uint32_t *const to = s.keys[gpu_team() * LOGITS_TEAM_KEYS + own] + 8 * (gpu_lane() % 4);
        GPU_UNROLL for (int w = 0; w < 8; w++) to[w] = words[w];
    }
}

GPU_DEVICE void logits_load_heads(const struct logits_args &a, struct logits_shared &s, int64_t r,
                                  int first) {
    const int heads = a.heads - first < LOGITS_HEADS ? a.heads - first : LOGITS_HEADS;
    const uint32_t *const q = (const uint32_t *)(a.q + r * a.q_row + (int64_t)first * INDEXER_HEAD);
    uint32_t *const to = s.heads[0];
    for (int i = (int)gpu_thread(); i < heads * INDEXER_HEAD / 4; i += CALL_THREADS) to[i] = q[i];
}

/* Dots of heads 8j + 2c and 8j + 2c + 1 with this lane's two keys. */
GPU_DEVICE void logits_dots(float *dots, const struct logits_args &, const struct logits_shared &s,
                            const struct logits_keys &, int j) {
    const uint32_t *const k0 = s.keys[gpu_team() * LOGITS_TEAM_KEYS + gpu_lane() / 4];
    const uint32_t *const k1 = s.keys[gpu_team() * LOGITS_TEAM_KEYS + gpu_lane() / 4 + 8];
    const uint32_t *const h0 = s.heads[8 * j + 2 * (gpu_lane() % 4)];
    const uint32_t *const h1 = s.heads[8 * j + 2 * (gpu_lane() % 4) + 1];
    double sums[4] = {0, 0, 0, 0};
    GPU_NO_UNROLL for (int w = 0; w < INDEXER_HEAD / 4; w++) {
        const uint32_t x0 = k0[w], x1 = k1[w], y0 = h0[w], y1 = h1[w];
        GPU_UNROLL for (int i = 0; i < 4; i++) {
            const double a = s.values[x0 >> 8 * i & 0xFFu], b = s.values[x1 >> 8 * i & 0xFFu];
            const double c = s.values[y0 >> 8 * i & 0xFFu], d = s.values[y1 >> 8 * i & 0xFFu];
            sums[0] = __builtin_fma(a, c, sums[0]);
            sums[1] = __builtin_fma(a, d, sums[1]);
            sums[2] = __builtin_fma(b, c, sums[2]);
            sums[3] = __builtin_fma(b, d, sums[3]);
        }
    }
    GPU_UNROLL for (int i = 0; i < 4; i++) dots[i] = (float)sums[i];
}
#else
/* ---- bytes ---- */

/* Bytes of b:a, chosen by the nibbles of `choice`, as PTX prmt has it. */
GPU_DEVICE uint32_t logits_bytes(uint32_t a, uint32_t b, uint32_t choice) {
#if GPU_CUDA
    return __byte_perm(a, b, choice);
#else
    uint32_t made = 0;
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        const uint32_t from = choice >> 4 * i & 7u;
        made |= ((from < 4 ? a : b) >> 8 * (from & 3u) & 0xFFu) << 8 * i;
    }
    return made;
#endif
}

/* Bytes 0, 1 and 2 of four words. */
GPU_DEVICE void logits_transpose(uint32_t *planes, const uint32_t *x) {
    const uint32_t low01 = logits_bytes(x[0], x[1], 0x5140),
                   low23 = logits_bytes(x[2], x[3], 0x5140);
    const uint32_t high01 = logits_bytes(x[0], x[1], 0x7362);
    const uint32_t high23 = logits_bytes(x[2], x[3], 0x7362);
    planes[0] = logits_bytes(low01, low23, 0x5410);
    planes[1] = logits_bytes(low01, low23, 0x7632);
    planes[2] = logits_bytes(high01, high23, 0x5410);
}

/* The six planes of four codes. */
GPU_DEVICE void logits_split(const struct logits_shared &s, uint32_t *planes, uint32_t codes) {
    uint32_t digits[4], sums[4];
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        digits[i] = s.digits[codes >> 8 * i & 0xFFu];
        sums[i] = s.sums[codes >> 8 * i & 0xFFu];
    }
    logits_transpose(planes, digits);
    logits_transpose(planes + 3, sums);
}

GPU_DEVICE uint32_t logits_three(int a, int b, int c) {
    return ((uint32_t)a & 0xFFu) | ((uint32_t)b & 0xFFu) << 8 | ((uint32_t)c & 0xFFu) << 16;
}

/* Fills the tables: thread t has code t. */
GPU_DEVICE void logits_tables(struct logits_shared &s, int) {
    const int code = (int)gpu_thread(), mantissa = code & 7, exponent = code >> 3 & 15;
    const int v = exponent == 0 ? mantissa : (8 | mantissa) << (exponent - 1);
    const int sign = (code & 0x80) != 0 ? -1 : 1;
    const int d0 = sign * (v & 63), d1 = sign * (v >> 6 & 63), d2 = sign * (v >> 12);
    s.digits[code] = logits_three(d0, d1, d2);
    s.sums[code] = logits_three(d0 + d1, d0 + d2, d1 + d2);
}

/* ---- c += a b, m16n8k32 of signed bytes, fragments as PTX has them ---- */

#if GPU_EMULATED
static uint32_t logits_a[2][EMULATED_LANES][4], logits_b[2][EMULATED_LANES][2];

GPU_DEVICE int logits_dot4(uint32_t a, uint32_t b, int c) {
    for (int i = 0; i < 4; i++) c += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
    return c;
}

GPU_DEVICE void logits_mma(int *c, const uint32_t *a, const uint32_t *b) {
    const uint32_t me = gpu_thread();
    const int turn = (int)(emulated.team_meetings[me] & 1), row = gpu_lane() / 4;
    const uint32_t begin = me - (uint32_t)gpu_lane();
    for (int i = 0; i < 4; i++) logits_a[turn][me][i] = a[i];
    for (int i = 0; i < 2; i++) logits_b[turn][me][i] = b[i];
    team_read_u32(0, 0);
    for (int s = 0; s < 4; s++)
        for (int i = 0; i < 4; i++) {
            const uint32_t *const from = logits_a[turn][begin + 4 * row + s];
            const int column = 2 * (gpu_lane() % 4) + i % 2;
            const uint32_t *const with = logits_b[turn][begin + 4 * column + s];
            c[i] = logits_dot4(from[i / 2], with[0], c[i]);
            c[i] = logits_dot4(from[i / 2 + 2], with[1], c[i]);
        }
}
#elif GPU_CUDA
GPU_DEVICE void logits_mma(int *c, const uint32_t *a, const uint32_t *b) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

/* The dot in units of the square of the codes' unit, rounded to fp32, from the six sums. */
GPU_DEVICE float logits_whole(const int (*sums)[4], int i) {
    const int p0 = sums[0][i], p1 = sums[1][i], p2 = sums[2][i];
    const int low = p0 + 64 * (sums[3][i] - p0 - p1);
    const int high = sums[4][i] - p0 - p2 + p1 + 64 * (sums[5][i] - p1 - p2) + 4096 * p2;
    return (float)((int64_t)low + 4096 * (int64_t)high);
}

/* A fragments of this lane's two keys: [plane][step of 32 channels][word]. */
struct logits_keys {
    uint32_t a[LOGITS_PLANES][4][4];
    float scale[2];
};

template <bool PAGED>
GPU_DEVICE void logits_load_keys(const struct logits_args &a, const struct logits_shared &s,
                                 struct logits_keys &keys, int64_t request, int64_t first,
                                 int64_t begin, int64_t end) {
    GPU_UNROLL for (int i = 0; i < 2; i++) {
        const int64_t n = first + gpu_lane() / 4 + 8 * i;
        uint32_t words[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        keys.scale[i] = 0.0f;
        if (n >= begin && n < end) keys.scale[i] = logits_load_key<PAGED>(a, words, request, n);
        GPU_UNROLL for (int w = 0; w < 8; w++) {
            uint32_t planes[LOGITS_PLANES];
            logits_split(s, planes, words[w]);
            GPU_UNROLL for (int p = 0; p < LOGITS_PLANES; p++) keys.a[p][w / 2][w % 2 * 2 + i] =
                planes[p];
        }
    }
}

/* Splits up to 64 heads of a row into shared memory. */
GPU_DEVICE void logits_load_heads(const struct logits_args &a, struct logits_shared &s, int64_t r,
                                  int first) {
    const int heads = a.heads - first < LOGITS_HEADS ? a.heads - first : LOGITS_HEADS;
    const char *const q = a.q + r * a.q_row + (int64_t)first * INDEXER_HEAD;
    for (int i = (int)gpu_thread(); i < heads * INDEXER_CHUNKS; i += CALL_THREADS) {
        const int head = i / INDEXER_CHUNKS, chunk = i % INDEXER_CHUNKS;
        const gpu_u4 codes = logits_load(q + INDEXER_TILE * i, a.wide_q);
        uint32_t x[LOGITS_PLANES], y[LOGITS_PLANES], z[LOGITS_PLANES], w[LOGITS_PLANES];
        logits_split(s, x, codes.x);
        logits_split(s, y, codes.y);
        logits_split(s, z, codes.z);
        logits_split(s, w, codes.w);
        GPU_UNROLL for (int p = 0; p < LOGITS_PLANES; p++) {
            gpu_u4 v;
            v.x = x[p];
            v.y = y[p];
            v.z = z[p];
            v.w = w[p];
            s.planes[p][head / 8][chunk % 2][head % 8 * 4 + chunk / 2] = v;
        }
    }
}

/* The six sums of this team's keys and eight heads. */
GPU_DEVICE void logits_multiply(int (*sums)[4], const struct logits_shared &s,
                                const struct logits_keys &keys, int j) {
    GPU_UNROLL for (int p = 0; p < LOGITS_PLANES; p++) {
        sums[p][0] = sums[p][1] = sums[p][2] = sums[p][3] = 0;
        GPU_UNROLL for (int half = 0; half < 2; half++) {
            const gpu_u4 v = s.planes[p][j][half][gpu_lane()];
            const uint32_t b[4] = {v.x, v.y, v.z, v.w};
            logits_mma(sums[p], keys.a[p][2 * half], b);
            logits_mma(sums[p], keys.a[p][2 * half + 1], b + 2);
        }
    }
}

/* Dots of heads 8j + 2c and 8j + 2c + 1 with this lane's two keys. */
GPU_DEVICE void logits_dots(float *dots, const struct logits_args &a, const struct logits_shared &s,
                            const struct logits_keys &keys, int j) {
    const float unit = a.fnuz ? 0x1p-20f : 0x1p-18f;
    int sums[LOGITS_PLANES][4];
    logits_multiply(sums, s, keys, j);
    GPU_UNROLL for (int i = 0; i < 4; i++) dots[i] = logits_whole(sums, i) * unit;
}
#endif

/* partial[j][i] takes heads first + 8j + 2c + i % 2 of key i / 2. */
GPU_DEVICE void logits_weigh(float (*partial)[4], const struct logits_args &a,
                             const struct logits_shared &s, const struct logits_keys &keys,
                             int first) {
    GPU_UNROLL for (int j = 0; j < LOGITS_HEADS / 8; j++) {
        if (first + 8 * j >= a.heads) break;
        float dots[4];
        logits_dots(dots, a, s, keys, j);
        GPU_UNROLL for (int i = 0; i < 4; i++) {
            const float w = s.weights[first + 8 * j + 2 * (gpu_lane() % 4) + i % 2];
            partial[j][i] = gpu_fma(w, dots[i] > 0.0f ? dots[i] : 0.0f, partial[j][i]);
        }
    }
}

/* The tree over 64 partials, for both keys. */
GPU_DEVICE void logits_sum(float *sums, const float (*p)[4]) {
    float x[4];
    GPU_UNROLL for (int i = 0; i < 4; i++) {
        x[i] = ((p[0][i] + p[4][i]) + (p[2][i] + p[6][i])) +
               ((p[1][i] + p[5][i]) + (p[3][i] + p[7][i]));
        x[i] += team_xor_float(x[i], 2);
        x[i] += team_xor_float(x[i], 1);
    }
    sums[0] = x[0] + x[1];
    sums[1] = x[2] + x[3];
}

template <bool PAGED>
__global__ void __launch_bounds__(CALL_THREADS) logits_kernel(const struct logits_args a) {
    GPU_SHARED(memory);
    struct logits_shared &s = *(struct logits_shared *)memory;
    const int64_t block = gpu_quotient(gpu_block(), a.tiles);
    const int64_t tile = (gpu_block() - block * a.tiles.value) * LOGITS_KEYS;
    const int64_t row = block * a.rows_per_block;
    const int64_t left = a.rows - row, n = left < a.rows_per_block ? left : a.rows_per_block;
    const int64_t own = tile + gpu_team() * LOGITS_TEAM_KEYS;
    int64_t begin = tile + LOGITS_KEYS, end = tile;
    for (int64_t r = row; r < row + n; r++) {
        const struct logits_range range = logits_row_range<PAGED>(a, r);
        begin = range.first < begin ? range.first : begin;
        end = range.end > end ? range.end : end;
    }
    if (begin >= tile + LOGITS_KEYS || end <= tile) return;
    logits_tables(s, a.fnuz);
    gpu_barrier();
    struct logits_keys keys;
    logits_load_keys<PAGED>(a, s, keys, block, own, begin, end);
    GPU_NO_UNROLL for (int64_t r = row; r < row + n; r++) {
        const struct logits_range range = logits_row_range<PAGED>(a, r);
        if (range.first >= tile + LOGITS_KEYS || range.end <= tile) continue;
        float partial[LOGITS_HEADS / 8][4], sums[2];
        GPU_UNROLL for (int j = 0; j < LOGITS_HEADS / 8; j++) {
            partial[j][0] = partial[j][1] = partial[j][2] = partial[j][3] = 0.0f;
        }
        GPU_NO_UNROLL for (int first = 0; first < a.heads; first += LOGITS_HEADS) {
            gpu_barrier();
            const float *const weights = (const float *)(a.weights + r * a.weights_row);
            if ((int)gpu_thread() < a.heads) s.weights[gpu_thread()] = weights[gpu_thread()];
            logits_load_heads(a, s, r, first);
            gpu_barrier();
            logits_weigh(partial, a, s, keys, first);
        }
        logits_sum(sums, partial);
        const int lane = gpu_lane();
        const int64_t key = own + lane / 4 + (lane % 4 == 1 ? 8 : 0), column = key - range.shift;
        const float scale = lane % 4 == 1 ? keys.scale[1] : keys.scale[0];
        if (lane % 4 < 2 && key >= range.first && key < range.end && column < a.columns)
            logits_store(a, r, column, (lane % 4 == 1 ? sums[1] : sums[0]) * scale);
    }
}

/* -inf in columns without a key. */
template <bool PAGED>
__global__ void __launch_bounds__(CALL_THREADS) logits_clean_kernel(const struct logits_args a) {
    const int64_t r = gpu_quotient(gpu_block(), a.tiles);
    const int64_t first = (gpu_block() - r * a.tiles.value) * LOGITS_CLEANED;
    const struct logits_range range = logits_row_range<PAGED>(a, r);
    GPU_UNROLL for (int i = 0; i < LOGITS_CLEANED / CALL_THREADS; i++) {
        const int64_t column = first + i * CALL_THREADS + gpu_thread(), key = column + range.shift;
        if (column < a.columns && (key < range.first || key >= range.end))
            logits_store(a, r, column, -gpu_float(0x7F800000u));
    }
}

/* ---- host ---- */

static inline int logits_supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const q = dsv4_find(call, "q");
    CALL_NEED(call, "q", dsv4_is(call, "fp8", "ocp") ? DSV4_E4M3FN : DSV4_E4M3FNUZ, 3, why);
    CALL_NEED_ALIGNED(call, "q", 4, why);
    CALL_NEED(call, "weights", DSV4_F32, 2, why);
    const bool bf16 = dsv4_is(call, "logits", "bf16");
    CALL_NEED(call, "out", bf16 ? DSV4_BF16 : DSV4_F32, 2, why);
    CALL_NEED_ALIGNED(call, "out", bf16 ? 2 : 4, why);
    if (q->shape[2] != INDEXER_HEAD || (q->shape[0] > 1 && q->stride[1] != INDEXER_HEAD))
        return call_unsupported(why, "q: heads are not 128 contiguous codes");
    if (q->shape[1] % 8 != 0 || q->shape[1] > 2 * LOGITS_HEADS)
        return call_unsupported(why, "q: %lld heads; these kernels take multiples of 8 up to 128",
                                (long long)q->shape[1]);
    return DSV4_OK;
}

/* What both ops have; the keys are the caller's. */
static inline struct logits_args logits_open(const dsv4_call *call) {
    const dsv4_tensor *const q = dsv4_find(call, "q"), *const out = dsv4_find(call, "out");
    const dsv4_tensor *const weights = dsv4_find(call, "weights");
    struct logits_args a;
    a = {};
    a.q = (const char *)q->data;
    a.q_row = q->stride[0];
    a.heads = (int)q->shape[1];
    a.rows = q->shape[0];
    a.weights = (const char *)weights->data;
    a.weights_row = weights->stride[0];
    a.out = (char *)out->data;
    a.out_row = out->stride[0];
    a.columns = out->shape[1];
    a.fnuz = !dsv4_is(call, "fp8", "ocp");
    a.bf16 = dsv4_is(call, "logits", "bf16");
    a.wide_q = call_aligned(q, 16);
    a.next_n = a.block = call_divisor(1);
    return a;
}

/* Launches over blocks of rows and tiles of `keys` keys. */
template <bool PAGED>
static int logits_launch(const dsv4_call *call, struct logits_args &a, int64_t keys,
                         struct call_why why) {
    const gpu_stream stream = (gpu_stream)call->stream;
    dim3 grid;
    if (a.rows == 0 || keys == 0) return DSV4_OK;
    a.tiles = call_divisor(call_ceil(keys, LOGITS_KEYS));
    int status = call_grid(&grid, call_ceil(a.rows, a.rows_per_block) * a.tiles.value, why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH_SHARED(logits_kernel<PAGED>, grid, CALL_THREADS, sizeof(struct logits_shared),
                      stream, a);
    if (dsv4_int(call, "clean", 0) != 0) {
        a.tiles = call_divisor(call_ceil(a.columns, LOGITS_CLEANED));
        status = call_grid(&grid, a.rows * a.tiles.value, why);
        if (status != DSV4_OK) return status;
        GPU_LAUNCH(logits_clean_kernel<PAGED>, grid, CALL_THREADS, stream, a);
    }
    return call_launched(why);
}

#endif
