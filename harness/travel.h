/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole layer against one implementation, whose own outputs feed its later calls. A call whose inputs are the golden
 * ones, bit for bit, is judged once. One that is given something else is judged twice: on golden inputs, which says
 * whether it is wrong by itself, and on what it is given, which says how far an error has travelled.
 */
#ifndef DSV4_TRAVEL_H
#define DSV4_TRAVEL_H

#include "chain.h"
#include "judge.h"

struct dsv4_travel {
    size_t first; /* the first call that goes wrong; n_calls: none */
    size_t n_wrong, n_inherit, n_bridged;
};

/* Fills `results`, one for each call: the verdict on golden inputs. The first wrong one also tells how the error
 * travels. `reference` is a runner without a plug-in: it answers for calls that the implementation lacks. */
void dsv4_travel_judge(struct dsv4_travel *travel, struct dsv4_result *results,
                       struct dsv4_runner *r, struct dsv4_runner *reference,
                       const struct dsv4_chain *golden, const struct dsv4_judge *judge);

/* "31 of 4096 values, largest difference 0.25": two packed tensors of one shape. false: they are the same. */
bool dsv4_travel_extent(char *text, size_t size, const struct dsv4_case_tensor *tensor,
                        const unsigned char *got, const unsigned char *want);

#endif
