/* SPDX-License-Identifier: Apache-2.0 */
/* The arrays that a case's vector consists of: one list for the writer, the reader and the tests.
 */
#ifndef DSV4_VECTOR_PARTS_H
#define DSV4_VECTOR_PARTS_H

#include "npz.h"

#define DSV4_VECTOR_LIMIT (INT64_C(1) << 30) /* bytes of a file, and of all its arrays */

enum dsv4_part_side { DSV4_PART_ROWS, DSV4_PART_IN, DSV4_PART_OUT, DSV4_PART_KEEP };

struct dsv4_part {
    enum dsv4_part_side side; /* KEEP may be absent, the others may not */
    size_t slot;
    struct dsv4_npy npy;
    char name[64]; /* "in.x.npy" */
};

enum { DSV4_MAX_PARTS = 4 * DSV4_MAX_TENSORS };
size_t dsv4_vector_parts(const struct dsv4_case *c, struct dsv4_part parts[DSV4_MAX_PARTS]);

#endif
