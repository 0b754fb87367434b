/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/kv_save_partial_states.inl"
