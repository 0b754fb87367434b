/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moe_prepare: what the fused MoE kernel reads: FP8 rows, packed scales, ids as int64, weights.
 *
 *   per 32 channels: amax = max(|x|, 1e-4), byte = exponent of amax / 448, plus one unless a power of two, in 1..254
 *   codes = e4m3(x * 2^(127 - byte)); scales[t, c] = the four bytes of channels 128c .. 128c + 127, the first lowest
 *   shared_scales[c, r] = scales[t, c], r = (t / B) * align(B, 128) + (m / 128) * 128 + (m % 32) * 4 + (m % 128) / 32
 *     with m = t % B, B = shared_block_m; other columns of shared_scales stay untouched
 *   ids and weights are copied; of tokens of padding they are -1 and 0, whose rows are quantised all the same.
 * Rounding points: amax / 448, the code. Domain: finite x.
 *
 * Source: vllm models/deepseek_v4/nvidia/ops/prepare_megamoe.py.
 * Latitude: none. amax is a bf16 value: multiplying by 1/448 gives the same byte.
 */
#include <stdio.h>

#include "../input/values.h"
#include "../num/bf16.h"
#include "../num/e8m0.h"
#include "../num/fp8.h"

enum { X, TOPK_IDS, TOPK_WEIGHTS, PADDING, CODES, SCALES, SHARED_SCALES, IDS, WEIGHTS };
enum wrong {
    RIGHT,
    FLOOR_LOST,
    SCALE_FLOOR,
    ONE_SCALE,
    BYTES_REVERSED,
    PADDING_KEPT,
    PADDING_WEIGHED,
    PADDING_SKIPPED,
    SHARED_PLAIN,
    SHARED_BLOCK,
    IDS_NARROW,
    ROW_DENSE
};

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_INT("shared_block_m", CALL, 0, 0, 1024,
                   "tokens per block of shared_scales; 0: absent"),
    DSV4_PARAM_INT("tokens", INPUT, 3, 0, 1 << 22, "tokens"),
    DSV4_PARAM_INT("hidden", INPUT, 256, 128, 1 << 16, "channels"),
    DSV4_PARAM_INT("topk", INPUT, 6, 1, 8, "experts per token"),
    DSV4_PARAM_NAME("ids", INPUT, "i32", "i32 i64", "dtype of topk_ids"),
    DSV4_PARAM_NAME("padding", INPUT, "absent", "absent none some all", "tokens of padding"),
    DSV4_PARAM_NAME("values", INPUT, "normal", DSV4_VALUE_WORDS, "recipe of x"),
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide", "wide: rows lie apart"),
};

static const struct dsv4_slot slots[] = {
    {"x",             DSV4_IN,  "[tokens, hidden] bf16, rows strided",      "hidden states"        },
    {"topk_ids",      DSV4_IN,  "[tokens, topk] i32 or i64",                "experts"              },
    {"topk_weights",  DSV4_IN,  "[tokens, topk] f32",                       "routing weights"      },
    {"is_padding",    DSV4_IN,  "[tokens] u8, or absent",                   "1: not a token"       },
    {"codes",         DSV4_OUT, "[tokens, hidden] e4m3, rows strided",      "codes"                },
    {"scales",        DSV4_OUT, "[tokens, hidden / 128] i32, rows strided", "four scale bytes each"},
    {"shared_scales", DSV4_OUT, "[hidden / 128, rows] i32, or absent",
     "the same for the shared expert"                                                              },
    {"ids",           DSV4_OUT, "[tokens, topk] i64",                       "experts"              },
    {"weights",       DSV4_OUT, "[tokens, topk] f32",                       "routing weights"      },
};

static const struct dsv4_mutant mutants[] = {
    {"floor-lost",      "amax below 1e-4 kept; 1e-4 is the least amax",              FLOOR_LOST     },
    {"scale-floor",     "scale's exponent rounded down; it is rounded up",           SCALE_FLOOR    },
    {"one-scale",       "one scale for 128 channels; there are four",                ONE_SCALE      },
    {"bytes-reversed",  "the first group's byte highest; it is lowest",              BYTES_REVERSED },
    {"padding-kept",    "ids of padding copied; they are -1",                        PADDING_KEPT   },
    {"padding-weighed", "weights of padding copied; they are 0",                     PADDING_WEIGHED},
    {"padding-skipped", "rows of padding not quantised",                             PADDING_SKIPPED},
    {"shared-plain",    "shared_scales in token order; they are permuted in blocks", SHARED_PLAIN   },
    {"shared-block",    "blocks of 128 tokens whatever shared_block_m says",         SHARED_BLOCK   },
    {"ids-narrow",      "upper halves of ids left as they were",                     IDS_NARROW     },
    {"row-dense",       "rows taken as contiguous; they have a stride",              ROW_DENSE      },
};

