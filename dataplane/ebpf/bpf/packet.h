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
	__u64 reused_ctl;
	__u32 ifindex;
	__u32 vip_id;
	__u16 total_length; /* of the IP packet */
	__u16 l4;	    /* offset of the TCP, UDP or ICMP header in the frame */
	__be16 fragment;    /* word of flags and fragment offset */
	__u8 tos;
	__u8 ttl;
	__u8 event;   /* TCP: EVENT_* */
	__u8 opening; /* may open a connection: UDP, or TCP with SYN and without RST */
	__u8 src_mac[6];
	__u8 own_mac[6];
	__u8 gso; /* tc: a bundle of segments, whose length says nothing about the MTU */
	__u8 kind; /* PACKET_* */
	__u32 once;   /* the real server that this packet alone goes to */
	__u32 reused; /* the connection in whose place a new one opens, which was `reused_ctl` */
};

/* From no host: this network, loopback, multicast, reserved, broadcast. */
static __always_inline int source_is_martian(const struct packet *p)
{
	__u32 first = bpf_ntohl(p->key.src) >> 24;

	return first == 0 || first == 127 || first >= 224;
}
