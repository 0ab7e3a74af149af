/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A tunnel's end on a real server: only what a known director sends for a VIP loses its outer
 * header and goes to the stack; anything else is left alone. */
#pragma once

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "dataplane/ebpf/bpf/defs.h"

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

static __always_inline int decapsulate6(struct __sk_buff *ctx)
{
	struct klvs_tunnel_peer6 peer;
	struct ipv6hdr outer, inner;
	__u32 length;

	if (bpf_skb_load_bytes(ctx, ETH_HEADER, &outer, sizeof(outer)))
		return TC_ACT_UNSPEC;
	length = bpf_ntohs(outer.payload_len);
	if (outer.version != 6 || outer.nexthdr != IPPROTO_IPV6 || length < IP6_HEADER ||
	    ETH_HEADER + IP6_HEADER + length > ctx->len)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(ctx, ETH_HEADER + IP6_HEADER, &inner, sizeof(inner)))
		return TC_ACT_UNSPEC;
	if (inner.version != 6 || bpf_ntohs(inner.payload_len) + IP6_HEADER > length)
		return TC_ACT_UNSPEC;
	peer.director = *(struct klvs_in6 *)&outer.saddr;
	peer.vip = *(struct klvs_in6 *)&inner.daddr;
	if (!is_known6(&peer))
		return TC_ACT_UNSPEC;
	if (bpf_skb_adjust_room(ctx, -(__s32)IP6_HEADER, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO))
		return TC_ACT_UNSPEC;
	return TC_ACT_OK;
}

static __always_inline int decapsulate(struct __sk_buff *ctx)
{
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
	if (outer.version != 4 || header < IP_HEADER || outer.protocol != IPPROTO_IPIP ||
	    outer.frag_off & bpf_htons(0x3fff) || length < header + IP_HEADER ||
	    ETH_HEADER + length > ctx->len)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(ctx, ETH_HEADER + header, &inner, sizeof(inner)))
		return TC_ACT_UNSPEC;
	need = bpf_ntohs(inner.tot_len);
	if (inner.version != 4 || inner.ihl < 5 || need < IP_HEADER || need > length - header)
		return TC_ACT_UNSPEC;
	peer.director = outer.saddr;
	peer.vip = inner.daddr;
	if (!is_known(&peer))
		return TC_ACT_UNSPEC;
	if (bpf_skb_adjust_room(ctx, -(__s32)header, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return TC_ACT_UNSPEC;
	return TC_ACT_OK;
}
