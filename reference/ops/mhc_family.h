/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hyper-connection ops share: four residual streams, R[t, j, h], mixed by weights that depend on the token.
 *
 * Rows of fn, base and mixes: 0..3 pre, 4..7 post, 8..23 comb; comb[j, k] is row 8 + 4j + k, j the source stream and k
 * the destination. Rows of tensors from `tokens` on are padding: never read, never written.
 */
#ifndef DSV4_MHC_FAMILY_H
#define DSV4_MHC_FAMILY_H

#include "../input/input.h"
#include "../num/bf16.h"

enum { MHC_STREAMS = 4, MHC_MIXES = 24, MHC_BLOCK = 128, MHC_SPLITS = 32, MHC_HIDDEN = 8192 };
enum { MHC_LANES = 16 }; /* tokens side by side */

enum mhc_wrong {
    MHC_RIGHT,
    MHC_PADDING_WRITTEN,
    MHC_ROWS_DENSE,
    MHC_STREAMS_ROTATED,
    MHC_STREAM_LOST,
    MHC_STREAM_DENSE,
    /* the dots */
    MHC_FN_MIXED,
    MHC_FN_NEAREST_EVEN,
    MHC_FN_LOW_LOST,
    MHC_FN_PERMUTED,
    MHC_BLOCKS_OF_256,
    MHC_BLOCKS_REVERSED,
    MHC_BLOCKS_CARRIED,
    MHC_SPLITS_INTERLEAVED,
    MHC_SQUARES_IN_ORDER,
    MHC_SQUARES_OF_ALL,
    MHC_ROW_CARRIED,
    MHC_SCALE_FIRST,
    /* pre, post and comb */
    MHC_SPLITS_REVERSED,
    MHC_SPLIT_ALONE,
    MHC_RMS_EPS_LOST,
    MHC_EPS_SWAPPED,
    MHC_MEAN_OF_HIDDEN,
    MHC_POST_FIRST,
    MHC_COMB_FIRST,
    MHC_SCALE_SHARED,
    MHC_BASE_FUSED,
    MHC_COMB_BASE_LOST,
    MHC_PRE_EPS_LOST,
    MHC_POST_EPS,
    MHC_POST_FACTOR_LOST,
    MHC_COMB_TRANSPOSED,
    MHC_SOFTMAX_OVER_COLUMNS,
    MHC_SOFTMAX_MAX_LOST,
    MHC_SOFTMAX_EPS_LOST,
    MHC_SOFTMAX_EPS_BELOW,
    MHC_SINKHORN_EPS_LOST,
    MHC_ITERATION_SHORT,
    MHC_ENDS_ON_ROWS,
    MHC_RECIPROCAL,
    MHC_SUMS_IN_PAIRS,
    /* applying them */
    MHC_SUM_MIXED,
    MHC_DESCENDING,
    MHC_WEIGHTS_BF16,
    MHC_POST_LAST,
    MHC_POST_LOST,
    MHC_STEPS_BF16,
    MHC_RESIDUAL_MIXED,
    MHC_COLLAPSE_UNROUNDED,
    MHC_NORM_MIXED,
    MHC_NORM_EPS_LOST,
    MHC_WEIGHT_LOST,
    MHC_WEIGHT_FIRST,
    MHC_NORM_IN_ORDER,
    MHC_NORM_UNROUNDED_VALUE,
    /* the head */
    MHC_HEAD_SINKHORN,
    MHC_ROUNDING_MIXED,
};

#define MHC_MUTANTS_OF_ROWS                                                                        \
    {"padding-written", "rows from `tokens` on written; they are padding", MHC_PADDING_WRITTEN}, { \
        "rows-dense", "rows taken as contiguous; they have a stride", MHC_ROWS_DENSE               \
    }
#define MHC_MUTANTS_OF_STREAMS                                                                     \
    {"streams-rotated", "stream j + 1 taken for stream j", MHC_STREAMS_ROTATED},                   \
        {"stream-lost", "the last stream taken as 0", MHC_STREAM_LOST}, {                          \
        "streams-dense", "streams taken as hidden apart; they have a stride", MHC_STREAM_DENSE     \
    }
