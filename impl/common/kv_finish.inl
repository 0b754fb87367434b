/* SPDX-License-Identifier: Apache-2.0 */
/* The compressor's finishing half: norm, RoPE, quantise and store one pooled row. */
#ifndef DSV4_KV_FINISH_INL
#define DSV4_KV_FINISH_INL

#include "kv_row.inl"

struct kv_finish {
    const char *weight, *rope_table;
    const int64_t *kv_slots;
    int64_t rope_stride;
    struct kv_cache cache;
    float eps;
    int ratio, weight_is_bf16;
};

/* This lane's cos and sin. NARROW: the table is bf16. A kernel of its own: at the branch both forms would pay in registers. */
template <bool NARROW> GPU_DEVICE struct row_angle finish_angle(const char *table_row) {
    if (!NARROW) return row_load_angle(table_row);
    const uint16_t *const table = (const uint16_t *)table_row;
    struct row_angle angle;
    angle.c = num_bf16_low(table[gpu_lane()]);
    angle.s = num_bf16_low(table[KV_ROPE / 2 + gpu_lane()]);
    return angle;
}

/* x: the pooled row in the team's lanes. RoPE turns by the first of the window's new positions. */
template <int J, bool NARROW>
GPU_DEVICE void finish_row(const struct kv_finish &f, float *x, int64_t position, int64_t slot) {
    const struct row_angle angle =
        finish_angle<NARROW>(f.rope_table + (position & -(int64_t)f.ratio) * f.rope_stride);
    row_weigh<J>(x, row_rsqrt<J>(x, f.eps), f.weight, f.weight_is_bf16);
    row_rope<J>(x, angle);
    row_store<J>(f.cache, slot, x);
}

static inline struct kv_finish kv_finish_of(const dsv4_call *call) {
    const dsv4_tensor *const weight = dsv4_find(call, "weight");
    const dsv4_tensor *const table = dsv4_find(call, "rope_table");
    struct kv_finish f;
    f.weight = (const char *)weight->data;
    f.weight_is_bf16 = weight->dtype == DSV4_BF16;
    f.rope_table = (const char *)table->data;
    f.rope_stride = table->stride[0];
    f.kv_slots = (const int64_t *)dsv4_find(call, "kv_slot_mapping")->data;
    f.cache = kv_cache_of(call, true);
    f.eps = dsv4_float(call, "eps", 1e-6f);
    f.ratio = (int)dsv4_int(call, "ratio", 4);
    return f;
}

static inline bool kv_finish_is_narrow(const dsv4_call *call) {
    return call_has(dsv4_find(call, "rope_table"), DSV4_BF16, 2);
}

static inline int kv_supports_finish(const dsv4_call *call, int64_t head, struct call_why why) {
    const dsv4_tensor *const weight = dsv4_find(call, "weight");
    const bool bf16 = !call_absent(weight) && weight->dtype == DSV4_BF16;
    const int status = kv_supports_cache(call, why);
    if (status != DSV4_OK) return status;
    CALL_NEED(call, "weight", bf16 ? DSV4_BF16 : DSV4_F32, 1, why);
    CALL_NEED_ALIGNED(call, "weight", bf16 ? 4 : 8, why);
    if (weight->shape[0] != head)
        return call_unsupported(why, "weight: %lld values for rows of %lld",
                                (long long)weight->shape[0], (long long)head);
    const bool narrow = kv_finish_is_narrow(call);
    CALL_NEED(call, "rope_table", narrow ? DSV4_BF16 : DSV4_F32, 2, why);
    CALL_NEED_ALIGNED(call, "rope_table", narrow ? 2 : 4, why);
    CALL_NEED(call, "kv_slot_mapping", DSV4_I64, 1, why);
    return DSV4_OK;
}

#endif
