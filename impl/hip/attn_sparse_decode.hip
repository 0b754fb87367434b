/* SPDX-License-Identifier: Apache-2.0 */
/* isa: attn_kernel vgprs=384 lds=65536 sgpr-spills=128 */
#include "../common/attn_sparse_decode.inl"
