/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/quant_rotate.inl"
