/* SPDX-License-Identifier: Apache-2.0 */
/* isa: insert_kernel fp8 */
#include "../common/kv_qnorm_rope_insert.inl"
