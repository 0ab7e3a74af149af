/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A tunnel's end on a real server: only what a known director sends for a VIP loses its outer
 * header, and GUE's, and goes to the stack; anything else is left alone. */
#pragma once

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "dataplane/ebpf/bpf/defs.h"
#include "dataplane/ebpf/bpf/gue_headers.h"

#define IP6_HEADER sizeof(struct ipv6hdr)

static __always_inline int is_known6(const struct klvs_tunnel_peer6 *peer)
{
	struct klvs_tunnel_net6 net = { .bits = 256, .to = *peer };

	return bpf_map_lookup_elem(&klvs_tunnel_peers6, peer) ||
	       bpf_map_lookup_elem(&klvs_tunnel_nets6, &net);
}

static __always_inline int is_known(const struct klvs_tunnel_peer *peer)
{
	struct klvs_tunnel_net net = { .bits = 64, .to = *peer };

	return bpf_map_lookup_elem(&klvs_tunnel_peers, peer) ||
	       bpf_map_lookup_elem(&klvs_tunnel_nets, &net);
}

/* The port of GUE without options, and without checksum, that is all of the `length` bytes from `at`
 * on and carries `protocol`; 0 for anything else. */
static __always_inline __be16 gue_port(struct __sk_buff *ctx, __u32 at, __u32 length,
				       __u8 protocol)
{
	struct gue_headers gue;

	if (length < GUE_HEADERS || bpf_skb_load_bytes(ctx, at, &gue, sizeof(gue)) ||
	    bpf_ntohs(gue.udp.len) != length || gue.udp.check || gue.variant ||
	    gue.protocol != protocol || gue.flags)
		return 0;
	return gue.udp.dest;
}

static __always_inline int decapsulate6(struct __sk_buff *ctx)
{
	struct klvs_gue_peer6 gue = { .bits = KLVS_GUE_BITS6 + 128 };
	__u32 length, header = IP6_HEADER;
	struct klvs_tunnel_peer6 peer;
	struct ipv6hdr outer, inner;

	if (bpf_skb_load_bytes(ctx, ETH_HEADER, &outer, sizeof(outer)))
		return TC_ACT_UNSPEC;
	length = bpf_ntohs(outer.payload_len);
	if (outer.version != 6 || ETH_HEADER + IP6_HEADER + length > ctx->len)
		return TC_ACT_UNSPEC;
	if (outer.nexthdr == IPPROTO_UDP) {
		gue.to.port = gue_port(ctx, ETH_HEADER + IP6_HEADER, length, IPPROTO_IPV6);
		if (!gue.to.port)
			return TC_ACT_UNSPEC;
		header += GUE_HEADERS;
		length -= GUE_HEADERS;
	} else if (outer.nexthdr != IPPROTO_IPV6) {
		return TC_ACT_UNSPEC;
	}
	if (length < IP6_HEADER || bpf_skb_load_bytes(ctx, ETH_HEADER + header, &inner, sizeof(inner)))
		return TC_ACT_UNSPEC;
	if (inner.version != 6 || bpf_ntohs(inner.payload_len) + IP6_HEADER > length)
		return TC_ACT_UNSPEC;
	peer.director = *(struct klvs_in6 *)&outer.saddr;
	peer.vip = *(struct klvs_in6 *)&inner.daddr;
	gue.to.director = peer.director;
	gue.to.real = *(struct klvs_in6 *)&outer.daddr;
	gue.to.vip = peer.vip;
	if (gue.to.port ? !bpf_map_lookup_elem(&klvs_gue_peers6, &gue) : !is_known6(&peer))
		return TC_ACT_UNSPEC;
	if (bpf_skb_adjust_room(ctx, -(__s32)header, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return TC_ACT_UNSPEC;
	return TC_ACT_OK;
}

static __always_inline int decapsulate(struct __sk_buff *ctx)
{
	struct klvs_gue_peer gue = { .bits = KLVS_GUE_BITS + 32 };
	struct klvs_tunnel_peer peer = {};
	__u32 header, length, need;
	struct iphdr outer, inner;
	__be16 protocol;

	if (ctx->vlan_present || ctx->pkt_type != PACKET_HOST ||
	    bpf_skb_load_bytes(ctx, ETH_HEADER - 2, &protocol, sizeof(protocol)) ||
	    ctx->protocol != protocol)
		return TC_ACT_UNSPEC;
	if (protocol == bpf_htons(ETH_P_IPV6))
		return decapsulate6(ctx);
	if (protocol != bpf_htons(ETH_P_IP) ||
	    bpf_skb_load_bytes(ctx, ETH_HEADER, &outer, sizeof(outer)))
		return TC_ACT_UNSPEC;
	header = outer.ihl * 4;
	length = bpf_ntohs(outer.tot_len);
	if (outer.version != 4 || header < IP_HEADER || outer.frag_off & bpf_htons(0x3fff) ||
	    length < header || ETH_HEADER + length > ctx->len)
		return TC_ACT_UNSPEC;
	if (outer.protocol == IPPROTO_UDP) {
		gue.to.port = gue_port(ctx, ETH_HEADER + header, length - header, IPPROTO_IPIP);
		if (!gue.to.port)
			return TC_ACT_UNSPEC;
		header += GUE_HEADERS;
	} else if (outer.protocol != IPPROTO_IPIP) {
		return TC_ACT_UNSPEC;
	}
	if (length < header + IP_HEADER ||
	    bpf_skb_load_bytes(ctx, ETH_HEADER + header, &inner, sizeof(inner)))
		return TC_ACT_UNSPEC;
	need = bpf_ntohs(inner.tot_len);
	if (inner.version != 4 || inner.ihl < 5 || need < IP_HEADER || need > length - header)
		return TC_ACT_UNSPEC;
	peer.director = outer.saddr;
	peer.vip = inner.daddr;
	gue.to.director = outer.saddr;
	gue.to.real = outer.daddr;
	gue.to.vip = inner.daddr;
	if (gue.to.port ? !bpf_map_lookup_elem(&klvs_gue_peers, &gue) : !is_known(&peer))
		return TC_ACT_UNSPEC;
	if (bpf_skb_adjust_room(ctx, -(__s32)header, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return TC_ACT_UNSPEC;
	return TC_ACT_OK;
}
