/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ops of the KV cache family share: parameters, the step they run in, and the arithmetic of one row, in
 * the order in which an op applies it: pool, norm, RoPE, quantise, store.
 */
#ifndef DSV4_KV_FAMILY_H
#define DSV4_KV_FAMILY_H

#include "../input/serving.h"
#include "../input/values.h"
#include "../layout/kv_page.h"
#include "../num/bf16.h"
#include "../num/fp8.h"
#include "../op.h"

enum { KV_MAX_HEAD = KV_HEAD, KV_MAX_POOL = 128, KV_ROPE_TABLE_ROW = 64 };

/* ---- wrong references ---- */

/* The ways in which ports of this family go wrong; each op's table picks those that it can have. */
enum kv_wrong {
    KV_RIGHT,
    /* saving and pooling */
    KV_APE_BY_ROW,
    KV_APE_ON_KV,
    KV_APE_LOST,
    KV_APE_ROUNDED,
    KV_HALVES_SWAPPED,
    KV_STATE_TRUNCATED,
    KV_PADDING_WRITES,
    KV_ADDRESS_WRAPS,
    KV_FIRST_HALF_ONLY,
    KV_OVERLAP_SWAPPED,
    KV_FIRST_WINDOW_UNMASKED,
    KV_NO_MAX,
    KV_DIVIDE_FIRST,
    KV_ONE_BLOCK,
    KV_REQUEST_BY_ROW,
    KV_BOUNDARY_EARLY,
    KV_EVERY_TOKEN,
    /* norm and RoPE */
    KV_EPS_LOST,
    KV_WEIGHT_LOST,
    KV_WEIGHT_FIRST,
    KV_NORM_IN_ORDER,
    KV_NORM_ROUNDED,
    KV_ROPE_TOKEN_POSITION,
    KV_ROPE_NEOX,
    KV_ROPE_INVERSE,
    KV_ROPE_FUSED,
    KV_TABLE_AS_F32,
    /* quantise and store */
    KV_SCALE_FLOOR,
    KV_SCALE_UNFLOORED,
    KV_SCALE_BIAS,
    KV_ROUNDING_LOST,
    KV_ROUNDED_FIRST,
    KV_CLAMP_OF_FORMAT,
    KV_FLOOR_OF_FP8,
    KV_TIES_AWAY,
    KV_SUBNORMALS_FLUSHED,
    KV_NEGATIVE_UNDERFLOW,
    KV_PAD_BYTE,
    KV_NIBBLES_SWAPPED,
    KV_SCALE_DIVIDES,
    /* insert and gather */
    KV_SLOT_ORDER,
    KV_HEADS_UNPADDED,
    KV_PADDED_Q_SKIPPED,
    KV_GATHER_FROM_START,
    KV_GATHER_OFFSET_LOST,
    KV_TABLE_ROW_STRIDE,
    KV_SCALE_AS_NUMBER,
    KV_SCALE_NEIGHBOUR,
    KV_ROPE_SCALED,
    KV_GATHER_LEN_IGNORED,
    KV_GATHER_TAIL_CLEARED,
    KV_FP8_OTHER,
    KV_LAYOUT_OTHER,
    KV_PAGE_DENSE,
    KV_OUT_DENSE,
    KV_OUT_WRAPS,
    KV_NAN_ZEROED,
};

/* A mutant's word and the sentence that a report prints when it explains a failure. */
#define KV_MUTANT_APE_BY_ROW                                                                       \
    {                                                                                              \
        "ape-by-row", "APE row taken by the row of the step; it belongs to positions % ratio",     \
            KV_APE_BY_ROW                                                                          \
    }
#define KV_MUTANT_APE_ON_KV                                                                        \
    { "ape-on-kv", "APE added to the kv half; it belongs to the score half alone", KV_APE_ON_KV }
#define KV_MUTANT_APE_LOST                                                                         \
    { "ape-lost", "APE is never added to the score", KV_APE_LOST }
#define KV_MUTANT_HALVES_SWAPPED                                                                   \
    { "halves-swapped", "score stored before kv; a state row is kv, then score", KV_HALVES_SWAPPED }
