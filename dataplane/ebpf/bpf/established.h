/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * XDP's short way, which most packets take: whole TCP and UDP without options, of a connection that
 * goes on as it was, to or from a next hop whose link address is known. What reply() and forward()
 * do to such a packet is done here with nothing in between; any other is left as it is for them.
 */
#pragma once

#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/parse.h"
#include "dataplane/ebpf/bpf/send_xdp.h"

#ifdef KLVS_IPV6
#include "dataplane/ebpf/bpf/tunnel6.h"
#else
#include "dataplane/ebpf/bpf/tunnel.h"
#endif

#define LONG_WAY -1

#ifdef KLVS_IPV6
#define PLAIN_TOS(ip) (bpf_ntohl(*(const __be32 *)(ip)) >> 20)
#define PLAIN_FRAGMENT(ip) 0
#define SHORT_WAY_REAL (KLVS_REAL_VALID | KLVS_REAL_L2 | KLVS_REAL_IPV6)
#else
#define PLAIN_TOS(ip) ((ip)->tos)
#define PLAIN_FRAGMENT(ip) ((ip)->frag_off)
#define SHORT_WAY_REAL (KLVS_REAL_VALID | KLVS_REAL_L2)
#endif

#define TCP_FIN_SYN_RST_ACK 0x17
#define TCP_ACK 0x10

/* The length of the IP packet, if its header is whole, plain and may lose a hop; else 0. */
static __always_inline __u32 plain_length(const klvs_ip *ip, const void *end)
{
	__u32 length;

#ifdef KLVS_IPV6
	if (ip->version != 6 || ip->hop_limit <= 1)
		return 0;
	length = IP_HEADER + bpf_ntohs(ip->payload_len);
#else
	if (*(const __u8 *)ip != 0x45 || ip->ttl <= 1 ||
	    ip->frag_off & (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET))
		return 0;
	length = bpf_ntohs(ip->tot_len);
#endif
	return length <= (long)end - (long)ip ? length : 0;
}

/* The key of a whole packet that changes no state of an established connection. 0 if it is one. */
static __always_inline int plain_key(struct klvs_conn_key *key, const klvs_ip *ip, const void *end,
				     __u32 length)
{
	__u32 payload = length - IP_HEADER;
	const void *l4 = ip + 1;

	if (IP_NEXT(ip) == IPPROTO_TCP) {
		const __u8 *tcp = l4;
		__u32 header;

		if (l4 + TCP_HEADER > end || (tcp[13] & TCP_FIN_SYN_RST_ACK) != TCP_ACK)
			return LONG_WAY;
		header = tcp[12] >> 4 << 2;
		if (header < TCP_HEADER || header > payload)
			return LONG_WAY;
	} else if (IP_NEXT(ip) == IPPROTO_UDP) {
		const struct udphdr *udp = l4;

		if (l4 + UDP_HEADER > end || bpf_ntohs(udp->len) < UDP_HEADER ||
		    bpf_ntohs(udp->len) > payload)
			return LONG_WAY;
#ifdef KLVS_IPV6
		if (!udp->check)
			return LONG_WAY;
#endif
	} else {
		return LONG_WAY;
	}
	key->src = IP_SRC(ip);
	key->dst = IP_DST(ip);
	key->sport = ((const __be16 *)l4)[0];
	key->dport = ((const __be16 *)l4)[1];
	key->protocol = IP_NEXT(ip);
	key->reserved[0] = 0;
	key->reserved[1] = 0;
	key->reserved[2] = 0;
	return 0;
}

/* Whether a connection goes on in its state with such a packet. */
static __always_inline int goes_on(const struct klvs_conn *c, __u64 ctl, __u64 now)
{
	__u32 state = KLVS_CTL_STATE(ctl);

	return (ctl & (CTL_LIVE | CTL_PENDING | CTL_EMBRYONIC)) == CTL_LIVE &&
	       (state == KLVS_ESTABLISHED || state == KLVS_UDP) && now <= c->expires;
}