static int64_t aligned(int64_t block) { return (block + 127) / 128 * 128; }

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), hidden = dsv4_case_int(c, "hidden");
    const int64_t topk = dsv4_case_int(c, "topk"), block = dsv4_case_int(c, "shared_block_m");
    if (hidden % 128 != 0)
        return dsv4_fail(err, "hidden: %lld; a multiple of 128", (long long)hidden);
    DSV4_SHAPE(c, X, DSV4_BF16, tokens, hidden);
    DSV4_SHAPE(c, TOPK_IDS, dsv4_case_is(c, "ids", "i64") ? DSV4_I64 : DSV4_I32, tokens, topk);
    DSV4_SHAPE(c, TOPK_WEIGHTS, DSV4_F32, tokens, topk);
    DSV4_SHAPE(c, PADDING, DSV4_U8, tokens);
    DSV4_SHAPE(c, CODES, DSV4_E4M3FN, tokens, hidden);
    DSV4_SHAPE(c, SCALES, DSV4_I32, tokens, hidden / 128);
    if (block > 0)
        DSV4_SHAPE(c, SHARED_SCALES, DSV4_I32, hidden / 128,
                   (tokens + block - 1) / block * aligned(block));
    else
        dsv4_absent(c, SHARED_SCALES);
    DSV4_SHAPE(c, IDS, DSV4_I64, tokens, topk);
    DSV4_SHAPE(c, WEIGHTS, DSV4_F32, tokens, topk);
    c->tensors[X].align = c->tensors[CODES].align = 16;
    c->tensors[SCALES].align = 4;
    if (dsv4_case_is(c, "padding", "absent")) dsv4_absent(c, PADDING);
    if (!dsv4_case_is(c, "view", "wide")) return 0;
    dsv4_widen(c, X, 0, 64);
    dsv4_widen(c, CODES, 0, 32);
    dsv4_widen(c, SCALES, 0, 12);
    return 0;
}

static bool padded(const struct dsv4_case *c, int64_t t) {
    return dsv4_case_is(c, "padding", "all") || (dsv4_case_is(c, "padding", "some") && t % 3 != 1);
}

static void fill(struct dsv4_case *c) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), topk = dsv4_case_int(c, "topk");
    dsv4_fill_bf16(c, X, dsv4_case_word(c, "values"), 1, 32);
    for (int64_t i = 0; i < tokens * topk; i++) {
        const uint64_t bits = dsv4_random(c->seed, 4, (uint64_t)i);
        const int64_t id = bits % 29 == 0 ? -1 : dsv4_below(bits, 384);
        if (dsv4_case_is(c, "ids", "i64"))
            ((int64_t *)c->tensors[TOPK_IDS].t.data)[i] = id;
        else
            ((int32_t *)c->tensors[TOPK_IDS].t.data)[i] = (int32_t)id;
        ((float *)c->tensors[TOPK_WEIGHTS].t.data)[i] = (float)(bits & 0xFFFF) * 0x1p-16f;
    }
    for (int64_t t = 0; c->tensors[PADDING].t.ndim > 0 && t < tokens; t++)
        ((uint8_t *)c->tensors[PADDING].t.data)[t] = padded(c, t);
}

static int64_t shared_row(int64_t t, int64_t block, enum wrong wrong) {
    if (wrong == SHARED_BLOCK && block < 128) block = 128;
    const int64_t m = t % block, at = t / block * aligned(block);
    if (wrong == SHARED_PLAIN) return at + m;
    return at + m / 128 * 128 + m % 32 * 4 + m % 128 / 32;
}

/* Channels that are quantised at a time: each step for all their groups of 32, so that it vectorises. */
enum { SPAN = 1024, GROUP = 32, GROUPS = SPAN / GROUP };

static uint32_t greatest(const uint16_t *x, int n) {
    uint16_t most = 0;
#pragma omp simd reduction(max : most)
    for (int i = 0; i < n; i++) {
        const uint16_t magnitude = x[i] & 0x7FFF;
        most = magnitude > most ? magnitude : most;
    }
    return most;
}

static inline uint32_t byte_of(uint32_t most, enum wrong wrong) {
    const float found = dsv4_bf16_to_f32((uint16_t)most);
    const float amax = found < 1e-4f && wrong != FLOOR_LOST ? 1e-4f : found;
    const float scale = amax / 448.0f;
    const uint32_t up = dsv4_e8m0_ceil(scale), down = dsv4_bits(scale) >> 23;
    const uint32_t byte = wrong == SCALE_FLOOR ? down : up;
    return byte < 1 ? 1 : byte > 254 ? 254 : byte;
}

/* n channels, a multiple of 128. */
static void quantise(uint8_t *codes, uint32_t *bytes, const uint16_t *x, int64_t n,
                     enum wrong wrong) {
    uint32_t most[GROUPS];
    float scaled[SPAN];
    for (int64_t g = 0; g < n / GROUP; g++)
        most[g] =
            wrong == ONE_SCALE ? greatest(x + g / 4 * 128, 128) : greatest(x + g * GROUP, GROUP);
#pragma omp simd
    for (int64_t g = 0; g < n / GROUP; g++) bytes[g] = byte_of(most[g], wrong);
    for (int64_t g = 0; g < n / GROUP; g++) {
        const float inverse = dsv4_from_bits((254u - bytes[g]) << 23);
#pragma omp simd
        for (int64_t i = g * GROUP; i < (g + 1) * GROUP; i++)
            scaled[i] = dsv4_bf16_to_f32(x[i]) * inverse;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) codes[i] = dsv4_e4m3fn_from_f32(scaled[i]);
}

