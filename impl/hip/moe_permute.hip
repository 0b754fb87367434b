/* SPDX-License-Identifier: Apache-2.0 */
/* isa: permute_place_kernel<true> sgpr-spills=51 */
/* isa: permute_place_kernel<false> sgpr-spills=47 */
#include "../common/moe_permute.inl"
