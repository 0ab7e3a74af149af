/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments: the first of a packet has the ports, and leaves a note for the later ones, which have
 * none. A later one that comes before its first finds nothing, and goes nowhere but to a service of all
 * ports: where its scheduler asks for none, and on a director without the claim to the real server here.
 * Notes are few, and the oldest give way; none of them changes where a connection goes.
 */
#pragma once

#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/packet.h"
#include "dataplane/ebpf/bpf/parse.h"
#include "dataplane/ebpf/bpf/schedule_table.h"

#define FRAGMENT_SECONDS 30 /* the kernel's time to put a packet together */
#define FRAGMENT_DELIVERED (~0U) /* in the place of a handle: it was balanced elsewhere, and is for here */

static __always_inline int is_first_fragment(const struct packet *p)
{
	return p->fragment & IP_MORE_FRAGMENTS && p->kind == PACKET_WHOLE;
}

static __always_inline int fragment_key(klvs_ctx *ctx, const struct packet *p,
					struct klvs_fragment_key *key)
{
	key->src = p->key.src;
	key->dst = p->key.dst;
#ifdef KLVS_IPV6
	return packet_load(ctx, p->fragment_id, &key->id, sizeof(key->id));
#else
	key->protocol = p->key.protocol;
	return packet_load(ctx, ETH_HEADER + 4, &key->id, sizeof(key->id));
#endif
}

/* `p` is a first fragment, of connection `handle` in `generation`, or FRAGMENT_DELIVERED, or, with handle
 * 0, alone on its way to real server `generation`. */
__noinline int fragment_learn(klvs_ctx *ctx, struct packet *p, __u32 handle, __u32 generation)
{
	struct klvs_settings *settings = settings_get();
	struct klvs_fragment_key key = {};
	struct klvs_fragment note = {.conn = handle, .generation = generation};

	if (!p || !settings || fragment_key(ctx, p, &key))
		return 0;
	note.until = p->now + (__u64)FRAGMENT_SECONDS * settings->hz;
	return bpf_map_update_elem(&klvs_fragments, &key, &note, BPF_ANY);
}

/* The handle of the connection of `p`, a later fragment, or FRAGMENT_DELIVERED. 0: its first was not seen,
 * or went alone: p->once is set. */
__noinline int fragment_find(klvs_ctx *ctx, struct packet *p)
{
	struct klvs_fragment_key key = {};
	struct klvs_fragment *note;
	struct klvs_conn *c;
	__u64 ctl;

	/* A first fragment is here if it is ICMP's, of which nobody takes notes. */
	if (!p || !(p->fragment & IP_FRAGMENT_OFFSET) || fragment_key(ctx, p, &key))
		return 0;
	note = bpf_map_lookup_elem(&klvs_fragments, &key);
	if (!note || p->now > note->until)
		return 0;
	if (note->conn == FRAGMENT_DELIVERED)
		return FRAGMENT_DELIVERED;
	if (!note->conn) {
		p->kind = PACKET_LATER_FRAGMENT;
		p->once = note->generation;
		return 0;
	}
	c = conn_get(note->conn);
	if (!c)
		return 0;
	ctl = READ_ONCE(c->ctl);
	if (!(ctl & CTL_LIVE) || ctl >> 32 != note->generation || p->now > c->expires)
		return 0;
	p->kind = PACKET_LATER_FRAGMENT;
	return note->conn;
}

/* Whether it is a later fragment of what has ports. */
static __always_inline int fragment_had_ports(const struct packet *p)
{
	return p->fragment & IP_FRAGMENT_OFFSET &&
	       (p->key.protocol == IPPROTO_TCP || p->key.protocol == IPPROTO_UDP ||
		p->key.protocol == IPPROTO_SCTP);
}

/* The real server of a later fragment without a note, if the client's address alone says it; else 0. */
__noinline int fragment_schedule(struct packet *p)
{
	struct klvs_wide_key all_ports = {.last = 0xffff};
	struct klvs_service *service;
	struct klvs_real *real;
	__u32 id;

	if (!p || !fragment_had_ports(p) || source_is_martian(p))
		return 0;
	all_ports.vip_id = p->vip_id;
	service = bpf_map_lookup_elem(&klvs_wide_services, &all_ports);
	if (!service || !scheduler_has_table(service->scheduler) ||
	    service->flags & (KLVS_SERVICE_HASH_PORT | KLVS_SERVICE_PERSISTENT))
		return 0;
	id = schedule_table(service, p);
	real = bpf_map_lookup_elem(&klvs_reals, &id);
	if (!real || real->method == KLVS_METHOD_NAT)
		return 0;
	p->kind = PACKET_LATER_FRAGMENT;
	return id;
}
