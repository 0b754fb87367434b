/* SPDX-License-Identifier: Apache-2.0 */
/* isa: combine_kernel vgprs=136 */
/* The epilogue's addresses add to what the sums hold; three waves fit on a SIMD either way. */
/* isa: combine_kernel<0, 1> vgprs=168 sgpr-spills=40 */
/* isa: combine_kernel<0, 2> vgprs=168 sgpr-spills=40 */
#include "../common/attn_combine.inl"
