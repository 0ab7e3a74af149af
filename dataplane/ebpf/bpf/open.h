/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A new connection: service, real server, entry, and with NAT its reply key. */
#pragma once

#include "dataplane/ebpf/bpf/address.h"
#include "dataplane/ebpf/bpf/by_family.h"
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
#include "dataplane/ebpf/bpf/source_port.h"
#include "dataplane/ebpf/bpf/stateless.h"

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

/* Whether what this node itself answers by NAT leaves it by an interface, where tc_reply is: not with
 * source NAT, nor to itself. */
static __always_inline int replies_leave(const struct packet *p, __u32 service_flags)
{
	return !(service_flags & KLVS_SERVICE_SOURCE_NAT) && !is_local_link(p->ifindex);
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

#define CONN_OF_TC -256 /* it is left to tc */

/*
 * Opens a connection for `p`. Returns its handle, and p->found_ctl, or a negated KLVS_DROP_*, or
 * CONN_OF_TC. With NAT the connection is PENDING until conn_translate. Where each packet is scheduled
 * for itself, or the service goes stateless, there is no connection: p->once is set.
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
#ifdef KLVS_XDP
	/* What XDP cannot send would be scheduled twice. */
	if (service->flags & KLVS_SERVICE_ONE_PACKET)
		return CONN_OF_TC;
#endif
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
#ifdef KLVS_XDP
	/* tc chooses the same, and counts what gets no entry. */
	if (!nat && scheduler_has_table(service->scheduler) && !may_send_to_real(p, real))
		return CONN_OF_TC;
#endif
	if (nat && real->flags & KLVS_REAL_LOCAL && !replies_leave(p, service->flags))
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
	/* Before anybody finds it, and takes it out of the counts again. */
	real_conns_open(new->real, real, state);
	handle = conn_insert(new, p->hash, p->now, settings);
	if (handle > 0) {
		p->found_ctl = new->ctl;
		return handle;
	}
	real_conns_close(new->real, state);
	if (new->ctl & CTL_CONTROLLED)
		template_release(new);
	return handle == CONN_EXISTS ? -KLVS_DROP_RACE : -KLVS_DROP_TABLE_FULL;
}