/* The scales of 128 channels. */
static uint32_t packed(const uint32_t *bytes, enum wrong wrong) {
    uint32_t word = 0;
    for (int g = 0; g < 4; g++) word |= bytes[g] << 8 * (wrong == BYTES_REVERSED ? 3 - g : g);
    return word;
}

static void route(const dsv4_call *call, int64_t t, bool padding, enum wrong wrong) {
    const dsv4_tensor *const from = &call->tensors[TOPK_IDS];
    const int64_t topk = from->shape[1];
    for (int64_t k = 0; k < topk; k++) {
        const int64_t i = t * topk + k;
        int64_t id = from->dtype == DSV4_I64 ? ((const int64_t *)from->data)[i]
                                             : ((const int32_t *)from->data)[i];
        float weight = ((const float *)call->tensors[TOPK_WEIGHTS].data)[i];
        if (padding && wrong != PADDING_KEPT) id = -1;
        if (padding && wrong != PADDING_WEIGHED) weight = 0.0f;
        memcpy((char *)call->tensors[IDS].data + 8 * i, &id, wrong == IDS_NARROW ? 4 : 8);
        ((float *)call->tensors[WEIGHTS].data)[i] = weight;
    }
}

static void store_scales(const dsv4_call *call, int64_t t, int64_t c, uint32_t word,
                         enum wrong wrong) {
    const dsv4_tensor *const scales = &call->tensors[SCALES];
    const dsv4_tensor *const shared = &call->tensors[SHARED_SCALES];
    memcpy((char *)scales->data + t * scales->stride[0] + 4 * c, &word, sizeof word);
    if (shared->ndim == 0) return;
    const int64_t r = shared_row(t, dsv4_int(call, "shared_block_m", 0), wrong);
    if (r < shared->shape[1])
        memcpy((char *)shared->data + c * shared->stride[0] + 4 * r, &word, sizeof word);
}

static void prepare(const dsv4_call *call, int64_t t, enum wrong wrong) {
    const dsv4_tensor *const x = &call->tensors[X], *const codes = &call->tensors[CODES];
    const dsv4_tensor *const padding = &call->tensors[PADDING];
    const bool is_padding = padding->ndim > 0 && ((const uint8_t *)padding->data)[t] != 0;
    const int64_t stride = wrong == ROW_DENSE ? 2 * x->shape[1] : x->stride[0];
    const uint16_t *const row = (const void *)((const char *)x->data + t * stride);
    route(call, t, is_padding, wrong);
    if (is_padding && wrong == PADDING_SKIPPED) return;
    for (int64_t first = 0; first < x->shape[1]; first += SPAN) {
        const int64_t n = x->shape[1] - first < SPAN ? x->shape[1] - first : SPAN;
        uint32_t bytes[GROUPS];
        quantise((uint8_t *)codes->data + t * codes->stride[0] + first, bytes, row + first, n,
                 wrong);
        for (int64_t c = 0; c < n / 128; c++)
            store_scales(call, t, first / 128 + c, packed(bytes + 4 * c, wrong), wrong);
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum wrong wrong = mutant > 0 ? (enum wrong)mutants[mutant - 1].id : RIGHT;
    (void)err;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < call->tensors[X].shape[0]; t++) prepare(call, t, wrong);
    return DSV4_OK;
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t;
    const int64_t row = offset / out->stride[0], i = offset % out->stride[0] / out->stride[1];
    if (slot == SHARED_SCALES)
        snprintf(line, size, "channels %lld.., row %lld", (long long)(128 * row), (long long)i);
    else
        snprintf(line, size, "token %lld, column %lld%s", (long long)row, (long long)i,
                 padded(c, row) ? " (padding)" : "");
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const double tokens = (double)dsv4_case_int(c, "tokens"),
                 topk = (double)dsv4_case_int(c, "topk");
    const double n = tokens * (double)dsv4_case_int(c, "hidden");
    const double ids = dsv4_case_is(c, "ids", "i64") ? 8 : 4;
    work->bytes_read = 2 * n + tokens * topk * (4 + ids);
    work->bytes_written = n + n / 32 + tokens * topk * 12;
    if (dsv4_case_int(c, "shared_block_m") > 0) work->bytes_written += n / 32;
}

const struct dsv4_op dsv4_op_moe_prepare = {
    .name = "moe_prepare",
    .summary = "FP8 rows with packed scales, ids and weights as the fused MoE kernel reads them",
    .source = "vllm models/deepseek_v4/nvidia/ops/prepare_megamoe.py",
    .exact = "the greatest magnitude is an input, its scale a matter of bits, and a value over a "
             "power of two exact",
    DSV4_OP_PARTS,
};
