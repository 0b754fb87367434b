/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_c128a_metadata.inl"
