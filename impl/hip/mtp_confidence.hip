/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/mtp_confidence.inl"
