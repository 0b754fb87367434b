/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the attention ops share: lists of cache rows, the arithmetic of one token, parameters, inputs and wrong readings.
 *
 * The canon of one token. Its list: the entries of the main cache, then those of the extra one, each in the order given,
 * duplicates counted as often as they occur. An entry that names no row (below 0, or past the last row) is dropped: it
 * keeps its position and contributes nothing. A length below 0 counts as 0, one beyond the columns as all of them; a ragged
 * list that ends before it begins is empty. Blocks are 128 list positions of one cache; the extra cache starts a new
 * block.
 *   s = (q . k) * scale     per block of 128 channels one fma chain from +0, channels ascending; from +0, block sums
 *                           added ascending; then the product
 *   m = max s               over the entries that are not dropped
 *   p = exp(s - m)          the difference rounded, exp correctly rounded
 *   l = sum p               per block of the list ascending from +0; from +0, block sums added ascending
 *   acc = sum bf16(p) * k   per channel one fma chain from +0 in each block of the list; from +0, block sums added
 * Sums start from +0, so that a kernel may add zeros for dropped entries or the rest of a tile.
 */
#ifndef DSV4_ATTN_FAMILY_H
#define DSV4_ATTN_FAMILY_H

#include "../input/values.h"
#include "../layout/kv_page.h"
#include "../num/bf16.h"
#include "../num/fp8.h"

enum {
    ATTN_BLOCK = 128, /* channels, or list positions, that one chain of fma takes */
    ATTN_STRIDE =
        528,       /* floats between rows in scratch: not a power of two, for the caches' sake */
    ATTN_TILE = 64 /* channels or heads that are computed at once */
};

/* How an op can go wrong; mutants carry these as their ids. */
enum attn_wrong {
    ATTN_RIGHT,
    ATTN_SCALE_IN_Q,
    ATTN_EXP_BASE_2,
    ATTN_P_UNROUNDED,
    ATTN_L_FROM_ROUNDED,
    ATTN_DOT_ONE_CHAIN,
    ATTN_SUM_ONE_CHAIN,
    ATTN_PV_ONE_CHAIN,
    ATTN_EXTRA_FIRST,
    ATTN_EXTRA_MISSING,
    ATTN_FP8_SHARED,
    ATTN_LAYOUT_SHARED,
    ATTN_BLOCK_SIZE_SHARED,
    ATTN_LAYOUT_MIXED,
    ATTN_LEN_IGNORED,
    ATTN_LEN_SHARED,
    ATTN_TAIL_DROPPED,
    ATTN_MINUS_ONE_ATTENDED,
    ATTN_MINUS_ONE_ENDS,
    ATTN_MINUS_ONE_WRAPS,
    ATTN_RANGE_CLAMPED,
    ATTN_DUPLICATES_DROPPED,
    ATTN_ADDRESS_WRAPS,
    ATTN_PAGE_DENSE,
    ATTN_INDEX_ROW_DENSE,
    ATTN_INDPTR_UNIFORM,
    ATTN_Q_DENSE,
    ATTN_ROPE_SCALED,
    ATTN_ROPE_MISSING,
    ATTN_SCALE_AS_NUMBER,
    ATTN_NAN_KEPT,
    ATTN_SCRUB_BY_OCP_CODE,
    ATTN_ROW_FP16,
    ATTN_SCALES_WRAP,
    ATTN_PAGE_STRIDE_SHARED,
    ATTN_MAX_FROM_ZERO,
    ATTN_SINK_IGNORED,
    ATTN_SINK_AS_KEY,
    ATTN_SINK_BASE_2,
    ATTN_SINK_INF_NAN,
    ATTN_SINK_MINUS_INF,
    ATTN_SINK_ROTATED,
    ATTN_LSE_WITH_SINK,
    ATTN_LSE_BASE_2,
    ATTN_EMPTY_NAN,
    ATTN_EMPTY_LSE,
    ATTN_EMPTY_UNWRITTEN,
    ATTN_EMPTY_SPLIT_NAN,
    ATTN_EMPTY_ACC_OTHER,
    ATTN_PADDED_HEADS_WRITTEN,
    ATTN_MAX_LOGIT_FROM_ZERO,
    ATTN_SPLIT_EXTRA_WHOLE,
    ATTN_SPLIT_EVEN,
    ATTN_SPLIT_NORMALISED,
    ATTN_SPLIT_WITH_TOKEN_MAX,
    ATTN_SPLITS_REVERSED,
    ATTN_COUNT_IGNORED,
    ATTN_EMPTY_WEIGHED,
    ATTN_LSE_BASE_MIXED,
    ATTN_EPILOGUE_ROUNDED,
    ATTN_EPILOGUE_FORWARD,
    ATTN_EPILOGUE_BY_ROW,
    ATTN_EPILOGUE_FLOOR,
    ATTN_SINGLE_WRITTEN,
    ATTN_OVERHEAD_LOST,
    ATTN_EXTRA_UNALIGNED,
    ATTN_ZERO_LEN_NO_BLOCK,
    ATTN_FLAGS_APART,
    ATTN_END_EXCLUSIVE,
    ATTN_PAYLOAD_FLOOR,
    ATTN_LEN_UNSIGNED,
    ATTN_LEN_UNCLAMPED,
    ATTN_TOKEN_WRAPS,
    ATTN_OUT_WRAPS,
    ATTN_LSE_WRAPS,
    ATTN_INDEX_WRAPS,
};

