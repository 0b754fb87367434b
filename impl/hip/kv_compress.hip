/* SPDX-License-Identifier: Apache-2.0 */
/* isa: compress128_kernel vgprs=176 */
/* isa: compress4_kernel<8, true> vgprs=136 */
#include "../common/kv_compress.inl"
