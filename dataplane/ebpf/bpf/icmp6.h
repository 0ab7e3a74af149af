/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMPv6 errors about a connection's packets, as icmp.h has it for IPv4: RFC 4443. Their checksum
 * has the addresses of both headers in it.
 */
#pragma once

#include "dataplane/ebpf/bpf/answer.h"
#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/parse.h"
#include "dataplane/ebpf/bpf/scratch.h"

#define ICMP_HEADER 8
#define ICMP_UNREACHABLE 1
#define ICMP_TOO_BIG 2
#define ICMP_PARAMETER 4
#define ICMP_QUOTED_L4 8 /* what is needed of the packet behind its IP header */

#define TCP_CHECK 16

struct icmp_error {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 rest;
	struct ipv6hdr ip; /* of the quoted packet */
};

_Static_assert(sizeof(struct icmp_error) == ICMP_HEADER + IP_HEADER, "ICMPv6 error");


/*
 * `p` is an ICMPv6 packet, no fragment. If it is an error about a TCP or UDP packet from the address
 * that it was sent to, `p->key` becomes the key of that packet's answer, and the result is 0. Else
 * it is KLVS_DROP_ICMP; so it is for what had headers between IPv6's and its own.
 */
__noinline int icmp_read(klvs_ctx *ctx, struct packet *p)
{
	struct icmp_error error;
	__u32 length;
	__be16 port[2];

	if (!p)
		return KLVS_DROP_ICMP;
	length = p->total_length + ETH_HEADER - p->l4;
	if (length < sizeof(error) + ICMP_QUOTED_L4 ||
	    packet_load(ctx, p->l4, &error, sizeof(error)))
		return KLVS_DROP_ICMP;
	if (error.type < ICMP_UNREACHABLE || error.type > ICMP_PARAMETER || error.ip.version != 6 ||
	    bpf_ntohs(error.ip.payload_len) < ICMP_QUOTED_L4 ||
	    !addr_equal(IP6_SRC(&error.ip), &p->key.dst) ||
	    (error.ip.nexthdr != IPPROTO_TCP && error.ip.nexthdr != IPPROTO_UDP &&
	     error.ip.nexthdr != IPPROTO_SCTP))
		return KLVS_DROP_ICMP;
	if (packet_load(ctx, p->l4 + sizeof(error), port, sizeof(port)))
		return KLVS_DROP_ICMP;
	p->key.src = *IP6_DST(&error.ip);
	p->key.dst = *IP6_SRC(&error.ip);
	p->key.sport = port[1];
	p->key.dport = port[0];
	p->key.protocol = error.ip.nexthdr;
	p->kind = PACKET_ICMP_ERROR;
	return 0;
}

/* How an error changes: whom it is from and to, and the ends of the packet that it quotes. */
struct icmp_change {
	klvs_addr from; /* all zero: as it was */
	klvs_addr to;
	klvs_addr src;
	klvs_addr dst;
	__be16 sport;
	__be16 dport;
};

/* Another source and destination; returns what that adds to a sum with the pseudo header. */
static __noinline __u32 icmp_readdress(struct ipv6hdr *ip, const klvs_addr *src,
				       const klvs_addr *dst)
{
	__u64 sum = csum_change_addr(0, IP6_SRC(ip), src);

	sum = csum_change_addr(sum, IP6_DST(ip), dst);
	*IP6_SRC(ip) = *src;
	*IP6_DST(ip) = *dst;
	return csum_narrow(sum);
}

/* What icmp_read took, changed, one hop fewer, all checksums to match. 0 if done. */
__noinline int icmp_translate(klvs_ctx *ctx, struct packet *p, struct icmp_change *change)
{
	struct klvs_scratch *scratch = scratch_get();
	__u64 sum, addresses;
	__u32 quoted, left;
	struct icmp_error *error;
	struct ipv6hdr *outer;
	__be16 word[4], check;

	if (!p || !change || !scratch)
		return -1;
	outer = (struct ipv6hdr *)scratch->answer;
	error = (struct icmp_error *)(outer + 1);
	if (packet_load(ctx, ETH_HEADER, outer, sizeof(*outer)) ||
	    packet_load(ctx, p->l4, error, sizeof(*error)))
		return -1;
	if (addr_is_any(&change->from))
		change->from = *IP6_SRC(outer);
	sum = icmp_readdress(outer, &change->from, &change->to);
	outer->hop_limit--;

	/* The quoted addresses are bytes of the message, too. */
	addresses = icmp_readdress(&error->ip, &change->src, &change->dst);
	sum += addresses;

	quoted = p->l4 + sizeof(*error);
	if (packet_load(ctx, quoted, word, sizeof(word)))
		return -1;
	addresses = csum_change16(addresses, word[0], change->sport);
	addresses = csum_change16(addresses, word[1], change->dport);
	sum = csum_change16(sum, word[0], change->sport);
	sum = csum_change16(sum, word[1], change->dport);
	word[0] = change->sport;
	word[1] = change->dport;
	left = p->total_length + ETH_HEADER - quoted;
	if (error->ip.nexthdr == IPPROTO_UDP && word[3]) {
		check = csum_apply(word[3], addresses);
		if (!check)
			check = 0xffff;
		sum = csum_change16(sum, word[3], check);
		word[3] = check;
	} else if (error->ip.nexthdr == IPPROTO_TCP && left >= TCP_CHECK + sizeof(check)) {
		__be16 before;

		if (packet_load(ctx, quoted + TCP_CHECK, &before, sizeof(before)))
			return -1;
		check = csum_apply(before, addresses);
		sum = csum_change16(sum, before, check);
		if (packet_store(ctx, quoted + TCP_CHECK, &check, sizeof(check)))
			return -1;
	}
	error->check = csum_apply(error->check, sum);
	if (packet_store(ctx, quoted, word, sizeof(word)) ||
	    packet_store(ctx, p->l4, error, sizeof(*error)) ||
	    packet_store(ctx, ETH_HEADER, outer, sizeof(*outer)))
		return -1;
	return 0;
}

/*
 * The IPv6 header of an ICMPv6 message of ours with `length` bytes, a multiple of 4, at `message`,
 * and the message's checksum, which is 0 until then.
 */
static __always_inline void icmp_finish(struct ipv6hdr *ip, const klvs_addr *from,
					const klvs_addr *to, void *message, __u32 length,
					__u8 hops)
{
	__be16 *check = message + 2;

	answer_ip(ip, from, to, IPPROTO_ICMPV6, 0, length);
	ip->hop_limit = hops;
	*check = answer_sum(ip, IPPROTO_ICMPV6, message, length, length);
}