/* Bytes before a token, as kernels with 32-bit offsets have them where `wraps`. */
static inline int64_t attn_token_offset(const dsv4_tensor *t, int64_t token, bool wraps) {
    const int64_t offset = token * t->stride[0];
    return wraps ? offset & INT64_C(0x7FFFFFFF) : offset;
}

static inline enum attn_wrong attn_wrong_of(const struct dsv4_op *op, int mutant) {
    return mutant > 0 ? (enum attn_wrong)op->mutants[mutant - 1].id : ATTN_RIGHT;
}

/* ---- rows of a cache, by token ---- */

/* Where a token's rows come from: a cache and the lists that choose from it. */
struct attn_source {
    const dsv4_tensor *rows;                    /* pages of 584-byte rows, or bf16 rows */
    const dsv4_tensor *indices, *lens, *indptr; /* indptr: flat lists; lens may be absent */
    bool paged, interleaved, scrub;
    enum dsv4_fp8 fp8;
    int64_t block_size, n_rows, page_stride;
    enum attn_wrong wrong;
};

struct attn_list {
    const int32_t *entries;
    int64_t n;
};

static inline bool attn_absent(const dsv4_tensor *t) { return t == NULL || t->ndim == 0; }

static inline bool attn_has(const struct attn_source *source) { return !attn_absent(source->rows); }

/* Finds the tensors <prefix>cache (or `rows`), <prefix>indices, <prefix>lens and <prefix>indptr and the parameters of a
 * call; a source without rows is one that the call has not. */
void attn_source_open(struct attn_source *source, const dsv4_call *call, const char *prefix,
                      const char *rows, enum attn_wrong wrong);

struct attn_list attn_list_of(const struct attn_source *source, int64_t token);

/* The row that an entry names; -1: none. */
int64_t attn_row_of(const struct attn_source *source, int32_t entry);

/* ---- one token ---- */

struct attn_span {
    int64_t first, n;
};

/* Scratch for one token, grown as lists ask. Heads lie together: s[key * heads + head]. */
struct attn_token {
    int64_t heads, n, capacity;
    float *q; /* [512][width] per group of 64, 16 or fewer heads */
    float *k; /* [keys][ATTN_STRIDE] */
    float *s; /* [keys][heads]: scores, then weights */
    float *p; /* weights in bf16, per block [heads / 4][keys][4], then [heads % 4][keys] */
    unsigned char *valid; /* [keys] */
    float *m, *l, *sum;   /* [heads] */
    float *acc;           /* [heads][512] */
    struct attn_span *blocks;
    int64_t n_blocks;
    enum attn_wrong wrong;
};

void attn_token_start(struct attn_token *token, int64_t heads, enum attn_wrong wrong);
void attn_token_free(struct attn_token *token);

/* Takes the query rows of one token. */
void attn_token_query(struct attn_token *token, const dsv4_tensor *q, int64_t t, float scale);

/* Forgets the keys; then appends those of a list. */
void attn_token_clear(struct attn_token *token);
void attn_token_append(struct attn_token *token, const struct attn_source *source,
                       struct attn_list list);

/* Scores, m, weights, l and acc of all keys. A token without a key has m = -inf, l = 0 and acc = 0. */
void attn_token_attend(struct attn_token *token, float scale, const float *sink);

