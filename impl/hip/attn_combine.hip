/* SPDX-License-Identifier: Apache-2.0 */
/* isa: combine_kernel vgprs=136 */
#include "../common/attn_combine.inl"
