/* SPDX-License-Identifier: Apache-2.0 */
/* From a shaped case to golden bytes: runs recipe and reference, and proves that neither writes
 * where it must not. */
#ifndef DSV4_GOLDEN_H
#define DSV4_GOLDEN_H

#include "op.h"

/* One tensor of a vector, in packed form. */
struct dsv4_vector_tensor {
    unsigned char *in;   /* packed bytes before the call (IN, INOUT); else NULL */
    unsigned char *out;  /* packed golden bytes (OUT, INOUT); else NULL */
    unsigned char *keep; /* one byte (0 or 1) per packed byte, 1: must stay untouched; NULL when all
                          * are written. Of an INOUT tensor only when it is an output that was given:
                          * others' untouched bytes are golden with their earlier value. */
};

/*
 * Fills `tensors` (zeroed by the caller, DSV4_MAX_TENSORS of them; free with dsv4_golden_free in
 * either outcome) for a shaped case, which is left placed and not bound. Recipe and reference each
 * run twice over an arena of different poison: bytes that follow the poison are untouched, bytes
 * that differ otherwise depend on earlier contents, which is an error, as is a write to a guard
 * band, a gap, an input, or by a reference that refuses.
 */
int dsv4_golden_make(struct dsv4_vector_tensor *tensors, struct dsv4_case *c, struct dsv4_err *err);

/* As dsv4_golden_make, but `given[slot].in`, where it is there, replaces what the recipe wrote into that tensor. An
 * output becomes INOUT by it: bytes that the op leaves keep what is given, as `keep` says, and are part of the answer. */
int dsv4_golden_make_given(struct dsv4_vector_tensor *tensors, struct dsv4_case *c,
                           const struct dsv4_vector_tensor *given, struct dsv4_err *err);
void dsv4_golden_free(struct dsv4_vector_tensor *tensors);

/* The bytes that hashes are taken over, piece by piece. A refused case has no answer. */
typedef void dsv4_sink(void *context, const void *bytes, size_t size);
void dsv4_golden_prompt(const struct dsv4_case *c, const struct dsv4_vector_tensor *tensors,
                        dsv4_sink *sink, void *context);
void dsv4_golden_answer(const struct dsv4_case *c, const struct dsv4_vector_tensor *tensors,
                        dsv4_sink *sink, void *context);

#endif
