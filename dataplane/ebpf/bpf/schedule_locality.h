/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lblc, lblcr: connections to an address go where those before went, until that one is overloaded
 * and another has less to do. Source: ip_vs_lblc.c and ip_vs_lblcr.c of Linux 6.1, restated. Our
 * services have one address each, so that the kernel's table of destinations is one entry.
 */
#pragma once

#include "dataplane/ebpf/bpf/schedule_least.h"

#define LOCALITY_SECONDS 86400 /* the kernel's lblc_expiration and lblcr_expiration */

struct set_walk {
	__u64 load; /* of `real` */
	__u32 weight;
	__u32 joined;
	__u32 real; /* the best so far; 0 none */
	__u32 base;
	__u32 first;   /* least `joined` of a member */
	__u32 members; /* how many there are */
	__u32 most;    /* the one with the most load is the best */
};

/* One of the list that has less than half to do of what it could: its active connections double are
 * fewer than its weight. */
static long idle_visit(__u32 n, void *data)
{
	struct set_walk *walk = data;
	__u32 index = walk->base + n, real;
	struct klvs_list_entry *entry = bpf_map_lookup_elem(&klvs_lists, &index);
	struct klvs_real_conns *c;

	if (!entry)
		return 1;
	real = entry->real;
	c = bpf_map_lookup_elem(&klvs_real_conns, &real);
	if (!c || (__u64)c->active * 2 >= entry->weight)
		return 0;
	walk->real = real;
	return 1;
}

static long set_visit(__u32 n, void *data)
{
	struct set_walk *walk = data;
	__u32 index = walk->base + n, real, weight, joined;
	struct klvs_list_entry *entry = bpf_map_lookup_elem(&klvs_lists, &index);
	struct klvs_real_conns *c;
	__u64 load, here, there;

	if (!entry)
		return 1;
	real = entry->real;
	weight = entry->weight;
	c = bpf_map_lookup_elem(&klvs_real_conns, &real);
	if (!c)
		return 0;
	joined = c->joined;
	if (joined < walk->first)
		return 0;
	walk->members += 1;
	if (!weight || (c->overloaded && !walk->most))
		return 0;
	load = real_overhead(c);
	here = load * walk->weight;
	there = walk->load * weight;
	if (walk->most) {
		__u64 other = here;

		here = there;
		there = other;
	}
	/* Of equals, the one that joined last. */
	if (walk->real && (here > there || (here == there && joined < walk->joined)))
		return 0;
	walk->real = real;
	walk->load = load;
	walk->weight = weight;
	walk->joined = joined;
	return 0;
}

/* Whether a real server has more to do than it should, while another has not. */
static __noinline int is_busy(const struct klvs_service *service, __u32 id)
{
	struct klvs_real_conns *c = bpf_map_lookup_elem(&klvs_real_conns, &id);
	struct klvs_real *real = bpf_map_lookup_elem(&klvs_reals, &id);
	struct set_walk walk = {.base = service->list_base};

	if (!c || !real || c->active <= real->weight)
		return 0;
	bpf_loop(service->list_count, idle_visit, &walk, 0);
	return walk.real != 0;
}

static __noinline __u32 schedule_lblc(const struct klvs_service *service,
					   struct klvs_locality *place, int stale)
{
	__u32 id = stale ? 0 : READ_ONCE(place->real);
	struct klvs_real *real = bpf_map_lookup_elem(&klvs_reals, &id);

	if (id && real && real->weight &&
	    (real->flags & (KLVS_REAL_VALID | KLVS_REAL_REMOVED)) == KLVS_REAL_VALID &&
	    !is_busy(service, id))
		return id;
	id = schedule_least(service, KLVS_SCHEDULER_WLC);
	if (id)
		WRITE_ONCE(place->real, id);
	return id;
}

static __noinline __u32 schedule_lblcr(const struct klvs_service *service,
				       struct klvs_locality *place, __u64 now, __u64 lifetime)
{
	struct set_walk walk = {
		.base = service->list_base,
		.real = KLVS_LOOP_ZERO,
		.load = KLVS_LOOP_ZERO,
		.weight = KLVS_LOOP_ZERO,
		.joined = KLVS_LOOP_ZERO,
		.members = KLVS_LOOP_ZERO,
		.most = KLVS_LOOP_ZERO,
	};
	struct klvs_real_conns *c;
	__u32 id;

	if (now - READ_ONCE(place->used) > lifetime)
		WRITE_ONCE(place->first, READ_ONCE(place->joined) + 1);
	walk.first = READ_ONCE(place->first);
	if (!walk.first)
		walk.first = 1;
	bpf_loop(service->list_count, set_visit, &walk, 0);
	id = walk.real;
	if (walk.members > 1 && now - READ_ONCE(place->changed) > lifetime) {
		walk.real = KLVS_LOOP_ZERO;
		walk.most = KLVS_LOOP_ZERO + 1;
		bpf_loop(service->list_count, set_visit, &walk, 0);
		c = bpf_map_lookup_elem(&klvs_real_conns, &walk.real);
		if (c) {
			WRITE_ONCE(c->joined, 0);
			WRITE_ONCE(place->changed, now);
		}
	}
	if (id && !is_busy(service, id))
		return id;
	id = schedule_least(service, KLVS_SCHEDULER_WLC);
	c = bpf_map_lookup_elem(&klvs_real_conns, &id);
	if (id && c && c->joined < walk.first) {
		WRITE_ONCE(c->joined, __sync_fetch_and_add(&place->joined, 1) + 1);
		WRITE_ONCE(place->changed, now);
	}
	return id;
}

/* The real server's id; 0 if there is none. */
static __always_inline __u32 schedule_locality(const struct klvs_service *service)
{
	__u32 id = service->id;
	struct klvs_locality *place = bpf_map_lookup_elem(&klvs_locality, &id);
	struct klvs_settings *settings = settings_get();
	__u64 now = bpf_jiffies64(), lifetime;

	if (!place || !settings)
		return 0;
	lifetime = (__u64)settings->hz * LOCALITY_SECONDS;
	if (service->scheduler == KLVS_SCHEDULER_LBLC)
		id = schedule_lblc(service, place, now - READ_ONCE(place->used) > lifetime);
	else
		id = schedule_lblcr(service, place, now, lifetime);
	WRITE_ONCE(place->used, now);
	return id;
}
