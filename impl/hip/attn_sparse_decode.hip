/* SPDX-License-Identifier: Apache-2.0 */
/* isa: attn_kernel vgprs=344 lds=65536 sgpr-spills=112 */
#include "../common/attn_sparse_decode.inl"
