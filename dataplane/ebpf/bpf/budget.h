/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Token buckets, of each CPU. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

/* Takes one of `per_second`, of which `at_once` may have gathered; 0 if none is left. */
static __always_inline int budget_take(struct klvs_budget *budget, __u64 now, __u32 hz,
				       __u64 per_second, __u64 at_once)
{
	__u64 earned = (now - budget->since) * per_second / hz;

	if (earned) {
		budget->since = now;
		budget->left += earned;
		if (budget->left > at_once || earned > at_once)
			budget->left = at_once;
	}
	if (!budget->left)
		return 0;
	budget->left -= 1;
	return 1;
}
