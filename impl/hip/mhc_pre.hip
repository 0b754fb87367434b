/* SPDX-License-Identifier: Apache-2.0 */
/* isa: mhc_apply_kernel<1> lds=33044 */
/* isa: mhc_apply_kernel<2> lds=33044 */
#include "../common/mhc_pre.inl"
