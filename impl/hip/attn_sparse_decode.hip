/* SPDX-License-Identifier: Apache-2.0 */
/* Two ways through long lists, with the arguments of two caches: more scalars than there are registers. Spilled ones
 * go to lanes of a VGPR. Sums of values wait in registers while scores are computed; LDS has room for one block, so that
 * each SIMD has one wave and its 512 VGPRs. */
/* isa: attn_kernel vgprs=432 lds=65536 sgpr-spills=160 */
#include "../common/attn_sparse_decode.inl"
