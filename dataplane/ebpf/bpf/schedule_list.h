/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rr and wrr: a walk over the service's list from its cursor. The cursor is one word, replaced by
 * compare-and-swap, so that on several CPUs the choices are those of some serial order.
 */
#pragma once

#include "dataplane/ebpf/bpf/real_conns.h"

#define SCHEDULE_TRIES 8

struct list_walk {
	__u32 base;
	__u32 count;
	__u32 from;   /* index of the first one looked at; the walk is circular */
	__s32 weight; /* the least that will do */
	__u32 real;   /* found; 0 if none */
	__u32 position;
	__u32 limited; /* some real server has a threshold */
	__s32 greatest; /* list_weigh: of the weights of those that take connections */
};

static long list_visit(__u32 n, void *data)
{
	struct list_walk *walk = data;
	struct klvs_list_entry *entry;
	__u32 index = walk->from + n;

	if (index >= walk->count)
		index -= walk->count;
	n = walk->base + index;
	entry = bpf_map_lookup_elem(&klvs_lists, &n);
	if (!entry)
		return 1;
	if ((__s32)entry->weight < walk->weight)
		return 0;
	n = entry->real;
	if (walk->limited && real_is_overloaded(n))
		return 0;
	walk->real = n;
	walk->position = index + 1;
	return 1;
}

/* Looks at `steps` entries from index `from` on, for one of at least `weight`. */
static __always_inline void list_find(struct list_walk *walk, __u32 from, __u32 steps, __s32 weight)
{
	walk->from = from;
	walk->weight = weight;
	bpf_loop(steps, list_visit, walk, 0);
}

static long list_weigh(__u32 n, void *data)
{
	struct list_walk *walk = data;
	struct klvs_list_entry *entry;
	__s32 weight;

	n += walk->base;
	entry = bpf_map_lookup_elem(&klvs_lists, &n);
	if (!entry)
		return 1;
	weight = entry->weight;
	n = entry->real;
	if (weight > walk->greatest && !real_is_overloaded(n))
		walk->greatest = weight;
	return 0;
}

static __always_inline __u64 cursor_word(__u32 generation, __u32 position, __u32 weight)
{
	return (__u64)generation << 48 | (__u64)(position & 0xffff) << 32 | weight;
}

/*
 * wrr: the rest of the pass at `weight`, then one from the head at the next weight at which
 * somebody takes connections: the kernel tries those in between, too, and finds nobody. Returns the
 * weight of the cursor from now on; walk->real is 0 if there is nobody.
 */
static __always_inline __s32 wrr_find(struct list_walk *walk, const struct klvs_service *service,
				      __u32 position, __s32 weight)
{
	__s32 mark = service->wrr_max, step = service->wrr_gcd;

	list_find(walk, position, walk->count - position, weight);
	if (walk->real)
		return weight;
	if (walk->limited) {
		walk->greatest = KLVS_LOOP_ZERO;
		bpf_loop(walk->count, list_weigh, walk, 0);
		if (!walk->greatest) {
			/* As the kernel leaves its mark. */
			walk->position = weight > step ? 0 : position;
			return weight > step || !position ? mark : weight;
		}
		mark = walk->greatest - step + 1;
	}
	weight -= step;
	if (weight <= 0)
		weight = service->wrr_max;
	if (weight > mark)
		weight = mark;
	list_find(walk, 0, walk->count, weight);
	return weight;
}

/* The real server's id; 0 if there is none. */
static __noinline __u32 schedule_list(const struct klvs_service *service)
{
	struct list_walk walk = {
		.base = service->list_base,
		.count = service->list_count,
		.limited = service->flags & KLVS_SERVICE_THRESHOLDS,
	};
	struct klvs_service_state *state;
	__u32 id = service->id, i;

	state = bpf_map_lookup_elem(&klvs_service_state, &id);
	if (!state || !walk.count || walk.count > 65535)
		return 0;
	for (i = 0; i < SCHEDULE_TRIES; i++) {
		__u64 before = READ_ONCE(state->cursor), after;
		__u32 position = before >> 32 & 0xffff;
		__s32 weight = before;

		if (before >> 48 != service->generation) {
			position = service->start_position;
			weight = service->start_weight;
		}
		if (position > walk.count)
			position = 0;
		walk.real = KLVS_LOOP_ZERO;
		walk.position = position;
		if (service->scheduler == KLVS_SCHEDULER_RR) {
			list_find(&walk, position, walk.count, 1);
		} else {
			if (service->wrr_max == 0)
				return 0;
			if (weight <= 0)
				weight = service->wrr_max;
			weight = wrr_find(&walk, service, position, weight);
		}
		after = cursor_word(service->generation, walk.position, weight);
		if (after == before ||
		    __sync_val_compare_and_swap(&state->cursor, before, after) == before)
			break;
	}
	return walk.real;
}
