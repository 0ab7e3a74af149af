/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mh: the slot of the client's hash in a table that user space filled by the kernel's rule. A
 * quiesced choice is no choice, unless the service has the fallback flag.
 */
#pragma once

#include "dataplane/ebpf/bpf/packet.h"
#include "dataplane/ebpf/bpf/siphash.h"

#define MH_KEY 2654435761ULL

struct mh_walk {
	__u32 base;
	__u32 size;
	__u32 client; /* what is hashed, before the offset is added */
	__u32 first;  /* slot of offset 0 */
	__u32 real;   /* found; 0 if none */
};

static __always_inline __u32 mh_slot(const struct mh_walk *walk, __u32 offset)
{
	return siphash_u32(walk->client + offset, MH_KEY) % walk->size;
}

/* The real server in a slot, 0 if the slot is empty; `*available` unless it is quiesced. */
static __always_inline __u32 mh_real(const struct mh_walk *walk, __u32 slot, int *available)
{
	__u32 index = walk->base + slot, *id = bpf_map_lookup_elem(&klvs_tables, &index);
	struct klvs_real *real;
	__u32 value;

	if (!id)
		return 0;
	value = *id;
	real = bpf_map_lookup_elem(&klvs_reals, &value);
	*available = real && (__s32)real->weight > 0 && real->flags & KLVS_REAL_VALID &&
		     !(real->flags & KLVS_REAL_REMOVED);
	return value;
}

static long mh_visit(__u32 n, void *data)
{
	struct mh_walk *walk = data;
	int available = 0;
	__u32 id;

	if (!walk->size)
		return 1;
	id = mh_real(walk, mh_slot(walk, (n + walk->first) % walk->size), &available);
	if (!id)
		return 1;
	if (!available)
		return 0;
	walk->real = id;
	return 1;
}

/* The real server's id; 0 if there is none. */
static __always_inline __u32 schedule_mh(const struct klvs_service *service, const struct packet *p)
{
	struct mh_walk walk = {.base = service->table_base, .size = service->table_size};
	int available = 0;
	__u32 id;

	if (!walk.size)
		return 0;
	walk.client = bpf_ntohl(p->key.src);
	if (service->flags & KLVS_SERVICE_HASH_PORT)
		walk.client += bpf_ntohs(p->key.sport);
	walk.first = mh_slot(&walk, 0);
	id = mh_real(&walk, walk.first, &available);
	if (!id || available)
		return id;
	if (!(service->flags & KLVS_SERVICE_HASH_FALLBACK))
		return 0;
	bpf_loop(walk.size, mh_visit, &walk, 0);
	return walk.real;
}
