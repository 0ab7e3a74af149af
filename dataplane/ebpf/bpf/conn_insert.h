/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a connection comes into the table, and who gives way to it: what has expired in its sets, else
 * what is over, else what is embryonic.
 */
#pragma once

#include "dataplane/ebpf/bpf/conn.h"

#define CONN_EXISTS -1
#define CONN_FULL -2

#define CONN_EMBRYONIC_RANK (1ULL << 63)

/* What a walk over some ways finds. */
struct conn_survey {
	__u64 now;
	__u64 rank; /* the least */
	__u64 ctl;
	__u32 handle; /* of that one; 0: none may give way */
	__u32 reserved;
};

/* One that may give way: what is over before what is embryonic, then the longest silent. */
static __always_inline void conn_note(struct conn_survey *survey, __u32 handle, __u64 ctl,
				      __u64 rank)
{
	if (survey->handle && rank >= survey->rank)
		return;
	survey->handle = handle;
	survey->ctl = ctl;
	survey->rank = rank;
}

/* Takes out what is dead at `handle`, and returns 1 if it did; else takes note of what is there. */
__noinline int conn_look(__u32 handle, struct conn_survey *survey)
{
	struct klvs_conn *c = conn_get(handle);
	struct klvs_settings *settings;
	__u64 ctl, seen;

	if (!c || !survey)
		return 0;
	ctl = READ_ONCE(c->ctl);
	if (!(ctl & CTL_LIVE))
		return 0;
	if (ctl & CTL_REPLY) {
		__u32 peer = c->peer, generation = c->peer_generation;
		__u64 reply = ctl;

		c = conn_get(peer);
		ctl = c ? READ_ONCE(c->ctl) : 0;
		if (!c || !(ctl & CTL_LIVE) || ctl >> 32 != generation) {
			conn_release(handle, reply >> 32);
			return 1;
		}
		handle = peer;
	}
	/* What another CPU is setting up is not touched: it still writes to the entry. */
	if (ctl & CTL_PENDING)
		return 0;
	if (survey->now > c->expires)
		return conn_remove(handle, ctl);
	seen = c->expires;
	settings = settings_get();
	if (!settings)
		return 0;
	seen -= state_timeout(settings, KLVS_CTL_STATE(ctl));
	if (ctl_is_over(ctl))
		conn_note(survey, handle, ctl, seen);
	else if (ctl_is_embryonic(ctl))
		conn_note(survey, handle, ctl, seen | CONN_EMBRYONIC_RANK);
	return 0;
}

/* The top bit of each 16-bit lane that is 0, and of no other. */
static __always_inline __u64 conn_zero_lanes(__u64 tags)
{
	const __u64 low = 0x7fff7fff7fff7fffULL;

	return ~(((tags & low) + low) | tags | low);
}

/* How many ways of a set are free. */
static __always_inline __u32 conn_free_ways(const struct klvs_conn_set *set)
{
	const __u64 *tags = (const __u64 *)set->tags;

	return ((conn_zero_lanes(tags[0]) >> 15) + (conn_zero_lanes(tags[1]) >> 15)) *
		       0x0001000100010001ULL >> 48;
}

/* A free way of a set that has some: the tag's own, or else the first. */
static __always_inline __u32 conn_free_way(const struct klvs_conn_set *set, __u32 tag)
{
	const __u64 *tags = (const __u64 *)set->tags;
	__u32 way = conn_own_way(tag);
	__u64 low;

	if (!set->tags[way])
		return way;
	low = conn_zero_lanes(tags[0]);
	return low ? conn_lane(low) : 4 + conn_lane(conn_zero_lanes(tags[1]));
}

static __always_inline void conn_insert_locked(struct klvs_conn_set *set, struct klvs_conn *new,
						__u32 way, __u16 tag)
{
	struct klvs_conn *c = &set->ways[way & (KLVS_CONN_WAYS - 1)];
	__u64 ctl = (c->ctl & ~0xffffffffULL) + CTL_GENERATION_ONE + (__u32)new->ctl;

	c->key = new->key;
	c->expires = new->expires;
	c->real = new->real;
	c->service = new->service;
	c->nat_addr = new->nat_addr;
	c->nat_port = new->nat_port;
	c->seen = 0;
	c->peer = new->peer;
	mac_move(c->client_mac, new->client_mac);
	c->template_prefix = new->template_prefix;
	c->template_generation = new->template_generation;
	c->client_ifindex = new->client_ifindex;
#ifdef KLVS_IPV6
	c->sum_change = 0;
#endif
	/* A full barrier: who sees LIVE sees the rest. */
	__sync_lock_test_and_set(&c->ctl, ctl);
	set->tags[way & (KLVS_CONN_WAYS - 1)] = tag;
	new->ctl = ctl;
}

#define CONN_SECOND KLVS_CONN_WAYS /* added to the way, in the second set */