#define KV_MUTANT_STATE_TRUNCATED                                                                  \
    { "state-truncated", "bf16 state cut off; it is rounded to nearest even", KV_STATE_TRUNCATED }
#define KV_MUTANT_PADDING_WRITES                                                                   \
    {                                                                                              \
        "padding-writes", "a token of slot -1 writes to slot 0; it must write nothing",            \
            KV_PADDING_WRITES                                                                      \
    }
#define KV_MUTANT_ADDRESS_WRAPS                                                                    \
    { "address-wraps", "byte offset of a page computed in 32 bits", KV_ADDRESS_WRAPS }
#define KV_MUTANT_FIRST_HALF_ONLY                                                                  \
    {                                                                                              \
        "first-half-only",                                                                         \
            "all rows of the window read the first half of their columns; the last ratio rows "    \
            "read the second",                                                                     \
            KV_FIRST_HALF_ONLY                                                                     \
    }
#define KV_MUTANT_OVERLAP_SWAPPED                                                                  \
    {                                                                                              \
        "overlap-swapped",                                                                         \
            "the window's old rows read the second half and its new rows the first",               \
            KV_OVERLAP_SWAPPED                                                                     \
    }
#define KV_MUTANT_FIRST_WINDOW_UNMASKED                                                            \
    {                                                                                              \
        "first-window-unmasked", "rows before position 0 take part with score 0; they are masked", \
            KV_FIRST_WINDOW_UNMASKED                                                               \
    }
#define KV_MUTANT_NO_MAX                                                                           \
    { "no-max", "softmax without subtracting the row maximum: large scores overflow", KV_NO_MAX }
#define KV_MUTANT_DIVIDE_FIRST                                                                     \
    {                                                                                              \
        "divide-first", "weights divided before the sum; the canon divides once, at the end",      \
            KV_DIVIDE_FIRST                                                                        \
    }
#define KV_MUTANT_ONE_BLOCK                                                                        \
    { "one-block", "rows summed in one run; the canon sums blocks of 16 rows", KV_ONE_BLOCK }
#define KV_MUTANT_REQUEST_BY_ROW                                                                   \
    { "request-by-row", "block table row taken as 0; token_to_req names it", KV_REQUEST_BY_ROW }
#define KV_MUTANT_BOUNDARY_EARLY                                                                   \
    {                                                                                              \
        "boundary-early", "compresses where position % ratio is 0; a window ends at ratio - 1",    \
            KV_BOUNDARY_EARLY                                                                      \
    }
#define KV_MUTANT_EVERY_TOKEN                                                                      \
    { "every-token", "tokens off a compression boundary write too", KV_EVERY_TOKEN }
#define KV_MUTANT_EPS_LOST                                                                         \
    { "eps-lost", "RMSNorm epsilon is lost and 0 is used", KV_EPS_LOST }
#define KV_MUTANT_WEIGHT_LOST                                                                      \
    { "weight-lost", "RMSNorm weight is not applied", KV_WEIGHT_LOST }
#define KV_MUTANT_NORM_ROUNDED                                                                     \
    {                                                                                              \
        "norm-rounded", "rounded to bf16 between RMSNorm and RoPE; RoPE takes the fp32 value",     \
            KV_NORM_ROUNDED                                                                        \
    }
#define KV_MUTANT_ROPE_TOKEN_POSITION                                                              \
    {                                                                                              \
        "rope-token-position",                                                                     \
            "RoPE at the last token's position; a compressed row has its window's first",          \
            KV_ROPE_TOKEN_POSITION                                                                 \
    }
#define KV_MUTANT_ROPE_NEOX                                                                        \
    { "rope-neox", "RoPE pairs (i, i + 32); DSv4 pairs (2i, 2i + 1)", KV_ROPE_NEOX }
#define KV_MUTANT_ROPE_INVERSE                                                                     \
    { "rope-inverse", "RoPE turns backwards", KV_ROPE_INVERSE }
#define KV_MUTANT_ROPE_FUSED                                                                       \
    { "rope-fused", "RoPE contracted to fma; each product is rounded, then one add", KV_ROPE_FUSED }
