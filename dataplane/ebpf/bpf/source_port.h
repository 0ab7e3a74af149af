/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* NAT: the reply key of a new connection, and with it the port that the real server sees. */
#pragma once

#include "dataplane/ebpf/bpf/conn_insert.h"
#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/packet.h"
#include "dataplane/ebpf/bpf/scratch.h"

#define SNAT_TRIES 16

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

/* How many ports there are to try for a connection that `p` opened. */
static __always_inline __u32 source_ports(const struct packet *p, __u32 snat,
					  const struct klvs_settings *settings)
{
	if (!snat || p->key.protocol == IPPROTO_SCTP)
		return 1;
	return settings->snat_port_count ? SNAT_TRIES : 0;
}

/* The one to try at attempt `i`: the client's own if it is in the range, or if there is no choice; the
 * others in a row from a hashed start. */
static __always_inline __be16 source_port(const struct packet *p, __u32 tries, __u32 i,
					  const struct klvs_settings *settings)
{
	__u32 base = settings->snat_port_base, count = settings->snat_port_count;
	__u32 own = bpf_ntohs(p->key.sport) - base, start;

	if (tries == 1 || !count)
		return p->key.sport;
	if (i == 0 && own < count)
		return bpf_htons(base + own);
	start = (__u32)(p->hash >> 20) % count;
	return bpf_htons(base + (start + i) % count);
}

/*
 * Inserts the reply key of a connection, which claims its port on the real server's `source` address:
 * the first one that is free. Without source NAT the key is what it is. Returns the handle of the reply
 * key, or 0; the port is in `reply->key.dport`.
 */
static __always_inline int claim_reply(struct klvs_conn *reply, const struct packet *p, __u32 snat,
				       struct klvs_settings *settings)
{
	__u32 tries = source_ports(p, snat, settings), i, handle;

	for (i = 0; i < SNAT_TRIES && i < tries; i++) {
		reply->key.dport = source_port(p, tries, i, settings);
		handle = claim_key(reply, p->now, settings);
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

/* As a packet from there to there is seen when it comes back. */
static __always_inline void reply_key(struct klvs_conn_key *key, const struct packet *p, __u32 snat,
				      const struct klvs_real *real, const klvs_ends *ends)
{
	key->src = ends->address;
	key->dst = snat ? ends->source : p->key.src;
	key->sport = real_port(real, p->key.dport);
	key->dport = p->key.sport;
	key->protocol = p->key.protocol;
}

/* Gives the new NAT connection at `handle` its reply key. Returns 0, or a KLVS_DROP_*. */
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
	reply_key(&reply->key, p, snat, real, ends);
	reply->peer = handle;
	reply->peer_generation = ctl >> 32;
	claimed = claim_reply(reply, p, snat, settings);
	if (!claimed)
		return KLVS_DROP_NO_SOURCE_PORT;
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

/*
 * Of the ports that the connection at `handle` tried, all taken, the one whose connection is over and
 * longest silent is freed, or else one whose connection is embryonic; 1 if there is one. Connections
 * that go on keep theirs.
 */
__noinline int source_port_free(struct packet *p, __u32 handle, struct klvs_settings *settings)
{
	struct klvs_conn *c = conn_get(handle);
	struct conn_survey survey = {};
	struct klvs_conn_key key = {};
	struct klvs_real *real;
	const klvs_ends *ends;
	__u32 id, snat, tries, i;

	if (!p || !settings || !c)
		return 0;
	id = c->real;
	snat = KLVS_CTL_FLAGS(p->found_ctl) & KLVS_CONN_SNAT;
	real = bpf_map_lookup_elem(&klvs_reals, &id);
	ends = real_ends(&id, real);
	if (!real || !ends)
		return 0;
	survey.now = p->now;
	reply_key(&key, p, snat, real, ends);
	tries = source_ports(p, snat, settings);
	for (i = 0; i < SNAT_TRIES && i < tries; i++) {
		key.dport = source_port(p, tries, i, settings);
		if (conn_look_for(&key, conn_hash(&key, settings), &survey))
			return 1;
	}
	/* Where there is no choice, who came first goes on. */
	if (tries == 1 && survey.rank & CONN_EMBRYONIC_RANK)
		return 0;
	return conn_remove(survey.handle, survey.ctl);
}
