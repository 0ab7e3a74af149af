/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Headers of IPv4 packets; included by parse.h. */
#pragma once

/* One hop fewer, checksum to match. */
static __always_inline void age_ip(struct iphdr *ip)
{
	__u32 check = ip->check + bpf_htons(0x100);

	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}

/* 0 if done. */
static __always_inline int age(klvs_ctx *ctx)
{
	struct iphdr *ip = (void *)(long)ctx->data + ETH_HEADER;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return -1;
	age_ip(ip);
	return 0;
}

/*
 * Fills `p` from an IPv4 packet whose first ETH_HEADER + IP_HEADER bytes are readable. Returns 0,
 * or the reason for which nothing can be done with it by itself. KLVS_DROP_FRAGMENT is a later
 * fragment, or any of ICMP.
 */
static __always_inline __u32 parse_ip(klvs_ctx *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + ETH_HEADER;
	__u32 first, header, length, reason;

	if ((void *)(ip + 1) > end)
		return KLVS_DROP_SHORT;
	first = *(const __u8 *)ip;
	header = (first & 15) * 4;
	length = bpf_ntohs(ip->tot_len);
	/* Version 4, and 5 words or more. */
	if (first < 0x45 || first > 0x4f || length < header)
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

	if (p->fragment & IP_FRAGMENT_OFFSET)
		return KLVS_DROP_FRAGMENT;
	reason = parse_transport(ctx, p, length - header);
	if (reason != KLVS_DROP_ICMP)
		return reason;
	if (p->key.protocol != IPPROTO_ICMP)
		return KLVS_DROP_PROTOCOL;
	return p->fragment & IP_MORE_FRAGMENTS ? KLVS_DROP_FRAGMENT : KLVS_DROP_ICMP;
}