#define KV_MUTANT_TABLE_AS_F32                                                                     \
    { "table-as-f32", "a bf16 table read as fp32: two entries in one", KV_TABLE_AS_F32 }
#define KV_MUTANT_SCALE_FLOOR                                                                      \
    {                                                                                              \
        "scale-floor", "scale rounded down; the format wants 2^ceil(log2(amax / max))",            \
            KV_SCALE_FLOOR                                                                         \
    }
#define KV_MUTANT_SCALE_UNFLOORED                                                                  \
    { "scale-unfloored", "amax has no lower limit; it is at least 1e-4", KV_SCALE_UNFLOORED }
#define KV_MUTANT_SCALE_BIAS                                                                       \
    { "scale-bias", "scale byte biased by 128; ue8m0 has bias 127", KV_SCALE_BIAS }
#define KV_MUTANT_ROUNDING_LOST                                                                    \
    { "rounding-lost", "quantised from fp32; values are rounded to bf16 first", KV_ROUNDING_LOST }
#define KV_MUTANT_ROUNDED_FIRST                                                                    \
    {                                                                                              \
        "rounded-first", "rounded to bf16 before the scale; here fp32 values are quantised",       \
            KV_ROUNDED_FIRST                                                                       \
    }
#define KV_MUTANT_CLAMP_OF_FORMAT                                                                  \
    {                                                                                              \
        "clamp-of-format", "clamped at the format's largest value; the dialect's is 224",          \
            KV_CLAMP_OF_FORMAT                                                                     \
    }
#define KV_MUTANT_FLOOR_OF_FP8                                                                     \
    { "floor-of-fp8", "MXFP4 groups floored at 1e-4; their floor is 6 * 2^-126", KV_FLOOR_OF_FP8 }
#define KV_MUTANT_WEIGHT_FIRST                                                                     \
    { "weight-first", "x * (r * weight); the product with r is rounded first", KV_WEIGHT_FIRST }
#define KV_MUTANT_NORM_IN_ORDER                                                                    \
    {                                                                                              \
        "norm-in-order", "squares summed in one run; the canon has 64 partials and a tree",        \
            KV_NORM_IN_ORDER                                                                       \
    }
#define KV_MUTANT_APE_ROUNDED                                                                      \
    { "ape-rounded", "APE rounded to bf16 before it is added; it is fp32", KV_APE_ROUNDED }
#define KV_MUTANT_TIES_AWAY                                                                        \
    { "ties-away", "codes round half away from zero; they round half to even", KV_TIES_AWAY }
#define KV_MUTANT_SUBNORMALS_FLUSHED                                                               \
    { "subnormals-flushed", "codes below the least normal become zero", KV_SUBNORMALS_FLUSHED }
#define KV_MUTANT_NEGATIVE_UNDERFLOW                                                               \
    {                                                                                              \
        "negative-underflow",                                                                      \
            "zero and small negatives get the other dialect's code 0x80 or 0x00",                  \
            KV_NEGATIVE_UNDERFLOW                                                                  \
    }
#define KV_MUTANT_PAD_BYTE                                                                         \
    { "pad-byte", "the eighth scale byte is not written; it is zero", KV_PAD_BYTE }
#define KV_MUTANT_NIBBLES_SWAPPED                                                                  \
    { "nibbles-swapped", "even channel in the high nibble; it is the low one", KV_NIBBLES_SWAPPED }
#define KV_MUTANT_SCALE_DIVIDES                                                                    \
    {                                                                                              \
        "scale-divides",                                                                           \
            "value divided by fp8_scale; the canon multiplies by its rounded inverse",             \
            KV_SCALE_DIVIDES                                                                       \
    }
#define KV_MUTANT_SLOT_ORDER                                                                       \
    { "slot-order", "rows stored in step order; slot_mapping names the place", KV_SLOT_ORDER }
#define KV_MUTANT_HEADS_UNPADDED                                                                   \
    {                                                                                              \
        "heads-unpadded", "heads beyond the real ones are not written; they are zero",             \
            KV_HEADS_UNPADDED                                                                      \
    }
