/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An ICMPv6 echo request to a VIP: answered, so that a VIP can be pinged. */
#pragma once

#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/icmp6.h"
#include "dataplane/ebpf/bpf/parse.h"

#define ICMP_ECHO_REQUEST bpf_htons(0x8000) /* type and code */
#define ICMP_ECHO_REPLY bpf_htons(0x8100)

/* `p` is an ICMPv6 packet, no fragment. KLVS_DROP if it is no echo request. */
static __always_inline int echo_answer(klvs_ctx *ctx, const struct packet *p)
{
	void *data, *end;
	struct ethhdr *eth;
	struct ipv6hdr *ip;
	__be16 *icmp;

	if (p->total_length + ETH_HEADER < p->l4 + ICMP_HEADER)
		return KLVS_DROP;
	parse_pull(ctx, p->l4 + ICMP_HEADER);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	ip = (void *)(eth + 1);
	icmp = data + klvs_mask(p->l4, L4_MASK);
	if ((void *)(ip + 1) > end || (void *)icmp + ICMP_HEADER > end)
		return KLVS_DROP;
	if (icmp[0] != ICMP_ECHO_REQUEST)
		return KLVS_DROP;

	/* The ends change places, which no sum notices. */
	icmp[0] = ICMP_ECHO_REPLY;
	icmp[1] = csum_apply(icmp[1], csum_change16(0, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY));
	*IP6_SRC(ip) = p->key.dst;
	*IP6_DST(ip) = p->key.src;
	ip->hop_limit = 64;
	mac_copy(eth->h_source, eth->h_dest);
	mac_copy(eth->h_dest, p->src_mac);
#ifdef KLVS_XDP
	return XDP_TX;
#else
	return bpf_redirect(p->ifindex, 0);
#endif
}
