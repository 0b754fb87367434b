/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SwiGLU with a clamp. A gate is one of 65,536 numbers: where there is much to do, a block first computes the clamped silu
 * of those that matter into shared memory, and then looks gates up; where there is little, gates are computed as they
 * come. A team takes neighbouring columns of a row, a lane eight, four or one of either half, in one load each. Rows from
 * n_rows[0] on are loaded in vain, so that nothing waits for their number.
 */
#ifndef DSV4_MOE_ACTIVATION_INL
#define DSV4_MOE_ACTIVATION_INL

#include "call.h"
#include "num.inl"

/* Gates of magnitudes from 2^-16 to below 2^8, in the order of their bits turned left by one: the sign comes last. */
enum {
    ACTIVATION_FIRST = (127 - 16) << 8,
    ACTIVATION_LAST = ((127 + 8) << 8) - 1,
    ACTIVATION_ENTRIES =
        ACTIVATION_LAST - ACTIVATION_FIRST + 3, /* at both ends NaN, for all others */
    ACTIVATION_RESIDENT = 1,                    /* blocks of a multiprocessor */
};
#define ACTIVATION_COLUMNS(MANY) ((MANY) ? 8 : 4)
#define ACTIVATION_THREADS(MANY) ((MANY) ? 1024 : (int)CALL_THREADS)
#define ACTIVATION_KERNEL(MANY)                                                                    \
    __global__ void __launch_bounds__(ACTIVATION_THREADS(MANY),                                    \
                                      (MANY) ? (int)ACTIVATION_RESIDENT : 1)

struct activation_args {
    const char *x;
    const float *weights;
    const int32_t *n_rows;
    int64_t stride;
    struct gpu_divisor teams; /* teams per row */
    int rows, step;           /* the rows that the grid takes at once */
    int width, columns;       /* of a lane */
    bool many;
    float limit; /* infinity: none */
};

/* The first of a lane's rows, its columns, whether there are such, and how many rows are in use. */
struct activation_place {
    int row, column, in_use;
    bool inside;
};

GPU_DEVICE struct activation_place activation_open(const struct activation_args &a, int threads,
                                                   int columns) {
    const int64_t team = gpu_block() * (threads / TEAM) + gpu_team();
    const int row = (int)gpu_quotient(team, a.teams);
    struct activation_place place;
    place.row = row < a.step ? row : a.rows;
    place.column = ((int)(team - row * a.teams.value) * TEAM + gpu_lane()) * columns;
    place.inside = place.column < a.width;
    place.in_use = a.n_rows == NULL ? a.rows : a.n_rows[0];
    return place;
}

/* The factor of a product that depends on the gate alone. */
template <bool ROUNDED> GPU_DEVICE float activation_silu(float gate, float limit) {
    gate = gate > limit ? limit : gate;
    const float silu = gpu_divide_float(gate, 1.0f + elementary_exp(-gate));
    return ROUNDED ? num_bf16_low(num_bf16x2(silu, 0.0f)) : silu;
}

/* NaN stays. */
GPU_DEVICE float activation_up(float up, float limit) {
#if GPU_CUDA
    asm("min.NaN.f32 %0, %0, %1;" : "+f"(up) : "f"(limit));
    asm("max.NaN.f32 %0, %0, %1;" : "+f"(up) : "f"(-limit));
    return up;
#else
    up = up > limit ? limit : up;
    return up < -limit ? -limit : up;
#endif
}

template <bool ROUNDED> GPU_DEVICE void activation_fill(float *table, float limit) {
    for (uint32_t i = gpu_thread(); i < ACTIVATION_ENTRIES; i += ACTIVATION_THREADS(true)) {
        const uint32_t turned = ACTIVATION_FIRST - 1 + i;
        const bool other = i == 0 || i == ACTIVATION_ENTRIES - 1;
        const float gate = num_bf16_low(turned >> 1 | turned << 15);
        table[i] = other ? gpu_float(0x7FC00000u) : activation_silu<ROUNDED>(gate, limit);
    }
    gpu_barrier();
}

/* What a lane works on, two columns to a word. */
template <int COLUMNS> struct activation_words {
    uint32_t gates[COLUMNS / 2], ups[COLUMNS / 2];
    float weight;
};

GPU_DEVICE void activation_load(uint32_t (&words)[4], const char *at) {
    const gpu_u4 x = *(const gpu_u4 *)at;
    words[0] = x.x;
    words[1] = x.y;
    words[2] = x.z;
    words[3] = x.w;
}
GPU_DEVICE void activation_load(uint32_t (&words)[2], const char *at) {
    const gpu_u2 x = *(const gpu_u2 *)at;
    words[0] = x.x;
    words[1] = x.y;
}

GPU_DEVICE float activation_half(const uint32_t *words, int i) {
    return i % 2 == 0 ? num_bf16_low(words[i / 2]) : num_bf16_high(words[i / 2]);
}

