/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * In a flood of new connections a scheduler that chooses by a hash of the client does without entries: it chooses the
 * same for each packet. The idea: Katran's limit of new connections per core.
 */
#pragma once

#include "dataplane/ebpf/bpf/budget.h"
#include "dataplane/ebpf/bpf/schedule_table.h"

/* Whether `service` is to forget a new connection, by what this CPU has opened lately. */
static __always_inline int goes_stateless(const struct klvs_service *service, __u64 now,
					  const struct klvs_settings *settings)
{
	__u64 per_second = settings->stateful_per_second;
	struct klvs_budget *budget;
	__u32 zero = 0;

	if (!per_second || !scheduler_has_table(service->scheduler) ||
	    service->flags & (KLVS_SERVICE_THRESHOLDS | KLVS_SERVICE_PERSISTENT))
		return 0;
	budget = bpf_map_lookup_elem(&klvs_stateful_budget, &zero);
	return budget && !budget_take(budget, now, settings->hz, per_second, per_second / 8 + 1);
}
