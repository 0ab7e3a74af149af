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
	__u8 limited;
};

static __always_inline int scheduler_has_table(__u32 scheduler)
{
	return scheduler == KLVS_SCHEDULER_MH || scheduler == KLVS_SCHEDULER_SH ||
	       scheduler == KLVS_SCHEDULER_DH;
}

/* The slot of `hashed` at an offset. */
static __always_inline __u32 table_slot(__u32 hashed, __u32 offset, int maglev, __u32 size)
{
	__u32 value = hashed + offset;

	if (maglev)
		value = siphash_u32(value, MH_KEY);
	return value % size;
}

/* The real server at `index` of klvs_tables, 0 if there is none; `*available` if it takes connections. With
 * `limited` some real server of the service has a threshold. */
static __always_inline __u32 table_real(__u32 index, int limited, int *available)
{
	__u32 *id = bpf_map_lookup_elem(&klvs_tables, &index);
	struct klvs_real *real;
	__u32 value;

	if (!id)
		return 0;
	value = *id;
	real = bpf_map_lookup_elem(&klvs_reals, &value);
	*available = real && (__s32)real->weight > 0 &&
		     (real->flags & (KLVS_REAL_VALID | KLVS_REAL_REMOVED)) == KLVS_REAL_VALID &&
		     !(limited && real_is_overloaded(value));
	return value;
}

static long table_visit(__u32 n, void *data)
{
	struct table_walk *walk = data;
	int available = 0;
	__u32 id;

	if (!walk->size)
		return 1;
	id = table_real(walk->base + table_slot(walk->hashed, (n + walk->first) % walk->size,
						walk->maglev, walk->size),
			walk->limited, &available);
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
	__u32 size = service->table_size, hashed, first, id;
	int maglev = service->scheduler == KLVS_SCHEDULER_MH, available = 0;
	int limited = service->flags & KLVS_SERVICE_THRESHOLDS;
	struct table_walk walk;

	if (!size)
		return 0;
	hashed = bpf_ntohl(addr_fold(service->scheduler == KLVS_SCHEDULER_DH ? &p->key.dst :
									       &p->key.src));
	if (service->flags & KLVS_SERVICE_HASH_PORT)
		hashed += bpf_ntohs(p->key.sport);
	if (!maglev)
		hashed = hashed * HASH_GOLDEN_RATIO >> 24;
	first = table_slot(hashed, 0, maglev, size);
	id = table_real(service->table_base + first, limited, &available);
	if (!id || available)
		return id;
	if (!(service->flags & KLVS_SERVICE_HASH_FALLBACK))
		return 0;
	walk.base = service->table_base;
	walk.size = size;
	walk.hashed = hashed;
	walk.first = first;
	walk.real = KLVS_LOOP_ZERO;
	walk.maglev = maglev;
	walk.limited = !!limited;
	bpf_loop(size < TABLE_TRIES ? size : TABLE_TRIES, table_visit, &walk, 0);
	return walk.real;
}
