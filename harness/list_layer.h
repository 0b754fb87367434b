/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DSV4_LIST_LAYER_H
#define DSV4_LIST_LAYER_H

#include "options.h"

/* Prints the table of a layer's steps beside what there is for each. `impls` empty: whatever is built. Returns an exit
 * code. */
int dsv4_list_layer(const char *suites, const struct dsv4_texts *impls);

#endif
