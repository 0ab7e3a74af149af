/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a client is told whose packet opens no connection, as with the kernel's IPVS: where no real
 * server is available, that its port is unreachable; of TCP in mid-stream, what a host without that
 * connection says (RFC 9293, section 3.10.7.1).
 */
#pragma once

#include "dataplane/ebpf/bpf/answer.h"
#include "dataplane/ebpf/bpf/icmp_answer.h"
#include "dataplane/ebpf/bpf/open.h"

#ifdef KLVS_IPV6
#define ICMP_PORT_UNREACHABLE 4
#else
#define ICMP_PORT_UNREACHABLE 3
#endif

struct reset {
	__u16 align;
	struct ethhdr eth;
	klvs_ip ip;
	struct tcphdr tcp;
};

#define RESET_FRAME (ETH_HEADER + IP_HEADER + TCP_HEADER)
#define TOS_WITHOUT_ECN 0xfc

_Static_assert(sizeof(struct reset) == 2 + RESET_FRAME, "nothing in between");

/* `p` is TCP without SYN. The verdict: KLVS_DROP if there is no answer. */
__noinline int reset(klvs_ctx *ctx, struct packet *p)
{
	struct reset answer = {};
	struct tcphdr asked;

	/* How long the whole is that a first fragment begins, nobody knows. */
	if (!p || p->event == EVENT_RST || p->fragment & IP_MORE_FRAGMENTS ||
	    packet_load(ctx, p->l4, &asked, sizeof(asked)) || answer_begin(ctx, p, &answer.eth))
		return KLVS_DROP;
	answer.tcp.source = asked.dest;
	answer.tcp.dest = asked.source;
	answer.tcp.doff = TCP_HEADER / 4;
	answer.tcp.rst = 1;
	if (asked.ack) {
		answer.tcp.seq = asked.ack_seq;
	} else {
		__u32 length = p->total_length + ETH_HEADER - p->l4 - asked.doff * 4 + asked.fin;

		answer.tcp.ack = 1;
		answer.tcp.ack_seq = bpf_htonl(bpf_ntohl(asked.seq) + length);
	}
	answer_ip(&answer.ip, &p->key.dst, &p->key.src, IPPROTO_TCP, p->tos & TOS_WITHOUT_ECN,
		  TCP_HEADER);
	answer.tcp.check = answer_sum(&answer.ip, IPPROTO_TCP, &answer.tcp, TCP_HEADER,
				      TCP_HEADER);
	return answer_send(ctx, p, &answer.eth, RESET_FRAME, RESET_FRAME);
}

/* `p` opens no connection, and is counted so. The verdict: KLVS_DROP if there is no answer. */
__noinline int refusal(klvs_ctx *ctx, struct packet *p, __u32 reason)
{
	struct klvs_settings *settings = settings_get();

	if (!p || !settings || source_is_martian(p) || source_is_ours(p, settings) ||
	    p->src_mac[0] & 1)
		return KLVS_DROP;
	if (reason == KLVS_DROP_NO_REAL_SERVER)
		return icmp_answer(ctx, p, ICMP_KIND(ICMP_UNREACHABLE, ICMP_PORT_UNREACHABLE), 0,
				   ETH_HEADER);
	if (reason == KLVS_DROP_NO_CONNECTION && p->key.protocol == IPPROTO_TCP)
		return reset(ctx, p);
	return KLVS_DROP;
}
