/* SPDX-License-Identifier: Apache-2.0 */
/* isa: experts_chain_kernel vgprs=144 lds=41984 */
#include "../common/gemm_fp8_fp4.inl"