#define MHC_MUTANTS_OF_DOTS                                                                        \
    {"fn-mixed", "fn rounded as another dialect does", MHC_FN_MIXED},                              \
        {"fn-permuted", "rows of fn as post, pre, comb; they are pre, post, comb",                 \
         MHC_FN_PERMUTED},                                                                         \
        {"blocks-of-256", "blocks of 256 along k; they are of 128", MHC_BLOCKS_OF_256},            \
        {"blocks-reversed", "block sums added from the last to the first", MHC_BLOCKS_REVERSED},   \
        {"blocks-carried", "one chain over all of k; each block of 128 starts from 0",             \
         MHC_BLOCKS_CARRIED},                                                                      \
        {"splits-interleaved", "k dealt to the splits by turns; each has one range of k",          \
         MHC_SPLITS_INTERLEAVED},                                                                  \
        {"squares-in-order", "squares summed in one chain; they are a tree over 64 partials",      \
         MHC_SQUARES_IN_ORDER},                                                                    \
    {                                                                                              \
        "row-carried", "sums start from the row before; each row starts from 0", MHC_ROW_CARRIED   \
    }
#define MHC_MUTANTS_OF_SPLITS                                                                      \
    {"splits-reversed", "splits added from the last to the first", MHC_SPLITS_REVERSED}, {         \
        "split-alone", "only the first split read", MHC_SPLIT_ALONE                                \
    }
#define MHC_MUTANTS_OF_RMS                                                                         \
    {"rms-eps-lost", "rms_eps not added to the mean square", MHC_RMS_EPS_LOST},                    \
        {"eps-swapped", "rms_eps and hc_eps taken for each other", MHC_EPS_SWAPPED}, {             \
        "base-fused", "scale and base in one fma; the product is rounded", MHC_BASE_FUSED          \
    }
#define MHC_MUTANTS_OF_MIXES                                                                       \
    MHC_MUTANTS_OF_RMS,                                                                            \
        {"mean-of-hidden", "mean over hidden elements; there are as many as a row of fn has",      \
         MHC_MEAN_OF_HIDDEN},                                                                      \
        {"post-first", "rows as post, pre, comb; they are pre, post, comb", MHC_POST_FIRST},       \
        {"comb-first", "rows as comb, pre, post; they are pre, post, comb", MHC_COMB_FIRST},       \
        {"scale-shared", "scale[0] for pre, post and comb", MHC_SCALE_SHARED},                     \
        {"comb-base-lost", "base not added to comb", MHC_COMB_BASE_LOST},                          \
        {"pre-eps-lost", "hc_eps not added to pre", MHC_PRE_EPS_LOST},                             \
        {"post-eps", "hc_eps added to post; only pre has it", MHC_POST_EPS},                       \
        {"post-factor-lost", "post without its factor", MHC_POST_FACTOR_LOST},                     \
        {"comb-transposed", "comb[k, j] taken for comb[j, k]", MHC_COMB_TRANSPOSED},               \
        {"softmax-over-columns", "softmax over j; it is over k", MHC_SOFTMAX_OVER_COLUMNS},        \
        {"softmax-max-lost", "exp without the row's maximum subtracted", MHC_SOFTMAX_MAX_LOST},    \
        {"softmax-eps-lost", "hc_eps not added to the softmax", MHC_SOFTMAX_EPS_LOST},             \
        {"softmax-eps-below", "hc_eps in the softmax's denominator; it is added to the quotient",  \
         MHC_SOFTMAX_EPS_BELOW},                                                                   \
        {"sinkhorn-eps-lost", "hc_eps missing in the denominators", MHC_SINKHORN_EPS_LOST},        \
        {"iteration-short", "one iteration less", MHC_ITERATION_SHORT},                            \
        {"ends-on-rows", "columns, then rows; an iteration ends on columns", MHC_ENDS_ON_ROWS},    \
        {"reciprocal", "multiplied by a reciprocal; sums divide", MHC_RECIPROCAL}, {               \
        "sums-in-pairs", "sums of four as (a + b) + (c + d); they ascend", MHC_SUMS_IN_PAIRS       \
    }
