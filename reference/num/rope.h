/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frequencies of a RoPE table of 32 pairs, in binary32 with every operation rounded.
 *
 *   p = theta^(i / 32), correctly rounded; plain: f = 1 / p
 *   YaRN: ramp = clamp((i - low) / (high - low), 0, 1), s = 1 - ramp
 *     as DeepSeek's model.py   f = ((1 / p) / factor) * (1 - s) + (1 / p) * s
 *     as vllm                  f = (1 / (factor * p)) * (1 - s) + (1 / p) * s
 */
#ifndef DSV4_NUM_ROPE_H
#define DSV4_NUM_ROPE_H

#include "sincos.h"

enum dsv4_yarn { DSV4_YARN_NONE, DSV4_YARN_REF, DSV4_YARN_VLLM };

struct dsv4_rope_rule {
    float theta;
    enum dsv4_yarn yarn;
    float factor, low, high;
};

static inline float dsv4_rope_frequency(const struct dsv4_rope_rule *rule, int i) {
    const float p = dsv4_theta_power(rule->theta, i), kept = 1.0f / p;
    if (rule->yarn == DSV4_YARN_NONE) return kept;
    const float place = ((float)i - rule->low) / (rule->high - rule->low);
    const float ramp = place < 0.0f ? 0.0f : place > 1.0f ? 1.0f : place, s = 1.0f - ramp;
    const float slow =
        rule->yarn == DSV4_YARN_REF ? kept / rule->factor : 1.0f / (rule->factor * p);
    const float a = slow * (1.0f - s), b = kept * s;
    return a + b;
}

#endif
