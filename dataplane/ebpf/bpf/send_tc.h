/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tc: how a packet is rewritten, with helpers that know about partial checksums and bundles of
 * segments, and leaves by its next hop, whose link address the kernel finds.
 */
#pragma once

#include <linux/if_packet.h>

#include "dataplane/ebpf/bpf/gue.h"
#include "dataplane/ebpf/bpf/parse.h"

#define KLVS_AF_INET 2
#define KLVS_AF_INET6 10

typedef klvs_ip klvs_outer;

static __always_inline int may_send_to_real(const struct packet *p, const struct klvs_real *real)
{
	return 1;
}

static __always_inline int may_send_to_client(const struct packet *p, const struct klvs_conn *c)
{
	return 1;
}

static __always_inline int send_to_real(klvs_ctx *ctx, const struct packet *p,
					const struct klvs_real *real, const klvs_ends *ends)
{
#ifdef KLVS_IPV6
	struct bpf_redir_neigh hop = {.nh_family = KLVS_AF_INET6};

	*(struct klvs_in6 *)hop.ipv6_nh = ends->next_hop;
#else
	struct bpf_redir_neigh hop = {.nh_family = KLVS_AF_INET, .ipv4_nh = ends->next_hop};
#endif

	return bpf_redirect_neigh(real->ifindex, &hop, sizeof(hop), 0);
}

/* By the node's own routes: the reply may take another way than the request came. */
static __always_inline int send_to_client(klvs_ctx *ctx, const struct packet *p,
					  const struct klvs_conn *c)
{
	if (p->at_home)
		return KLVS_UNTOUCHED; /* it is on its way */
	return bpf_redirect_neigh(c->client_ifindex, NULL, 0, 0);
}

/* Whether it has a checksum with the addresses in it. The first fragment's is that of the whole. */
static __always_inline int sums_addresses(const struct packet *p)
{
	return p->kind != PACKET_LATER_FRAGMENT && p->key.protocol != IPPROTO_SCTP;
}

#ifdef KLVS_IPV6

/* The addresses, one hop fewer, and what they are in the transport's checksum. */
static __always_inline int rewrite_ip(klvs_ctx *ctx, const struct packet *p, __u32 check,
				      __u64 flags, const struct klvs_conn_key *new)
{
	const __u32 at = ETH_HEADER + __builtin_offsetof(struct ipv6hdr, saddr);
	__s64 change;

	change = bpf_csum_diff((__be32 *)&p->key.src, 2 * sizeof(p->key.src), (__be32 *)&new->src,
			       2 * sizeof(new->src), 0);
	if (change < 0)
		return -1;
	if (sums_addresses(p) &&
	    bpf_l4_csum_replace(ctx, check, 0, change, flags | BPF_F_PSEUDO_HDR))
		return -1;
	/* Where hardware summed up the packet, the kernel took out of that sum what the transport's
	 * checksum changed by, as there were an IPv4 header whose own makes up for the addresses;
	 * here they do. */
	if (bpf_skb_store_bytes(ctx, at, &new->src, 2 * sizeof(new->src), BPF_F_RECOMPUTE_CSUM))
		return -1;
	return p->at_home ? 0 : age(ctx);
}

#else

static __always_inline int rewrite_address(klvs_ctx *ctx, const struct packet *p, __u32 check,
					   __u64 flags, __u32 offset, __be32 from, __be32 to)
{
	if (from == to)
		return 0;
	if (sums_addresses(p) &&
	    bpf_l4_csum_replace(ctx, check, from, to, flags | BPF_F_PSEUDO_HDR | sizeof(to)))
		return -1;
	if (bpf_l3_csum_replace(ctx, ETH_HEADER + 10, from, to, sizeof(to)) ||
	    bpf_skb_store_bytes(ctx, ETH_HEADER + offset, &to, sizeof(to), 0))
		return -1;
	return 0;
}

/* The addresses, one hop fewer, and the checksums that have them in them. */
static __always_inline int rewrite_ip(klvs_ctx *ctx, const struct packet *p, __u32 check,
				      __u64 flags, const struct klvs_conn_key *new)
{
	__u8 ttl = p->at_home ? p->ttl : p->ttl - 1;

	if (rewrite_address(ctx, p, check, flags, 12, p->key.src, new->src) ||
	    rewrite_address(ctx, p, check, flags, 16, p->key.dst, new->dst) ||
	    bpf_l3_csum_replace(ctx, ETH_HEADER + 10, bpf_htons(p->ttl << 8), bpf_htons(ttl << 8),
				2) ||
	    bpf_skb_store_bytes(ctx, ETH_HEADER + 8, &ttl, sizeof(ttl), 0))
		return -1;
	return 0;
}

#endif

static __always_inline int rewrite_port(klvs_ctx *ctx, const struct packet *p, __u32 check,
					__u64 flags, __u32 offset, __be16 from, __be16 to)
{
	if (from == to || p->kind == PACKET_LATER_FRAGMENT)
		return 0;
	if (bpf_l4_csum_replace(ctx, check, from, to, flags | sizeof(to)) ||
	    bpf_skb_store_bytes(ctx, p->l4 + offset, &to, sizeof(to), 0))
		return -1;
	return 0;
}

/* NAT: other addresses and ports, one hop fewer, checksums to match. Ports of SCTP stay, for its
 * checksum is of the whole packet; addresses are not in it. 0 if done. */
static __always_inline int rewrite(klvs_ctx *ctx, const struct packet *p,
				   const struct klvs_conn_key *new)
{
	__u32 check = p->l4 + (p->key.protocol == IPPROTO_TCP ? 16 : 6);
	__u64 flags = p->key.protocol == IPPROTO_TCP ? 0 : BPF_F_MARK_MANGLED_0;

	if (rewrite_ip(ctx, p, check, flags, new) ||
	    rewrite_port(ctx, p, check, flags, 0, p->key.sport, new->sport) ||
	    rewrite_port(ctx, p, check, flags, 2, p->key.dport, new->dport))
		return -1;
	return 0;
}

/* Tunnel: the outer headers in front. TCP segments of a bundle become that much smaller; the
 * datagrams of a UDP bundle keep their size. 0 if done. */
static __always_inline int encapsulate(klvs_ctx *ctx, const struct packet *p,
				       const klvs_ip *outer, __be16 gue_port)
{
	struct gue_headers gue;
	__u64 flags = IP_HEADER == 20 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;

	if (p->key.protocol == IPPROTO_UDP)
		flags |= BPF_F_ADJ_ROOM_FIXED_GSO;
	if (gue_port)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	if (bpf_skb_adjust_room(ctx, tunnel_overhead(gue_port), BPF_ADJ_ROOM_MAC, flags) ||
	    bpf_skb_store_bytes(ctx, ETH_HEADER, outer, sizeof(*outer),
				BPF_F_RECOMPUTE_CSUM))
		return -1;
	if (!gue_port)
		return 0;
	gue_fill(&gue, p, gue_port);
	return bpf_skb_store_bytes(ctx, ETH_HEADER + IP_HEADER, &gue, sizeof(gue),
				   BPF_F_RECOMPUTE_CSUM);
}