#define KV_MUTANT_PADDED_Q_SKIPPED                                                                 \
    {                                                                                              \
        "padded-q-skipped", "Q of a token of slot -1 is not written; only its KV row is skipped",  \
            KV_PADDED_Q_SKIPPED                                                                    \
    }
#define KV_MUTANT_GATHER_FROM_START                                                                \
    {                                                                                              \
        "gather-from-start", "gathers from position 0; it starts at seq_len - gather_len",         \
            KV_GATHER_FROM_START                                                                   \
    }
#define KV_MUTANT_GATHER_OFFSET_LOST                                                               \
    { "gather-offset-lost", "rows land at 0; they start at `offset`", KV_GATHER_OFFSET_LOST }
#define KV_MUTANT_TABLE_ROW_STRIDE                                                                 \
    {                                                                                              \
        "table-row-stride", "block table indexed by its width; rows lie stride[0] apart",          \
            KV_TABLE_ROW_STRIDE                                                                    \
    }
#define KV_MUTANT_SCALE_AS_NUMBER                                                                  \
    {                                                                                              \
        "scale-as-number", "scale byte multiplied as an integer; it is an exponent",               \
            KV_SCALE_AS_NUMBER                                                                     \
    }
#define KV_MUTANT_SCALE_NEIGHBOUR                                                                  \
    { "scale-neighbour", "codes read under the next group's scale", KV_SCALE_NEIGHBOUR }
#define KV_MUTANT_ROPE_SCALED                                                                      \
    { "rope-scaled", "RoPE channels multiplied by a scale; they are copied", KV_ROPE_SCALED }

/* The wrong that mutant number `mutant` of an op stands for. */
static inline enum kv_wrong kv_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum kv_wrong)op->mutants[mutant - 1].id : KV_RIGHT;
}

/* ---- parameters ---- */

#define KV_FP8_PARAM                                                                               \
    DSV4_PARAM_NAME("fp8", DIALECT, "ocp", "ocp fnuz224 fnuz240",                                  \
                    "FP8 codes: e4m3fn to 448, or e4m3fnuz scaled to 224 or to 240")
#define KV_LAYOUT_PARAM                                                                            \
    DSV4_PARAM_NAME("layout", DIALECT, "planar", "planar interleaved",                             \
                    "584-byte pages: all data rows then all scale rows, or token by token")
#define KV_SCALE_FLOOR_PARAM                                                                       \
    DSV4_PARAM_NAME("scale_floor", DIALECT, "amax", "amax scale",                                  \
                    "1e-4 is the least amax, or the least scale")
#define KV_STATE_PARAM                                                                             \
    DSV4_PARAM_NAME(                                                                               \
        "state", DIALECT, "f32", "f32 bf16",                                                       \
        "compressor state: fp32 with APE added at save, or bf16 with APE added at read")
#define KV_STORE_PARAM                                                                             \
    DSV4_PARAM_NAME("store", CALL, "ds_mla",                                                       \
                    "ds_mla indexer_fp8 indexer_mxfp4 full_bf16 full_fp8",                         \
                    "what is written: 584-byte pages, indexer pages (head 128), or full rows")
#define KV_BLOCK_SIZE_PARAM(initial)                                                               \
    DSV4_PARAM_INT("block_size", CALL, initial, 1, 4096, "tokens per page of the KV cache")
#define KV_STATE_BLOCK_SIZE_PARAM                                                                  \
    DSV4_PARAM_INT("state_block_size", CALL, 4, 1, 4096, "tokens per page of the state cache")
#define KV_RATIO_PARAM                                                                             \
    DSV4_PARAM_INT("ratio", CALL, 4, 4, 128, "tokens per compressed row: 4 or 128")
#define KV_EPS_PARAM DSV4_PARAM_FLOAT("eps", CALL, 1e-6, 0, 1, "RMSNorm epsilon")
#define KV_FP8_SCALE_PARAM                                                                         \
    DSV4_PARAM_FLOAT("fp8_scale", CALL, 1.0, 1e-6, 1e6, "full_fp8: codes are value / fp8_scale")
#define KV_MAX_POSITION_PARAM                                                                      \
    DSV4_PARAM_INT("max_position", INPUT, 0, 0, 1 << 20,                                           \
                   "rows of the RoPE table; 0: just enough for the batch")
