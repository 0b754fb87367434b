/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_q_hadamard_quant.inl"
