/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The outer header of a tunnelled packet. */
#pragma once

#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/gue.h"
#include "dataplane/ebpf/bpf/parse.h"

/* `length` and `fragment` (flags and offset) are those of the packet. */
static __always_inline void outer_header(struct iphdr *outer, __u8 tos, __u32 length,
					 __be16 fragment, const klvs_ends *ends, __be16 gue_port)
{
	const __u32 *word = (const __u32 *)outer;
	__u64 sum = 0;
	int i;

	outer->version = 4;
	outer->ihl = 5;
	outer->tos = tos;
	outer->tot_len = bpf_htons(length + tunnel_overhead(gue_port));
	outer->frag_off = fragment & IP_DONT_FRAGMENT;
	/* Routers behind us may cut what may be cut, and need to tell the pieces apart. */
	outer->id = outer->frag_off ? 0 : (__u16)bpf_get_prandom_u32();
	outer->ttl = 64;
	outer->protocol = gue_port ? IPPROTO_UDP : IP_IN_IP;
	outer->check = 0;
	outer->saddr = ends->source;
	outer->daddr = ends->address;
#pragma unroll
	for (i = 0; i < IP_HEADER / 4; i++)
		sum += word[i];
	outer->check = ~csum_fold(sum);
}
