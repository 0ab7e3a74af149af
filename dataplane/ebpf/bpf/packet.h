/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the director knows of a packet: values only, no pointers into it. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

/* What a packet says about its connection. */
enum {
	PACKET_WHOLE = 0,
	PACKET_ICMP_ERROR = 1, /* no event; `key` is of the answer to what it quotes */
	PACKET_LATER_FRAGMENT = 2, /* neither ports nor event */
};

struct packet {
	struct klvs_conn_key key; /* as in the packet, or see `kind` */
	__u64 now;		  /* jiffies */
	__u64 hash;
	__u64 found_ctl; /* of `found`, then of the one that opened */
	__u32 ifindex;
	__u32 vip_id;
	__u8 src_mac[6]; /* where words may be, as of all that the stack holds */
	__u16 total_length; /* of the IP packet */
	__u8 own_mac[6];
	__u16 l4;	    /* offset of the TCP, UDP or ICMP header in the frame */
	__be16 fragment;    /* word of flags and fragment offset, as IPv4 has it */
	__u8 tos;	    /* IPv6: traffic class */
	__u8 ttl;
	__u8 event;   /* TCP: EVENT_*; SCTP: SCTP_* */
	__u8 opening; /* may open a connection: UDP, TCP with SYN and without RST, SCTP INIT */
	__u8 gso; /* tc: a bundle of segments; see wire_length.h */
	__u8 kind; /* PACKET_* */
	__u8 at_home; /* tc: this node itself gets or sends it, so that it takes no hop */
#ifdef KLVS_IPV6
	__u16 fragment_id; /* offset of a fragment's number in the frame */
#endif
	__u32 once;   /* the real server that this packet alone goes to */
	__u32 found;  /* the connection in whose place a new one opens, which was `found_ctl` */
};

#ifdef KLVS_IPV6
/* From no host: unspecified, loopback and what has IPv4 inside, link-local, multicast. */
static __always_inline int source_is_martian(const struct packet *p)
{
	const klvs_addr *src = &p->key.src;
	__u32 first = bpf_ntohl(src->word[0]);

	if (!(src->word[0] | src->word[1]) &&
	    (!src->word[2] || src->word[2] == bpf_htonl(0x0000ffff)))
		return 1;
	return first >> 22 == 0xfe80 >> 6 || first >> 24 == 0xff;
}
#else
/* From no host: this network, loopback, multicast, reserved, broadcast. */
static __always_inline int source_is_martian(const struct packet *p)
{
	__u32 first = *(const __u8 *)&p->key.src;

	return first == 0 || first == 127 || first >= 224;
}
#endif

static __always_inline int packet_load(klvs_ctx *ctx, __u32 offset, void *to, __u32 length)
{
#ifdef KLVS_XDP
	return bpf_xdp_load_bytes(ctx, offset, to, length);
#else
	return bpf_skb_load_bytes(ctx, offset, to, length);
#endif
}

static __always_inline int packet_store(klvs_ctx *ctx, __u32 offset, void *from, __u32 length)
{
#ifdef KLVS_XDP
	return bpf_xdp_store_bytes(ctx, offset, from, length);
#else
	return bpf_skb_store_bytes(ctx, offset, from, length, BPF_F_RECOMPUTE_CSUM);
#endif
}

/* Whether `length` is `least`, 2 or more, to `most`, said where it is needed: before a helper takes
 * it. Linux 6.1 knows nothing of half a word that was on the stack in between, and learns nothing
 * from "not 0". */
#define LENGTH_HOLDS(length, least, most)                                                          \
	({                                                                                         \
		int holds_ = 0;                                                                    \
		asm volatile("" : "+r"(length));                                                   \
		if ((length) <= (most)) {                                                          \
			asm volatile("" : "+r"(length));                                           \
			holds_ = (length) >= (least);                                              \
		}                                                                                  \
		holds_;                                                                            \
	})

/* What was in it has no place any more. XDP has room in front of a frame, but a veth may have none
 * behind it. */
static __always_inline int packet_resize(klvs_ctx *ctx, __u32 length)
{
#ifdef KLVS_XDP
	long size = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	/* Now, by the 64 bits of pointers. */
	asm volatile("" : "+r"(size));
	return bpf_xdp_adjust_head(ctx, size - (long)length);
#else
	return bpf_skb_change_tail(ctx, length, 0);
#endif
}
