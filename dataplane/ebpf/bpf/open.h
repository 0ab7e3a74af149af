/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A new connection: service, real server, entry, and with NAT its reply key. */
#pragma once

#include "dataplane/ebpf/bpf/address.h"
#include "dataplane/ebpf/bpf/conn_insert.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/filter.h"
#include "dataplane/ebpf/bpf/packet.h"
#include "dataplane/ebpf/bpf/schedule_least.h"
#include "dataplane/ebpf/bpf/schedule_list.h"
#include "dataplane/ebpf/bpf/schedule_locality.h"
#include "dataplane/ebpf/bpf/schedule_table.h"
#include "dataplane/ebpf/bpf/schedule_twos.h"
#include "dataplane/ebpf/bpf/scratch.h"
#include "dataplane/ebpf/bpf/service.h"
#include "dataplane/ebpf/bpf/stateless.h"

#define SNAT_TRIES 16

/* Whether this node itself sent what comes in there. */
static __noinline int is_local_link(__u32 ifindex)
{
	__u32 slot = ifindex % KLVS_INTERFACE_SLOTS;
	struct klvs_interface *interface = bpf_map_lookup_elem(&klvs_interfaces, &slot);

	return interface && interface->ifindex == ifindex &&
	       interface->flags & KLVS_INTERFACE_LOCAL;
}

/* Whether a packet says that it comes from us: such a one would be answered to us, and on. */
static __always_inline int source_is_ours(const struct packet *p,
					  const struct klvs_settings *settings)
{
	struct klvs_address *address;
	klvs_addr source;

	if (!filter_passes_to(addr_fold(&p->key.src), settings) &&
	    !(settings->flags & KLVS_SETTING_NETWORKS))
		return 0;
	source = p->key.src;
	address = address_find(&source, settings);
	if (!address || !(address->flags & (KLVS_ADDRESS_VIP | KLVS_ADDRESS_SNAT)))
		return 0;
	return address->flags & KLVS_ADDRESS_VIP || !is_local_link(p->ifindex);
}

static __always_inline int ends_connection(const struct packet *p)
{
	return p->event == (p->key.protocol == IPPROTO_SCTP ? SCTP_ABORT : EVENT_RST);
}

/* As choose(), of schedulers without a table. */
__noinline int schedule(struct packet *p, struct klvs_service *service)
{
	if (!p || !service)
		return 0;
	if (service->scheduler == KLVS_SCHEDULER_TWOS)
		return schedule_twos(service);
	if (service->scheduler == KLVS_SCHEDULER_RR || service->scheduler == KLVS_SCHEDULER_WRR)
		return schedule_list(service);
	if (service->scheduler >= KLVS_SCHEDULER_LBLC)
		return schedule_locality(service);
	return schedule_least(service, service->scheduler);
}

/* The real server that a service's scheduler chooses; 0 if none is available. */
static __always_inline __u32 choose(struct packet *p, struct klvs_service *service)
{
	if (scheduler_has_table(service->scheduler))
		return schedule_table(service, p);
	return schedule(p, service);
}

/* Inserts a reply key; its handle, or 0. */
static __always_inline __u32 claim_key(struct klvs_conn *reply, __u64 now,
				       struct klvs_settings *settings)
{
	__u64 hash = conn_hash(&reply->key, settings);
	int handle;

	reply->ctl = CTL_LIVE | CTL_REPLY;
	handle = conn_insert(reply, hash, now, settings);
	if (handle == CONN_EXISTS && conn_expire_key(&reply->key, hash, now)) {
		reply->ctl = CTL_LIVE | CTL_REPLY;
		handle = conn_insert(reply, hash, now, settings);
	}
	return handle > 0 ? handle : 0;
}

/*
 * Inserts the reply key of a connection, which claims its port on the real server's `source`
 * address: the client's own port if that is in the range and free, else up to SNAT_TRIES - 1 from
 * a hashed start; of SCTP, only the client's own port. Without source NAT the key is what it is.
 * Returns the handle of the reply key, or 0; the port is in `reply->key.dport`.
 */
static __always_inline int claim_reply(struct klvs_conn *reply, __u64 hash, __u64 now, __u32 snat,
				       struct klvs_settings *settings)
{
	__u32 base = settings->snat_port_base, count = settings->snat_port_count;
	__u32 start, own, i, handle;

