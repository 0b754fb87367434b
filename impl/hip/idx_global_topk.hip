/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_global_topk.inl"
