/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_compressed_slot_mapping.inl"