	if (!snat || reply->key.protocol == IPPROTO_SCTP)
		return claim_key(reply, now, settings);
	if (!count)
		return 0;
	own = bpf_ntohs(reply->key.dport) - base;
	start = (__u32)(hash >> 20) % count;
	for (i = 0; i < SNAT_TRIES; i++) {
		__u32 offset = i == 0 && own < count ? own : (start + i) % count;

		reply->key.dport = bpf_htons(base + offset);
		handle = claim_key(reply, now, settings);
		if (handle)
			return handle;
	}
	return 0;
}

#ifdef KLVS_IPV6
/* Of klvs_conn6. */
static __always_inline __u16 sum_change(const struct klvs_conn_key *key,
					const struct klvs_conn *reply)
{
	__u64 sum = csum_change_addr(0, &key->src, &reply->key.dst);
	__u16 change;

	sum = csum_change_addr(sum, &key->dst, &reply->key.src);
	sum = csum_change16(sum, key->sport, reply->key.dport);
	change = csum_fold(csum_change16(sum, key->dport, reply->key.sport));
	return change ? change : 0xffff;
}
#endif

/*
 * Gives the new NAT connection at `handle` its reply key. Returns 0, or a KLVS_DROP_*; then the
 * connection is gone.
 */
__noinline int conn_translate(struct packet *p, __u32 handle, struct klvs_settings *settings)
{
	struct klvs_conn *c = conn_get(handle);
	CONN_DRAFT(reply, 1);
	struct klvs_real *real;
	const klvs_ends *ends;
	__u32 id, snat;
	int claimed;
	__u64 ctl;

	if (!p || !settings || !c || !reply)
		return KLVS_DROP_NO_SOURCE_PORT;
	ctl = p->found_ctl;
	id = c->real;
	snat = KLVS_CTL_FLAGS(ctl) & KLVS_CONN_SNAT;
	real = bpf_map_lookup_elem(&klvs_reals, &id);
	ends = real_ends(&id, real);
	if (!real || !ends)
		return KLVS_DROP_BAD_REAL;
	reply->key.src = ends->address;
	reply->key.dst = snat ? ends->source : p->key.src;
	reply->key.sport = real_port(real, p->key.dport);
	reply->key.dport = p->key.sport;
	reply->key.protocol = p->key.protocol;
	reply->peer = handle;
	reply->peer_generation = ctl >> 32;
	claimed = claim_reply(reply, p->hash, p->now, snat, settings);
	if (!claimed) {
		conn_remove(handle, ctl);
		return KLVS_DROP_NO_SOURCE_PORT;
	}
	c->nat_addr = reply->key.dst;
	c->nat_port = reply->key.dport;
	c->peer = claimed;
#ifdef KLVS_IPV6
	c->sum_change = sum_change(&c->key, reply);
#endif
	if (__sync_val_compare_and_swap(&c->ctl, ctl, ctl & ~CTL_PENDING) != ctl) {
		conn_release(claimed, reply->ctl >> 32);
		return KLVS_DROP_RACE;
	}
	return 0;
}

/* Where the client of a persistent service stays, and how it is remembered; 0 if nowhere. */
static __always_inline __u64 choose_persistent(struct packet *p, struct klvs_service *service)
{
	__u32 id = service->id, prefix = service->template_prefix;
	__u64 choice = template_find(p, id, prefix);

	if (!choice) {
		__u32 real = choose(p, service);

		if (real)
			choice = template_make(p, id, prefix, service->template_seconds, real);
	}
	return choice;
}

/*
 * Opens a connection for `p`. Returns its handle, and p->found_ctl, or a negated KLVS_DROP_*. With NAT the
 * connection is PENDING until conn_translate. Where each packet is scheduled for itself, or the service
 * goes stateless, there is no connection: p->once is set.
 */