#define KV_TABLE_PARAM DSV4_PARAM_NAME("table", INPUT, "f32", "f32 bf16", "dtype of rope_table")
#define KV_VIEW_PARAM                                                                              \
    DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide",                                          \
                    "wide: rows and pages lie apart, as slices of larger buffers do")

/* ---- geometry of the compressor ---- */

/* ratio 4 pools 8 rows (the first 4 from the overlapping half), ratio 128 pools 128. */
static inline int64_t kv_pool_rows(int64_t ratio) { return ratio == 4 ? 8 : ratio; }

/* Columns of one half (kv or score) of a state row. */
static inline int64_t kv_state_width(int64_t ratio, int64_t head) {
    return ratio == 4 ? 2 * head : head;
}

/* -1 unless ratio is 4 or 128, and head 512 or (ratio 4 only) 128. */
int kv_check_ratio(int64_t ratio, int64_t head, struct dsv4_err *err);

/* The block sizes that upstream's kernels demand: 8 for ratio 128 where the state is bf16 (HIP) or the floor is on the
 * scale (CuTeDSL), 4 for ratio 4 where the state is bf16 (HIP). The Triton form computes any. `why` names the demand. */
bool kv_block_size_refused(bool bf16_state, bool scale_floor, int64_t ratio, int64_t block_size,
                           char *why, size_t size);

/* ---- rows ---- */

/* Where and how rows are stored: one cache tensor and its dialects. */
struct kv_store {
    enum kv_store_form {
        KV_DS_MLA,
        KV_INDEXER_FP8,
        KV_INDEXER_MXFP4,
        KV_FULL_BF16,
        KV_FULL_FP8
    } form;
    enum dsv4_fp8 fp8;
    bool interleaved, floor_on_scale;
    int64_t block_size, n_blocks;
    float scale, inverse_scale; /* full_fp8 */
    bool nope_is_bf16; /* ds_mla: channels 0..447 are bf16 already, rounding them changes nothing */
    bool round_before_scale; /* full_fp8: to bf16 first, as the compressor's kernel does */
    const dsv4_tensor *cache;
    enum kv_wrong wrong;
};

/* The words of the `store` parameter, in the order of kv_store_form. */
enum { KV_STORE_FORMS = 5 };
extern const char *const kv_store_words[KV_STORE_FORMS];

/* n bf16 values to fp32 and back. */
static inline void kv_load_bf16(float *restrict values, const void *row, int n) {
    const uint16_t *const codes = row;
#pragma omp simd
    for (int i = 0; i < n; i++) values[i] = dsv4_bf16_to_f32(codes[i]);
}

static inline void kv_store_bf16(void *row, const float *values, int n) {
    uint16_t *const codes = row;
#pragma omp simd
    for (int i = 0; i < n; i++) codes[i] = dsv4_bf16_from_f32(values[i]);
}

/* Reads store, fp8, layout, scale_floor, block_size and fp8_scale; parameters that an op lacks keep defaults. */
void kv_store_open(struct kv_store *store, const dsv4_call *call, const dsv4_tensor *cache,
                   enum kv_wrong wrong);

static inline int64_t kv_store_head(enum kv_store_form form) {
    return form == KV_INDEXER_FP8 || form == KV_INDEXER_MXFP4 ? INDEXER_HEAD : KV_HEAD;
}

/* Quantises and stores one row of head fp32 values (RoPE applied) at `slot`, which is not negative. */
void kv_store_row(const struct kv_store *store, const float *values, int64_t slot);

/* Rotates the last 64 of `head` values in place by one row of the table: each product rounded, then one add. */
void kv_rope(float *values, int64_t head, const float *table_row, enum kv_wrong wrong);

/* values[i] = (values[i] * rsqrt(mean of squares + eps)) * weight[i]; weight NULL: no multiplication. */
void kv_norm(float *values, int64_t head, float eps, const float *weight, enum kv_wrong wrong);

/* Where a compressor's history lies. */
struct kv_state {
    const dsv4_tensor *state, *block_table, *ape; /* ape: bf16 state only */
    int64_t ratio, head, block_size;
    enum kv_wrong wrong;
};

