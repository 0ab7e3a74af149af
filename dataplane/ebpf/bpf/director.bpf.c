// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The director. Compiled with -DKLVS_XDP into xdp_director, without it into tc_director; with
 * -DKLVS_IPV6 into what these two jump to for IPv6, which begins with a fresh stack.
 *
 * Look-ups, in this order: address (whether the packet is ours), connection, service. A packet
 * that is not ours is left untouched. One that is ours is sent on or dropped with a reason, save
 * that XDP leaves to tc, untouched and uncounted, what it cannot send by the interface the packet
 * came from, and that a packet for a real server on this node goes to the stack. XDP may have
 * opened the connection of such a packet; tc then finds it, and the same event a second time
 * changes nothing.
 */
#include "dataplane/ebpf/bpf/maps.h"

#include "dataplane/ebpf/bpf/address.h"
#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/deliver.h"
#include "dataplane/ebpf/bpf/drop.h"
#include "dataplane/ebpf/bpf/filter.h"
#include "dataplane/ebpf/bpf/fragment.h"
#include "dataplane/ebpf/bpf/open.h"
#include "dataplane/ebpf/bpf/parse.h"
#include "dataplane/ebpf/bpf/refusal.h"
#include "dataplane/ebpf/bpf/template_sweep.h"
#include "dataplane/ebpf/bpf/wire_length.h"

#ifdef KLVS_IPV6
#include "dataplane/ebpf/bpf/echo6.h"
#include "dataplane/ebpf/bpf/icmp6.h"
#include "dataplane/ebpf/bpf/ndp.h"
#include "dataplane/ebpf/bpf/too_big6.h"
#include "dataplane/ebpf/bpf/tunnel6.h"
#else
#include "dataplane/ebpf/bpf/arp.h"
#include "dataplane/ebpf/bpf/echo.h"
#include "dataplane/ebpf/bpf/icmp.h"
#include "dataplane/ebpf/bpf/too_big.h"
#include "dataplane/ebpf/bpf/tunnel.h"
#endif

#ifdef KLVS_XDP
#include "dataplane/ebpf/bpf/established.h"
#include "dataplane/ebpf/bpf/send_xdp.h"
#else
#include "dataplane/ebpf/bpf/send_tc.h"
#include "dataplane/ebpf/bpf/tunnel_error.h"
#endif

static __always_inline int is_first_fragment(const struct packet *p)
{
	return p->fragment & IP_MORE_FRAGMENTS && p->kind == PACKET_WHOLE;
}

/* Forwards a client's packet of connection `c`, whose control word was `ctl`, or to p->once. */
static __always_inline int forward(klvs_ctx *ctx, struct packet *p, struct klvs_conn *c, __u64 ctl,
				   struct klvs_settings *settings)
{
	__u32 id = c ? c->real : p->once, service, overhead = 0;
	struct klvs_real *real = bpf_map_lookup_elem(&klvs_reals, &id);
	const klvs_ends *ends;
	int nat;

	if (!real || !(real->flags & KLVS_REAL_VALID))
		return drop(ctx, KLVS_DROP_BAD_REAL);
	service = real->service;
	if (ctl & CTL_PENDING)
		return drop(ctx, KLVS_DROP_RACE);
	if (!may_send_to_real(p, real))
		return KLVS_UNTOUCHED;
	nat = real->method == KLVS_METHOD_NAT;
	if (real->method == KLVS_METHOD_TUNNEL)
		overhead = tunnel_overhead(real->gue_port);
	if (!(real->flags & KLVS_REAL_LOCAL)) {
		if (!real->ifindex)
			return drop(ctx, KLVS_DROP_NO_ROUTE);
		if (real->method != KLVS_METHOD_TUNNEL && p->ttl <= 1)
			return drop(ctx, KLVS_DROP_TTL);
		/* Two directors that are each other's real servers. */
		if (c && real->method == KLVS_METHOD_DIRECT_ROUTING &&
		    !mac_same(c->client_mac, p->src_mac) && real->flags & KLVS_REAL_L2 &&
		    mac_same(real->dst_mac, p->src_mac)) {
			/* It was opened when the claim was here, and not by a client here. */
			if (settings->flags & KLVS_SETTING_CLAIMS &&
			    !is_local_link(c->client_ifindex) && deliver_here(p, settings))
				return KLVS_UNTOUCHED;
			return drop(ctx, KLVS_DROP_LOOP);
		}
		if (real->mtu && wire_length(ctx, p) + overhead > real->mtu)
			return too_big(ctx, p, real->mtu - overhead);
		/* The outer length has 16 bits, too. */
		if (p->total_length + overhead > 0xffff)
			return drop(ctx, KLVS_DROP_TOO_BIG);
	} else if (nat && (KLVS_CTL_FLAGS(ctl) & KLVS_CONN_SNAT || is_local_link(p->ifindex))) {
		return drop(ctx, KLVS_DROP_LOCAL_NAT);
	}

