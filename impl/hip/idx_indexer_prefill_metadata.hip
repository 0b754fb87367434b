/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/idx_indexer_prefill_metadata.inl"
