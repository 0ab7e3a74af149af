/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes to a real server. */
#pragma once

#include "dataplane/ebpf/bpf/by_family.h"
#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/deliver.h"
#include "dataplane/ebpf/bpf/drop.h"
#include "dataplane/ebpf/bpf/wire_length.h"

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
			if (p->kind == PACKET_LATER_FRAGMENT) {
				p->key.dport = c->key.dport;
				p->opening = p->key.protocol == IPPROTO_UDP;
			}
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
		if (!mac_same(c->client_mac, p->src_mac) || c->client_ifindex != p->ifindex)
			conn_client_moved(c, ctl, p);
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
