/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/rope_inverse_quant.inl"
