/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is for a VIP: its connection is found, or opened. */
#pragma once

#include "dataplane/ebpf/bpf/by_family.h"
#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/deliver.h"
#include "dataplane/ebpf/bpf/drop.h"
#include "dataplane/ebpf/bpf/forward.h"
#include "dataplane/ebpf/bpf/fragment.h"
#include "dataplane/ebpf/bpf/open.h"
#include "dataplane/ebpf/bpf/refusal.h"

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
		if (handle == FRAGMENT_DELIVERED)
			return KLVS_UNTOUCHED;
		c = conn_get(handle);
		if (!c && !p->once && !source_is_ours(p, settings)) {
			/* Its first, which opens if it is UDP, is not here yet. */
			if (settings->flags & KLVS_SETTING_CLAIMS && fragment_had_ports(p)) {
				p->opening = p->key.protocol == IPPROTO_UDP;
				if (deliver_here(p, settings))
					return KLVS_UNTOUCHED;
				p->opening = 0;
			}
			p->once = fragment_schedule(p);
		}
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
				fragment_learn(ctx, p, FRAGMENT_DELIVERED, 0);
			return KLVS_UNTOUCHED;
		}
	}
	if (!c) {
		int opened;

		if (p->kind == PACKET_ICMP_ERROR)
			return refuse(ctx, KLVS_DROP_ICMP, settings);
		opened = conn_open(p, settings);
		if (opened == CONN_OF_TC)
			return KLVS_UNTOUCHED;
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
