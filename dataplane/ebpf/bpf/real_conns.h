/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How many connections a real server has, and whether it is overloaded: ip_vs_dest_update_overload
 * and its callers in Linux 6.1, without their lock.
 */
#pragma once

#include "dataplane/ebpf/bpf/state.h"

/* The addresses of the real server `*id`, whose record is `real`; NULL for none. */
static __always_inline const klvs_ends *real_ends(const __u32 *id, const struct klvs_real *real)
{
#ifdef KLVS_IPV6
	return bpf_map_lookup_elem(&klvs_reals6, id);
#else
	return real;
#endif
}

/* Where the real server takes what came for `port` of the VIP. */
static __always_inline __be16 real_port(const struct klvs_real *real, __be16 port)
{
	return real->port ? real->port : port;
}

static __always_inline __u32 counts_total(__u64 counts)
{
	return (__u32)counts + (__u32)(counts >> 32);
}

static __always_inline __u32 real_lower_threshold(const struct klvs_real *real)
{
	__u32 upper = real->upper_threshold;

	return real->lower_threshold ? real->lower_threshold : upper - upper / 4;
}

static __always_inline int real_is_overloaded(__u32 id)
{
	struct klvs_real_conns *c = bpf_map_lookup_elem(&klvs_real_conns, &id);

	return c && READ_ONCE(c->overloaded);
}

/* A connection in `state` began. */
static __always_inline void real_conns_open(__u32 id, const struct klvs_real *real, __u32 state)
{
	struct klvs_real_conns *c = bpf_map_lookup_elem(&klvs_real_conns, &id);
	__u32 total, lower;
	__u64 *counts;

	if (!c)
		return;
	counts = (__u64 *)c;
	total = counts_total(__sync_fetch_and_add(counts, state_count(state))) + 1;
	if (!real->upper_threshold || total < real->upper_threshold)
		return;
	lower = real_lower_threshold(real);
	/* Who passes it says so, too: the CPU that reached it may not have got so far. */
	if (total > real->upper_threshold && lower > real->upper_threshold)
		return;
	__sync_lock_test_and_set(&c->overloaded, real->upper_threshold >= lower);
	/* Others may have ended meanwhile, and nobody would look again. */
	if (counts_total(READ_ONCE(*counts)) < lower)
		WRITE_ONCE(c->overloaded, 0);
}

/* A connection in `state` is no more. */
static __always_inline void real_conns_close(__u32 id, __u32 state)
{
	struct klvs_real_conns *c = bpf_map_lookup_elem(&klvs_real_conns, &id);
	struct klvs_real *real = bpf_map_lookup_elem(&klvs_reals, &id);
	__u64 *counts;
	__u32 before;

	if (!c || !real)
		return;
	counts = (__u64 *)c;
	before = counts_total(__sync_fetch_and_add(counts, -state_count(state)));
	if (before != real_lower_threshold(real))
		return;
	__sync_lock_test_and_set(&c->overloaded, 0);
	if (real->upper_threshold && counts_total(READ_ONCE(*counts)) >= real->upper_threshold)
		WRITE_ONCE(c->overloaded, 1);
}

static __always_inline void real_conns_move(__u32 id, __u32 from, __u32 to)
{
	struct klvs_real_conns *c = bpf_map_lookup_elem(&klvs_real_conns, &id);

	if (c)
		__sync_fetch_and_add((__u64 *)c, state_count(to) - state_count(from));
}
