/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/moe_mask_indices_by_tp.inl"
