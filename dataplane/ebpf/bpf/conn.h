/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The connection table: 8-way sets of 64-byte entries (IPv6: 128), two candidate sets for each key. A reader
 * takes no lock: it finds the tag, reads `ctl`, compares the key, reads `ctl` again. Insertion and
 * the freeing of a way hold the spin lock that both candidate sets of a key share. Whoever takes
 * LIVE from an entry by compare-and-swap corrects its real server's counts, exactly once.
 *
 * conn_find, conn_get, conn_insert, conn_remove and conn_sweep are all that the rest of the program
 * knows.
 */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"
#include "dataplane/ebpf/bpf/real_conns.h"
#include "dataplane/ebpf/bpf/state.h"
#include "dataplane/ebpf/bpf/template.h"

#define CONN_EXISTS -1
#define CONN_FULL -2

/* Where a key may be. */
struct conn_place {
	__u32 set[2];
	__u32 lock;
	__u16 tag;
};

static __always_inline __u64 conn_hash(const struct klvs_conn_key *key,
				       const struct klvs_settings *settings)
{
	const __u64 *word = (const __u64 *)key;
	__u64 h;
	__u32 i;

	h = (word[0] ^ settings->seed[0]) * 0x9E3779B97F4A7C15ULL;
	h ^= h >> 32;
#pragma unroll
	for (i = 1; i < sizeof(*key) / 8; i++) {
		h = (h ^ word[i] ^ settings->seed[1]) * 0xD6E8FEB86659FD93ULL;
		h ^= h >> 32;
	}
	/* Ports in a row would otherwise fill a small table unevenly. */
	h *= 0xD6E8FEB86659FD93ULL;
	return h ^ h >> 32;
}

static __always_inline void conn_locate(struct conn_place *place, __u64 hash,
					const struct klvs_settings *settings)
{
	__u32 sets = CONN_SETS(settings) - 1, locks = CONN_LOCKS(settings) - 1;
	__u16 tag = hash >> 48;

	place->tag = tag ? tag : 1;
	place->set[0] = (__u32)hash & sets;
	/* The same low bits: both sets are under one lock. */
	place->set[1] = place->set[0] ^ ((__u32)place->tag * 0x9E3779B1U & sets & ~locks);
	place->lock = place->set[0] & locks;
}

static __always_inline __u32 conn_handle(__u32 set, __u32 way)
{
	return 1 + set * KLVS_CONN_WAYS + way;
}

/* The entry that a handle names, whatever it holds now; NULL for no handle. */
static __always_inline struct klvs_conn *conn_get(__u32 handle)
{
	__u32 set = (handle - 1) / KLVS_CONN_WAYS;
	struct klvs_conn_set *s;

	if (!handle)
		return NULL;
	s = bpf_map_lookup_elem(&klvs_conns, &set);
	if (!s)
		return NULL;
	return &s->ways[(handle - 1) & (KLVS_CONN_WAYS - 1)];
}

static __always_inline int conn_key_equal(const struct klvs_conn_key *a,
					  const struct klvs_conn_key *b)
{
	const volatile __u64 *x = (const volatile __u64 *)a;
	const __u64 *y = (const __u64 *)b;

#ifdef KLVS_IPV6
	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
#else
	return x[0] == y[0] && x[1] == y[1];
#endif
}

/* The top bit of each 16-bit lane that equals `tag`, and now and then of one that does not. */
static __always_inline __u64 conn_match_lanes(__u64 tags, __u64 tag)
{
	__u64 x = tags ^ tag * 0x0001000100010001ULL;

	return (x - 0x0001000100010001ULL) & ~x & 0x8000800080008000ULL;
}

/* The number of the lowest lane that conn_match_lanes marked. */
static __always_inline __u32 conn_lane(__u64 lanes)
{
	return ((lanes & -lanes) >> 15) * 0x0000000100020003ULL >> 48;
}

