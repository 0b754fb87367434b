/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quant_rotate: rows of heads are normalised, rotated, transformed and quantised, all in fp32 without a rounding to bf16.
 *
 * 1. norm       x = (x * rsqrt(sum(x^2) * fl(1/D) + eps)) * weight; the sum in the order of row sums
 * 2. RoPE       on the last 64 columns, neighbours in pairs: e*cos - o*sin, o*cos + e*sin; each product rounded, then one
 *               add; cos and sin are bf16
 * 3. hadamard   butterflies (a, b) -> (a + b, a - b) over columns i and i + stride, strides 1, 2, 4, ... D / 2; then the
 *               product with fl(D^-0.5)
 * 4. fp4        per group: byte of max(amax, 6 * 2^-126) * fl(1/6), rounded up; code = e2m1(x * 2^(127 - byte)), ties to
 *               even; the even column is the low nibble
 *    fp8        per row, or per 128 columns (per_row 0): scale = max(amax, 1e-10) * fl(1/M), no power of two; code = e4m3(x * fl(1/scale)), saturating
 *    bf16       x rounded, no scale
 * dialect `layout`: linear, codes and scales by token and head; tiled, into pages of a cache, fp4 by 32 and one head:
 * the 16 bytes of group g of slot s = slots[t] are at page s / B, group g, place j = s % B; its scale byte at place
 * j % 16 * (B / 16) + j / 16 of the same group. A token with a negative slot stores nothing.
 * Rounding points: each operation named, once. Domain: values that stay finite; D is 128, 256, 512 or 1024; slots are
 * different.
 *
 * Source: aiter csrc/kernels/dsv4_rotate_quant.cu: rotate_activation and its relatives with rope, fp4quant, fp8quant, and
 * rmsnorm_rope_rotate_activation_fp4quant_kvcache (tiled). idx_q_hadamard_quant is vllm's relative, which rounds to bf16
 * in between.
 * Latitude: the order of the butterflies is the test reference's; another one rounds otherwise in fp32's last place.
 */
#include <math.h>
#include <stdio.h>

#include "../bound/hadamard.h"
#include "../num/hadamard.h"
#include "../num/row.h"
#include "../num/rsqrt.h"
#include "kv_bound.h"
#include "norm_bound.h"
#include "quant_four.h"

enum { X, POSITIONS, TABLE, WEIGHT, SLOTS, Q, SCALES };
enum { ROPE = 64, MOST = 1024, CHUNK = 16 /* bytes of fp4 codes under one scale of a cache */ };

static const struct dsv4_param_def params[] = {
    DSV4_PARAM_NAME("format", DIALECT, "fp4", "fp4 fp8 bf16",
                    "e2m1 and a byte per group, e4m3 and a scale per row, or bf16"),
    DSV4_PARAM_NAME("layout", DIALECT, "linear", "linear tiled",
                    "rows by token and head, or pages of a cache in tiles of 16 bytes"),
    QUANT_FP8_PARAM,
    DSV4_PARAM_INT("norm", CALL, 0, 0, 1, "1: RMSNorm first"),
    DSV4_PARAM_INT("rope", CALL, 1, 0, 1, "1: rotate the last 64 columns"),
    DSV4_PARAM_INT("hadamard", CALL, 1, 0, 1, "1: Walsh-Hadamard transform"),
    DSV4_PARAM_INT("group", CALL, 32, 32, 128, "columns of an fp4 scale: 32, 64 or 128"),
    DSV4_PARAM_INT("per_row", CALL, 1, 0, 1, "fp8: a scale per row; 0: per 128 columns"),
    DSV4_PARAM_INT("block_size", CALL, 64, 16, 1024, "tiled: slots of a page, a multiple of 16"),
    DSV4_PARAM_FLOAT("eps", CALL, 1e-6, 0, 1, "of the norm"),
    DSV4_PARAM_INT("tokens", INPUT, 3, 0, 1 << 24, "T"),
    DSV4_PARAM_INT("heads", INPUT, 2, 1, 256, "H"),
    DSV4_PARAM_INT("dim", INPUT, 128, 128, MOST, "D: 128, 256, 512 or 1024"),
    DSV4_PARAM_INT("max_position", INPUT, 64, 1, 1 << 20, "rows of the table"),
    QUANT_VIEW_PARAM,
    DSV4_PARAM_NAME("values", INPUT, "normal", DSV4_VALUE_WORDS, "rows of x"),
};

