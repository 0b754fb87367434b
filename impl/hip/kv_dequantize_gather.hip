/* SPDX-License-Identifier: Apache-2.0 */
/* isa: gather_kernel from-fp8 */
/* isa: gather_wide_kernel<1 from-fp8 */
/* isa: gather_wide_kernel<2 from-fp8 */
#include "../common/kv_dequantize_gather.inl"
