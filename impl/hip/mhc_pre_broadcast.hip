/* SPDX-License-Identifier: Apache-2.0 */
/* isa: mhc_dots_kernel<0, 64, 24 vgprs=184 lds=45568 */
/* isa: mhc_apply_kernel<1> lds=33044 */
/* isa: mhc_apply_kernel<2> lds=33044 */
#include "../common/mhc_pre_broadcast.inl"