	if (c && p->kind == PACKET_WHOLE)
		conn_step(c, ctl, nat ? STATE_INPUT : STATE_INPUT_ONLY, p->event, p->now, settings);
	count_packet(service, id, p->total_length, 0);

	p->at_home = !!(real->flags & KLVS_REAL_LOCAL);
	if (p->at_home && !nat)
		return KLVS_UNTOUCHED;
	ends = real_ends(&id, real);
	if (!ends)
		return drop(ctx, KLVS_DROP_BAD_REAL);
	if (nat && p->kind == PACKET_ICMP_ERROR) {
		struct icmp_change change = {
			.to = ends->address,
			.src = ends->address,
		};

		if (!c)
			return drop(ctx, KLVS_DROP_BAD_REAL);
		change.sport = real_port(real, c->key.dport);
		if (KLVS_CTL_FLAGS(ctl) & KLVS_CONN_SNAT)
			change.from = c->nat_addr;
		change.dst = c->nat_addr;
		change.dport = c->nat_port;
		if (icmp_translate(ctx, p, &change))
			return drop(ctx, KLVS_DROP_REWRITE);
	} else if (nat) {
		struct klvs_conn_key new = {.dst = ends->address};

		if (!c)
			return drop(ctx, KLVS_DROP_BAD_REAL);
		new.dport = real_port(real, c->key.dport);
		new.src = c->nat_addr;
		new.sport = c->nat_port;
		/* The client's router may have changed. */
		if (!mac_same(c->client_mac, p->src_mac))
			mac_move(c->client_mac, p->src_mac);
		if (c->client_ifindex != p->ifindex)
			WRITE_ONCE(c->client_ifindex, p->ifindex);
		if (rewrite(ctx, p, &new))
			return drop(ctx, KLVS_DROP_REWRITE);
	} else if (real->method == KLVS_METHOD_TUNNEL) {
		klvs_outer outer;

		outer_header(&outer, p->tos, p->total_length, p->fragment, ends, real->gue_port);
		if (encapsulate(ctx, p, &outer, real->gue_port))
			return drop(ctx, KLVS_DROP_REWRITE);
	} else if (age(ctx)) {
		return drop(ctx, KLVS_DROP_REWRITE);
	}
	if (p->at_home)
		return KLVS_UNTOUCHED;
	return send_to_real(ctx, p, real, ends);
}

/* Translates a real server's packet back, or an error about a tunnel, if it belongs to a
 * connection; else leaves it alone. */
