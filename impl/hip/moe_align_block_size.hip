/* SPDX-License-Identifier: Apache-2.0 */
/* A block has a compute unit for itself: its 1024 threads count in as much LDS as there is. */
/* isa: sort_kernel<align_args> lds=65536 */
#include "../common/moe_align_block_size.inl"