#define MHC_MUTANTS_OF_COLLAPSE                                                                    \
    {"descending", "streams summed from the last to the first", MHC_DESCENDING}, {                 \
        "weights-bf16", "pre rounded to bf16; it is fp32", MHC_WEIGHTS_BF16                        \
    }
#define MHC_MUTANTS_OF_NORM                                                                        \
    {"norm-mixed", "squares of the other values: rounded ones or unrounded ones", MHC_NORM_MIXED}, \
        {"norm-eps-lost", "norm_eps not added", MHC_NORM_EPS_LOST},                                \
        {"weight-lost", "the norm's weight not applied", MHC_WEIGHT_LOST},                         \
        {"weight-first", "weight and factor multiplied first; the row is scaled, then weighed",    \
         MHC_WEIGHT_FIRST},                                                                        \
        {"norm-in-order", "the norm's squares in one chain", MHC_NORM_IN_ORDER}, {                 \
        "norm-unrounded-value", "the norm applied to unrounded values; they are bf16 first",       \
            MHC_NORM_UNROUNDED_VALUE                                                               \
    }
#define MHC_MUTANTS_OF_POST                                                                        \
    {"comb-swapped", "out[k] sums comb[k, j]; it sums comb[j, k] over j", MHC_COMB_TRANSPOSED},    \
        {"post-last", "post * x added last; it is what the sum starts from", MHC_POST_LAST},       \
        {"post-lost", "x not weighed with post", MHC_POST_LOST}, {                                 \
        "steps-bf16", "the sum rounded to bf16 at each step; it is fp32", MHC_STEPS_BF16           \
    }

/* ---- parameters ---- */

#define MHC_ROW_PARAMS(tokens, hidden)                                                             \
    DSV4_PARAM_INT("tokens", CALL, tokens, 0, 1 << 20, "rows that are computed"),                  \
        DSV4_PARAM_INT("spare", INPUT, 0, 0, 1 << 20, "rows after them that tensors have"),        \
        DSV4_PARAM_INT("hidden", CALL, hidden, 8, MHC_HIDDEN, "channels, a multiple of 8"),        \
        DSV4_PARAM_NAME("values", INPUT, "normal", "normal coarse rows tiny zero cancel",          \
                        "about N(0, 1); multiples of 1/16; rows of very different size; about "    \
                        "2^-12; zeros of both signs; equally weighed streams that cancel"),        \
        DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide",                                      \
                        "wide: rows and streams lie apart, as slices of larger buffers do")
#define MHC_EPS_PARAMS                                                                             \
    DSV4_PARAM_FLOAT("rms_eps", CALL, 1e-6, 0, 1, "added to the mean square"),                     \
        DSV4_PARAM_FLOAT("hc_eps", CALL, 1e-6, 0, 1, "added to pre and in the sinkhorn")
#define MHC_BASE_PARAM                                                                             \
    DSV4_PARAM_NAME("base", INPUT, "normal", "normal sharp large",                                 \
                    "sharp: comb's logits far apart, so that nothing converges; large: "           \
                    "about 100, where exp overflows")
#define MHC_MIX_PARAMS                                                                             \
    MHC_EPS_PARAMS, DSV4_PARAM_INT("iterations", CALL, 20, 1, 1000, "of the sinkhorn"),            \
        DSV4_PARAM_FLOAT("post_factor", CALL, 2, 0, 16, "post's factor"), MHC_BASE_PARAM
#define MHC_FN_PARAMS                                                                              \
    DSV4_PARAM_NAME("fn", DIALECT, "f32", "f32 tf32_truncate tf32_half_up bf16_hi_lo",             \
                    "fn as it is; its low 13 bits cut off; rounded half up to TF32; as the sum "   \
                    "of two bf16"),                                                                \
        DSV4_PARAM_NAME(                                                                           \
            "fn_values", INPUT, "few", "few normal",                                               \
            "8 different values, ties of TF32 among them, again after 37, for the sake of the "    \
            "vectors' size; about N(0, 1)")
