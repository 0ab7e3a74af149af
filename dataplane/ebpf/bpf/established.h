/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * XDP's short way, which most packets take: whole TCP and UDP without options, of a connection that
 * goes on as it was, to or from a next hop whose link address is known. What reply() and forward()
 * do to such a packet is done here with nothing in between; any other is left as it is for them.
 */
#pragma once

#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/drop.h"
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

/* The length of the IP packet, if its header is plain and may lose a hop; else 0. */
static __always_inline __u32 plain_length(const klvs_ip *ip)
{
#ifdef KLVS_IPV6
	if (*(const __u8 *)ip >> 4 != 6 || ip->hop_limit <= 1)
		return 0;
	return IP_HEADER + bpf_ntohs(ip->payload_len);
#else
	if (*(const __u8 *)ip != 0x45 || ip->ttl <= 1 ||
	    ip->frag_off & (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET))
		return 0;
	return bpf_ntohs(ip->tot_len);
#endif
}

/* The length of the packet if both its headers are plain, and `header` bytes of the second are in it;
 * else 0. */
static __always_inline __u32 plain_whole(const klvs_ip *ip, const void *end, __u32 header)
{
	__u32 length = plain_length(ip);

	return length >= IP_HEADER + header && length <= (long)end - (long)ip ? length : 0;
}

/* The state of a connection that such a packet does not change, and its length; KLVS_NONE: it may
 * change any. */
