/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the list and of the prefix sum together; spilled to lanes of a VGPR. */
/* isa: idx_ragged_kernel<combine_ragged, true> sgpr-spills=48 */
/* isa: idx_ragged_kernel<combine_ragged, false> sgpr-spills=48 */
/* isa: idx_head_kernel<combine_ragged> sgpr-spills=48 */
#include "../common/idx_combine_topk_swa.inl"