#define MHC_SPLITS_PARAM(use, initial)                                                             \
    DSV4_PARAM_INT("splits", use, initial, 1, MHC_SPLITS, "equal parts of k")
#define MHC_NORM_PARAMS                                                                            \
    DSV4_PARAM_NAME(                                                                               \
        "norm", DIALECT, "none", "none unrounded rounded",                                         \
        "RMSNorm of the collapse: none; squares of the fp32 values; of the bf16 ones"),            \
        DSV4_PARAM_FLOAT("norm_eps", CALL, 1e-6, 0, 1, "added to the norm's mean square")

/* ---- cases (mhc_case.c) ---- */

enum { MHC_STREAM_X = 1, MHC_STREAM_R, MHC_STREAM_FN, MHC_STREAM_SMALL, MHC_STREAM_WEIGHT };

enum mhc_wrong mhc_wrong_of(const struct dsv4_op *op, int mutant);
int mhc_check(const struct dsv4_case *c, int64_t width, struct dsv4_err *err);

void mhc_shape_rows(struct dsv4_case *c, size_t slot);    /* [rows, hidden] bf16 */
void mhc_shape_streams(struct dsv4_case *c, size_t slot); /* [rows, 4, hidden] bf16 */
void mhc_shape_raw(struct dsv4_case *c, size_t mixes, size_t squares);
void mhc_shape_pre(struct dsv4_case *c, size_t pre);
void mhc_shape_mixes(struct dsv4_case *c, size_t post, size_t comb);
void mhc_shape_weights(struct dsv4_case *c, size_t scale, size_t base, int64_t outputs);
void mhc_shape_fn(struct dsv4_case *c, size_t fn, int64_t outputs, int64_t width);
void mhc_shape_norm(struct dsv4_case *c, size_t weight);

/* bf16 rows of any rank; padding is NaN. */
void mhc_fill_bf16(const struct dsv4_case *c, size_t slot, uint64_t stream);
void mhc_fill_fn(const struct dsv4_case *c, size_t slot);
void mhc_fill_weights(const struct dsv4_case *c, size_t scale, size_t base);
void mhc_fill_norm(const struct dsv4_case *c, size_t weight);
void mhc_fill_mixes(const struct dsv4_case *c, size_t pre, size_t post, size_t comb);
void mhc_fill_raw(const struct dsv4_case *c, size_t mixes, size_t squares);
enum { MHC_NO_SLOT = 1000 };

/* Rows to compute: `tokens`, or all that there are. */
int64_t mhc_tokens(const dsv4_call *call, const dsv4_tensor *rows, enum mhc_wrong wrong);
void mhc_trace(const struct dsv4_case *c, size_t slot, int64_t offset, char *line, size_t size);
double mhc_row_bytes(const struct dsv4_case *c); /* of one stream of all tokens */

/* Row t, or stream j of it. */
char *mhc_at(const dsv4_tensor *tensor, int64_t t, int64_t j, enum mhc_wrong wrong);

/* ---- dots (mhc_dots.c) ---- */

/*
 * mixes[s, t, o] = sum over part s of x[t, k] * fn[o, k]; squares[s, t] = sum over it of x[t, k]^2.
 * Part s is k from s * width / splits on. In a part: blocks of 128, the last may be shorter; in a block one accumulator
 * from 0, fma, ascending; block sums added ascending from the first block's. Squares as dsv4_row_squares.
 */
struct mhc_dots {
    int64_t tokens, width, outputs, splits;
    const float *fn;
    int64_t fn_stride; /* bytes */
    int fn_kind;       /* index among the dialect's words */
    void (*row)(const void *source, int64_t token, float *x);
    const void *source;
    char *mixes, *squares;
    int64_t mixes_split, mixes_token, squares_split, squares_token; /* bytes */
    bool normed_bf16;   /* x = bf16(x * rsqrt(mean square + eps)) for the dots */
    float eps, mean_of; /* mean_of: elements of the mean square */
    enum mhc_wrong wrong;
};