void kv_state_open(struct kv_state *state, const dsv4_call *call, int64_t head,
                   enum kv_wrong wrong);

/* Softmax-pools the window that ends at `position` (a boundary) into head fp32 values. */
void kv_pool(const struct kv_state *state, float *values, int64_t request, int64_t position);

/* Whether row t of a step writes a compressed entry: slot >= 0 and a boundary. */
bool kv_boundary(int64_t slot, int64_t position, int64_t ratio, enum kv_wrong wrong);

/* ---- shapes and fills of a step ---- */

/* Parameters of every op that runs in a step. */
#define KV_STEP_PARAMS(batch)                                                                      \
    DSV4_BATCH_PARAMS(batch), DSV4_ADDRESS_PARAM,                                                  \
        DSV4_PARAM_INT("short_slots", INPUT, 0, 0, 1 << 20,                                        \
                       "rows at the end that slot_mapping does not cover"),                        \
        KV_VIEW_PARAM

#define KV_COMPRESSOR_FILL_PARAMS                                                                  \
    DSV4_PARAM_NAME("values", INPUT, "coarse", "normal coarse zero", "kv half of the state"),      \
        DSV4_PARAM_NAME("overlay", INPUT, "none", "none cancel rope_cancels",                      \
                        "cancel: kv sums to noise that shows the order of the sum; rope_cancels: " \
                        "pooled pairs that RoPE turns onto an axis"),                              \
        DSV4_PARAM_NAME(                                                                           \
            "ape", INPUT, "small", "small large fine zero",                                        \
            "large: up to +-128, so that it alone decides the softmax; fine: all 24 bits"),        \
        DSV4_PARAM_NAME("scores", INPUT, "coarse", DSV4_SCORE_WORDS, "score half of the state")

#define KV_WEIGHT_PARAMS                                                                           \
    DSV4_PARAM_NAME("weights", INPUT, "normal", DSV4_WEIGHT_WORDS, "RMSNorm weights"),             \
        DSV4_PARAM_NAME("weight_dtype", INPUT, "bf16", "bf16 f32", "dtype of the weights"),        \
        DSV4_PARAM_INT("weight_group", INPUT, 64, 32, 128,                                         \
                       "channels under one edge of `weights: edges`")

#define KV_COMPRESSED_SLOT_PARAMS                                                                  \
    DSV4_PARAM_INT("stale_slots", INPUT, 0, 0, 1,                                                  \
                   "1: kv slots of tokens off a boundary look valid, as in a stale buffer"),       \
        DSV4_PARAM_INT("dropped_slots", INPUT, 0, 0, 1,                                            \
                       "1: every third compressed row has kv slot -1")

/* What shape() works out about a step and fill() writes; the plan of a case. */
struct kv_step {
    struct dsv4_batch batch;
    struct dsv4_paging state, cache;
    int64_t n_slots; /* rows that slot_mapping covers */
};

/* Lays out the batch. The case's plan is the step. */
struct kv_step *kv_step_make(struct dsv4_case *c, struct dsv4_err *err);
static inline struct kv_step *kv_step_of(const struct dsv4_case *c) { return c->plan; }

/* Pages of the compressor's state, [blocks, state_block_size, 2 * width]. */
void kv_shape_state(struct dsv4_case *c, size_t slot, int64_t width);

/* Pages of the KV cache for a form, with one row per `ratio` tokens. Only the last `window` rows before the step's own
 * have pages (0: all): what an op does not touch need not exist. */
void kv_shape_cache(struct dsv4_case *c, size_t slot, enum kv_store_form form, int64_t ratio,
                    int64_t window);
enum kv_store_form kv_form(const struct dsv4_case *c);

/* i32 [requests, width] with the step's garbage columns; the row stride is free in wide views. */
void kv_shape_table(struct dsv4_case *c, size_t slot, const struct dsv4_paging *paging);

void kv_shape_weight(struct dsv4_case *c, size_t slot, int64_t head);
void kv_shape_ape(struct dsv4_case *c, size_t slot, int64_t ratio, int64_t width);