/* Divides and stores one token's heads: step 6 to 8 of the canon. Tensors may be absent. */
struct attn_outputs {
    const dsv4_tensor *o, *lse, *max_logits;
    bool log2_sink; /* lse is of base 2 and has the sink in it */
};
void attn_token_store(const struct attn_token *token, const struct attn_outputs *outputs,
                      const float *sink, int64_t t);

/* o[h] = bf16((acc * a) / (l * a + exp(sink - M))) with M = max(m, sink), a = exp(m - M). */
void attn_finish(uint16_t *o, const float *acc, float m, float l, float sink,
                 enum attn_wrong wrong);

/* ---- parameters ---- */

#define ATTN_FP8_PARAM(prefix)                                                                     \
    DSV4_PARAM_NAME(prefix "fp8", DIALECT, "ocp", "ocp fnuz224 fnuz240",                           \
                    "codes of this cache: e4m3fn, or e4m3fnuz (written to 224 or to 240)")
#define ATTN_LAYOUT_PARAM(prefix)                                                                  \
    DSV4_PARAM_NAME(prefix "layout", DIALECT, "planar", "planar interleaved",                      \
                    "584-byte pages: all data rows then all scale rows, or token by token")
#define ATTN_BLOCK_SIZE_PARAM(prefix, initial)                                                     \
    DSV4_PARAM_INT(prefix "block_size", CALL, initial, 1, 4096, "rows of a page of this cache")

#define ATTN_CALL_PARAMS                                                                           \
    DSV4_PARAM_INT("heads", CALL, 16, 1, 512, "heads that are computed"),                          \
        DSV4_PARAM_FLOAT("scale", CALL, 0.044194173, 0, 16, "what scores are multiplied by")
#define ATTN_SCRUB_PARAM                                                                           \
    DSV4_PARAM_INT("scrub", DIALECT, 0, 0, 1, "1: a NaN in an attended row counts as 0")

#define ATTN_GAP_PARAM                                                                             \
    DSV4_PARAM_INT("token_gap", INPUT, 0, 0, 4294967296.0,                                         \
                   "elements between the tokens of what is read and written for each")
#define ATTN_QUERY_PARAMS                                                                          \
    DSV4_PARAM_INT("tokens", INPUT, 4, 0, 1 << 20, "rows of q"),                                   \
        DSV4_PARAM_INT("padded_heads", INPUT, 0, 0, 512,                                           \
                       "heads that q, o and lse have room for; 0: just those computed"),           \
        DSV4_PARAM_INT("zero_heads", INPUT, 0, 0, 512,                                             \
                       "last heads whose q is 0 and whose sink is -inf, as padding upstream"),     \
        DSV4_PARAM_NAME("scores", INPUT, "normal", "normal coarse spread equal",                   \
                        "q: N(0, 1); multiples of 1/8; times 64, so that exp underflows; zeros"),  \
        ATTN_GAP_PARAM,                                                                            \
        DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide",                                      \
                        "wide: rows and pages lie apart, as slices of larger buffers do")
#define ATTN_SINK_PARAM                                                                            \
    DSV4_PARAM_NAME("sink", INPUT, "normal", "absent normal zero minus_inf plus_inf mixed",        \
                    "normal: N(0, 1); mixed: -inf, +inf, 0, 88, -80, 1e4, N(0, 1) by turns")
#define ATTN_FORM_PARAM                                                                            \
    DSV4_PARAM_NAME("form", CALL, "dense", "dense ragged",                                         \
                    "lists as rows with lengths, or flat with indptr")

/* `rows` as text: how long the lists are, and how they lie in the cache. */
#define ATTN_LIST_PARAMS(prefix, lens, rows)                                                       \
    DSV4_PARAM_TEXT(prefix "lens", INPUT, lens,                                                    \
                    "lengths of the lists, by turns: 128,0,~64 (~ draws up to); none: absent"),    \
        DSV4_PARAM_INT(prefix "pool", INPUT, rows, 1, 1 << 24,                                     \
                       "different rows that the lists choose from"),                               \
        DSV4_PARAM_INT(                                                                            \
            prefix "room", INPUT, 0, 0, 1 << 24,                                                   \
            "columns, or ragged entries, that buffers have at least: those of a larger step")
