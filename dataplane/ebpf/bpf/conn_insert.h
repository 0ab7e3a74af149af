/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a connection comes into the table, and who gives way to it: what has expired in its sets, else
 * what is over, else what is embryonic.
 *
 * That no key is there twice: an entry comes in CLAIMED, then looks for its rivals. Of two that are
 * CLAIMED at once at least one sees the other (both were published before), and the one at the lower
 * handle stays; one that is no longer CLAIMED stays always.
 */
#pragma once

#include "dataplane/ebpf/bpf/conn.h"

#define CONN_EXISTS -1
#define CONN_FULL -2
#define CONN_STALE -3 /* what has expired is in the key's own way */

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
	/* What another CPU is bringing in is not touched. */
	if (!(ctl & CTL_LIVE) || ctl & CTL_CLAIMED)
		return 0;
	if (ctl & CTL_REPLY) {
		__u32 peer = c->peer, generation = c->peer_generation;
		__u64 reply = ctl;

		c = conn_get(peer);
		ctl = c ? READ_ONCE(c->ctl) : 0;
		if (!c || !(ctl & CTL_LIVE) || ctl >> 32 != generation) {
			/* Or another CPU does: there is room. */
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

/* The free ways of a set. */
struct conn_room {
	__u64 half[2]; /* as conn_zero_lanes */
};

static __always_inline struct conn_room conn_room_of(const struct klvs_set_tags *of)
{
	const volatile __u64 *tags = (const volatile __u64 *)of;
	struct conn_room room = {{conn_zero_lanes(tags[0]), conn_zero_lanes(tags[1])}};

	return room;
}

static __always_inline __u32 conn_room_ways(const struct conn_room *room)
{
	return ((room->half[0] >> 15) + (room->half[1] >> 15)) * 0x0001000100010001ULL >> 48;
}

/* A way of a room that has some: the tag's own, or else the first. */
static __always_inline __u32 conn_room_way(const struct conn_room *room, __u16 tag)
{
	__u32 way = conn_own_way(tag);

	if ((way < 4 ? room->half[0] : room->half[1]) >> (16 * (way & 3) + 15) & 1)
		return way;
	return room->half[0] ? conn_lane(room->half[0]) : 4 + conn_lane(room->half[1]);
}

/* Whether the caller has made a free way of `tags` its own: 0 if another CPU was faster, with this
 * way or with its neighbour. */
static __always_inline int conn_claim_way(struct klvs_set_tags *tags, __u32 way, __u16 tag)
{
	__u64 *half = (__u64 *)tags + way / 4, was = READ_ONCE(*half);
	__u32 shift = 16 * (way & 3);

	return !(was >> shift & 0xffff) &&
	       __sync_val_compare_and_swap(half, was, was | (__u64)tag << shift) == was;
}

/* As conn_claim_way, of the key's own way, if the one beside it in the other half is free, too: whoever
 * takes his own as long as there is one leaves sets full too early. */
static __always_inline int conn_claim_own_way(struct klvs_set_tags *tags, __u16 tag)
{
	__u32 way = conn_own_way(tag);

	return !tags->way[way ^ KLVS_CONN_WAYS / 2] && conn_claim_way(tags, way, tag);
}

#define CLAIM_TRIES 4
#define CONN_FIRST_SET_ROOM 3 /* free ways: with fewer, the second set is looked at */

/* Claims a free way of the two sets, and returns which of the 16 it is. CONN_FULL: there is none.
 * CONN_EXISTS: another CPU was always faster. */
static __always_inline int conn_claim(__u16 tag, struct klvs_set_tags *one,
				      struct klvs_set_tags *two)
{
	__u32 i;

	for (i = 0; i < CLAIM_TRIES; i++) {
		struct conn_room room = conn_room_of(one);
		__u32 free = conn_room_ways(&room), second = 0, way;

		/* The first set is found faster by two accesses to memory; when it fills up, the
		 * emptier one. */
		if (free < CONN_FIRST_SET_ROOM) {
			struct conn_room other = conn_room_of(two);
			__u32 more = conn_room_ways(&other);

			if (!free && !more)
				return CONN_FULL;
			if (free < more) {
				room = other;
				second = KLVS_CONN_WAYS;
			}
		}
		way = klvs_mask(conn_room_way(&room, tag), KLVS_CONN_WAYS - 1);
		if (conn_claim_way(second ? two : one, way, tag))
			return second + way;
	}
	return CONN_EXISTS;
}

/* Fills in a claimed way; new->ctl is then what it is when nobody has its key. */
static __always_inline void conn_write(struct klvs_conn *c, struct klvs_conn *new)
{
	__u64 ctl = (c->ctl & ~0xffffffffULL) + CTL_GENERATION_ONE + (__u32)new->ctl;
	__u64 *to = (__u64 *)c;
	const __u64 *from = (const __u64 *)new;
	__u32 i;

#pragma unroll
	for (i = 0; i < sizeof(*c) / 8; i++)
		if (i != __builtin_offsetof(struct klvs_conn, ctl) / 8)
			to[i] = from[i];
	/* A full barrier: who sees LIVE sees the rest, and the writer then sees his rivals. */
	__sync_lock_test_and_set(&c->ctl, ctl | CTL_CLAIMED | CTL_PENDING);
	new->ctl = ctl;
}

/* Whether a way other than the caller's own may have the tag: nearly never. */
static __always_inline int conn_may_have_rival(const struct klvs_set_tags *one,
					       const struct klvs_set_tags *two, __u16 tag)
{
	/* A lane is marked by its top bit only. */
	__u64 marks = conn_match_lanes(conn_tags_half(one, 0), tag) |
		      conn_match_lanes(conn_tags_half(one, 1), tag) >> 1 |
		      conn_match_lanes(conn_tags_half(two, 0), tag) >> 2 |
		      conn_match_lanes(conn_tags_half(two, 1), tag) >> 3;

	return (marks & (marks - 1)) != 0;
}

/* Whether an entry of `set` has the key, too, and stays. */
static __always_inline int conn_has_rival(const struct klvs_set_tags *t, __u32 number, __u16 tag,
					  __u32 handle, const struct klvs_conn_key *key)
{
	const volatile __u64 *tags = (const volatile __u64 *)t;
	struct klvs_conn_set *set = NULL;
	__u32 half, n;

#pragma unroll
	for (half = 0; half < 2; half++) {
		__u64 lanes = conn_match_lanes(tags[half], tag);

		for (n = 0; n < 4 && lanes; n++, lanes &= lanes - 1) {
			__u32 way = (half * 4 + conn_lane(lanes)) & (KLVS_CONN_WAYS - 1);
			__u32 other = conn_handle(number, way);
			struct klvs_conn *c;
			__u64 ctl, was;

			if (other == handle)
				continue;
			set = bpf_map_lookup_elem(&klvs_conns, &number);
			if (!set)
				return 0;
			c = &set->ways[way];
			ctl = READ_ONCE(c->ctl);
			if (!(ctl & CTL_LIVE) || !conn_key_equal(&c->key, key) ||
			    (READ_ONCE(c->ctl) ^ ctl) >> 32)
				continue;
			if (!(ctl & CTL_CLAIMED) || other < handle)
				return 1;
			was = __sync_val_compare_and_swap(&c->ctl, ctl, ctl & ~CTL_LIVE);
			/* Of another generation it came in later, and sees us. */
			if (was != ctl && was & CTL_LIVE && was >> 32 == ctl >> 32)
				return 1;
		}
	}
	return 0;
}

/* Whether what has the key's own way expired before `now`. */
static __always_inline int conn_is_stale(const struct klvs_set_tags *tags, __u32 set, __u16 tag,
					 __u64 now)
{
	const struct klvs_conn *c;
	__u64 ctl;

	if (!tags->way[conn_own_way(tag)])
		return 0;
	c = conn_get(conn_handle(set, conn_own_way(tag)));
	if (!c)
		return 0;
	ctl = READ_ONCE(c->ctl);
	return (ctl & (CTL_LIVE | CTL_REPLY)) == CTL_LIVE && now > c->expires;
}

/*
 * Adds an entry, whose ctl says flags and state without generation. Returns its handle, and its ctl in
 * `new`; CONN_EXISTS if the key is there already; CONN_FULL; CONN_STALE, but never at `now` 0. Calls
 * nobody, for its stack.
 */
__noinline int conn_come_in(struct klvs_conn *new, __u64 hash, __u64 now,
			    struct klvs_settings *settings)
{
	struct klvs_set_tags *one, *two, *tags;
	struct klvs_conn_set *set;
	struct conn_place place;
	struct klvs_conn *c;
	__u32 index, way;
	__u64 claimed;
	int handle;

	if (!new || !settings)
		return CONN_FULL;
	conn_locate(&place, hash, settings);
	one = conn_tags_get(place.set[0]);
	two = conn_tags_get(place.set[1]);
	if (!one || !two)
		return CONN_FULL;
	tags = one;
	index = place.set[0];
	way = conn_own_way(place.tag);
	if (!conn_claim_own_way(one, place.tag)) {
		int free;

		if (conn_is_stale(one, place.set[0], place.tag, now))
			return CONN_STALE;
		free = conn_claim(place.tag, one, two);
		if (free < 0)
			return free;
		way = free & (KLVS_CONN_WAYS - 1);
		if (free >= KLVS_CONN_WAYS) {
			tags = two;
			index = place.set[1];
		}
	}
	set = bpf_map_lookup_elem(&klvs_conns, &index);
	/* There are as many sets as tags. */
	if (!set)
		return CONN_FULL;
	way = klvs_mask(way, KLVS_CONN_WAYS - 1);
	c = &set->ways[way];
	handle = conn_handle(index, way);
	conn_write(c, new);
	claimed = new->ctl | CTL_CLAIMED | CTL_PENDING;
	if ((!conn_may_have_rival(one, two, place.tag) ||
	     (!conn_has_rival(one, place.set[0], place.tag, handle, &new->key) &&
	      !conn_has_rival(two, place.set[1], place.tag, handle, &new->key))) &&
	    __sync_val_compare_and_swap(&c->ctl, claimed, new->ctl) == claimed)
		return handle;
	/* A rival may have done the first half. */
	__sync_val_compare_and_swap(&c->ctl, claimed, claimed & ~CTL_LIVE);
	WRITE_ONCE(tags->way[way], 0);
	return CONN_EXISTS;
}

/*
 * What has expired in two full sets goes. If there is nothing, one that is over gives way, or else one
 * that is embryonic: the one longest silent, so that under a flood a new client has the time of a whole
 * set's replacement to go on.
 */
__noinline int conn_make_room(__u32 first, __u32 second, __u64 now)
{
	struct conn_survey survey = {.now = now};
	__u32 i, gone = 0;

	for (i = 0; i < 2 * KLVS_CONN_WAYS; i++)
		gone |= conn_look(conn_handle(i < KLVS_CONN_WAYS ? first : second,
					      i & (KLVS_CONN_WAYS - 1)),
				  &survey);
	return gone ? 1 : conn_remove(survey.handle, survey.ctl);
}

/* After CONN_STALE or CONN_FULL: with room made for it. */
__noinline int conn_come_in_anyway(struct klvs_conn *new, __u64 hash, __u64 now,
				   struct klvs_settings *settings)
{
	struct conn_survey survey = {.now = now};
	struct conn_place place;
	int result;

	if (!new || !settings)
		return CONN_FULL;
	conn_locate(&place, hash, settings);
	conn_look(conn_handle(place.set[0], conn_own_way(place.tag)), &survey);
	result = conn_come_in(new, hash, 0, settings);
	if (result != CONN_FULL)
		return result;
	conn_make_room(place.set[0], place.set[1], now);
	return conn_come_in(new, hash, 0, settings);
}

/* As conn_come_in, but what has expired or is over gives way if need be. */
static __always_inline int conn_insert(struct klvs_conn *new, __u64 hash, __u64 now,
				       struct klvs_settings *settings)
{
	int result = conn_come_in(new, hash, now, settings);

	if (result == CONN_STALE || result == CONN_FULL)
		result = conn_come_in_anyway(new, hash, now, settings);
	return result;
}

/* As conn_look, of the entry of a key, if there is one. */
__noinline int conn_look_for(struct klvs_conn_key *key, __u64 hash, struct conn_survey *survey)
{
	struct klvs_settings *settings = settings_get();
	__u32 handle;
	__u64 ctl;

	if (!key || !survey || !settings || !conn_find(key, hash, &ctl, &handle, settings))
		return 0;
	return conn_look(handle, survey);
}

/* Takes out the entry of a key if it is of an expired connection; 1 if it did. */
__noinline int conn_expire_key(struct klvs_conn_key *key, __u64 hash, __u64 now)
{
	struct conn_survey survey = {.now = now};
	struct klvs_settings *settings = settings_get();
	__u32 handle;
	__u64 ctl;

	if (!key || !settings || !conn_find(key, hash, &ctl, &handle, settings))
		return 0;
	return conn_look(handle, &survey);
}

/* Takes out what has expired in a set; of what is not there not even a cache line is read. */
static __always_inline void conn_expire(const struct klvs_set_tags *tags, __u32 index,
					struct conn_survey *survey)
{
	__u32 half, i;

#pragma unroll
	for (half = 0; half < KLVS_CONN_WAYS; half += 4) {
		if (!((const __u64 *)tags)[half / 4])
			continue;
#pragma unroll
		for (i = half; i < half + 4; i++) {
			const struct klvs_conn *c;

			if (!tags->way[i])
				continue;
			c = conn_get(conn_handle(index, i));
			/* Of a reply key, 0. */
			if (c && survey->now > c->expires)
				conn_look(conn_handle(index, i), survey);
		}
	}
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
		struct klvs_set_tags *tags = conn_tags_get(index);

		if (tags)
			conn_expire(tags, index, &survey);
	}
	return 0;
}
