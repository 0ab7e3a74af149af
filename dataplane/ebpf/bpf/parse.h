/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The headers of TCP, UDP and SCTP, each byte checked before it is read. Lengths come from the IP
 * header: short frames carry padding. */
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

/* The byte of flags of a TCP header. */
#define TCP_FLAGS(tcp) (((const __u8 *)(tcp))[13])
#define TCP_HEADER_LENGTH(tcp) (((const __u8 *)(tcp))[TCP_HEADER_WORDS] >> 4 << 2)
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

static __always_inline __u32 tcp_event(__u8 flags)
{
	if (flags & TCP_RST)
		return EVENT_RST;
	if (flags & TCP_SYN)
		return EVENT_SYN;
	if (flags & TCP_FIN)
		return EVENT_FIN;
	if (flags & TCP_ACK)
		return EVENT_ACK;
	return EVENT_NONE;
}

/* The common header of SCTP, and the head of the first chunk. */
struct sctp_head {
	__be16 source;
	__be16 dest;
	__be32 tag;
	__be32 checksum;
	__u8 chunk;
	__u8 flags;
	__be16 length;
};

/* What a chunk means; RFC 9260, section 3.2. */
static __always_inline __u32 sctp_event(__u8 chunk)
{
	switch (chunk) {
	case 1:
		return SCTP_INIT;
	case 2:
		return SCTP_INIT_ACK;
	case 6:
		return SCTP_ABORT;
	case 7:
		return SCTP_SHUTDOWN;
	case 8:
		return SCTP_SHUTDOWN_ACK;
	case 9:
		return SCTP_ERROR;
	case 10:
		return SCTP_COOKIE_ECHO;
	case 11:
		return SCTP_COOKIE_ACK;
	case 14:
		return SCTP_SHUTDOWN_COMPLETE;
	default:
		return SCTP_DATA;
	}
}

__noinline int parse_sctp(klvs_ctx *ctx, struct packet *p, __u32 payload)
{
	struct sctp_head head;
	__u32 next;
	__u8 chunk;

	if (!p || payload < sizeof(head) || packet_load(ctx, p->l4, &head, sizeof(head)))
		return KLVS_DROP_SHORT;
	if (bpf_ntohs(head.length) < SCTP_CHUNK_HEADER)
		return KLVS_DROP_BAD_HEADER;
	p->key.sport = head.source;
	p->key.dport = head.dest;
	p->event = sctp_event(head.chunk);
	if (p->event == SCTP_COOKIE_ECHO || p->event == SCTP_COOKIE_ACK) {
		next = sizeof(head) - SCTP_CHUNK_HEADER + ((bpf_ntohs(head.length) + 3) & ~3U);
		if (next + SCTP_CHUNK_HEADER <= payload &&
		    !packet_load(ctx, p->l4 + next, &chunk, sizeof(chunk)) &&
		    sctp_event(chunk) == SCTP_ABORT)
			p->event = SCTP_ABORT;
	}
	p->opening = p->event == SCTP_INIT;
	return 0;
}

/*
 * What TCP, UDP and SCTP say; `payload` bytes are behind the IP header. 0, or why nothing can be
 * done with the packet by itself: KLVS_DROP_ICMP for anything else.
 */
static __always_inline __u32 parse_transport(klvs_ctx *ctx, struct packet *p, __u32 payload)
{
	void *data, *end;

	if (p->key.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp;
		__u32 header;

		if (payload < TCP_HEADER)
			return KLVS_DROP_SHORT;
		parse_pull(ctx, p->l4 + TCP_HEADER);
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
		tcp = data + klvs_mask(p->l4, L4_MASK);
		if ((void *)(tcp + 1) > end)
			return KLVS_DROP_SHORT;
		header = TCP_HEADER_LENGTH(tcp);
		if (header < TCP_HEADER || header > payload)
			return KLVS_DROP_BAD_HEADER;
		p->key.sport = tcp->source;
		p->key.dport = tcp->dest;
		p->event = tcp_event(TCP_FLAGS(tcp));
		p->opening = p->event == EVENT_SYN;
		return 0;
	}
	if (p->key.protocol == IPPROTO_UDP) {
		struct udphdr *udp;

		if (payload < UDP_HEADER)
			return KLVS_DROP_SHORT;
		parse_pull(ctx, p->l4 + UDP_HEADER);
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
		udp = data + klvs_mask(p->l4, L4_MASK);
		if ((void *)(udp + 1) > end)
			return KLVS_DROP_SHORT;
		if (bpf_ntohs(udp->len) < UDP_HEADER ||
		    (bpf_ntohs(udp->len) > payload && !(p->fragment & IP_MORE_FRAGMENTS)))
			return KLVS_DROP_BAD_HEADER;
#ifdef KLVS_IPV6
		/* There is no other checksum: RFC 8200, section 8.1. */
		if (!udp->check)
			return KLVS_DROP_BAD_HEADER;
#endif
		p->key.sport = udp->source;
		p->key.dport = udp->dest;
		p->event = EVENT_NONE;
		p->opening = 1;
		return 0;
	}
	if (p->key.protocol == IPPROTO_SCTP)
		return parse_sctp(ctx, p, payload);
	return KLVS_DROP_ICMP;
}

#ifdef KLVS_IPV6
#include "dataplane/ebpf/bpf/parse6.h"
#else
#include "dataplane/ebpf/bpf/parse4.h"
#endif
