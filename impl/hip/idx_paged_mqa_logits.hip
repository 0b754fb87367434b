/* SPDX-License-Identifier: Apache-2.0 */
/* isa: logits_kernel vgprs=256 lds=65536 */
#include "../common/idx_paged_mqa_logits.inl"
