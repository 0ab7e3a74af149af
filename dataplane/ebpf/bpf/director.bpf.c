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
 * changes nothing. Where there may be no connection, tc alone schedules.
 */
#include "dataplane/ebpf/bpf/maps.h"

#include "dataplane/ebpf/bpf/address.h"
#include "dataplane/ebpf/bpf/by_family.h"
#include "dataplane/ebpf/bpf/filter.h"
#include "dataplane/ebpf/bpf/parse.h"
#include "dataplane/ebpf/bpf/reply.h"
#include "dataplane/ebpf/bpf/request.h"
#include "dataplane/ebpf/bpf/template_sweep.h"

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
	/* The stack's route leads back to where it came in, so it would go round. Most of it is
	 * what any interface says by itself, such as to multicast: not counted. */
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
