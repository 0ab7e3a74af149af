/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters of packets, connections and drops. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

/* Counts the reason and returns the verdict that drops. */
static __noinline int drop(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&klvs_drops, &reason);

	if (count)
		*count += 1;
	return KLVS_DROP;
}

static __always_inline void count_add(struct klvs_counters *c, __u32 bytes, int reply)
{
	if (!c)
		return;
	if (reply) {
		c->reply_packets += 1;
		c->reply_bytes += bytes;
	} else {
		c->packets += 1;
		c->bytes += bytes;
	}
}

static __always_inline void count_packet(__u32 service, __u32 real, __u32 bytes, int reply)
{
	count_add(bpf_map_lookup_elem(&klvs_service_counters, &service), bytes, reply);
	count_add(bpf_map_lookup_elem(&klvs_real_counters, &real), bytes, reply);
}

static __always_inline void count_connection(__u32 service, __u32 real)
{
	struct klvs_counters *c = bpf_map_lookup_elem(&klvs_service_counters, &service);

	if (c)
		c->connections += 1;
	c = bpf_map_lookup_elem(&klvs_real_counters, &real);
	if (c)
		c->connections += 1;
}
