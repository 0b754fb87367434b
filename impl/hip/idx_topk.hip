/* SPDX-License-Identifier: Apache-2.0 */
/* isa: topk_rows_kernel lds=65536 */
#include "../common/idx_topk.inl"
