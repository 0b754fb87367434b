/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/mtp_dspark_qkv.inl"
