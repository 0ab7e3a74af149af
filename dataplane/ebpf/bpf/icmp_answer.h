/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An ICMP error of ours about a packet, from its VIP to its client: RFC 1812, section 4.3.2, and RFC
 * 4443, section 2.4. It quotes the packet's head. */
#pragma once

#include "dataplane/ebpf/bpf/answer.h"
#ifdef KLVS_IPV6
#include "dataplane/ebpf/bpf/icmp6.h"

#define ICMP_ANSWER_QUOTED 240 /* enough for its headers */
#define ICMP_ANSWER_TOS 0
#else
#include "dataplane/ebpf/bpf/icmp.h"

#define ICMP_ANSWER_QUOTED 68 /* the longest IP header and 8 bytes */
#define ICMP_ANSWER_TOS 0xc0  /* internetwork control */
#endif

struct icmp_answer {
	__u16 align;
	struct ethhdr eth;
	klvs_ip ip;
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 rest;
	__u8 quoted[ICMP_ANSWER_QUOTED];
};

#define ICMP_ANSWER_HEADERS (ETH_HEADER + IP_HEADER + ICMP_HEADER)

_Static_assert(sizeof(struct icmp_answer) == 2 + ICMP_ANSWER_HEADERS + ICMP_ANSWER_QUOTED,
	       "nothing in between");

#ifdef KLVS_IPV6
_Static_assert(sizeof(struct icmp_answer) <= SCRATCH_ANSWER, "ICMPv6 error");

static __always_inline struct icmp_answer *icmp_answer_draft(void)
{
	struct klvs_scratch *scratch = scratch_get();
	struct icmp_answer *answer;

	if (!scratch)
		return NULL;
	answer = (struct icmp_answer *)scratch->answer;
	__builtin_memset(answer, 0, sizeof(*answer));
	return answer;
}

#define ICMP_ANSWER(name) struct icmp_answer *name = icmp_answer_draft()
#else
#define ICMP_ANSWER(name) struct icmp_answer name##_draft = {}, *name = &name##_draft
#endif

#define ICMP_KIND(type, code) ((type) << 8 | (code))

/*
 * Turns `p` into an error about the packet at `at`, an offset in the frame, whose ends and length
 * `p` names; of `kind`, `rest` behind its checksum. Its verdict: KLVS_DROP if there is no answer.
 */
__noinline int icmp_answer(klvs_ctx *ctx, struct packet *p, __u32 kind, __u32 rest, __u32 at)
{
	ICMP_ANSWER(answer);
	__u32 quoted;

	if (!p || !answer)
		return KLVS_DROP;
	quoted = p->total_length;
	if (quoted > ICMP_ANSWER_QUOTED)
		quoted = ICMP_ANSWER_QUOTED;
	if (answer_begin(ctx, p, &answer->eth) ||
	    !LENGTH_HOLDS(quoted, IP_HEADER, ICMP_ANSWER_QUOTED) ||
	    packet_load(ctx, at, answer->quoted, quoted))
		return KLVS_DROP;
	answer->type = kind >> 8;
	answer->code = kind;
	answer->rest = bpf_htonl(rest);
	answer_ip(&answer->ip, &p->key.dst, &p->key.src, IP_ICMP, ICMP_ANSWER_TOS,
		  ICMP_HEADER + quoted);
#ifdef KLVS_IPV6
	answer->check = answer_sum(&answer->ip, IP_ICMP, &answer->type, ICMP_HEADER + quoted,
				   ICMP_HEADER + ICMP_ANSWER_QUOTED);
#else
	/* What is not quoted is 0. */
	answer->check = ~csum_fold(bpf_csum_diff(NULL, 0, (void *)&answer->type,
						 ICMP_HEADER + ICMP_ANSWER_QUOTED, 0));
#endif
	return answer_send(ctx, p, &answer->eth, ICMP_ANSWER_HEADERS + quoted,
			   ICMP_ANSWER_HEADERS + ICMP_ANSWER_QUOTED);
}
