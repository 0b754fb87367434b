/* SPDX-License-Identifier: Apache-2.0 */
/* meta.json alone. */
#include "fuzz.h"

#include "../../meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dsv4_vector v;
    struct dsv4_err err = {.file = "meta.json"};
    memset(&v, 0, sizeof v);
    fuzz_check(dsv4_meta_parse(&v, (const char *)data, size, &err), &err);
    dsv4_vector_free(&v);
    return 0;
}
