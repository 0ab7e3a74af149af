/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the larger values of IPv6 are made: the stack has 512 bytes for a whole chain of calls. One
 * room for each CPU is enough, for a program runs to its end before another begins there.
 */
#pragma once

#include "dataplane/ebpf/bpf/packet.h"

#ifdef KLVS_IPV6

#define SCRATCH_ANSWER 320 /* a frame of our own, behind two bytes that align its IP header */

struct klvs_scratch {
	struct packet packet;
	struct klvs_conn draft[2];
	__u64 answer[SCRATCH_ANSWER / 8];
};

_Static_assert(sizeof(struct klvs_scratch) <= KLVS_SCRATCH, "scratch");

static __always_inline struct klvs_scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&klvs_scratch6, &zero);
}

/* A connection to be filled in, all zero; NULL never happens, but the verifier asks. */
static __always_inline struct klvs_conn *conn_draft(__u32 n)
{
	struct klvs_scratch *scratch = scratch_get();

	if (!scratch)
		return NULL;
	__builtin_memset(&scratch->draft[n], 0, sizeof(scratch->draft[n]));
	return &scratch->draft[n];
}

#define CONN_DRAFT(name, n) struct klvs_conn *name = conn_draft(n)

#else

#define CONN_DRAFT(name, n) struct klvs_conn name##_draft = {}, *name = &name##_draft

#endif
