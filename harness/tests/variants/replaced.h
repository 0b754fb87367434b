/* SPDX-License-Identifier: Apache-2.0 */
/* The reference without its own loops over dots: those of tiles.c and online.c take their place. */
#include "../../../reference/ops/attn_family.h"
#include "../../../reference/ops/gemm_family.h"
#include "../../../reference/ops/idx_query.h"
#include "../../../reference/ops/mhc_family.h"
#include "../../../reference/ops/mtp_rows.h"

#pragma weak attn_token_attend
#pragma weak gemm_exact
#pragma weak gemm_add_partials
#pragma weak gemm_add_partial
#pragma weak gemm_add_chains
#pragma weak mhc_add_block
#pragma weak mtp_add_bias
#pragma weak mtp_add_dots
#pragma weak idx_query_butterflies
