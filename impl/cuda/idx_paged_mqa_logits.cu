/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_paged_mqa_logits.inl"