static const struct dsv4_slot slots[] = {
    {"x",          DSV4_IN,  "[T, H, D] bf16, strided",                                                      "rows"               },
    {"positions",  DSV4_IN,  "[T] i64",                                                                      "rows of the table"  },
    {"rope_table", DSV4_IN,  "[max_position, 64] bf16",                                                      "32 cos, then 32 sin"},
    {"weight",     DSV4_IN,  "[D] bf16; absent without norm",                                                "of the norm"        },
    {"slots",      DSV4_IN,  "[T] i64; absent unless tiled",                                                 "places in the cache"},
    {"q",          DSV4_OUT, "[T, H, D / 2] u8, [T, H, D] e4m3 or bf16, strided; [pages, D / 32, B, 16] u8",
     "codes"                                                                                                                      },
    {"scales",     DSV4_OUT,
     "[T, H, D / group] e8m0, [T, H, 1 or D / 128] f32 or absent; [pages, D / 32, B] e8m0",                  "their scales"       },
};

static const struct dsv4_mutant mutants[] = {
    {"rope-neox",           "pairs are columns i and i + 32; they are neighbours",                QUANT_ROPE_NEOX        },
    {"rope-first",          "the first 64 columns rotated; it is the last 64",                    QUANT_ROPE_FIRST       },
    {"rope-inverse",        "rotated backwards",                                                  QUANT_ROPE_INVERSE     },
    {"rope-by-row",         "angle taken by the row of the step; positions names it",             QUANT_ROPE_BY_ROW      },
    {"rope-fused",          "one product of each pair fused; both are rounded",                   QUANT_ROPE_FUSED       },
    {"rotated-rounded",     "rounded to bf16 after RoPE; it stays fp32",                          QUANT_ROTATED_ROUNDED  },
    {"norm-rounded",        "rounded to bf16 after the norm; it stays fp32",                      QUANT_NORM_ROUNDED     },
    {"eps-lost",            "no eps: a row of zeros gives NaN",                                   QUANT_EPS_LOST         },
    {"weight-lost",         "the norm's weight left out",                                         QUANT_WEIGHT_LOST      },
    {"hadamard-switched",   "transformed although the call says not to, or the reverse",
     QUANT_HADAMARD_SWITCHED                                                                                             },
    {"hadamard-descending", "butterflies from stride D / 2 down; they start at 1",
     QUANT_HADAMARD_DESCENDING                                                                                           },
    {"hadamard-unscaled",   "D^-0.5 is lost",                                                     QUANT_HADAMARD_UNSCALED},
    {"hadamard-of-128",     "128^-0.5 for every D",                                               QUANT_HADAMARD_OF_128  },
    {"scale-floor",         "the fp4 exponent rounded down; it is rounded up",                    QUANT_SCALE_FLOOR      },
    {"scale-pow2",          "the fp8 scale rounded up to a power of two; here it is not",         QUANT_SCALE_POW2       },
    {"scale-divides",       "amax / M; it is amax * fl(1/M)",                                     QUANT_DIVIDES          },
    {"scale-of-ocp",        "amax scaled to 448 in every dialect",                                QUANT_SCALE_OF_OCP     },
    {"floor-raised",        "1e-4 is the least amax of fp8; here it is 1e-10",                    QUANT_FLOOR_RAISED     },
    {"group-of-128",        "a scale byte per 128 columns, whatever the call says",               QUANT_GROUP_OF_128     },
    {"nibbles-swapped",     "even column in the high nibble; it is the low one",                  QUANT_NIBBLES_SWAPPED  },
    {"row-scaled",          "amax of the row where it is of 128 columns, or the reverse",         QUANT_ROW_SCALED       },
    {"out-truncated",       "bf16 cut off; it is rounded",                                        QUANT_OUT_TRUNCATED    },
    {"slot-wraps",          "a negative slot counted from the cache's end; it stores nothing",
     QUANT_SLOT_WRAPS                                                                                                    },
    {"tiles-linear",        "a slot's codes side by side; a page has them group by group",
     QUANT_TILES_LINEAR                                                                                                  },
    {"scales-in-order",     "a page's scales in the order of its slots; they are shuffled by 16",
     QUANT_SCALES_IN_ORDER                                                                                               },
    {"heads-dense",         "heads taken as contiguous; they have a stride",                      QUANT_ROWS_DENSE       },
};

static bool is_tiled(const struct dsv4_case *c) { return dsv4_case_is(c, "layout", "tiled"); }

