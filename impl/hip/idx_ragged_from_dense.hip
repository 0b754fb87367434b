/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_ragged_from_dense.inl"