#define ATTN_INDEX_PARAMS                                                                          \
    DSV4_PARAM_INT("spare", INPUT, 3, 0, 1 << 16,                                                  \
                   "stale columns after the longest list, or stale entries after the last"),       \
        DSV4_PARAM_NAME("lens_given", INPUT, "yes", "yes no odd",                                  \
                        "no: dense lists without lens: all columns are theirs; odd: lens below 0 " \
                        "for empty lists and beyond the columns for full ones, or an indptr that " \
                        "descends at empty lists"),                                                \
        DSV4_PARAM_NAME("order", INPUT, "mixed", "mixed ascending duplicates alternating",         \
                        "order of the rows in a list; duplicates: each row twice in turn; "        \
                        "alternating: even rows in one block of 128, odd ones in the next"),       \
        DSV4_PARAM_NAME("holes", INPUT, "none", "none head middle tail first_tile scattered all",  \
                        "entries inside the lists that name no row"),                              \
        DSV4_PARAM_NAME("invalid", INPUT, "minus_one", "minus_one range",                          \
                        "what holes hold: -1, or any number outside of the cache")
#define ATTN_ROW_PARAMS                                                                            \
    DSV4_PARAM_NAME("codes", INPUT, "normal", "normal coarse wide legal cancel nan",               \
                    "rows: about N(0, 1); few bits; all finite codes and scales 2^-12..2^-3; "     \
                    "scales 2^-22..2^58, beyond what fp16 holds; "                                 \
                    "opposite pairs, whose sums are all rounding; with NaN"),                      \
        DSV4_PARAM_NAME("address", INPUT, "low", "low high",                                       \
                        "high: pages just below, at and above 2^31 and 2^32 bytes")

/* ---- wrong readings, by what they are about ---- */

#define ATTN_MUTANTS_OF_SCORES                                                                     \
    {"scale-in-q", "q multiplied by scale and rounded to bf16; the scale belongs to the score",    \
     ATTN_SCALE_IN_Q},                                                                             \
        {"exp-base-2", "exp2 of scores times log2 e; weights are exp(s - m), correctly rounded",   \
         ATTN_EXP_BASE_2},                                                                         \
        {"p-unrounded", "weights multiplied with values in fp32; they are rounded to bf16 first",  \
         ATTN_P_UNROUNDED},                                                                        \
        {"l-from-rounded", "denominator summed from bf16 weights; it is summed from fp32 ones",    \
         ATTN_L_FROM_ROUNDED},                                                                     \
        {"dot-one-chain", "scores summed over 512 channels in one chain; blocks are 128",          \
         ATTN_DOT_ONE_CHAIN},                                                                      \
        {"max-from-zero",                                                                          \
         "the maximum starts at 0, as masked lanes do that score 0: far below it all weights "     \
         "vanish; it starts at -inf",                                                              \
         ATTN_MAX_FROM_ZERO},                                                                      \
        {"sum-one-chain", "denominator summed over the whole list in one chain; blocks are 128",   \
         ATTN_SUM_ONE_CHAIN},                                                                      \
        {"pv-one-chain", "values summed over the whole list in one chain; blocks are 128",         \
         ATTN_PV_ONE_CHAIN},                                                                       \
        {"token-wraps", "byte offset of a token of q computed in 32 bits", ATTN_TOKEN_WRAPS},      \
        {"out-wraps", "byte offset of a token's output computed in 32 bits", ATTN_OUT_WRAPS},      \
        {"lse-wraps", "byte offset of a token's maxima or logarithms computed in 32 bits",         \
         ATTN_LSE_WRAPS},                                                                          \
        {"q-dense", "q taken as contiguous; its tokens and heads have strides", ATTN_Q_DENSE}, {   \
        "padded-heads-written", "heads beyond `heads` written; they are not computed",             \
            ATTN_PADDED_HEADS_WRITTEN                                                              \
    }
