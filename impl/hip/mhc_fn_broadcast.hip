/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/mhc_fn_broadcast.inl"
