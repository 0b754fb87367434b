/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/quant_group_fp8.inl"
