/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet that does not fit on its way to the real server: its client is told what fits, by ICMPv6
 * "packet too big" (RFC 4443, section 3.2). */
#pragma once

#include "dataplane/ebpf/bpf/answer_budget.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/icmp6.h"
#include "dataplane/ebpf/bpf/scratch.h"

#define TOO_BIG_QUOTED 240 /* of the packet: enough for its headers */
#define TOO_BIG_LEAST 1280 /* the least MTU that there is */

struct too_big_answer {
	__u16 align;
	struct ethhdr eth;
	struct ipv6hdr ip;
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 mtu;
	__u8 quoted[TOO_BIG_QUOTED];
};

#define TOO_BIG_FRAME (ETH_HEADER + IP_HEADER + ICMP_HEADER + TOO_BIG_QUOTED)

_Static_assert(sizeof(struct too_big_answer) == 2 + TOO_BIG_FRAME, "nothing in between");
_Static_assert(sizeof(struct too_big_answer) <= SCRATCH_ANSWER, "ICMPv6 packet too big");

/*
 * Drops `p`, of which `mtu` bytes would fit, or turns it into the answer to its client. With tc, a
 * checksum that its sender left to hardware stays so: it is one on this very machine, and the
 * answer goes back by the way that its packet came.
 */
__noinline int too_big(klvs_ctx *ctx, struct packet *p, __u32 mtu)
{
	struct klvs_settings *settings = settings_get();
	struct klvs_scratch *scratch = scratch_get();
	int verdict = drop(KLVS_DROP_TOO_BIG);
	struct too_big_answer *answer;

	if (!p || !settings || !scratch || p->kind != PACKET_WHOLE ||
	    p->total_length < TOO_BIG_QUOTED || mtu < TOO_BIG_LEAST || mtu > 0xffff ||
	    !may_answer(p->now, settings))
		return verdict;
	answer = (struct too_big_answer *)scratch->answer;
	if (packet_load(ctx, 0, &answer->eth, sizeof(answer->eth)) ||
	    packet_load(ctx, ETH_HEADER, answer->quoted, sizeof(answer->quoted)))
		return verdict;
	mac_copy(answer->eth.h_source, answer->eth.h_dest);
	mac_copy(answer->eth.h_dest, p->src_mac);
	answer->type = ICMP_TOO_BIG;
	answer->code = 0;
	answer->check = 0;
	answer->mtu = bpf_htonl(mtu);
	icmp_finish(&answer->ip, &p->key.dst, &p->key.src, &answer->type,
		    ICMP_HEADER + TOO_BIG_QUOTED, 64);
	if (packet_resize(ctx, TOO_BIG_FRAME) || packet_store(ctx, 0, &answer->eth, TOO_BIG_FRAME))
		return verdict;
#ifdef KLVS_XDP
	return XDP_TX;
#else
	return bpf_redirect(p->ifindex, 0);
#endif
}