static __always_inline int reply(klvs_ctx *ctx, struct packet *p, struct klvs_settings *settings)
{
	struct klvs_conn_key new;
	__u32 reason = parse_ip(ctx, p);
	struct klvs_conn *c;
	__u32 handle, generation;
	__u64 ctl;

	if (reason == KLVS_DROP_ICMP) {
#ifndef KLVS_XDP
		if (!p->at_home) {
			int verdict = tunnel_error(ctx, p);

			if (verdict != KLVS_UNTOUCHED)
				return verdict;
		}
#endif
		reason = icmp_read(ctx, p);
	}
	if (reason == KLVS_DROP_FRAGMENT) {
		handle = fragment_find(ctx, p);
		c = conn_get(handle);
		if (!c)
			return KLVS_UNTOUCHED;
		ctl = READ_ONCE(c->ctl);
		generation = ctl >> 32;
	} else {
		if (reason)
			return KLVS_UNTOUCHED;
		c = conn_find(&p->key, conn_hash(&p->key, settings), &p->found_ctl, &p->found, settings);
		if (!c || !(p->found_ctl & CTL_REPLY))
			return KLVS_UNTOUCHED;
		generation = c->peer_generation;
		handle = c->peer;
		c = conn_get(handle);
		if (!c)
			return KLVS_UNTOUCHED;
		ctl = READ_ONCE(c->ctl);
	}
	if (!(ctl & CTL_LIVE) || ctl & CTL_PENDING || ctl >> 32 != generation ||
	    p->now > c->expires)
		return KLVS_UNTOUCHED;
	if (is_first_fragment(p))
		fragment_learn(ctx, p, handle, generation);
	if (!may_send_to_client(p, c))
		return KLVS_UNTOUCHED;
	if (!p->at_home && p->ttl <= 1)
		return drop(ctx, KLVS_DROP_TTL);

	if (p->kind == PACKET_WHOLE)
		conn_step(c, ctl, STATE_OUTPUT, p->event, p->now, settings);
	count_packet(c->service, c->real, p->total_length, 1);
	if (p->kind == PACKET_ICMP_ERROR) {
		/* From the VIP, whoever it is that complains behind it. */
		struct icmp_change change = {
			.from = c->key.dst,
			.to = c->key.src,
			.src = c->key.src,
			.dst = c->key.dst,
			.sport = c->key.sport,
			.dport = c->key.dport,
		};

		if (icmp_translate(ctx, p, &change))
			return drop(ctx, KLVS_DROP_REWRITE);
		return send_to_client(ctx, p, c);
	}
	new.src = c->key.dst;
	new.dst = c->key.src;
	new.sport = c->key.dport;
	new.dport = c->key.sport;
	if (rewrite(ctx, p, &new))
		return drop(ctx, KLVS_DROP_REWRITE);
	return send_to_client(ctx, p, c);
}

/* What is not for a service is dropped or, where the VIP is an address of this host, its own. */
static __always_inline int refuse(klvs_ctx *ctx, __u32 reason,
				  const struct klvs_settings *settings)
{
	const __u32 of_no_service = 1 << KLVS_DROP_SHORT | 1 << KLVS_DROP_BAD_HEADER |
				    1 << KLVS_DROP_FRAGMENT | 1 << KLVS_DROP_ICMP |
				    1 << KLVS_DROP_PROTOCOL | 1 << KLVS_DROP_NO_SERVICE |
				    1 << KLVS_DROP_NO_CONNECTION;

	if (settings->flags & KLVS_SETTING_SHARED_VIPS && of_no_service >> (reason & 31) & 1)
		return KLVS_UNTOUCHED;
	return drop(ctx, reason);
}

