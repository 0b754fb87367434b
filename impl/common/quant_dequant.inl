/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of codes back to bf16: a team takes ROWS rows of QUANT_DEQUANT_SPAN columns, eight neighbouring columns per lane
 * and step, so that stores are 16 bytes; all loads are under way at once. The op gives, before it includes this,
 *
 *   struct QUANT_DEQUANT_ARGS         with `struct quant_dequant_rows rows`
 *   quant_dequant_scale(a, row, column)          bits of the scale of these columns
 *   quant_dequant_four(a, codes, scale, words)   eight codes to four words of bf16
 *   QUANT_DEQUANT_BITS                of a code
 */
enum { QUANT_DEQUANT_STEPS = 2, QUANT_DEQUANT_SPAN = 8 * TEAM * QUANT_DEQUANT_STEPS };

/* Eight codes, in the lower word alone for FP4. */
template <bool WIDE>
GPU_DEVICE gpu_u2 quant_dequant_load(const char *row, int column, int columns) {
    gpu_u2 codes = {};
    if (column >= columns) return codes;
    if (WIDE && QUANT_DEQUANT_BITS == 4) {
        codes.x = *(const uint32_t *)(row + column / 2);
    } else if (WIDE) {
        codes = *(const gpu_u2 *)(row + column);
    } else {
        GPU_UNROLL for (int i = 0; i < QUANT_DEQUANT_BITS; i++) {
            const int at = column * QUANT_DEQUANT_BITS / 8 + i;
            if (at * 8 / QUANT_DEQUANT_BITS >= columns) continue;
            const uint32_t byte = (uint8_t)row[at];
            codes.x |= i < 4 ? byte << 8 * (i & 3) : 0;
            codes.y |= i < 4 ? 0 : byte << 8 * (i & 3);
        }
    }
    return codes;
}

template <bool WIDE>
GPU_DEVICE void quant_dequant_store(char *row, int column, int columns, const uint32_t *words) {
    if (column >= columns) return;
    if (WIDE) {
        gpu_u4 v;
        v.x = words[0];
        v.y = words[1];
        v.z = words[2];
        v.w = words[3];
        *(gpu_u4 *)(row + 2 * column) = v;
    } else {
        GPU_UNROLL for (int i = 0; i < 8; i++) if (column + i < columns)(
            (uint16_t *)row)[column + i] = (uint16_t)(words[i / 2] >> 16 * (i & 1));
    }
}

template <bool WIDE, int ROWS>
__global__ void __launch_bounds__(CALL_THREADS)
    QUANT_DEQUANT_KERNEL(const struct QUANT_DEQUANT_ARGS a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team();
    if (unit >= a.rows.units) return;
    const int64_t several = gpu_quotient(unit, a.rows.spans), row = several * ROWS;
    const int first = (int)(unit - several * a.rows.spans.value) * QUANT_DEQUANT_SPAN;
    const int columns = a.rows.columns;
    gpu_u2 codes[ROWS][QUANT_DEQUANT_STEPS];
    uint32_t scale[ROWS][QUANT_DEQUANT_STEPS];
    GPU_UNROLL for (int r = 0; r < ROWS; r++) {
        const int64_t at = row + r < a.rows.n ? row + r : a.rows.n - 1;
        GPU_UNROLL for (int i = 0; i < QUANT_DEQUANT_STEPS; i++) {
            const int column = first + i * 8 * TEAM + 8 * gpu_lane();
            codes[r][i] =
                quant_dequant_load<WIDE>(a.rows.q + at * a.rows.q_stride, column, columns);
            scale[r][i] = column < columns ? quant_dequant_scale(a, at, column) : 0;
        }
    }
    GPU_UNROLL for (int r = 0; r < ROWS; r++) {
        if (row + r >= a.rows.n) break;
        char *const y = a.rows.y + (row + r) * a.rows.y_stride;
        GPU_UNROLL for (int i = 0; i < QUANT_DEQUANT_STEPS; i++) {
            uint32_t words[4];
            quant_dequant_four(a, codes[r][i], scale[r][i], words);
            quant_dequant_store<WIDE>(y, first + i * 8 * TEAM + 8 * gpu_lane(), columns, words);
        }
    }
}

static int quant_dequant_launch(const dsv4_call *call, struct QUANT_DEQUANT_ARGS &a,
                                struct call_why why) {
    enum { DEEP = 4 };
    const dsv4_tensor *const q = dsv4_find(call, "q"), *const y = dsv4_find(call, "y");
    const gpu_stream stream = (gpu_stream)call->stream;
    dim3 grid;
    a.rows.q = (const char *)q->data;
    a.rows.q_stride = q->stride[0];
    a.rows.y = (char *)y->data;
    a.rows.y_stride = y->stride[0];
    a.rows.n = y->shape[0];
    a.rows.columns = (int)y->shape[1];
    a.rows.spans = call_divisor(call_ceil(a.rows.columns, QUANT_DEQUANT_SPAN));
    if (a.rows.n == 0) return DSV4_OK;
    const bool wide =
        call_aligned(q, QUANT_DEQUANT_BITS) && call_aligned(y, 16) && a.rows.columns % 8 == 0;
    a.rows.units = call_ceil(a.rows.n, DEEP) * a.rows.spans.value;
    const int status = call_grid(&grid, call_ceil(a.rows.units, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (wide)
        GPU_LAUNCH((QUANT_DEQUANT_KERNEL<true, DEEP>), grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH((QUANT_DEQUANT_KERNEL<false, DEEP>), grid, CALL_THREADS, stream, a);
    return call_launched(why);
}
