/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lc, wlc, sed, nq, fo, ovf: one walk over the service's list for the real server with the least
 * load for its weight; of equals, the first. They differ in what they call load and weight. Source:
 * ip_vs_lc.c and the others of Linux 6.1, restated.
 */
#pragma once

#include "dataplane/ebpf/bpf/real_conns.h"

#define LOAD_OF_ACTIVE 257 /* of lc and wlc: as so many inactive ones */

#define LEAST_FEW 16

/* What a scheduler calls load and weight. */
struct least_rule {
	/* What makes up the load: an active connection, an inactive one, and what is there anyway. */
	__u32 per_active;
	__u32 per_inactive;
	__u32 constant;
	__u8 unweighted;
	__u8 never_queue;
	__u8 overflow;
	__u8 special; /* one of these three */
};

struct least_found {
	__u64 load; /* of `real` */
	__u32 weight;
	__u32 real; /* the least so far; 0 none */
};

struct least_walk {
	struct least_rule rule;
	struct least_found found;
	__u32 base;
};

/* Whether the choices depend on how many connections there are. */
static __always_inline int scheduler_counts(__u32 scheduler)
{
	const __u32 counts = 1 << KLVS_SCHEDULER_LC | 1 << KLVS_SCHEDULER_WLC |
			     1 << KLVS_SCHEDULER_SED | 1 << KLVS_SCHEDULER_NQ |
			     1 << KLVS_SCHEDULER_OVF | 1 << KLVS_SCHEDULER_TWOS |
			     1 << KLVS_SCHEDULER_LBLC | 1 << KLVS_SCHEDULER_LBLCR;

	return counts >> (scheduler & 31) & 1;
}

static __always_inline __u64 real_overhead(const struct klvs_real_conns *c)
{
	return (__u64)c->active * LOAD_OF_ACTIVE + c->inactive;
}

/* Looks at the list's entry at `index`; 1 if nobody behind it can be better. */
static __always_inline int least_look(__u32 index, const struct least_rule *rule,
				      struct least_found *found)
{
	struct klvs_list_entry *entry = bpf_map_lookup_elem(&klvs_lists, &index);
	__u32 real, weight, active;
	struct klvs_real_conns *c;
	__u64 load;

	if (!entry)
		return 1;
	real = entry->real;
	weight = entry->weight;
	c = bpf_map_lookup_elem(&klvs_real_conns, &real);
	if (!c || !weight || c->overloaded)
		return 0;
	active = c->active;
	if (rule->special) {
		if (rule->overflow && active > weight)
			return 0;
		if (rule->never_queue && !active) {
			found->real = real;
			return 1;
		}
		if (rule->unweighted)
			weight = 1;
	}
	load = (__u64)active * rule->per_active + (__u64)c->inactive * rule->per_inactive +
	       rule->constant;
	if (found->real && found->load * weight <= load * found->weight)
		return 0;
	found->real = real;
	found->load = load;
	found->weight = weight;
	return 0;
}

static long least_visit(__u32 n, void *data)
{
	struct least_walk *walk = data;

	return least_look(walk->base + n, &walk->rule, &walk->found);
}

static __always_inline struct least_rule least_rule(__u32 scheduler)
{
	struct least_rule rule = {
		.unweighted = scheduler == KLVS_SCHEDULER_LC,
		.never_queue = scheduler == KLVS_SCHEDULER_NQ,
		.overflow = scheduler == KLVS_SCHEDULER_OVF,
		.constant = 1,
	};

	rule.special = rule.unweighted | rule.never_queue | rule.overflow;
	if (scheduler == KLVS_SCHEDULER_LC || scheduler == KLVS_SCHEDULER_WLC) {
		rule.per_active = LOAD_OF_ACTIVE;
		rule.per_inactive = 1;
		rule.constant = 0;
	} else if (scheduler == KLVS_SCHEDULER_SED || scheduler == KLVS_SCHEDULER_NQ) {
		rule.per_active = 1;
	}
	return rule;
}

static __always_inline struct least_found least_nobody(void)
{
	return (struct least_found){
		.real = KLVS_LOOP_ZERO,
		.load = KLVS_LOOP_ZERO,
		.weight = KLVS_LOOP_ZERO,
	};
}

/* A loop of our own, which keeps the best in registers, costs half of what bpf_loop does. */
static __always_inline __u32 least_loop(const struct klvs_service *service,
					const struct least_rule rule)
{
	struct least_found found = least_nobody();
	const __u32 base = READ_ONCE(service->list_base), count = READ_ONCE(service->list_count);
	__u32 n;

	for (n = 0; n < LEAST_FEW; n++)
		if (n >= count || least_look(base + n, &rule, &found))
			break;
	return found.real;
}

static __noinline __u32 least_of_few(const struct klvs_service *service, __u32 scheduler)
{
	/* The default one with a loop of its own, in which the rule is constants. */
	if (scheduler == KLVS_SCHEDULER_WLC)
		return least_loop(service, least_rule(KLVS_SCHEDULER_WLC));
	return least_loop(service, least_rule(scheduler));
}

static __noinline __u32 least_of_many(const struct klvs_service *service, __u32 scheduler)
{
	struct least_walk walk = {
		.rule = least_rule(scheduler),
		.found = least_nobody(),
		.base = service->list_base,
	};

	bpf_loop(service->list_count, least_visit, &walk, 0);
	return walk.found.real;
}

/* The real server's id; 0 if there is none. */
static __always_inline __u32 schedule_least(const struct klvs_service *service, __u32 scheduler)
{
	if (service->list_count <= LEAST_FEW)
		return least_of_few(service, scheduler);
	return least_of_many(service, scheduler);
}
