/* SPDX-License-Identifier: Apache-2.0 */
/* isa: confidence_kernel lds=46080 */
#include "../common/mtp_confidence.inl"
