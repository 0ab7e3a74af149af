/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Headers of IPv6 packets; included by parse.h. */
#pragma once

#include <linux/icmpv6.h>

#define EXTENSIONS 6	    /* the most that are walked over */
#define EXTENSION_BYTES 160 /* and how long they may be in all */
#define EXTENSION_UNIT 8    /* the least of each; their lengths are in it */

#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_OPTIONS 60

static __always_inline void age_ip(struct ipv6hdr *ip)
{
	ip->hop_limit--;
}

/* One hop fewer. 0 if done. */
static __always_inline int age(klvs_ctx *ctx)
{
#ifdef KLVS_XDP
	struct ipv6hdr *ip = (void *)(long)ctx->data + ETH_HEADER;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return -1;
	age_ip(ip);
	return 0;
#else
	__u32 at = ETH_HEADER + __builtin_offsetof(struct ipv6hdr, hop_limit);
	__u8 hops;

	/* A sum over all of the packet, which hardware may have left, changes with it. */
	if (packet_load(ctx, at, &hops, sizeof(hops)))
		return -1;
	hops -= 1;
	return packet_store(ctx, at, &hops, sizeof(hops));
#endif
}

/*
 * Goes from the IPv6 header on over those that may be before the transport header: RFC 8200, section
 * 4.1. Sets l4, key.protocol, fragment and fragment_id. 0, or a reason to drop the packet.
 */
__noinline int parse_extensions(klvs_ctx *ctx, struct packet *p)
{
	__u32 at = ETH_HEADER + IP_HEADER, seen_fragment = 0, next, i;

	if (!p)
		return KLVS_DROP_BAD_HEADER;
	next = p->key.protocol;
	for (i = 0; i < EXTENSIONS; i++) {
		__be16 word[EXTENSION_UNIT / 2];
		__u8 *byte = (__u8 *)word;
		__u32 offset;

		if (next != NEXT_HOP_BY_HOP && next != NEXT_ROUTING && next != NEXT_FRAGMENT &&
		    next != NEXT_OPTIONS)
			break;
		if (at + EXTENSION_UNIT > ETH_HEADER + p->total_length ||
		    packet_load(ctx, at, word, sizeof(word)))
			return KLVS_DROP_SHORT;
		/* Options of every hop are the first, if any; a way that is not at its end is for
		 * routers. */
		if ((next == NEXT_HOP_BY_HOP && i) || (next == NEXT_ROUTING && byte[3]))
			return KLVS_DROP_BAD_HEADER;
		if (next != NEXT_FRAGMENT) {
			next = byte[0];
			at += (byte[1] + 1) * EXTENSION_UNIT;
			if (at > ETH_HEADER + IP_HEADER + EXTENSION_BYTES)
				return KLVS_DROP_BAD_HEADER;
			continue;
		}
		if (seen_fragment)
			return KLVS_DROP_BAD_HEADER;
		seen_fragment = 1;
		offset = bpf_ntohs(word[1]);
		p->fragment = bpf_htons(offset >> 3) | (offset & 1 ? IP_MORE_FRAGMENTS : 0);
		p->fragment_id = at + 4;
		next = byte[0];
		at += EXTENSION_UNIT;
		if (offset >> 3)
			break;
	}
	if (at > ETH_HEADER + p->total_length)
		return KLVS_DROP_SHORT;
	p->l4 = at;
	p->key.protocol = next;
	return 0;
}

/*
 * Fills `p` from an IPv6 packet whose first ETH_HEADER + IP_HEADER bytes are readable. Returns 0,
 * or the reason for which nothing can be done with it by itself. KLVS_DROP_FRAGMENT is a later
 * fragment, or any of ICMPv6.
 */
static __always_inline __u32 parse_ip(klvs_ctx *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + ETH_HEADER;
	const struct klvs_in6 *addresses;
	__u32 length, reason;

	if ((void *)(ip + 1) > end)
		return KLVS_DROP_SHORT;
	length = bpf_ntohs(ip->payload_len) + IP_HEADER;
	if (ip->version != 6 || length > 0xffff)
		return KLVS_DROP_BAD_HEADER;
#ifdef KLVS_XDP
	if (length > (long)end - (long)(data + ETH_HEADER))
		return KLVS_DROP_SHORT;
#else
	if (length + ETH_HEADER > ctx->len)
		return KLVS_DROP_SHORT;
#endif
	addresses = (const struct klvs_in6 *)&ip->saddr;
	p->key.src = addresses[0];
	p->key.dst = addresses[1];
	p->key.protocol = ip->nexthdr;
	p->total_length = length;
	/* Routers never cut it. */
	p->fragment = IP_DONT_FRAGMENT;
	p->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	p->ttl = ip->hop_limit;
	p->l4 = ETH_HEADER + IP_HEADER;

	if (p->key.protocol != IPPROTO_TCP && p->key.protocol != IPPROTO_UDP &&
	    p->key.protocol != IPPROTO_SCTP && p->key.protocol != IPPROTO_ICMPV6) {
		reason = parse_extensions(ctx, p);
		if (reason)
			return reason;
		if (p->fragment & IP_FRAGMENT_OFFSET)
			return KLVS_DROP_FRAGMENT;
	}
	reason = parse_transport(ctx, p, p->total_length + ETH_HEADER - p->l4);
	if (reason != KLVS_DROP_ICMP)
		return reason;
	if (p->key.protocol != IPPROTO_ICMPV6)
		return KLVS_DROP_PROTOCOL;
	return p->fragment & IP_MORE_FRAGMENTS ? KLVS_DROP_FRAGMENT : KLVS_DROP_ICMP;
}
