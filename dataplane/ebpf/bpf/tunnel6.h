/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The outer header of a tunnelled packet: IPv6 in IPv6, RFC 2473, or what has GUE behind it. */
#pragma once

#include "dataplane/ebpf/bpf/gue.h"
#include "dataplane/ebpf/bpf/parse.h"

static __always_inline void outer_header(struct ipv6hdr *outer, __u8 tos, __u32 length,
					 __be16 fragment, const klvs_ends *ends, __be16 gue_port)
{
	*(__be32 *)outer = bpf_htonl(6U << 28 | (__u32)tos << 20);
	outer->payload_len = bpf_htons(length + tunnel_overhead(gue_port) - IP_HEADER);
	outer->nexthdr = gue_port ? IPPROTO_UDP : IP_IN_IP;
	outer->hop_limit = 64;
	addr_copy(&outer->saddr, &ends->source);
	addr_copy(&outer->daddr, &ends->address);
}
