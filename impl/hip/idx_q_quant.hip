/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_q_quant.inl"