/* positions, token_to_req and slot_mapping: dense vectors of the step's rows. */
void kv_shape_rows(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t n);

/* The RoPE table for compressed rows (ratio > 1: active boundaries) or for all rows of the step. */
int kv_shape_rope(struct dsv4_case *c, size_t slot, uint32_t dtype, int64_t ratio,
                  struct dsv4_err *err);

/* Bytes of a row of the table. */
static inline double kv_angle_bytes(const struct dsv4_case *c, size_t slot) {
    return (double)(KV_ROPE_TABLE_ROW * dsv4_dtype_bytes(c->tensors[slot].t.dtype));
}

/* What KV_TABLE_PARAM says. */
uint32_t kv_table_dtype(const struct dsv4_case *c);

/* Whether the op reads the table's row for a position; other rows have no contents. */
bool kv_rope_is_live(const struct dsv4_case *c, size_t slot, int64_t position);

/* Adds a gap to the row stride in wide views. */
void kv_widen(struct dsv4_case *c, size_t slot, int dim, int64_t bytes);

void kv_fill_state(const struct dsv4_case *c, size_t slot, int64_t width);
void kv_fill_weight(const struct dsv4_case *c, size_t slot);
void kv_fill_ape(const struct dsv4_case *c, size_t slot);
void kv_fill_positions(const struct dsv4_case *c, size_t slot);
void kv_fill_requests(const struct dsv4_case *c, size_t slot);

/* The slot of every row in a cache of one row per token. */
void kv_fill_slots(const struct dsv4_case *c, size_t slot, const struct dsv4_paging *paging);

/* The slot of every boundary row in a cache of one row per `ratio` tokens; -1, or stale ones, elsewhere. */
void kv_fill_compressed_slots(const struct dsv4_case *c, size_t slot, int64_t ratio);

/* Weight as fp32, whatever its dtype. */
void kv_load_weight(float *weight, const dsv4_tensor *tensor);

/* Element i of a dense vector. */
static inline int64_t kv_i64(const dsv4_tensor *t, int64_t i) {
    return ((const int64_t *)t->data)[i];
}
static inline int32_t kv_i32(const dsv4_tensor *t, int64_t i) {
    return ((const int32_t *)t->data)[i];
}

/* A position's row of a RoPE table in either dtype: where it lies, or widened into `wide`, which is exact. */
const float *kv_rope_angle(const dsv4_tensor *table, int64_t position, float *wide);

/* Wrong on purpose: of a bf16 table, the same bytes as fp32. */
const float *kv_rope_angle_as_f32(const dsv4_tensor *table, int64_t position, float *wide);

/* The row of an fp32 table. */
static inline const float *kv_rope_row(const dsv4_tensor *table, int64_t position) {
    return (const float *)(const void *)((const char *)table->data + position * table->stride[0]);
}

/* Rows that slot_mapping and its companions all cover. */
static inline int64_t kv_covered(const dsv4_tensor *slots, int64_t rows) {
    return slots->shape[0] < rows ? slots->shape[0] : rows;
}

/* The step's row that writes `cache_row` (block * block_size + j), looked up in a bound slot vector; -1: none. */
int64_t kv_writer_of(const dsv4_tensor *slots, int64_t cache_row);

/* Rows of a bound slot vector that are not -1. */
int64_t kv_active(const struct dsv4_case *c, size_t slot);

/* "row 17 (position 203): " and the numbers behind the group of 64 (or 32, 128) at `offset` of the cache: "amax
 * 3.515625 (0x4061) at channel 331; amax/448 = 0.0078474". `values` is the row before it is rounded to bf16. */
void kv_trace_group(const struct dsv4_case *c, size_t slot, int64_t offset, const float *values,
                    char *line, size_t size);

/* "row 17 (request 2, position 203)": who writes this cache row. */
int kv_trace_row(const struct dsv4_case *c, size_t slots, int64_t cache_row, char *line,
                 size_t size);

/* Cache row at a storage offset of a cache of this case. */
int64_t kv_cache_row_at(const struct dsv4_case *c, size_t slot, int64_t offset);

/* Bytes that one stored row takes. */
int64_t kv_stored_bytes(enum kv_store_form form);

#endif