/* False where a product is NaN: of gates that are not in the table, too. */
template <int COLUMNS>
GPU_DEVICE bool activation_look_up(float *out, const struct activation_words<COLUMNS> &x,
                                   const float *table, float limit) {
    const uint32_t below = (ACTIVATION_FIRST - 1) * 0x10001u,
                   above = (ACTIVATION_LAST + 1) * 0x10001u;
    bool numbers = true;
    GPU_UNROLL for (int i = 0; i < COLUMNS; i += 2) {
        const uint32_t gates = x.gates[i / 2], ups = x.ups[i / 2];
        const uint32_t turned = (gates << 1 & 0xFFFEFFFEu) | (gates >> 15 & 0x00010001u);
        const uint32_t at = gpu_min_u16x2(gpu_max_u16x2(turned, below), above);
        const float low = table[(at & 0xFFFFu) - (ACTIVATION_FIRST - 1)];
        const float high = table[(at >> 16) - (ACTIVATION_FIRST - 1)];
        out[i] = low * activation_up(num_bf16_low(ups), limit) * x.weight;
        out[i + 1] = high * activation_up(num_bf16_high(ups), limit) * x.weight;
        numbers = numbers && !num_any_nan(out[i], out[i + 1]);
    }
    return numbers;
}

/* A lane's words of a row; outside of rows and columns nothing. */
template <int COLUMNS>
GPU_DEVICE void activation_read(struct activation_words<COLUMNS> &x,
                                const struct activation_args &a,
                                const struct activation_place &place, int row) {
    const char *const at = a.x + row * a.stride + 2 * place.column;
    GPU_UNROLL for (int i = 0; i < COLUMNS / 2; i++) x.gates[i] = x.ups[i] = 0;
    x.weight = 1.0f;
    if (!place.inside || row >= a.rows) return;
    activation_load(x.gates, at);
    activation_load(x.ups, at + 2 * (int64_t)a.width);
    if (a.weights != NULL) x.weight = a.weights[row];
}

/* The products of a lane, times the row's weight. */
template <bool ROUNDED, bool MANY>
GPU_DEVICE void activation_products(float *out,
                                    const struct activation_words<ACTIVATION_COLUMNS(MANY)> &x,
                                    float limit, const float *table) {
    constexpr int columns = ACTIVATION_COLUMNS(MANY);
    if (MANY && activation_look_up<columns>(out, x, table, limit)) return;
    GPU_UNROLL for (int i = 0; i < columns; i++) {
        const float silu = activation_silu<ROUNDED>(activation_half(x.gates, i), limit);
        out[i] = silu * activation_up(activation_half(x.ups, i), limit) * x.weight;
    }
}

/* ---- host ---- */

static inline float activation_bf16(float x) {
    const uint32_t bits = gpu_bits(x);
    return gpu_float((bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u);
}

static inline int activation_supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "gate_up", DSV4_BF16, 2, why);
    if (!call_absent(dsv4_find(call, "weights"))) CALL_NEED(call, "weights", DSV4_F32, 1, why);
    if (!call_absent(dsv4_find(call, "n_rows"))) CALL_NEED(call, "n_rows", DSV4_I32, 1, why);
    if (dsv4_find(call, "gate_up")->shape[0] > INT32_MAX / 2)
        return call_unsupported(why, "gate_up: these kernels take up to 2^30 rows");
    return DSV4_OK;
}

/* Lanes take `columns` each, or, 0, as many as suits. */
static inline void activation_args_of(const dsv4_call *call, struct activation_args &a,
                                      bool weighted, bool limit_rounded, int columns) {
    const dsv4_tensor *const x = dsv4_find(call, "gate_up"), *const n_rows =
                                                                 dsv4_find(call, "n_rows");
    const dsv4_tensor *const weights = dsv4_find(call, "weights");
    const float limit = dsv4_float(call, "limit", 10.0f);
    a.x = (const char *)x->data;
    a.stride = x->stride[0];
    a.width = (int)(x->shape[1] / 2);
    a.weights = !weighted || call_absent(weights) ? NULL : (const float *)weights->data;
    a.n_rows = call_absent(n_rows) ? NULL : (const int32_t *)n_rows->data;
    a.limit = limit <= 0.0f   ? gpu_float(0x7F800000u)
              : limit_rounded ? activation_bf16(limit)
                              : limit;
    a.rows = (int)x->shape[0];
    a.many = columns == 0 && a.rows * (int64_t)a.width >= 2048 * (int64_t)GPU_BUSY_BLOCKS;
    a.columns = columns != 0 ? columns : ACTIVATION_COLUMNS(a.many);
    a.teams = call_divisor(call_ceil(a.width, TEAM * a.columns));
}

/* Blocks for all rows; where there are many, as many as run at once. */
static inline int activation_grid(dim3 *grid, struct activation_args &a, struct call_why why) {
    const int64_t teams = ACTIVATION_THREADS(a.many) / TEAM;
    int64_t blocks = call_ceil(a.rows * a.teams.value, teams);
#if GPU_CUDA
    const int64_t resident = ACTIVATION_RESIDENT * gpu_multiprocessors();
#else
    const int64_t resident = GPU_BUSY_BLOCKS + 1;
#endif
    if (a.many)
        blocks = call_min(
            blocks,
            call_ceil(resident * teams > a.teams.value ? resident * teams : a.teams.value, teams));
    a.step = (int)call_min(a.rows, blocks * teams / a.teams.value);
    return call_grid(grid, blocks, why);
}

#endif