static __always_inline __s32 conn_find_way(struct klvs_conn_set *set,
					   const struct klvs_conn_key *key, __u16 tag, __u64 *ctl)
{
	const volatile __u64 *tags = (const volatile __u64 *)set->tags;
	__u32 half, n;

#pragma unroll
	for (half = 0; half < 2; half++) {
		__u64 lanes = conn_match_lanes(tags[half], tag);

		for (n = 0; n < 4 && lanes; n++) {
			__u32 way = (half * 4 + conn_lane(lanes)) & (KLVS_CONN_WAYS - 1);
			struct klvs_conn *c = &set->ways[way];
			__u64 before = READ_ONCE(c->ctl);

			if (before & CTL_LIVE && conn_key_equal(&c->key, key) &&
			    (READ_ONCE(c->ctl) ^ before) >> 32 == 0) {
				*ctl = before;
				return way;
			}
			lanes &= lanes - 1;
		}
	}
	return -1;
}

/*
 * The entry of `key`, expired or not; NULL if there is none. `*ctl` is its control word and
 * `*handle` its handle.
 */
static __always_inline struct klvs_conn *conn_find(const struct klvs_conn_key *key,
						   const struct conn_place *place, __u64 *ctl,
						   __u32 *handle)
{
	struct klvs_conn_set *set;
	__u32 index = place->set[0];
	__s32 way;

	set = bpf_map_lookup_elem(&klvs_conns, &index);
	if (!set)
		return NULL;
	way = conn_find_way(set, key, place->tag, ctl);
	if (way < 0) {
		index = place->set[1];
		set = bpf_map_lookup_elem(&klvs_conns, &index);
		if (!set)
			return NULL;
		way = conn_find_way(set, key, place->tag, ctl);
		if (way < 0)
			return NULL;
	}
	way = klvs_mask(klvs_forget(way), KLVS_CONN_WAYS - 1);
	*handle = conn_handle(index, way);
	return &set->ways[way];
}

/* The way that a key takes if it is free: whoever looks there first reads one cache line. */
static __always_inline __u32 conn_own_way(__u32 tag)
{
	return tag & (KLVS_CONN_WAYS - 1);
}

/* The way of a set that `tag` points to first, or -1. */
static __always_inline __s32 conn_first_way(const struct klvs_conn_set *set, __u16 tag)
{
	const volatile __u64 *tags = (const volatile __u64 *)set->tags;
	__u64 lanes = conn_match_lanes(tags[0], tag);

	if (lanes)
		return conn_lane(lanes);
	lanes = conn_match_lanes(tags[1], tag);
	return lanes ? 4 + conn_lane(lanes) : -1;
}

/* Whether an entry is of `key`; `*ctl` is its control word. */
static __always_inline int conn_is(const struct klvs_conn *c, const struct klvs_conn_key *key,
				   __u64 *ctl)
{
	*ctl = READ_ONCE(c->ctl);
	return conn_key_equal(&c->key, key) && READ_ONCE(c->ctl) == *ctl;
}

/* Has a cache line on its way from memory, at the same time as what is read next. */
static __always_inline void conn_fetch(const void *line)
{
	__u64 word = *(const volatile __u64 *)line;

	asm volatile("" ::"r"(word));
}

/*
 * As conn_find, but looks only at the key's own way and where its tag is met first, which is nearly
 * always right, and says nothing of whether the entry is LIVE.
 */
static __always_inline struct klvs_conn *conn_glance(const struct klvs_conn_key *key, __u64 *ctl,
						     const struct klvs_settings *settings)
{
	struct klvs_conn_set *set;
	struct conn_place place;
	struct klvs_conn *c;
	__u32 index;
	__s32 way;

	conn_locate(&place, conn_hash(key, settings), settings);
	index = place.set[0];
	set = bpf_map_lookup_elem(&klvs_conns, &index);
	if (!set)
		return NULL;
	conn_fetch(set->tags);
	c = &set->ways[conn_own_way(place.tag)];
	/* What is left of an earlier one may be here, and the key elsewhere by now. */
	if (conn_is(c, key, ctl) && *ctl & CTL_LIVE)
		return c;
	way = conn_first_way(set, place.tag);
	if (way < 0) {
		index = place.set[1];
		set = bpf_map_lookup_elem(&klvs_conns, &index);
		if (!set)
			return NULL;
		way = conn_first_way(set, place.tag);
		if (way < 0)
			return NULL;
	}
	c = &set->ways[klvs_mask(way, KLVS_CONN_WAYS - 1)];
	return conn_is(c, key, ctl) ? c : NULL;
}