#define ATTN_MUTANTS_OF_LISTS                                                                      \
    {"len-ignored", "all columns, or the flat tail, attended; lens and indptr bound the list",     \
     ATTN_LEN_IGNORED},                                                                            \
        {"len-unsigned",                                                                           \
         "a negative length, or a ragged list that ends before it begins, taken for "              \
         "a long one; it is empty",                                                                \
         ATTN_LEN_UNSIGNED},                                                                       \
        {"len-unclamped", "a length beyond the columns reads on; it is cut there",                 \
         ATTN_LEN_UNCLAMPED},                                                                      \
        {"tail-dropped", "length cut to a multiple of 4; every entry counts", ATTN_TAIL_DROPPED},  \
        {"minus-one-attended", "-1 attends a row of zeros; it is dropped",                         \
         ATTN_MINUS_ONE_ATTENDED},                                                                 \
        {"minus-one-ends", "the first -1 ends the list; later entries count",                      \
         ATTN_MINUS_ONE_ENDS},                                                                     \
        {"minus-one-wraps", "-1 reads the last row; it is dropped", ATTN_MINUS_ONE_WRAPS},         \
        {"range-clamped", "entries outside of the cache clamped into it; they are dropped",        \
         ATTN_RANGE_CLAMPED},                                                                      \
        {"duplicates-dropped", "a row that is listed twice attended once; it counts twice",        \
         ATTN_DUPLICATES_DROPPED},                                                                 \
        {"index-row-wraps", "byte offset of an index row computed in 32 bits", ATTN_INDEX_WRAPS},  \
        {"index-row-dense", "index rows taken as contiguous; they have a stride",                  \
         ATTN_INDEX_ROW_DENSE},                                                                    \
    {                                                                                              \
        "indptr-uniform", "every ragged list taken as equally long; indptr says where they begin", \
            ATTN_INDPTR_UNIFORM                                                                    \
    }
#define ATTN_MUTANTS_OF_ADDRESSES                                                                  \
    {"address-wraps", "row offset computed in 32 bits", ATTN_ADDRESS_WRAPS}, {                     \
        "page-dense", "pages or rows taken as contiguous; they have a stride", ATTN_PAGE_DENSE     \
    }
#define ATTN_MUTANTS_OF_PAGES                                                                      \
    {"layout-mixed", "planar pages read token by token, or the reverse", ATTN_LAYOUT_MIXED},       \
        {"rope-scaled", "RoPE channels multiplied by a scale; they are plain bf16",                \
         ATTN_ROPE_SCALED},                                                                        \
        {"rope-missing", "only the 448 quantised channels attended; there are 512",                \
         ATTN_ROPE_MISSING},                                                                       \
        {"row-fp16", "rows held in fp16; they have the range of bf16", ATTN_ROW_FP16},             \
        {"scales-wrap", "byte offset of a page computed in 32 bits for its scale bytes alone",     \
         ATTN_SCALES_WRAP},                                                                        \
        {"scrub-by-ocp-code",                                                                      \
         "0x7F and 0xFF scrubbed in a fnuz cache too; they are numbers there, NaN is 0x80",        \
         ATTN_SCRUB_BY_OCP_CODE},                                                                  \
        {"scale-as-number", "scale byte multiplied as an integer; it is an exponent",              \
         ATTN_SCALE_AS_NUMBER},                                                                    \
    {                                                                                              \
        "nan-kept", "NaN in an attended row kept; the scrubbing dialect makes it 0", ATTN_NAN_KEPT \
    }
#define ATTN_MUTANTS_OF_TWO_CACHES                                                                 \
    {"extra-first", "compressed rows summed before the window's; main comes first",                \
     ATTN_EXTRA_FIRST},                                                                            \
        {"extra-missing", "compressed rows not attended", ATTN_EXTRA_MISSING},                     \
        {"fp8-shared", "both caches read with the main cache's FP8 format; each has its own",      \
         ATTN_FP8_SHARED},                                                                         \
        {"layout-shared", "both caches read with the main cache's page layout; each has its own",  \
         ATTN_LAYOUT_SHARED},                                                                      \
        {"page-stride-shared",                                                                     \
         "both caches read with the main cache's page stride; each has its own",                   \
         ATTN_PAGE_STRIDE_SHARED},                                                                 \
        {"block-size-shared",                                                                      \
         "both caches read with the main cache's block size; each has its own",                    \
         ATTN_BLOCK_SIZE_SHARED},                                                                  \
    {                                                                                              \
        "len-shared", "compressed lists cut to the main lengths; each has its own",                \
            ATTN_LEN_SHARED                                                                        \
    }
