/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/attn_sched_metadata.inl"