/* A packet to a VIP. */
static __always_inline int request(klvs_ctx *ctx, struct packet *p, struct klvs_settings *settings)
{
	__u32 reason = parse_ip(ctx, p);
	struct klvs_conn *c;
	__u32 handle = 0;
	__u64 ctl = 0;

	/* The host's own VIPs are asked for, and ask, by link-local neighbours. */
	if (reason == KLVS_DROP_ICMP && source_is_martian(p))
		return settings->flags & KLVS_SETTING_SHARED_VIPS ? KLVS_UNTOUCHED
								  : drop(ctx, KLVS_DROP_MARTIAN);
	if (reason == KLVS_DROP_ICMP) {
		if (!(settings->flags & KLVS_SETTING_SHARED_VIPS)) {
			int verdict = echo_answer(ctx, p);

			if (verdict != KLVS_DROP)
				return verdict;
		}
#ifndef KLVS_XDP
		/* A VIP of this host may be its tunnels' source, too. */
		if (settings->flags & KLVS_SETTING_SHARED_VIPS) {
			int verdict = tunnel_error(ctx, p);

			if (verdict != KLVS_UNTOUCHED)
				return verdict;
		}
#endif
		reason = icmp_read(ctx, p);
	}
	if (reason == KLVS_DROP_FRAGMENT) {
		handle = fragment_find(ctx, p);
		c = conn_get(handle);
		if (!c && !p->once && !source_is_ours(p, settings))
			p->once = fragment_schedule(p);
		if (p->once)
			goto known;
		if (!c)
			return refuse(ctx, reason, settings);
		ctl = READ_ONCE(c->ctl);
		goto known;
	}
	if (reason)
		return refuse(ctx, reason, settings);
	p->hash = conn_hash(&p->key, settings);
	c = NULL;
	/* A SYN is nearly always of a connection that is not there. */
	if (p->event != EVENT_SYN || conn_may_be_there(p->hash, settings))
		c = conn_find(&p->key, p->hash, &p->found_ctl, &p->found, settings);
	handle = p->found;
	ctl = p->found_ctl;
	p->found = 0;
	if (c && ctl & CTL_REPLY)
		c = NULL;
	/* What another CPU is setting up keeps its place: forward() drops the packet. */
	if (c && !(ctl & CTL_PENDING)) {
		if (p->now > c->expires) {
			conn_remove(handle, ctl);
			c = NULL;
		} else if (p->opening) {
			__u32 id = c->real;
			struct klvs_real *real = bpf_map_lookup_elem(&klvs_reals, &id);

			/* A client may use a port again, and need not stay with a real server that
			 * is gone. */
			if ((!(ctl & CTL_CONTROLLED) && state_is_closed(KLVS_CTL_STATE(ctl))) ||
			    !real || real->flags & KLVS_REAL_REMOVED) {
				p->found = handle;
				c = NULL;
			}
		}
	}
	if (!c && settings->flags & KLVS_SETTING_CLAIMS) {
		__u32 local = deliver_here(p, settings);

		if (local) {
			if (p->found)
				conn_remove(p->found, p->found_ctl);
			if (is_first_fragment(p))
				fragment_learn(ctx, p, 0, local);
			return KLVS_UNTOUCHED;
		}
	}
	if (!c) {
		int opened;

		if (p->kind == PACKET_ICMP_ERROR)
			return refuse(ctx, KLVS_DROP_ICMP, settings);
		opened = conn_open(p, settings);
		if (opened <= 0) {
			int verdict = refuse(ctx, -opened, settings);

			return verdict == KLVS_DROP ? refusal(ctx, p, -opened) : verdict;
		}
		if (p->once)
			goto known;
		handle = opened;
		c = conn_get(handle);
		if (!c)
			return drop(ctx, KLVS_DROP_TABLE_FULL);
		ctl = p->found_ctl;
		if (ctl & CTL_PENDING) {
			reason = conn_translate(p, opened, settings);
			if (reason == KLVS_DROP_NO_SOURCE_PORT &&
			    source_port_free(p, opened, settings))
				reason = conn_translate(p, opened, settings);
			if (reason) {
				conn_remove(opened, ctl);
				return drop(ctx, reason);
			}
			ctl &= ~CTL_PENDING;
		}
		/* It has given way to another one already. */
		if ((READ_ONCE(c->ctl) ^ ctl) >> 32)
			return drop(ctx, KLVS_DROP_RACE);
#ifdef KLVS_XDP
		int verdict = begin(ctx, p, c, settings);

		if (verdict != LONG_WAY)
			return verdict;
#endif
		count_connection(c->service, c->real);
	}
known:
	if (is_first_fragment(p))
		fragment_learn(ctx, p, handle, c ? ctl >> 32 : p->once);
	return forward(ctx, p, c, ctl, settings);
}

/* Whether a frame came to us, and not to somebody else in the segment. */
static __always_inline int is_for_us(klvs_ctx *ctx, const struct ethhdr *eth, struct packet *p)
{
#ifdef KLVS_XDP
	__u32 slot = p->ifindex % KLVS_INTERFACE_SLOTS;
	struct klvs_interface *interface = bpf_map_lookup_elem(&klvs_interfaces, &slot);

	if (!interface || interface->ifindex != p->ifindex)
		return 0;
	mac_move(p->own_mac, interface->mac);
	return mac_same(eth->h_dest, interface->mac);
#else
	return ctx->pkt_type == PACKET_HOST;
#endif
}

/* Where the packet's values are; all zero. */
#ifdef KLVS_IPV6
#define PACKET_NEW(p)                                                                              \
	struct klvs_scratch *scratch = scratch_get();                                              \
	struct packet *p = &scratch->packet;                                                       \
	if (!scratch)                                                                              \
		return KLVS_UNTOUCHED;                                                             \
	__builtin_memset(p, 0, sizeof(*p))
#else
#define PACKET_NEW(p)                                                                              \
	struct packet packet = {};                                                                 \
	struct packet *p = &packet
#endif

