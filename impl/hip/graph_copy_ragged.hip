/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/graph_copy_ragged.inl"
