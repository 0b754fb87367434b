/* SPDX-License-Identifier: Apache-2.0 */
/* isa: align_kernel sgpr-spills=47 */
#include "../common/moe_align_block_size.inl"
