/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/quant_fp8_dequant.inl"
