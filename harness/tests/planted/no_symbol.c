/* SPDX-License-Identifier: Apache-2.0 */
/* Exports everything but the entry point. */
const char *acme_version(void);
const char *acme_version(void) { return "1"; }
