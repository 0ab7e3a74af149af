/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many ICMP messages the programs make up: as few as the kernel. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

/* Takes an answer out of this CPU's budget, if there is one left. */
static __always_inline int may_answer(__u64 now, const struct klvs_settings *settings)
{
	__u32 zero = 0;
	struct klvs_answer_budget *budget = bpf_map_lookup_elem(&klvs_answer_budget, &zero);
	__u64 earned;

	if (!budget)
		return 0;
	earned = (now - budget->since) * KLVS_ANSWERS_PER_SECOND / settings->hz;
	if (earned) {
		budget->since = now;
		budget->left += earned;
		if (budget->left > KLVS_ANSWERS_AT_ONCE || earned > KLVS_ANSWERS_AT_ONCE)
			budget->left = KLVS_ANSWERS_AT_ONCE;
	}
	if (!budget->left)
		return 0;
	budget->left -= 1;
	return 1;
}
