/* SPDX-License-Identifier: Apache-2.0 */
/* Two ways through long lists, with the arguments of two caches: more scalars than there are registers. Spilled ones
 * go to lanes of a VGPR. */
/* isa: attn_kernel<4, 16, 1, true, true, true> sgpr-spills=160 */
/* isa: attn_kernel<8, 16, 1, true, true, true> sgpr-spills=160 */
#include "../common/attn_decode_partial.inl"
