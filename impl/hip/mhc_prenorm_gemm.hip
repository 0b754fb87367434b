/* SPDX-License-Identifier: Apache-2.0 */
/* isa: mhc_dots_kernel<0, 64, 24 vgprs=184 lds=45568 */
#include "../common/mhc_prenorm_gemm.inl"
