/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/gemm_bf16.inl"
