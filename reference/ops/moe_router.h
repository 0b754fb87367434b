/* SPDX-License-Identifier: Apache-2.0 */
/* What the ops share that route tokens to experts: scores of gate logits, and weights of the chosen experts. */
#ifndef DSV4_MOE_ROUTER_H
#define DSV4_MOE_ROUTER_H

#include "../input/input.h"

enum { MOE_MAX_EXPERTS = 512, MOE_MAX_TOPK = 8, MOE_MAX_SHARED = 2 };

enum moe_softplus { MOE_LOG1P, MOE_LOG_ONE_PLUS, MOE_MAX_FORM, MOE_NO_THRESHOLD, MOE_BASE_TWO };
enum moe_order { MOE_DIVIDE_FIRST, MOE_FACTOR_FIRST, MOE_MULTIPLY_FIRST };
enum moe_denominator { MOE_PLAIN, MOE_ONE_IF_ZERO, MOE_FLOOR, MOE_START };

enum moe_route_wrong {
    MOE_RIGHT,
    MOE_SIGMOID,
    MOE_SOFTMAX,
    MOE_SQRT_LOST,
    MOE_THRESHOLD_LOST,
    MOE_LOG_NAIVE,
    MOE_LN2_LOST,
    MOE_SHARED_SUMMED,
    MOE_SHARED_SCALED,
    MOE_SHARED_FIRST,
    MOE_SHARED_OF_PADDING,
    MOE_NAN_KEPT,
    MOE_BIASED_WEIGHT,
    MOE_RENORM_LOST,
    MOE_FACTOR_LOST,
    MOE_FACTOR_TWICE,
    MOE_SUM_REVERSED,
    MOE_SUM_GUARDED,
    MOE_ORDER_MIXED,
    MOE_PADDING_ROUTED,
    MOE_PADDING_KEPT,
    MOE_PADDING_WEIGHED,
    MOE_SOURCE_BY_TOKEN,
    MOE_ROW_DENSE,
    MOE_TIES_HIGHER,
    MOE_GROUPED,
    MOE_STRICTLY_ABOVE,
    MOE_IDS_ASCENDING,
    MOE_BIAS_IGNORED,
    MOE_RECOVERY_MIXED,
    MOE_TOPK_USED,
    MOE_DUPLICATES_DROPPED,
    MOE_TOKEN_OF_OTHER,
};

#define MOE_ROUTER_PARAMS                                                                          \
    DSV4_PARAM_NAME("softplus", DIALECT, "log1p",                                                  \
                    "log1p log_one_plus max_form no_threshold base_two",                           \
                    "x > 20 ? x : log1p(exp(x)); log(1 + exp(x)) in its place; "                   \
                    "max(x, 0) + log(1 + exp(-|x|)); log1p(exp(x)) for all x; "                    \
                    "x > 20 ? x : log2(1 + exp2(x * log2(e))) * ln(2)"),                           \
        DSV4_PARAM_NAME("order", DIALECT, "divide_first",                                          \
                        "divide_first factor_first multiply_first",                                \
                        "(w / sum) * factor, w * (factor / sum), (w * factor) / sum"),             \
        DSV4_PARAM_NAME("denominator", DIALECT, "plain", "plain one_if_zero floor start",          \
                        "sum; 1 unless sum > 0; max(sum, 1e-20); a sum that starts at 1e-20"),     \
        DSV4_PARAM_FLOAT("factor", CALL, 1.5, 0, 16, "routed_scaling_factor"),                     \
        DSV4_PARAM_INT("tokens", INPUT, 3, 0, 1 << 24, "rows of the logits"),                      \
        DSV4_PARAM_INT("experts", INPUT, 64, 1, 512, "routed experts"),                            \
        DSV4_PARAM_INT("topk", INPUT, 6, 1, 8, "experts per token"),                               \
        DSV4_PARAM_INT("shared", CALL, 0, 0, 2, "shared experts, in slots after those"),           \
        DSV4_PARAM_NAME("ids", INPUT, "i32", "i32 i64", "dtype of the ids"),                       \
        DSV4_PARAM_NAME("padding", INPUT, "absent", "absent none some all",                        \
                        "rows of padding: no tensor; no row; two of three; all"),                  \
        DSV4_PARAM_INT("source", INPUT, 0, 0, 1, "1: source_rows is there"),                       \
        DSV4_PARAM_NAME("values", INPUT, "normal",                                                 \
                        "normal coarse equal near spread tiny none odd",                           \
                        "about N(0, 4); multiples of 1/2; one value; a few last bits apart; "      \
                        "-120 to 120; sums below 1e-20; scores of 0; NaN and infinities"),         \
        DSV4_PARAM_NAME("view", INPUT, "dense", "dense wide", "wide: rows lie apart")

