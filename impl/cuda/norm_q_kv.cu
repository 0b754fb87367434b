/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/norm_q_kv.inl"
