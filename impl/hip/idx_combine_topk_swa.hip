/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_combine_topk_swa.inl"
