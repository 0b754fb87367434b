/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_topk_buffer.inl"
