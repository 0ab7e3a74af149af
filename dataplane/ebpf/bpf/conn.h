/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The connection table: 8-way sets of 64-byte entries (IPv6: 128), two candidate sets for each key.
 * Nobody takes a lock. A reader finds the tag, reads `ctl`, compares the key, reads `ctl` again. A free
 * way is claimed by compare-and-swap of the tags; whoever takes LIVE from an entry by compare-and-swap
 * corrects its real server's counts and frees its way, exactly once. What is CLAIMED is not there yet.
 *
 * Here is how a connection is found, goes on and ends; conn_insert.h is how one comes in.
 */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"
#include "dataplane/ebpf/bpf/real_conns.h"
#include "dataplane/ebpf/bpf/state.h"
#include "dataplane/ebpf/bpf/template.h"

/* Where a key may be. */
struct conn_place {
	__u32 set[2];
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

static __always_inline __u16 conn_tag(__u64 hash)
{
	/* 0 is a free way. */
	return hash >> 48 | 1;
}

static __always_inline __u32 conn_first_set(__u64 hash, const struct klvs_settings *settings)
{
	return (__u32)hash & (CONN_SETS(settings) - 1);
}

static __always_inline __u32 conn_second_set(__u32 first, __u16 tag,
					     const struct klvs_settings *settings)
{
	return first ^ ((__u32)tag * 0x9E3779B1U & (CONN_SETS(settings) - 1));
}

static __always_inline void conn_locate(struct conn_place *place, __u64 hash,
					const struct klvs_settings *settings)
{
	place->tag = conn_tag(hash);
	place->set[0] = conn_first_set(hash, settings);
	place->set[1] = conn_second_set(place->set[0], place->tag, settings);
}

static __always_inline struct klvs_set_tags *conn_tags_get(__u32 set)
{
	return bpf_map_lookup_elem(&klvs_conn_tags, &set);
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

static __always_inline __u64 conn_tags_half(const struct klvs_set_tags *tags, __u32 half)
{
	return ((const volatile __u64 *)tags)[half];
}

/* Whether some entry may have the tag. */
static __always_inline int conn_may_have(const struct klvs_set_tags *tags, __u16 tag)
{
	return (conn_match_lanes(conn_tags_half(tags, 0), tag) |
		conn_match_lanes(conn_tags_half(tags, 1), tag)) != 0;
}

/* The number of the lowest lane that conn_match_lanes marked. */
static __always_inline __u32 conn_lane(__u64 lanes)
{
	return ((lanes & -lanes) >> 15) * 0x0000000100020003ULL >> 48;
}

static __always_inline __s32 conn_find_way(__u32 index, const struct klvs_conn_key *key, __u16 tag,
					   __u64 *ctl)
{
	const struct klvs_set_tags *tags = conn_tags_get(index);
	struct klvs_conn_set *set;
	__u32 half, n;

	if (!tags || !conn_may_have(tags, tag))
		return -1;
	set = bpf_map_lookup_elem(&klvs_conns, &index);
	if (!set)
		return -1;
#pragma unroll
	for (half = 0; half < 2; half++) {
		__u64 lanes = conn_match_lanes(conn_tags_half(tags, half), tag);

		for (n = 0; n < 4 && lanes; n++) {
			__u32 way = (half * 4 + conn_lane(lanes)) & (KLVS_CONN_WAYS - 1);
			struct klvs_conn *c = &set->ways[way];
			__u64 before = READ_ONCE(c->ctl);

			if ((before & (CTL_LIVE | CTL_CLAIMED)) == CTL_LIVE &&
			    conn_key_equal(&c->key, key) &&
			    (READ_ONCE(c->ctl) ^ before) >> 32 == 0) {
				*ctl = before;
				return way;
			}
			lanes &= lanes - 1;
		}
	}
	return -1;
}

/* Whether there may be an entry of that hash: if not, it is known by the tags alone. */
static __always_inline int conn_may_be_there(__u64 hash, const struct klvs_settings *settings)
{
	__u32 first = conn_first_set(hash, settings);
	__u16 tag = conn_tag(hash);
	const struct klvs_set_tags *one = conn_tags_get(first);
	const struct klvs_set_tags *two = conn_tags_get(conn_second_set(first, tag, settings));

	return (one && conn_may_have(one, tag)) || (two && conn_may_have(two, tag));
}

/*
 * The entry of `key`, whose hash is given, expired or not; NULL if there is none. `*ctl` is its
 * control word and `*handle` its handle.
 */
static __noinline struct klvs_conn *conn_find(const struct klvs_conn_key *key, __u64 hash,
					      __u64 *ctl, __u32 *handle,
					      const struct klvs_settings *settings)
{
	struct klvs_conn_set *set;
	__u16 tag = conn_tag(hash);
	__u32 index;
	__s32 way;

	index = conn_first_set(hash, settings);
	way = conn_find_way(index, key, tag, ctl);
	if (way < 0) {
		index = conn_second_set(index, tag, settings);
		way = conn_find_way(index, key, tag, ctl);
		if (way < 0)
			return NULL;
	}
	set = bpf_map_lookup_elem(&klvs_conns, &index);
	if (!set)
		return NULL;
	way = klvs_mask(klvs_forget(way), KLVS_CONN_WAYS - 1);
	*handle = conn_handle(index, way);
	return &set->ways[way];
}

/* The way that a key takes if it is free: whoever looks there first reads one cache line. */
static __always_inline __u32 conn_own_way(__u32 tag)
{
	return tag / (0x10000 / KLVS_CONN_WAYS);
}

/* The way of a set that `tag` points to first, or -1. */
static __always_inline __s32 conn_first_way(const struct klvs_set_tags *t, __u16 tag)
{
	const volatile __u64 *tags = (const volatile __u64 *)t;
	__u64 lanes = conn_match_lanes(tags[0], tag);

	if (lanes)
		return conn_lane(lanes);
	lanes = conn_match_lanes(tags[1], tag);
	return lanes ? 4 + conn_lane(lanes) : -1;
}

/* Whether an entry is of `key`; `*ctl` is its control word, `*real` its real server. */
static __always_inline int conn_is(const struct klvs_conn *c, const struct klvs_conn_key *key,
				   __u64 *ctl, __u32 *real)
{
	*ctl = READ_ONCE(c->ctl);
	if (!conn_key_equal(&c->key, key))
		return 0;
	*real = READ_ONCE(c->real);
	return READ_ONCE(c->ctl) == *ctl;
}

/*
 * As conn_find, but looks only at the key's own way and where its tag is met first, which is nearly
 * always right, and says nothing of whether the entry is LIVE.
 */
static __always_inline struct klvs_conn *conn_glance(const struct klvs_conn_key *key, __u64 *ctl,
						     __u32 *real,
						     const struct klvs_settings *settings)
{
	struct klvs_set_tags *tags;
	struct klvs_conn_set *set;
	struct conn_place place;
	struct klvs_conn *c;
	__u32 index;
	__s32 way;

	conn_locate(&place, conn_hash(key, settings), settings);
	index = place.set[0];
	tags = conn_tags_get(index);
	if (!tags)
		return NULL;
	way = conn_own_way(place.tag);
	/* A branch, which is foretold, so that the entry is on its way while the tag is. */
	if (READ_ONCE(tags->way[way]) == place.tag) {
		set = bpf_map_lookup_elem(&klvs_conns, &index);
		if (!set)
			return NULL;
		c = &set->ways[way];
		if (conn_is(c, key, ctl, real))
			return c;
	}
	way = conn_first_way(tags, place.tag);
	if (way < 0) {
		index = place.set[1];
		tags = conn_tags_get(index);
		if (!tags)
			return NULL;
		way = conn_first_way(tags, place.tag);
		if (way < 0)
			return NULL;
	}
	set = bpf_map_lookup_elem(&klvs_conns, &index);
	if (!set)
		return NULL;
	c = &set->ways[klvs_mask(way, KLVS_CONN_WAYS - 1)];
	return conn_is(c, key, ctl, real) ? c : NULL;
}

/* Frees a way, of which the caller has taken LIVE: nobody else has it. */
static __always_inline void conn_free(__u32 handle)
{
	__u32 index = (handle - 1) / KLVS_CONN_WAYS, way = (handle - 1) & (KLVS_CONN_WAYS - 1);
	struct klvs_set_tags *tags = conn_tags_get(index);

	if (tags)
		WRITE_ONCE(tags->way[way], 0);
}

/* Takes out a reply key that is of `generation`. */
__noinline int conn_release(__u32 handle, __u32 generation)
{
	struct klvs_conn *c = conn_get(handle);
	__u64 ctl;

	if (!c)
		return 0;
	ctl = READ_ONCE(c->ctl);
	if (ctl >> 32 == generation && ctl & CTL_LIVE && ctl & CTL_REPLY && !(ctl & CTL_CLAIMED) &&
	    __sync_val_compare_and_swap(&c->ctl, ctl, ctl & ~CTL_LIVE) == ctl)
		conn_free(handle);
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
	__u32 peer;

	if (!c || __sync_val_compare_and_swap(&c->ctl, ctl, ctl & ~CTL_LIVE) != ctl)
		return 0;
	/* It is ours until its way is free. */
	real_conns_close(c->real, KLVS_CTL_STATE(ctl));
	if (ctl & CTL_CONTROLLED)
		template_release(c);
	peer = c->peer;
	if (peer) {
		struct klvs_conn *r = conn_get(peer);

		if (r) {
			__u64 reply = READ_ONCE(r->ctl);

			if (reply & CTL_LIVE && reply & CTL_REPLY && r->peer == handle &&
			    r->peer_generation == ctl >> 32)
				conn_release(peer, reply >> 32);
		}
	}
	conn_free(handle);
	return 1;
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

/* Moves a connection on from `*ctl`, which is what is there afterwards. 0: another CPU was quicker. */
static __always_inline int conn_move(struct klvs_conn *c, __u64 *ctl, __u32 direction, __u32 event)
{
	__u32 state = KLVS_CTL_STATE(*ctl), next = state_next(state, direction, event);
	__u64 moved = (*ctl & ~0xffULL) | next, there;

	if (next == state)
		return 1;
	there = __sync_val_compare_and_swap(&c->ctl, *ctl, moved);
	if (there != *ctl) {
		*ctl = there;
		return 0;
	}
	*ctl = moved;
	if (state_is_active(state) != state_is_active(next))
		real_conns_move(c->real, state, next);
	return 1;
}

/* It lives for `timeout` from `now`, or a thousandth of that less: most packets leave the cache line to
 * the other CPUs as it is. */
static __always_inline void conn_stay(struct klvs_conn *c, __u64 now, __u64 timeout)
{
	__u64 expires = now + timeout;

	if (expires - c->expires > timeout >> 10)
		WRITE_ONCE(c->expires, expires);
}

/* Where the client's last packet came from: an address to be moved, and two bytes more. */
static __always_inline __u64 conn_client_mac(const struct klvs_conn *c)
{
	return READ_ONCE(*(const __u64 *)c->client_mac);
}

/* The client's packets come from elsewhere now. */
static __noinline void conn_client_moved(struct klvs_conn *c, __u64 ctl, const struct packet *p)
{
	__u64 was = conn_client_mac(c), is = was;

	mac_move(&is, p->src_mac);
	/* It is another's meanwhile? */
	if ((READ_ONCE(c->ctl) ^ ctl) >> 32)
		return;
	if (__sync_val_compare_and_swap((__u64 *)c->client_mac, was, is) == was)
		WRITE_ONCE(c->client_ifindex, p->ifindex);
}

/* A packet was seen: the state that follows, and a new life. */
static __always_inline void conn_step(struct klvs_conn *c, __u64 ctl, __u32 direction, __u32 event,
				      __u64 now, const struct klvs_settings *settings)
{
	__u32 generation = ctl >> 32;

	if (ctl & CTL_EMBRYONIC)
		ctl = conn_settle(c, ctl, direction);
	/* The other end may have said something at the same time: this comes behind it. */
	if (!conn_move(c, &ctl, direction, event) &&
	    (ctl >> 32 != generation || !(ctl & CTL_LIVE) || !conn_move(c, &ctl, direction, event)))
		return;
	conn_stay(c, now, state_timeout(settings, KLVS_CTL_STATE(ctl)));
}
