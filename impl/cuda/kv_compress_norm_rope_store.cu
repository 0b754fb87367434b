/* SPDX-License-Identifier: Apache-2.0 */
/* Ratio 128 by thread block clusters: blocks write their slice into the first one's shared memory. */
#include <cooperative_groups.h>

#define FUSED_CLUSTER 1
#define FUSED_CLUSTER_BARRIER() cooperative_groups::this_cluster().sync()
#define FUSED_KEEP_FIRST_BLOCK(at, values) \
    fused_keep(cooperative_groups::this_cluster().map_shared_rank(at, 0), values)

#include "../common/kv_compress_norm_rope_store.inl"