#define ATTN_MUTANTS_OF_SINKS                                                                      \
    {"sink-ignored", "no sink", ATTN_SINK_IGNORED},                                                \
        {"sink-base-2", "sink taken as a logarithm of base 2; it is natural", ATTN_SINK_BASE_2},   \
        {"sink-inf-nan", "sink = +inf gives inf - inf; the row is 0", ATTN_SINK_INF_NAN},          \
        {"sink-minus-inf", "sink = -inf gives inf - inf, and a row of 0; it is no sink",           \
         ATTN_SINK_MINUS_INF},                                                                     \
        {"sink-rotated", "the next head's sink", ATTN_SINK_ROTATED},                               \
        {"lse-with-sink", "lse includes the sink where it does not, or the reverse",               \
         ATTN_LSE_WITH_SINK},                                                                      \
    {                                                                                              \
        "lse-base-2", "lse in base 2 where it is natural, or the reverse", ATTN_LSE_BASE_2         \
    }
#define ATTN_MUTANT_SINK_AS_KEY                                                                    \
    {                                                                                              \
        "sink-as-key",                                                                             \
            "weights relative to the larger of maximum and sink; the sink enters after the sums",  \
            ATTN_SINK_AS_KEY                                                                       \
    }
#define ATTN_MUTANTS_OF_EMPTY_ROWS                                                                 \
    {"empty-nan", "a row without keys divides 0 by 0; it is +0", ATTN_EMPTY_NAN},                  \
        {"empty-lse", "lse of a row without keys -inf where it is +inf, or the reverse",           \
         ATTN_EMPTY_LSE},                                                                          \
    {                                                                                              \
        "empty-unwritten", "a row without keys is left as it was; it is +0", ATTN_EMPTY_UNWRITTEN  \
    }

/* ---- inputs ---- */

/* What shape() works out about one cache and its lists. */
struct attn_lists {
    bool present, paged;
    uint64_t stream;
    int64_t block_size, n_blocks, n_live, n_rows;
    int64_t *live; /* live blocks, ascending */
    int32_t
        *attended; /* [n_live * block_size]: 1 + number in the pool where some list names the row */
    int64_t *pool; /* rows by number, in live order; n_pool of them */
    int64_t n_pool, step, tokens, width, room;
    int64_t *lens, *starts; /* [tokens], [tokens + 1] */
    int32_t *entries;       /* [starts[tokens]] */
    int32_t *indptr;        /* where ragged lists lie; starts, or with an order of its own */
};

struct attn_plan {
    struct attn_lists main, extra;
};

static inline const struct attn_plan *attn_plan_of(const struct dsv4_case *c) { return c->plan; }

/* Lengths of a list per token, from "128,0,~64"; NULL with err set when the text is none. */
int64_t *attn_lengths(struct dsv4_case *c, const char *name, int64_t n, uint64_t stream,
                      struct dsv4_err *err);

/* Lays out the lists whose parameters start with `prefix`. */
int attn_lists_make(struct dsv4_case *c, struct attn_lists *lists, const char *prefix,
                    struct dsv4_err *err);

/* Slots of one source, in the order of attn_source_open: rows, indices, lens, indptr. */
void attn_shape_source(struct dsv4_case *c, size_t first_slot, const struct attn_lists *lists,
                       const char *prefix);
void attn_fill_source(const struct dsv4_case *c, size_t first_slot, const struct attn_lists *lists,
                      const char *prefix);

int64_t attn_padded_heads(const struct dsv4_case *c);
void attn_shape_query(struct dsv4_case *c, size_t slot);
void attn_fill_query(const struct dsv4_case *c, size_t slot);
void attn_shape_sink(struct dsv4_case *c, size_t slot);
void attn_fill_sink(const struct dsv4_case *c, size_t slot);
void attn_widen(struct dsv4_case *c, size_t slot, int dim, int64_t bytes);

/* Puts the tokens of a tensor token_gap elements apart. */
void attn_spread(struct dsv4_case *c, size_t slot);

/* Entries of a token's list that name a row. */
int64_t attn_valid(const struct attn_lists *lists, int64_t token);

/* Traffic and arithmetic of the sources. */
void attn_work(const struct dsv4_case *c, const struct attn_plan *plan, struct dsv4_work *work);

/* "token 3, head 5, channel 17: 128 main and 512 extra rows (2 entries dropped); sink 0.5" */
void attn_trace(const struct dsv4_case *c, size_t slot, int64_t offset, size_t sink, char *line,
                size_t size);

static inline const float *attn_sink_of(const dsv4_tensor *sink) {
    return attn_absent(sink) ? NULL : (const float *)sink->data;
}

#endif
