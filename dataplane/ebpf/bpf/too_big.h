/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet that does not fit on its way to the real server and must not be cut: its client is told
 * what fits, by ICMP "fragmentation needed" (RFC 1191). */
#pragma once

#include "dataplane/ebpf/bpf/answer_budget.h"
#include "dataplane/ebpf/bpf/count.h"
#include "dataplane/ebpf/bpf/icmp.h"

#define ICMP_FRAGMENTATION_NEEDED 4
#define TOO_BIG_QUOTED 68 /* the longest IP header and 8 bytes; the least MTU that there is */
#define TOO_BIG_TOS 0xc0  /* internetwork control */

struct too_big_answer {
	struct ethhdr eth;
	struct iphdr ip;
	__u8 type;
	__u8 code;
	__sum16 check;
	__be16 unused;
	__be16 mtu;
	__u8 quoted[TOO_BIG_QUOTED];
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct too_big_answer) == 110, "ICMP fragmentation needed");

/*
 * Drops `p`, of which `mtu` bytes would fit, or turns it into the answer to its client. With tc, a
 * checksum that its sender left to hardware stays so: it is one on this very machine, and the
 * answer goes back by the way that its packet came.
 */
__noinline int too_big(klvs_ctx *ctx, struct packet *p, __u32 mtu)
{
	struct klvs_settings *settings = settings_get();
	struct too_big_answer answer;
	const __u16 *word = (const __u16 *)&answer.ip;
	int verdict = drop(KLVS_DROP_TOO_BIG);
	__u32 sum = 0;
	int i;

	if (!p || !settings || p->kind != PACKET_WHOLE || !(p->fragment & IP_DONT_FRAGMENT) ||
	    p->total_length < TOO_BIG_QUOTED || mtu < TOO_BIG_QUOTED || mtu > 0xffff ||
	    !may_answer(p->now, settings))
		return verdict;
	if (packet_load(ctx, 0, &answer.eth, sizeof(answer.eth)) ||
	    packet_load(ctx, ETH_HEADER, answer.quoted, sizeof(answer.quoted)))
		return verdict;
	mac_copy(answer.eth.h_source, answer.eth.h_dest);
	mac_copy(answer.eth.h_dest, p->src_mac);
	answer.ip.version = 4;
	answer.ip.ihl = 5;
	answer.ip.tos = TOO_BIG_TOS;
	answer.ip.tot_len = bpf_htons(sizeof(answer) - ETH_HEADER);
	answer.ip.id = 0;
	answer.ip.frag_off = IP_DONT_FRAGMENT;
	answer.ip.ttl = 64;
	answer.ip.protocol = IPPROTO_ICMP;
	answer.ip.check = 0;
	answer.ip.saddr = p->key.dst;
	answer.ip.daddr = p->key.src;
#pragma unroll
	for (i = 0; i < IP_HEADER / 2; i++)
		sum += word[i];
	answer.ip.check = ~csum_fold(sum);
	answer.type = ICMP_UNREACHABLE;
	answer.code = ICMP_FRAGMENTATION_NEEDED;
	answer.check = 0;
	answer.unused = 0;
	answer.mtu = bpf_htons(mtu);
	answer.check = ~csum_fold(bpf_csum_diff(
		NULL, 0, (void *)&answer.type, sizeof(answer) - ETH_HEADER - IP_HEADER, 0));
	if (packet_resize(ctx, sizeof(answer)) || packet_store(ctx, 0, &answer, sizeof(answer)))
		return verdict;
#ifdef KLVS_XDP
	return XDP_TX;
#else
	return bpf_redirect(p->ifindex, 0);
#endif
}