static __always_inline void stay(struct klvs_conn *c, __u64 ctl, __u64 now,
				 const struct klvs_settings *settings)
{
	__u64 expires =
		now + settings->timeouts[klvs_mask(KLVS_CTL_STATE(ctl), KLVS_STATES - 1)];

	if (c->expires != expires)
		WRITE_ONCE(c->expires, expires);
}

static __noinline int established(klvs_ctx *ctx, struct klvs_settings *settings)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 ifindex = ctx->ingress_ifindex, length, handle, id, overhead;
	struct klvs_conn_key key, new;
	struct ethhdr *eth = data;
	klvs_ip *ip = data + ETH_HEADER;
	__u64 ctl, addresses, now = bpf_jiffies64();
	struct conn_place place;
	struct klvs_real *real;
	const klvs_ends *ends;
	struct klvs_conn *c;

	if ((void *)(ip + 1) > end)
		return LONG_WAY;
	length = plain_length(ip, end);
	if (!length || plain_key(&key, ip, end, length))
		return LONG_WAY;
	conn_locate(&place, conn_hash(&key, settings), settings);
	c = conn_find(&key, &place, &ctl, &handle);
	if (!c)
		return LONG_WAY;
	if (ctl & CTL_REPLY) {
		__u32 slot = ifindex % KLVS_INTERFACE_SLOTS, generation = c->peer_generation;
		struct klvs_interface *interface;

		c = conn_get(c->peer);
		interface = bpf_map_lookup_elem(&klvs_interfaces, &slot);
		if (!c || !interface || interface->ifindex != ifindex ||
		    c->client_ifindex != ifindex || !mac_same(eth->h_dest, interface->mac))
			return LONG_WAY;
		ctl = READ_ONCE(c->ctl);
		if (ctl >> 32 != generation || !goes_on(c, ctl, now))
			return LONG_WAY;
		stay(c, ctl, now, settings);
		count_packet(c->service, c->real, length, 1);
		new.src = c->key.dst;
		new.dst = c->key.src;
		new.sport = c->key.dport;
		new.dport = c->key.sport;
		addresses = csum_addresses(&key, &new);
		if (rewrite_transport(ip + 1, end, &key, &new, addresses))
			return drop(KLVS_DROP_REWRITE);
		rewrite_ip(ip, &new, addresses);
		return send_frame(ctx, c->client_mac, interface->mac);
	}
	id = c->real;
	real = bpf_map_lookup_elem(&klvs_reals, &id);
	if (!real || real->flags != SHORT_WAY_REAL || real->ifindex != ifindex ||
	    !mac_same(eth->h_dest, real->src_mac) || mac_same(eth->h_source, real->dst_mac) ||
	    !goes_on(c, ctl, now))
		return LONG_WAY;
	overhead = real->method == KLVS_METHOD_TUNNEL ? IP_HEADER : 0;
	if (length + overhead > real->mtu)
		return LONG_WAY;
	ends = real_ends(&id, real);
	if (!ends)
		return LONG_WAY;
	if (real->method == KLVS_METHOD_NAT) {
		if (!mac_same(c->client_mac, eth->h_source) || c->client_ifindex != ifindex)
			return LONG_WAY;
		new.src = c->nat_addr;
		new.dst = ends->address;
		new.sport = c->nat_port;
		new.dport = real_port(real, key.dport);
		addresses = csum_addresses(&key, &new);
		if (rewrite_transport(ip + 1, end, &key, &new, addresses))
			return drop(KLVS_DROP_REWRITE);
		rewrite_ip(ip, &new, addresses);
	} else if (real->method == KLVS_METHOD_TUNNEL) {
		klvs_ip outer;

		outer_header(&outer, PLAIN_TOS(ip), length, PLAIN_FRAGMENT(ip), ends);
		if (encapsulate(ctx, NULL, &outer))
			return drop(KLVS_DROP_REWRITE);
	} else {
		age_ip(ip);
	}
	stay(c, ctl, now, settings);
	count_packet(real->service, id, length, 0);
	return send_frame(ctx, real->dst_mac, real->src_mac);
}
