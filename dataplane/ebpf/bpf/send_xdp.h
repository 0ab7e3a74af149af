/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XDP: how a packet is rewritten and leaves by the interface it came from. */
#pragma once

#include "dataplane/ebpf/bpf/csum.h"
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
	return send_frame(ctx, c->client_mac, p->own_mac);
}

/* What other addresses add to a sum. */
static __always_inline __u64 csum_addresses(const struct klvs_conn_key *from,
					    const struct klvs_conn_key *to)
{
	return csum_change_addr(csum_change_addr(0, &from->src, &to->src), &from->dst, &to->dst);
}

/* The ports of TCP and UDP, and the checksum; `addresses` as of csum_addresses. 0 if done. */
static __always_inline int rewrite_transport(void *l4, void *end, const struct klvs_conn_key *old,
					     const struct klvs_conn_key *new, __u64 addresses)
{
	__u64 sum = csum_change16(csum_change16(addresses, old->sport, new->sport), old->dport,
				  new->dport);

	if (old->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return -1;
		tcp->source = new->sport;
		tcp->dest = new->dport;
		tcp->check = csum_apply(tcp->check, sum);
	} else if (old->protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end)
			return -1;
		udp->source = new->sport;
		udp->dest = new->dport;
		/* 0 says that there is no checksum. */
		if (udp->check) {
			__u16 check = csum_apply(udp->check, sum);

			udp->check = check ? check : 0xffff;
		}
	}
	return 0;
}

/* `addresses` as of csum_addresses. */
static __always_inline void rewrite_ip(klvs_ip *ip, const struct klvs_conn_key *new,
				       __u64 addresses)
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
	__u64 addresses;

	if ((void *)(ip + 1) > end)
		return -1;
	addresses = csum_addresses(&p->key, new);
	/* Of a later fragment: the first one's checksum is that of the whole. */
	if (p->kind != PACKET_LATER_FRAGMENT &&
	    rewrite_transport(data + klvs_mask(p->l4, L4_MASK), end, &p->key, new, addresses))
		return -1;
	rewrite_ip(ip, new, addresses);
	return 0;
}

/* Tunnel: the outer header in front. 0 if done. */
static __always_inline int encapsulate(klvs_ctx *ctx, const struct packet *p, const klvs_ip *outer)
{
	klvs_ip *ip;
	struct ethhdr *eth;

	if (bpf_xdp_adjust_head(ctx, -IP_HEADER))
		return -1;
	eth = (void *)(long)ctx->data;
	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return -1;
	/* The addresses are set when it is sent. */
	eth->h_proto = bpf_htons(IP_ETHERTYPE);
	*ip = *outer;
	return 0;
}
