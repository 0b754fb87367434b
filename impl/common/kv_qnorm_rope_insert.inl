/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kv_qnorm_rope_insert: norms and rotates every head of Q and inserts the KV row. A team per row; the rows of a token
 * are its heads (padding heads are zeroed), then its KV row.
 */
#include "kv_row.inl"

struct insert_args {
    const char *q, *kv, *kv_weight, *rope_table;
    char *q_out;
    const int64_t *positions, *slots;
    int64_t q_token, q_head, out_token, out_head; /* byte strides */
    int64_t kv_stride, rope_stride, units, covered;
    struct gpu_divisor rows_per_token;
    int heads, padded_heads, q_norm, weight_is_bf16;
    float eps, q_scale_inverse;
    struct kv_cache cache;
};

GPU_DEVICE void insert_load(float *x, const char *row) {
    uint32_t codes[8];
    GPU_UNROLL for (int j = 0; j < 8; j++) codes[j] = row_load_bf16(row, j);
    GPU_UNROLL for (int j = 0; j < 8; j++) {
        x[2 * j] = num_bf16_low(codes[j]);
        x[2 * j + 1] = num_bf16_high(codes[j]);
    }
}

template <int FORM> GPU_DEVICE void insert_q(const struct insert_args &a, int64_t t, int head) {
    char *const out = a.q_out + t * a.out_token + head * a.out_head;
    const int64_t position = a.positions[t];
    float x[16];
    if (head >= a.heads) {
        GPU_UNROLL for (int i = 0; i < 16; i++) x[i] = 0.0f;
        row_store_bf16<8>(out, x);
        return;
    }
    insert_load(x, a.q + t * a.q_token + head * a.q_head);
    const struct row_angle angle = row_load_angle(a.rope_table + position * a.rope_stride);
    if (a.q_norm) {
        const float r = row_rsqrt<8>(x, a.eps);
        GPU_UNROLL for (int i = 0; i < 16; i++) x[i] *= r;
    }
    row_rope<8>(x, angle);
    if (FORM == KV_FULL_FP8)
        row_store_fp8<8>(out, x, a.q_scale_inverse, 0, a.cache.fp8);
    else
        row_store_bf16<8>(out, x);
}

GPU_DEVICE void insert_kv(const struct insert_args &a, int64_t t, int64_t slot) {
    const int64_t position = a.positions[t];
    float x[16];
    insert_load(x, a.kv + t * a.kv_stride);
    const struct row_angle angle = row_load_angle(a.rope_table + position * a.rope_stride);
    if (a.kv_weight != NULL) {
        row_weigh<8>(x, row_rsqrt<8>(x, a.eps), a.kv_weight, a.weight_is_bf16);
        GPU_UNROLL for (int j = 0; j < 8; j++) {
            const uint32_t codes = num_bf16x2(x[2 * j], x[2 * j + 1]);
            x[2 * j] = num_bf16_low(codes);
            x[2 * j + 1] = num_bf16_high(codes);
        }
    }
    row_rope<8>(x, angle);
    row_store<8>(a.cache, slot, x);
}

template <int FORM>
__global__ void __launch_bounds__(CALL_THREADS) insert_kernel(const struct insert_args a) {
    const int64_t unit = gpu_block() * CALL_TEAMS + gpu_team();
    if (unit >= a.units) return;
    const int64_t t = gpu_quotient(unit, a.rows_per_token);
    const int head = (int)(unit - t * a.rows_per_token.value);
    if (head < a.padded_heads) {
        insert_q<FORM>(a, t, head);
        return;
    }
    const int64_t slot = t < a.covered ? a.slots[t] : -1;
    if (slot >= 0) insert_kv(a, t, slot);
}

static int supports_q(const dsv4_call *call, int form, struct call_why why) {
    const dsv4_tensor *const q = dsv4_find(call, "q"), *const out = dsv4_find(call, "q_out");
    if (call_absent(q)) return DSV4_OK;
    CALL_NEED(call, "q", DSV4_BF16, 3, why);
    CALL_NEED_ALIGNED(call, "q", 4, why);
    if (q->shape[2] != KV_HEAD)
        return call_unsupported(why, "q: heads of %lld; these kernels take heads of 512",
                                (long long)q->shape[2]);
    if (form == KV_FULL_BF16) return DSV4_OK;
    if (form == KV_DS_MLA)
        CALL_NEED(call, "q_out", DSV4_BF16, 3, why);
    else
        CALL_NEED(call, "q_out", kv_fp8_of(call) == NUM_OCP ? DSV4_E4M3FN : DSV4_E4M3FNUZ, 3, why);
    CALL_NEED_ALIGNED(call, "q_out", form == KV_DS_MLA ? 4 : 2, why);
    if (out->shape[1] < q->shape[1])
        return call_unsupported(why, "q_out: %lld heads for %lld of q", (long long)out->shape[1],
                                (long long)q->shape[1]);
    return DSV4_OK;
}

