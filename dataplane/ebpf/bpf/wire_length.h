/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How long a packet is that leaves: of a bundle, each of its segments. */
#pragma once

#include "dataplane/ebpf/bpf/packet.h"

#define GSO_BY_FRAGS 0xffff /* as many bytes as its pieces happen to have; include/linux/skbuff.h */

#ifdef KLVS_XDP

static __always_inline __u32 wire_length(klvs_ctx *ctx, const struct packet *p)
{
	return p->total_length;
}

#else

/* Whether the segments of a bundle of UDP are datagrams. Others are fragments of one, in which its
 * header is counted; only datagrams can be told not to be cut. Of IPv6 nobody knows: what is 8
 * bytes too large may pass. */
static __always_inline int are_datagrams(const struct packet *p)
{
#ifdef KLVS_IPV6
	return 0;
#else
	return p->fragment & IP_DONT_FRAGMENT;
#endif
}

/* Of the IP packet; 0: nobody knows. As skb_gso_network_seglen (net/core/gso.c, Linux 6.12). */
__noinline int bundle_length(klvs_ctx *ctx, struct packet *p)
{
	__u32 header = 0, size = ctx->gso_size;
	__u8 words;

	if (!p || !size || size == GSO_BY_FRAGS)
		return 0;
	if (p->key.protocol == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(ctx, p->l4 + TCP_HEADER_WORDS, &words, sizeof(words)))
			return 0;
		header = (words >> 4) * 4;
	} else if (p->key.protocol == IPPROTO_UDP && are_datagrams(p)) {
		header = UDP_HEADER;
	}
	return p->l4 - ETH_HEADER + header + size;
}

static __always_inline __u32 wire_length(klvs_ctx *ctx, struct packet *p)
{
	return p->gso ? bundle_length(ctx, p) : p->total_length;
}

#endif
