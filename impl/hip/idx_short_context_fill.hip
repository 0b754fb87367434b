/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_short_context_fill.inl"