static int check(const struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t dim = dsv4_case_int(c, "dim"), group = dsv4_case_int(c, "group");
    if ((dim & (dim - 1)) != 0 || (group & (group - 1)) != 0)
        return dsv4_fail(err, "dim %lld, group %lld: powers of two", (long long)dim,
                         (long long)group);
    if (!is_tiled(c)) return 0;
    if (!dsv4_case_is(c, "format", "fp4") || group != 2 * CHUNK || dsv4_case_int(c, "heads") != 1 ||
        dsv4_case_int(c, "block_size") % CHUNK != 0)
        return dsv4_fail(
            err, "layout tiled: format fp4, group 32, heads 1, block_size a multiple of 16");
    return 0;
}

static int64_t fp8_group(int64_t per_row, int64_t dim) { return per_row != 0 ? dim : 128; }

static void shape_outputs(struct dsv4_case *c) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), heads = dsv4_case_int(c, "heads");
    const int64_t dim = dsv4_case_int(c, "dim"), group = dsv4_case_int(c, "group");
    const int64_t slots_of_page = dsv4_case_int(c, "block_size");
    const int64_t pages = quant_ceil(tokens, slots_of_page) + 1;
    const bool ocp = dsv4_case_is(c, "fp8", "ocp");
    if (is_tiled(c)) {
        DSV4_SHAPE(c, Q, DSV4_U8, pages, dim / group, slots_of_page, CHUNK);
        DSV4_SHAPE(c, SCALES, DSV4_E8M0, pages, dim / group, slots_of_page);
    } else if (dsv4_case_is(c, "format", "fp4")) {
        DSV4_SHAPE(c, Q, DSV4_U8, tokens, heads, dim / 2);
        DSV4_SHAPE(c, SCALES, DSV4_E8M0, tokens, heads, dim / group);
    } else if (dsv4_case_is(c, "format", "fp8")) {
        DSV4_SHAPE(c, Q, ocp ? DSV4_E4M3FN : DSV4_E4M3FNUZ, tokens, heads, dim);
        DSV4_SHAPE(c, SCALES, DSV4_F32, tokens, heads,
                   dim / fp8_group(dsv4_case_int(c, "per_row"), dim));
    } else {
        DSV4_SHAPE(c, Q, DSV4_BF16, tokens, heads, dim);
        DSV4_SHAPE(c, SCALES, DSV4_F32, tokens, heads, 1);
        dsv4_absent(c, SCALES);
    }
    c->tensors[SCALES].align = 4;
}

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), dim = dsv4_case_int(c, "dim");
    if (check(c, err) != 0) return -1;
    DSV4_SHAPE(c, X, DSV4_BF16, tokens, dsv4_case_int(c, "heads"), dim);
    DSV4_SHAPE(c, POSITIONS, DSV4_I64, tokens);
    DSV4_SHAPE(c, TABLE, DSV4_BF16, dsv4_case_int(c, "max_position"), ROPE);
    DSV4_SHAPE(c, WEIGHT, DSV4_BF16, dim);
    if (dsv4_case_int(c, "norm") == 0) dsv4_absent(c, WEIGHT);
    DSV4_SHAPE(c, SLOTS, DSV4_I64, tokens);
    if (!is_tiled(c)) dsv4_absent(c, SLOTS);
    shape_outputs(c);
    if (dsv4_case_is(c, "view", "dense")) return 0;
    dsv4_widen(c, X, 1, 32);
    dsv4_widen(c, X, 0, 48);
    if (!is_tiled(c)) dsv4_widen(c, Q, 1, 32);
    dsv4_widen(c, Q, 0, 48);
    if (is_tiled(c)) dsv4_widen(c, SCALES, 0, 16);
    return 0;
}

/* Different slots all over the pages, and every fifth token without one. */
static void fill_slots(struct dsv4_case *c, int64_t tokens) {
    const int64_t all = c->tensors[SCALES].t.shape[0] * c->tensors[SCALES].t.shape[2];
    const int64_t first = dsv4_below(dsv4_random(c->seed, 6, 0), all);
    for (int64_t t = 0; t < tokens; t++)
        ((int64_t *)c->tensors[SLOTS].t.data)[t] =
            t % 5 == 2 ? -1 - t / 5 : (first + t * 1000003) % all;
}

