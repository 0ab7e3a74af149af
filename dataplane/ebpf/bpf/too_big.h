/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet that does not fit on its way to the real server and must not be cut: its client is told
 * what fits, by ICMP "fragmentation needed" (RFC 1191). */
#pragma once

#include "dataplane/ebpf/bpf/drop.h"
#include "dataplane/ebpf/bpf/icmp_answer.h"

#define ICMP_FRAGMENTATION_NEEDED 4
#define TOO_BIG_LEAST 68 /* the least MTU that there is */

/* Drops `p`, of which `mtu` bytes would fit, or turns it into the answer to its client. */
__noinline int too_big(klvs_ctx *ctx, struct packet *p, __u32 mtu)
{
	int verdict = drop(ctx, KLVS_DROP_TOO_BIG);

	if (!p || p->kind != PACKET_WHOLE || !(p->fragment & IP_DONT_FRAGMENT) ||
	    mtu < TOO_BIG_LEAST || mtu > 0xffff)
		return verdict;
	return icmp_answer(ctx, p, ICMP_KIND(ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED), mtu,
			   ETH_HEADER);
}
