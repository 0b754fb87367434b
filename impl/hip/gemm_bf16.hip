/* SPDX-License-Identifier: Apache-2.0 */
/* isa: chain_large_kernel vgprs=304 lds=33792 */
/* isa: chain_small_kernel vgprs=200 lds=41984 */
#include "../common/gemm_bf16.inl"
