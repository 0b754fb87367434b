/* SPDX-License-Identifier: Apache-2.0 */
/* The rows that the dequantising kernels go over. */
#ifndef DSV4_QUANT_DEQUANT_ROWS_INL
#define DSV4_QUANT_DEQUANT_ROWS_INL

#include "call.h"
#include "num.inl"

struct quant_dequant_rows {
    const char *q;
    char *y;
    int64_t q_stride, y_stride, n, units;
    struct gpu_divisor spans;
    int columns;
};

#endif
