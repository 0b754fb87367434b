/* SPDX-License-Identifier: Apache-2.0 */
/* Ratio 128 by thread block clusters (sm_90 and up): blocks write their slice into the first one's shared memory. */
#ifdef GPU_CLUSTERS
#include <cooperative_groups.h>

#define FUSED_CLUSTER 1
#define FUSED_CLUSTER_BARRIER() cooperative_groups::this_cluster().sync()
#define FUSED_FIRST_BLOCK(at) cooperative_groups::this_cluster().map_shared_rank(at, 0)
#endif

#include "../common/kv_compress_norm_rope_store.inl"
