/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet that does not fit on its way to the real server: its client is told what fits, by ICMPv6
 * "packet too big" (RFC 4443, section 3.2). */
#pragma once

#include "dataplane/ebpf/bpf/drop.h"
#include "dataplane/ebpf/bpf/icmp_answer.h"

#define TOO_BIG_LEAST 1280 /* the least MTU that there is */

/* Drops `p`, of which `mtu` bytes would fit, or turns it into the answer to its client. */
__noinline int too_big(klvs_ctx *ctx, struct packet *p, __u32 mtu)
{
	int verdict = drop(ctx, KLVS_DROP_TOO_BIG);

	if (!p || p->kind != PACKET_WHOLE || mtu < TOO_BIG_LEAST || mtu > 0xffff)
		return verdict;
	return icmp_answer(ctx, p, ICMP_KIND(ICMP_TOO_BIG, 0), mtu, ETH_HEADER);
}
