/* SPDX-License-Identifier: Apache-2.0 */
#include "op.h"

#define OP(name) extern const struct dsv4_op dsv4_op_##name;
#include "ops.def"
#undef OP

const struct dsv4_op *const dsv4_ops[] = {
#define OP(name) &dsv4_op_##name,
#include "ops.def"
#undef OP
};
const size_t dsv4_n_ops = sizeof dsv4_ops / sizeof *dsv4_ops;

const struct dsv4_op *dsv4_op_find(const char *name) {
    for (size_t i = 0; i < dsv4_n_ops; i++)
        if (strcmp(dsv4_ops[i]->name, name) == 0) return dsv4_ops[i];
    return NULL;
}