static void fill(struct dsv4_case *c) {
    const int64_t tokens = dsv4_case_int(c, "tokens"), most = dsv4_case_int(c, "max_position");
    const dsv4_tensor *const table = &c->tensors[TABLE].t, *const weight = &c->tensors[WEIGHT].t;
    dsv4_fill_bf16(c, X, dsv4_case_word(c, "values"), 1, 32);
    for (int64_t t = 0; t < tokens; t++)
        ((int64_t *)c->tensors[POSITIONS].t.data)[t] =
            dsv4_below(dsv4_random(c->seed, 3, (uint64_t)t), most);
    /* Any numbers of -4 to 4, so that rotated columns set the scale: the op looks at no angle. */
    for (int64_t i = 0; i < table->shape[0] * ROPE; i++)
        ((uint16_t *)table->data)[i] = dsv4_bf16_from_f32(
            (float)dsv4_below(dsv4_random(c->seed, 4, (uint64_t)i), 257) / 32.0f - 4.0f);
    for (int64_t i = 0; weight->ndim > 0 && i < weight->shape[0]; i++)
        ((uint16_t *)weight->data)[i] =
            dsv4_bf16_from_f32(dsv4_weight("normal", c->seed, 5, i, 32));
    if (is_tiled(c)) fill_slots(c, tokens);
}

static void round_bf16(float *x, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] = dsv4_bf16_to_f32(dsv4_bf16_from_f32(x[i]));
}

static void normalise(float *x, int64_t dim, const uint16_t *weight, float eps,
                      enum quant_wrong wrong) {
    const float mean = dsv4_row_squares(x, dim) * (1.0f / (float)dim);
    const float factor = dsv4_rsqrt(wrong == QUANT_EPS_LOST ? mean : mean + eps);
    for (int64_t i = 0; i < dim; i++) {
        x[i] *= factor;
        if (wrong != QUANT_WEIGHT_LOST) x[i] *= dsv4_bf16_to_f32(weight[i]);
    }
    if (wrong == QUANT_NORM_ROUNDED) round_bf16(x, dim);
}

static inline void rotate(float *x, const uint16_t *angle) {
#pragma omp simd
    for (int i = 0; i < ROPE / 2; i++) {
        const float cos = dsv4_bf16_to_f32(angle[i]), sin = dsv4_bf16_to_f32(angle[ROPE / 2 + i]);
        const float e = x[2 * i], o = x[2 * i + 1];
        const float os = o * sin, es = e * sin, ec = e * cos, oc = o * cos;
        x[2 * i] = ec - os;
        x[2 * i + 1] = oc + es;
    }
}

static void rotate_wrong(float *x, int64_t dim, const uint16_t *angle, enum quant_wrong wrong) {
    const bool neox = wrong == QUANT_ROPE_NEOX;
    const int step = neox ? 1 : 2, apart = neox ? ROPE / 2 : 1;
    float *const first = x + (wrong == QUANT_ROPE_FIRST ? 0 : dim - ROPE);
    for (int i = 0; i < ROPE / 2; i++) {
        const float e = first[step * i], o = first[step * i + apart];
        const float cos = dsv4_bf16_to_f32(angle[i]);
        const float sin =
            (wrong == QUANT_ROPE_INVERSE ? -1.0f : 1.0f) * dsv4_bf16_to_f32(angle[ROPE / 2 + i]);
        const float os = o * sin, es = e * sin, ec = e * cos, oc = o * cos;
        first[step * i] = wrong == QUANT_ROPE_FUSED ? fmaf(e, cos, -os) : ec - os;
        first[step * i + apart] = wrong == QUANT_ROPE_FUSED ? fmaf(o, cos, es) : oc + es;
    }
    if (wrong == QUANT_ROTATED_ROUNDED) round_bf16(x, dim);
}

static inline void transform(float *x, int64_t dim, enum quant_wrong wrong) {
    const float factors[] = {0.08838834764831845f, 0.0625f, 0.04419417382415922f, 0.03125f};
    const int size = dim == 128 ? 0 : dim == 256 ? 1 : dim == 512 ? 2 : 3;
    const float factor = wrong == QUANT_HADAMARD_UNSCALED ? 1.0f
                         : wrong == QUANT_HADAMARD_OF_128 ? factors[0]
                                                          : factors[size];
    if (wrong == QUANT_HADAMARD_DESCENDING)
        dsv4_butterflies_descending(x, dim);
    else
        dsv4_butterflies(x, dim);
#pragma omp simd
    for (int64_t i = 0; i < dim; i++) x[i] *= factor;
}

/* What a call asks for. */
struct rotation {
    const dsv4_tensor *x, *table, *q, *scales;
    const int64_t *positions, *slots;
    const uint16_t *weight;
    int64_t dim, group; /* columns of a row, and under one scale */
    bool tiled, norm, rope, hadamard, fp4, fp8, per_row;
    float eps;
    struct quant_rule rule;
};

