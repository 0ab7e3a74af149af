/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters of packets and connections. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

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

/* A connection, and its first packet. */
static __always_inline void count_opening(__u32 service, __u32 real, __u32 bytes)
{
	struct klvs_counters *c = bpf_map_lookup_elem(&klvs_service_counters, &service);

	if (c)
		c->connections += 1;
	count_add(c, bytes, 0);
	c = bpf_map_lookup_elem(&klvs_real_counters, &real);
	if (c)
		c->connections += 1;
	count_add(c, bytes, 0);
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
