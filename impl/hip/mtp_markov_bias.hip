/* SPDX-License-Identifier: Apache-2.0 */
#include "../common/mtp_markov_bias.inl"