#define MOE_MUTANTS_OF_ROUTING                                                                     \
    {"sigmoid", "sigmoid scores; they are sqrt(softplus)", MOE_SIGMOID},                           \
        {"softmax", "softmax scores; they are sqrt(softplus)", MOE_SOFTMAX},                       \
        {"sqrt-lost", "softplus scores; their square root is taken", MOE_SQRT_LOST},               \
        {"threshold-lost", "exp of logits above 20: infinite from 88.8 on", MOE_THRESHOLD_LOST},   \
        {"log-naive", "log(1 + exp(x)) for log1p(exp(x)): 0 below -16.6", MOE_LOG_NAIVE},          \
        {"ln2-lost", "base two: the logarithm is not multiplied by ln(2)", MOE_LN2_LOST},          \
        {"shared-summed", "weights of shared experts in the sum; it is of routed ones",            \
         MOE_SHARED_SUMMED},                                                                       \
        {"shared-scaled", "weights of shared experts times the factor; they are 1",                \
         MOE_SHARED_SCALED},                                                                       \
        {"shared-first", "shared experts named from 0 on; they come after the routed ones",        \
         MOE_SHARED_FIRST},                                                                        \
        {"shared-of-padding", "shared experts of padding kept; their ids are -1",                  \
         MOE_SHARED_OF_PADDING},                                                                   \
        {"nan-kept", "the score of a NaN logit is NaN; it is 0", MOE_NAN_KEPT},                    \
        {"renorm-lost", "weights not divided by their sum", MOE_RENORM_LOST},                      \
        {"factor-lost", "routed_scaling_factor not applied", MOE_FACTOR_LOST},                     \
        {"factor-twice", "routed_scaling_factor applied twice", MOE_FACTOR_TWICE},                 \
        {"sum-reversed", "weights summed from the last slot", MOE_SUM_REVERSED},                   \
        {"sum-guarded", "1e-20 added to the sum by a dialect without it, or the reverse",          \
         MOE_SUM_GUARDED},                                                                         \
        {"order-mixed", "division and factor in the order of another dialect", MOE_ORDER_MIXED},   \
        {"padding-routed", "rows of padding routed; their ids are -1", MOE_PADDING_ROUTED},        \
        {"padding-kept", "rows of padding left as they were; ids are -1", MOE_PADDING_KEPT},       \
        {"padding-weighed", "weights of padding not 0", MOE_PADDING_WEIGHED},                      \
        {"source-by-token", "source_rows t * topk + k; they are k * tokens + t",                   \
         MOE_SOURCE_BY_TOKEN},                                                                     \
    {                                                                                              \
        "row-dense", "rows taken as contiguous; they have a stride", MOE_ROW_DENSE                 \
    }

/* How one call scores and weighs. */
struct moe_router {
    enum moe_softplus softplus;
    enum moe_order order;
    enum moe_denominator denominator;
    float factor;
    int64_t topk, shared, experts; /* slots of routed experts, then those of shared ones */
    enum moe_route_wrong wrong;
};

/* The outputs' slots follow each other, and so do padding and they. */
enum { MOE_PADDING, MOE_WEIGHTS, MOE_IDS, MOE_SOURCE };

/* Shapes logits, and from slot `padding` on: padding, weights, ids, source rows. -1 with err set. */
int moe_router_shape(struct dsv4_case *c, size_t logits, size_t padding, struct dsv4_err *err);
void moe_router_fill(struct dsv4_case *c, size_t logits, size_t padding);
bool moe_router_padded(const struct dsv4_case *c, int64_t t);
enum moe_route_wrong moe_router_wrong_of(const struct dsv4_op *op, int mutant);
void moe_router_open(struct moe_router *router, const dsv4_call *call, size_t logits,
                     enum moe_route_wrong wrong);
const float *moe_router_row(const struct moe_router *router, const dsv4_tensor *logits, int64_t t);

/* scores[i] = sqrt(softplus(logits[i])), NaN: 0. */
void moe_router_scores(const struct moe_router *router, float *scores, const float *logits,
                       int64_t n);

/* Normalises the weights of one token and stores them, its ids and source rows, and shared experts after them. outputs: as call->tensors from
 * `padding` on. */
void moe_router_store(const struct moe_router *router, const dsv4_tensor *outputs, int64_t t,
                      const int64_t *ids, float *weights);

/* Whether the row is one of padding, whose results are then stored. */
bool moe_router_pad(const struct moe_router *router, const dsv4_tensor *outputs, int64_t t);
void moe_router_work(const struct dsv4_case *c, struct dsv4_work *work);

/* The k greatest by value, ties by smaller index, in this order. */
void moe_choose(const struct moe_router *router, int64_t *ids, const float *values);

#endif