static struct rotation rotation_of(const dsv4_call *call, enum quant_wrong wrong) {
    const bool fp4 = dsv4_is(call, "format", "fp4");
    struct rotation r = {.x = &call->tensors[X],
                         .table = &call->tensors[TABLE],
                         .q = &call->tensors[Q],
                         .scales = &call->tensors[SCALES],
                         .positions = call->tensors[POSITIONS].data,
                         .slots = call->tensors[SLOTS].data,
                         .weight = call->tensors[WEIGHT].data,
                         .dim = call->tensors[X].shape[2],
                         .tiled = dsv4_is(call, "layout", "tiled"),
                         .norm = dsv4_int(call, "norm", 0) != 0,
                         .rope = dsv4_int(call, "rope", 1) != 0,
                         .hadamard = dsv4_int(call, "hadamard", 1) != 0,
                         .fp4 = fp4,
                         .fp8 = dsv4_is(call, "format", "fp8"),
                         .per_row = dsv4_int(call, "per_row", 1) != 0,
                         .eps = dsv4_float(call, "eps", 1e-6f),
                         .rule = {.wrong = wrong}};
    r.group = fp4 ? dsv4_int(call, "group", 32) : fp8_group(r.per_row, r.dim);
    r.rule.fp8 = quant_fp8_of(call);
    r.rule.most = fp4 ? 6.0f : dsv4_fp8_max(r.rule.fp8);
    r.rule.floor = fp4 ? 6.0f * 0x1p-126f : 1e-10f;
    if (!fp4 && wrong == QUANT_SCALE_OF_OCP) r.rule.most = 448.0f;
    if (!fp4 && wrong == QUANT_FLOOR_RAISED) r.rule.floor = 1e-4f;
    return r;
}

/* ---- where a row goes ---- */

struct place {
    uint8_t *codes, *scales;
    int64_t chunk, scale; /* bytes from one 16 of codes to the next, from one scale to the next */
};

/* False: nowhere. */
static inline bool place_of(const struct rotation *r, int64_t t, int64_t h, struct place *place) {
    const dsv4_tensor *const q = r->q, *const scales = r->scales;
    const enum quant_wrong wrong = r->rule.wrong;
    uint8_t *const codes = q->data, *const bytes = scales->data;
    if (!r->tiled) {
        place->codes = codes + t * q->stride[0] + h * q->stride[1];
        place->scales =
            scales->ndim > 0 ? bytes + t * scales->stride[0] + h * scales->stride[1] : NULL;
        place->chunk = CHUNK;
        place->scale = 1;
        return true;
    }
    const int64_t slots_of_page = q->shape[2];
    int64_t slot = r->slots[t];
    if (slot < 0 && wrong != QUANT_SLOT_WRAPS) return false;
    if (slot < 0) slot += q->shape[0] * slots_of_page;
    const int64_t page = slot / slots_of_page, j = slot % slots_of_page;
    const bool side_by_side = wrong == QUANT_TILES_LINEAR;
    place->codes = codes + page * q->stride[0] + j * (side_by_side ? q->shape[1] * CHUNK : CHUNK);
    place->scales = bytes + page * scales->stride[0] +
                    (wrong == QUANT_SCALES_IN_ORDER ? j : j % 16 * (slots_of_page / 16) + j / 16);
    place->chunk = side_by_side ? CHUNK : q->stride[1];
    place->scale = scales->stride[1];
    return true;
}

/* Rows that are quantised together: as many as a span has room for. */
struct rows {
    _Alignas(64) float x[QUANT_SPAN]; /* no vector of it in two cache lines */
    struct place places[QUANT_SPAN / 128];
    int64_t n;
};

static void make_fp4(const struct rotation *r, struct rows *rows) {
    const int64_t dim = r->dim, group = r->group, groups = dim / group, all = rows->n * dim;
    const enum quant_wrong wrong = r->rule.wrong;
    float amaxes[QUANT_SPAN_GROUPS];
    uint8_t codes[QUANT_SPAN / 2];
    struct quant_scale scales[QUANT_SPAN_GROUPS];
    quant_amaxes(amaxes, rows->x, all, group, wrong);
    for (int64_t g = 0; wrong == QUANT_GROUP_OF_128 && g < all / group; g++)
        amaxes[g] = quant_amax(rows->x + g * group / 128 * 128, 128, wrong);
    quant_scales_of(&r->rule, scales, amaxes, all / group);
    quant_apply(rows->x, rows->x, all, group, scales);
    quant_fours(codes, rows->x, all, false, wrong);
    for (int64_t row = 0; row < rows->n; row++) {
        const struct place *const place = &rows->places[row];
        for (int64_t i = 0; i < dim / (2 * CHUNK); i++)
            memcpy(place->codes + i * place->chunk, codes + row * dim / 2 + i * CHUNK, CHUNK);
        for (int64_t g = 0; g < groups; g++)
            place->scales[g * place->scale] = (uint8_t)scales[row * groups + g].byte;
    }
}

