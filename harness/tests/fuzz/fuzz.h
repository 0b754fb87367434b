/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share: a refusal must say something, in one line, about a place. */
#ifndef DSV4_FUZZ_H
#define DSV4_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../../reference/op.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_check(int status, const struct dsv4_err *err) {
    if (status != 0 &&
        (err->text[0] == '\0' || err->file[0] == '\0' || strchr(err->text, '\n') != NULL))
        abort();
}

#endif