static __always_inline __u32 plain_state(const klvs_ip *ip, const void *end, __u32 *length)
{
	const void *l4 = ip + 1;

	if (IP_NEXT(ip) == IPPROTO_TCP) {
		__u32 header = TCP_HEADER_LENGTH(l4);

		if ((TCP_FLAGS(l4) & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK ||
		    header < TCP_HEADER)
			return KLVS_NONE;
		*length = plain_whole(ip, end, header);
		return *length ? KLVS_ESTABLISHED : KLVS_NONE;
	}
	if (IP_NEXT(ip) == IPPROTO_UDP) {
		const struct udphdr *udp = l4;
		__u32 datagram = bpf_ntohs(udp->len);

#ifdef KLVS_IPV6
		if (!udp->check)
			return KLVS_NONE;
#endif
		if (datagram < UDP_HEADER)
			return KLVS_NONE;
		*length = plain_whole(ip, end, datagram);
		return *length ? KLVS_UDP : KLVS_NONE;
	}
	return KLVS_NONE;
}

/* Whether `ctl` is of a connection of that state, not a reply key, with nothing left to settle. */
static __always_inline int is_settled(__u64 ctl, __u32 state)
{
	const __u64 flags = CTL_LIVE | CTL_REPLY | CTL_PENDING | CTL_EMBRYONIC;

	return (ctl & (flags | 0xff)) == (CTL_LIVE | state);
}

/* The key of a packet, by words as wide as they come. */
union plain_key {
	struct klvs_conn_key key;
	__u64 word[sizeof(struct klvs_conn_key) / 8];
};

static __always_inline void plain_key(union plain_key *out, const klvs_ip *ip)
{
	const __u64 *address = (const __u64 *)&IP_SRC(ip);
	__u32 i;

#pragma unroll
	for (i = 0; i < sizeof(out->word) / 8 - 1; i++)
		out->word[i] = address[i];
	/* The ports, as they are on the wire, and the protocol. */
	out->word[i] = *(const __u32 *)(ip + 1) | (__u64)IP_NEXT(ip) << 32;
}

/* NAT of a whole packet of connection `c`, one way or the other. 0 if done. */
static __always_inline int translate(klvs_ip *ip, void *end, const struct klvs_conn *c, int reply,
				     const klvs_addr *src, const klvs_addr *dst, __be16 sport,
				     __be16 dport, __u32 state)
{
	__u8 protocol = state == KLVS_UDP ? IPPROTO_UDP : IPPROTO_TCP;
#ifdef KLVS_IPV6
	const __u32 addresses = 0, sum = reply ? 0xffff - c->sum_change : c->sum_change;

	if (store_transport(ip + 1, end, protocol, sport, dport, sum))
		return -1;
#else
	const __u32 addresses = csum_addresses(&IP_SRC(ip), &IP_DST(ip), src, dst);

	if (rewrite_transport(ip + 1, end, protocol, sport, dport, addresses))
		return -1;
#endif
	rewrite_ip(ip, src, dst, addresses);
	return 0;
}

/* Whether all is known that translate() needs. */
static __always_inline int may_translate(const struct klvs_conn *c)
{
#ifdef KLVS_IPV6
	return c->sum_change != 0;
#else
	return 1;
#endif
}

/* A connection's packet was seen; of the first one conn_open has done the rest. */
static __always_inline void see(struct klvs_conn *c, const struct klvs_real *real, __u32 id,
				__u32 length, __u32 state, __u64 now,
				const struct klvs_settings *settings, int opens)
{
	if (opens) {
		count_opening(real->service, id, length);
		return;
	}
	conn_stay(c, now, settings->timeouts[state & (KLVS_STATES - 1)]);
	count_packet(real->service, id, length, 0);
}

/* A plain packet of a client, whose connection `c` is in `state` now: to its real server. */
static __always_inline int go_on(klvs_ctx *ctx, struct ethhdr *eth, struct klvs_conn *c,
				 __u32 id, const struct klvs_real *real,
				 const struct klvs_conn_key *key, __u32 length, __u32 state, __u64 now,
				 const struct klvs_settings *settings, int opens)
{
	void *data, *end = (void *)(long)ctx->data_end;
	klvs_ip *ip = (klvs_ip *)(eth + 1);
	const klvs_ends *ends;
	klvs_outer outer;

	if (real->method == KLVS_METHOD_TUNNEL) {
		ends = real_ends(&id, real);
		if (!ends || real->gue_port || length + IP_HEADER > real->mtu)
			return LONG_WAY;
		see(c, real, id, length, state, now, settings, opens);
		outer_header(&outer, PLAIN_TOS(ip), length, PLAIN_FRAGMENT(ip), ends, 0);
		if (encapsulate(ctx, NULL, &outer, 0))
			return drop(ctx, KLVS_DROP_REWRITE);
		data = (void *)(long)ctx->data;
		if (data + ETH_HEADER > (void *)(long)ctx->data_end)
			return drop(ctx, KLVS_DROP_REWRITE);
		macs_move(data, real->dst_mac);
		return XDP_TX;
	}
	if (length > real->mtu)
		return LONG_WAY;
	if (real->method == KLVS_METHOD_NAT) {
		if (!mac_same(c->client_mac, eth->h_source) ||
		    c->client_ifindex != real->ifindex || !may_translate(c))
			return LONG_WAY;
		ends = real_ends(&id, real);
		if (!ends || translate(ip, end, c, 0, &c->nat_addr, &ends->address, c->nat_port,
				       real_port(real, key->dport), state))
			return drop(ctx, KLVS_DROP_REWRITE);
	} else {
		/* It came from there? What has just been opened did not. */
		if (!opens && mac_same(eth->h_source, real->dst_mac))
			return LONG_WAY;
		age_ip(ip);
	}
	see(c, real, id, length, state, now, settings, opens);
	macs_move(eth, real->dst_mac);
	return XDP_TX;
}

static __noinline int established(klvs_ctx *ctx, struct klvs_settings *settings)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	klvs_ip *ip = data + ETH_HEADER;
	__u32 length, state, id;
	struct klvs_real *real;
	struct klvs_conn *c;
	union plain_key key;
	__u64 ctl, now;

	/* Shorter datagrams take the long way, too. */
	if ((void *)(ip + 1) + TCP_HEADER > end)
		return LONG_WAY;
	state = plain_state(ip, end, &length);
	if (state == KLVS_NONE)
		return LONG_WAY;
	plain_key(&key, ip);
	c = conn_glance(&key.key, &ctl, &id, settings);
	if (!c)
		return LONG_WAY;
	now = bpf_jiffies64();
	if (!is_settled(ctl, state)) {
		__u32 ifindex = ctx->ingress_ifindex, slot = ifindex % KLVS_INTERFACE_SLOTS;
		struct klvs_interface *interface;
		__u32 generation = c->peer_generation, peer = c->peer;
		__u64 client_mac;

		if ((ctl & (CTL_LIVE | CTL_REPLY)) != (CTL_LIVE | CTL_REPLY) ||
		    (READ_ONCE(c->ctl) ^ ctl) >> 32)
			return LONG_WAY;
		c = conn_get(peer);
		interface = bpf_map_lookup_elem(&klvs_interfaces, &slot);
		if (!c || !interface || interface->ifindex != ifindex ||
		    c->client_ifindex != ifindex || !mac_same(eth->h_dest, interface->mac))
			return LONG_WAY;
		ctl = READ_ONCE(c->ctl);
		if (ctl >> 32 != generation || !is_settled(ctl, state) || now > c->expires ||
		    !may_translate(c))
			return LONG_WAY;
		if (translate(ip, end, c, 1, &c->key.dst, &c->key.src, c->key.dport, c->key.sport,
			      state))
			return drop(ctx, KLVS_DROP_REWRITE);
		conn_stay(c, now, settings->timeouts[state & (KLVS_STATES - 1)]);
		count_packet(c->service, c->real, length, 1);
		mac_move(eth->h_source, eth->h_dest);
		client_mac = conn_client_mac(c);
		mac_move(eth->h_dest, &client_mac);
		return XDP_TX;
	}
	real = bpf_map_lookup_elem(&klvs_reals, &id);
	if (!real || real->flags != SHORT_WAY_REAL || now > c->expires ||
	    real->ifindex != ctx->ingress_ifindex || !mac_same(eth->h_dest, real->src_mac))
		return LONG_WAY;
	return go_on(ctx, eth, c, id, real, &key.key, length, state, now, settings, 0);
}

/*
 * A connection's first packet, plain as those above, which conn_open has just brought in: counts it
 * and sends it on. LONG_WAY: nothing was done. Only a SYN, which moves its connection no further.
 */
static __noinline int begin(klvs_ctx *ctx, struct packet *p, struct klvs_conn *c,
			    struct klvs_settings *settings)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	klvs_ip *ip = data + ETH_HEADER;
	struct klvs_real *real;
	__u32 id;

	if (p->event != EVENT_SYN || p->key.protocol != IPPROTO_TCP || p->ttl <= 1 ||
	    p->l4 != ETH_HEADER + IP_HEADER || p->fragment & IP_MORE_FRAGMENTS ||
	    (void *)(ip + 1) + TCP_HEADER > end)
		return LONG_WAY;
	id = c->real;
	real = bpf_map_lookup_elem(&klvs_reals, &id);
	if (!real || real->flags != SHORT_WAY_REAL || real->ifindex != p->ifindex)
		return LONG_WAY;
	return go_on(ctx, eth, c, id, real, &p->key, p->total_length, KLVS_SYN_RECV, p->now,
		     settings, 1);
}
