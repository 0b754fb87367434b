/* SPDX-License-Identifier: Apache-2.0 */
/* mtp_dspark_qkv: a team per head of q, and one per row of kv after a token's heads. */
#include "norm_head.inl"

struct dspark_args {
    const char *q, *kv, *table;
    char *q_out, *kv_out;
    const int64_t *positions;
    int64_t q_token, q_head, q_out_token, q_out_head, kv_row, kv_out_row, table_row, units;
    struct gpu_divisor rows; /* heads and one */
    float eps;
};

__global__ void __launch_bounds__(CALL_THREADS) dspark_qkv_kernel(const struct dspark_args a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team();
    if (unit >= a.units) return;
    const int64_t t = gpu_quotient(unit, a.rows), h = unit - t * a.rows.value;
    const bool of_kv = h + 1 == a.rows.value;
    const char *const from = of_kv ? a.kv + t * a.kv_row : a.q + t * a.q_token + h * a.q_head;
    char *const to =
        of_kv ? a.kv_out + t * a.kv_out_row : a.q_out + t * a.q_out_token + h * a.q_out_head;
    const int64_t position = a.positions[t];
    float x[2 * HEAD_STEPS];
    head_load(x, from);
    const struct row_angle angle = row_load_angle(a.table + position * a.table_row);
    if (!of_kv) head_norm<HEAD_ROUND_BETWEEN>(x, a.eps);
    row_rope<HEAD_STEPS>(x, angle);
    row_store_bf16<HEAD_STEPS>(to, x);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "q", DSV4_BF16, 3, why);
    CALL_NEED(call, "q_out", DSV4_BF16, 3, why);
    CALL_NEED(call, "kv", DSV4_BF16, 2, why);
    CALL_NEED(call, "kv_out", DSV4_BF16, 2, why);
    CALL_NEED_ALIGNED(call, "q", 4, why);
    CALL_NEED_ALIGNED(call, "q_out", 4, why);
    CALL_NEED_ALIGNED(call, "kv", 4, why);
    CALL_NEED_ALIGNED(call, "kv_out", 4, why);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "rope_table", DSV4_F32, 2, why);
    if (dsv4_find(call, "q")->shape[2] != KV_HEAD)
        return call_unsupported(why, "q: heads of %lld; these kernels take heads of 512",
                                (long long)dsv4_find(call, "q")->shape[2]);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const q = dsv4_find(call, "q"), *const q_out = dsv4_find(call, "q_out");
    const dsv4_tensor *const kv = dsv4_find(call, "kv"), *const kv_out = dsv4_find(call, "kv_out");
    const dsv4_tensor *const table = dsv4_find(call, "rope_table");
    struct dspark_args a;
    dim3 grid;
    a.q = (const char *)q->data;
    a.q_token = q->stride[0];
    a.q_head = q->stride[1];
    a.q_out = (char *)q_out->data;
    a.q_out_token = q_out->stride[0];
    a.q_out_head = q_out->stride[1];
    a.kv = (const char *)kv->data;
    a.kv_row = kv->stride[0];
    a.kv_out = (char *)kv_out->data;
    a.kv_out_row = kv_out->stride[0];
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.table = (const char *)table->data;
    a.table_row = table->stride[0];
    a.rows = call_divisor(q->shape[1] + 1);
    a.units = q->shape[0] * a.rows.value;
    a.eps = dsv4_float(call, "eps", 1e-6f);
    if (a.units == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.units, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    GPU_LAUNCH(dspark_qkv_kernel, grid, CALL_THREADS, (gpu_stream)call->stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(mtp_dspark_qkv)
