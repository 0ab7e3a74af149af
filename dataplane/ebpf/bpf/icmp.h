/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors about a connection's packets: found by the packet that they quote, and with NAT
 * translated like it, as RFC 5508 wants. Rare, hence by helpers that copy.
 */
#pragma once

#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/parse.h"

#define ICMP_HEADER 8
#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER 12
#define ICMP_QUOTED_L4 8 /* what every error quotes of the packet behind its IP header */

#define TCP_CHECK 16

struct icmp_error {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 rest;
	struct iphdr ip; /* of the quoted packet */
};

_Static_assert(sizeof(struct icmp_error) == ICMP_HEADER + IP_HEADER, "ICMP error");

/*
 * `p` is an ICMP packet, no fragment. If it is an error about a TCP or UDP packet from the address
 * that it was sent to, `p->key` becomes the key of that packet's answer, and the result is 0. Else
 * it is KLVS_DROP_ICMP.
 */
__noinline int icmp_read(klvs_ctx *ctx, struct packet *p)
{
	struct icmp_error error;
	__u32 length, header;
	__be16 port[2];

	if (!p)
		return KLVS_DROP_ICMP;
	length = p->total_length + ETH_HEADER - p->l4;
	if (length < sizeof(error) + ICMP_QUOTED_L4 ||
	    packet_load(ctx, p->l4, &error, sizeof(error)))
		return KLVS_DROP_ICMP;
	if (error.type != ICMP_UNREACHABLE && error.type != ICMP_TIME_EXCEEDED &&
	    error.type != ICMP_PARAMETER)
		return KLVS_DROP_ICMP;
	header = error.ip.ihl * 4;
	if (error.ip.version != 4 || header < IP_HEADER ||
	    length < ICMP_HEADER + header + ICMP_QUOTED_L4 ||
	    bpf_ntohs(error.ip.tot_len) < header + ICMP_QUOTED_L4 ||
	    error.ip.frag_off & IP_FRAGMENT_OFFSET || error.ip.saddr != p->key.dst ||
	    (error.ip.protocol != IPPROTO_TCP && error.ip.protocol != IPPROTO_UDP &&
	     error.ip.protocol != IPPROTO_SCTP))
		return KLVS_DROP_ICMP;
	if (packet_load(ctx, p->l4 + ICMP_HEADER + header, port, sizeof(port)))
		return KLVS_DROP_ICMP;
	p->key.src = error.ip.daddr;
	p->key.dst = error.ip.saddr;
	p->key.sport = port[1];
	p->key.dport = port[0];
	p->key.protocol = error.ip.protocol;
	p->kind = PACKET_ICMP_ERROR;
	return 0;
}

/* How an error changes: whom it is from and to, and the ends of the packet that it quotes. */
struct icmp_change {
	__be32 from; /* 0: as it was */
	__be32 to;
	__be32 src;
	__be32 dst;
	__be16 sport;
	__be16 dport;
};

/* Another source and destination; `*l4` is what that adds to a sum with the pseudo header. */
static __always_inline void icmp_readdress(struct iphdr *ip, __be32 src, __be32 dst, __u64 *l4)
{
	*l4 = csum_change32(csum_change32(0, ip->saddr, src), ip->daddr, dst);
	ip->check = csum_apply(ip->check, *l4);
	ip->saddr = src;
	ip->daddr = dst;
}

/* What icmp_read took, changed, one hop fewer, all checksums to match. 0 if done. */
__noinline int icmp_translate(klvs_ctx *ctx, struct packet *p, struct icmp_change *change)
{
	__u64 sum, addresses;
	__u32 quoted, left;
	struct icmp_error error;
	__be16 word[4], check;
	struct iphdr outer;
	__be16 *hop;

	if (!p || !change || packet_load(ctx, ETH_HEADER, &outer, sizeof(outer)) ||
	    packet_load(ctx, p->l4, &error, sizeof(error)))
		return -1;
	icmp_readdress(&outer, change->from ? change->from : outer.saddr, change->to, &addresses);
	hop = (__be16 *)&outer.ttl;
	outer.check = csum_apply(outer.check, csum_change16(0, *hop, *hop - bpf_htons(0x100)));
	outer.ttl--;

	check = error.ip.check;
	icmp_readdress(&error.ip, change->src, change->dst, &addresses);
	sum = csum_change16(addresses, check, error.ip.check);

	quoted = p->l4 + ICMP_HEADER + error.ip.ihl * 4;
	if (packet_load(ctx, quoted, word, sizeof(word)))
		return -1;
	addresses = csum_change16(addresses, word[0], change->sport);
	addresses = csum_change16(addresses, word[1], change->dport);
	sum = csum_change16(sum, word[0], change->sport);
	sum = csum_change16(sum, word[1], change->dport);
	word[0] = change->sport;
	word[1] = change->dport;
	left = p->total_length + ETH_HEADER - quoted;
	if (error.ip.protocol == IPPROTO_UDP && word[3]) {
		check = csum_apply(word[3], addresses);
		if (!check)
			check = 0xffff;
		sum = csum_change16(sum, word[3], check);
		word[3] = check;
	} else if (error.ip.protocol == IPPROTO_TCP && left >= TCP_CHECK + sizeof(check)) {
		__be16 before;

		if (packet_load(ctx, quoted + TCP_CHECK, &before, sizeof(before)))
			return -1;
		check = csum_apply(before, addresses);
		sum = csum_change16(sum, before, check);
		if (packet_store(ctx, quoted + TCP_CHECK, &check, sizeof(check)))
			return -1;
	}
	error.check = csum_apply(error.check, sum);
	if (packet_store(ctx, quoted, word, sizeof(word)) ||
	    packet_store(ctx, p->l4, &error, sizeof(error)) ||
	    packet_store(ctx, ETH_HEADER, &outer, sizeof(outer)))
		return -1;
	return 0;
}
