/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What comes back by NAT. */
#pragma once

#include "dataplane/ebpf/bpf/by_family.h"
#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/drop.h"
#include "dataplane/ebpf/bpf/fragment.h"

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
		/* It was that entry's still? */
		if ((READ_ONCE(c->ctl) ^ p->found_ctl) >> 32)
			return KLVS_UNTOUCHED;
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
