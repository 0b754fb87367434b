/* SPDX-License-Identifier: Apache-2.0 */
/* Two ways through long lists, with the arguments of two caches: more scalars than there are registers. Spilled ones
 * go to lanes of a VGPR. */
/* isa: attn_kernel vgprs=384 lds=65536 sgpr-spills=160 */
#include "../common/attn_sparse_decode.inl"