/* Frees the way of an entry that is of `generation`, and LIVE only if it is a reply key. */
__noinline int conn_release(__u32 handle, __u32 generation)
{
	struct klvs_settings *settings = settings_get();
	__u32 index = (handle - 1) / KLVS_CONN_WAYS;
	__u32 way = (handle - 1) & (KLVS_CONN_WAYS - 1);
	struct klvs_conn_lock *lock;
	struct klvs_conn_set *set;
	__u32 lock_index;
	__u64 ctl;

	if (!handle || !settings)
		return 0;
	lock_index = index & (CONN_LOCKS(settings) - 1);
	set = bpf_map_lookup_elem(&klvs_conns, &index);
	lock = bpf_map_lookup_elem(&klvs_conn_locks, &lock_index);
	if (!set || !lock)
		return 0;
	bpf_spin_lock(&lock->lock);
	ctl = set->ways[way].ctl;
	if (ctl >> 32 == generation && (!(ctl & CTL_LIVE) || ctl & CTL_REPLY)) {
		set->ways[way].ctl = ctl & ~CTL_LIVE;
		set->tags[way] = 0;
	}
	bpf_spin_unlock(&lock->lock);
	return 0;
}

/*
 * Takes out a connection (not a reply key), its reply key with it, and corrects the counts of its
 * real server and its template. Does nothing, and returns 0, if it is not `ctl` any more: somebody
 * else was faster, or a packet has just moved it on.
 */
__noinline int conn_remove(__u32 handle, __u64 ctl)
{
	struct klvs_conn *c = conn_get(handle);
	__u32 peer, real;

	if (!c)
		return 0;
	peer = c->peer;
	real = c->real;
	if (__sync_val_compare_and_swap(&c->ctl, ctl, ctl & ~CTL_LIVE) != ctl)
		return 0;
	real_conns_close(real, KLVS_CTL_STATE(ctl));
	if (ctl & CTL_CONTROLLED)
		template_release(c);
	if (peer) {
		struct klvs_conn *r = conn_get(peer);

		if (r) {
			__u64 reply = READ_ONCE(r->ctl);

			if (reply & CTL_LIVE && reply & CTL_REPLY && r->peer == handle &&
			    r->peer_generation == ctl >> 32)
				conn_release(peer, reply >> 32);
		}
	}
	conn_release(handle, ctl >> 32);
	return 1;
}

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

/* A packet of an embryonic connection: its control word from now on. */
static __noinline __u64 conn_settle(struct klvs_conn *c, __u64 ctl, __u32 direction)
{
	__u32 seen = c->seen;

	if (direction == STATE_OUTPUT)
		seen = KLVS_SETTLED - 1;
	else
		seen += 1;
	if (seen < KLVS_SETTLED) {
		WRITE_ONCE(c->seen, seen);
		return ctl;
	}
	if (__sync_val_compare_and_swap(&c->ctl, ctl, ctl & ~CTL_EMBRYONIC) == ctl)
		ctl &= ~CTL_EMBRYONIC;
	return ctl;
}

/* A packet was seen: the state that follows, and a new life. */
static __always_inline void conn_step(struct klvs_conn *c, __u64 ctl, __u32 direction, __u32 event,
				      __u64 now, const struct klvs_settings *settings)
{
	__u32 state = KLVS_CTL_STATE(ctl), next = state_next(state, direction, event);
	__u64 expires;

	if (ctl & CTL_EMBRYONIC)
		ctl = conn_settle(c, ctl, direction);
	if (next != state &&
	    __sync_val_compare_and_swap(&c->ctl, ctl, (ctl & ~0xffULL) | next) == ctl &&
	    state_is_active(state) != state_is_active(next))
		real_conns_move(c->real, state, next);
	expires = now + state_timeout(settings, next);
	if (c->expires != expires)
		WRITE_ONCE(c->expires, expires);
}
