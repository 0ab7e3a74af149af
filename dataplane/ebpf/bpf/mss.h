/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The MSS that a real server offers in its SYN-ACK: what the client then sends gets an outer
 * header on its way and must still fit. Only the real server sees the SYN-ACK.
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "dataplane/ebpf/bpf/defs.h"

#define MSS_OPTIONS 40

/* The clamp for a TCP packet of ours, and where its TCP header is; NULL for all others. */
static __always_inline __u32 *mss_clamp_of(struct __sk_buff *ctx, __u32 *l4)
{
	struct klvs_mss_net net4 = { .bits = 32 };
	struct ipv6hdr ip6;
	struct iphdr ip;
	__be16 protocol;
	__u32 *clamp;

	if (bpf_skb_load_bytes(ctx, ETH_HEADER - 2, &protocol, sizeof(protocol)))
		return NULL;
	if (protocol == bpf_htons(ETH_P_IPV6)) {
		struct klvs_mss_net6 net = { .bits = 128 };

		if (bpf_skb_load_bytes(ctx, ETH_HEADER, &ip6, sizeof(ip6)) || ip6.version != 6 ||
		    ip6.nexthdr != IPPROTO_TCP)
			return NULL;
		net.vip = *(struct klvs_in6 *)&ip6.saddr;
		*l4 = ETH_HEADER + sizeof(ip6);
		clamp = bpf_map_lookup_elem(&klvs_mss_clamps6, &net.vip);
		return clamp ? clamp : bpf_map_lookup_elem(&klvs_mss_nets6, &net);
	}
	if (protocol != bpf_htons(ETH_P_IP) ||
	    bpf_skb_load_bytes(ctx, ETH_HEADER, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
	    ip.protocol != IPPROTO_TCP || ip.frag_off & bpf_htons(0x1fff))
		return NULL;
	*l4 = ETH_HEADER + ip.ihl * 4;
	clamp = bpf_map_lookup_elem(&klvs_mss_clamps, &ip.saddr);
	if (clamp)
		return clamp;
	net4.vip = ip.saddr;
	return bpf_map_lookup_elem(&klvs_mss_nets, &net4);
}

static __always_inline void mss_clamp(struct __sk_buff *ctx)
{
	__u8 options[72] = {}; /* any masked index, and 4 bytes behind it, is inside */
	__u32 l4 = 0, length, at, *clamp;
	struct tcphdr tcp;
	__be16 old, new;
	__u32 i, steps;

	clamp = mss_clamp_of(ctx, &l4);
	if (!clamp || bpf_skb_load_bytes(ctx, l4, &tcp, sizeof(tcp)))
		return;
	if (!tcp.syn || !tcp.ack || tcp.doff <= 5)
		return;
	/* 4 .. 40; the verifier sees 4 .. 67. */
	length = klvs_mask(tcp.doff * 4 - TCP_HEADER - 4, 63) + 4;
	if (bpf_skb_load_bytes(ctx, l4 + TCP_HEADER, options, length))
		return;

	at = 0;
	for (steps = 0; steps < MSS_OPTIONS; steps++) {
		__u32 kind, size;

		i = klvs_mask(at, 63);
		if (i + 1 >= length)
			return;
		kind = options[i];
		size = options[i + 1];
		if (kind == 0)
			return;
		if (kind == 1) {
			at = i + 1;
			continue;
		}
		if (size < 2)
			return;
		if (kind != 2) {
			at = i + size;
			if (at >= length)
				return;
			continue;
		}
		if (size != 4 || i + 4 > length)
			return;
		old = bpf_htons(options[i + 2] << 8 | options[i + 3]);
		if (bpf_ntohs(old) <= *clamp)
			return;
		new = bpf_htons(*clamp);
		at = l4 + TCP_HEADER + i + 2;
		/* The sum runs over 16-bit words from the start of the TCP header: at an odd
		 * offset the bytes of the value count the other way round. */
		bpf_l4_csum_replace(ctx, l4 + 16, i & 1 ? __builtin_bswap16(old) : old,
				    i & 1 ? __builtin_bswap16(new) : new, sizeof(new));
		bpf_skb_store_bytes(ctx, at, &new, sizeof(new), 0);
		return;
	}
}
