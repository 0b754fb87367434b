/* SPDX-License-Identifier: Apache-2.0 */
/* isa: fused128_kernel vgprs=168 sgpr-spills=16 fp8 */
/* isa: fused4_kernel sgpr-spills=16 fp8 */
/* isa: fused4_wide_kernel fp8 */
#include "../common/kv_compress_norm_rope_store.inl"