/* Returns where the entry is, or CONN_EXISTS or CONN_FULL. A function of its own for its stack. */
static __noinline int conn_try_insert(struct klvs_conn *new, struct klvs_conn_set *one,
				      struct klvs_conn_set *two, struct klvs_conn_lock *lock,
				      __u32 tag)
{
	int result = CONN_FULL;
	__u32 free, way;
	__u64 ctl;

	bpf_spin_lock(&lock->lock);
	if (conn_find_way(one, &new->key, tag, &ctl) >= 0 ||
	    conn_find_way(two, &new->key, tag, &ctl) >= 0) {
		result = CONN_EXISTS;
	} else {
		/* The first set is found faster; when it fills up, the emptier one. */
		free = conn_free_ways(one);
		if (free > KLVS_CONN_WAYS / 2 || (free && free >= conn_free_ways(two))) {
			way = conn_free_way(one, tag);
			conn_insert_locked(one, new, way, tag);
			result = way;
		} else if (conn_free_ways(two)) {
			way = conn_free_way(two, tag);
			conn_insert_locked(two, new, way, tag);
			result = CONN_SECOND + way;
		}
	}
	bpf_spin_unlock(&lock->lock);
	return result;
}

/* Takes out what has expired in a set; of what is not there not even a cache line is read. */
static __always_inline void conn_expire(const struct klvs_conn_set *set, __u32 index,
					struct conn_survey *survey)
{
	__u32 half, i;

#pragma unroll
	for (half = 0; half < KLVS_CONN_WAYS; half += 4) {
		if (!((const __u64 *)set->tags)[half / 4])
			continue;
#pragma unroll
		for (i = half; i < half + 4; i++)
			/* Of a reply key, 0. */
			if (set->tags[i] && survey->now > set->ways[i].expires)
				conn_look(conn_handle(index, i), survey);
	}
}

/* Of two full sets, one that is over gives way, or else one that is embryonic: the one longest
 * silent, so that under a flood a new client has the time of a whole set's replacement to go on. */
__noinline int conn_make_room(__u32 first, __u32 second, __u64 now)
{
	struct conn_survey survey = {.now = now};
	__u32 i;

	for (i = 0; i < 2 * KLVS_CONN_WAYS; i++)
		conn_look(conn_handle(i < KLVS_CONN_WAYS ? first : second,
				      i & (KLVS_CONN_WAYS - 1)),
			  &survey);
	return conn_remove(survey.handle, survey.ctl);
}

/*
 * Adds an entry, whose ctl says flags and state without generation, after taking out what has
 * expired in the key's sets. Returns its handle, and its ctl in `new`; CONN_EXISTS if the key is
 * there already; CONN_FULL.
 */
__noinline int conn_insert(struct klvs_conn *new, __u64 hash, __u64 now,
			   struct klvs_settings *settings)
{
	struct conn_survey survey = {.now = now};
	struct klvs_conn_set *one, *two;
	struct klvs_conn_lock *lock;
	struct conn_place place;
	int result;

	if (!new || !settings)
		return CONN_FULL;
	conn_locate(&place, hash, settings);
	one = bpf_map_lookup_elem(&klvs_conns, &place.set[0]);
	two = bpf_map_lookup_elem(&klvs_conns, &place.set[1]);
	lock = bpf_map_lookup_elem(&klvs_conn_locks, &place.lock);
	if (!one || !two || !lock)
		return CONN_FULL;
	conn_expire(one, place.set[0], &survey);
	conn_expire(two, place.set[1], &survey);
	result = conn_try_insert(new, one, two, lock, place.tag);
	if (result == CONN_FULL) {
		conn_make_room(place.set[0], place.set[1], now);
		result = conn_try_insert(new, one, two, lock, place.tag);
	}
	if (result < 0)
		return result;
	return conn_handle(place.set[result >= CONN_SECOND], result & (KLVS_CONN_WAYS - 1));
}

#define CONN_SWEPT_SETS 2 /* at each new connection whose choice depends on counts */

/*
 * Takes out what has expired in the next few sets, in turn: counts are right without a timer as
 * long as connections begin.
 */
__noinline int conn_sweep(__u64 now)
{
	struct klvs_settings *settings = settings_get();
	struct conn_survey survey = {.now = now};
	__u32 zero = 0, first, i;
	__u32 *hand = bpf_map_lookup_elem(&klvs_sweep_hand, &zero);

	if (!settings || !hand)
		return 0;
	first = *hand;
	*hand = (first + CONN_SWEPT_SETS) & (CONN_SETS(settings) - 1);
#pragma unroll
	for (i = 0; i < CONN_SWEPT_SETS; i++) {
		__u32 index = first + i;
		struct klvs_conn_set *set = bpf_map_lookup_elem(&klvs_conns, &index);

		if (set)
			conn_expire(set, index, &survey);
	}
	return 0;
}