#ifndef KLVS_IPV6
/* Whether a packet of IPv6 is worth the way to its program. */
static __always_inline int is_for_ipv6(klvs_ctx *ctx)
{
	const struct klvs_settings *settings;
	const __be32 *src, *dst;
	struct ipv6hdr *ip;
	int icmp;

	parse_pull(ctx, ETH_HEADER + sizeof(*ip));
	ip = (void *)(long)ctx->data + ETH_HEADER;
	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return 0;
	dst = (const __be32 *)&ip->daddr;
	settings = settings_get();
	if (!settings)
		return 0;
	if (filter_passes_to(dst[0] ^ dst[1] ^ dst[2] ^ dst[3], settings))
		return 1;
	icmp = ip->nexthdr == IPPROTO_ICMPV6;
	/* Somebody asks for a neighbour. */
	if (icmp && *(const __u8 *)dst == 0xff)
		return 1;
	src = (const __be32 *)&ip->saddr;
	return filter_passes_other(src[0] ^ src[1] ^ src[2] ^ src[3], icmp, settings);
}
#endif

/* Whether a packet to the address may be for reply(). */
static __always_inline int takes_replies(const struct klvs_address *address, const klvs_ip *ip)
{
#ifndef KLVS_XDP
	if (address->flags & KLVS_ADDRESS_TUNNEL && IP_NEXT(ip) == IP_ICMP)
		return 1;
#endif
	return address->flags & KLVS_ADDRESS_SNAT;
}

static __always_inline int director(klvs_ctx *ctx)
{
	struct klvs_settings *settings;
	struct klvs_address *address = NULL;
	__u32 vip_id = 0;
	struct ethhdr *eth;
	klvs_ip *ip;
	void *data, *end;
	klvs_addr key;
	__u32 ifindex;

#ifndef KLVS_XDP
	if (ctx->vlan_present)
		return KLVS_UNTOUCHED;
#ifdef KLVS_IPV6
	/* lvsadm's own dataplane attaches it beside IPv4's. */
	if (ctx->protocol != bpf_htons(ETH_P_IPV6))
		return KLVS_UNTOUCHED;
#endif
#endif
#ifndef KLVS_IPV6
	parse_pull(ctx, ETH_HEADER + IP_HEADER);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ip = data + ETH_HEADER;
	if ((void *)(ip + 1) > end)
		return KLVS_UNTOUCHED;
	const __be16 type = *(const __be16 *)(data + ETH_TYPE);

	if (type != bpf_htons(ETH_P_IP)) {
		if (type == bpf_htons(ETH_P_ARP)) {
			settings = settings_get();
			return settings ? arp_answer(ctx, IFINDEX(ctx), settings) : KLVS_UNTOUCHED;
		}
		if (type == bpf_htons(ETH_P_IPV6) && is_for_ipv6(ctx))
			bpf_tail_call(ctx, &KLVS_FAMILIES, 0);
		return KLVS_UNTOUCHED;
	}
#endif
	settings = settings_get();
	if (!settings)
		return KLVS_UNTOUCHED;
#ifndef KLVS_IPV6
	if (!filter_passes_to(ip->daddr, settings) &&
	    !filter_passes_other(ip->saddr, ip->protocol == IPPROTO_ICMP, settings))
		return KLVS_UNTOUCHED;
#endif
#ifdef KLVS_XDP
	int verdict = established(ctx, settings);

	if (verdict != LONG_WAY)
		return verdict;
#endif
	parse_pull(ctx, ETH_HEADER + IP_HEADER);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	ip = data + ETH_HEADER;
	if ((void *)(ip + 1) > end)
		return KLVS_UNTOUCHED;
	ifindex = IFINDEX(ctx);
#ifdef KLVS_IPV6
	if (may_be_solicitation(ip)) {
		int verdict = ndp_answer(ctx, ifindex);

		if (verdict != KLVS_UNTOUCHED)
			return verdict;
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
		eth = data;
		ip = (void *)(eth + 1);
		if ((void *)(ip + 1) > end)
			return KLVS_UNTOUCHED;
	}
#endif

#ifndef KLVS_IPV6
	vip_id = vip_at_hand(ip->daddr, settings);
#endif
	key = IP_DST(ip);
	if (!vip_id) {
		address = address_find(&key, settings);
		if (address && address->flags & KLVS_ADDRESS_VIP)
			vip_id = address->vip_id;
	}
	if (!vip_id && !(address && takes_replies(address, ip))) {
		if (!(settings->flags & KLVS_SETTING_PLAIN_NAT))
			return KLVS_UNTOUCHED;
		key = IP_SRC(ip);
		address = bpf_map_lookup_elem(&klvs_addresses, &key);
		/* An ICMP error may come from a router in between. */
		if (!(address && address->flags & KLVS_ADDRESS_NAT_REAL) && IP_NEXT(ip) != IP_ICMP)
			return KLVS_UNTOUCHED;
	}

	PACKET_NEW(p);
	p->ifindex = ifindex;
#ifndef KLVS_XDP
	p->gso = ctx->gso_segs > 1 || ctx->gso_size;
#endif
	if (!is_for_us(ctx, eth, p))
		return KLVS_UNTOUCHED;
	p->now = bpf_jiffies64();
	if (!vip_id)
		return reply(ctx, p, settings);
	mac_move(p->src_mac, eth->h_source);
	p->vip_id = vip_id;
	return request(ctx, p, settings);
}

