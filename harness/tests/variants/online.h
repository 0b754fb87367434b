/* SPDX-License-Identifier: Apache-2.0 */
/* Attention with online softmax, in online.c, which takes the place of the reference's own loops. */
#include "numbers.h"

#include "../../../reference/ops/attn_family.h"

__attribute__((weak)) void attn_token_attend(struct attn_token *token, float scale,
                                             const float *sink);
