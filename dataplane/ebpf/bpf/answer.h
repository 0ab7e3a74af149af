/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Frames of our own in place of a packet, which go back the way that it came: as many as the budget
 * has. With tc, a checksum that the packet's sender left to hardware stays so: it is one on this very
 * machine.
 */
#pragma once

#include <linux/if_ether.h>

#include "dataplane/ebpf/bpf/answer_budget.h"
#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/packet.h"
#include "dataplane/ebpf/bpf/state.h"

#define ANSWER_HOPS 64

/* The Ethernet header of an answer to `p`, if there may be one: then 0. */
static __always_inline int answer_begin(klvs_ctx *ctx, const struct packet *p, struct ethhdr *eth)
{
	struct klvs_settings *settings = settings_get();

	if (!settings || !may_answer(p->now, settings) || packet_load(ctx, 0, eth, sizeof(*eth)))
		return -1;
	mac_copy(eth->h_source, eth->h_dest);
	mac_copy(eth->h_dest, p->src_mac);
	return 0;
}

/* The IP header in front of `length` bytes. */
static __always_inline void answer_ip(klvs_ip *ip, const klvs_addr *from, const klvs_addr *to,
				      __u32 protocol, __u32 tos, __u32 length)
{
#ifdef KLVS_IPV6
	*(__be32 *)ip = bpf_htonl(6U << 28 | tos << 20);
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = protocol;
	ip->hop_limit = ANSWER_HOPS;
	*IP6_SRC(ip) = *from;
	*IP6_DST(ip) = *to;
#else
	ip->version = 4;
	ip->ihl = IP_HEADER / 4;
	ip->tos = tos;
	ip->tot_len = bpf_htons(IP_HEADER + length);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = ANSWER_HOPS;
	ip->protocol = protocol;
	ip->check = 0;
	ip->saddr = *from;
	ip->daddr = *to;
	ip->check = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, IP_HEADER, 0));
#endif
}

/* The checksum, with the addresses in it, of `length` bytes at `message`, whose own is 0. There is
 * `room`, a multiple of 4, and what is not of them is 0. */
static __always_inline __u16 answer_sum(klvs_ip *ip, __u32 protocol, void *message, __u32 length,
					__u32 room)
{
	__u64 sum = bpf_csum_diff(NULL, 0, (__be32 *)&ip->saddr, 2 * sizeof(klvs_addr),
				  bpf_htonl(length + protocol));

	return ~csum_fold(bpf_csum_diff(NULL, 0, message, room, sum));
}

/* In place of the packet, `length` bytes of `most`. Its verdict. */
static __always_inline int answer_send(klvs_ctx *ctx, const struct packet *p, void *frame,
				       __u32 length, __u32 most)
{
	if (packet_resize(ctx, length) || !LENGTH_HOLDS(length, ETH_HEADER, most) ||
	    packet_store(ctx, 0, frame, length))
		return KLVS_DROP;
#ifdef KLVS_XDP
	return XDP_TX;
#else
	return bpf_redirect(p->ifindex, 0);
#endif
}
