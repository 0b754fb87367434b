/* SPDX-License-Identifier: Apache-2.0 */
/* moe_hash_topk: eight lanes per token, one for each slot; sums go from lane to lane. */
#include "moe_router.inl"

struct hash_topk_args {
    struct router_args r;
    const char *tokens, *table;
    int64_t table_row;
    int tokens_wide, table_wide;
};

GPU_DEVICE int64_t hash_topk_read(const char *at, int wide, int64_t i) {
    return wide ? ((const int64_t *)at)[i] : ((const int32_t *)at)[i];
}

template <int SOFTPLUS>
__global__ void __launch_bounds__(CALL_THREADS) hash_topk_kernel(const struct hash_topk_args a) {
    const int64_t t = gpu_block() * (CALL_THREADS / ROUTER_MOST) + gpu_thread() / ROUTER_MOST;
    const int k = gpu_lane() % ROUTER_MOST, first = gpu_lane() - k;
    const bool live = t < a.r.tokens && k < a.r.topk + a.r.shared;
    const bool padded = live && a.r.padding != NULL && a.r.padding[t] != 0;
    float w = 0.0f, sum = a.r.denominator == ROUTER_START ? 1e-20f : 0.0f;
    int id = -1;
    if (live && !padded && k < a.r.topk) {
        const int64_t token = hash_topk_read(a.tokens, a.tokens_wide, t);
        id = (int)hash_topk_read(a.table + token * a.table_row, a.table_wide, k);
        w = router_score<SOFTPLUS>(((const float *)(a.r.logits + t * a.r.logits_row))[id]);
    }
    for (int i = 0; i < a.r.topk; i++) sum += gpu_float(team_read_u32(gpu_bits(w), first + i));
    if (live && padded) router_store(a.r, t, k, -1, 0.0f);
    if (live && !padded) router_store_slot(a.r, t, k, id, router_weight(a.r, w, sum));
}

static int supports(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const tokens = dsv4_find(call, "token_ids");
    const dsv4_tensor *const table = dsv4_find(call, "tid2eid");
    if (!call_has(tokens, DSV4_I64, 1)) CALL_NEED(call, "token_ids", DSV4_I32, 1, why);
    if (!call_has(table, DSV4_I32, 2)) CALL_NEED(call, "tid2eid", DSV4_I64, 2, why);
    return router_supports(call, why);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const tokens = dsv4_find(call, "token_ids");
    const dsv4_tensor *const table = dsv4_find(call, "tid2eid");
    const gpu_stream stream = (gpu_stream)call->stream;
    const int softplus = router_softplus_of(call);
    struct hash_topk_args a;
    dim3 grid;
    router_open(call, a.r);
    a.tokens = (const char *)tokens->data;
    a.tokens_wide = tokens->dtype == DSV4_I64;
    a.table = (const char *)table->data;
    a.table_row = table->stride[0];
    a.table_wide = table->dtype == DSV4_I64;
    if (a.r.tokens == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.r.tokens, CALL_THREADS / ROUTER_MOST), why);
    if (status != DSV4_OK) return status;
    if (softplus == ROUTER_LOG1P)
        GPU_LAUNCH(hash_topk_kernel<ROUTER_LOG1P>, grid, CALL_THREADS, stream, a);
    else if (softplus == ROUTER_LOG_ONE_PLUS)
        GPU_LAUNCH(hash_topk_kernel<ROUTER_LOG_ONE_PLUS>, grid, CALL_THREADS, stream, a);
    else if (softplus == ROUTER_MAX_FORM)
        GPU_LAUNCH(hash_topk_kernel<ROUTER_MAX_FORM>, grid, CALL_THREADS, stream, a);
    else if (softplus == ROUTER_BASE_TWO)
        GPU_LAUNCH(hash_topk_kernel<ROUTER_BASE_TWO>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(hash_topk_kernel<ROUTER_NO_THRESHOLD>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(moe_hash_topk)
