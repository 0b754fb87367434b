/* SPDX-License-Identifier: Apache-2.0 */
/* meta.json alone. */
#include "fuzz.h"

#include "../../meta.h"
#include "../../options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dsv4_vector v;
    struct dsv4_err err = {0};
    memset(&v, 0, sizeof v);
    const int status = dsv4_meta_parse(&v, (const char *)data, size, &err);
    if (status != 0) dsv4_err_at(&err, "meta.json", 0);
    fuzz_check(status, &err);
    dsv4_vector_free(&v);
    return 0;
}
