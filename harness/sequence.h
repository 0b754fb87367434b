/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences: cases that share buffers, one after the other. */
#ifndef DSV4_SEQUENCE_H
#define DSV4_SEQUENCE_H

#include "answers.h"

/* Whether two tensors lie at the same place with the same shape, strides and element size; live rows may differ. */
bool dsv4_tensors_alike(const struct dsv4_case_tensor *a, const struct dsv4_case_tensor *b);

/* The vectors of a sequence's steps, placed to be judged. A case that comes again is made once. */
struct dsv4_sequence {
    const struct dsv4_vector **steps; /* point into vectors */
    size_t n_steps;
    struct dsv4_vector *vectors;
    size_t n_vectors;
};

/* Gets the vectors and checks that the steps are alike in everything that a captured graph fixes. Free it in either
 * outcome. */
int dsv4_sequence_get(struct dsv4_sequence *q, const struct dsv4_answers *answers,
                      const struct dsv4_suite *suite, const struct dsv4_suite_sequence *s,
                      struct dsv4_err *err);
void dsv4_sequence_free(struct dsv4_sequence *q);

/* The check alone, on shapes: no answers are made. */
int dsv4_sequence_check(const struct dsv4_suite *suite, const struct dsv4_suite_sequence *s,
                        struct dsv4_err *err);

#endif
