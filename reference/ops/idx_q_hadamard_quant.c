/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idx_q_hadamard_quant: rotates the indexer's queries by RoPE and by a Hadamard matrix, then quantises them.
 *
 * 1. RoPE on channels 64..127 and rounding to bf16, as idx_q_quant's step 1.
 * 2. Butterflies (a, b) -> (a + b, a - b) over channels i and i + stride, strides 1, 2, 4, ... 64; then the product with
 *    fl(128^-0.5); all in fp32; then rounded to bf16.
 * 3. fp8    scale = max(amax, 1e-10) * fl(1/M), no power of two, M = 448, 224 or 240; code = e4m3(x * fl(1/scale)),
 *           saturating; scale goes out as fp32
 *    mxfp4  as idx_q_quant, with its scale bytes; scale_layout shuffled has them in tiles of 16 heads (indexer_page.h),
 *           those of the tiles that pad are 0; the heads are a multiple of 16 then, others are refused
 * Rounding points: each operation named, once.
 * K has to be rotated by the same matrix, or the logits mean nothing. Domain: sums of 128 values that stay finite.
 *
 * Source: aiter csrc/kernels/dsv4_rotate_quant.cu and its test's reference.
 * Latitude: the order of the butterflies is the test reference's; a kernel with another order rounds otherwise in the
 * last place of fp32, most of which the rounding to bf16 hides.
 */
#include "idx_query_bound.h"

enum { Q_OUT = IDX_ROPE_TABLE + 1, SCALES };

static const struct dsv4_param_def params[] = {
    IDX_QUERY_PARAMS,
    DSV4_PARAM_NAME("scale_layout", DIALECT, "linear", "linear shuffled",
                    "scale bytes of mxfp4 head by head, or in tiles of 16 heads"),
};

static const struct dsv4_slot slots[] = {
    {"q",          DSV4_IN,  "[T, heads, 128] bf16, strided",                                          "queries"            },
    {"positions",  DSV4_IN,  "[T] i64",                                                                "token positions"    },
    {"rope_table", DSV4_IN,  "[max_position, 64] f32, rows strided",                                   "32 cos, then 32 sin"},
    {"q_out",      DSV4_OUT, "[T, heads, 128] e4m3 or [T, heads, 64] u8",                              "codes"              },
    {"scales",     DSV4_OUT, "[T, heads, 1] f32, [T, heads, 4] u8 or, shuffled, [T, 4, 16, tiles] u8",
     "their scales"                                                                                                         },
};

static const struct dsv4_mutant mutants[] = {
    IDX_MUTANTS_OF_ROPE,
    IDX_MUTANTS_OF_CODES,
    {"scale-floor",         "the mxfp4 scale's exponent rounded down; it is rounded up",         IDX_SCALE_FLOOR      },
    {"floor-raised",        "1e-4 is the least amax; here it is 1e-10",                          IDX_FLOOR_LOST       },
    {"hadamard-none",       "no Hadamard transform: that is another op",                         IDX_HADAMARD_NONE    },
    {"hadamard-descending", "butterflies from stride 64 down; they start at 1",
      IDX_HADAMARD_DESCENDING                                                                                          },
    {"hadamard-unscaled",   "128^-0.5 is lost",                                                  IDX_HADAMARD_UNSCALED},
    {"hadamard-unrounded",  "quantised from fp32; the transformed row is rounded to bf16 first",
      IDX_HADAMARD_UNROUNDED                                                                                           },
    {"layout-other",        "scale bytes head by head where they are shuffled, or the reverse",
      IDX_LAYOUT_OTHER                                                                                                 },
    {"tiles-unpadded",      "shuffled bytes without room for tiles that pad",                    IDX_TILES_UNPADDED   },
    {"padding-kept",        "shuffled bytes of tiles that pad left as they were; they are 0",
      IDX_PADDING_KEPT                                                                                                 },
    {"scale-pow2",          "the FP8 scale rounded up to a power of two; here it is not",        IDX_SCALE_POW2       },
};

static int shape(struct dsv4_case *c, struct dsv4_err *err) {
    if (idx_query_shape(c, DSV4_F32, err) != 0) return -1;
    const int64_t rows = kv_step_of(c)->batch.n_rows, heads = dsv4_case_int(c, "heads");
    idx_query_shape_codes(c, Q_OUT);
    if (dsv4_case_is(c, "format", "fp8"))
        DSV4_SHAPE(c, SCALES, DSV4_F32, rows, heads, 1);
    else if (dsv4_case_is(c, "scale_layout", "linear"))
        DSV4_SHAPE(c, SCALES, DSV4_U8, rows, heads, INDEXER_MXFP4_GROUPS);
    else
        DSV4_SHAPE(c, SCALES, DSV4_U8, rows, INDEXER_MXFP4_GROUPS, INDEXER_TILE,
                   indexer_query_tiles(heads));
    c->tensors[SCALES].align = 4;
    c->refused = c->tensors[SCALES].t.ndim == 4 && heads % INDEXER_TILE != 0;
    return 0;
}

static void fill(struct dsv4_case *c) { idx_query_fill(c, true); }

const struct dsv4_op dsv4_op_idx_q_hadamard_quant;

static bool is_shuffled(const dsv4_call *call) {
    return dsv4_is(call, "format", "mxfp4") && dsv4_is(call, "scale_layout", "shuffled");
}