static void fp8_scales(const struct quant_rule *rule, struct quant_scale *scales,
                       const float *amaxes, int64_t n) {
    const float floor = rule->floor, most = rule->most, factor = 1.0f / most;
    const bool divides = rule->wrong == QUANT_DIVIDES, pow2 = rule->wrong == QUANT_SCALE_POW2;
#pragma omp simd
    for (int64_t g = 0; g < n; g++) {
        const float held = amaxes[g] > floor ? amaxes[g] : floor;
        const float free = divides ? held / most : held * factor;
        const float scale = pow2 ? dsv4_e8m0_to_f32(dsv4_e8m0_ceil(free)) : free;
        scales[g].unrounded = scale;
        scales[g].factor = 1.0f / scale;
    }
}

static void make_fp8(const struct rotation *r, struct rows *rows) {
    const int64_t dim = r->dim, group = r->group, groups = dim / group, all = rows->n * dim;
    const bool switched = r->rule.wrong == QUANT_ROW_SCALED;
    float amaxes[QUANT_SPAN_GROUPS];
    uint8_t codes[QUANT_SPAN];
    struct quant_scale scales[QUANT_SPAN_GROUPS];
    quant_amaxes(amaxes, rows->x, all, group, QUANT_RIGHT);
    for (int64_t g = 0; switched && g < all / group; g++)
        amaxes[g] = r->per_row ? quant_amax(rows->x + g * dim, 128, QUANT_RIGHT)
                               : quant_amax(rows->x + g / groups * dim, dim, QUANT_RIGHT);
    fp8_scales(&r->rule, scales, amaxes, all / group);
    quant_apply(rows->x, rows->x, all, group, scales);
    quant_codes(&r->rule, codes, rows->x, all);
    for (int64_t row = 0; row < rows->n; row++) {
        const struct place *const place = &rows->places[row];
        memcpy(place->codes, codes + row * dim, (size_t)dim);
        for (int64_t g = 0; g < groups; g++)
            memcpy(place->scales + 4 * g, &scales[row * groups + g].unrounded, 4);
    }
}

static void make_bf16(const struct rotation *r, const struct rows *rows) {
    const bool cut = r->rule.wrong == QUANT_OUT_TRUNCATED;
    for (int64_t row = 0; row < rows->n; row++) {
        const float *const x = rows->x + row * r->dim;
        uint16_t *const y = (uint16_t *)(void *)rows->places[row].codes;
#pragma omp simd
        for (int64_t i = 0; i < r->dim; i++)
            y[i] = cut ? (uint16_t)(dsv4_bits(x[i]) >> 16) : dsv4_bf16_from_f32(x[i]);
    }
}

const struct dsv4_op dsv4_op_quant_rotate;

static inline void rotate_row(const struct rotation *r, float *x, int64_t t, int64_t h,
                              int64_t dim) {
    const dsv4_tensor *const in = r->x;
    const enum quant_wrong wrong = r->rule.wrong;
    const int64_t head = wrong == QUANT_ROWS_DENSE ? 2 * dim : in->stride[1];
    const int64_t at = wrong == QUANT_ROPE_BY_ROW ? t % r->table->shape[0] : r->positions[t];
    const uint16_t *const from =
        (const uint16_t *)(const void *)((const char *)in->data + t * in->stride[0] + h * head);
    const uint16_t *const angle = (const uint16_t *)r->table->data + at * ROPE;
#pragma omp simd
    for (int64_t i = 0; i < dim; i++) x[i] = dsv4_bf16_to_f32(from[i]);
    if (r->norm) normalise(x, dim, r->weight, r->eps, wrong);
    if (r->rope && wrong == QUANT_RIGHT)
        rotate(x + dim - ROPE, angle);
    else if (r->rope)
        rotate_wrong(x, dim, angle, wrong);
    if (r->hadamard != (wrong == QUANT_HADAMARD_SWITCHED)) transform(x, dim, wrong);
}

