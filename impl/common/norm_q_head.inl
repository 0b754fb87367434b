/* SPDX-License-Identifier: Apache-2.0 */
/* norm_q_head: a team per head. */
#include "norm_head.inl"

struct q_head_args {
    const char *q, *table;
    char *out;
    const int64_t *positions; /* NULL: no RoPE */
    int64_t q_token, q_head, out_token, out_head, table_row, units;
    struct gpu_divisor heads;
    float eps;
};

template <int ROUNDING>
__global__ void __launch_bounds__(CALL_THREADS) q_head_kernel(const struct q_head_args a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team();
    if (unit >= a.units) return;
    const int64_t t = gpu_quotient(unit, a.heads), h = unit - t * a.heads.value;
    const int64_t position = a.positions != NULL ? a.positions[t] : 0;
    float x[2 * HEAD_STEPS];
    head_load(x, a.q + t * a.q_token + h * a.q_head);
    struct row_angle angle = {1.0f, 0.0f};
    if (a.positions != NULL) angle = row_load_angle(a.table + position * a.table_row);
    head_norm<ROUNDING>(x, a.eps);
    if (a.positions != NULL) row_rope<HEAD_STEPS>(x, angle);
    row_store_bf16<HEAD_STEPS>(a.out + t * a.out_token + h * a.out_head, x);
}

static int supports(const dsv4_call *call, struct call_why why) {
    CALL_NEED(call, "q", DSV4_BF16, 3, why);
    CALL_NEED(call, "out", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "q", 4, why);
    CALL_NEED_ALIGNED(call, "out", 4, why);
    if (dsv4_find(call, "q")->shape[2] != KV_HEAD)
        return call_unsupported(why, "q: heads of %lld; these kernels take heads of 512",
                                (long long)dsv4_find(call, "q")->shape[2]);
    if (dsv4_int(call, "rope", 1) == 0) return DSV4_OK;
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "rope_table", DSV4_F32, 2, why);
    return DSV4_OK;
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const q = dsv4_find(call, "q"), *const out = dsv4_find(call, "out");
    const dsv4_tensor *const table = dsv4_find(call, "rope_table");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct q_head_args a = {};
    dim3 grid;
    a.q = (const char *)q->data;
    a.q_token = q->stride[0];
    a.q_head = q->stride[1];
    a.out = (char *)out->data;
    a.out_token = out->stride[0];
    a.out_head = out->stride[1];
    if (dsv4_int(call, "rope", 1) != 0) {
        a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
        a.table = (const char *)table->data;
        a.table_row = table->stride[0];
    }
    a.heads = call_divisor(q->shape[1]);
    a.units = q->shape[0] * q->shape[1];
    a.eps = dsv4_float(call, "eps", 1e-6f);
    if (a.units == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.units, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (dsv4_is(call, "rounding", "bf16"))
        GPU_LAUNCH(q_head_kernel<HEAD_ROUND_BETWEEN>, grid, CALL_THREADS, stream, a);
    else if (dsv4_is(call, "rounding", "ref"))
        GPU_LAUNCH(q_head_kernel<HEAD_ROUND_ALWAYS>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(q_head_kernel<HEAD_ROUND_END>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(norm_q_head)
