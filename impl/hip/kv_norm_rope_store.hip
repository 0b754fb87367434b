/* SPDX-License-Identifier: Apache-2.0 */
/* isa: norm_rope_store_kernel fp8 */
#include "../common/kv_norm_rope_store.inl"
