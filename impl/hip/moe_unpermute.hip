/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/moe_unpermute.inl"
