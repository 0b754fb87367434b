/* SPDX-License-Identifier: Apache-2.0 */
/* The suite reader. */
#include "fuzz.h"

#include "../../suite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dsv4_suite suite = {0};
    struct dsv4_err err = {0};
    const struct dsv4_op *op = dsv4_ops[0];
    for (size_t i = 0; i < dsv4_n_ops;
         i++) /* the op that the text names, so that seeds of all suites count */
        if (size > 4 + strlen(dsv4_ops[i]->name) &&
            memmem(data, size < 400 ? size : 400, dsv4_ops[i]->name, strlen(dsv4_ops[i]->name)) !=
                NULL)
            op = dsv4_ops[i];
    const int status = dsv4_suite_parse(&suite, op, data, size, "fuzz.yaml", &err);
    fuzz_check(status, &err);
    if (status == 0 && (err.text[0] != '\0' || suite.n_cases == 0)) abort();
    dsv4_suite_free(&suite);
    return 0;
}
