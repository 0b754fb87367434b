/* SPDX-License-Identifier: Apache-2.0 */
#include "embed.h"

#include <stdio.h>

int dsv4_embed_version(void) { return 1; }

int dsv4_embed_serve(int socket, dsv4_worker_open *open) { return dsv4_worker_main(socket, open); }

const char *dsv4_embed_op(size_t i) { return i < dsv4_n_ops ? dsv4_ops[i]->name : NULL; }

const char *dsv4_embed_tensor(const char *op, size_t i) {
    const struct dsv4_op *const found = dsv4_op_find(op);
    return found != NULL && i < found->n_slots ? found->slots[i].name : NULL;
}

/* Parameters that shape inputs alone are not counted: no implementation sees them. */
int dsv4_embed_param(struct dsv4_embed_param *param, const char *op, size_t i) {
    const struct dsv4_op *const found = dsv4_op_find(op);
    for (size_t p = 0; found != NULL && p < found->n_params; p++) {
        const struct dsv4_param_def *const def = &found->params[p];
        if (def->use == DSV4_USE_INPUT || i-- > 0) continue;
        *param = (struct dsv4_embed_param){def->name, def->initial, def->names,
                                           def->use == DSV4_USE_DIALECT};
        return true;
    }
    return false;
}

int dsv4_embed_arithmetic(dsv4_arithmetic *arithmetic, const char *text, char *why,
                          size_t why_size) {
    struct dsv4_err err = {0};
    if (dsv4_arithmetic_parse(arithmetic, text, &err) == 0) return 0;
    snprintf(why, why_size, "%s", err.text);
    return -1;
}
