/* SPDX-License-Identifier: Apache-2.0 */
/* The vector reader, from the zip's first byte. What it accepts must come back the same once
 * written. */
#include "fuzz.h"

#include "../../../reference/memory.h"
#include "../../vector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dsv4_vector v, w;
    struct dsv4_err err = {0};
    const int status = dsv4_vector_parse(&v, data, size, "fuzz.npz", &err);
    fuzz_check(status, &err);
    if (status == 0) {
        unsigned char *image;
        size_t n;
        char hash[4][65];
        if (dsv4_vector_image(&v, &image, &n, &err) != 0 ||
            dsv4_vector_parse(&w, image, n, "again.npz", &err) != 0)
            abort();
        dsv4_vector_hash(&v, hash[0], hash[1]);
        dsv4_vector_hash(&w, hash[2], hash[3]);
        if (strcmp(hash[0], hash[2]) != 0 || strcmp(hash[1], hash[3]) != 0) abort();
        dsv4_vector_free(&w);
        dsv4_free(image);
    }
    dsv4_vector_free(&v);
    return 0;
}
