/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XDP: how a packet is rewritten and leaves by the interface it came from. */
#pragma once

#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/gue.h"
#include "dataplane/ebpf/bpf/parse.h"

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
	mac_copy(eth->h_dest, dst_mac);
	mac_copy(eth->h_source, src_mac);
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
	return send_frame(ctx, c->client_mac, p->own_mac);
}

/* `addresses` is what the new ones add to a sum. */
static __always_inline void rewrite_ip(klvs_ip *ip, const struct klvs_conn_key *new,
				       __u32 addresses)
{
#ifdef KLVS_IPV6
	ip->hop_limit--;
	*(struct klvs_in6 *)&ip->saddr = new->src;
	*(struct klvs_in6 *)&ip->daddr = new->dst;
#else
	__be16 *hop = (__be16 *)&ip->ttl;

	addresses = csum_change16(addresses, *hop, *hop - bpf_htons(0x100));
	ip->ttl--;
	ip->saddr = new->src;
	ip->daddr = new->dst;
	ip->check = csum_apply(ip->check, addresses);
#endif
}

/* NAT: other addresses and ports, one hop fewer, checksums to match. Ports of SCTP stay, for its
 * checksum is of the whole packet; addresses are not in it. 0 if done. */
static __always_inline int rewrite(klvs_ctx *ctx, const struct packet *p,
				   const struct klvs_conn_key *new)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	klvs_ip *ip = data + ETH_HEADER;
	__u32 addresses, ports;

	if ((void *)(ip + 1) > end)
		return -1;
	addresses = csum_change_addr(0, &p->key.src, &new->src);
	addresses = csum_change_addr(addresses, &p->key.dst, &new->dst);
	ports = csum_change16(addresses, p->key.sport, new->sport);
	ports = csum_change16(ports, p->key.dport, new->dport);

	if (p->kind == PACKET_LATER_FRAGMENT) {
		/* The first one's checksum is that of the whole. */
	} else if (p->key.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + klvs_mask(p->l4, L4_MASK);

		if ((void *)(tcp + 1) > end)
			return -1;
		tcp->source = new->sport;
		tcp->dest = new->dport;
		tcp->check = csum_apply(tcp->check, ports);
	} else if (p->key.protocol == IPPROTO_UDP) {
		struct udphdr *udp = data + klvs_mask(p->l4, L4_MASK);

		if ((void *)(udp + 1) > end)
			return -1;
		udp->source = new->sport;
		udp->dest = new->dport;
		/* 0 says that there is no checksum. */
		if (udp->check) {
			__u16 check = csum_apply(udp->check, ports);

			udp->check = check ? check : 0xffff;
		}
	}
	rewrite_ip(ip, new, addresses);
	return 0;
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
	*ip = *outer;
	if (gue_port)
		gue_fill(gue, p, gue_port);
	return 0;
}
