/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Headers of IPv4 packets, each byte checked before it is read. Lengths come from the IP header:
 * short frames carry padding. */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/packet.h"
#include "dataplane/ebpf/bpf/state.h"

#define IP_MORE_FRAGMENTS bpf_htons(0x2000)
#define IP_FRAGMENT_OFFSET bpf_htons(0x1fff)
#define IP_DONT_FRAGMENT bpf_htons(0x4000)

/* Makes the first `length` bytes readable, if the packet has them. */
static __always_inline void parse_pull(klvs_ctx *ctx, __u32 length)
{
#ifndef KLVS_XDP
	if ((void *)(long)ctx->data + length > (void *)(long)ctx->data_end && length <= ctx->len)
		bpf_skb_pull_data(ctx, length);
#endif
}

/* One hop fewer, checksum to match. 0 if done. */
static __always_inline int age(klvs_ctx *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + ETH_HEADER;
	__be16 *hop;

	if ((void *)(ip + 1) > end)
		return -1;
	hop = (__be16 *)&ip->ttl;
	ip->check = csum_apply(ip->check, csum_change16(0, *hop, *hop - bpf_htons(0x100)));
	ip->ttl--;
	return 0;
}

static __always_inline __u32 tcp_event(const struct tcphdr *tcp)
{
	if (tcp->rst)
		return EVENT_RST;
	if (tcp->syn)
		return EVENT_SYN;
	if (tcp->fin)
		return EVENT_FIN;
	if (tcp->ack)
		return EVENT_ACK;
	return EVENT_NONE;
}

/*
 * Fills `p` from an IPv4 packet whose first ETH_HEADER + IP_HEADER bytes are readable. Returns 0,
 * or the reason for which nothing can be done with it by itself. KLVS_DROP_FRAGMENT is a later
 * fragment, or any of ICMP.
 */
static __always_inline __u32 parse_ipv4(klvs_ctx *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + ETH_HEADER;
	__u32 header, payload, length;

	if ((void *)(ip + 1) > end)
		return KLVS_DROP_SHORT;
	header = ip->ihl * 4;
	length = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < IP_HEADER || length < header)
		return KLVS_DROP_BAD_HEADER;
#ifdef KLVS_XDP
	if (length > (long)end - (long)(data + ETH_HEADER))
		return KLVS_DROP_SHORT;
#else
	if (length + ETH_HEADER > ctx->len)
		return KLVS_DROP_SHORT;
#endif
	p->key.src = ip->saddr;
	p->key.dst = ip->daddr;
	p->key.protocol = ip->protocol;
	p->total_length = length;
	p->fragment = ip->frag_off;
	p->tos = ip->tos;
	p->ttl = ip->ttl;
	p->l4 = ETH_HEADER + header;
	payload = length - header;

	if (ip->frag_off & IP_FRAGMENT_OFFSET)
		return KLVS_DROP_FRAGMENT;
	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp;

		if (payload < TCP_HEADER)
			return KLVS_DROP_SHORT;
		parse_pull(ctx, ETH_HEADER + header + TCP_HEADER);
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
		tcp = data + ETH_HEADER + (header & 63);
		if ((void *)(tcp + 1) > end)
			return KLVS_DROP_SHORT;
		if (tcp->doff < 5 || tcp->doff * 4 > payload)
			return KLVS_DROP_BAD_HEADER;
		p->key.sport = tcp->source;
		p->key.dport = tcp->dest;
		p->event = tcp_event(tcp);
		p->opening = tcp->syn && !tcp->rst;
		return 0;
	}
	if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *udp;

		if (payload < UDP_HEADER)
			return KLVS_DROP_SHORT;
		parse_pull(ctx, ETH_HEADER + header + UDP_HEADER);
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
		udp = data + ETH_HEADER + (header & 63);
		if ((void *)(udp + 1) > end)
			return KLVS_DROP_SHORT;
		if (bpf_ntohs(udp->len) < UDP_HEADER ||
		    (bpf_ntohs(udp->len) > payload && !(p->fragment & IP_MORE_FRAGMENTS)))
			return KLVS_DROP_BAD_HEADER;
		p->key.sport = udp->source;
		p->key.dport = udp->dest;
		p->event = EVENT_NONE;
		p->opening = 1;
		return 0;
	}
	if (ip->protocol != IPPROTO_ICMP)
		return KLVS_DROP_PROTOCOL;
	return ip->frag_off & IP_MORE_FRAGMENTS ? KLVS_DROP_FRAGMENT : KLVS_DROP_ICMP;
}
