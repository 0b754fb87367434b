/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/attn_decode_partial.inl"
