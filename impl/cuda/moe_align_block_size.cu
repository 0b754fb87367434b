/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/moe_align_block_size.inl"
