/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the mapping and of the prefix sum together; spilled to lanes of a VGPR. */
/* isa: idx_ragged_kernel<global_topk_ragged, true> sgpr-spills=28 */
/* isa: idx_ragged_kernel<global_topk_ragged, false> sgpr-spills=30 */
#include "../common/idx_global_topk.inl"