/* Four scale bytes of a head, and after the last tile of heads those of the tiles that pad. */
static void put_shuffled(uint8_t *scales, const uint8_t *bytes, int64_t heads, int64_t head,
                         enum idx_query_wrong wrong) {
    const int64_t tiles = indexer_query_tiles(heads), tile = head / INDEXER_TILE;
    for (int g = 0; g < INDEXER_MXFP4_GROUPS; g++) {
        const int64_t first = g * INDEXER_TILE + head % INDEXER_TILE;
        if (wrong == IDX_TILES_UNPADDED)
            scales[first * (heads / INDEXER_TILE) + tile] = bytes[g];
        else
            scales[indexer_query_scale_offset(heads, head, g)] = bytes[g];
        if (tile == heads / INDEXER_TILE - 1 && wrong != IDX_PADDING_KEPT)
            memset(scales + first * tiles + tile + 1, 0, (size_t)(tiles - tile - 1));
    }
}

static int run(const dsv4_call *call, int mutant, struct dsv4_err *err) {
    const dsv4_tensor *const q = &call->tensors[IDX_Q], *const out = &call->tensors[Q_OUT];
    const dsv4_tensor *const scales = &call->tensors[SCALES];
    const int64_t heads = q->shape[1];
    struct idx_query query;
    if (is_shuffled(call) && heads % INDEXER_TILE != 0) {
        dsv4_fail(err, "q: %lld heads; shuffled scales have a multiple of 16", (long long)heads);
        return DSV4_REFUSED;
    }
    idx_query_open(&query, call, idx_query_wrong_of(&dsv4_op_idx_q_hadamard_quant, mutant));
    query.hadamard = true;
    const bool shuffled = is_shuffled(call) != (query.mxfp4 && query.wrong == IDX_LAYOUT_OTHER);
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h < heads; h++) {
            char *const token = (char *)scales->data + t * scales->stride[0];
            char *const scale = token + 4 * h; /* fp32, or four bytes */
            struct idx_query_row row;
            idx_query_make(&query, &row, t, h);
            memcpy((char *)out->data + t * out->stride[0] + h * out->stride[1], row.codes,
                   (size_t)out->shape[2]);
            if (shuffled)
                put_shuffled((uint8_t *)token, row.bytes, heads, h, query.wrong);
            else if (query.mxfp4)
                memcpy(scale, row.bytes, sizeof row.bytes);
            else
                memcpy(scale, &row.scale, sizeof row.scale);
        }
    return DSV4_OK;
}

/* The scale of fp8 within two roundings of amax / M, and codes under it within two of x / scale. */
static void bound_row(struct dsv4_admission *a, const dsv4_call *call,
                      const struct idx_query *query, int64_t t, int64_t h) {
    const dsv4_tensor *const out = &call->tensors[Q_OUT], *const scales = &call->tensors[SCALES];
    const enum dsv4_form fp8 = (enum dsv4_form)(DSV4_AS_OCP + (int)query->fp8);
    const double most = (double)dsv4_fp8_max(query->fp8);
    const struct dsv4_row row = {
        Q_OUT, t * out->stride[0] + h * out->stride[1], 1, fp8, INDEXER_HEAD, 1};
    struct dsv4_ball x[INDEXER_HEAD];
    const struct dsv4_scale one = {.slot = SCALES,
                                   .offset = t * scales->stride[0] + h * scales->stride[1],
                                   .form = DSV4_AS_F32};
    if (query->mxfp4) {
        idx_query_bound_fours(a, query, call, Q_OUT, SCALES, t, h);
        return;
    }
    if (dsv4_admit_scale_settled(a, &one, &row)) return;
    idx_query_balls(query, &a->arithmetic, x, t, h);
    const struct dsv4_ball amax =
        dsv4_ball_max(dsv4_ball_amax(x, INDEXER_HEAD), dsv4_ball_of((double)1e-10f));
    const struct dsv4_ball scale = dsv4_ball_within(amax.v / most, amax.r / most, 1);
    for (int i = 0; i < INDEXER_HEAD; i++) x[i] = dsv4_ball_within(x[i].v, x[i].r, 1);
    dsv4_admit_scale(a, &one, scale, &row, x);
}

static void bound(const dsv4_call *call, struct dsv4_admission *a) {
    const dsv4_tensor *const q = &call->tensors[IDX_Q];
    struct idx_query query;
    idx_query_open(&query, call, IDX_QUERY_RIGHT);
    query.hadamard = true;
#pragma omp parallel for schedule(static) collapse(2)
    for (int64_t t = 0; t < q->shape[0]; t++)
        for (int64_t h = 0; h < q->shape[1]; h++) bound_row(a, call, &query, t, h);
}

static void trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size) {
    idx_query_trace(c, slot, offset, line, size);
}

static void work(const struct dsv4_case *c, struct dsv4_work *work) {
    const dsv4_tensor *const q = &c->tensors[IDX_Q].t;
    idx_query_work(c, work);
    if (!dsv4_case_is(c, "format", "mxfp4"))
        work->bytes_written += (double)(q->shape[0] * q->shape[1]) * 4;
}

const struct dsv4_op dsv4_op_idx_q_hadamard_quant = {
    .name = "idx_q_hadamard_quant",
    .summary = "rotates the indexer's queries by RoPE and Hadamard and quantises them",
    .source = "aiter csrc/kernels/dsv4_rotate_quant.cu",
    .bound = bound,
    .latitude = "rope-other hadamard-descending",
    DSV4_OP_PARTS,
};
