/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mh, sh and dh: the slot of the client's (dh: the VIP's) hash in a table that user space filled by
 * the kernel's rule. An unavailable choice is no choice, unless the service has the fallback flag.
 */
#pragma once

#include "dataplane/ebpf/bpf/packet.h"
#include "dataplane/ebpf/bpf/real_conns.h"
#include "dataplane/ebpf/bpf/siphash.h"

#define TABLE_TRIES 4093 /* the kernel's: all slots of its table */
#define MH_KEY 2654435761ULL
#define HASH_GOLDEN_RATIO 0x61C88647U /* the kernel's hash_32 */

struct table_walk {
	__u32 base;
	__u32 size;
	__u32 hashed; /* mh: what is hashed, before the offset is added; else the hash */
	__u32 first;  /* slot of offset 0 */
	__u32 real;   /* found; 0 if none */
	__u8 maglev;
	__u8 limited; /* some real server has a threshold */
};

static __always_inline int scheduler_has_table(__u32 scheduler)
{
	return scheduler == KLVS_SCHEDULER_MH || scheduler == KLVS_SCHEDULER_SH ||
	       scheduler == KLVS_SCHEDULER_DH;
}

static __always_inline __u32 table_slot(const struct table_walk *walk, __u32 offset)
{
	__u32 value = walk->hashed + offset;

	if (walk->maglev)
		value = siphash_u32(value, MH_KEY);
	return value % walk->size;
}

/* The real server in a slot, 0 if the slot is empty; `*available` if it takes connections. */
static __always_inline __u32 table_real(const struct table_walk *walk, __u32 slot, int *available)
{
	__u32 index = walk->base + slot, *id = bpf_map_lookup_elem(&klvs_tables, &index);
	struct klvs_real *real;
	__u32 value;

	if (!id)
		return 0;
	value = *id;
	real = bpf_map_lookup_elem(&klvs_reals, &value);
	*available = real && (__s32)real->weight > 0 && real->flags & KLVS_REAL_VALID &&
		     !(real->flags & KLVS_REAL_REMOVED) &&
		     !(walk->limited && real_is_overloaded(value));
	return value;
}

static long table_visit(__u32 n, void *data)
{
	struct table_walk *walk = data;
	int available = 0;
	__u32 id;

	if (!walk->size)
		return 1;
	id = table_real(walk, table_slot(walk, (n + walk->first) % walk->size), &available);
	if (!id)
		return 1;
	if (!available)
		return 0;
	walk->real = id;
	return 1;
}

/* The real server's id; 0 if there is none. */
static __noinline __u32 schedule_table(const struct klvs_service *service,
					    const struct packet *p)
{
	struct table_walk walk = {
		.base = service->table_base,
		.size = service->table_size,
		.real = KLVS_LOOP_ZERO,
		.maglev = service->scheduler == KLVS_SCHEDULER_MH,
		.limited = !!(service->flags & KLVS_SERVICE_THRESHOLDS),
	};
	int available = 0;
	__u32 id;

	if (!walk.size)
		return 0;
	walk.hashed = bpf_ntohl(addr_fold(service->scheduler == KLVS_SCHEDULER_DH ? &p->key.dst :
										     &p->key.src));
	if (service->flags & KLVS_SERVICE_HASH_PORT)
		walk.hashed += bpf_ntohs(p->key.sport);
	if (!walk.maglev)
		walk.hashed = walk.hashed * HASH_GOLDEN_RATIO >> 24;
	walk.first = table_slot(&walk, 0);
	id = table_real(&walk, walk.first, &available);
	if (!id || available)
		return id;
	if (!(service->flags & KLVS_SERVICE_HASH_FALLBACK))
		return 0;
	bpf_loop(walk.size < TABLE_TRIES ? walk.size : TABLE_TRIES, table_visit, &walk, 0);
	return walk.real;
}