/* Those of `n` rows from `first` on that have a place. */
static void make_rows(const struct rotation *r, int64_t first, int64_t n) {
    const int64_t heads = r->x->shape[1];
    struct rows rows;
    rows.n = 0;
    for (int64_t row = first; row < first + n; row++) {
        const int64_t t = row / heads, h = row % heads;
        float *const x = rows.x + rows.n * r->dim;
        if (!place_of(r, t, h, &rows.places[rows.n])) continue;
        rows.n++;
        if (r->dim == 128)
            rotate_row(r, x, t, h, 128);
        else
            rotate_row(r, x, t, h, r->dim);
    }
    if (r->fp4)
        make_fp4(r, &rows);
    else if (r->fp8)
        make_fp8(r, &rows);
    else
        make_bf16(r, &rows);
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const enum quant_wrong wrong = quant_wrong_of(&dsv4_op_quant_rotate, mutant);
    const struct rotation r = rotation_of(call, wrong);
    const int64_t rows = r.x->shape[0] * r.x->shape[1], most = QUANT_SPAN / r.dim;
    (void)err;
#pragma omp parallel for schedule(static) if (wrong == QUANT_RIGHT)
    for (int64_t first = 0; first < rows; first += most)
        make_rows(&r, first, quant_min(most, rows - first));
    return DSV4_OK;
}

static void row_balls(const dsv4_call *call, const dsv4_arithmetic *a, struct dsv4_ball *x,
                      int64_t t, int64_t h) {
    const dsv4_tensor *const in = &call->tensors[X];
    const int64_t dim = in->shape[2], at = ((const int64_t *)call->tensors[POSITIONS].data)[t];
    const char *const from = (const char *)in->data + t * in->stride[0] + h * in->stride[1];
    float weight[MOST], angle[ROPE];
    kv_load_bf16(weight, from, (int)dim);
    kv_balls_of(x, weight, dim);
    kv_load_bf16(angle, (const uint16_t *)call->tensors[TABLE].data + at * ROPE, ROPE);
    if (dsv4_int(call, "norm", 0) != 0) {
        kv_load_bf16(weight, call->tensors[WEIGHT].data, (int)dim);
        kv_norm_balls(a, x, dim, dsv4_float(call, "eps", 1e-6f), weight);
    }
    if (dsv4_int(call, "rope", 1) != 0) kv_rope_balls(x + dim - ROPE, angle, false);
    if (dsv4_int(call, "hadamard", 1) != 0) dsv4_balls_hadamard(a, x, dim);
}

/* A head of a token; its balls are worked out when the first group needs them. */
struct head {
    const dsv4_call *call;
    struct dsv4_admission *a;
    int64_t t, h;
    bool found;
    struct dsv4_ball x[MOST];
};

static struct dsv4_ball *head_balls(struct head *head) {
    if (!head->found) row_balls(head->call, &head->a->arithmetic, head->x, head->t, head->h);
    head->found = true;
    return head->x;
}

static void bound_fp4(struct head *head, const struct place *place) {
    const dsv4_call *const call = head->call;
    const int64_t dim = call->tensors[X].shape[2], group = dsv4_int(call, "group", 32);
    const int64_t codes = place->codes - (uint8_t *)call->tensors[Q].data;
    const int64_t scales = place->scales - (uint8_t *)call->tensors[SCALES].data;
    for (int64_t g = 0; g < dim / group; g++) {
        const int64_t at = codes + g * (group / 2 / CHUNK) * place->chunk;
        const struct dsv4_row row = {Q, at, 1, DSV4_AS_E2M1, group, 1};
        const struct dsv4_scale scale = {.slot = SCALES,
                                         .offset = scales + g * place->scale,
                                         .form = DSV4_AS_E8M0,
                                         .floor = 6 * 0x1p-126,
                                         .most = 6};
        if (dsv4_admit_scale_settled(head->a, &scale, &row)) continue;
        const struct dsv4_ball *const x = head_balls(head) + g * group;
        dsv4_admit_scale(head->a, &scale, dsv4_ball_amax(x, group), &row, x);
    }
}

static void bound_fp8(struct head *head, int64_t codes, int64_t scales, int64_t first, int64_t n) {
    const enum dsv4_fp8 fp8 = quant_fp8_of(head->call);
    const struct dsv4_row row = {Q, codes, 1, (enum dsv4_form)(DSV4_AS_OCP + (int)fp8), n, 1};
    const struct dsv4_scale one = {.slot = SCALES, .offset = scales, .form = DSV4_AS_F32};
    if (dsv4_admit_scale_settled(head->a, &one, &row)) return;
    struct dsv4_ball *const x = head_balls(head) + first;
    const struct dsv4_ball amax = dsv4_ball_max(dsv4_ball_amax(x, n), dsv4_ball_of((double)1e-10f));
    const double most = (double)dsv4_fp8_max(fp8);
    for (int64_t i = 0; i < n; i++) x[i] = dsv4_ball_within(x[i].v, x[i].r, 1);
    dsv4_admit_scale(head->a, &one, dsv4_ball_within(amax.v / most, amax.r / most, 1), &row, x);
}

