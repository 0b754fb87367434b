/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/gemm_fp8_block.inl"
