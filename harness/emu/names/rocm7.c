/* SPDX-License-Identifier: Apache-2.0 */
/* libamdhip64.so.7: the same library under another name. */
extern const int dsv4_emu_rocm;
const int dsv4_emu_rocm = 7;