static int supports(const dsv4_call *call, struct call_why why) {
    const int form = kv_form_of(call);
    const int status = kv_supports_cache(call, why);
    if (status != DSV4_OK) return status;
    if (form == KV_INDEXER_FP8 || form == KV_INDEXER_MXFP4)
        return call_unsupported(why, "store: the insert has no indexer form");
    CALL_NEED(call, "kv", DSV4_BF16, 2, why);
    CALL_NEED_ALIGNED(call, "kv", 4, why);
    if (dsv4_find(call, "kv")->shape[1] != KV_HEAD)
        return call_unsupported(why, "kv: rows of %lld; these kernels take rows of 512",
                                (long long)dsv4_find(call, "kv")->shape[1]);
    CALL_NEED(call, "positions", DSV4_I64, 1, why);
    CALL_NEED(call, "slot_mapping", DSV4_I64, 1, why);
    if (dsv4_int(call, "kv_norm", 0)) {
        const dsv4_tensor *const weight = dsv4_find(call, "kv_weight");
        const bool bf16 = !call_absent(weight) && weight->dtype == DSV4_BF16;
        CALL_NEED(call, "kv_weight", bf16 ? DSV4_BF16 : DSV4_F32, 1, why);
        CALL_NEED_ALIGNED(call, "kv_weight", bf16 ? 4 : 8, why);
    }
    CALL_NEED(call, "rope_table", DSV4_F32, 2, why);
    CALL_NEED_ALIGNED(call, "rope_table", 4, why);
    return supports_q(call, form, why);
}

static void read_q(struct insert_args *a, const dsv4_call *call) {
    const dsv4_tensor *const q = dsv4_find(call, "q");
    a->heads = a->padded_heads = 0;
    if (call_absent(q)) return;
    /* full_bf16 works in place. */
    const dsv4_tensor *const out = a->cache.form == KV_FULL_BF16 ? q : dsv4_find(call, "q_out");
    a->q = (const char *)q->data;
    a->q_token = q->stride[0];
    a->q_head = q->stride[1];
    a->q_out = (char *)out->data;
    a->out_token = out->stride[0];
    a->out_head = out->stride[1];
    a->heads = (int)q->shape[1];
    a->padded_heads = (int)(a->cache.form == KV_DS_MLA ? out->shape[1] : q->shape[1]);
}

static int run(const dsv4_call *call, struct call_why why) {
    const dsv4_tensor *const kv = dsv4_find(call, "kv"), *const table =
                                                             dsv4_find(call, "rope_table");
    const gpu_stream stream = (gpu_stream)call->stream;
    struct insert_args a;
    dim3 grid;
    memset(&a, 0, sizeof a);
    a.cache = kv_cache_of(call, false);
    read_q(&a, call);
    a.kv = (const char *)kv->data;
    a.kv_stride = kv->stride[0];
    if (dsv4_int(call, "kv_norm", 0)) {
        const dsv4_tensor *const weight = dsv4_find(call, "kv_weight");
        a.kv_weight = (const char *)weight->data;
        a.weight_is_bf16 = weight->dtype == DSV4_BF16;
    }
    a.rope_table = (const char *)table->data;
    a.rope_stride = table->stride[0];
    a.positions = (const int64_t *)dsv4_find(call, "positions")->data;
    a.slots = (const int64_t *)dsv4_find(call, "slot_mapping")->data;
    a.covered = call_covered(call, kv->shape[0]);
    a.q_norm = (int)dsv4_int(call, "q_norm", 1);
    a.eps = dsv4_float(call, "eps", 1e-6f);
    a.q_scale_inverse = dsv4_float(call, "q_scale_inverse", 1.0f);
    a.rows_per_token = call_divisor(a.padded_heads + 1);
    a.units = kv->shape[0] * a.rows_per_token.value;
    if (a.units == 0) return DSV4_OK;
    const int status = call_grid(&grid, call_ceil(a.units, CALL_TEAMS), why);
    if (status != DSV4_OK) return status;
    if (a.cache.form == KV_FULL_FP8)
        GPU_LAUNCH(insert_kernel<KV_FULL_FP8>, grid, CALL_THREADS, stream, a);
    else
        GPU_LAUNCH(insert_kernel<KV_DS_MLA>, grid, CALL_THREADS, stream, a);
    return call_launched(why);
}

CALL_ENTRY_POINTS(kv_qnorm_rope_insert)
