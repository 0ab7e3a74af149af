/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Generic UDP Encapsulation, variant 0 without options (draft-ietf-intarea-gue-09): what is between
 * the outer IP header and the packet. No checksum, as IPVS's by default; of IPv6, too (RFC 6935).
 */
#pragma once

#include "dataplane/ebpf/bpf/parse.h"

struct gue_headers {
	struct udphdr udp;
	__u8 variant; /* and the length of its options */
	__u8 protocol;
	__be16 flags;
};

#define GUE_HEADERS sizeof(struct gue_headers)
#define GUE_SOURCE_PORTS 0xc000 /* and above: RFC 6335's dynamic ports */

_Static_assert(GUE_HEADERS == 12, "UDP and GUE");

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
