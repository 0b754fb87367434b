/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a layer: what each call is given and what it leaves, from what earlier calls left. */
#ifndef DSV4_CHAIN_H
#define DSV4_CHAIN_H

#include "answers.h"
#include "layer.h"

/* The golden chain: every call's vector, its inputs from the vectors before it. */
struct dsv4_chain {
    const struct dsv4_layer *layer;
    struct dsv4_vector *vectors; /* one for each call, placed to be judged */
    size_t n;
};

/* Runs the reference over the whole layer. Free it in either outcome. */
int dsv4_chain_make(struct dsv4_chain *chain, const struct dsv4_layer *layer, struct dsv4_err *err);
void dsv4_chain_free(struct dsv4_chain *chain);

/* Hashes of one step of the layer: over the prompts of its calls, and over their answers. */
void dsv4_chain_hash(const struct dsv4_chain *chain, size_t step, char prompt[65], char answer[65]);

/* The chain, held to MANIFEST as answers are. */
int dsv4_answers_layer(const struct dsv4_answers *a, struct dsv4_chain *chain,
                       const struct dsv4_layer *layer, struct dsv4_err *err);

/* Packed bytes for every bound tensor of the case `c` of a call, from `feeds[earlier call]`; all others stay NULL. Bytes
 * that an op must not touch count as zeros. Free with dsv4_golden_free(). */
void dsv4_chain_given(struct dsv4_vector_tensor *given, const struct dsv4_layer *layer, size_t call,
                      const struct dsv4_case *c, const struct dsv4_vector *const *feeds);

#endif
