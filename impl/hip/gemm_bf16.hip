/* SPDX-License-Identifier: Apache-2.0 */
/* isa: parts_kernel vgprs=200 lds=65536 */
/* isa: chain_large_kernel vgprs=304 lds=33792 */
#include "../common/gemm_bf16.inl"
