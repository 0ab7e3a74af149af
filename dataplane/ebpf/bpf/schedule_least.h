/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lc, wlc, sed, nq, fo, ovf: one walk over the service's list for the real server with the least
 * load for its weight; of equals, the first. They differ in what they call load and weight. Source:
 * ip_vs_lc.c and the others of Linux 6.1, restated.
 */
#pragma once

#include "dataplane/ebpf/bpf/real_conns.h"

#define LOAD_OF_ACTIVE 257 /* of lc and wlc: as so many inactive ones */

struct least_walk {
	__u64 load; /* of `real` */
	__u32 weight;
	__u32 real; /* the least so far; 0 none */
	__u32 base;
	/* What makes up the load: an active connection, an inactive one, and what is there anyway. */
	__u32 per_active;
	__u32 per_inactive;
	__u32 constant;
	__u8 unweighted;
	__u8 never_queue;
	__u8 overflow;
};

/* Whether the choices depend on how many connections there are. */
static __always_inline int scheduler_counts(__u32 scheduler)
{
	return (scheduler >= KLVS_SCHEDULER_LC && scheduler <= KLVS_SCHEDULER_TWOS) ||
	       scheduler >= KLVS_SCHEDULER_LBLC;
}

static __always_inline __u64 real_overhead(const struct klvs_real_conns *c)
{
	return (__u64)c->active * LOAD_OF_ACTIVE + c->inactive;
}

static long least_visit(__u32 n, void *data)
{
	struct least_walk *walk = data;
	__u32 index = walk->base + n, real, weight;
	struct klvs_list_entry *entry = bpf_map_lookup_elem(&klvs_lists, &index);
	struct klvs_real_conns *c;
	__u64 load;

	if (!entry)
		return 1;
	real = entry->real;
	weight = entry->weight;
	c = bpf_map_lookup_elem(&klvs_real_conns, &real);
	if (!c || !weight || c->overloaded)
		return 0;
	if (walk->overflow && c->active > weight)
		return 0;
	if (walk->never_queue && !c->active) {
		walk->real = real;
		return 1;
	}
	load = (__u64)c->active * walk->per_active + (__u64)c->inactive * walk->per_inactive +
	       walk->constant;
	if (walk->unweighted)
		weight = 1;
	if (walk->real && walk->load * weight <= load * walk->weight)
		return 0;
	walk->real = real;
	walk->load = load;
	walk->weight = weight;
	return 0;
}

/* The real server's id; 0 if there is none. */
static __noinline __u32 schedule_least(const struct klvs_service *service, __u32 scheduler)
{
	struct least_walk walk = {
		.base = service->list_base,
		.unweighted = scheduler == KLVS_SCHEDULER_LC,
		.never_queue = scheduler == KLVS_SCHEDULER_NQ,
		.overflow = scheduler == KLVS_SCHEDULER_OVF,
		.constant = 1,
		.real = KLVS_LOOP_ZERO,
		.load = KLVS_LOOP_ZERO,
		.weight = KLVS_LOOP_ZERO,
	};

	if (scheduler == KLVS_SCHEDULER_LC || scheduler == KLVS_SCHEDULER_WLC) {
		walk.per_active = LOAD_OF_ACTIVE;
		walk.per_inactive = 1;
		walk.constant = 0;
	} else if (scheduler == KLVS_SCHEDULER_SED || scheduler == KLVS_SCHEDULER_NQ) {
		walk.per_active = 1;
	}
	bpf_loop(service->list_count, least_visit, &walk, 0);
	return walk.real;
}
