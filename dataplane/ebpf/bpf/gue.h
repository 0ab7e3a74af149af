/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tunnels by GUE, as a director writes them. */
#pragma once

#include "dataplane/ebpf/bpf/gue_headers.h"
#include "dataplane/ebpf/bpf/parse.h"

#define GUE_SOURCE_PORTS 0xc000 /* and above: RFC 6335's dynamic ports */

/* What a tunnel adds to a packet. */
static __always_inline __u32 tunnel_overhead(__be16 gue_port)
{
	return gue_port ? IP_HEADER + GUE_HEADERS : IP_HEADER;
}

/* One source port a connection: routers and network cards spread connections by it. */
static __always_inline void gue_fill(struct gue_headers *gue, const struct packet *p, __be16 port)
{
	gue->udp.source = bpf_htons(GUE_SOURCE_PORTS | p->hash >> 50);
	gue->udp.dest = port;
	gue->udp.len = bpf_htons(p->total_length + GUE_HEADERS);
	gue->udp.check = 0;
	gue->variant = 0;
	gue->protocol = IP_IN_IP;
	gue->flags = 0;
}
