/* SPDX-License-Identifier: Apache-2.0 */
/* isa: inverse_quant_kernel fp8 */
#include "../common/rope_inverse_quant.inl"
