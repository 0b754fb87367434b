/* SPDX-License-Identifier: Apache-2.0 */
/* isa: quantize_kernel fp8 */
/* isa: quantize_wide_kernel fp8 */
#include "../common/kv_quantize_insert.inl"
