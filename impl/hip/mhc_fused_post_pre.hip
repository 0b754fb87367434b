/* SPDX-License-Identifier: Apache-2.0 */
/* isa: mhc_dots_kernel<2, 64, 24 vgprs=200 lds=45568 */
/* isa: mhc_dots_kernel<3, 64, 24 vgprs=200 lds=45568 */
/* isa: mhc_dots_kernel<2, 8, 12 vgprs=200 */
/* isa: mhc_dots_kernel<3, 8, 12 vgprs=200 */
/* isa: mhc_apply_kernel<1> lds=33044 */
/* isa: mhc_apply_kernel<2> lds=33044 */
#include "../common/mhc_fused_post_pre.inl"