/* All but the source, with memory for mixes and squares: [splits][tokens][outputs, then the square]. */
float *mhc_dots_open(struct mhc_dots *dots, const dsv4_call *call, const dsv4_tensor *fn,
                     int64_t tokens, int64_t splits, enum mhc_wrong wrong);
void mhc_dots_close(float *raw);
int mhc_fn_kind(const dsv4_call *call);
float mhc_fn_value(float x, int kind); /* what the dots see of an element of fn */
void mhc_dots(const struct mhc_dots *dots);

/* Adds a block of n k to total [8 outputs][16 tokens], chains of fma of x [k][16] and fn [k][padded]; the `first` one
 * takes its place. */
void mhc_add_block(float *restrict total, const float *restrict x, const float *restrict fn,
                   int64_t padded, int64_t n, bool first);

/* ---- pre, post and comb of tokens (mhc_mix.c) ---- */

struct mhc_mix {
    int64_t splits, iterations;
    float width; /* elements of the mean square */
    float rms_eps, hc_eps, post_factor;
    const float *scale, *base;
    enum mhc_wrong wrong;
};

struct mhc_mix mhc_mix_of(const dsv4_call *call, const dsv4_tensor *scale, const dsv4_tensor *base,
                          int64_t splits, int64_t width, enum mhc_wrong wrong);

/* Where a call of mhc_mix reads and writes; of its first token. */
struct mhc_mix_rows {
    const char *mixes, *squares;
    int64_t mixes_token, squares_token; /* bytes */
    int64_t mixes_split, squares_split; /* floats */
    char *pre, *post, *comb;
    int64_t pre_token, post_token, comb_token; /* bytes */
};

/* Of tokens from `first` on: pre behind each other in `pre`, post and comb in the tensors' rows. */
struct mhc_mix_rows mhc_rows_of_raw(const dsv4_tensor *mixes, const dsv4_tensor *squares,
                                    int64_t first, float *pre, const dsv4_tensor *post,
                                    const dsv4_tensor *comb);
struct mhc_mix_rows mhc_rows_of_dots(const struct mhc_dots *dots, int64_t first, float *pre,
                                     const dsv4_tensor *post, const dsv4_tensor *comb);

/* n <= MHC_LANES tokens. */
void mhc_mix(const struct mhc_mix *mix, const struct mhc_mix_rows *rows, int64_t n);

/* rsqrt of the mean square; 1 / (1 + exp(-x)). */
float mhc_rms(const struct mhc_mix *mix, const float *squares, int64_t squares_split);
float mhc_sigmoid(float x);

/* ---- rows (mhc_apply.c) ---- */

/* o[h] = chain of fma(pre[j], R[j, h], o) from +0, j ascending; with `products` each product is rounded. */
void mhc_collapse(float *o, const dsv4_tensor *residual, int64_t t, const float *pre, bool products,
                  enum mhc_wrong wrong);

/* out[k, h] = fl(post[k] * x[h]), then fma(comb[j, k], R[j, h], out) for j ascending; fp32, [4][hidden]. */
void mhc_post(float *out, const uint16_t *x, const dsv4_tensor *residual, int64_t t,
              const float *post, const float *comb, enum mhc_wrong wrong);

enum mhc_norm { MHC_NORM_NONE, MHC_NORM_UNROUNDED, MHC_NORM_ROUNDED };
enum mhc_norm mhc_norm_of(const dsv4_call *call, enum mhc_wrong wrong);

/* q = bf16(o). none: q. Else bf16(fl(fl(q * r) * w)), r = rsqrt(fl(sum / n) + eps), the sum of o^2 or of q^2. */
void mhc_finish(uint16_t *to, const float *o, int64_t n, enum mhc_norm norm, const uint16_t *weight,
                float eps, enum mhc_wrong wrong);

/* Rounds n values, and reads them. */
void mhc_round(uint16_t *to, const float *x, int64_t n);
void mhc_load(float *to, const uint16_t *x, int64_t n);

/* The streams of a row behind each other: [4 * hidden]. */
void mhc_load_streams(float *x, const dsv4_tensor *residual, int64_t t, enum mhc_wrong wrong);

#endif
