/* SPDX-License-Identifier: Apache-2.0 */
/* idx_c128a_metadata: teams write columns of a token's row, a slot from the block table or the column itself. One
 * launch: rows of both outputs are numbered by token. */
#include "idx_common.inl"

struct c128a_op {
    struct idx_rows rows; /* of both outputs: `out` and `stride` are set in open() */
    struct idx_pages pages;
    const int64_t *positions, *slots;
    const int32_t *token_to_req;
    int32_t *decode_lens;
    char *global, *local;
    int64_t global_stride, local_stride, decodes;
    struct gpu_divisor ratio;

    struct row {
        int32_t *out;
        const int32_t *table; /* NULL: a prefill row */
        int n;
    };

    IDX_METHOD bool open(row &row, int64_t t, bool first) const {
        const bool decode = t < decodes;
        const int64_t n = gpu_quotient(positions[t] + 1, ratio);
        row.n = n < rows.width ? (int)n : rows.width;
        row.table = decode ? idx_pages_row(pages, token_to_req[t]) : NULL;
        row.out =
            (int32_t *)(decode ? global + t * global_stride : local + (t - decodes) * local_stride);
        if (first && decode) decode_lens[t] = slots[t] < 0 ? 0 : row.n;
        return true;
    }

    IDX_METHOD struct idx_four four(const row &row, int column) const {
        struct idx_four four;
        if (row.table != NULL) return idx_slots(pages, row.table, column, row.n - column);
        GPU_UNROLL
        for (int i = 0; i < 4; i++) four.x[i] = column + i < row.n ? column + i : -1;
        return four;
    }
};

template <int DEEP, bool WIDE>
__global__ void __launch_bounds__(CALL_THREADS) c128a_kernel(const struct c128a_op op) {
    const int64_t task = gpu_block() * CALL_TEAMS + gpu_team();
    int chunk;
    const int64_t t = idx_row_of(op.rows, task, &chunk);
    if (t >= op.rows.rows) return;
    struct c128a_op::row row;
    op.open(row, t, chunk == 0 && gpu_lane() == 0);
    int column = chunk * IDX_CHUNK * DEEP + 4 * gpu_lane();
    GPU_UNROLL
    for (int d = 0; d < DEEP; d++, column += IDX_CHUNK)
        if (column < op.rows.width)
            idx_store<WIDE>(row.out, column, op.rows.width, op.four(row, column));
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "token_to_req", DSV4_I32, 1, why);
    CALL_NEED(call, "slot_mapping", DSV4_I64, 1, why);
    CALL_NEED(call, "block_table", DSV4_I32, 2, why);
    CALL_NEED(call, "global", DSV4_I32, 2, why);
    CALL_NEED(call, "decode_lens", DSV4_I32, 1, why);
    CALL_NEED(call, "local", DSV4_I32, 2, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const global = dsv4_find(call, "global");
    const dsv4_tensor *const local = dsv4_find(call, "local");
    const dsv4_tensor *const positions = dsv4_find(call, "positions");
    const bool wide = call_aligned(global, 16) && call_aligned(local, 16);
    struct c128a_op op;
    dim3 grid;
    if (global->shape[0] + local->shape[0] != positions->shape[0] ||
        global->shape[1] != local->shape[1] ||
        dsv4_find(call, "decode_lens")->shape[0] < global->shape[0])
        return idx_refused(why, "rows of global and local are not those of the tokens");
    op.rows.rows = positions->shape[0];
    op.rows.width = (int)global->shape[1];
    op.pages = idx_pages_of(dsv4_find(call, "block_table"), dsv4_int(call, "block_size", 2));
    op.positions = (const int64_t *)positions->data;
    op.slots = (const int64_t *)dsv4_find(call, "slot_mapping")->data;
    op.token_to_req = idx_i32(call, "token_to_req");
    op.decode_lens = (int32_t *)dsv4_find(call, "decode_lens")->data;
    op.global = (char *)global->data;
    op.local = (char *)local->data;
    op.global_stride = global->stride[0];
    op.local_stride = local->stride[0];
    op.decodes = global->shape[0];
    op.ratio = call_divisor(dsv4_int(call, "ratio", 128));
    if (op.rows.rows == 0) return DSV4_OK;
    const int64_t entries = op.rows.rows * op.rows.width;
    const bool deep = entries > IDX_CHUNK * CALL_TEAMS * (int64_t)GPU_BUSY_BLOCKS;
    op.rows.chunks = call_divisor(call_ceil(op.rows.width, IDX_CHUNK * (deep ? 4 : 1)));
    const int status =
        call_grid(&grid, call_ceil(op.rows.rows * op.rows.chunks.value, CALL_TEAMS), why);
    const gpu_stream stream = (gpu_stream)call->stream;
    if (status != DSV4_OK) return status;
    if (deep && wide)
        GPU_LAUNCH((c128a_kernel<4, true>), grid, CALL_THREADS, stream, op);
    else if (deep)
        GPU_LAUNCH((c128a_kernel<4, false>), grid, CALL_THREADS, stream, op);
    else if (wide)
        GPU_LAUNCH((c128a_kernel<1, true>), grid, CALL_THREADS, stream, op);
    else
        GPU_LAUNCH((c128a_kernel<1, false>), grid, CALL_THREADS, stream, op);
    return call_launched(why);
}

CALL_ENTRY_POINTS(idx_c128a_metadata)