#ifdef KLVS_XDP
SEC("xdp")
int FAMILY_PROGRAM(xdp_director)(struct xdp_md *ctx)
{
	return director(ctx);
}
#else
SEC("tc")
int FAMILY_PROGRAM(tc_director)(struct __sk_buff *ctx)
{
	int verdict = director(ctx);

	if (verdict != KLVS_UNTOUCHED || !is_local_link(ctx->ifindex))
		return verdict;
#ifndef KLVS_IPV6
	/* IPv6's program is the next filter. */
	struct klvs_settings *settings = settings_get();

	if (ctx->protocol == bpf_htons(ETH_P_IPV6) && settings &&
	    settings->flags & KLVS_SETTING_SHARED_VIPS)
		return verdict;
#endif
	/* The stack's route leads back to where it came in, so it would go round. */
	return KLVS_DROP;
}

/* NAT without source NAT to a process of this node: what it answers, on the way out. */
static __always_inline int home_reply(struct __sk_buff *ctx)
{
	struct klvs_settings *settings = settings_get();
	struct klvs_address *address;
	klvs_addr key;
	klvs_ip *ip;

	if (ctx->vlan_present || ctx->protocol != bpf_htons(IP_ETHERTYPE) || !settings ||
	    !(settings->flags & KLVS_SETTING_PLAIN_NAT))
		return KLVS_UNTOUCHED;
	parse_pull(ctx, ETH_HEADER + IP_HEADER);
	ip = (void *)(long)ctx->data + ETH_HEADER;
	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return KLVS_UNTOUCHED;
	key = IP_SRC(ip);
	address = bpf_map_lookup_elem(&klvs_addresses, &key);
	if (!address || !(address->flags & KLVS_ADDRESS_NAT_REAL))
		return KLVS_UNTOUCHED;

	PACKET_NEW(p);
	p->ifindex = ctx->ifindex;
	p->gso = ctx->gso_segs > 1 || ctx->gso_size;
	p->at_home = 1;
	p->now = bpf_jiffies64();
	return reply(ctx, p, settings);
}

SEC("tc")
int FAMILY_PROGRAM(tc_reply)(struct __sk_buff *ctx)
{
	return home_reply(ctx);
}

struct sweep {
	struct conn_survey survey;
	__u32 first_set;
	__u32 removed;
};

static long sweep_visit(__u32 n, void *data)
{
	struct sweep *sweep = data;

	sweep->removed += conn_look(1 + sweep->first_set * KLVS_CONN_WAYS + n, &sweep->survey);
	return 0;
}

/* Never attached. */
SEC("tc")
int FAMILY_PROGRAM(klvs_sweep)(struct __sk_buff *ctx)
{
	struct sweep sweep = {
		.first_set = ctx->cb[0],
		.survey = {.now = bpf_jiffies64()},
	};
	__u32 sets = ctx->cb[1];

	if (sets > KLVS_SWEEP_SETS)
		sets = KLVS_SWEEP_SETS;
	bpf_loop(sets * KLVS_CONN_WAYS, sweep_visit, &sweep, 0);
	if (!sweep.first_set)
		templates_sweep(sweep.survey.now);
	return sweep.removed;
}

#ifndef KLVS_IPV6
SEC("syscall")
int klvs_clock(struct klvs_clock *clock)
{
	clock->jiffies = bpf_jiffies64();
	clock->boot_ns = bpf_ktime_get_boot_ns();
	return 0;
}
#endif
#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";
