/* SPDX-License-Identifier: Apache-2.0 */
/* isa: logits_kernel vgprs=184 lds=65536 */
#include "../common/idx_mqa_logits.inl"
