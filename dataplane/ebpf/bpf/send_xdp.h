/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XDP: how a packet is rewritten and leaves by the interface it came from. */
#pragma once

#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/gue.h"
#include "dataplane/ebpf/bpf/parse.h"

/* An outer header that header_copy() takes. */
typedef klvs_ip klvs_outer __attribute__((aligned(8)));

/* Whether XDP may send to this real server; if not, tc does. */
static __always_inline int may_send_to_real(const struct packet *p, const struct klvs_real *real)
{
	return (real->flags & (KLVS_REAL_L2 | KLVS_REAL_LOCAL)) == KLVS_REAL_L2 &&
	       real->ifindex == p->ifindex;
}

/* Whether XDP may send to the client of this connection. */
static __always_inline int may_send_to_client(const struct packet *p, const struct klvs_conn *c)
{
	return c->client_ifindex == p->ifindex;
}

static __always_inline int send_frame(klvs_ctx *ctx, const void *dst_mac, const void *src_mac)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return -1;
	mac_move(eth->h_dest, dst_mac);
	mac_move(eth->h_source, src_mac);
	return XDP_TX;
}

static __always_inline int send_to_real(klvs_ctx *ctx, const struct packet *p,
					const struct klvs_real *real, const klvs_ends *ends)
{
	return send_frame(ctx, real->dst_mac, real->src_mac);
}

static __always_inline int send_to_client(klvs_ctx *ctx, const struct packet *p,
					  const struct klvs_conn *c)
{
	__u64 client_mac = conn_client_mac(c);

	return send_frame(ctx, &client_mac, p->own_mac);
}

/* What other addresses add to a sum; narrow. */
static __always_inline __u32 csum_addresses(const klvs_addr *old_src,
					    const klvs_addr *old_dst, const klvs_addr *src,
					    const klvs_addr *dst)
{
	return csum_narrow(csum_change_addr(csum_change_addr(0, old_src, src), old_dst, dst));
}

/* The ports of TCP or UDP, and the checksum, to which the change adds `sum`. 0 if done. */
static __always_inline int store_transport(void *l4, void *end, __u8 protocol, __be16 sport,
					   __be16 dport, __u32 sum)
{
	__be16 *port = l4;

	if (l4 + UDP_HEADER > end)
		return -1;
	port[0] = sport;
	port[1] = dport;
	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return -1;
		tcp->check = csum_apply_narrow(tcp->check, sum);
	} else {
		struct udphdr *udp = l4;

		/* 0 says that there is no checksum. */
		if (udp->check) {
			__u16 check = csum_apply_narrow(udp->check, sum);

			udp->check = check ? check : 0xffff;
		}
	}
	return 0;
}

/* The same for a packet of any protocol; `addresses` as of csum_addresses. 0 if done. */
static __always_inline int rewrite_transport(void *l4, void *end, __u8 protocol, __be16 sport,
					     __be16 dport, __u32 addresses)
{
	__be16 *port = l4;
	__u32 sum;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return 0;
	if (l4 + UDP_HEADER > end)
		return -1;
	sum = csum_change16(csum_change16(addresses, port[0], sport), port[1], dport);
	return store_transport(l4, end, protocol, sport, dport, sum);
}

/* `addresses` as of csum_addresses. */
static __always_inline void rewrite_ip(klvs_ip *ip, const klvs_addr *src, const klvs_addr *dst,
				       __u32 addresses)
{
#ifdef KLVS_IPV6
	ip->hop_limit--;
	addr_copy(&ip->saddr, src);
	addr_copy(&ip->daddr, dst);
#else
	const __u16 hops = bpf_htons(0x200), fewer = bpf_htons(0x100);

	ip->ttl--;
	ip->saddr = *src;
	ip->daddr = *dst;
	/* Whatever the hops were, the change is the same. */
	ip->check = csum_apply_narrow(ip->check, csum_change16(addresses, hops, fewer));
#endif
}

/* NAT: other addresses and ports, one hop fewer, checksums to match. Ports of SCTP stay, for its
 * checksum is of the whole packet; addresses are not in it. 0 if done. */
static __always_inline int rewrite(klvs_ctx *ctx, const struct packet *p,
				   const struct klvs_conn_key *new)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	klvs_ip *ip = data + ETH_HEADER;
	__u32 addresses;

	if ((void *)(ip + 1) > end)
		return -1;
	addresses = csum_addresses(&p->key.src, &p->key.dst, &new->src, &new->dst);
	/* Of a later fragment: the first one's checksum is that of the whole. */
	if (p->kind != PACKET_LATER_FRAGMENT &&
	    rewrite_transport(data + klvs_mask(p->l4, L4_MASK), end, p->key.protocol, new->sport,
			      new->dport, addresses))
		return -1;
	rewrite_ip(ip, &new->src, &new->dst, addresses);
	return 0;
}

/* By words that are wider than the compiler dares; `from` is aligned to them. */
static __always_inline void header_copy(klvs_ip *to, const klvs_ip *from)
{
	__u32 i;

#pragma unroll
	for (i = 0; i < IP_HEADER / 8; i++)
		((__u64 *)to)[i] = ((const __u64 *)from)[i];
#ifndef KLVS_IPV6
	((__u32 *)to)[4] = ((const __u32 *)from)[4];
#endif
}

/* Tunnel: the outer headers in front. 0 if done. */
static __always_inline int encapsulate(klvs_ctx *ctx, const struct packet *p,
				       const klvs_ip *outer, __be16 gue_port)
{
	struct gue_headers *gue;
	klvs_ip *ip;
	struct ethhdr *eth;

	if (bpf_xdp_adjust_head(ctx, -(int)tunnel_overhead(gue_port)))
		return -1;
	eth = (void *)(long)ctx->data;
	ip = (void *)(eth + 1);
	gue = (void *)(ip + 1);
	/* In any case there is a packet behind. */
	if ((void *)(gue + 1) > (void *)(long)ctx->data_end)
		return -1;
	/* The addresses are set when it is sent. */
	eth->h_proto = bpf_htons(IP_ETHERTYPE);
	header_copy(ip, outer);
	if (gue_port)
		gue_fill(gue, p, gue_port);
	return 0;
}