/*
 * Norm and RoPE as norm_bound.c and kv_bound.c have them, the transform as bound/hadamard.h. The scale of fp8 within two
 * roundings of amax / M, and codes under it within two of x / scale.
 */
static void bound_row(const dsv4_call *call, struct dsv4_admission *a, int64_t t, int64_t h) {
    const int64_t dim = call->tensors[X].shape[2];
    struct head head = {.call = call, .a = a, .t = t, .h = h};
    const struct rotation r = rotation_of(call, QUANT_RIGHT);
    struct place place;
    if (!place_of(&r, t, h, &place)) return;
    if (dsv4_is(call, "format", "fp4")) {
        bound_fp4(&head, &place);
        return;
    }
    const int64_t codes = place.codes - (uint8_t *)call->tensors[Q].data;
    if (dsv4_is(call, "format", "bf16")) {
        const struct dsv4_row row = {Q, codes, 2, DSV4_AS_BF16, dim, 1};
        if (!dsv4_admit_settled(a, &row, 1)) dsv4_admit(a, &row, head_balls(&head), NULL);
        return;
    }
    const int64_t scales = place.scales - (uint8_t *)call->tensors[SCALES].data;
    const int64_t group = fp8_group(dsv4_int(call, "per_row", 1), dim);
    for (int64_t first = 0; first < dim; first += group)
        bound_fp8(&head, codes + first, scales + 4 * (first / group), first, group);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const x = &call->tensors[X];
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < x->shape[0]; t++)
        for (int64_t h = 0; h < x->shape[1]; h++) bound_row(call, a, t, h);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    const dsv4_tensor *const out = &c->tensors[slot].t, *const slots_of = &c->tensors[SLOTS].t;
    const int64_t *const positions = c->tensors[POSITIONS].t.data;
    if (is_tiled(c)) {
        const int64_t in_page = offset % out->stride[0];
        int64_t j = in_page % out->stride[1] / (slot == Q ? CHUNK : 1), t = 0;
        if (slot == SCALES) j = j % (out->shape[2] / 16) * 16 + j / (out->shape[2] / 16);
        const int64_t at = offset / out->stride[0] * out->shape[2] + j;
        while (t < slots_of->shape[0] && ((const int64_t *)slots_of->data)[t] != at) t++;
        const int n = snprintf(line, size, "slot %lld, columns %lld..%lld, ", (long long)at,
                               (long long)(in_page / out->stride[1] * 32),
                               (long long)(in_page / out->stride[1] * 32 + 31));
        if (t < slots_of->shape[0])
            snprintf(line + n, size - (size_t)n, "of row %lld (position %lld)", (long long)t,
                     (long long)positions[t]);
        else
            snprintf(line + n, size - (size_t)n, "which no token has");
        return;
    }
    const int64_t t = offset / out->stride[0];
    snprintf(line, size, "row %lld (position %lld), head %lld", (long long)t,
             (long long)positions[t], (long long)(offset % out->stride[0] / out->stride[1]));
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const x = &c->tensors[X].t;
    const double rows = (double)(x->shape[0] * x->shape[1]), dim = (double)x->shape[2];
    const bool fp4 = dsv4_case_is(c, "format", "fp4"), fp8 = dsv4_case_is(c, "format", "fp8");
    const double of_scales = fp4   ? dim / (double)dsv4_case_int(c, "group")
                             : fp8 ? 4 * (double)c->tensors[SCALES].t.shape[2]
                                   : 0;
    work->bytes_read = rows * dim * 2;
    work->bytes_written = rows * (dim * (fp4 ? 0.5 : fp8 ? 1 : 2) + of_scales);
}

const struct dsv4_op dsv4_op_quant_rotate = {
    .name = "quant_rotate",
    .summary = "norm, RoPE and Hadamard transform of rows, then FP4, also into pages, FP8 or bf16",
    .source = "aiter csrc/kernels/dsv4_rotate_quant.cu",
    .bound = bound,
    .latitude = "rope-fused hadamard-descending scale-divides",
    DSV4_OP_PARTS,
};
