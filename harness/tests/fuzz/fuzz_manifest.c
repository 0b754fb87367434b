/* SPDX-License-Identifier: Apache-2.0 */
/* The MANIFEST reader. */
#include "fuzz.h"

#include "../../../reference/memory.h"
#include "../../manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dsv4_manifest m = {0};
    struct dsv4_err err = {0};
    char *text = dsv4_alloc(size + 1);
    if (size > 0) memcpy(text, data, size);
    fuzz_check(dsv4_manifest_parse(&m, text, "MANIFEST", &err), &err);
    dsv4_manifest_free(&m);
    dsv4_free(text);
    return 0;
}
