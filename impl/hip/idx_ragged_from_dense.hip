/* SPDX-License-Identifier: Apache-2.0 */
/* Lane masks of entries that are written one by one; spilled to lanes of a VGPR. */
/* isa: idx_ragged_kernel<dense_op, true> sgpr-spills=6 */
/* isa: idx_ragged_kernel<dense_op, false> sgpr-spills=8 */
#include "../common/idx_ragged_from_dense.inl"
