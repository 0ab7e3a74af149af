/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many ICMP messages the programs make up: as few as the kernel. */
#pragma once

#include "dataplane/ebpf/bpf/budget.h"

/* Takes an answer out of this CPU's budget, if there is one left. */
static __always_inline int may_answer(__u64 now, const struct klvs_settings *settings)
{
	__u32 zero = 0;
	struct klvs_budget *budget = bpf_map_lookup_elem(&klvs_answer_budget, &zero);

	return budget && budget_take(budget, now, settings->hz, KLVS_ANSWERS_PER_SECOND,
				     KLVS_ANSWERS_AT_ONCE);
}
