/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/kv_qnorm_rope_insert.inl"
