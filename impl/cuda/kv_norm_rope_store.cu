/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/kv_norm_rope_store.inl"