__noinline int conn_open(struct packet *p, struct klvs_settings *settings)
{
	struct klvs_service *service;
	CONN_DRAFT(new, 0);
	struct klvs_real *real;
	const klvs_ends *ends;
	__u64 choice = 0, ctl;
	__u32 state, nat;
	int handle;

	if (!p || !settings || !new)
		return -KLVS_DROP_NO_SERVICE;
	service = service_find(p);
	if (!service)
		return -KLVS_DROP_NO_SERVICE;
	/* A hash scheduler chooses for a packet in mid-stream what another director chose. */
	if (!p->opening && (!scheduler_has_table(service->scheduler) || ends_connection(p)))
		return -KLVS_DROP_NO_CONNECTION;
	if (source_is_martian(p) || source_is_ours(p, settings))
		return -KLVS_DROP_MARTIAN;
	if (scheduler_counts(service->scheduler) ||
	    service->flags & (KLVS_SERVICE_THRESHOLDS | KLVS_SERVICE_PERSISTENT))
		conn_sweep(p->now);
	new->service = service->id;
	if (service->flags & KLVS_SERVICE_PERSISTENT) {
		choice = choose_persistent(p, service);
		new->real = KLVS_TEMPLATE_REAL(choice);
	} else {
		new->real = choose(p, service);
	}
	/* The kernel's choice still counts it: its timer takes it out after the packet. */
	if (p->found)
		conn_remove(p->found, p->found_ctl);
	if (!new->real)
		return -KLVS_DROP_NO_REAL_SERVER;
	real = bpf_map_lookup_elem(&klvs_reals, &new->real);
	ends = real_ends(&new->real, real);
	if (!real || !ends || (real->flags & (KLVS_REAL_VALID | KLVS_REAL_REMOVED)) != KLVS_REAL_VALID)
		return -KLVS_DROP_BAD_REAL;
	if (addr_equal(&p->key.src, &ends->source) && !is_local_link(p->ifindex))
		return -KLVS_DROP_MARTIAN;
	nat = real->method == KLVS_METHOD_NAT;
	if (nat && real->flags & KLVS_REAL_LOCAL)
		return -KLVS_DROP_LOCAL_NAT;

	if (service->flags & KLVS_SERVICE_ONE_PACKET) {
		if (nat)
			return -KLVS_DROP_BAD_REAL;
		/* A connection that begins and ends: thresholds see it. */
		real_conns_open(new->real, real, KLVS_UDP);
		real_conns_close(new->real, KLVS_UDP);
		count_connection(service->id, new->real);
		p->once = new->real;
		return 1;
	}
	if (!nat && goes_stateless(service, p->now, settings)) {
		if (p->opening)
			count_connection(service->id, new->real);
		p->once = new->real;
		return 1;
	}
	new->key = p->key;
	new->client_ifindex = p->ifindex;
	mac_move(new->client_mac, p->src_mac);
	ctl = CTL_LIVE;
	if (p->key.protocol == IPPROTO_TCP) {
		state = state_next(KLVS_NONE, nat ? STATE_INPUT : STATE_INPUT_ONLY, p->event);
	} else if (p->key.protocol == IPPROTO_SCTP) {
		/* An event that is met twice would move it twice: the packet itself moves it on. */
		state = KLVS_SCTP_NONE;
	} else {
		state = KLVS_UDP;
		ctl |= CTL_EMBRYONIC;
	}
	if (!p->opening)
		ctl |= CTL_EMBRYONIC;
	if (nat) {
		ctl |= CTL_PENDING | (__u64)KLVS_CONN_NAT << 8;
		if (service->flags & KLVS_SERVICE_SOURCE_NAT)
			ctl |= (__u64)KLVS_CONN_SNAT << 8;
	}
	new->ctl = ctl | state;
	new->expires = p->now + state_timeout(settings, state);
	if (choice && template_hold(p, new->service, service->template_prefix, choice)) {
		new->ctl |= CTL_CONTROLLED;
		new->template_prefix = service->template_prefix;
		new->template_generation = KLVS_TEMPLATE_GENERATION(choice);
	}
	handle = conn_insert(new, p->hash, p->now, settings);
	if (handle <= 0 && new->ctl & CTL_CONTROLLED)
		template_release(new);
	if (handle == CONN_EXISTS)
		return -KLVS_DROP_RACE;
	if (handle <= 0)
		return -KLVS_DROP_TABLE_FULL;
	real_conns_open(new->real, real, state);
	p->found_ctl = new->ctl;
	return handle;
}
