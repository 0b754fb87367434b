/* SPDX-License-Identifier: Apache-2.0 */
#include "isa.h"

const struct isa_row *isa_row_at(size_t i) {
    static const struct isa_row *const tables[] = {
        isa_integer_rows, isa_scalar_rows, isa_float_rows, isa_compare_rows,
        isa_convert_rows, isa_packed_rows, isa_dot_rows,   isa_approximate_rows};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        size_t rows = 0;
        while (tables[t][rows].name != NULL) rows++;
        if (i < rows) return &tables[t][i];
        i -= rows;
    }
    return NULL;
}
