/* SPDX-License-Identifier: Apache-2.0 */
/* isa: mhc_dots_kernel<0, 64, 4 lds=35328 */
/* isa: mhc_dots_kernel<1, 64, 4 lds=35328 */
#include "../common/mhc_head.inl"
